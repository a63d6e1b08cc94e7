//! Contents for modules that only take time: as compressible as real ones.
//!
//! A timed module is its times and then nothing that matters. Here that rest is made of pieces of a
//! pool, which is the namespace's dictionary, and of random bytes, in such parts that a module is
//! compressed to a given share of its length.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::executor::TimedExecutor;

/// The length of the pool: that of the dictionary of a namespace of real modules.
const POOL_BYTES: usize = nimblenet_core::compression::DICTIONARY_BYTES;
/// The length of a piece.
const PIECE_BYTES: usize = 16;
/// What a piece of the pool takes when it is compressed, and a piece of random bytes, in bytes.
const COPIED_BYTES: f64 = 2.5;
const RANDOM_BYTES: f64 = 17.0;

/// Makes the contents of modules.
pub(crate) struct Code {
    random: ChaCha8Rng,
    pool: Vec<u8>,
    ratio: f64,
    /// Bytes that were made so far, and what they take when they are compressed.
    plain: f64,
    compressed: f64,
}

impl Code {
    /// Modules that are compressed to `ratio` of their length, the same for every run.
    pub(crate) fn new(ratio: f64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let pool = (0..POOL_BYTES).map(|_| random.random()).collect();
        Self {
            random,
            pool,
            ratio,
            plain: 0.0,
            compressed: 0.0,
        }
    }

    /// The dictionary with which the modules are compressed.
    pub(crate) fn dictionary(&self) -> Vec<u8> {
        self.pool.clone()
    }

    /// Replaces what follows the times of a module, which stands for code.
    pub(crate) fn fill(&mut self, module: &mut [u8]) {
        let start = TimedExecutor::times_bytes(module);
        // The times can hardly be compressed.
        self.count(start as f64, start as f64);
        for piece in module[start..].chunks_mut(PIECE_BYTES) {
            let len = piece.len();
            let share = len as f64 / PIECE_BYTES as f64;
            if self.compressed > self.ratio * self.plain {
                let from = self.random.random_range(0..=self.pool.len() - len);
                piece.copy_from_slice(&self.pool[from..from + len]);
                self.count(len as f64, COPIED_BYTES);
            } else {
                self.random.fill(piece);
                self.count(len as f64, share * RANDOM_BYTES);
            }
        }
    }

    fn count(&mut self, plain: f64, compressed: f64) {
        self.plain += plain;
        self.compressed += compressed;
    }
}

#[cfg(test)]
mod tests {
    use nimblenet_core::compression::compress;

    use super::*;

    #[test]
    fn modules_are_compressed_as_far_as_was_asked_for_and_keep_their_times() {
        for ratio in [0.4, 0.55, 0.8] {
            let mut code = Code::new(ratio);
            let (mut plain, mut compressed) = (0, 0);
            for len in (100..500).step_by(3) {
                let times = TimedExecutor::module(&[1_000_000, 2_000_001], len);
                let mut module = times.clone();
                code.fill(&mut module);
                assert_eq!(module[..9], times[..9]);
                plain += module.len();
                compressed += compress(&module, &code.dictionary()).unwrap().len();
            }
            let made = compressed as f64 / plain as f64;
            assert!((made - ratio).abs() < 0.03, "{made} instead of {ratio}");
        }
    }
}
