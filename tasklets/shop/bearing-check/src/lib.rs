//! Mechanical assembly: the state of a turning bearing, by its sound.
#![no_std]

use nimblenet_sdk::{export, import};

import! {
    "shop/vibration" fn vibration(count: u32, samples: &mut [i16]) -> usize;
    "std/window" fn window(samples: &[i16], windowed: &mut [f32]) -> usize;
    "std/rms" fn rms(samples: &[f32]) -> f32;
    "std/crest" fn crest(samples: &[f32]) -> f32;
    "std/zscore" fn zscore(samples: &[f32]) -> f32;
    "shop/bearing-class" fn classify(rms: f32, peak: f32, crest: f32, zscore: f32) -> u32;
}

const SAMPLES: usize = 128;

export! {
    /// 0 good, 1 worn, 2 defective.
    fn run(count: u32) -> u32 {
        let mut raw = [0; SAMPLES];
        let mut frame = [0.0; SAMPLES];
        let read = vibration(count.min(SAMPLES as u32), &mut raw);
        let read = window(&raw[..read], &mut frame);
        let frame = &frame[..read];
        let (level, crest) = (rms(frame), crest(frame));
        classify(level, level * crest, crest, zscore(frame))
    }
}
