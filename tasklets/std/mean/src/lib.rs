//! Arithmetic mean of a frame.
#![no_std]

use nimblenet_sdk::export;

export! {
    /// The mean, 0 of an empty frame.
    fn run(samples: &[f32]) -> f32 {
        let sum: f32 = samples.iter().sum();
        sum / samples.len().max(1) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn the_mean_of_nothing_is_zero() {
        assert_eq!(run(&[]), 0.0);
        assert_eq!(run(&[1.0, 2.0, 6.0]), 3.0);
    }
}
