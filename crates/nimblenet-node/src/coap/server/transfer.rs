//! Bodies larger than one message, which come in and go out block by block (RFC 7959).
//!
//! Their bytes are bounded, and one peer has at most half of them. A body that its peer may still
//! want does not make room for another: the other peer is told to come back.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use nimblenet_core::Instant;

use super::peer;
use crate::coap::Ends;
use crate::coap::block::Block;
use crate::coap::message::{Code, Method, Request, Response};

/// A body is forgotten when nobody has sent or fetched it for this long.
const IDLE: Duration = Duration::from_secs(60);
/// The least time between two searches for idle bodies.
const SWEEP: Duration = Duration::from_secs(1);
/// About how many bytes a body takes besides its own.
const OVERHEAD_BYTES: usize = 512;

/// What blocks of one body have in common (RFC 7959 section 2.4): both ends, method and resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key {
    ends: Ends,
    method: Method,
    path: Vec<String>,
    query: Vec<String>,
}

impl Key {
    pub(super) fn new(ends: Ends, request: &Request) -> Self {
        Self {
            ends,
            method: request.method,
            path: request.path.clone(),
            query: request.query.clone(),
        }
    }

    /// Whether the request only reads, so that the server may run it again.
    pub(super) fn is_read(&self) -> bool {
        self.method == Method::Get
    }
}

/// Bodies, and how many bytes they take.
#[derive(Debug)]
struct Bodies<T> {
    held: BTreeMap<Key, Held<T>>,
    bytes: usize,
    by_peer: BTreeMap<IpAddr, usize>,
    max_bytes: usize,
    swept: Instant,
}

#[derive(Debug)]
struct Held<T> {
    touched: Instant,
    bytes: usize,
    content: T,
}

impl<T> Bodies<T> {
    fn new(max_bytes: usize) -> Self {
        Self {
            held: BTreeMap::new(),
            bytes: 0,
            by_peer: BTreeMap::new(),
            max_bytes,
            swept: Instant::ZERO,
        }
    }

    /// Forgets bodies that are idle.
    fn sweep(&mut self, now: Instant) {
        if now.since(self.swept) < SWEEP {
            return;
        }
        self.swept = now;
        let idle = self.held.iter();
        let idle = idle.filter(|(_, held)| now.since(held.touched) >= IDLE);
        let idle: Vec<_> = idle.map(|(key, _)| key.clone()).collect();
        for key in idle {
            self.remove(&key);
        }
    }

    /// Whether there is room for so many more bytes of this peer.
    fn has_room(&self, ends: &Ends, bytes: usize) -> bool {
        let of_peer = self.by_peer.get(&peer(ends)).copied().unwrap_or(0);
        self.bytes + bytes <= self.max_bytes && of_peer + bytes <= self.max_bytes / 2
    }

    fn touch(&mut self, now: Instant, key: &Key) -> Option<&mut T> {
        let held = self.held.get_mut(key)?;
        held.touched = now;
        Some(&mut held.content)
    }

    fn insert(&mut self, now: Instant, key: Key, bytes: usize, content: T) {
        self.remove(&key);
        let bytes = bytes + OVERHEAD_BYTES;
        self.bytes += bytes;
        *self.by_peer.entry(peer(&key.ends)).or_default() += bytes;
        let held = Held {
            touched: now,
            bytes,
            content,
        };
        self.held.insert(key, held);
    }

    fn remove(&mut self, key: &Key) -> Option<T> {
        let held = self.held.remove(key)?;
        self.bytes -= held.bytes;
        let peer = peer(&key.ends);
        if let Some(of_peer) = self.by_peer.get_mut(&peer) {
            *of_peer -= held.bytes;
            if *of_peer == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(held.content)
    }

    /// The body that was not touched for longest.
    fn oldest(&self) -> Option<Key> {
        let oldest = self.held.iter().min_by_key(|(_, held)| held.touched);
        oldest.map(|(key, _)| key.clone())
    }
}

/// What a block is to its upload.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    /// The last block; [`Uploads::finish`] returns the whole body.
    Last,
    /// A block before the last, new or repeated.
    More,
    Refused(Code),
}

#[derive(Debug)]
pub(super) struct Uploads {
    bodies: Bodies<Vec<u8>>,
    max_body_bytes: usize,
}

