extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use std::net::UdpSocket;
use std::process::{Command, Output};

use nimblenet_core::ClientId;
use proptest::prelude::*;

use super::*;

const NUMBERS: &[(&str, u64)] = &[("calls", 7), ("rx_bytes", 1 << 40)];
const CONFIRMABLE: u8 = 0x40;
const UNCONFIRMED: u8 = 0x50;
const RESET: u8 = 0x70;
const ACKNOWLEDGEMENT: u8 = 0x60;

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn endpoint() -> Endpoint<u8> {
    Endpoint::new(100)
}

/// A request with a token of two bytes and options of short values, in ascending order.
fn request(kind: u8, id: u8, code: u8, options: &[(u16, &[u8])], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind | 2, code, 0, id, 0xaa, id];
    let mut last = 0;
    for (number, value) in options {
        let (nibble, extension) = match number - last {
            delta @ 0..13 => (delta as u8, None),
            delta => (13, Some(delta as u8 - 13)),
        };
        bytes.push(nibble << 4 | value.len() as u8);
        bytes.extend(extension);
        bytes.extend(*value);
        last = *number;
    }
    if !payload.is_empty() {
        bytes.push(0xff);
        bytes.extend(payload);
    }
    bytes
}

/// A call of `shop/rms`.
fn rms(kind: u8, id: u8) -> Vec<u8> {
    let path: [(u16, &[u8]); 3] = [(11, b"t"), (11, b"shop"), (11, b"rms")];
    request(kind, id, 2, &path, &[0x81, 7])
}

fn asked(reaction: Reaction<'_>) -> RequestId {
    let Reaction::Call(id, request) = reaction else {
        panic!("{reaction:?} is no call");
    };
    assert_eq!(request.name, "shop/rms".parse().unwrap());
    assert_eq!((request.export, request.args), ("", &[0x81, 7][..]));
    id
}

fn reply(reaction: Reaction<'_>) -> Vec<u8> {
    let Reaction::Reply(bytes) = reaction else {
        panic!("{reaction:?} is no reply");
    };
    bytes.to_vec()
}

/// The response code of a message with a token of two bytes, and its payload.
fn opened(bytes: &[u8]) -> (String, &[u8]) {
    assert_eq!(bytes[0] & 0xf, 2, "the token comes back");
    let code = format!("{}.{:02}", bytes[1] >> 5, bytes[1] & 31);
    let marker = bytes.iter().skip(6).position(|byte| *byte == 0xff);
    (code, marker.map_or(&[], |marker| &bytes[7 + marker..]))
}

fn refused(options: &[(u16, &[u8])], code: u8) -> String {
    let mut endpoint = endpoint();
    let request = request(CONFIRMABLE, 1, code, options, &[]);
    let reply = reply(endpoint.handle(at(0), 1, &request, NUMBERS));
    assert_eq!(reply[..6], [0x62, reply[1], 0, 1, 0xaa, 1]);
    opened(&reply).0
}

#[test]
fn a_call_that_ends_soon_is_answered_with_its_acknowledgement() {
    let mut endpoint = endpoint();
    let id = asked(endpoint.handle(at(0), 1, &rms(CONFIRMABLE, 9), NUMBERS));
    let sent = endpoint.finish(at(1), id, Ok(&[0x81, 3]), None).unwrap();
    assert_eq!(sent.to, 1);
    assert_eq!(
        sent.bytes,
        [0x62, 0x45, 0, 9, 0xaa, 9, 0xc1, 60, 0xff, 0x81, 3]
    );
    assert_eq!(endpoint.poll_timeout(), None);
    assert_eq!(endpoint.finish(at(2), id, Ok(&[0x80]), None), None);
}

