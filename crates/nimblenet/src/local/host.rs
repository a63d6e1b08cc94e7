//! The device functions that this machine offers to tasklets in local runs.
//!
//! | capability | what it does here |
//! |---|---|
//! | sensor | a channel gives its readings one by one; others fail |
//! | actuator | prints a line to standard error |
//! | clock | microseconds since the job started; `sleep-us` waits |
//! | log | prints a line to standard error |
//! | kv | values that each tasklet keeps until the job ends |
//! | random | from the operating system's generator |
//!
//! Native tasklets answer from readings too, or are simulated devices as nodes have them.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use nimblenet_node::Devices;
use nimblenet_tasklet::{Capabilities, Capability, Fault, Host, SLEEP_US_MAX, TaskletName};

use super::readings::Readings;
use super::tasklets::{Natives, StandIn};
use crate::clock;
use crate::failure::complain;

/// The seed of simulated devices, so that a run gives the same results each time.
const DEVICE_SEED: u64 = 1;

/// The device that local jobs run on.
pub(crate) struct LocalHost {
    started: Instant,
    sensors: BTreeMap<u32, Readings>,
    natives: Natives,
    devices: Devices,
    kept: BTreeMap<(TaskletName, u32), u64>,
}

impl LocalHost {
    /// A device with these sensor channels, and these functions in place of native tasklets.
    pub(crate) fn new(sensors: BTreeMap<u32, Readings>, natives: Natives) -> Self {
        Self {
            started: clock::now(),
            sensors,
            natives,
            devices: Devices::new(DEVICE_SEED, |what| complain(&format!("{what}\n"))),
            kept: BTreeMap::new(),
        }
    }

    fn log(&self, address: u32, len: u32, memory: &[u8]) -> Result<(), Fault> {
        let from = address as usize;
        let line = from
            .checked_add(len as usize)
            .and_then(|to| memory.get(from..to))
            .ok_or(Fault::WrongArguments)?;
        // Control characters could rewrite what a terminal shows of other lines.
        let line = String::from_utf8_lossy(line);
        let line: String = line
            .chars()
            .map(|next| if next.is_control() { ' ' } else { next })
            .collect();
        complain(&format!("log: {line}\n"));
        Ok(())
    }
}

impl Host for LocalHost {
    fn offers(&self) -> Capabilities {
        Capabilities::ALL
    }

    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        memory: &mut [u8],
    ) -> Result<u64, Fault> {
        let low = |at: usize| args.get(at).map_or(0, |bits| *bits as u32);
        match (capability, function) {
            (Capability::Sensor, "read") => {
                let readings = self.sensors.get_mut(&low(0));
                let value = readings.and_then(Readings::next_number);
                let value = value.ok_or(Fault::DeviceFailed)?;
                return Ok(u64::from(value.to_bits()));
            }
            (Capability::Actuator, "set") => {
                let (channel, value) = (low(0), f32::from_bits(low(1)));
                complain(&format!("actuator {channel} = {value}\n"));
            }
            (Capability::Clock, "now-us") => {
                return Ok(self.started.elapsed().as_micros() as u64);
            }
            (Capability::Clock, "sleep-us") if low(0) <= SLEEP_US_MAX => {
                std::thread::sleep(Duration::from_micros(low(0).into()));
            }
            (Capability::Clock, "sleep-us") => return Err(Fault::WrongArguments),
            (Capability::Log, "write") => self.log(low(0), low(1), memory)?,
            (Capability::Kv, "get") => {
                let kept = self.kept.get(&(*tasklet, low(0)));
                return Ok(kept.copied().unwrap_or(0));
            }
            (Capability::Kv, "set") => {
                let value = args.get(1).copied().ok_or(Fault::WrongArguments)?;
                self.kept.insert((*tasklet, low(0)), value);
            }
            // The operating system seeds a new state, so its hash is as random as the seed.
            (Capability::Random, "u32") => {
                return Ok(RandomState::new().build_hasher().finish() & 0xffff_ffff);
            }
            _ => return Err(Fault::UnknownImport),
        }
        Ok(0)
    }

    /// A stand-in is no device: nobody has to be entitled to it.
    fn needs(&self, name: &TaskletName) -> Option<Capabilities> {
        let mut held = self.natives.keys();
        held.any(|(held, _)| held == name)
            .then_some(Capabilities::NONE)
    }

    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        let (signature, stand_in) = self
            .natives
            .get_mut(&(*name, export.to_owned()))
            .ok_or(Fault::NoExecutor)?;
        let readings = match stand_in {
            StandIn::Readings(readings) => readings,
            StandIn::Device(device) => return self.devices.serve(*device, args, result),
        };
        let results = readings.next_results(signature);
        let room = result.get_mut(..results.len());
        room.ok_or(Fault::ValuesTooLarge)?.copy_from_slice(&results);
        Ok(results.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> LocalHost {
        LocalHost::new(
            BTreeMap::from([(3, Readings::constant(21.5))]),
            BTreeMap::new(),
        )
    }

    #[test]
    fn every_function_of_every_capability_is_served() {
        let mut host = host();
        let tasklet = TaskletName::new("shop/one").expect("a name");
        for capability in Capability::ALL {
            for function in capability.functions() {
                let args = [3, 0][..function.params.len()].to_vec();
                let served = host.call(&tasklet, capability, function.name, &args, &mut [0; 8]);
                assert!(served.is_ok(), "{} {}", capability.name(), function.name);
            }
        }
    }

    #[test]
    fn a_sensor_without_a_value_fails_and_a_log_line_outside_memory_is_refused() {
        let mut host = host();
        let tasklet = TaskletName::new("shop/one").expect("a name");
        let mut call = |capability, function, args: &[u64]| {
            host.call(&tasklet, capability, function, args, &mut [0; 8])
        };
        let reading = call(Capability::Sensor, "read", &[3]);
        assert_eq!(reading, Ok(u64::from(21.5f32.to_bits())));
        assert_eq!(
            call(Capability::Sensor, "read", &[4]),
            Err(Fault::DeviceFailed)
        );
        for args in [[8, 1], [0, 9], [0xffff_ffff, 2], [1, 0xffff_ffff]] {
            assert_eq!(
                call(Capability::Log, "write", &args),
                Err(Fault::WrongArguments)
            );
        }
    }

    #[test]
    fn each_tasklet_of_each_namespace_has_values_of_its_own() {
        let mut host = host();
        let mut call = |tasklet, function, args: &[u64]| {
            let tasklet = TaskletName::new(tasklet).expect("a name");
            host.call(&tasklet, Capability::Kv, function, args, &mut [])
        };
        call("shop/one", "set", &[7, u64::MAX]).expect("kept");
        for other in ["shop/two", "lab/one"] {
            assert_eq!(call(other, "get", &[7]), Ok(0), "{other}");
        }
        assert_eq!(call("shop/one", "get", &[7]), Ok(u64::MAX));
    }
}