impl Uploads {
    pub(super) fn new(max_bytes: usize, max_body_bytes: usize) -> Self {
        Self {
            bodies: Bodies::new(max_bytes),
            max_body_bytes,
        }
    }

    /// Takes a block, unless it is the last. If it refuses the block, the upload stays as it is.
    pub(super) fn take(&mut self, now: Instant, key: &Key, block: Block, payload: &[u8]) -> Part {
        self.bodies.sweep(now);
        // Only the last block may be shorter than its size.
        let misshapen = payload.len() > block.size() || block.more && payload.len() < block.size();
        if misshapen {
            return Part::Refused(Code::BAD_REQUEST);
        }
        let offset = block.offset();
        let end = offset + payload.len();
        let body = self.bodies.touch(now, key);
        let held = body.as_ref().map_or(0, |body| body.len());
        let there = body.as_ref().and_then(|body| body.get(offset..end));
        if block.more && there == Some(payload) {
            return Part::More;
        }
        // The first block begins a new body.
        if offset != held && offset > 0 {
            return Part::Refused(Code::INCOMPLETE);
        }
        if end > self.max_body_bytes {
            return Part::Refused(Code::TOO_LARGE);
        }
        if !block.more {
            return Part::Last;
        }
        if !self
            .bodies
            .has_room(&key.ends, payload.len() + OVERHEAD_BYTES)
        {
            return Part::Refused(Code::UNAVAILABLE);
        }
        let mut body = self.bodies.remove(key).unwrap_or_default();
        body.truncate(offset);
        body.extend_from_slice(payload);
        self.bodies.insert(now, key.clone(), body.len(), body);
        Part::More
    }

    /// The whole body. `payload` is its last block, which [`take`](Self::take) has checked.
    pub(super) fn finish(&mut self, key: &Key, block: Block, payload: &[u8]) -> Vec<u8> {
        let mut body = self.bodies.remove(key).unwrap_or_default();
        body.truncate(block.offset());
        body.extend_from_slice(payload);
        body
    }
}

/// A body that goes out.
#[derive(Clone, Debug)]
pub(super) struct Download {
    pub(super) response: Response,
    pub(super) etag: [u8; 4],
}

/// Answers whose blocks are being fetched.
#[derive(Debug)]
pub(super) struct Downloads {
    /// Answers to requests that must not run again. They stay until they are fetched.
    results: Bodies<Download>,
    /// Answers that can go at any time: those of reading, and results that were fetched to their
    /// end.
    reads: Bodies<Download>,
}

impl Downloads {
    pub(super) fn new(max_result_bytes: usize, max_read_bytes: usize) -> Self {
        Self {
            results: Bodies::new(max_result_bytes),
            reads: Bodies::new(max_read_bytes),
        }
    }

    /// Whether a request of this peer may run whose result may be large. The results of requests
    /// that run are kept in any case, so the limit may be exceeded by their lengths.
    pub(super) fn has_room(&mut self, now: Instant, ends: &Ends) -> bool {
        self.results.sweep(now);
        self.results.has_room(ends, Block::FIRST.size())
    }

    pub(super) fn insert(&mut self, now: Instant, key: Key, download: Download) {
        let bytes = download.response.payload.len();
        if !key.is_read() {
            self.results.insert(now, key, bytes, download);
            return;
        }
        self.reads.sweep(now);
        let needed = bytes + OVERHEAD_BYTES;
        if needed > self.reads.max_bytes / 2 {
            return;
        }
        while !self.reads.has_room(&key.ends, needed) {
            let Some(oldest) = self.reads.oldest() else {
                break;
            };
            self.reads.remove(&oldest);
        }
        self.reads.insert(now, key, bytes, download);
    }

    pub(super) fn get(&mut self, now: Instant, key: &Key) -> Option<Download> {
        let result = self.results.touch(now, key).cloned();
        result.or_else(|| self.reads.touch(now, key).cloned())
    }

    /// Notes that the last block was fetched. The client may ask for it again, but the answer need
    /// not stay.
    pub(super) fn fetched(&mut self, now: Instant, key: &Key) {
        if let Some(download) = self.results.remove(key) {
            let bytes = download.response.payload.len();
            let needed = bytes + OVERHEAD_BYTES;
            while self.reads.bytes + needed > self.reads.max_bytes
                && let Some(oldest) = self.reads.oldest()
            {
                self.reads.remove(&oldest);
            }
            self.reads.insert(now, key.clone(), bytes, download);
        }
    }
}