#[test]
fn an_unconfirmed_call_gets_an_unconfirmed_answer() {
    let mut endpoint = endpoint();
    let id = asked(endpoint.handle(at(0), 1, &rms(UNCONFIRMED, 9), NUMBERS));
    assert_eq!(endpoint.poll_timeout(), None);
    let sent = endpoint.finish(at(5000), id, Ok(&[0x81, 3]), None).unwrap();
    assert_eq!(sent.bytes[..6], [0x52, 0x45, 0, 101, 0xaa, 9]);
    let repetition = rms(UNCONFIRMED, 9);
    let again = endpoint.handle(at(5001), 1, &repetition, NUMBERS);
    assert_eq!(again, Reaction::Ignore);
}

#[test]
fn a_call_that_takes_long_is_acknowledged_and_answered_until_that_is_acknowledged() {
    let mut endpoint = endpoint();
    let id = asked(endpoint.handle(at(0), 1, &rms(CONFIRMABLE, 9), NUMBERS));
    assert_eq!(endpoint.poll_timeout(), Some(at(1000)));
    assert_eq!(endpoint.handle_timeout(at(999)), None);
    let sent = endpoint.handle_timeout(at(1000)).unwrap();
    assert_eq!((sent.to, sent.bytes), (1, &[0x60, 0, 0, 9][..]));
    assert_eq!(endpoint.handle_timeout(at(1000)), None);

    let sent = endpoint.finish(at(2000), id, Ok(&[0x81, 3]), None).unwrap();
    let sent = sent.bytes.to_vec();
    assert_eq!(sent[..6], [0x42, 0x45, 0, 101, 0xaa, 9]);
    assert_eq!(endpoint.poll_timeout(), Some(at(4500)));
    let again = endpoint.handle_timeout(at(4500)).unwrap();
    assert_eq!(again.bytes, sent);
    assert_eq!(endpoint.poll_timeout(), Some(at(9500)));

    let of_another = [ACKNOWLEDGEMENT, 0, 0, 101];
    endpoint.handle(at(5000), 2, &of_another, NUMBERS);
    assert_eq!(endpoint.poll_timeout(), Some(at(9500)));
    endpoint.handle(at(5000), 1, &of_another, NUMBERS);
    assert_eq!(endpoint.poll_timeout(), None);
}

#[test]
fn an_answer_that_nobody_acknowledges_is_given_up() {
    let mut endpoint = endpoint();
    let id = asked(endpoint.handle(at(0), 1, &rms(CONFIRMABLE, 9), NUMBERS));
    endpoint.handle_timeout(at(1000)).unwrap();
    endpoint.finish(at(1000), id, Ok(&[0x80]), None).unwrap();
    let mut sent = 0;
    while let Some(due) = endpoint.poll_timeout() {
        sent += u8::from(endpoint.handle_timeout(due).is_some());
    }
    assert_eq!(sent, MAX_RETRANSMIT);
    assert_eq!(endpoint.counters().given_up, 1);
}

#[test]
fn a_repeated_message_runs_nothing_twice() {
    let mut endpoint = endpoint();
    let call = rms(CONFIRMABLE, 9);
    let id = asked(endpoint.handle(at(0), 1, &call, NUMBERS));
    let acknowledged = reply(endpoint.handle(at(100), 1, &call, NUMBERS));
    assert_eq!(acknowledged, [0x60, 0, 0, 9], "it is being worked on");
    let sent = endpoint.finish(at(200), id, Ok(&[0x80]), None).unwrap();
    assert_eq!(sent.bytes[0], 0x42, "so the answer is a separate one");
    let again = reply(endpoint.handle(at(300), 1, &call, NUMBERS));
    assert_eq!(again, acknowledged);

    let call = rms(CONFIRMABLE, 10);
    let id = asked(endpoint.handle(at(0), 1, &call, NUMBERS));
    let sent = endpoint.finish(at(10), id, Ok(&[0x80]), None).unwrap();
    let sent = sent.bytes.to_vec();
    assert_eq!(reply(endpoint.handle(at(20), 1, &call, NUMBERS)), sent);
    // The same identifier from elsewhere, or much later, is another message.
    asked(endpoint.handle(at(20), 2, &call, NUMBERS));
    asked(endpoint.handle(at(300_000), 1, &call, NUMBERS));
    assert_eq!(endpoint.counters().repeated, 3);
    assert_eq!(endpoint.counters().calls, 4);
}

