//! The format of a message (RFC 7252 section 3): read in place, written into a fixed buffer.

use coap_message::MinimalWritableMessage as _;
use coap_message_implementations::inmemory::MessageMut;
use coap_message_implementations::option_iteration::{OptItem, OptPayloadReader};
use coap_numbers::{code, option};
use nimblenet_tasklet::api::query;

use super::MAX_MESSAGE_BYTES;

const VERSION: u8 = 1;
/// Version, kind and length of the token; code; identifier.
const FIXED_BYTES: usize = 4;
const MAX_TOKEN_BYTES: usize = 8;
/// One more than any resource has, so that a longer path matches none.
const MAX_SEGMENTS: usize = 4;
/// The longest segment of a path, query or host name (section 5.10).
const MAX_TEXT_BYTES: usize = 255;

/// A datagram to send.
pub(super) type Bytes = heapless::Vec<u8, MAX_MESSAGE_BYTES>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Confirmable,
    Unconfirmed,
    Acknowledgement,
    Reset,
}

/// The fields that identify a message, and that tie an answer to its request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) id: u16,
    pub(super) token: heapless::Vec<u8, MAX_TOKEN_BYTES>,
}

/// A datagram that came in.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Incoming<'d> {
    /// To be ignored.
    Noise,
    /// To be answered by a reset.
    Reject { id: u16 },
    /// The peer has taken message `id` of this endpoint, or will never take it.
    Settled { id: u16 },
    /// A request, or the code that refuses its options.
    Request(Header, Result<Request<'d>, u8>),
}

/// A request with options that are all understood.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Request<'d> {
    pub(super) method: u8,
    /// Whether it names a host, and below a port. Any host and port is accepted.
    pub(super) host: bool,
    pub(super) port: bool,
    pub(super) path: heapless::Vec<&'d str, MAX_SEGMENTS>,
    /// The value of the query `x`.
    pub(super) export: Option<&'d str>,
    /// The value of the query `client`.
    pub(super) client: Option<u32>,
    /// Whether there are other queries.
    pub(super) other_queries: bool,
    pub(super) format: Option<u16>,
    pub(super) accept: Option<u16>,
    pub(super) payload: &'d [u8],
}

impl<'d> Incoming<'d> {
    pub(super) fn parse(datagram: &'d [u8]) -> Self {
        let [first, code, high, low, ref rest @ ..] = *datagram else {
            return Self::Noise;
        };
        if first >> 6 != VERSION {
            return Self::Noise;
        }
        let id = u16::from_be_bytes([high, low]);
        let kind = Kind::of(first);
        let bad = match kind {
            Kind::Confirmable => Self::Reject { id },
            Kind::Unconfirmed | Kind::Acknowledgement | Kind::Reset => Self::Noise,
        };
        if code == code::EMPTY {
            let settles = matches!(kind, Kind::Acknowledgement | Kind::Reset)
                && datagram.len() == FIXED_BYTES;
            return if settles { Self::Settled { id } } else { bad };
        }
        // A server takes no answers, and an acknowledgement or a reset cannot carry a request.
        let asks = matches!(code::classify(code), code::Range::Request);
        if !asks || !matches!(kind, Kind::Confirmable | Kind::Unconfirmed) {
            return bad;
        }
        let token_bytes = usize::from(first & 0xf);
        if token_bytes > MAX_TOKEN_BYTES || token_bytes > rest.len() {
            return bad;
        }
        let (token, tail) = rest.split_at(token_bytes);
        let token = token.iter().copied().collect();
        match Request::parse(code, tail) {
            Ok(request) => Self::Request(Header { kind, id, token }, request),
            Err(Malformed) => bad,
        }
    }
}

impl Kind {
    fn of(first: u8) -> Self {
        match first >> 4 & 3 {
            0 => Self::Confirmable,
            1 => Self::Unconfirmed,
            2 => Self::Acknowledgement,
            _ => Self::Reset,
        }
    }
}

/// The options or the payload break the format.
struct Malformed;

