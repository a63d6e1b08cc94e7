//! The real interpreter in virtual time.

use std::collections::BTreeMap;
use std::rc::Rc;

use core::time::Duration;

use nimblenet_executor::{CodeSource, Counts, Executor, ExecutorOptions};
use nimblenet_tasklet::{
    ActivationId, Capabilities, Capability, Digest, Fault, Host, Outcome, TaskletName, Work,
};

use crate::executor::{OwnedOutcome, SimExecutor, verify};

/// Modules that are remembered after their runs.
const MODULES: usize = 64;

/// Results and images are not longer.
const OUTPUT_BYTES: usize = 160 << 10;

/// Runs real modules on the real interpreter. Fuel is time: a microsecond each thousand units.
pub struct WasmExecutor {
    executor: Executor<'static>,
    codes: Codes,
    device: Device,
    out: Vec<u8>,
    fuel_per_us: u64,
}

impl WasmExecutor {
    /// An executor with an arena of `arena_bytes`, slices of `slice` fuel, and the device's own
    /// functions.
    pub fn new(arena_bytes: usize, slice: u64, device: Device) -> Self {
        // Simulated nodes live as long as the process; their arenas are never given back.
        let arena = Vec::leak(vec![0; arena_bytes]);
        let options = ExecutorOptions {
            slice,
            ..ExecutorOptions::default()
        };
        Self {
            executor: Executor::new(arena, options),
            codes: Codes::default(),
            device,
            out: vec![0; OUTPUT_BYTES],
            fuel_per_us: 1000,
        }
    }

    /// What the executor has done so far.
    pub fn counts(&self) -> Counts {
        self.executor.counts()
    }

    /// Bytes of the arena in use.
    pub fn used_bytes(&self) -> usize {
        self.executor.used_bytes()
    }
}

impl SimExecutor for WasmExecutor {
    fn execute(&mut self, work: &Work<'_>) -> Option<(Duration, OwnedOutcome)> {
        if let Some(verified) = verify(work) {
            return Some((Duration::from_micros(10), verified));
        }
        let budget = self.codes.take_up(work);
        let outcome = self
            .executor
            .execute(work, &self.codes, &mut self.device, &mut self.out)?;
        let left = self.codes.take_down(work, &outcome);
        let took = Duration::from_micros(1 + budget.saturating_sub(left) / self.fuel_per_us);
        Some((took, OwnedOutcome::of(&outcome)))
    }
}

/// Modules of the activations that run, and the fuel they were last seen with; and modules that
/// ran before, of which another start copies nothing.
#[derive(Default)]
struct Codes {
    runs: BTreeMap<ActivationId, (Rc<[u8]>, u64)>,
    seen: BTreeMap<Digest, Rc<[u8]>>,
}

impl Codes {
    /// The module with this digest and these bytes.
    fn module(&mut self, digest: Digest, bytes: &[u8]) -> Rc<[u8]> {
        let seen = self.seen.get(&digest);
        if let Some(module) = seen.filter(|module| module[..] == *bytes) {
            return module.clone();
        }
        if self.seen.len() == MODULES {
            self.seen.clear();
        }
        let module: Rc<[u8]> = bytes.into();
        self.seen.insert(digest, module.clone());
        module
    }

    fn take_up(&mut self, work: &Work<'_>) -> u64 {
        match *work {
            Work::Start(start) | Work::Thaw { start, .. } => {
                let module = self.module(start.entry.digest, start.code);
                self.runs.insert(start.activation, (module, start.fuel));
                start.fuel
            }
            Work::Resume { fuel, .. } => fuel,
            Work::Continue { activation } => self.runs.get(&activation).map_or(0, |held| held.1),
            Work::Stop { activation } => {
                self.runs.remove(&activation);
                0
            }
            Work::Freeze { .. } | Work::Verify { .. } => 0,
        }
    }

    fn take_down(&mut self, work: &Work<'_>, outcome: &Outcome<'_>) -> u64 {
        if let Some(ended) = work.ends(Some(outcome)) {
            self.runs.remove(&ended);
        }
        match *outcome {
            Outcome::Called {
                activation, fuel, ..
            }
            | Outcome::Yielded { activation, fuel } => {
                if let Some(held) = self.runs.get_mut(&activation) {
                    held.1 = fuel;
                }
                fuel
            }
            Outcome::Done { fuel, .. } | Outcome::Failed { fuel, .. } => fuel,
            // Nothing has run.
            Outcome::NoRoom { .. } => u64::MAX,
            Outcome::Frozen { .. } | Outcome::NotFrozen { .. } | Outcome::Verified { .. } => 0,
        }
    }
}

impl CodeSource for Codes {
    fn code(&self, activation: ActivationId) -> &[u8] {
        self.runs.get(&activation).map_or(&[], |(code, _)| code)
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
