//! Requests and responses, and the messages that carry them.

use alloc::collections::LinkedList;
use core::fmt;

use coap_lite::{CoapOption, MessageClass, MessageType, Packet};
pub use nimblenet_tasklet::api::Method;

use super::block::Block;

/// The protocol's only version (RFC 7252 section 3).
const VERSION: u8 = 1;
/// The most segments of a path, and the most queries; a request with more is refused.
const MAX_SEGMENTS: usize = 16;

/// The longest text in an option, in bytes (RFC 7252 section 5.10).
const MAX_TEXT_BYTES: usize = 255;
/// The seconds after which a client may repeat a request that was refused for lack of room (section
/// 5.9.3.4).
const RETRY_AFTER_SECONDS: u16 = 5;
/// The option by which a client proves its address (RFC 9175 section 2.2.1).
const ECHO: CoapOption = CoapOption::Unknown(252);
/// Bytes of a value that this server wants to see again.
pub(super) const ECHO_BYTES: usize = 8;

/// A response code, as its class and detail (RFC 7252 section 5.9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 2.01
    pub const CREATED: Self = Self::new(2, 1);
    /// 2.03
    pub const VALID: Self = Self::new(2, 3);
    /// 2.04
    pub const CHANGED: Self = Self::new(2, 4);
    /// 2.05
    pub const CONTENT: Self = Self::new(2, 5);
    /// 2.31
    pub const CONTINUE: Self = Self::new(2, 31);
    /// 4.00
    pub const BAD_REQUEST: Self = Self::new(4, 0);
    /// 4.01
    pub const UNAUTHORIZED: Self = Self::new(4, 1);
    /// 4.02
    pub const BAD_OPTION: Self = Self::new(4, 2);
    /// 4.03
    pub const FORBIDDEN: Self = Self::new(4, 3);
    /// 4.04
    pub const NOT_FOUND: Self = Self::new(4, 4);
    /// 4.05
    pub const METHOD_NOT_ALLOWED: Self = Self::new(4, 5);
    /// 4.06
    pub const NOT_ACCEPTABLE: Self = Self::new(4, 6);
    /// 4.08
    pub const INCOMPLETE: Self = Self::new(4, 8);
    /// 4.09
    pub const CONFLICT: Self = Self::new(4, 9);
    /// 4.13
    pub const TOO_LARGE: Self = Self::new(4, 13);
    /// 4.15
    pub const UNSUPPORTED_FORMAT: Self = Self::new(4, 15);
    /// 4.22
    pub const UNPROCESSABLE: Self = Self::new(4, 22);
    /// 5.00
    pub const INTERNAL: Self = Self::new(5, 0);
    /// 5.03
    pub const UNAVAILABLE: Self = Self::new(5, 3);
    /// 5.04
    pub const GATEWAY_TIMEOUT: Self = Self::new(5, 4);
    /// 5.05
    pub const NO_PROXY: Self = Self::new(5, 5);

    const fn new(class: u8, detail: u8) -> Self {
        Self(class << 5 | detail)
    }

    /// Whether it says that the request was served.
    pub const fn is_success(self) -> bool {
        self.0 >> 5 == 2
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 >> 5, self.0 & 31)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The format of a payload (RFC 7252 section 12.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Format(pub u16);

impl Format {
    /// `text/plain`
    pub const TEXT: Self = Self(0);
    /// `application/link-format`
    pub const LINKS: Self = Self(40);
    /// `application/octet-stream`
    pub const BYTES: Self = Self(42);
    /// `application/cbor`
    pub const CBOR: Self = Self(60);
}

/// A request with its whole body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The segments of the path.
    pub path: Vec<String>,
    /// The queries: `name` or `name=value`.
    pub query: Vec<String>,
    /// What the payload is.
    pub format: Option<Format>,
    /// The format that the client wants the response in.
    pub accept: Option<Format>,
    /// Whether the client begins or ends to observe the resource (RFC 7641).
    pub observe: Option<Observe>,
    /// A value that the server wants to see again, which proves the client's address (RFC 9175).
    pub echo: Option<Vec<u8>>,
    /// The body.
    pub payload: Vec<u8>,
}

