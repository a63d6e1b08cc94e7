//! Overheating: the board's lamp is lit while its processor is too hot.
#![no_std]

use nimblenet_sdk::{export, import};

import! {
    "shop/board-temperature" fn board_temperature() -> i32;
    "std/mean" fn mean(samples: &[f32]) -> f32;
    "shop/board-gpio" fn board_gpio(pin: u32, level: u32);
}

const READINGS: usize = 64;
/// The pin of the lamp of a Raspberry Pi Pico.
const LAMP: u32 = 25;

export! {
    /// The mean of so many readings; the lamp is lit if it is above the limit.
    fn run(samples: u32, limit: i32) -> i32 {
        let mut readings = [0.0; READINGS];
        let readings = &mut readings[..(samples as usize).clamp(1, READINGS)];
        for reading in readings.iter_mut() {
            // Thousandths of degrees are small enough to be exact.
            *reading = board_temperature() as f32;
        }
        let temperature = mean(readings) as i32;
        board_gpio(LAMP, u32::from(temperature > limit));
        temperature
    }
}
