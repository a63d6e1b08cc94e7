//! The real interpreter in virtual time.

use std::collections::BTreeMap;
use std::rc::Rc;

use core::time::Duration;

use nimblenet_core::Abilities;
use nimblenet_executor::{Counts, ExecutorOptions, HoldingExecutor};
use nimblenet_tasklet::{
    ActivationId, Answer, Capabilities, Capability, Digest, Fault, Host, Outcome, TaskletName, Work,
};

use crate::executor::{SimExecutor, verify};

/// The most modules that the executor remembers after their runs.
const MODULES: usize = 64;

/// The longest results and images.
const OUTPUT_BYTES: usize = 160 << 10;

/// Runs real modules on the real interpreter. A thousand units of fuel take a microsecond.
pub struct WasmExecutor {
    executor: HoldingExecutor<'static, Rc<[u8]>>,
    shelf: Shelf,
    budgets: Budgets,
    device: Device,
    out: Vec<u8>,
    fuel_per_us: u64,
}

impl WasmExecutor {
    /// An executor with an arena of `arena_bytes`, slices of `slice` fuel, and the device's own
    /// functions.
    pub fn new(arena_bytes: usize, slice: u64, device: Device) -> Self {
        // Simulated nodes live as long as the process, so nobody frees their arenas.
        let arena = Vec::leak(vec![0; arena_bytes]);
        let options = ExecutorOptions {
            slice,
            ..ExecutorOptions::default()
        };
        Self {
            executor: HoldingExecutor::new(arena, options),
            shelf: Shelf::default(),
            budgets: Budgets::default(),
            device,
            out: vec![0; OUTPUT_BYTES],
            fuel_per_us: 1000,
        }
    }

    /// What the executor has done so far.
    pub fn counts(&self) -> Counts {
        self.executor.executor().counts()
    }

    /// Bytes of the arena in use.
    pub fn used_bytes(&self) -> usize {
        self.executor.executor().used_bytes()
    }
}

impl SimExecutor for WasmExecutor {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, Answer<Vec<u8>>)> {
        if let Some(verified) = verify(work) {
            return Some((Duration::from_micros(10), verified));
        }
        let start = work.begin();
        let module = start.map(|start| self.shelf.module(start.entry.digest, start.code));
        let budget = self.budgets.before(work);
        let (device, out) = (&mut self.device, &mut self.out);
        let outcome = self.executor.execute(work, module, device, out);
        let left = self.budgets.after(work, outcome.as_ref());
        let took = Duration::from_micros(1 + budget.saturating_sub(left) / self.fuel_per_us);
        Some((took, outcome?.owned()))
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            modules: true,
            natives: self.device.natives.keys().copied().collect(),
        }
    }
}

/// Modules that ran before, so that another start does not copy them.
#[derive(Default)]
struct Shelf(BTreeMap<Digest, Rc<[u8]>>);

impl Shelf {
    /// The module with this digest and these bytes.
    fn module(&mut self, digest: Digest, bytes: &[u8]) -> Rc<[u8]> {
        let seen = self.0.get(&digest);
        if let Some(module) = seen.filter(|module| module[..] == *bytes) {
            return module.clone();
        }
        if self.0.len() == MODULES {
            self.0.clear();
        }
        let module: Rc<[u8]> = bytes.into();
        self.0.insert(digest, module.clone());
        module
    }
}

/// The fuel of each run when it last stood still.
#[derive(Default)]
struct Budgets(BTreeMap<ActivationId, u64>);

impl Budgets {
    /// The fuel that `work` may use.
    fn before(&mut self, work: &Work<'_>) -> u64 {
        match *work {
            Work::Start(start) | Work::Thaw { start, .. } => {
                self.0.insert(start.activation, start.fuel);
                start.fuel
            }
            Work::Resume { fuel, .. } => fuel,
            Work::Continue { activation } => self.0.get(&activation).copied().unwrap_or(0),
            Work::Freeze { .. } | Work::Stop { .. } | Work::Verify { .. } => 0,
        }
    }

    /// The fuel that `work` has left.
    fn after(&mut self, work: &Work<'_>, outcome: Option<&Outcome<'_>>) -> u64 {
        if let Some(ended) = work.ends(outcome) {
            self.0.remove(&ended);
        }
        match outcome {
            Some(
                Outcome::Called {
                    activation, fuel, ..
                }
                | Outcome::Yielded { activation, fuel },
            ) => {
                if let Some(held) = self.0.get_mut(activation) {
                    *held = *fuel;
                }
                *fuel
            }
            Some(Outcome::Done { fuel, .. } | Outcome::Failed { fuel, .. }) => *fuel,
            // Nothing has run, so no fuel was used.
            Some(Outcome::NoRoom { .. }) => u64::MAX,
            Some(Outcome::Frozen { .. } | Outcome::NotFrozen { .. } | Outcome::Verified { .. })
            | None => 0,
        }
    }
}

/// A device with some native tasklets that return fixed bytes.
#[derive(Clone, Default, Debug)]
pub struct Device {
    natives: BTreeMap<TaskletName, Vec<u8>>,
}

impl Device {
    /// The device with the native tasklet `name`, whose result is always the CBOR array `result`.
    ///
    /// # Panics
    /// If the name is not valid.
    #[must_use]
    pub fn with(mut self, name: &str, result: &[u8]) -> Self {
        self.natives.insert(
            name.parse().expect("a device has valid names"),
            result.to_vec(),
        );
        self
    }
}

impl Host for Device {
    fn offers(&self) -> Capabilities {
        Capabilities::NONE
    }

    fn call(
        &mut self,
        _: &TaskletName,
        _: Capability,
        _: &str,
        _: &[u64],
        _: &mut [u8],
    ) -> Result<u64, Fault> {
        Err(Fault::UnknownImport)
    }

    fn needs(&self, _: &TaskletName) -> Option<Capabilities> {
        Some(Capabilities::NONE)
    }

    fn native(
        &mut self,
        name: &TaskletName,
        _: &str,
        _: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        let fixed = self.natives.get(name).ok_or(Fault::NoExecutor)?;
        result
            .get_mut(..fixed.len())
            .ok_or(Fault::ValuesTooLarge)?
            .copy_from_slice(fixed);
        Ok(fixed.len())
    }
}
