//! A node among peers that send whatever they like: it never panics, keeps its limits, and serves
//! the next call.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::wire::{
    Answer, Call, Data, EpochNote, Fetch, Found, Frame, Go, GoNumber, HELLO_BYTES, HOLDINGS_BYTES,
    Hello, Holder, HoldingsWriter, Kind, Message, Metadata, MetadataRequest, Move as MoveOrder,
    Object, Offer, Page, Passes, Refusal, Refuse, RegistryNote, Return, Search,
};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Digest, Fault, NamespaceId, NodeId, TaskletRef};
use proptest::prelude::*;

/// One thing that a hostile neighbour does. Its numbers are small, so that they often match those
/// that the nodes use.
#[derive(Clone, Debug)]
enum Move {
    Raw(Vec<u8>),
    Message {
        kind: u8,
        a: u16,
        b: u16,
        c: u8,
        bytes: Vec<u8>,
        to: u8,
        ttl: u8,
    },
    Call(u8),
    /// Somebody moves the latest call of node 2 to this node.
    Elsewhere(u8),
    Wait(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..60);
    let small = || prop_oneof![4 => 0u16..12, 1 => any::<u16>()];
    let message = (
        0u8..14,
        small(),
        small(),
        any::<u8>(),
        bytes(),
        0u8..4,
        0u8..3,
    );
    let one = prop_oneof![
        1 => bytes().prop_map(Move::Raw),
        8 => message.prop_map(|(kind, a, b, c, bytes, to, ttl)| {
            Move::Message { kind, a, b, c, bytes, to, ttl }
        }),
        2 => (0u8..3).prop_map(Move::Call),
        1 => (0u8..4).prop_map(Move::Elsewhere),
        2 => (0u16..2000).prop_map(Move::Wait),
    ];
    proptest::collection::vec(one, 1..60)
}

fn frame(step: &Move, sequence: u32) -> Option<Vec<u8>> {
    let (kind, a, b, c, bytes, to, ttl) = match step {
        Move::Message {
            kind,
            a,
            b,
            c,
            bytes,
            to,
            ttl,
        } => (*kind, *a, *b, *c, bytes, *to, *ttl),
        Move::Raw(bytes) => return Some(bytes.clone()),
        Move::Call(_) | Move::Elsewhere(_) | Move::Wait(_) => return None,
    };
    let namespace = NamespaceId::of(&"shop".parse().unwrap());
    let tasklet = TaskletRef {
        namespace,
        number: a,
        sequence: b,
    };
    let object = match c % 3 {
        0 => Object::Module(tasklet),
        1 => Object::Job { request: a.into() },
        _ => Object::Catalogue {
            namespace,
            since: b.into(),
        },
    };
    let (offset, total) = (
        u32::from(b),
        u32::from(b) + bytes.len() as u32 + u32::from(c),
    );
    let mut space = [0; HELLO_BYTES];
    let registry = RegistryNote {
        registry: NodeId(a),
        sequence: b.into(),
        hops: c,
        age_s: ttl,
        mtu: a,
    };
    let epoch = EpochNote {
        namespace,
        epoch: b.into(),
        root: a.into(),
    };
    let hello = Hello::new([registry].into_iter(), [epoch].into_iter(), 0, &mut space);
    let digest = [c; 32];
    let name = "shop/check".parse().unwrap();
    let mut space = [0; HOLDINGS_BYTES];
    let mut writer = HoldingsWriter::new(&mut space);
    let (number, bits) = (c % 3, u32::MAX);
    let page = Page { number, bits };
    let holder = Holder {
        id: NodeId(b % 5),
        sequence: a.into(),
        age_s: ttl,
        mtu: b,
    };
    let message = match kind {
        0 => Message::Search(Search {
            tasklet,
            request: b,
            mtu: a,
        }),
        1 => Message::Found(Found {
            request: a,
            mtu: b,
            size: c.into(),
        }),
        2 => Message::MetadataRequest(MetadataRequest {
            tasklet,
            request: b,
        }),
        3 => Message::Metadata(Metadata {
            request: a,
            size: b.into(),
            digest: &digest,
        }),
        4 => Message::Fetch(Fetch {
            direct: false,
            object,
            request: a,
            offset,
            part: b.max(1),
            wanted: c.into(),
        }),
        5 => Message::Data(Data {
            request: a,
            version: c.into(),
            total,
            offset,
            bytes,
        }),
        6 => Message::Refuse(Refuse {
            request: a,
            refusal: Refusal::Gone,
        }),
        7 => Message::Hello(hello),
        8 => Message::Call(Call {
            request: a.into(),
            deadline_ms: b.into(),
            run: u32::from(a & 3),
            asked_ds: b,
            oldest: a,
            passes: Passes(a as u8),
            name,
            export: "",
            args: bytes,
        }),
        9 => Message::Move(MoveOrder {
            request: a.into(),
            to: NodeId(b % 5),
        }),
        10 => Message::Offer(Offer {
            request: a.into(),
            deadline_ms: b.into(),
            caller: (NodeId(b % 4), a.into()),
            mtu: b,
            size: c.into(),
            digest: Digest(digest),
        }),
        11 => Message::Go(Go {
            request: a.into(),
            number: GoNumber::new(u32::from(b).max(1)).unwrap(),
        }),
        12 => {
            writer.own(page);
            if writer.section(holder) {
                writer.page(page);
            }
            Message::Holdings(writer.finish(namespace))
        }
        _ => {
            let answer = match c % 6 {
                0 => Answer::Done(bytes),
                1 => Answer::Failed(Fault::Busy, None),
                2 => Answer::Adopting(GoNumber::new(b.into())),
                3 => Answer::Refused(Fault::Busy, GoNumber::new(b.into())),
                4 => Answer::Unmoved(NodeId(1), Fault::UnknownCall),
                _ => Answer::Moving(NodeId(b)),
            };
            Message::Return(Return {
                request: a.into(),
                answer,
            })
        }
    };
    let destination = if to == 3 {
        NodeId::EVERYONE
    } else {
        NodeId(to.into())
    };
    let frame = Frame {
        ttl,
        sender: NodeId(1),
        receiver: NodeId(2),
        origin: NodeId(1 + b % 3 * 4),
        destination,
        sequence,
        hops: 1 + c % 4,
        unanswered: false,
        message,
    };
    let mut out = vec![0; frame.len()];
    frame.emit(&mut out)?;
    Some(out)
}

