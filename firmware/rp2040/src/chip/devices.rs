//! The chip's temperature sensor and pins, as devices for tasklets.

use embassy_rp::Peri;
use embassy_rp::adc::{Adc, Blocking, Channel, Config};
use embassy_rp::clocks::RoscRng;
use embassy_rp::gpio::{AnyPin, Flex};
use embassy_rp::peripherals::{ADC, ADC_TEMP_SENSOR};

use nimblenet_board::host::Devices;

use crate::alarm;

/// Pins that tasklets may drive, with their numbers: neither a link nor the board itself needs
/// them.
pub(crate) type Pins<const PINS: usize> = [(u8, Peri<'static, AnyPin>); PINS];

/// Pins of a chip by their numbers.
macro_rules! pins {
    ($chip:ident: $($number:literal $pin:ident),+ $(,)?) => {
        [$(($number, $chip.$pin.into())),+]
    };
}
pub(crate) use pins;

/// The most pins of any board.
const MAX_PINS: usize = 21;

/// The devices of a Raspberry Pi Pico.
pub(crate) struct ChipDevices {
    adc: Adc<'static, Blocking>,
    sensor: Channel<'static>,
    pins: heapless::Vec<(u8, Flex<'static>), MAX_PINS>,
}

impl ChipDevices {
    /// Takes the sensor and the pins.
    pub(crate) fn new<const PINS: usize>(
        adc: Peri<'static, ADC>,
        sensor: Peri<'static, ADC_TEMP_SENSOR>,
        pins: Pins<PINS>,
    ) -> Self {
        alarm::start();
        Self {
            adc: Adc::new_blocking(adc, Config::default()),
            sensor: Channel::new_temp_sensor(sensor),
            pins: pins
                .into_iter()
                .map(|(number, pin)| (number, Flex::new(pin)))
                .collect(),
        }
    }
}

impl Devices for ChipDevices {
    fn temperature(&mut self) -> Option<u16> {
        self.adc.blocking_read(&mut self.sensor).ok()
    }

    fn drive(&mut self, pin: u32, high: bool) -> bool {
        let Some((_, pin)) = self.pins.iter_mut().find(|(at, _)| u32::from(*at) == pin) else {
            return false;
        };
        if high {
            pin.set_high();
        } else {
            pin.set_low();
        }
        pin.set_as_output();
        true
    }

    fn micros(&self) -> u64 {
        embassy_time::Instant::now().as_micros()
    }

    fn rest_until(&mut self, end: u64) {
        alarm::rest_until(end, || self.micros());
    }

    fn random(&mut self) -> u32 {
        RoscRng.next_u32()
    }
}
