//! Bodies larger than one message: those that come in and those that go out.

use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;

use nimblenet_core::Instant;

use crate::coap::block::Block;
use crate::coap::message::{Code, Request, Response};

/// A body that nobody sends or fetches for this long is forgotten.
const IDLE: Duration = Duration::from_secs(60);

/// What blocks belong together by (RFC 7959 section 2.4): sender, method and resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Key(Option<SocketAddr>, u8, Vec<String>, Vec<String>);

impl Key {
    pub(super) fn new(peer: SocketAddr, request: &Request) -> Self {
        let method = request.method as u8;
        let (path, query) = (request.path.clone(), request.query.clone());
        Self(Some(peer), method, path, query)
    }
}

impl Default for Key {
    /// The key of a message that could not be read.
    fn default() -> Self {
        Self(None, 0, Vec::new(), Vec::new())
    }
}

/// What became of one block of an upload.
pub(super) enum Part {
    Whole(Vec<u8>),
    More,
    Refused(Code),
}

#[derive(Debug)]
pub(super) struct Uploads {
    bodies: BTreeMap<Key, (Instant, Vec<u8>)>,
    max: usize,
    max_bytes: usize,
}

impl Uploads {
    pub(super) fn new(max: usize, max_bytes: usize) -> Self {
        Self {
            bodies: BTreeMap::new(),
            max,
            max_bytes,
        }
    }

    pub(super) fn take(&mut self, now: Instant, key: &Key, block: Block, payload: &[u8]) -> Part {
        self.bodies
            .retain(|_, (touched, _)| now.since(*touched) < IDLE);
        let (_, mut body) = self.bodies.remove(key).unwrap_or((now, Vec::new()));
        if block.number == 0 {
            body.clear();
        }
        // Only the last block may be shorter than its size says.
        let misshapen = payload.len() > block.size() || block.more && payload.len() < block.size();
        if misshapen {
            return Part::Refused(Code::BAD_REQUEST);
        }
        if body.len() != block.offset() {
            return Part::Refused(Code::INCOMPLETE);
        }
        if body.len() + payload.len() > self.max_bytes {
            return Part::Refused(Code::TOO_LARGE);
        }
        body.extend_from_slice(payload);
        if !block.more {
            return Part::Whole(body);
        }
        make_room(&mut self.bodies, self.max, |(touched, _)| *touched);
        self.bodies.insert(key.clone(), (now, body));
        Part::More
    }
}

#[derive(Debug)]
pub(super) struct Downloads {
    bodies: BTreeMap<Key, Download>,
    max: usize,
}

#[derive(Debug)]
struct Download {
    touched: Instant,
    response: Response,
    etag: [u8; 4],
}

impl Downloads {
    pub(super) fn new(max: usize) -> Self {
        Self {
            bodies: BTreeMap::new(),
            max,
        }
    }

    pub(super) fn insert(&mut self, now: Instant, key: Key, response: Response, etag: [u8; 4]) {
        self.bodies.retain(|_, body| now.since(body.touched) < IDLE);
        if !self.bodies.contains_key(&key) {
            make_room(&mut self.bodies, self.max, |body| body.touched);
        }
        let touched = now;
        let download = Download {
            touched,
            response,
            etag,
        };
        self.bodies.insert(key, download);
    }

    pub(super) fn get(&mut self, now: Instant, key: &Key) -> Option<(Response, [u8; 4])> {
        let body = self.bodies.get_mut(key)?;
        body.touched = now;
        Some((body.response.clone(), body.etag))
    }
}

/// Forgets what was not touched for longest until there is room for one more.
fn make_room<T>(bodies: &mut BTreeMap<Key, T>, max: usize, touched: impl Fn(&T) -> Instant) {
    while bodies.len() >= max {
        let oldest = bodies.iter().min_by_key(|(_, body)| touched(body));
        let Some(key) = oldest.map(|(key, _)| key.clone()) else {
            return;
        };
        bodies.remove(&key);
    }
}
