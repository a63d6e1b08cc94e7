//! The computations of the tasklets, in plain Rust and double precision.

/// Root mean square.
pub(crate) fn rms(samples: &[f32]) -> f64 {
    let energy: f64 = samples.iter().map(|s| f64::from(*s).powi(2)).sum();
    (energy / samples.len() as f64).sqrt()
}

/// Greatest magnitude.
pub(crate) fn peak(samples: &[f32]) -> f64 {
    let magnitudes = samples.iter().map(|s| f64::from(s.abs()));
    magnitudes.fold(0.0, f64::max)
}

/// Arithmetic mean.
pub(crate) fn mean(samples: &[f32]) -> f64 {
    samples.iter().map(|s| f64::from(*s)).sum::<f64>() / samples.len() as f64
}

/// Peak by root mean square.
pub(crate) fn crest(samples: &[f32]) -> f64 {
    peak(samples) / rms(samples)
}

/// Greatest distance from the mean in standard deviations; 0 if there is no deviation.
pub(crate) fn zscore(samples: &[f32]) -> f64 {
    let mean = mean(samples);
    let distance = |s: &f32| (f64::from(*s) - mean).abs();
    let variance = samples.iter().map(|s| distance(s).powi(2)).sum::<f64>() / samples.len() as f64;
    if variance == 0.0 {
        return 0.0;
    }
    samples.iter().map(distance).fold(0.0, f64::max) / variance.sqrt()
}

/// Slope of the least-squares line.
pub(crate) fn slope(samples: &[f32]) -> f64 {
    let n = samples.len() as f64;
    let (mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0);
    for (k, sample) in samples.iter().enumerate() {
        let (k, sample) = (k as f64, f64::from(*sample));
        (x, y, xx, xy) = (x + k, y + sample, xx + k * k, xy + k * sample);
    }
    let below = n * xx - x * x;
    if below == 0.0 {
        0.0
    } else {
        (n * xy - x * y) / below
    }
}

/// Squared magnitude of one frequency, by the definition of the Fourier transform.
pub(crate) fn goertzel(samples: &[f32], coefficient: f64) -> f64 {
    let angle = (coefficient / 2.0).acos();
    let (mut re, mut im) = (0.0, 0.0);
    for (k, sample) in samples.iter().enumerate() {
        re += f64::from(*sample) * (angle * k as f64).cos();
        im -= f64::from(*sample) * (angle * k as f64).sin();
    }
    let scale = 2.0 / samples.len() as f64;
    (re * re + im * im) * scale * scale
}

/// Hann window, scaled to -1..1.
pub(crate) fn window(samples: &[i16]) -> Vec<f64> {
    let step = core::f64::consts::TAU / (samples.len() - 1) as f64;
    let weight = |k: usize| 0.5 - 0.5 * (step * k as f64).cos();
    let weighted = samples.iter().enumerate();
    weighted
        .map(|(k, s)| f64::from(*s) / 32768.0 * weight(k))
        .collect()
}

/// Second-order filter in direct form I, coefficients b0 b1 b2 a1 a2.
pub(crate) fn biquad(samples: &[f32], [b0, b1, b2, a1, a2]: [f64; 5]) -> Vec<f64> {
    let (mut x1, mut x2, mut y1, mut y2) = (0.0, 0.0, 0.0, 0.0);
    let filter = |sample: &f32| {
        let x = f64::from(*sample);
        let y = b0 * x + b1 * x1 + b2 * x2 - a1 * y1 - a2 * y2;
        (x2, x1, y2, y1) = (x1, x, y1, y);
        y
    };
    samples.iter().map(filter).collect()
}

/// Means of consecutive windows, rounded towards zero.
pub(crate) fn moving_average(samples: &[i32], window: usize) -> Vec<i32> {
    if window == 0 {
        return Vec::new();
    }
    let means = samples.windows(window);
    means
        .map(|part| part.iter().sum::<i32>() / window as i32)
        .collect()
}

/// 128 samples of a turning bearing with `hits` pits of the given depth.
pub(crate) fn bearing(hits: usize, amplitude: f32) -> Vec<i16> {
    let mut samples: Vec<f32> = (0..128)
        .map(|k| 0.05 * (core::f32::consts::TAU * 7.0 * k as f32 / 128.0).sin())
        .collect();
    for hit in 0..hits {
        let at = 128 * (2 * hit + 1) / (2 * hits);
        for (k, sample) in samples.iter_mut().skip(at).take(10).enumerate() {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            *sample += amplitude * sign * (-(k as f32) / 2.5).exp();
        }
    }
    samples.iter().map(|s| (s * 32768.0) as i16).collect()
}