/// A job that another node may have frozen: `shop/check` (entry 2) calls `shop/rms` (entry 0).
/// Images of the timed executor are one byte.
fn job(depth: u8, next: u8, images: [u8; 3], message: &[u8]) -> Vec<u8> {
    let namespace = NamespaceId::of(&"shop".parse().unwrap()).0.to_be_bytes();
    let mut bytes = vec![
        1,
        next,
        if next == 3 { 25 } else { 0 },
        0,
        depth,
        1,
        0,
        0,
        1,
        0,
    ];
    bytes.extend(b"\x04shop\x05check\x00");
    bytes.extend(namespace);
    bytes.extend([0, 0, 0, 1]);
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    for (at, image) in images.iter().enumerate().take(depth.into()) {
        bytes.extend(namespace);
        bytes.extend([0, if at == 0 { 2 } else { 0 }, 0, 1]);
        bytes.extend([0, 0, 0, 0, 0, 0, 4, 0]);
        bytes.extend(if at == 0 { &b"\x00"[..] } else { b"\x03run" });
        let starts = at + 1 == usize::from(depth) && next == 0;
        bytes.extend(u32::from(!starts).to_be_bytes());
        bytes.extend((!starts).then_some(*image));
    }
    bytes
}

/// Offers a job to node 2 in the name of node 1, with packet numbers above `sequence`, which node 2
/// has not heard before. Serves the job and, when it is ready, sends a go whose number is wrong by
/// `off`. Returns whether node 2 has taken the job in.
fn impose(net: &mut Net, bytes: &[u8], sequence: &mut u32, off: u32) -> bool {
    let mut send = |net: &mut Net, message: Message<'_>| {
        *sequence += 1;
        let frame = Frame {
            ttl: 1,
            sender: NodeId(1),
            receiver: NodeId(2),
            origin: NodeId(1),
            destination: NodeId(2),
            sequence: *sequence,
            hops: 1,
            unanswered: false,
            message,
        };
        let mut out = vec![0; frame.len()];
        frame.emit(&mut out).unwrap();
        net.inject(1, 2, &out);
    };
    let said = |net: &Net| net.node(2).counters().traffic(Kind::Return).originated;
    let made = |net: &Net| -> u64 {
        let counters = net.node(2).counters();
        Kind::ALL
            .iter()
            .map(|kind| counters.traffic(*kind).originated)
            .sum()
    };
    let offer = Offer {
        request: 900_000,
        deadline_ms: 20_000,
        caller: (NodeId::EVERYONE, 0),
        mtu: 1200,
        size: bytes.len() as u32,
        digest: Digest::of(bytes),
    };
    let before = said(net);
    send(net, Message::Offer(offer));
    let fetches = net.node(2).counters().traffic(Kind::Fetch).originated;
    net.run_until(Duration::from_millis(1), |net| {
        net.node(2).counters().traffic(Kind::Fetch).originated > fetches
    });
    // The fetch of node 2 has one of these request numbers.
    for request in 0..200 {
        let (total, version) = (bytes.len() as u32, 900_000);
        let data = Data {
            request,
            version,
            total,
            offset: 0,
            bytes,
        };
        send(net, Message::Data(data));
    }
    if !net.run_until(Duration::from_secs(8), |net| said(net) > before) {
        return false;
    }
    // Packets are numbered from 1: this is the number of the packet that says "ready".
    let number = made(net) as u32 + off;
    send(
        net,
        Message::Go(Go {
            request: 900_000,
            number: GoNumber::new(number).unwrap(),
        }),
    );
    let moved = net.node(2).counters().moved_in;
    net.run_until(Duration::from_millis(1), |net| {
        net.node(2).counters().moved_in > moved
    })
}

