//! Samples at 1 kHz without what is above 10 Hz.
#![no_std]

use biquad::{Biquad, Coefficients, DirectForm2Transposed, Q_BUTTERWORTH_F32, ToHertz, Type};
use nimblenet_sdk::export;

export! {
    fn run(samples: &[f32], filtered: &mut [f32]) -> usize {
        let low = Type::LowPass;
        let coefficients =
            Coefficients::<f32>::from_params(low, 1.khz(), 10.hz(), Q_BUTTERWORTH_F32).unwrap();
        let mut filter = DirectForm2Transposed::<f32>::new(coefficients);
        for (to, sample) in filtered.iter_mut().zip(samples) {
            *to = filter.run(*sample);
        }
        samples.len().min(filtered.len())
    }
}
