use super::*;
use crate::coap::message::{Incoming, Method, Reply, write_request};
use core::time::Duration;

const T0: Instant = Instant::ZERO;

fn server() -> Server {
    Server::new(ServerLimits::DEFAULT, Timers::STANDARD, 1)
}

fn peer(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
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
fn a_body_in_blocks_becomes_one_request_and_a_large_answer_goes_out_in_blocks() {
    let mut server = server();
    let parts = [vec![1; 1024], vec![2; 1024], vec![3; 10]];
    for (at, part) in parts.iter().enumerate() {
        let block1 = block(at as u32, at < 2);
        let id = 10 + at as u16;
        server.handle(T0, peer(1), &message(id, &post(part), block1, None));
        if at < 2 {
            let (_, reply) = sent(&mut server);
            assert_eq!(reply.response.code, Code::CONTINUE);
            assert_eq!(reply.block1, block1);
        }
    }
    let (id, request) = server.poll_request().unwrap();
    assert_eq!(request.payload, parts.concat());
    server.respond(T0, id, &content(2500));
    let (_, reply) = sent(&mut server);
    assert_eq!(
        (reply.block1, reply.block2),
        (block(2, false), block(0, true))
    );
    let mut body = reply.response.payload;
    for number in 1..3 {
        let wanted = block(number, false);
        let bytes = message(20 + number as u16, &post(&[]), None, wanted);
        server.handle(T0, peer(1), &bytes);
        assert!(server.poll_request().is_none(), "nothing runs again");
        let (_, part) = sent(&mut server);
        assert_eq!(part.etag, reply.etag);
        body.extend(part.response.payload);
    }
    assert_eq!(body, content(2500).payload);
}

#[test]
fn att_55_broken_uploads_are_refused_and_unfinished_ones_are_bounded() {
    let mut server = server();
    let full = vec![0; 1024];
    let mut upload = |port, id, payload: &[u8], block1| {
        server.handle(T0, peer(port), &message(id, &post(payload), block1, None));
        sent_code(&mut server)
    };
    // A gap; the largest block number there is; a short block in the middle.
    assert_eq!(upload(1, 1, &full, block(1, true)), Code::INCOMPLETE);
    let last = block((1 << 20) - 1, true);
    assert_eq!(upload(1, 2, &full, last), Code::INCOMPLETE);
    assert_eq!(upload(1, 3, &[0; 5], block(0, true)), Code::BAD_REQUEST);
    for port in 1000..2000 {
        assert_eq!(upload(port, 4, &full, block(0, true)), Code::CONTINUE);
    }
    // The oldest had to go, the youngest is still there.
    assert_eq!(upload(1000, 5, &full, block(1, true)), Code::INCOMPLETE);
    assert_eq!(upload(1999, 5, &full, block(1, true)), Code::CONTINUE);

    let limit = ServerLimits::DEFAULT.body_bytes / 1024;
    for number in 0..=limit as u32 {
        let code = upload(5, 100 + number as u16, &full, block(number, true));
        let fits = (number as usize) < limit;
        assert_eq!(
            code,
            if fits {
                Code::CONTINUE
            } else {
                Code::TOO_LARGE
            }
        );
    }
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
fn message_identifiers_may_be_used_again_after_their_lifetime() {
    let mut server = server();
    let bytes = message(1, &post(&[]), None, None);
    for round in 0..3 {
        let now = T0 + Duration::from_secs(round * 250);
        server.handle(now, peer(1), &bytes);
        assert!(server.poll_request().is_some());
    }
}