#[test]
fn what_does_not_fit_the_table_is_refused_until_a_call_ends() {
    let mut endpoint = endpoint();
    let calls: Vec<_> = (0..MAX_EXCHANGES as u8)
        .map(|id| asked(endpoint.handle(at(0), id, &rms(CONFIRMABLE, id), NUMBERS)))
        .collect();
    let refused = reply(endpoint.handle(at(1), 99, &rms(CONFIRMABLE, 99), NUMBERS));
    let (code, payload) = opened(&refused);
    assert_eq!(code, "5.03");
    assert!(payload.windows(4).any(|text| text == b"busy"));
    assert_eq!(endpoint.counters().refused, 1);
    endpoint.finish(at(2), calls[3], Ok(&[0x80]), None);
    asked(endpoint.handle(at(3), 99, &rms(CONFIRMABLE, 99), NUMBERS));
    // The endpoint forgot the call that had ended, and no other.
    endpoint.finish(at(4), calls[4], Ok(&[0x80]), None).unwrap();
}

#[test]
fn every_fault_has_an_answer_and_those_of_callers_are_their_own() {
    for fault in Fault::ALL {
        for trap in [None, Some(Trap::ALL[0])] {
            let mut endpoint = endpoint();
            let id = asked(endpoint.handle(at(0), 1, &rms(CONFIRMABLE, 9), NUMBERS));
            let sent = endpoint.finish(at(0), id, Err(*fault), trap).unwrap();
            let (code, payload) = opened(sent.bytes);
            let mut map = minicbor::Decoder::new(payload);
            assert_eq!(map.map().unwrap(), Some(2));
            assert_eq!(map.str().unwrap(), "code");
            assert_eq!(map.str().unwrap(), fault.code());
            assert_eq!(map.str().unwrap(), "message");
            assert!(!map.str().unwrap().is_empty());
            let expected = [
                (Fault::WrongArguments, "4.00"),
                (Fault::UnknownTasklet, "4.04"),
                (Fault::ValuesTooLarge, "4.13"),
                (Fault::Trapped, "5.00"),
                (Fault::OutOfFuel, "5.00"),
                (Fault::NoMemory, "5.03"),
                (Fault::Deadline, "5.04"),
            ];
            if let Some((_, expected)) = expected.iter().find(|(it, _)| it == fault) {
                assert_eq!(&code, expected, "{fault}");
            }
        }
    }
}

#[test]
fn results_that_no_datagram_holds_are_a_fault() {
    let longest = MAX_MESSAGE_BYTES - 4 - 2 - 2 - 1;
    for (len, code) in [(longest, "2.05"), (longest + 1, "4.13")] {
        let mut endpoint = endpoint();
        let id = asked(endpoint.handle(at(0), 1, &rms(CONFIRMABLE, 9), NUMBERS));
        let sent = endpoint.finish(at(0), id, Ok(&vec![0; len]), None).unwrap();
        assert_eq!(opened(sent.bytes).0, code);
    }
    let mut endpoint = endpoint();
    let many = [("a number with a long name indeed", 1); 20];
    let status = request(CONFIRMABLE, 1, 1, &[(11, b"status")], &[]);
    let reply = reply(endpoint.handle(at(0), 1, &status, &many));
    assert_eq!(opened(&reply).0, "4.13");
}

