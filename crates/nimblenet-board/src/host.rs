//! What the board offers to tasklets: native tasklets, and the functions behind capabilities.
//!
//! | native tasklet | signature | |
//! |---|---|---|
//! | `*/board-temperature` | `func() -> s32` | the chip's own sensor, thousandths of a degree Celsius |
//! | `*/board-gpio` | `func(pin: u32, level: u32)` | drives a pin: 0 low, 1 high |
//!
//! They serve every namespace that publishes them with the capability that they need, `sensor` or
//! `actuator`, and has it on this board.

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::{Capabilities, Capability, Fault, Host, TaskletName};

/// How many values all tasklets together may keep on the board.
const VALUES: usize = 16;
/// The longest sleep, in microseconds, and the longest time that all sleeps of a tasklet together may
/// take before it lets others have their turn: an interpreter that is silent for four seconds counts as
/// lost.
pub const LONGEST_SLEEP_US: u32 = 2_000_000;

/// The board's own devices.
pub trait Devices {
    /// A reading of the chip's temperature sensor, in 1/4096 of the reference of 3.3 V; none if it
    /// fails.
    fn temperature(&mut self) -> Option<u16>;
    /// Drives a pin; false if tasklets may not have it.
    fn drive(&mut self, pin: u32, high: bool) -> bool;
    /// Microseconds since the board's start.
    fn micros(&self) -> u64;
    /// Lets the core that calls this rest until [`micros`](Self::micros) has come to `end`.
    fn rest_until(&mut self, end: u64);
    /// Random bits.
    fn random(&mut self) -> u32;
}

/// Serves tasklets with the board's devices.
#[derive(Debug)]
pub struct BoardHost<D> {
    devices: D,
    values: heapless::Vec<Kept, VALUES>,
}

/// What a tasklet keeps under a key until the board starts anew. A value of 0 takes no room.
#[derive(Debug)]
struct Kept {
    tasklet: TaskletName,
    key: u32,
    value: u64,
}

impl<D: Devices> BoardHost<D> {
    /// A host with these devices.
    pub fn new(devices: D) -> Self {
        let values = heapless::Vec::new();
        Self { devices, values }
    }

    fn temperature(&mut self) -> Result<i32, Fault> {
        let raw = self.devices.temperature().ok_or(Fault::DeviceFailed)?;
        Ok(millidegrees(raw))
    }

    /// Waits so many microseconds. The interpreter serves nothing else meanwhile.
    fn sleep(&mut self, micros: u32) -> Result<u64, Fault> {
        if micros > LONGEST_SLEEP_US {
            return Err(Fault::DeviceFailed);
        }
        let end = self.devices.micros() + u64::from(micros);
        self.devices.rest_until(end);
        Ok(0)
    }

    /// Where the value of `tasklet` under `key` is.
    fn kept(&self, tasklet: &TaskletName, key: u32) -> Option<usize> {
        let is_it = |kept: &Kept| kept.key == key && kept.tasklet == *tasklet;
        self.values.iter().position(is_it)
    }

    fn keep(&mut self, tasklet: &TaskletName, key: u32, value: u64) -> Result<(), Fault> {
        if let Some(at) = self.kept(tasklet, key) {
            self.values.swap_remove(at);
        }
        if value == 0 {
            return Ok(());
        }
        let kept = Kept {
            tasklet: *tasklet,
            key,
            value,
        };
        self.values.push(kept).map_err(|_| Fault::DeviceFailed)
    }
}

/// The sensor gives 0.706 V at 27 degrees and 1.721 mV less for each degree more (RP2040
/// datasheet, section 4.9.5).
fn millidegrees(raw: u16) -> i32 {
    let microvolts = i32::from(raw) * 51_563 / 64;
    27_000 - (i64::from(microvolts - 706_000) * 1000 / 1721) as i32
}

impl<D: Devices> Host for BoardHost<D> {
    fn offers(&self) -> Capabilities {
        Capabilities::NONE
            .with(Capability::Sensor)
            .with(Capability::Actuator)
            .with(Capability::Clock)
            .with(Capability::Kv)
            .with(Capability::Random)
    }

