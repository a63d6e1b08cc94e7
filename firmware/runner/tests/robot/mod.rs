//! Robots: they call tasklets at a node by CoAP (RFC 7252), and measure how long that takes.

use core::net::SocketAddr;
use core::sync::atomic::{AtomicU16, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Instant;

use minicbor::{Decoder, Encoder};

use crate::people::PATIENCE;

/// A request without an answer is sent again after this time.
const REPEATED_AFTER: Duration = Duration::from_secs(2);

// Types of messages, in the first byte with the version.
const CONFIRMABLE: u8 = 0x40;
const ACKNOWLEDGEMENT: u8 = 0x60;
const TYPE: u8 = 0x70;
const TOKEN: u8 = 0xaa;

const GET: u8 = 0x01;
const POST: u8 = 0x02;
const CONTENT: u8 = 0x45;
const URI_PATH: u8 = 11;
const PAYLOAD: u8 = 0xff;

/// The numbers of messages. No two robots use the same, since a node remembers those of each address, which may
/// become another robot's.
static MESSAGES: AtomicU16 = AtomicU16::new(1);

/// A client of one node.
pub(crate) struct Robot(UdpSocket);

impl Robot {
    /// A robot at the node that takes requests at `node`.
    pub(crate) fn new(node: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(node).unwrap();
        socket.set_read_timeout(Some(REPEATED_AFTER)).unwrap();
        Self(socket)
    }

    /// Calls a tasklet with one number; returns its result and how long it took, or the code of the failure.
    pub(crate) fn call(&self, path: [&str; 2], number: u32) -> (Result<u32, String>, Duration) {
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(&mut payload);
        encoder.array(1).unwrap().u32(number).unwrap();
        let [namespace, name] = path;
        let begin = Instant::now();
        let answer = self.ask(POST, &["t", namespace, name], &payload);
        let took = begin.elapsed();
        let result = answer.map(|result| {
            let mut decoder = Decoder::new(&result);
            assert_eq!(decoder.array().unwrap(), Some(1));
            decoder.u32().unwrap()
        });
        (result, took)
    }

    /// The node's counters.
    pub(crate) fn status(&self) -> Result<BTreeMap<String, u64>, String> {
        let answer = self.ask(GET, &["status"], &[])?;
        let mut decoder = Decoder::new(&answer);
        let entries = decoder.map().unwrap().unwrap();
        let mut entry = || (decoder.str().unwrap().to_owned(), decoder.u64().unwrap());
        Ok((0..entries).map(|_| entry()).collect())
    }

    /// Makes a request until it is answered; returns what the answer carries, or the code of a failure.
    fn ask(&self, method: u8, path: &[&str], payload: &[u8]) -> Result<Vec<u8>, String> {
        let [high, low] = MESSAGES.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut request = vec![CONFIRMABLE | 1, method, high, low, TOKEN];
        for (at, part) in path.iter().enumerate() {
            let delta = if at == 0 { URI_PATH } else { 0 };
            request.push(delta << 4 | part.len() as u8);
            request.extend(part.bytes());
        }
        if !payload.is_empty() {
            request.push(PAYLOAD);
            request.extend(payload);
        }
        let begin = Instant::now();
        let mut acknowledged = false;
        while begin.elapsed() < PATIENCE {
            if !acknowledged {
                // Who is not there yet answers with an error.
                let _ = self.0.send(&request);
            }
            while let Some(answer) = self.receive() {
                match answer[1] {
                    0 => acknowledged |= answer[2..4] == [high, low],
                    code => {
                        if answer[0] & TYPE == CONFIRMABLE {
                            let known = [ACKNOWLEDGEMENT, 0, answer[2], answer[3]];
                            self.0.send(&known).unwrap();
                        } else if answer[2..4] != [high, low] {
                            continue;
                        }
                        return read(code, &answer);
                    }
                }
            }
        }
        Err("no answer".into())
    }

    /// The next message.
    fn receive(&self) -> Option<Vec<u8>> {
        let mut room = [0; 1024];
        let length = self.0.recv(&mut room).ok()?;
        assert!(length >= 4, "a whole message");
        Some(room[..length].to_vec())
    }
}

/// What an answer carries, or the code of a failure (spec/api.md).
fn read(code: u8, answer: &[u8]) -> Result<Vec<u8>, String> {
    let mut at = 4 + usize::from(answer[0] & 0x0f);
    // Options here have short values and small numbers.
    while at < answer.len() && answer[at] != PAYLOAD {
        at += 1 + usize::from(answer[at] & 0x0f);
    }
    let payload = answer.get(at + 1..).unwrap_or(&[]);
    if code == CONTENT {
        return Ok(payload.to_vec());
    }
    let mut decoder = Decoder::new(payload);
    let failure = decoder
        .map()
        .and_then(|_| decoder.str())
        .and_then(|_| decoder.str());
    Err(failure.map_or_else(|_| format!("{code:#x}"), str::to_owned))
}