fn small_shop(seed: u64) -> Net {
    shop(seed, 2000)
}

fn shop(seed: u64, cache_bytes: usize) -> Net {
    let algorithm = |name| Draft::new(name, TimedExecutor::module(&[2000], 900), "func()");
    let chain = Draft::new("check", TimedExecutor::module(&[10, 10, 10], 300), "func()");
    let chain = chain
        .calling("shop/rms", "func()")
        .calling("shop/peak", "func()");
    let shelf = vec![(
        Publisher::new("shop"),
        vec![algorithm("rms"), algorithm("peak"), chain],
    )];
    let executor = |_| -> Box<dyn SimExecutor> { Box::new(TimedExecutor::default()) };
    let link = LinkModel::perfect(Duration::from_millis(20));
    let small = |config: &mut nimblenet_core::Config| {
        config.limits.cache_bytes = cache_bytes;
        config.eviction = nimblenet_core::Eviction::LFU;
    };
    Net::new(seed, &Layout::line(3), link, shelf, small, executor)
}

#[test]
fn a_job_that_only_seems_to_come_from_a_node_runs_if_it_is_well_formed() {
    let mut ran = 0;
    for (depth, next, images) in [
        (1, 0, [0; 3]),
        (2, 0, [1, 0, 0]),
        (1, 2, [2, 0, 0]),
        (1, 3, [1; 3]),
    ] {
        let mut net = small_shop(1);
        net.run_call(2, "shop/check").result.unwrap();
        let mut sequence = 60_000;
        let imposed = impose(
            &mut net,
            &job(depth, next, images, &[0x80]),
            &mut sequence,
            0,
        );
        ran += u32::from(imposed);
        net.run_for(Duration::from_secs(60));
        assert_eq!(net.node(2).jobs(), 0);
    }
    assert_eq!(ran, 4);
}