#[test]
fn status_and_links_are_answered_at_once_and_as_often_as_asked() {
    let mut endpoint = endpoint();
    let status = request(CONFIRMABLE, 1, 1, &[(11, b"status")], &[]);
    for _ in 0..2 {
        let reply = reply(endpoint.handle(at(0), 1, &status, NUMBERS));
        let (code, payload) = opened(&reply);
        assert_eq!(code, "2.05");
        let mut map = minicbor::Decoder::new(payload);
        assert_eq!(map.map().unwrap(), Some(2));
        assert_eq!((map.str().unwrap(), map.u64().unwrap()), ("calls", 7));
        assert_eq!(map.str().unwrap(), "rx_bytes");
        assert_eq!(map.u64().unwrap(), 1 << 40);
    }
    let path: [(u16, &[u8]); 2] = [(11, b".well-known"), (11, b"core")];
    let links = request(UNCONFIRMED, 1, 1, &path, &[]);
    let reply = reply(endpoint.handle(at(0), 1, &links, NUMBERS));
    assert_eq!(reply[..6], [0x52, 0x45, 0, 101, 0xaa, 1]);
    assert_eq!(opened(&reply).1, LINKS);
}

#[test]
fn an_export_a_client_and_no_arguments_may_be_asked_for() {
    let mut endpoint = endpoint();
    let options: [(u16, &[u8]); 7] = [
        (3, b"host"),
        (11, b"t"),
        (11, b"shop"),
        (11, b"rms"),
        (15, b"x=other"),
        (15, b"client=65535"),
        (17, &[60]),
    ];
    let request = request(CONFIRMABLE, 1, 2, &options, &[]);
    let Reaction::Call(_, call) = endpoint.handle(at(0), 1, &request, NUMBERS) else {
        panic!("no call");
    };
    assert_eq!((call.export, call.args), ("other", &[0x80][..]));
    assert_eq!(call.client, Some(ClientId(65535)));
}

