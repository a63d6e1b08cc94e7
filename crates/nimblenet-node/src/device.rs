//! Simulated devices, which stand behind native tasklets.

use core::f32::consts::TAU;
use core::fmt;

use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};
use nimblenet_tasklet::{Capabilities, Capability, Fault, Name, Signature, TaskletName};

use crate::random::Random;

/// Samples that a device gives at once.
const MAX_SAMPLES: u32 = 4096;
/// Pins of a board with an RP2040.
const BOARD_PINS: u32 = 30;

/// A simulated device, found by the second part of a native tasklet's name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Device {
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

    /// The capability that its tasklet must have.
    pub fn needs(self) -> Capabilities {
        Capabilities::NONE.with(match self {
            Self::Vibration
            | Self::TorqueSensor
            | Self::WeldSensor
            | Self::PaintSensor
            | Self::BoardTemperature => Capability::Sensor,
            Self::SignalLamp | Self::BoardGpio => Capability::Actuator,
        })
    }

    /// The device that stands behind the native tasklet `name`.
    pub fn of(name: &TaskletName) -> Option<Self> {
        let mut devices = Self::ALL.into_iter();
        let found = devices.find(|(known, _)| *known == name.name.as_str());
        found.map(|(_, device)| device)
    }

    /// The names that are known in a namespace, for messages: the same in each.
    pub fn names(namespace: &Name) -> String {
        Self::ALL
            .map(|(name, _)| format!("{namespace}/{name}"))
            .join(", ")
    }

    /// The signature of its only export, `run`.
    pub fn signature(self) -> Signature {
        let text = match self {
            Self::Vibration => "func(u32) -> list<s16>",
            Self::TorqueSensor | Self::PaintSensor => "func(u32) -> list<f32>",
            Self::WeldSensor => "func(u32, u32) -> list<s32>",
            Self::SignalLamp => "func(u32)",
            Self::BoardTemperature => "func() -> s32",
            Self::BoardGpio => "func(u32, u32)",
        };
        text.parse().expect("a signature")
    }
}

/// Simulated devices of every kind, one of each.
#[derive(Debug)]
pub struct Devices {
    lamp: u32,
    /// The levels of the pins of a simulated board, a bit each.
    pins: u32,
    random: Random,
    /// Takes a line about each change that a person would see.
    tell: fn(fmt::Arguments<'_>),
}

impl Devices {
    /// Devices whose noise is the same for the same `seed`. `tell` takes a line about each change
    /// that a person would see.
    pub fn new(seed: u64, tell: fn(fmt::Arguments<'_>)) -> Self {
        Self {
            lamp: 0,
            pins: 0,
            random: Random::new(seed),
            tell,
        }
    }

    /// One reading of a simulated device; `at` counts the samples of one call.
    pub(crate) fn sample(&mut self, device: Device, channel: u32, at: u32) -> f32 {
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

    /// Serves a call of a device: reads the CBOR array `args` and writes that of the results.
    /// Returns its length.
    ///
    /// # Errors
    /// [`Fault::WrongArguments`], or [`Fault::ValuesTooLarge`] if the results do not fit.
    pub fn serve(
        &mut self,
        device: Device,
        args: &[u8],
        result: &mut [u8],
    ) -> Result<usize, Fault> {
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
            (self.tell)(format_args!("signal lamp = {level}"));
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
            (self.tell)(format_args!("pin {pin} = {level}"));
        }
        self.pins = pins;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_tasklet::abi;

    use super::*;

    fn serve(devices: &mut Devices, device: Device, args: &[u32]) -> Result<Vec<u8>, Fault> {
        let mut result = [0; 64];
        let args = minicbor::to_vec(args).unwrap();
        let len = devices.serve(device, &args, &mut result)?;
        Ok(result[..len].to_vec())
    }

    #[test]
    fn each_device_does_what_its_signature_says() {
        let mut devices = Devices::new(1, |_| {});
        for (name, device) in Device::ALL {
            let signature = device.signature();
            let args: Vec<u32> = signature.params().map(|_| 1).collect();
            let results = serve(&mut devices, device, &args).unwrap();
            let types: Vec<_> = signature.results().collect();
            let expected = Signature::new(&types, &[]).unwrap();
            assert_eq!(abi::check_args(&expected, &results), Ok(()), "{name}");
        }
    }

    #[test]
    fn pins_keep_their_levels() {
        let mut devices = Devices::new(1, |_| {});
        serve(&mut devices, Device::BoardGpio, &[25, 1]).unwrap();
        serve(&mut devices, Device::BoardGpio, &[3, 1]).unwrap();
        assert_eq!(devices.pins, 1 << 25 | 1 << 3);
        serve(&mut devices, Device::BoardGpio, &[25, 0]).unwrap();
        assert_eq!(devices.pins, 1 << 3);
    }
}
