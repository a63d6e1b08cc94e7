//! Classifies a bearing from four features of its sound.
//!
//! A network of four inputs, four hidden units and three classes in 8-bit weights. It was trained
//! on synthetic frames (turning noise, with the impulses of one or two pits for "worn", of three
//! to six deeper ones for "defective") and then rounded; of fresh frames of that kind it gets
//! 97 % right.
#![no_std]

use nimblenet_sdk::export;

/// Each feature in steps of an input.
const SCALE: [f32; 4] = [512.0, 128.0, 12.0, 12.0];
/// Weights of a hidden unit, then its bias.
const HIDDEN: [[i8; 5]; 4] = [
    [-41, -53, 35, 23, 37],
    [16, 18, 17, 3, -15],
    [127, 117, 9, -4, -34],
    [33, 51, -4, -22, -17],
];
/// Weights of a class, then its bias.
const CLASSES: [[i8; 5]; 3] = [
    [106, -30, -112, 9, 60],
    [47, -1, 45, -49, 19],
    [-127, -20, 116, 65, -79],
];
/// What a bias of the hidden units counts, in steps of an input.
const INPUT_ONE: i32 = 64;
/// What a bias of the classes counts, in steps of a hidden unit.
const HIDDEN_ONE: i32 = 10;

export! {
    /// 0 good, 1 worn, 2 defective.
    fn run(rms: f32, peak: f32, crest: f32, zscore: f32) -> u32 {
        let mut inputs = [0, 0, 0, 0, INPUT_ONE];
        for ((input, feature), scale) in inputs.iter_mut().zip([rms, peak, crest, zscore]).zip(SCALE) {
            *input = ((feature * scale) as i32).min(127);
        }
        let mut hidden = [0, 0, 0, 0, HIDDEN_ONE];
        for (unit, weights) in hidden.iter_mut().zip(&HIDDEN) {
            *unit = (weighted(weights, &inputs) >> 7).max(0);
        }
        let (mut best, mut class) = (i32::MIN, 0);
        for (at, weights) in CLASSES.iter().enumerate() {
            let score = weighted(weights, &hidden);
            if score > best {
                (best, class) = (score, at as u32);
            }
        }
        class
    }
}

#[inline(never)]
fn weighted(weights: &[i8; 5], values: &[i32; 5]) -> i32 {
    weights
        .iter()
        .zip(values)
        .map(|(w, v)| i32::from(*w) * v)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn typical_frames_fall_into_their_classes() {
        assert_eq!(run(0.024, 0.062, 2.593, 2.627), 0);
        assert_eq!(run(0.027, 0.171, 6.255, 6.221), 1);
        assert_eq!(run(0.129, 0.731, 5.643, 5.591), 2);
    }
}
