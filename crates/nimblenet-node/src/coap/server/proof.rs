//! Proofs of addresses: who has not shown that it gets what is sent to its address is sent no more than
//! three times what came from there (RFC 9175, section 2.3). Else whoever writes another's address on a
//! request would have this server send it a lot.

use alloc::collections::VecDeque;
use core::net::IpAddr;
use core::time::Duration;

use nimblenet_core::Instant;
use nimblenet_tasklet::Digest;

use super::Ends;
use crate::coap::message::ECHO_BYTES;
use crate::random::Random;

/// An answer to an address that has proved nothing has at most this many times the question's bytes.
pub(super) const FACTOR: usize = 3;
/// A proof is good for so long, and a value for that time to twice as long.
const LIFETIME: Duration = Duration::from_secs(300);
/// The most addresses that are remembered; the oldest proof is forgotten first.
const MAX_PROVED: usize = 4096;

#[derive(Debug)]
pub(super) struct Proofs {
    secret: [u8; 16],
    proved: VecDeque<(IpAddr, Instant)>,
}

impl Proofs {
    pub(super) fn new(random: &mut Random) -> Self {
        let mut secret = [0; 16];
        for byte in &mut secret {
            *byte = random.below(256) as u8;
        }
        Self {
            secret,
            proved: VecDeque::new(),
        }
    }

    /// Whether a peer may be sent any answer. Nobody else can use the addresses of this machine.
    pub(super) fn has(&self, now: Instant, ends: &Ends) -> bool {
        let address = ends.remote.ip();
        let good = |(_, at): &&(IpAddr, Instant)| now.since(*at) < LIFETIME;
        let mut proved = self.proved.iter().filter(good);
        address.is_loopback() || proved.any(|(known, _)| *known == address)
    }

    /// The value that a peer has to send back.
    pub(super) fn value(&self, now: Instant, ends: &Ends) -> [u8; ECHO_BYTES] {
        self.value_of(period(now), ends)
    }

    /// Takes the value that came with a request.
    pub(super) fn take(&mut self, now: Instant, ends: &Ends, value: &[u8]) {
        let present = period(now);
        let periods = [present, present.wrapping_sub(1)];
        if !periods
            .map(|it| self.value_of(it, ends))
            .iter()
            .any(|it| it == value)
        {
            return;
        }
        let address = ends.remote.ip();
        self.proved.retain(|(known, _)| *known != address);
        if self.proved.len() == MAX_PROVED {
            self.proved.pop_front();
        }
        self.proved.push_back((address, now));
    }

    fn value_of(&self, period: u64, ends: &Ends) -> [u8; ECHO_BYTES] {
        let address = ends.remote.ip().to_string();
        let bytes = [&self.secret[..], &period.to_be_bytes(), address.as_bytes()].concat();
        let Digest([a, b, c, d, e, f, g, h, ..]) = Digest::of(&bytes);
        [a, b, c, d, e, f, g, h]
    }
}

fn period(now: Instant) -> u64 {
    now.as_micros() / LIFETIME.as_micros() as u64
}
