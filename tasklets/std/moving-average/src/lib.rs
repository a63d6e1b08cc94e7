//! Mean of each `window` consecutive samples.
#![no_std]

use nimblenet_sdk::export;

export! {
    /// Writes the means, rounded towards zero; none if the window is 0 or too long.
    fn run(samples: &[i32], window: u32, means: &mut [i32]) -> usize {
        if window == 0 {
            return 0;
        }
        let mut sum: i32 = 0;
        let mut written = 0;
        for (at, sample) in samples.iter().enumerate() {
            sum = sum.wrapping_add(*sample);
            let Some(first) = (at + 1).checked_sub(window as usize) else {
                continue;
            };
            let (Some(to), Some(oldest)) = (means.get_mut(written), samples.get(first)) else {
                break;
            };
            *to = sum / window as i32;
            written += 1;
            sum = sum.wrapping_sub(*oldest);
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn each_mean_is_of_one_window() {
        let mut means = [0; 8];
        assert_eq!(run(&[2, 4, 6, 8, 10, 12], 3, &mut means), 4);
        assert_eq!(means[..4], [4, 6, 8, 10]);
        assert_eq!(run(&[1, 2], 3, &mut means), 0);
        assert_eq!(run(&[1, 2], 0, &mut means), 0);
    }
}
