//! Hann window over a frame of raw samples, scaled to -1..1.
#![no_std]

use nimblenet_sdk::{export, float};

export! {
    /// Writes each sample times its weight; a frame has at least three samples.
    fn run(samples: &[i16], windowed: &mut [f32]) -> usize {
        // cos(k * angle) by recurrence: cos((k+1)a) = 2 cos(a) cos(ka) - cos((k-1)a).
        let intervals = samples.len().saturating_sub(1);
        let step = float::cos_small(core::f32::consts::TAU / intervals as f32);
        let (mut now, mut before) = (1.0, step);
        for (to, from) in windowed.iter_mut().zip(samples) {
            *to = f32::from(*from) * ((0.5 - 0.5 * now) / 32768.0);
            (now, before) = (2.0 * step * now - before, now);
        }
        samples.len().min(windowed.len())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::run;

    #[test]
    fn the_window_is_that_of_the_book() {
        let samples = [16384i16; 64];
        let mut windowed = [0.0; 64];
        assert_eq!(run(&samples, &mut windowed), 64);
        for (k, value) in windowed.iter().enumerate() {
            let angle = std::f64::consts::TAU * k as f64 / 63.0;
            let expected = 0.5 * (0.5 - 0.5 * angle.cos());
            assert!((f64::from(*value) - expected).abs() < 1e-3, "{k}");
        }
    }
}
