use super::*;

const HEADER: [u8; 4] = [0x40, 1, 0x12, 0x34];

fn with(tail: &[u8]) -> Incoming {
    Incoming::parse(&[&HEADER[..], tail].concat())
}

#[test]
fn a_request_reads_back_as_written() {
    let mut request = Request::new(Method::Post, "/t/shop/add");
    request.query = vec!["x=run".into(), "explain".into()];
    request.format = Some(Format::CBOR);
    request.payload = vec![0x82, 1, 2];
    let header = Header {
        id: 7,
        kind: Kind::Confirmable,
        token: vec![1, 2, 3],
    };
    let bytes = write_request(&header, &request, &request.payload, None, None);
    let Incoming::Request(read, Ok(parsed)) = Incoming::parse(&bytes) else {
        panic!("not a request");
    };
    assert_eq!((read, &parsed.request), (header, &request));
}

#[test]
fn att_54_format_errors_of_confirmable_messages_are_rejected() {
    for token_len in 9..=15 {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&[0x40 | token_len, 1, 0, 1]);
        assert!(matches!(
            Incoming::parse(&bytes),
            Incoming::Reject { id: 1 }
        ));
    }
    for tail in [
        &[0xf0][..],                     // reserved delta
        &[0x0f],                         // reserved length
        &[0xe0, 0xff, 0xff],             // delta beyond 65535
        &[0xe0, 0xfe, 0xf0, 0xe0, 0, 0], // sum of deltas beyond 65535
        &[0xb5, b'a'],                   // value cut short
        &[0xbd],                         // extended length missing
        &[0xff],                         // marker without payload
        &[0xb1, b'a', 0xff],             // the same behind an option
    ] {
        assert!(matches!(with(tail), Incoming::Reject { .. }), "{tail:02x?}");
    }
    // Here the last byte is an option's value, and no marker.
    assert!(matches!(with(&[0xb1, 0xff]), Incoming::Request(_, Err(_))));
    assert!(matches!(with(&[0x41, 0xff]), Incoming::Request(_, Ok(_))));
}

#[test]
fn att_54_other_versions_are_ignored_and_critical_options_are_refused() {
    for version in [0, 2, 3] {
        let bytes = [version << 6, 1, 0, 1];
        assert!(matches!(Incoming::parse(&bytes), Incoming::Noise));
    }
    // Option 9 is critical and unknown; option 10 is elective.
    let refused = with(&[0x90]);
    assert!(matches!(
        refused,
        Incoming::Request(_, Err(Code::BAD_OPTION))
    ));
    assert!(matches!(with(&[0xa0]), Incoming::Request(_, Ok(_))));
    let many = [&[0xb0][..], &[0; 2000]].concat();
    assert!(matches!(
        with(&many),
        Incoming::Request(_, Err(Code::BAD_OPTION))
    ));
}

#[test]
fn fault_14_critical_options_that_are_repeated_or_of_a_wrong_length_are_refused() {
    let code = |tail: &[u8]| {
        let Incoming::Request(_, parsed) = with(tail) else {
            panic!("{tail:02x?} is no request");
        };
        parsed.err()
    };
    let long = [&[0x3d, 243][..], &[b'a'; 256]].concat();
    let long_path = [&[0xbd, 243][..], &[b'a'; 256]].concat();
    for refused in [
        &[0x31, b'a', 0x01, b'b'][..], // Uri-Host twice
        &[0x30],                       // Uri-Host of no bytes
        &long,                         // Uri-Host of 256 bytes
        &long_path,                    // Uri-Path of 256 bytes
        &[0x71, 1, 0x01, 1],           // Uri-Port twice
        &[0x73, 1, 2, 3],              // Uri-Port of 3 bytes
        &[0xd1, 4, 60, 0x01, 60],      // Accept twice
        &[0xd3, 4, 1, 2, 3],           // Accept of 3 bytes
        &[0xd1, 10, 6, 0x01, 6],       // Block2 twice
        &[0xd4, 10, 0, 0, 0, 6],       // Block2 of 4 bytes
        &[0xd1, 14, 6, 0x01, 6],       // Block1 twice
        &[0x90],                       // one that is not known
        &[0x10],                       // If-Match, which is not served
    ] {
        assert_eq!(code(refused), Some(Code::BAD_OPTION), "{refused:02x?}");
    }
    assert_eq!(code(&[0xd1, 10, 7]), Some(Code::BAD_REQUEST), "size 7");
    // Content-Format of 3 bytes, and twice; Observe twice: these options are elective.
    for skipped in [&[0xc3, 1, 2, 3][..], &[0xc1, 60, 0x01, 0], &[0x60, 0x01, 1]] {
        assert_eq!(code(skipped), None, "{skipped:02x?}");
    }
}

#[test]
fn a_response_with_an_option_that_must_be_understood_and_is_not_is_rejected() {
    let read = |tail: &[u8]| Incoming::parse(&[&[0x40, 0x45, 0, 1], tail].concat());
    assert!(matches!(read(&[0xd1, 10, 6]), Incoming::Response(..)));
    for tail in [&[0xd1, 10, 6, 0x01, 6][..], &[0x90]] {
        assert!(
            matches!(read(tail), Incoming::Reject { id: 1 }),
            "{tail:02x?}"
        );
    }
}

#[test]
fn att_54_no_bytes_make_the_parser_panic() {
    let mut state = 1_u32;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    for _ in 0..1 << 16 {
        let len = usize::from(random()) % 40;
        let mut bytes: Vec<u8> = (0..len).map(|_| random()).collect();
        if let Some(first) = bytes.first_mut() {
            *first = *first & 0x3f | 0x40;
        }
        let _ = Incoming::parse(&bytes);
    }
}
