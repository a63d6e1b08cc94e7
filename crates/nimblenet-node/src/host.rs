//! What a Linux node offers to tasklets: the functions behind capabilities, and simulated
//! devices as native tasklets.

use alloc::collections::BTreeMap;
use core::time::Duration;

use nimblenet_tasklet::{
    ActivationId, Capabilities, Capability, Fault, Host, SLEEP_US_MAX, TaskletName,
};

use crate::clock::Clock;
use crate::device::{Device, Devices};
use crate::lines::Lines;
use crate::random::Random;
use crate::values::Values;

/// Who sleeps looks up after this time at the latest.
const NAP: Duration = Duration::from_millis(100);

/// The host of one node.
#[derive(Debug)]
pub(crate) struct LinuxHost {
    clock: Clock,
    devices: BTreeMap<TaskletName, Device>,
    values: Values,
    /// The lines of the log.
    lines: Lines,
    /// The activation that calls the functions.
    runs: Option<ActivationId>,
    simulated: Devices,
    random: Random,
}

impl LinuxHost {
    /// A host with these native tasklets, whose tasklets keep `values` and write to `lines`.
    pub(crate) fn new(
        natives: &[TaskletName],
        values: Values,
        lines: Lines,
        clock: Clock,
        seed: u64,
    ) -> Self {
        let device = |name: &TaskletName| Some((*name, Device::of(name)?));
        Self {
            clock,
            devices: natives.iter().filter_map(device).collect(),
            values,
            lines,
            runs: None,
            simulated: Devices::new(seed, |what| tracing::info!("{what}")),
            random: Random::new(seed),
        }
    }

    /// The node's clock.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Sets the activation that calls the functions from now on.
    pub(crate) fn serves(&mut self, activation: Option<ActivationId>) {
        self.runs = activation;
    }
}

impl Host for LinuxHost {
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
        let word = |at: usize| args.get(at).map(|bits| *bits as u32);
        let first = word(0).ok_or(Fault::WrongArguments);
        match (capability, function) {
            (Capability::Sensor, "read") => {
                let at = self.clock.now().as_micros() / 1000;
                let device = match first? {
                    0 => Device::Vibration,
                    1 => Device::TorqueSensor,
                    2 => Device::WeldSensor,
                    3 => Device::PaintSensor,
                    _ => return Err(Fault::DeviceFailed),
                };
                let reading = self.simulated.sample(device, 0, (at % 4096) as u32);
                Ok(u64::from(reading.to_bits()))
            }
            (Capability::Actuator, "set") => {
                let value = f32::from_bits(word(1).ok_or(Fault::WrongArguments)?);
                tracing::info!(channel = first?, value, "an actuator is driven");
                Ok(0)
            }
            (Capability::Clock, "now-us") => Ok(self.clock.now().as_micros()),
            (Capability::Clock, "sleep-us") => sleep(self.clock, args, || false),
            (Capability::Log, "write") => {
                let from = first? as usize;
                let len = word(1).ok_or(Fault::WrongArguments)? as usize;
                let end = from.checked_add(len).ok_or(Fault::WrongArguments)?;
                let line = memory.get(from..end).ok_or(Fault::WrongArguments)?;
                let now = self.clock.now();
                self.lines.write(now, *tasklet, self.runs, line);
                Ok(0)
            }
            (Capability::Kv, "get") => Ok(self.values.get(tasklet, first?) as u64),
            (Capability::Kv, "set") => {
                let value = *args.get(1).ok_or(Fault::WrongArguments)?;
                self.values.set(tasklet, first?, value as i64)?;
                Ok(0)
            }
            (Capability::Random, "u32") => Ok(u64::from(self.random.next())),
            _ => Err(Fault::UnknownImport),
        }
    }

    fn needs(&self, name: &TaskletName) -> Option<Capabilities> {
        Some(self.devices.get(name)?.needs())
    }

    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        let device = self.devices.get(name).copied().ok_or(Fault::NoExecutor)?;
        if !matches!(export, "" | "run") {
            return Err(Fault::UnknownExport);
        }
        self.simulated.serve(device, args, result)
    }
}

