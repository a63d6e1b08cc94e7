use super::*;
use crate::coap::Format;
use crate::coap::message::{Incoming, Reply, write_request};
use coap_lite::{CoapOption, Packet};
use core::net::SocketAddr;
use core::time::Duration;

mod group;
mod observe;
mod proof;
mod transfer;

const T0: Instant = Instant::ZERO;

fn server() -> Server {
    Server::new(ServerLimits::DEFAULT, Timers::STANDARD, 1)
}

fn peer(port: u16) -> Ends {
    Ends::to(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn header(id: u16, kind: Kind) -> Header {
    Header {
        id,
        kind,
        token: vec![id as u8],
    }
}

/// A confirmable message of a request.
fn message(id: u16, request: &Request, block1: Option<Block>, block2: Option<Block>) -> Vec<u8> {
    let header = header(id, Kind::Confirmable);
    write_request(&header, request, &request.payload, block1, block2)
}

fn post(payload: &[u8]) -> Request {
    let mut request = Request::new(Method::Post, "t/shop/add");
    request.payload = payload.to_vec();
    request
}

fn block(number: u32, more: bool) -> Option<Block> {
    Some(Block {
        number,
        more,
        ..Block::FIRST
    })
}

fn content(len: usize) -> Response {
    Response::new(Code::CONTENT, Format::CBOR, vec![7; len])
}

/// The value of an option of a datagram.
fn option(datagram: &[u8], option: CoapOption) -> Option<Vec<u8>> {
    let packet = Packet::from_bytes(datagram).unwrap();
    packet.get_first_option(option).cloned()
}

/// The one datagram that the server sends, as a response.
fn sent(server: &mut Server) -> (Header, Reply) {
    let (_, bytes) = server.poll_transmit().expect("the server sends something");
    assert!(server.poll_transmit().is_none());
    let Incoming::Response(header, reply) = Incoming::parse(&bytes) else {
        panic!("{bytes:02x?} is not a response");
    };
    (header, reply)
}

fn sent_code(server: &mut Server) -> Code {
    sent(server).1.response.code
}

#[test]
fn a_repeated_message_runs_nothing_twice_and_gets_the_same_answer() {
    let mut server = server();
    let bytes = message(1, &post(&[0x80]), None, None);
    server.handle(T0, peer(1), &bytes);
    let (id, request) = server.poll_request().unwrap();
    assert_eq!(request.path, ["t", "shop", "add"]);
    server.handle(T0, peer(1), &bytes);
    assert!(server.poll_request().is_none());
    assert!(server.poll_transmit().is_none(), "still being worked on");
    server.respond(T0, id, &content(3));
    let (first, _) = sent(&mut server);
    assert_eq!(first, header(1, Kind::Acknowledgement));
    server.handle(T0, peer(1), &bytes);
    assert!(server.poll_request().is_none());
    assert_eq!(sent(&mut server).1.response, content(3));
    server.handle(T0, peer(2), &bytes);
    assert!(server.poll_request().is_some(), "another peer's message");
    assert_eq!(server.counters().repeated, 2);
}

#[test]
fn a_long_request_is_acknowledged_and_answered_separately_until_the_answer_is_acknowledged() {
    let mut server = server();
    let bytes = message(1, &post(&[]), None, None);
    server.handle(T0, peer(1), &bytes);
    let (id, _) = server.poll_request().unwrap();
    let due = server.poll_timeout().unwrap();
    assert_eq!(due, T0 + Timers::STANDARD.processing);
    server.handle_timeout(due);
    assert_eq!(server.poll_transmit().unwrap().1, empty(1, false));
    // A repetition gets the empty acknowledgement again.
    server.handle(due, peer(1), &bytes);
    assert_eq!(server.poll_transmit().unwrap().1, empty(1, false));

    server.respond(due, id, &content(3));
    let (answer, _) = sent(&mut server);
    assert_eq!(answer.kind, Kind::Confirmable);
    assert_eq!(answer.token, [1]);
    let due = server.poll_timeout().unwrap();
    server.handle_timeout(due);
    assert_eq!(sent(&mut server).0, answer, "repeated");
    server.handle(due, peer(1), &empty(answer.id, false));
    assert_eq!(server.poll_timeout(), None);
}

#[test]
fn an_answer_that_nobody_acknowledges_is_given_up() {
    let mut server = server();
    server.handle(T0, peer(1), &message(1, &post(&[]), None, None));
    let (id, _) = server.poll_request().unwrap();
    server.handle_timeout(server.poll_timeout().unwrap());
    server.poll_transmit();
    server.respond(T0, id, &content(3));
    let mut count = 0;
    while let Some(due) = server.poll_timeout() {
        server.handle_timeout(due);
    }
    while server.poll_transmit().is_some() {
        count += 1;
    }
    assert_eq!(count, 1 + Timers::STANDARD.max_retransmit);
    assert_eq!(server.counters().given_up, 1);
}

#[test]
fn att_54_bad_messages_get_a_reset_and_bad_options_get_4_02() {
    let mut server = server();
    server.handle(T0, peer(1), &[0x40, 0, 0, 9]);
    assert_eq!(server.poll_transmit().unwrap().1, empty(9, true));
    server.handle(T0, peer(1), &[0x40, 1, 0, 8, 0x90]);
    assert_eq!(sent_code(&mut server), Code::BAD_OPTION);
    server.handle(T0, peer(1), &[0x50, 1, 0, 7, 0x90]);
    assert!(server.poll_transmit().is_none(), "not confirmable: ignored");
    server.handle(T0, peer(1), &[0x40, 1, 0]);
    assert!(server.poll_transmit().is_none());
}

#[test]
fn att_64_more_requests_than_the_limit_are_refused_at_once() {
    let limits = ServerLimits {
        requests: 2,
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    for id in 0..3 {
        server.handle(T0, peer(1), &message(id, &post(&[]), None, None));
    }
    assert_eq!(sent_code(&mut server), Code::UNAVAILABLE);
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1));
    sent(&mut server);
    server.handle(T0, peer(1), &message(4, &post(&[]), None, None));
    assert!(server.poll_transmit().is_none(), "there is room again");
}

#[test]
fn a_refusal_for_lack_of_room_says_when_to_try_again_and_is_a_document() {
    let limits = ServerLimits {
        requests: 0,
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let bytes = message(1, &post(&[]), None, None);
    for _ in 0..2 {
        // It has not run, so its repetition may run.
        server.handle(T0, peer(1), &bytes);
        let (_, answer) = server.poll_transmit().unwrap();
        assert_eq!(option(&answer, CoapOption::MaxAge), Some(vec![5]));
        let Incoming::Response(_, reply) = Incoming::parse(&answer) else {
            panic!("not a response");
        };
        assert_eq!(reply.response.code, Code::UNAVAILABLE);
        let text = String::from_utf8_lossy(&reply.response.payload).into_owned();
        assert!(text.contains("overloaded"), "{text}");
    }
}

#[test]
fn fault_02_a_request_in_progress_is_never_forgotten_nor_one_that_ran_for_a_stranger_s_messages() {
    let mut server = server();
    let running = message(1, &post(&[1]), None, None);
    server.handle(T0, peer(1), &running);
    let (runs, _) = server.poll_request().unwrap();
    let ran = message(2, &post(&[2]), None, None);
    server.handle(T0, peer(1), &ran);
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(3));
    let answer = server.poll_transmit().unwrap();
    // One stranger with many ports, and strangers with many addresses, send requests that read,
    // that are refused, and that run.
    let read = Request::new(Method::Get, "status");
    for number in 0..20_000_u16 {
        let stranger = if number < 10_000 {
            SocketAddr::from(([127, 0, 0, 2], 1 + number))
        } else {
            let [high, low] = number.to_be_bytes();
            SocketAddr::from(([10, 0, high, low], 1))
        };
        let asked = match number % 3 {
            0 => message(number, &read, None, None),
            1 => vec![0x40, 1, 0, 1, 0x90],
            _ => message(number, &post(&[]), None, None),
        };
        server.handle(T0, Ends::to(stranger), &asked);
        while let Some((id, _)) = server.poll_request() {
            server.respond(T0, id, &content(1));
        }
        while server.poll_transmit().is_some() {}
    }
    server.handle(T0, peer(1), &running);
    server.handle(T0, peer(1), &ran);
    assert!(server.poll_request().is_none(), "it runs twice");
    assert_eq!(server.poll_transmit(), Some(answer));
    server.respond(T0, runs, &content(1));
    assert_eq!(sent(&mut server).0, header(1, Kind::Acknowledgement));
}

#[test]
fn a_stranger_that_fills_the_memory_of_messages_pushes_out_its_own() {
    let limits = ServerLimits {
        exchanges: 100,
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let mut run = |ends, id| {
        server.handle(T0, ends, &message(id, &post(&[]), None, None));
        let request = server.poll_request();
        if let Some((id, _)) = request {
            server.respond(T0, id, &content(1));
        }
        while server.poll_transmit().is_some() {}
        request.is_some()
    };
    let stranger = Ends::to(SocketAddr::from(([127, 0, 0, 2], 1)));
    assert!(run(peer(1), 1));
    for id in 0..5000 {
        assert!(run(stranger, id));
    }
    assert!(!run(peer(1), 1), "still known");
    assert!(!run(stranger, 4999), "so is the stranger's newest");
    assert!(run(stranger, 0), "not its oldest");
}

#[test]
fn fault_14_a_client_that_starts_anew_with_the_same_identifier_is_another_client() {
    let mut server = server();
    for token in 1..=2 {
        let header = Header {
            id: 1,
            kind: Kind::Confirmable,
            token: vec![token],
        };
        let request = post(&[token]);
        let bytes = write_request(&header, &request, &request.payload, None, None);
        server.handle(T0, peer(1), &bytes);
        let (id, request) = server.poll_request().unwrap();
        assert_eq!(request.payload, [token]);
        server.respond(T0, id, &content(1));
        assert_eq!(sent(&mut server).0.token, [token]);
    }
}

#[test]
fn message_identifiers_may_be_used_again_after_their_lifetime() {
    let mut server = server();
    let bytes = message(1, &post(&[]), None, None);
    for round in 0..3 {
        let now = T0 + Duration::from_secs(round * 250);
        server.handle(now, peer(1), &bytes);
        let (id, _) = server.poll_request().unwrap();
        server.respond(now, id, &content(1));
    }
}

#[test]
fn requests_of_one_machine_are_of_one_party_whatever_its_ports() {
    let mut server = server();
    let mut id = 0;
    let mut party = |address: &str| {
        id += 1;
        let ends = Ends::to(address.parse().unwrap());
        server.handle(T0, ends, &message(id, &post(&[]), None, None));
        let (request, _) = server.poll_request().unwrap();
        server.party(request).unwrap()
    };
    let one = party("10.0.0.1:5683");
    assert_eq!(party("10.0.0.1:40000"), one);
    assert_ne!(party("10.0.0.2:5683"), one);
    // In IPv6 a machine may have a whole network.
    let network = party("[fd00::1:2]:5683");
    assert_eq!(party("[fd00::9]:5683"), network);
    assert_ne!(party("[fd00:0:0:1::9]:5683"), network);
}