#[test]
fn what_makes_no_sense_is_refused_by_its_own_code() {
    let with = |more: &[(u16, &'static [u8])]| {
        let mut options: Vec<(u16, &[u8])> = vec![(11, b"t"), (11, b"shop"), (11, b"rms")];
        options.extend(more);
        options.sort_by_key(|(number, _)| *number);
        refused(&options, 2)
    };
    assert_eq!(with(&[(12, &[0])]), "4.15");
    assert_eq!(with(&[(17, &[40])]), "4.06");
    assert_eq!(with(&[(17, &[60]), (17, &[60])]), "4.02", "twice");
    assert_eq!(with(&[(17, &[0, 0, 60])]), "4.02", "too long");
    for (number, name) in [(3, "host"), (7, "port")] {
        let repeated = [(number, &b"a"[..]), (number, b"a")];
        assert_eq!(with(&repeated), "4.02", "a {name} twice");
    }
    assert_eq!(with(&[(3, &[])]), "4.02", "a host without a name");
    assert_eq!(with(&[(7, &[1, 2, 3])]), "4.02", "a port of three bytes");
    assert_eq!(with(&[(23, &[6])]), "4.02", "block by block");
    assert_eq!(with(&[(21, &[])]), "4.02", "unknown and critical");
    assert_eq!(with(&[(35, b"coap://x")]), "5.05");
    assert_eq!(with(&[(15, b"at=7")]), "4.00");
    assert_eq!(with(&[(15, b"client=me")]), "4.00");
    assert_eq!(
        refused(&[(11, b"t"), (11, b"no space"), (11, b"x")], 2),
        "4.00"
    );
    assert_eq!(refused(&[(11, &[0xff])], 1), "4.02");
    assert_eq!(refused(&[(11, b"status")], 2), "4.05");
    assert_eq!(refused(&[(11, b"status")], 31), "4.05");
    assert_eq!(refused(&[(11, b"nothing")], 1), "4.04");
    assert_eq!(refused(&[(11, &b"t"[..]); 40], 2), "4.04");
    assert_eq!(refused(&[], 1), "4.04");
}

#[test]
fn malformed_messages_are_reset_if_confirmable_and_else_ignored() {
    let malformed: [&[u8]; 12] = [
        &[9, 1, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[15, 1, 0, 5],
        &[2, 1, 0, 5, 1],
        &[0, 1, 0, 5, 0xf0],
        &[0, 1, 0, 5, 0x0f],
        &[0, 1, 0, 5, 0xe0, 0xff, 0xff],
        &[0, 1, 0, 5, 0xe0, 0xfe, 0xf2, 0x10],
        &[0, 1, 0, 5, 0xb4, b'a'],
        &[0, 1, 0, 5, 0xd0],
        &[0, 1, 0, 5, 0xff],
        &[0, 0, 0, 5, 0],
        &[0, 0x45, 0, 5],
    ];
    for message in malformed {
        let mut message = message.to_vec();
        message[0] |= CONFIRMABLE;
        let mut endpoint = endpoint();
        let reset = reply(endpoint.handle(at(0), 1, &message, NUMBERS));
        assert_eq!(reset, [RESET, 0, 0, 5], "{message:02x?}");
        for kind in [UNCONFIRMED, ACKNOWLEDGEMENT, RESET] {
            message[0] = message[0] & 0xf | kind;
            let reaction = endpoint.handle(at(0), 1, &message, NUMBERS);
            assert_eq!(reaction, Reaction::Ignore, "{message:02x?}");
        }
        for version in [0, 0x80, 0xc0] {
            message[0] = message[0] & 0xf | version;
            let reaction = endpoint.handle(at(0), 1, &message, NUMBERS);
            assert_eq!(reaction, Reaction::Ignore, "{message:02x?}");
        }
    }
    let mut endpoint = endpoint();
    let ping = reply(endpoint.handle(at(0), 1, &[CONFIRMABLE, 0, 0, 5], NUMBERS));
    assert_eq!(ping, [RESET, 0, 0, 5]);
    let odd = request(UNCONFIRMED, 1, 1, &[(21, &[])], &[]);
    let reaction = endpoint.handle(at(0), 1, &odd, NUMBERS);
    assert_eq!(reaction, Reaction::Ignore, "without confirmation no 4.02");
}

#[test]
fn thousands_of_options_are_read_past() {
    let mut endpoint = endpoint();
    let mut message = rms(CONFIRMABLE, 1);
    let payload = message.split_off(message.len() - 3);
    // The last is option 65000, which is elective and which nobody knows.
    message.extend([0xe0, 0xfc, 0xd0]);
    message.extend(vec![0x00; 2000]);
    message.extend(payload);
    asked(endpoint.handle(at(0), 1, &message, NUMBERS));
}

proptest! {
    /// The bytes begin like a message, so that they pass the first check.
    #[test]
    fn any_bytes_are_answered_or_ignored(
        datagrams in prop::collection::vec(
            (0u8..4, prop::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            1..40,
        ),
    ) {
        let mut endpoint = endpoint();
        for (now, (peer, mut bytes, likely)) in datagrams.into_iter().enumerate() {
            if likely && bytes.len() > 3 {
                bytes[0] = bytes[0] & 0x13 | 0x40;
                bytes[1] &= 3;
            }
            let now = at(400 * now as u64);
            let call = match endpoint.handle(now, peer, &bytes, NUMBERS) {
                Reaction::Call(id, _) => Some(id),
                Reaction::Reply(reply) => {
                    prop_assert!(reply.len() >= 4);
                    None
                }
                Reaction::Ignore => None,
            };
            if let Some(call) = call {
                prop_assert!(endpoint.finish(now, call, Err(Fault::Busy), None).is_some());
            }
            while endpoint.handle_timeout(now).is_some() {}
        }
    }

    /// Whatever is asked, repeated and lost, each message makes one call, and memory stays bounded.
    #[test]
    fn messages_lost_and_repeated_call_once(
        steps in prop::collection::vec((0u8..6, any::<bool>(), 0u64..1500), 1..200),
    ) {
        let mut endpoint = endpoint();
        let (mut now, mut open, mut calls) = (0, Vec::new(), Vec::new());
        for (id, ends, pause) in steps {
            now += pause;
            let message = rms(CONFIRMABLE, id);
            if let Reaction::Call(call, _) = endpoint.handle(at(now), 1, &message, NUMBERS) {
                let recent = |(other, since): &(u8, u64)| *other == id && now - since < 247_000;
                prop_assert!(!calls.iter().any(recent));
                calls.push((id, now));
                open.push(call);
            }
            if ends && let Some(call) = open.pop() {
                prop_assert!(endpoint.finish(at(now), call, Ok(&[0x80]), None).is_some());
            }
            while endpoint.handle_timeout(at(now)).is_some() {}
        }
    }
}

/// Serves a socket until it has sent `expected` answers. A call takes the time `takes` and returns
/// its arguments.
#[allow(clippy::disallowed_methods)] // real clients have real time
fn serve(socket: &UdpSocket, takes: Duration, expected: usize) {
    let begin = std::time::Instant::now();
    let now = || Instant::from_micros(begin.elapsed().as_micros() as u64);
    let mut endpoint = Endpoint::<SocketAddr>::new(1);
    let mut running: Vec<(Instant, RequestId, Vec<u8>)> = Vec::new();
    let (mut datagram, mut served) = ([0; 1500], 0);
    while served < expected {
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        if let Ok((len, from)) = socket.recv_from(&mut datagram) {
            match endpoint.handle(now(), from, &datagram[..len], NUMBERS) {
                Reaction::Ignore => {}
                Reaction::Reply(bytes) => {
                    socket.send_to(bytes, from).unwrap();
                    served += 1;
                }
                Reaction::Call(id, call) => running.push((now() + takes, id, call.args.to_vec())),
            }
        }
        while let Some(due) = endpoint.handle_timeout(now()) {
            socket.send_to(due.bytes, due.to).unwrap();
        }
        while let Some(done) = running.iter().position(|(end, ..)| *end <= now()) {
            let (_, id, args) = running.swap_remove(done);
            let sent = endpoint.finish(now(), id, Ok(&args), None).unwrap();
            socket.send_to(sent.bytes, sent.to).unwrap();
            served += 1;
        }
        let patience = Duration::from_secs(30);
        assert!(begin.elapsed() < patience, "{served} answers of {expected}");
    }
}

/// Asks with a client of another project; Debian has it in libcoap3-bin.
fn client(address: SocketAddr, arguments: &[&str], path: &str) -> Output {
    let output = Command::new("coap-client-notls")
        .args(["-B", "10"])
        .args(arguments)
        .arg(format!("coap://{address}{path}"))
        .output();
    output.expect("coap-client-notls of libcoap3-bin is needed")
}

#[test]
fn a_client_of_others_calls_and_looks_around() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let post = ["-m", "post", "-t", "60", "-e", "%82%02%03"];
    for (takes, arguments) in [
        (Duration::ZERO, &post[..]),
        (PROCESSING + Duration::from_millis(200), &post),
        (Duration::ZERO, &[&post[..], &["-N"]].concat()),
    ] {
        let output = std::thread::scope(|scope| {
            scope.spawn(|| serve(&socket, takes, 1));
            client(address, arguments, "/t/shop/echo")
        });
        assert!(output.stdout.starts_with(&[0x82, 2, 3]), "{output:?}");
    }
    let outputs = std::thread::scope(|scope| {
        scope.spawn(|| serve(&socket, Duration::ZERO, 3));
        [
            client(address, &[], "/.well-known/core"),
            client(address, &[], "/status"),
            client(address, &[], "/nothing"),
        ]
    });
    let [links, status, nothing] = outputs;
    assert!(links.stdout.starts_with(LINKS), "{links:?}");
    assert!(status.stdout.starts_with(&[0xa2, 0x65]), "{status:?}");
    let error = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(error.contains("4.04"), "{nothing:?}");
}
