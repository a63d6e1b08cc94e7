//! What a Linux node offers to tasklets: the functions behind capabilities, and simulated
//! devices as native tasklets.

use alloc::collections::BTreeMap;
use core::f32::consts::TAU;

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::{Capabilities, Capability, Fault, Host, TaskletName};

use crate::clock::Clock;
use crate::random::Random;
use crate::values::Values;

/// Samples that a device gives at once.
const MAX_SAMPLES: u32 = 4096;
/// Pins of a board with an RP2040.
const BOARD_PINS: u32 = 30;
/// Bytes of a line in the log.
const MAX_LINE: usize = 256;

/// A simulated device, found by the second part of a native tasklet's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Device {
    /// `func(count: u32) -> list<s16>`
    Vibration,
    /// `func(count: u32) -> list<f32>`, newton metres
    TorqueSensor,
    /// `func(channel: u32, count: u32) -> list<s32>`, milliamperes or millivolts
    WeldSensor,
    /// `func(count: u32) -> list<f32>`, parts per million
    PaintSensor,
    /// `func(level: u32)`, 0 green to 2 red
    SignalLamp,
    /// `func() -> s32`, thousandths of a degree Celsius
    BoardTemperature,
    /// `func(pin: u32, level: u32)`, 0 low, 1 high
    BoardGpio,
}

impl Device {
    const ALL: [(&'static str, Self); 7] = [
        ("vibration", Self::Vibration),
        ("torque-sensor", Self::TorqueSensor),
        ("weld-sensor", Self::WeldSensor),
        ("paint-sensor", Self::PaintSensor),
        ("signal-lamp", Self::SignalLamp),
        ("board-temperature", Self::BoardTemperature),
        ("board-gpio", Self::BoardGpio),
    ];

    /// The device that stands behind the native tasklet `name`.
    pub(crate) fn of(name: &TaskletName) -> Option<Self> {
        let mut devices = Self::ALL.into_iter();
        let found = devices.find(|(known, _)| *known == name.name.as_str());
        found.map(|(_, device)| device)
    }

    /// The names that are known, for messages.
    pub(crate) fn names() -> String {
        Self::ALL.map(|(name, _)| name).join(", ")
    }
}

/// The host of one node.
#[derive(Debug)]
pub(crate) struct LinuxHost {
    clock: Clock,
    devices: BTreeMap<TaskletName, Device>,
    values: Values,
    lamp: u32,
    /// The levels of the pins of a simulated board, a bit each.
    pins: u32,
    random: Random,
}

impl LinuxHost {
    /// A host with these native tasklets, whose tasklets keep `values`.
    pub(crate) fn new(natives: &[TaskletName], values: Values, clock: Clock, seed: u64) -> Self {
        let device = |name: &TaskletName| Some((*name, Device::of(name)?));
        Self {
            clock,
            devices: natives.iter().filter_map(device).collect(),
            values,
            lamp: 0,
            pins: 0,
            random: Random::new(seed),
        }
    }

    /// One reading of a simulated device; `at` counts the samples of one call.
    fn sample(&mut self, device: Device, channel: u32, at: u32) -> f32 {
        let noise = self.random.unit() - 0.5;
        let time = at as f32;
        match device {
            // A shaft's turning, its second harmonic, and play.
            Device::Vibration => {
                let turn = TAU * time / 32.0;
                900.0 * turn.sin() + 250.0 * (2.0 * turn).sin() + 120.0 * noise
            }
            // Snug at 12, then rising to the shut-off at 80.
            Device::TorqueSensor => {
                let rise = 68.0 * (time / 48.0).min(1.0);
                12.0 + rise + 0.8 * noise
            }
            Device::WeldSensor if channel == 0 => 180_000.0 + 6000.0 * noise,
            Device::WeldSensor => 24_000.0 + 900.0 * noise,
            Device::PaintSensor => 400.0 * (-time / 90.0).exp() + 4.0 * noise,
            Device::BoardTemperature => 27_000.0 + 500.0 * noise,
            Device::SignalLamp | Device::BoardGpio => 0.0,
        }
    }

