//! A sum of special functions.
#![no_std]

use nimblenet_sdk::export;

export! {
    fn run(x: f64) -> f64 {
        libm::erf(x) + libm::tgamma(x) + libm::jn(3, x)
    }
}
