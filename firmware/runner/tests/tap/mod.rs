//! Somebody between two nodes that hears every datagram, and keeps jobs that move.
#![allow(dead_code, reason = "each test program uses a part")]

use core::net::SocketAddr;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::thread;

use nimblenet_core::wire::{Frame, Message, Offer};
use nimblenet_tasklet::Digest;

/// Longer than any frame.
const ROOM: usize = 2048;

/// Passes datagrams on between two nodes, each of which takes it for the other.
pub(crate) struct Tap {
    /// Where the one has it.
    pub(crate) front: SocketAddr,
    /// Where the other has it.
    pub(crate) back: SocketAddr,
    heard: Arc<Mutex<Heard>>,
}

/// What a job that moves is, and the parts that have been heard of it.
#[derive(Default)]
struct Heard {
    offer: Option<Offer>,
    bytes: Vec<u8>,
}

impl Heard {
    fn hear(&mut self, datagram: &[u8]) {
        let Ok(frame) = Frame::parse(datagram) else {
            return;
        };
        match frame.message {
            Message::Offer(offer) => {
                self.bytes.resize(offer.size as usize, 0);
                self.offer = Some(offer);
            }
            Message::Data(part) if self.offer.is_some_and(|offer| offer.size == part.total) => {
                let begin = part.offset as usize;
                self.bytes[begin..begin + part.bytes.len()].copy_from_slice(part.bytes);
            }
            _ => {}
        }
    }
}

impl Tap {
    /// A tap between `one`, which has it as its neighbour at `back`, and `other`, which has it at `front`.
    pub(crate) fn new(one: SocketAddr, other: SocketAddr) -> Self {
        let [front, back] = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
        let heard = Arc::new(Mutex::new(Heard::default()));
        let tap = Self {
            front: front.local_addr().unwrap(),
            back: back.local_addr().unwrap(),
            heard: Arc::clone(&heard),
        };
        carry(
            front.try_clone().unwrap(),
            back.try_clone().unwrap(),
            one,
            Arc::clone(&heard),
        );
        carry(back, front, other, heard);
        tap
    }

    /// Forgets what was heard.
    pub(crate) fn forget(&self) {
        *self.heard.lock().unwrap() = Heard::default();
    }

    /// The job that has moved by here.
    pub(crate) fn record(&self) -> Option<Record> {
        let heard = self.heard.lock().unwrap();
        let digest = heard.offer?.digest;
        assert_eq!(Digest::of(&heard.bytes), digest, "every part was heard");
        Some(Record::parse(&heard.bytes))
    }
}

/// Passes on what comes to `from`, for as long as the test runs.
fn carry(from: UdpSocket, by: UdpSocket, to: SocketAddr, heard: Arc<Mutex<Heard>>) {
    thread::spawn(move || {
        let mut room = [0; ROOM];
        loop {
            // Who is not there yet answers the last datagram with an error.
            let Ok(length) = from.recv(&mut room) else {
                continue;
            };
            heard.lock().unwrap().hear(&room[..length]);
            let _ = by.send_to(&room[..length], to);
        }
    });
}

/// A job on its way (spec/snapshot.md, section 11).
#[derive(Debug)]
pub(crate) struct Record {
    /// Whether the innermost activation has the results of the tasklet that it has called.
    pub(crate) callee_has_ended: bool,
    pub(crate) calls_left: u32,
    /// Outermost first.
    pub(crate) activations: Vec<Activation>,
}

/// One activation of a moved job.
#[derive(Debug)]
pub(crate) struct Activation {
    /// Fuel left.
    pub(crate) fuel: u64,
    pub(crate) image: Vec<u8>,
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        let taken = self.take(bytes).iter();
        taken.fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn text(&mut self) -> &'a [u8] {
        let length = self.number(1) as usize;
        self.take(length)
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.number(4) as usize;
        self.take(length)
    }
}

impl Record {
    fn parse(bytes: &[u8]) -> Self {
        const RESUME: u64 = 2;
        let mut reader = Reader(bytes);
        assert_eq!(reader.number(1), 1, "the version");
        let callee_has_ended = reader.number(1) == RESUME;
        reader.take(2);
        let (depth, epochs) = (reader.number(1), reader.number(1));
        let calls_left = reader.number(4) as u32;
        for _ in 0..3 {
            reader.text();
        }
        reader.take(8 * epochs as usize);
        reader.bytes();
        let mut activation = || {
            reader.take(8);
            let fuel = reader.number(8);
            reader.text();
            let image = reader.bytes().to_vec();
            Activation { fuel, image }
        };
        let activations = (0..depth).map(|_| activation()).collect();
        assert!(reader.0.is_empty(), "nothing follows");
        Self {
            callee_has_ended,
            calls_left,
            activations,
        }
    }
}
