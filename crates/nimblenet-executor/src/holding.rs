//! An executor that holds the modules of its activations.

use nimblenet_tasklet::{ActivationId, Host, Outcome, Parcel, Storage, Work};

use crate::{ACTIVATIONS, CodeSource, Executor, ExecutorOptions};

/// An [`Executor`] that reads each module through a handle `M` of the driver: an address on a
/// board, a reference-counted pointer on an operating system. It keeps the handle from the start of
/// an activation to its end.
pub struct HoldingExecutor<'m, M> {
    executor: Executor<'m>,
    modules: Modules<M>,
}

impl<'m, M: AsRef<[u8]>> HoldingExecutor<'m, M> {
    /// An executor that works in `arena`.
    pub fn new(arena: &'m mut [u8], options: ExecutorOptions) -> Self {
        Self {
            executor: Executor::new(arena, options),
            modules: Modules::new(),
        }
    }

    /// The executor.
    pub fn executor(&self) -> &Executor<'m> {
        &self.executor
    }

    /// Does `work` as [`Executor::execute`] does. If a run begins, `module` is its module.
    pub fn execute<'o>(
        &mut self,
        work: &Work<'_>,
        module: Option<M>,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>> {
        if let (Some(start), Some(module)) = (work.begin(), module) {
            self.modules.insert(start.activation, module);
        }
        let outcome = self.executor.execute(work, &self.modules, host, out);
        if let Some(ended) = work.ends(outcome.as_ref()) {
            self.modules.remove(ended);
        }
        outcome
    }

    /// Does the work in `parcel`. For a signature check it calls `check` with key, message and
    /// signature. If the parcel holds an answer already, it returns that answer.
    pub fn serve<'o>(
        &mut self,
        parcel: &Parcel<impl Storage, M>,
        check: impl FnOnce(&[u8; 32], &[u8], &[u8; 64]) -> bool,
        host: &mut dyn Host,
        out: &'o mut [u8],
    ) -> Option<Outcome<'o>>
    where
        M: Clone,
    {
        let work = match parcel.open() {
            Ok(work) => work,
            Err(answer) => return answer,
        };
        if let Some(verified) = work.verified(check) {
            return Some(verified);
        }
        self.execute(&work, parcel.module().cloned(), host, out)
    }
}

impl<M> core::fmt::Debug for HoldingExecutor<'_, M> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("HoldingExecutor").finish_non_exhaustive()
    }
}

/// The handle of each activation's module.
#[derive(Debug)]
struct Modules<M>([Option<(ActivationId, M)>; ACTIVATIONS]);

impl<M> Modules<M> {
    const fn new() -> Self {
        Self([const { None }; ACTIVATIONS])
    }

    fn insert(&mut self, activation: ActivationId, module: M) {
        // The executor refuses one activation too many, since it holds as many as this table.
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some((activation, module));
        }
    }

    fn remove(&mut self, activation: ActivationId) {
        for place in &mut self.0 {
            place.take_if(|(held, _)| *held == activation);
        }
    }
}

impl<M: AsRef<[u8]>> CodeSource for Modules<M> {
    fn code(&self, activation: ActivationId) -> &[u8] {
        let mut held = self.0.iter().flatten();
        let found = held.find(|(id, _)| *id == activation);
        found.map_or(&[], |(_, module)| module.as_ref())
    }
}
