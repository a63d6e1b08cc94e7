//! The interpreter's side: opens parcels and answers them.

use ed25519_compact::{PublicKey, Signature};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::zerocopy_channel::{Receiver, Sender};
use nimblenet_tasklet::{ActivationId, Host, Outcome, Work};
use nimblenet_wasm::{
    ACTIVATIONS, CodeSource, Counts, Executor, ExecutorOptions, Freezing, Limits,
};

use crate::lent::Lent;
use crate::parcel::{Answer, Order, Parcel};

/// Fuel after which a tasklet yields: some milliseconds, so that a word to stop comes through.
pub const SLICE: u64 = 20_000;

/// Runs tasklets in an arena, and checks signatures.
pub struct Worker<'m, H> {
    executor: Executor<'m>,
    modules: Modules,
    host: H,
}

impl<'m, H: Host> Worker<'m, H> {
    /// A worker that runs tasklets in `arena` and serves them with `host`.
    pub fn new(arena: &'m mut [u8], host: H) -> Self {
        let options = ExecutorOptions {
            limits: Limits::small(),
            freezing: Freezing::UnderPressure,
            slice: SLICE,
            metered: true,
        };
        Self {
            executor: Executor::new(arena, options),
            modules: Modules::new(),
            host,
        }
    }

    /// Does what is in `parcel` and fills `answer`.
    pub fn serve(&mut self, parcel: &Parcel, answer: &mut Answer) {
        let (work, module) = match parcel.open() {
            Order::Do(work, module) => (work, module),
            Order::Refuse(activation, fault) => {
                answer.fill(|_| {
                    Some(Outcome::Failed {
                        activation,
                        fault,
                        trap: None,
                        fuel: 0,
                    })
                });
                return;
            }
        };
        if let Work::Verify {
            ticket,
            key,
            message,
            signature,
        } = work
        {
            let good = verify(key, message, signature);
            answer.fill(|_| Some(Outcome::Verified { ticket, good }));
            return;
        }
        if let Some((activation, code)) = module {
            self.modules.insert(activation, code);
        }
        let Self {
            executor,
            modules,
            host,
        } = self;
        answer.fill(|out| executor.execute(&work, modules, host, out));
        let ended = match (work, answer.outcome()) {
            (Work::Stop { activation }, _) => Some(activation),
            (
                _,
                Some(
                    Outcome::Done { activation, .. }
                    | Outcome::Failed { activation, .. }
                    | Outcome::Frozen { activation, .. },
                ),
            ) => Some(activation),
            _ => None,
        };
        if let Some(activation) = ended {
            self.modules.remove(activation);
        }
    }

    /// Serves one parcel after another, for ever.
    pub async fn run<M: RawMutex>(
        &mut self,
        mut work: Receiver<'_, M, Parcel>,
        mut answers: Sender<'_, M, Answer>,
    ) -> ! {
        loop {
            let parcel = work.receive().await;
            let answer = answers.send().await;
            self.serve(parcel, answer);
            // In this order: whoever reads the answer may have more work.
            work.receive_done();
            answers.send_done();
        }
    }

    /// What the interpreter has done so far.
    pub fn counts(&self) -> Counts {
        self.executor.counts()
    }
}

impl<H> core::fmt::Debug for Worker<'_, H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Modules of the activations that there are.
#[derive(Debug)]
struct Modules([Option<(ActivationId, Lent)>; ACTIVATIONS]);

impl Modules {
    const fn new() -> Self {
        Self([None; ACTIVATIONS])
    }

    fn insert(&mut self, activation: ActivationId, code: Lent) {
        // One activation too many is refused by the executor, which holds as many.
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some((activation, code));
        }
    }

    fn remove(&mut self, activation: ActivationId) {
        for place in &mut self.0 {
            *place = place.filter(|(held, _)| *held != activation);
        }
    }
}

impl CodeSource for Modules {
    fn code(&self, activation: ActivationId) -> &[u8] {
        let mut held = self.0.iter().flatten();
        let found = held.find(|(id, _)| *id == activation);
        found.map_or(&[], |(_, code)| code.bytes())
    }
}

/// Whether `signature` is good by the strict rule (RFC 8032, no small-order points).
fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = PublicKey::new(*key);
    key.verify(message, &Signature::new(*signature)).is_ok()
}