impl Request {
    /// A request without queries and payload. `path` has its segments joined by slashes.
    pub fn new(method: Method, path: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Self {
            method,
            path: segments.map(str::to_owned).collect(),
            query: Vec::new(),
            format: None,
            accept: None,
            observe: None,
            echo: None,
            payload: Vec::new(),
        }
    }
}

/// The value of the Observe option of a request (RFC 7641 section 2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Observe {
    /// Tell the client of changes.
    Register = 0,
    /// Stop telling the client of changes.
    Deregister = 1,
}

/// A response with its whole body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The response code.
    pub code: Code,
    /// What the payload is.
    pub format: Option<Format>,
    /// The body.
    pub payload: Vec<u8>,
}

impl Response {
    /// A response without payload.
    pub fn empty(code: Code) -> Self {
        Self {
            code,
            format: None,
            payload: Vec::new(),
        }
    }

    /// A response with a payload.
    pub fn new(code: Code, format: Format, payload: Vec<u8>) -> Self {
        Self {
            code,
            format: Some(format),
            payload,
        }
    }
}

/// A message that came in.
#[derive(Debug)]
pub(super) enum Incoming {
    /// Bytes that are no message, or a message that must be ignored.
    Noise,
    /// A message with a format error, or an empty confirmable one. The answer is a reset.
    Reject {
        id: u16,
    },
    /// An acknowledgement or reset without content.
    Empty {
        id: u16,
        reset: bool,
    },
    Request(Header, Result<Parsed, Code>),
    /// A response, in a message of its own or in an acknowledgement.
    Response(Header, Reply),
}

/// The header of a request or response.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) id: u16,
    pub(super) kind: Kind,
    pub(super) token: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Confirmable,
    Unconfirmed,
    Acknowledgement,
}

/// The part of a request that one message carries.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) request: Request,
    pub(super) block1: Option<Block>,
    pub(super) block2: Option<Block>,
}

/// The part of a response that one message carries.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response,
    pub(super) block1: Option<Block>,
    pub(super) block2: Option<Block>,
    pub(super) etag: Option<Vec<u8>>,
    /// The value that the server wants to see again.
    pub(super) echo: Option<Vec<u8>>,
}

/// The options of one message that are not part of the response.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Extra {
    pub(super) block1: Option<Block>,
    pub(super) block2: Option<Block>,
    pub(super) etag: Option<[u8; 4]>,
    pub(super) observe: Option<u32>,
    pub(super) echo: Option<[u8; ECHO_BYTES]>,
}

impl Incoming {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let [first, code, high, low, ..] = *bytes else {
            return Self::Noise;
        };
        if first >> 6 != VERSION {
            return Self::Noise;
        }
        let id = u16::from_be_bytes([high, low]);
        let kind = match first >> 4 & 3 {
            0 => Kind::Confirmable,
            1 => Kind::Unconfirmed,
            2 => Kind::Acknowledgement,
            _ => return Self::Empty { id, reset: true },
        };
        let bad = if kind == Kind::Confirmable {
            Self::Reject { id }
        } else {
            Self::Noise
        };
        if code == 0 {
            return match kind {
                Kind::Acknowledgement if bytes.len() == 4 => Self::Empty { id, reset: false },
                Kind::Acknowledgement | Kind::Confirmable | Kind::Unconfirmed => bad,
            };
        }
        let Ok(packet) = Packet::from_bytes(bytes) else {
            return bad;
        };
        // A payload marker without a payload is a format error (section 3), which the parsed
        // packet does not show.
        if packet.payload.is_empty() && ends_with_marker(bytes, &packet) {
            return bad;
        }
        let token = packet.get_token().to_vec();
        let header = Header { id, kind, token };
        match (code >> 5, kind) {
            (0, Kind::Confirmable | Kind::Unconfirmed) => {
                Self::Request(header, Parsed::read(code, packet))
            }
            (2..=5, _) => Reply::read(code, packet).map_or(bad, |r| Self::Response(header, r)),
            _ => bad,
        }
    }
}

/// Whether a packet that was parsed as one without payload ends with a payload marker. Options have
/// only one encoding, so a packet without the marker has the same length when it is written again.
fn ends_with_marker(bytes: &[u8], packet: &Packet) -> bool {
    let written = packet.to_bytes_unlimited();
    written.is_ok_and(|written| written.len() < bytes.len())
}

