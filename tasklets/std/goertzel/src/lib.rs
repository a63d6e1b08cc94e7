//! Power of one frequency in a frame, by Goertzel's algorithm.
#![no_std]

use nimblenet_sdk::export;

export! {
    /// The squared magnitude at the frequency that `coefficient` = 2 cos(2 pi f / rate) names,
    /// scaled so that a sine of amplitude a gives a * a.
    fn run(samples: &[f32], coefficient: f32) -> f32 {
        let (mut now, mut before) = (0.0, 0.0);
        for sample in samples {
            (now, before) = (sample + coefficient * now - before, now);
        }
        let scale = 2.0 / samples.len().max(1) as f32;
        (now * now + before * before - coefficient * now * before) * (scale * scale)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::run;

    #[test]
    fn a_sine_shows_at_its_own_frequency_only() {
        let mut samples = [0.0; 64];
        for (k, sample) in samples.iter_mut().enumerate() {
            *sample = 0.5 * (std::f32::consts::TAU * 5.0 * k as f32 / 64.0).sin();
        }
        let coefficient = |bin: f32| 2.0 * (std::f32::consts::TAU * bin / 64.0).cos();
        assert!((run(&samples, coefficient(5.0)) - 0.25).abs() < 1e-3);
        assert!(run(&samples, coefficient(9.0)) < 1e-3);
    }
}