    fn call(
        &mut self,
        tasklet: &TaskletName,
        capability: Capability,
        function: &str,
        args: &[u64],
        _memory: &mut [u8],
    ) -> Result<u64, Fault> {
        let word = |at: usize| args.get(at).copied().ok_or(Fault::WrongArguments);
        match (capability, function) {
            (Capability::Sensor, "read") => match word(0)? as u32 {
                0 => {
                    let degrees = self.temperature()? as f32 / 1000.0;
                    Ok(u64::from(degrees.to_bits()))
                }
                _ => Err(Fault::DeviceFailed),
            },
            (Capability::Actuator, "set") => {
                let (pin, value) = (word(0)? as u32, f32::from_bits(word(1)? as u32));
                let driven = self.devices.drive(pin, value != 0.0);
                driven.then_some(0).ok_or(Fault::DeviceFailed)
            }
            (Capability::Clock, "now-us") => Ok(self.devices.micros()),
            (Capability::Clock, "sleep-us") => self.sleep(word(0)? as u32),
            (Capability::Kv, "get") => {
                let at = self.kept(tasklet, word(0)? as u32);
                Ok(at.map_or(0, |at| self.values[at].value))
            }
            (Capability::Kv, "set") => {
                self.keep(tasklet, word(0)? as u32, word(1)?)?;
                Ok(0)
            }
            (Capability::Random, "u32") => Ok(u64::from(self.devices.random())),
            _ => Err(Fault::UnknownImport),
        }
    }

    fn needs(&self, name: &TaskletName) -> Option<Capabilities> {
        let needs = match name.name.as_str() {
            "board-temperature" => Capability::Sensor,
            "board-gpio" => Capability::Actuator,
            _ => return None,
        };
        Some(Capabilities::NONE.with(needs))
    }