impl<'d> Request<'d> {
    /// Reads options and payload; the inner error is a code for options that are not understood.
    fn parse(method: u8, tail: &'d [u8]) -> Result<Result<Self, u8>, Malformed> {
        let mut request = Self {
            method,
            ..Self::default()
        };
        let mut refused = None;
        // Read to the end in any case: that the message is malformed counts more than a refusal.
        for item in OptPayloadReader::new(tail) {
            match item {
                OptItem::Option { number, data } => {
                    if let Err(code) = request.take(number, data) {
                        refused.get_or_insert(code);
                    }
                }
                OptItem::Payload([]) | OptItem::Error(_) => return Err(Malformed),
                OptItem::Payload(payload) => request.payload = payload,
            }
        }
        Ok(refused.map_or(Ok(request), Err))
    }

    fn take(&mut self, number: u16, value: &'d [u8]) -> Result<(), u8> {
        match number {
            option::URI_HOST if !self.host && (1..=MAX_TEXT_BYTES).contains(&value.len()) => {
                self.host = true;
            }
            option::URI_PORT if !self.port && value.len() <= 2 => self.port = true,
            option::URI_PATH => {
                // A path that is too long is cut off, and still has one segment too many.
                let _ = self.path.push(text(value)?);
            }
            option::URI_QUERY => match text(value)?.split_once('=') {
                Some((query::EXPORT, export)) => self.export = Some(export),
                Some((query::CLIENT, client)) => {
                    self.client = client.parse().ok();
                    self.other_queries |= self.client.is_none();
                }
                _ => self.other_queries = true,
            },
            // This option is elective: with a wrong length it counts as absent (section 5.4.3).
            option::CONTENT_FORMAT => self.format = self.format.or(uint(value)),
            option::ACCEPT if self.accept.is_none() => {
                self.accept = Some(uint(value).ok_or(code::BAD_OPTION)?);
            }
            option::PROXY_URI | option::PROXY_SCHEME => {
                return Err(code::PROXYING_NOT_SUPPORTED);
            }
            // Options with odd numbers are critical (section 5.4.1). Those above come here if they
            // are repeated or have a wrong length (sections 5.4.3 and 5.4.5).
            number if number % 2 == 1 => return Err(code::BAD_OPTION),
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &[u8]) -> Result<&str, u8> {
    let text = core::str::from_utf8(value).ok();
    text.filter(|text| text.len() <= MAX_TEXT_BYTES)
        .ok_or(code::BAD_OPTION)
}

fn uint(value: &[u8]) -> Option<u16> {
    match *value {
        [] => Some(0),
        [low] => Some(low.into()),
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

/// An acknowledgement or a reset of a message.
pub(super) fn empty(kind: Kind, id: u16) -> Bytes {
    let [high, low] = id.to_be_bytes();
    let first = VERSION << 6 | (kind as u8) << 4;
    Bytes::from_slice(&[first, code::EMPTY, high, low]).expect("four bytes fit")
}

/// A message with a payload; nothing if it does not fit.
pub(super) fn response(header: &Header, code: u8, format: u16, payload: &[u8]) -> Option<Bytes> {
    let mut bytes = Bytes::new();
    bytes.resize(MAX_MESSAGE_BYTES, 0).ok()?;
    let [high, low] = header.id.to_be_bytes();
    let token = &header.token;
    bytes[0] = VERSION << 6 | (header.kind as u8) << 4 | token.len() as u8;
    bytes[2] = high;
    bytes[3] = low;
    bytes[FIXED_BYTES..][..token.len()].copy_from_slice(token);
    let (head, tail) = bytes.split_at_mut(FIXED_BYTES + token.len());
    let head_bytes = head.len();
    let mut message = MessageMut::new_in_slice(&mut head[1], tail);
    message.set_code(code);
    message
        .add_option_uint(option::CONTENT_FORMAT, format)
        .ok()?;
    message.set_payload(payload).ok()?;
    let (tail_bytes, _) = message.finish();
    bytes.truncate(head_bytes + tail_bytes);
    Some(bytes)
}
