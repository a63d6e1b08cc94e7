//! The inverse of a matrix, by columns.
#![no_std]

use glam::Mat4;
use nimblenet_sdk::export;

export! {
    fn run(matrix: &[f32], inverse: &mut [f32]) -> usize {
        Mat4::from_cols_slice(matrix).inverse().write_cols_to_slice(inverse);
        16
    }
}