#[test]
fn a_go_that_was_meant_for_another_life_of_a_node_runs_nothing() {
    let mut net = small_shop(1);
    net.run_call(2, "shop/check").result.unwrap();
    assert!(!impose(
        &mut net,
        &job(1, 0, [0; 3], &[0x80]),
        &mut 60_000,
        1
    ));
    net.run_for(Duration::from_secs(1));
    let counters = net.node(2).counters();
    assert_eq!((counters.moved_in, counters.moves_refused), (0, 1));
    assert_eq!(net.node(2).jobs(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn att_23_a_forged_job_is_refused_or_ends_and_the_next_call_is_served(
        depth in 0u8..4, next in 0u8..5, images: [u8; 3], small_images: bool,
        message in prop_oneof![Just(vec![0x80]), any::<Vec<u8>>()],
        changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..3),
        warm: bool,
    ) {
        let mut net = small_shop(2);
        if warm {
            prop_assert!(net.run_call(2, "shop/check").result.is_ok());
        } else {
            net.run_for(Duration::from_secs(20));
        }
        let images = images.map(|image| if small_images { image % 4 } else { image });
        let mut bytes = job(depth, next, images, &message);
        for (at, value) in changes {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        bytes.truncate(1100);
        impose(&mut net, &bytes, &mut 60_000, 0);
        net.run_for(Duration::from_secs(60));
        let call = net.run_call(2, "shop/check");
        prop_assert_eq!(call.result, Ok(vec![0x80]));
        net.run_for(Duration::from_secs(10));
        prop_assert!(net.nodes().all(|node| node.cache().reservations() == 0));
        prop_assert_eq!(net.node(2).jobs(), 0);
    }

    #[test]
    fn att_70_an_insider_can_deny_service_only_while_it_sends(steps in moves(), seed in 0u64..4) {
        let mut net = small_shop(seed);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Move::Call(id) => {
                    let _ = net.call(1 + u16::from(*id), "shop/check", &[0x80]);
                }
                Move::Elsewhere(to) => {
                    let call = net.node(2).calls().map(|held| held.call).last();
                    let _ = call.map(|call| net.move_call(2, call, u16::from(*to)));
                }
                Move::Wait(millis) => net.run_for(Duration::from_millis(u64::from(*millis))),
                Move::Raw(_) | Move::Message { .. } => {
                    let bytes = frame(step, 50_000 + at as u32).unwrap();
                    net.inject(1, 2, &bytes);
                }
            }
            prop_assert!(net.nodes().all(|node| node.cache().used() <= node.cache().capacity()));
        }
        // Nodes forget a false message about a registry's epoch after its lifetime.
        net.run_for(Duration::from_secs(600));
        let call = net.run_call(2, "shop/check");
        prop_assert_eq!(call.result, Ok(vec![0x80]), "{:?}", steps);
        prop_assert!(net.nodes().all(|node| node.cache().reservations() == 0));
    }
}

#[test]
fn a_node_that_claims_to_hold_everything_costs_time_and_stops_nothing() {
    // All that the chain calls is fetched at once, so that the liar costs time once.
    let mut net = shop(2, 16_000);
    net.run_for(Duration::from_secs(30));
    let mut space = [0; HOLDINGS_BYTES];
    let mut writer = HoldingsWriter::new(&mut space);
    let (number, bits) = (0, u32::MAX);
    writer.own(Page { number, bits });
    // A node behind it that nobody has heard of holds everything too, over links of no length.
    let holder = Holder {
        id: NodeId(77),
        sequence: 1,
        age_s: 0,
        mtu: 0,
    };
    assert!(writer.section(holder) && writer.page(Page { number, bits }));
    let shop = NamespaceId::of(&"shop".parse().unwrap());
    let frame = Frame {
        ttl: 0,
        sender: NodeId(1),
        receiver: NodeId::EVERYONE,
        origin: NodeId(1),
        destination: NodeId::EVERYONE,
        // Not so far ahead that node 1 seems to have restarted.
        sequence: net.node(1).next_sequence() + 20,
        hops: 1,
        unanswered: false,
        message: Message::Holdings(writer.finish(shop)),
    };
    let mut out = vec![0; frame.len()];
    frame.emit(&mut out).unwrap();
    net.inject(1, 2, &out);
    net.run_for(Duration::from_millis(1));
    let call = net.run_call(2, "shop/check");
    assert!(call.result.is_ok(), "{call:?}");
    let refused = net.node(1).counters().traffic(Kind::Refuse).originated;
    assert!(refused > 0, "it was believed at first");
    assert!(call.took < Duration::from_secs(3), "{:?}", call.took);
}
