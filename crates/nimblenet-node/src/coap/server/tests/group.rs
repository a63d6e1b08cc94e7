//! Requests to groups.

use super::*;

fn group() -> Ends {
    let mut ends = peer(1);
    ends.local = [224, 0, 1, 187].into();
    ends
}

fn discovery(id: u16, kind: Kind, path: &str) -> Vec<u8> {
    let request = Request::new(Method::Get, path);
    write_request(&header(id, kind), &request, &[], None, None)
}

#[test]
fn a_group_is_answered_late_at_a_random_moment() {
    let mut moments = Vec::new();
    for seed in 1..=20 {
        let mut server = Server::new(ServerLimits::DEFAULT, Timers::STANDARD, seed << 20);
        let asked = discovery(1, Kind::Unconfirmed, ".well-known/core");
        server.handle(T0, group(), &asked);
        let (id, _) = server.poll_request().unwrap();
        server.respond(T0, id, &content(5));
        assert_eq!(server.poll_transmit(), None, "not at once");
        let due = server.poll_timeout().unwrap();
        assert!(due <= T0 + Timers::STANDARD.leisure);
        server.handle_timeout(due);
        let (answer, reply) = sent(&mut server);
        assert_eq!((answer.kind, answer.token), (Kind::Unconfirmed, vec![1]));
        assert_eq!(reply.response, content(5));
        assert_eq!(server.poll_timeout(), None);
        moments.push(due);
    }
    moments.sort();
    let spread = moments[19].since(moments[0]);
    assert!(spread > Timers::STANDARD.leisure / 2, "{spread:?}");
}

#[test]
fn a_group_gets_no_errors_and_nothing_but_discovery_is_served() {
    let mut server = server();
    let mut post = write_request(&header(6, Kind::Unconfirmed), &post(&[]), &[], None, None);
    for ignored in [
        discovery(1, Kind::Confirmable, ".well-known/core"),
        discovery(2, Kind::Unconfirmed, "status"),
        vec![0x50, 1, 0, 3, 0x90],
        vec![0x40, 0, 0, 4],
        vec![0x40, 1, 0, 5, 0xff],
        core::mem::take(&mut post),
    ] {
        server.handle(T0, group(), &ignored);
        assert!(server.poll_request().is_none(), "{ignored:02x?}");
        assert_eq!(server.poll_transmit(), None, "{ignored:02x?}");
    }
    // No link matches, or the daemon has no answer.
    for (id, response) in [(7, content(0)), (8, Response::empty(Code::UNAVAILABLE))] {
        let asked = discovery(id, Kind::Unconfirmed, ".well-known/core");
        server.handle(T0, group(), &asked);
        let (id, _) = server.poll_request().unwrap();
        server.respond(T0, id, &response);
        assert_eq!(server.poll_timeout(), None);
        assert_eq!(server.poll_transmit(), None);
    }
    assert!(server.is_idle());
}