impl Parsed {
    fn read(code: u8, packet: Packet) -> Result<Self, Code> {
        let method = Method::from_number(code).ok_or(Code::METHOD_NOT_ALLOWED)?;
        for (number, values) in packet.options() {
            check(*number, values)?;
        }
        Ok(Self {
            block1: block(&packet, CoapOption::Block1)?,
            block2: block(&packet, CoapOption::Block2)?,
            request: Request {
                echo: packet.get_first_option(ECHO).cloned(),
                method,
                path: texts(packet.get_option(CoapOption::UriPath))?,
                query: texts(packet.get_option(CoapOption::UriQuery))?,
                format: number(&packet, CoapOption::ContentFormat).map(Format),
                accept: number(&packet, CoapOption::Accept).map(Format),
                observe: match number(&packet, CoapOption::Observe) {
                    Some(0) => Some(Observe::Register),
                    Some(1) => Some(Observe::Deregister),
                    _ => None,
                },
                payload: packet.payload,
            },
        })
    }
}

/// Refuses a critical option that is unknown, has a wrong length, or is repeated although it must
/// not be (RFC 7252 sections 5.4.1, 5.4.3 and 5.4.5).
fn check(number: u16, values: &LinkedList<Vec<u8>>) -> Result<(), Code> {
    let option = CoapOption::from(number);
    let is_among = |options: &[CoapOption]| options.contains(&option);
    // These may be repeated; `texts` looks at their values.
    if is_among(&[CoapOption::UriPath, CoapOption::UriQuery]) {
        return Ok(());
    }
    if is_among(&[CoapOption::ProxyUri, CoapOption::ProxyScheme]) {
        return Err(Code::NO_PROXY);
    }
    let lengths = if is_among(&[CoapOption::UriHost]) {
        1..=MAX_TEXT_BYTES
    } else if is_among(&[CoapOption::UriPort, CoapOption::Accept]) {
        0..=2
    } else if is_among(&[CoapOption::Block1, CoapOption::Block2]) {
        0..=3
    } else if is_critical(number) {
        return Err(Code::BAD_OPTION);
    } else {
        return Ok(());
    };
    let good = values.len() == 1 && values.iter().all(|value| lengths.contains(&value.len()));
    good.then_some(()).ok_or(Code::BAD_OPTION)
}

/// Whether an option is critical: it must be understood (RFC 7252 section 5.4.6).
fn is_critical(number: u16) -> bool {
    number % 2 == 1
}

impl Reply {
    /// Reads a response; nothing if it has a critical option that is not understood.
    fn read(code: u8, packet: Packet) -> Option<Self> {
        for (number, values) in packet.options() {
            let blocks = [CoapOption::Block1, CoapOption::Block2];
            if blocks.contains(&CoapOption::from(*number)) {
                check(*number, values).ok()?;
            } else if is_critical(*number) {
                return None;
            }
        }
        Some(Self {
            block1: block(&packet, CoapOption::Block1).ok()?,
            block2: block(&packet, CoapOption::Block2).ok()?,
            etag: packet.get_first_option(CoapOption::ETag).cloned(),
            echo: packet.get_first_option(ECHO).cloned(),
            response: Response {
                code: Code(code),
                format: number(&packet, CoapOption::ContentFormat).map(Format),
                payload: packet.payload,
            },
        })
    }
}

/// An empty confirmable message, which asks for a reset.
pub(super) fn ping(id: u16) -> Vec<u8> {
    let [high, low] = id.to_be_bytes();
    vec![VERSION << 6, 0, high, low]
}

/// An empty message: an acknowledgement, or a reset.
pub(super) fn empty(id: u16, reset: bool) -> Vec<u8> {
    let first = VERSION << 6 | if reset { 3 << 4 } else { 2 << 4 };
    let [high, low] = id.to_be_bytes();
    vec![first, 0, high, low]
}

