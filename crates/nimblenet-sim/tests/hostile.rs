//! A node among peers that send whatever they like: it never panics, keeps its limits, and serves
//! the next call.
#![allow(clippy::unwrap_used)]

use core::time::Duration;

use nimblenet_core::wire::{
    Answer, Call, Data, EpochNote, Fetch, Found, Frame, HELLO_BYTES, Hello, Message, Metadata,
    MetadataRequest, Object, Refusal, Refuse, RegistryNote, Return, Search,
};
use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, SimExecutor, TimedExecutor};
use nimblenet_tasklet::{Fault, NamespaceId, NodeId, TaskletRef};
use proptest::prelude::*;

/// One thing that a hostile neighbour does. Numbers are small, so that they meet what is there.
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
    Wait(u16),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let bytes = || proptest::collection::vec(any::<u8>(), 1..60);
    let small = || prop_oneof![4 => 0u16..12, 1 => any::<u16>()];
    let message = (
        0u8..10,
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
        Move::Call(_) | Move::Wait(_) => return None,
    };
    let namespace = NamespaceId::of(&"shop".parse().unwrap());
    let tasklet = TaskletRef {
        namespace,
        number: a,
        sequence: b,
    };
    let object = match c % 2 {
        0 => Object::Module(tasklet),
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
    };
    let epoch = EpochNote {
        namespace,
        epoch: b.into(),
    };
    let hello = Hello::new([registry].into_iter(), [epoch].into_iter(), &mut space);
    let digest = [c; 32];
    let name = "shop/check".parse().unwrap();
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
            name,
            export: "",
            args: bytes,
        }),
        _ => {
            let answer = if c < 128 {
                Answer::Done(bytes)
            } else {
                Answer::Failed(Fault::Busy, None)
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
        message,
    };
    let mut out = vec![0; frame.len()];
    frame.emit(&mut out)?;
    Some(out)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn att_70_an_insider_can_deny_service_only_while_it_sends(steps in moves(), seed in 0u64..4) {
        let algorithm = |name| Draft::new(name, TimedExecutor::module(&[2000], 900), "func()");
        let chain = Draft::new("check", TimedExecutor::module(&[10, 10, 10], 300), "func()");
        let chain = chain.calling("shop/rms", "func()").calling("shop/peak", "func()");
        let shelf = vec![(Publisher::new("shop"), vec![algorithm("rms"), algorithm("peak"), chain])];
        let executor = |_| -> Box<dyn SimExecutor> { Box::new(TimedExecutor::default()) };
        let small = |config: &mut nimblenet_core::Config| config.limits.cache_bytes = 2000;
        let layout = Layout::line(3);
        let link = LinkModel::perfect(Duration::from_millis(20));
        let mut net = Net::new(seed, &layout, link, shelf, small, executor);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Move::Call(id) => {
                    let _ = net.call(1 + u16::from(*id), "shop/check", &[0x80]);
                }
                Move::Wait(millis) => net.run_for(Duration::from_millis(u64::from(*millis))),
                Move::Raw(_) | Move::Message { .. } => {
                    let bytes = frame(step, 50_000 + at as u32).unwrap();
                    net.inject(1, 2, &bytes);
                }
            }
            prop_assert!(net.nodes().all(|node| node.cache().used() <= node.cache().capacity()));
        }
        // False word of a registry's freshness is forgotten after its lifetime.
        net.run_for(Duration::from_secs(600));
        let call = net.run_call(2, "shop/check");
        prop_assert_eq!(call.result, Ok(vec![0x80]), "{:?}", steps);
        prop_assert!(net.nodes().all(|node| node.cache().reservations() == 0));
    }
}
