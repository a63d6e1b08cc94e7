//! Greatest standard score in a frame.
#![no_std]

use nimblenet_sdk::{export, float};

export! {
    /// Distance of the strangest sample from the mean, in standard deviations.
    fn run(samples: &[f32]) -> f32 {
        let count = samples.len() as f32;
        let mean = samples.iter().sum::<f32>() / count;
        let (mut squares, mut greatest) = (0.0, 0.0);
        for sample in samples {
            let square = (sample - mean) * (sample - mean);
            squares += square;
            if square > greatest {
                greatest = square;
            }
        }
        if squares > 0.0 { float::sqrt(greatest * count / squares) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn one_spike_among_equals_stands_out() {
        assert_eq!(run(&[5.0; 8]), 0.0);
        assert_eq!(run(&[]), 0.0);
        // Mean 1, variance (3 * 1 + 9) / 4 = 3.
        assert!((run(&[0.0, 0.0, 0.0, 4.0]) - 3f32 / 1.732_050_8).abs() < 1e-6);
    }
}