    fn serve(&mut self, device: Device, args: &[u8], result: &mut [u8]) -> Result<usize, Fault> {
        let mut args = Decoder::new(args);
        let wrong = |_| Fault::WrongArguments;
        args.array().map_err(wrong)?;
        let mut next = || args.u32().map_err(|_| Fault::WrongArguments);
        let mut out = Encoder::new(Cursor::new(result));
        let full = |_| Fault::ValuesTooLarge;
        match device {
            Device::SignalLamp => {
                self.light(next()?)?;
                out.array(0).map_err(full)?;
            }
            Device::BoardGpio => {
                self.drive(next()?, next()?)?;
                out.array(0).map_err(full)?;
            }
            Device::BoardTemperature => {
                let reading = self.sample(device, 0, 0) as i32;
                out.array(1)
                    .and_then(|out| out.i32(reading))
                    .map_err(full)?;
            }
            Device::WeldSensor => {
                let (channel, count) = (next()?, next()?);
                self.frame(device, channel, count, &mut out)?;
            }
            Device::Vibration | Device::TorqueSensor | Device::PaintSensor => {
                self.frame(device, 0, next()?, &mut out)?;
            }
        }
        Ok(out.writer().position())
    }

    /// Writes so many samples of a device.
    fn frame(
        &mut self,
        device: Device,
        channel: u32,
        count: u32,
        out: &mut Encoder<Cursor<&mut [u8]>>,
    ) -> Result<(), Fault> {
        let full = |_| Fault::ValuesTooLarge;
        if count > MAX_SAMPLES || channel > 1 {
            return Err(Fault::WrongArguments);
        }
        out.array(1).map_err(full)?;
        out.array(u64::from(count)).map_err(full)?;
        for at in 0..count {
            let sample = self.sample(device, channel, at);
            match device {
                Device::TorqueSensor | Device::PaintSensor => out.f32(sample),
                Device::Vibration => out.i16(sample as i16),
                Device::WeldSensor
                | Device::SignalLamp
                | Device::BoardTemperature
                | Device::BoardGpio => out.i32(sample as i32),
            }
            .map_err(full)?;
        }
        Ok(())
    }

    fn light(&mut self, level: u32) -> Result<(), Fault> {
        if level > 2 {
            return Err(Fault::WrongArguments);
        }
        if self.lamp != level {
            tracing::info!(level, "the signal lamp changes");
        }
        self.lamp = level;
        Ok(())
    }

    fn drive(&mut self, pin: u32, level: u32) -> Result<(), Fault> {
        if pin >= BOARD_PINS || level > 1 {
            return Err(Fault::WrongArguments);
        }
        let pins = self.pins & !(1 << pin) | level << pin;
        if self.pins != pins {
            tracing::info!(pin, level, "a pin of the board changes");
        }
        self.pins = pins;
        Ok(())
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
                let reading = self.sample(device, 0, (at % 4096) as u32);
                Ok(u64::from(reading.to_bits()))
            }
            (Capability::Actuator, "set") => {
                let value = f32::from_bits(word(1).ok_or(Fault::WrongArguments)?);
                tracing::info!(channel = first?, value, "an actuator is driven");
                Ok(0)
            }
            (Capability::Clock, "now-us") => Ok(self.clock.now().as_micros()),
            (Capability::Log, "write") => {
                let from = first? as usize;
                let len = word(1).ok_or(Fault::WrongArguments)? as usize;
                let end = from.checked_add(len).ok_or(Fault::WrongArguments)?;
                let line = memory.get(from..end).ok_or(Fault::WrongArguments)?;
                let line = String::from_utf8_lossy(&line[..len.min(MAX_LINE)]);
                // Escaped, so that no tasklet writes to the operator's terminal.
                tracing::info!(line = %line.escape_debug(), "a tasklet says");
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
        self.serve(device, args, result)
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
        LinuxHost::new(&names, Values::in_memory(), Clock::start(), 1)
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
        assert_eq!(host.pins, 1 << 25);
        assert_eq!(native(&mut host, names[1], &[25, 0]).unwrap(), [0x80]);
        assert_eq!(host.pins, 0);
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
        let unknown = call(Capability::Clock, "set", &[], &mut []);
        assert_eq!(unknown, Err(Fault::UnknownImport));
    }
}