/// Writes one message of a request.
pub(super) fn write_request(
    header: &Header,
    request: &Request,
    payload: &[u8],
    block1: Option<Block>,
    block2: Option<Block>,
) -> Vec<u8> {
    let mut packet = begin(header, request.method as u8);
    let list = |texts: &[String]| -> LinkedList<Vec<u8>> {
        texts.iter().map(|text| text.clone().into_bytes()).collect()
    };
    packet.set_option(CoapOption::UriPath, list(&request.path));
    packet.set_option(CoapOption::UriQuery, list(&request.query));
    if let Some(Format(format)) = request.format {
        packet.add_option(CoapOption::ContentFormat, shortest(format.into()));
    }
    if let Some(Format(format)) = request.accept {
        packet.add_option(CoapOption::Accept, shortest(format.into()));
    }
    if let Some(observe) = request.observe {
        packet.add_option(CoapOption::Observe, shortest(observe as u32));
    }
    if let Some(echo) = &request.echo {
        packet.add_option(ECHO, echo.clone());
    }
    finish(packet, payload, block1, block2)
}

/// Writes one message of a response. A refusal for lack of room says when to try again.
pub(super) fn write_response(
    header: &Header,
    response: &Response,
    payload: &[u8],
    extra: Extra,
) -> Vec<u8> {
    let mut packet = begin(header, response.code.0);
    if let Some(etag) = extra.etag {
        packet.add_option(CoapOption::ETag, etag.to_vec());
    }
    if let Some(order) = extra.observe {
        packet.add_option(CoapOption::Observe, shortest(order));
    }
    if let Some(Format(format)) = response.format {
        packet.add_option(CoapOption::ContentFormat, shortest(format.into()));
    }
    if response.code == Code::UNAVAILABLE {
        packet.add_option(CoapOption::MaxAge, shortest(RETRY_AFTER_SECONDS.into()));
    }
    if let Some(echo) = extra.echo {
        packet.add_option(ECHO, echo.to_vec());
    }
    finish(packet, payload, extra.block1, extra.block2)
}

fn begin(header: &Header, code: u8) -> Packet {
    let mut packet = Packet::new();
    packet.header.set_version(VERSION);
    packet.header.set_type(match header.kind {
        Kind::Confirmable => MessageType::Confirmable,
        Kind::Unconfirmed => MessageType::NonConfirmable,
        Kind::Acknowledgement => MessageType::Acknowledgement,
    });
    packet.header.code = MessageClass::from(code);
    packet.header.message_id = header.id;
    packet.set_token(header.token.clone());
    packet
}

fn finish(
    mut packet: Packet,
    payload: &[u8],
    block1: Option<Block>,
    block2: Option<Block>,
) -> Vec<u8> {
    let blocks = [(CoapOption::Block1, block1), (CoapOption::Block2, block2)];
    for (option, block) in blocks {
        if let Some(block) = block {
            packet.add_option(option, block.encode());
        }
    }
    packet.payload = payload.to_vec();
    packet
        .to_bytes_unlimited()
        .expect("only a limit or a long token make writing fail")
}

fn texts(values: Option<&LinkedList<Vec<u8>>>) -> Result<Vec<String>, Code> {
    let Some(values) = values else {
        return Ok(Vec::new());
    };
    if values.len() > MAX_SEGMENTS {
        return Err(Code::BAD_OPTION);
    }
    let text = |value: &Vec<u8>| {
        let text = String::from_utf8(value.clone()).ok();
        text.filter(|text| text.len() <= MAX_TEXT_BYTES)
            .ok_or(Code::BAD_OPTION)
    };
    values.iter().map(text).collect()
}

fn block(packet: &Packet, option: CoapOption) -> Result<Option<Block>, Code> {
    let Some(value) = packet.get_first_option(option) else {
        return Ok(None);
    };
    // The reserved size is a bad request, not a bad option (RFC 7959 section 2.2).
    let block = Block::decode(value).ok_or(Code::BAD_REQUEST)?;
    Ok(Some(block))
}

/// The first value of an option of up to two bytes. A longer value counts as absent, as the
/// protocol asks for elective options; `check` has refused critical ones.
fn number(packet: &Packet, option: CoapOption) -> Option<u16> {
    match packet.get_first_option(option).map(|value| &value[..]) {
        Some([]) => Some(0),
        Some([low]) => Some(u16::from(*low)),
        Some([high, low]) => Some(u16::from_be_bytes([*high, *low])),
        Some(_) | None => None,
    }
}

/// An unsigned integer without leading zero bytes (section 3.2).
fn shortest(value: u32) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let from = bytes.iter().position(|byte| *byte != 0);
    bytes[from.unwrap_or(bytes.len())..].to_vec()
}

#[cfg(test)]
mod tests;
