//! Clients that observe resources.

use super::*;

fn observe(id: u16, what: Option<Observe>) -> Vec<u8> {
    let mut request = Request::new(Method::Get, "jobs");
    request.observe = what;
    let header = Header {
        id,
        kind: Kind::Confirmable,
        token: vec![9],
    };
    write_request(&header, &request, &[], None, None)
}

/// Registers a client; returns the id of its request.
fn register(server: &mut Server, ends: Ends) -> RequestId {
    server.handle(T0, ends, &observe(1, Some(Observe::Register)));
    let (id, request) = server.poll_request().unwrap();
    assert_eq!(request.observe, Some(Observe::Register));
    assert!(server.respond_observed(T0, id, &content(1)));
    let (_, bytes) = server.poll_transmit().unwrap();
    assert!(option(&bytes, CoapOption::Observe).is_some());
    id
}

/// The notification that is sent, if one is: its identifier, order and body.
fn notified(server: &mut Server) -> Option<(u16, Option<u32>, usize)> {
    let (_, bytes) = server.poll_transmit()?;
    let Incoming::Response(header, reply) = Incoming::parse(&bytes) else {
        panic!("not a response");
    };
    assert_eq!(
        (header.kind, &header.token[..]),
        (Kind::Confirmable, &[9][..])
    );
    let order = option(&bytes, CoapOption::Observe);
    let order = order.map(|value| {
        value
            .iter()
            .fold(0, |sum, byte| sum << 8 | u32::from(*byte))
    });
    Some((header.id, order, reply.response.payload.len()))
}

#[test]
fn a_client_is_told_of_changes_one_at_a_time_and_the_newest_waits() {
    let mut server = server();
    let id = register(&mut server, peer(1));
    for len in 2..=5 {
        server.notify(T0, id, &content(len), false);
    }
    let (first, order, len) = notified(&mut server).unwrap();
    assert_eq!(len, 2);
    assert_eq!(
        notified(&mut server),
        None,
        "the first is not acknowledged yet"
    );
    server.handle(T0, peer(1), &empty(first, false));
    let (second, next, len) = notified(&mut server).unwrap();
    assert_eq!(len, 5);
    assert!(next > order);
    server.handle(T0, peer(1), &empty(second, false));
    assert_eq!(notified(&mut server), None);
    assert!(server.is_observed(id) && server.is_idle());
}

#[test]
fn an_observation_ends_when_the_client_says_so_or_is_gone() {
    let mut server = server();
    // The client asks without the option, or resets a notification, or stops answering.
    let id = register(&mut server, peer(1));
    server.handle(T0, peer(1), &observe(2, Some(Observe::Deregister)));
    let (read, _) = server.poll_request().unwrap();
    assert!(!server.respond_observed(T0, read, &content(1)));
    assert_eq!(
        option(&server.poll_transmit().unwrap().1, CoapOption::Observe),
        None
    );
    assert!(!server.is_observed(id));

    let id = register(&mut server, peer(2));
    server.notify(T0, id, &content(2), false);
    let (message, ..) = notified(&mut server).unwrap();
    server.handle(T0, peer(2), &empty(message, true));
    assert!(!server.is_observed(id));

    let id = register(&mut server, peer(3));
    server.notify(T0, id, &content(2), false);
    while let Some(due) = server.poll_timeout() {
        server.handle_timeout(due);
    }
    assert!(!server.is_observed(id));
    assert_eq!(server.counters().given_up, 1);
}

#[test]
fn the_last_notification_and_an_error_end_the_observation() {
    let mut server = server();
    let failed = Response::empty(Code::NOT_FOUND);
    for (port, response, last) in [(1, content(3), true), (2, failed, false)] {
        let id = register(&mut server, peer(port));
        server.notify(T0, id, &response, last);
        let (_, order, _) = notified(&mut server).unwrap();
        assert_eq!(order, None);
        assert!(!server.is_observed(id));
    }
}

#[test]
fn a_client_that_registers_again_has_one_observation_and_too_many_get_one_answer() {
    let limits = ServerLimits {
        observers: 4,
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let first = register(&mut server, peer(1));
    let bytes = observe(2, Some(Observe::Register));
    server.handle(T0, peer(1), &bytes);
    let (again, _) = server.poll_request().unwrap();
    assert!(server.respond_observed(T0, again, &content(1)));
    assert!(!server.is_observed(first));
    server.poll_transmit();
    register(&mut server, peer(2));
    // One machine has at most half of the observations.
    server.handle(T0, peer(3), &bytes);
    let (id, _) = server.poll_request().unwrap();
    assert!(!server.respond_observed(T0, id, &content(1)));
    let (_, bytes) = server.poll_transmit().unwrap();
    assert_eq!(option(&bytes, CoapOption::Observe), None);
}

#[test]
fn a_long_notification_s_rest_is_fetched_in_blocks() {
    let mut server = server();
    let id = register(&mut server, peer(1));
    server.notify(T0, id, &content(2500), false);
    let (_, _, len) = notified(&mut server).unwrap();
    assert_eq!(len, 1024);
    let jobs = Request::new(Method::Get, "jobs");
    server.handle(T0, peer(1), &message(5, &jobs, None, block(2, false)));
    assert_eq!(sent(&mut server).1.response.payload.len(), 2500 - 2048);
}
