//! Lacquering: whether a painted part may be touched.
#![no_std]

use nimblenet_sdk::{export, import};

import! {
    "shop/paint-sensor" fn paint_sensor(count: u32, readings: &mut [f32]) -> usize;
    "std/mean" fn mean(samples: &[f32]) -> f32;
    "std/slope" fn slope(samples: &[f32]) -> f32;
    "std/zscore" fn zscore(samples: &[f32]) -> f32;
    "shop/signal-lamp" fn signal_lamp(level: u32);
}

const READINGS: usize = 64;
/// Parts per million and reading by which vapour still falls when paint is dry.
const FALL: f32 = 0.5;

export! {
    /// 1 dry, 0 wet, 2 sensor fault; the lamp shows green, yellow, red.
    fn run(threshold: f32) -> u32 {
        let mut readings = [0.0; READINGS];
        let read = paint_sensor(READINGS as u32, &mut readings);
        let readings = &readings[..read];
        let (verdict, lamp) = if zscore(readings) > 4.0 {
            (2, 2)
        } else if mean(readings) < threshold && slope(readings) > -FALL {
            (1, 0)
        } else {
            (0, 1)
        };
        signal_lamp(lamp);
        verdict
    }
}
