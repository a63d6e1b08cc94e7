//! Addresses that have proved nothing.

use super::*;

/// A peer that is not this machine.
fn stranger(port: u16) -> Ends {
    Ends::to(SocketAddr::from(([192, 0, 2, 9], port)))
}

/// Everything that the server sends until nothing is left to repeat.
fn sent_bytes(server: &mut Server, now: &mut Instant) -> usize {
    let mut bytes = 0;
    loop {
        while let Some((_, datagram)) = server.poll_transmit() {
            bytes += datagram.len();
        }
        let Some(due) = server.poll_timeout() else {
            return bytes;
        };
        *now = due.max(*now);
        server.handle_timeout(*now);
    }
}

#[test]
fn fault_11_reading_begins_with_a_proof_of_the_address_and_goes_on_without() {
    let mut server = server();
    let mut get = Request::new(Method::Get, "r/shop");
    server.handle(T0, stranger(1), &message(1, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1000));
    let (_, reply) = sent(&mut server);
    assert_eq!(reply.response, Response::empty(Code::UNAUTHORIZED));
    let echo = reply.echo.unwrap();

    get.echo = Some(vec![1; 8]);
    server.handle(T0, stranger(1), &message(2, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1000));
    assert_eq!(
        sent_code(&mut server),
        Code::UNAUTHORIZED,
        "a guess proves nothing"
    );

    get.echo = Some(echo);
    let other = Ends::to(SocketAddr::from(([192, 0, 2, 10], 1)));
    server.handle(T0, other, &message(3, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1000));
    assert_eq!(
        sent_code(&mut server),
        Code::UNAUTHORIZED,
        "it is another's proof"
    );

    server.handle(T0, stranger(1), &message(4, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1000));
    assert_eq!(sent(&mut server).1.response.payload.len(), 1000);
    // From then on, from any port of that address, for five minutes.
    get.echo = None;
    let later = |seconds| T0 + Duration::from_secs(seconds);
    for (id, seconds, code) in [(5, 299, Code::CONTENT), (6, 300, Code::UNAUTHORIZED)] {
        server.handle(later(seconds), stranger(2), &message(id, &get, None, None));
        let (id, _) = server.poll_request().unwrap();
        server.respond(later(seconds), id, &content(1000));
        assert_eq!(sent_code(&mut server), code);
    }
}

#[test]
fn fault_11_what_fits_three_times_the_question_needs_no_proof_and_this_machine_none_at_all() {
    let mut server = server();
    let get = Request::new(Method::Get, "status");
    server.handle(T0, stranger(1), &message(1, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(16));
    assert_eq!(sent_code(&mut server), Code::CONTENT);
    server.handle(T0, peer(1), &message(1, &get, None, None));
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(1000));
    assert_eq!(sent_code(&mut server), Code::CONTENT);
}

#[test]
fn fault_11_a_result_runs_once_and_goes_out_in_small_blocks() {
    let mut server = server();
    let request = post(&[0x80]);
    let asked = message(1, &request, None, None);
    server.handle(T0, stranger(1), &asked);
    let (id, _) = server.poll_request().unwrap();
    server.respond(T0, id, &content(100));
    let mut result = Vec::new();
    for number in 0.. {
        let (_, bytes) = server.poll_transmit().unwrap();
        assert!(bytes.len() <= 3 * asked.len(), "{} bytes", bytes.len());
        let Incoming::Response(_, reply) = Incoming::parse(&bytes) else {
            panic!("{bytes:02x?} is no response");
        };
        result.extend_from_slice(&reply.response.payload);
        let block = reply.block2.unwrap();
        if !block.more {
            break;
        }
        let wanted = block.after(block).unwrap();
        let next = message(number + 2, &post(&[]), None, Some(wanted));
        server.handle(T0, stranger(1), &next);
        assert!(server.poll_request().is_none(), "it runs once");
    }
    assert_eq!(result, [7; 100]);
}

#[test]
fn fault_11_no_question_brings_more_than_three_times_its_bytes_however_it_ends() {
    let answers = [
        content(2000),
        content(40),
        Response::empty(Code::CHANGED),
        { Response::new(Code::INTERNAL, Format::CBOR, vec![7; 300]) },
    ];
    let mut id = 0;
    for observe in [None, Some(Observe::Register)] {
        for method in [Method::Get, Method::Post, Method::Put] {
            for (answer, late) in answers.iter().flat_map(|it| [(it, false), (it, true)]) {
                let (mut server, mut now) = (server(), T0);
                let mut request = Request::new(method, "t/a/b");
                request.observe = observe;
                id += 1;
                let asked = message(id, &request, None, None);
                server.handle(now, stranger(1), &asked);
                let taken = server.poll_request();
                let mut bytes = 0;
                if late {
                    now += Timers::STANDARD.processing;
                    server.handle_timeout(now);
                }
                if let Some((taken, _)) = taken {
                    server.respond(now, taken, answer);
                }
                bytes += sent_bytes(&mut server, &mut now);
                // An empty acknowledgement and one answer may be a few bytes more.
                let most = 3 * asked.len() + 4;
                assert!(
                    bytes <= most,
                    "{method:?} {late} {answer:?}: {bytes} of {most}"
                );
            }
        }
    }
    // What is refused without being run.
    for request in [
        Request::new(Method::Get, "x"),
        Request::new(Method::Post, "x"),
    ] {
        let (mut server, mut now) = (server(), T0);
        let wanted = Some(Block {
            number: 9,
            ..Block::FIRST
        });
        let asked = message(1, &request, None, wanted);
        server.handle(now, stranger(1), &asked);
        if let Some((taken, _)) = server.poll_request() {
            server.respond(now, taken, &content(20_000));
        }
        assert!(sent_bytes(&mut server, &mut now) <= 3 * asked.len());
    }
}