    fn native(
        &mut self,
        name: &TaskletName,
        export: &str,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
        if !matches!(export, "" | "run") {
            return Err(Fault::UnknownExport);
        }
        let mut args = Decoder::new(args);
        args.array().map_err(|_| Fault::WrongArguments)?;
        let mut next = || {
            let number = args.u64().ok().and_then(|it| u32::try_from(it).ok());
            number.ok_or(Fault::WrongArguments)
        };
        let mut out = Encoder::new(Cursor::new(result));
        let full = |_| Fault::ValuesTooLarge;
        match name.name.as_str() {
            "board-temperature" => {
                let temperature = self.temperature()?;
                out.array(1).map_err(full)?.i32(temperature).map_err(full)?;
            }
            "board-gpio" => {
                let (pin, level) = (next()?, next()?);
                if level > 1 {
                    return Err(Fault::WrongArguments);
                }
                if !self.devices.drive(pin, level == 1) {
                    return Err(Fault::DeviceFailed);
                }
                out.array(0).map_err(full)?;
            }
            _ => return Err(Fault::NoExecutor),
        }
        Ok(out.writer().position())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::cell::Cell;

    use super::*;

    #[derive(Default)]
    struct Desk {
        broken: bool,
        /// Passes by one at each look.
        micros: Cell<u64>,
        driven: Vec<(u32, bool)>,
    }

    impl Devices for Desk {
        fn temperature(&mut self) -> Option<u16> {
            (!self.broken).then_some(891)
        }

        fn drive(&mut self, pin: u32, high: bool) -> bool {
            self.driven.push((pin, high));
            pin == 25
        }

        fn micros(&self) -> u64 {
            self.micros.replace(self.micros.get() + 1)
        }

        fn rest_until(&mut self, end: u64) {
            let now = self.micros.get();
            self.micros.set(now.max(end));
        }

        fn random(&mut self) -> u32 {
            4
        }
    }

    fn native(host: &mut BoardHost<Desk>, name: &str, args: &[u32]) -> Result<Vec<u8>, Fault> {
        let mut result = [0; 16];
        let mut encoded = [0; 32];
        let mut encoder = Encoder::new(Cursor::new(&mut encoded[..]));
        encoder.array(args.len() as u64).unwrap();
        for arg in args {
            encoder.u32(*arg).unwrap();
        }
        let len = encoder.writer().position();
        let name = TaskletName::new(name).unwrap();
        let len = host.native(&name, "", &encoded[..len], &mut result)?;
        Ok(result[..len].to_vec())
    }

    #[test]
    fn the_chip_is_at_27_degrees_where_its_sensor_gives_706_millivolts() {
        assert!((millidegrees(876) - 27_000).abs() < 500);
        let per_step = millidegrees(900) - millidegrees(901);
        assert!((450..490).contains(&per_step), "{per_step}");
        assert!(millidegrees(0) > 100_000 && millidegrees(4095) < -273_000);
    }

    #[test]
    fn native_tasklets_read_the_sensor_and_drive_pins() {
        let mut host = BoardHost::new(Desk::default());
        let read = native(&mut host, "shop/board-temperature", &[]).unwrap();
        let temperature = Decoder::new(&read[1..]).i32().unwrap();
        assert_eq!(temperature, millidegrees(891));
        assert_eq!(
            native(&mut host, "lab/board-gpio", &[25, 1]),
            Ok(Vec::from([0x80]))
        );
        assert_eq!(host.devices.driven, [(25, true)]);
    }

    #[test]
    fn what_the_board_does_not_have_is_refused() {
        let mut host = BoardHost::new(Desk::default());
        let refused = |host: &mut _, name, args: &[u32]| native(host, name, args).unwrap_err();
        assert_eq!(
            refused(&mut host, "shop/board-gpio", &[0, 1]),
            Fault::DeviceFailed
        );
        assert_eq!(
            refused(&mut host, "shop/board-gpio", &[25, 2]),
            Fault::WrongArguments
        );
        assert_eq!(
            refused(&mut host, "shop/board-gpio", &[25]),
            Fault::WrongArguments
        );
        assert_eq!(
            refused(&mut host, "shop/vibration", &[1]),
            Fault::NoExecutor
        );
        host.devices.broken = true;
        assert_eq!(
            refused(&mut host, "shop/board-temperature", &[]),
            Fault::DeviceFailed
        );
    }

    fn call(
        host: &mut BoardHost<Desk>,
        tasklet: &str,
        capability: Capability,
        function: &str,
        args: &[u64],
    ) -> Result<u64, Fault> {
        let tasklet = TaskletName::new(tasklet).unwrap();
        host.call(&tasklet, capability, function, args, &mut [])
    }

    #[test]
    fn every_function_of_what_is_offered_is_served() {
        let mut host = BoardHost::new(Desk::default());
        for capability in host.offers().iter() {
            for function in capability.functions() {
                let pin = if capability == Capability::Actuator {
                    25
                } else {
                    0
                };
                let args = [pin, 1];
                let served = call(&mut host, "shop/all", capability, function.name, &args);
                assert!(served.is_ok(), "{capability:?} {}", function.name);
            }
        }
        let unknown = call(&mut host, "shop/all", Capability::Log, "write", &[0, 0]);
        assert_eq!(unknown, Err(Fault::UnknownImport));
    }

    #[test]
    fn a_sleep_lasts_as_long_as_it_is_asked_to_and_not_too_long() {
        let mut host = BoardHost::new(Desk::default());
        let mut sleep = |micros| {
            let slept = call(
                &mut host,
                "shop/nap",
                Capability::Clock,
                "sleep-us",
                &[micros],
            );
            (slept, host.devices.micros.get())
        };
        let (slept, at) = sleep(500);
        assert_eq!(slept, Ok(0));
        assert!((500..510).contains(&at), "{at}");
        assert_eq!(sleep(2_000_001), (Err(Fault::DeviceFailed), at));
    }

    fn set(host: &mut BoardHost<Desk>, tasklet: &str, key: u64, value: u64) -> Result<u64, Fault> {
        call(host, tasklet, Capability::Kv, "set", &[key, value])
    }

    fn get(host: &mut BoardHost<Desk>, tasklet: &str, key: u64) -> Result<u64, Fault> {
        call(host, tasklet, Capability::Kv, "get", &[key])
    }

    #[test]
    fn each_tasklet_of_each_namespace_has_values_of_its_own() {
        let mut host = BoardHost::new(Desk::default());
        set(&mut host, "shop/count", 7, 9).unwrap();
        for other in ["shop/other", "lab/count"] {
            assert_eq!(get(&mut host, other, 7), Ok(0), "{other}");
            set(&mut host, other, 7, 1).unwrap();
        }
        assert_eq!(get(&mut host, "shop/count", 7), Ok(9));
    }

    #[test]
    fn kept_values_have_a_limit() {
        let mut host = BoardHost::new(Desk::default());
        for key in 0..VALUES as u64 {
            assert_eq!(set(&mut host, "shop/count", key, 1), Ok(0));
        }
        assert_eq!(set(&mut host, "shop/count", 0, 2), Ok(0), "held already");
        let full = Err(Fault::DeviceFailed);
        assert_eq!(set(&mut host, "shop/count", 99, 1), full);
        assert_eq!(set(&mut host, "shop/count", 1, 0), Ok(0), "gives room back");
        assert_eq!(set(&mut host, "lab/count", 99, 1), Ok(0));
    }
}
