//! Drives the interpreter: opens parcels and fills replies.

use ed25519_compact::{PublicKey, Signature};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::zerocopy_channel::{Receiver, Sender};
use nimblenet_executor::{ExecutorOptions, Freezing, HoldingExecutor, Limits};
use nimblenet_tasklet::Host;

/// Bytes of the arena where no radio needs the memory.
pub use nimblenet_executor::BOARD_ARENA_BYTES;

use crate::host::LONGEST_SLEEP_US;
use crate::lent::Lent;
use crate::parcel::{Parcel, Reply};

/// Fuel after which a tasklet yields: some milliseconds, so that a message to stop comes through.
pub const SLICE: u64 = 20_000;

/// Runs tasklets in an arena, and checks signatures.
pub struct Worker<'m, H> {
    executor: HoldingExecutor<'m, Lent>,
    host: H,
}

impl<'m, H: Host> Worker<'m, H> {
    /// A worker that runs tasklets in `arena` and serves them with `host`.
    pub fn new(arena: &'m mut [u8], host: H) -> Self {
        let options = ExecutorOptions {
            limits: Limits::small(),
            freezing: Freezing::UnderPressure,
            slice: SLICE,
            slept_us: LONGEST_SLEEP_US.into(),
            metered: true,
        };
        Self {
            executor: HoldingExecutor::new(arena, options),
            host,
        }
    }

    /// Does the work in `parcel` and fills `reply`.
    pub fn serve(&mut self, parcel: &Parcel, reply: &mut Reply) {
        let Self { executor, host } = self;
        reply.fill(|out| executor.serve(parcel, verify, host, out));
    }

    /// Serves one parcel after another, for ever.
    pub async fn run<M: RawMutex>(
        &mut self,
        mut work: Receiver<'_, M, Parcel>,
        mut replies: Sender<'_, M, Reply>,
    ) -> ! {
        loop {
            let parcel = work.receive().await;
            let reply = replies.send().await;
            self.serve(parcel, reply);
            // In this order, since the reader of the reply may have more work.
            work.receive_done();
            replies.send_done();
        }
    }
}

impl<H> core::fmt::Debug for Worker<'_, H> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

/// Whether `signature` is valid by the strict rule (RFC 8032, no small-order points).
fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let key = PublicKey::new(*key);
    key.verify(message, &Signature::new(*signature)).is_ok()
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use ed25519_dalek::{Signature as LinuxSignature, Signer, SigningKey, VerifyingKey};

    use super::*;

    const MESSAGE: &[u8] = b"message";

    /// Whether a Linux node takes a signature as valid.
    fn on_linux(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
        let signature = LinuxSignature::from_bytes(signature);
        VerifyingKey::from_bytes(key)
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }

    /// A good key and a good signature.
    fn good() -> ([u8; 32], [u8; 64]) {
        let key = SigningKey::from_bytes(&[7; 32]);
        (key.verifying_key().to_bytes(), key.sign(MESSAGE).to_bytes())
    }

    fn point(hex: &str) -> [u8; 32] {
        let mut point = [0; 32];
        for (byte, at) in point.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        }
        point
    }

    /// The eight points of small order, and encodings of points above the field's prime.
    fn odd_points() -> Vec<[u8; 32]> {
        let mut points: Vec<[u8; 32]> = [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        ]
        .map(point)
        .into();
        for at in 0..points.len() {
            let mut negative = points[at];
            negative[31] |= 0x80;
            points.push(negative);
        }
        points
    }

    #[test]
    fn att_29_boards_judge_signatures_as_linux_does() {
        let (key, signature) = good();
        assert!(verify(&key, MESSAGE, &signature));
        let (commitment, scalar) = signature.split_at(32);
        // The order of the group: the same scalar in other bytes.
        let order = point("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
        let mut shifted = [0; 32];
        let mut carry = 0;
        for ((to, byte), add) in shifted.iter_mut().zip(scalar).zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*to, carry) = (sum as u8, sum >> 8);
        }
        let mut points = odd_points();
        points.push(key);
        points.push(commitment.try_into().unwrap());
        let mut accepted = 0;
        for a in &points {
            for r in &points {
                for s in [scalar, &[0; 32], &shifted, &order, &[0xff; 32]] {
                    let mut signature = [0; 64];
                    signature[..32].copy_from_slice(r);
                    signature[32..].copy_from_slice(s);
                    let good = verify(a, MESSAGE, &signature);
                    assert_eq!(
                        good,
                        on_linux(a, MESSAGE, &signature),
                        "{a:x?} {r:x?} {s:x?}"
                    );
                    accepted += u32::from(good);
                }
            }
        }
        assert_eq!(accepted, 1, "the good one only");
        for bit in 0..512 {
            let mut flipped = signature;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&key, MESSAGE, &flipped), "bit {bit}");
        }
    }
}
