//! Bodies in blocks.

use super::*;

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
    // A gap; the largest possible block number; a short block in the middle.
    assert_eq!(upload(1, 1, &full, block(1, true)), Code::INCOMPLETE);
    let last = block((1 << 20) - 1, true);
    assert_eq!(upload(1, 2, &full, last), Code::INCOMPLETE);
    assert_eq!(upload(1, 3, &[0; 5], block(0, true)), Code::BAD_REQUEST);
    for port in 1000..2000 {
        assert_eq!(upload(port, 4, &full, block(0, true)), Code::CONTINUE);
    }
    for port in 1000..2000 {
        assert_eq!(upload(port, 5, &full, block(1, true)), Code::CONTINUE);
    }

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
fn fault_08_a_repeated_block_is_confirmed_again_and_a_gap_keeps_what_is_there() {
    let mut server = server();
    let mut id = 0;
    let mut upload = |payload: u8, at, more| {
        id += 1;
        let payload = vec![payload; if more { 1024 } else { 10 }];
        let bytes = message(id, &post(&payload), block(at, more), None);
        server.handle(T0, peer(1), &bytes);
        match server.poll_request() {
            Some((_, request)) => Err(request.payload),
            None => Ok(sent_code(&mut server)),
        }
    };
    assert_eq!(upload(1, 0, true), Ok(Code::CONTINUE));
    assert_eq!(upload(1, 0, true), Ok(Code::CONTINUE), "the same");
    assert_eq!(upload(2, 1, true), Ok(Code::CONTINUE));
    assert_eq!(upload(1, 0, true), Ok(Code::CONTINUE), "an old one");
    assert_eq!(upload(4, 3, true), Ok(Code::INCOMPLETE), "a gap");
    assert_eq!(
        upload(4, 3, false),
        Ok(Code::INCOMPLETE),
        "a gap at the end"
    );
    assert_eq!(upload(9, 1, true), Ok(Code::INCOMPLETE), "other bytes");
    assert_eq!(upload(3, 2, true), Ok(Code::CONTINUE));
    let whole = [vec![1; 1024], vec![2; 1024], vec![3; 1024], vec![4; 10]].concat();
    assert_eq!(upload(4, 3, false), Err(whole));
    // A first block with other bytes begins a new body.
    assert_eq!(upload(5, 0, true), Ok(Code::CONTINUE));
    assert_eq!(upload(6, 0, true), Ok(Code::CONTINUE));
    let whole = [vec![6; 1024], vec![7; 10]].concat();
    assert_eq!(upload(7, 1, false), Err(whole));
}

#[test]
fn fault_08_more_uploads_than_fit_are_told_to_come_back_and_those_there_go_on() {
    let limits = ServerLimits {
        upload_bytes: 2 * 3 * (1024 + 512),
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let mut now = T0;
    let mut upload = |now, address, id, block1| {
        let ends = Ends::to(SocketAddr::from(([127, 0, 0, address], id)));
        let bytes = message(id, &post(&[0; 1024]), block1, None);
        server.handle(now, ends, &bytes);
        server.poll_request().is_some() || sent_code(&mut server) == Code::CONTINUE
    };
    // One machine has at most half of the room, whatever its ports.
    let taken = (1..=5).filter(|id| upload(now, 1, *id, block(0, true)));
    assert_eq!(taken.count(), 3);
    let taken = (1..=5).filter(|id| upload(now, 2, *id, block(0, true)));
    assert_eq!(taken.count(), 3);
    assert!(!upload(now, 3, 1, block(0, true)), "all is full");
    for id in 1..=3 {
        assert!(
            upload(now, 1, id, block(1, false)),
            "the last block always fits"
        );
    }
    assert!(upload(now, 3, 1, block(0, true)));
    // Uploads that nobody goes on with make room in the end.
    now += Duration::from_secs(61);
    for id in 10..=12 {
        assert!(upload(now, 2, id, block(0, true)));
    }
}

#[test]
fn fault_09_clients_of_large_results_all_get_theirs_and_those_beyond_are_refused_before_they_run() {
    let limits = ServerLimits {
        result_bytes: 2 * 40 * (2500 + 512),
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let mut bodies = Vec::new();
    for port in 1..=33 {
        server.handle(T0, peer(port), &message(port, &post(&[]), None, None));
    }
    while let Some((id, _)) = server.poll_request() {
        server.respond(T0, id, &content(2500));
        bodies.push(sent(&mut server).1.response.payload);
    }
    for number in 1..3 {
        for (port, body) in (1..).zip(&mut bodies) {
            let bytes = message(100 + number, &post(&[]), None, block(number.into(), false));
            server.handle(T0, peer(port), &bytes);
            body.extend(sent(&mut server).1.response.payload);
        }
    }
    assert_eq!(bodies, vec![content(2500).payload; 33]);
    // A result that was fetched to its end needs no room: as many run as fit, and no others.
    let mut ran = 0;
    for port in 1000..1100 {
        server.handle(T0, peer(port), &message(port, &post(&[]), None, None));
        match server.poll_request() {
            Some((id, _)) => {
                server.respond(T0, id, &content(2500));
                assert_eq!(sent_code(&mut server), Code::CONTENT);
                ran += 1;
            }
            None => assert_eq!(sent_code(&mut server), Code::UNAVAILABLE),
        }
    }
    assert_eq!(ran, 40);
    // Reading needs no room for its result.
    let status = Request::new(Method::Get, "status");
    server.handle(T0, peer(1), &message(7, &status, None, None));
    assert!(server.poll_request().is_some());
}

#[test]
fn what_was_read_is_read_again_when_there_is_no_room_to_keep_it() {
    let limits = ServerLimits {
        read_bytes: 0,
        ..ServerLimits::DEFAULT
    };
    let mut server = Server::new(limits, Timers::STANDARD, 1);
    let links = Request::new(Method::Get, ".well-known/core");
    let mut body = Vec::new();
    for number in 0..3 {
        let bytes = message(number, &links, None, block(number.into(), false));
        server.handle(T0, peer(1), &bytes);
        let (id, _) = server.poll_request().unwrap();
        server.respond(T0, id, &content(2500));
        body.extend(sent(&mut server).1.response.payload);
    }
    assert_eq!(body, content(2500).payload);
}
