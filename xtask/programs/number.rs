//! The number that a text stands for.
#![no_std]

use nimblenet_sdk::export;

export! {
    fn run(text: &str) -> f64 {
        fast_float2::parse(text).unwrap()
    }
}