/// Holds the thread up for the time of `nimblenet:clock` `sleep-us`, or until it `ends`.
pub(crate) fn sleep(clock: Clock, args: &[u64], ends: impl Fn() -> bool) -> Result<u64, Fault> {
    let time = args.first().map(|bits| *bits as u32);
    let time = time.filter(|time| *time <= SLEEP_US_MAX);
    let time = Duration::from_micros(time.ok_or(Fault::WrongArguments)?.into());
    let until = clock.now() + time;
    loop {
        let left = until.since(clock.now());
        if left.is_zero() {
            return Ok(0);
        }
        if ends() {
            return Err(Fault::Stopped);
        }
        clock.sleep(left.min(NAP));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(names: &[&str]) -> LinuxHost {
        let names: Vec<_> = names
            .iter()
            .map(|name| TaskletName::new(name).unwrap())
            .collect();
        LinuxHost::new(
            &names,
            Values::in_memory(),
            Lines::default(),
            Clock::start(),
            1,
        )
    }

    fn args(values: &[u32]) -> Vec<u8> {
        minicbor::to_vec(values).unwrap()
    }

    fn native(host: &mut LinuxHost, name: &str, values: &[u32]) -> Result<Vec<u8>, Fault> {
        let name = TaskletName::new(name).unwrap();
        let mut result = [0; 2000];
        let len = host.native(&name, "", &args(values), &mut result)?;
        Ok(result[..len].to_vec())
    }

    #[test]
    fn devices_answer_in_the_types_of_their_signatures() {
        let names = ["shop/vibration", "shop/torque-sensor", "shop/weld-sensor"];
        let mut host = host(&names);
        let samples = native(&mut host, names[0], &[64]).unwrap();
        let [samples] = minicbor::decode::<[Vec<i16>; 1]>(&samples).unwrap();
        assert_eq!(samples.len(), 64);
        assert!(samples.iter().any(|sample| *sample > 500));
        let torque = native(&mut host, names[1], &[64]).unwrap();
        let [torque] = minicbor::decode::<[Vec<f32>; 1]>(&torque).unwrap();
        assert!((70.0..90.0).contains(torque.last().unwrap()));
        let current = native(&mut host, names[2], &[0, 8]).unwrap();
        assert!(minicbor::decode::<[Vec<i32>; 1]>(&current).is_ok());
    }

    #[test]
    fn a_board_has_a_temperature_and_pins() {
        let names = ["shop/board-temperature", "shop/board-gpio"];
        let mut host = host(&names);
        let reading = native(&mut host, names[0], &[]).unwrap();
        let [reading] = minicbor::decode::<[i32; 1]>(&reading).unwrap();
        assert!((26_000..28_000).contains(&reading));
        assert_eq!(native(&mut host, names[1], &[25, 1]).unwrap(), [0x80]);
        assert_eq!(native(&mut host, names[1], &[25, 0]).unwrap(), [0x80]);
        for wrong in [&[30, 1][..], &[25, 2], &[25]] {
            let end = native(&mut host, names[1], wrong);
            assert_eq!(end, Err(Fault::WrongArguments));
        }
    }

    #[test]
    fn what_is_not_configured_or_makes_no_sense_is_refused() {
        let mut host = host(&["shop/signal-lamp", "shop/vibration"]);
        let lamp = "shop/signal-lamp";
        assert_eq!(native(&mut host, lamp, &[2]).unwrap(), [0x80]);
        assert_eq!(native(&mut host, lamp, &[3]), Err(Fault::WrongArguments));
        assert_eq!(
            native(&mut host, "shop/vibration", &[4096]),
            Err(Fault::ValuesTooLarge)
        );
        assert_eq!(
            native(&mut host, "lab/vibration", &[1]),
            Err(Fault::NoExecutor)
        );
    }

    #[test]
    fn every_capability_function_is_served_and_others_are_not() {
        let mut host = host(&[]);
        let tasklet = TaskletName::new("shop/count").unwrap();
        let mut call = |capability, function, args: &[u64], memory: &mut [u8]| {
            host.call(&tasklet, capability, function, args, memory)
        };
        for capability in Capability::ALL {
            for function in capability.functions() {
                let served = call(capability, function.name, &[0, 0], &mut []);
                assert!(served.is_ok(), "{capability:?} {}", function.name);
            }
        }
        let key = call(Capability::Kv, "set", &[7, 9], &mut []);
        assert_eq!(key, Ok(0));
        assert_eq!(call(Capability::Kv, "get", &[7], &mut []), Ok(9));
        let other = TaskletName::new("lab/count").unwrap();
        let kept = host.call(&other, Capability::Kv, "get", &[7], &mut []);
        assert_eq!(kept, Ok(0), "another tasklet's");
        let mut call = |capability, function, args: &[u64], memory: &mut [u8]| {
            host.call(&tasklet, capability, function, args, memory)
        };
        let beyond = call(Capability::Log, "write", &[1, 8], &mut [0; 4]);
        assert_eq!(beyond, Err(Fault::WrongArguments));
        let longest = u64::from(SLEEP_US_MAX);
        let beyond = call(Capability::Clock, "sleep-us", &[longest + 1], &mut []);
        assert_eq!(beyond, Err(Fault::WrongArguments));
        let unknown = call(Capability::Clock, "set", &[], &mut []);
        assert_eq!(unknown, Err(Fault::UnknownImport));
    }
}
