use super::job::{JobHead, MovedJob, Next, image, write_activation, write_head, write_image};
use super::*;
use crate::MIN_MTU;
use crate::event::Priority;
use crate::flow::{FlowId, Stage, StageKind, Stages};
use crate::full::Full;
use alloc::vec;
use alloc::vec::Vec;
use nimblenet_tasklet::{Digest, Fault, NodeId, Trap};
use proptest::prelude::*;

/// The bytes of a value that may be cut: what is left of it is one too.
fn item_value(value: &ItemValue<'_>) -> usize {
    match value {
        ItemValue::Value(value) => value.len() - 1,
        ItemValue::Nothing | ItemValue::Failed(_) => 0,
    }
}

fn tasklet() -> impl Strategy<Value = TaskletRef> {
    any::<(u32, u16, u16)>().prop_map(|(namespace, number, sequence)| TaskletRef {
        namespace: NamespaceId(namespace),
        number,
        sequence,
    })
}

/// Writes the message, reads it back, and checks that every cut is refused.
fn round_trip(message: Message<'_>) {
    let frame = Frame {
        ttl: 3,
        sender: NodeId(1),
        receiver: NodeId::EVERYONE,
        origin: NodeId(2),
        destination: NodeId(4),
        sequence: 0xdead_beef,
        hops: 9,
        unanswered: false,
        message,
    };
    let mut bytes = vec![0; frame.len()];
    assert_eq!(frame.emit(&mut bytes), Some(bytes.len()));
    assert_eq!(Frame::parse(&bytes), Ok(frame));
    assert_eq!(frame.emit(&mut vec![0; bytes.len() - 1]), None);
    for cut in 0..HEADER_LEN + 1 {
        assert_eq!(Frame::parse(&bytes[..cut]), Err(Malformed), "cut at {cut}");
    }
    let open_ended = matches!(
        message,
        Message::Data(_)
            | Message::Call(_)
            | Message::Return(_)
            | Message::Report(_)
            | Message::Flow(_)
    );
    if !open_ended {
        for cut in HEADER_LEN..bytes.len() {
            assert_eq!(Frame::parse(&bytes[..cut]), Err(Malformed), "cut at {cut}");
        }
        bytes.push(0);
        assert_eq!(Frame::parse(&bytes), Err(Malformed), "a byte too many");
    }
}

fn stage() -> impl Strategy<Value = Stage> {
    let kind = proptest::sample::select(&StageKind::ALL[..]);
    (kind, 1u16.., tasklet()).prop_map(|(kind, count, tasklet)| Stage {
        kind,
        count: if kind.gathers() { count } else { 1 },
        tasklet,
    })
}

proptest! {
    #[test]
    fn flows_round_trip(
        flow: u32, run: u32, source: u16, oldest in 0u32..1 << 30, ahead: u16, more: u16, unit in 1u16..,
        at_sink: bool, stages in proptest::collection::vec(stage(), 0..=4), kind in 0..3,
        value in proptest::collection::vec(any::<u8>(), 1..60), next: u32, until: u32, wanted: bool,
    ) {
        let flow = FlowId(flow);
        let value = match kind {
            0 => ItemValue::Nothing,
            1 => ItemValue::Value(&value),
            _ => ItemValue::Failed(Fault::Trapped),
        };
        let first = oldest + u32::from(ahead);
        let item = Item {
            flow, run, source: NodeId(source), first, last: first + u32::from(more), oldest, unit, at_sink,
            stages: Stages::new(stages.iter().copied()).unwrap(), value,
        };
        let taken = Taken { flow, run, next, until, wanted };
        let begin = Begin { flow, run, oldest };
        let contents = [FlowContent::Item(item), FlowContent::Taken(taken), FlowContent::Begin(begin)];
        for content in contents {
            let mut bytes = [0; 200];
            let len = content.write(&mut bytes).unwrap();
            prop_assert_eq!(content.write(&mut [0; 200][..len - 1]), None);
            let message = Flow::new(&bytes[..len]);
            round_trip(Message::Flow(message));
            prop_assert_eq!(message.content(), Ok(content));
            let is_item = matches!(content, FlowContent::Item(_));
            // A node on the way looks at what may be for it, and only at that.
            prop_assert!(!message.may_stop() || is_item);
            prop_assert!(message.may_stop() || !is_item || at_sink);
            let end = if is_item { len - item_value(&value) } else { len };
            for cut in 0..end {
                prop_assert_eq!(Flow::new(&bytes[..cut]).content(), Err(Malformed), "cut at {}", cut);
            }
            if matches!(value, ItemValue::Value(_)) && is_item {
                continue;
            }
            prop_assert_eq!(Flow::new(&bytes[..=len]).content(), Err(Malformed));
        }
    }

    #[test]
    fn requests_round_trip(tasklet in tasklet(), request: u16, mtu: u16, size: u32, digest: [u8; 32]) {
        round_trip(Message::Search(Search { tasklet, request, mtu }));
        round_trip(Message::Found(Found { request, mtu, size }));
        round_trip(Message::MetadataRequest(MetadataRequest { tasklet, request }));
        round_trip(Message::Metadata(Metadata { request, size, digest: &digest }));
        round_trip(Message::Refuse(Refuse { request, refusal: Refusal::Busy }));
    }

    #[test]
    fn transfers_round_trip(
        tasklet in tasklet(), request: u16, offset in 0u32..1 << 20, part in 1u16.., wanted: u32,
        version: u32, bytes in proptest::collection::vec(any::<u8>(), 1..300),
    ) {
        let object = Object::Module(tasklet);
        round_trip(Message::Fetch(Fetch { object, request, offset, part, wanted, direct: wanted & 1 == 1 }));
        let object = Object::Catalogue { namespace: tasklet.namespace, since: version };
        round_trip(Message::Fetch(Fetch { object, request, offset, part, wanted, direct: wanted & 1 == 1 }));
        let total = offset + bytes.len() as u32;
        round_trip(Message::Data(Data { request, version, total, offset, bytes: &bytes }));
    }

    #[test]
    fn hellos_round_trip(
        registries: Vec<(u16, u32, u8, u8, u16)>, epochs: Vec<(u32, u32, u32)>, turn: u8, short: bool,
    ) {
        let mut space = [0; HELLO_BYTES];
        let registries: Vec<_> = registries.into_iter().map(|(registry, sequence, hops, age_s, mtu)| {
            RegistryNote { registry: NodeId(registry), sequence, hops, age_s, mtu }
        }).collect();
        let epochs: Vec<_> = epochs.into_iter().map(|(namespace, epoch, root)| {
            EpochNote { namespace: NamespaceId(namespace), epoch, root }
        }).collect();
        let room = usize::from(MIN_MTU) - HEADER_LEN - OVERHEAD;
        let space = &mut space[..if short { room - 1 } else { HELLO_BYTES }];
        let hello = Hello::new(registries.iter().copied(), epochs.iter().copied(), turn, space);
        let most = if short { (5, 8) } else { (MAX_NOTES, MAX_NOTES) };
        let read: Vec<_> = hello.registries().collect();
        prop_assert_eq!(read.len(), registries.len().min(most.0));
        prop_assert!(registries.len() > most.0 || read == registries);
        let from = registries.iter().position(|note| read.first() == Some(note)).unwrap_or(0);
        prop_assert!(read.iter().zip(registries.iter().cycle().skip(from)).all(|(a, b)| a == b));
        let left = if short { (room - 1 - 10 * read.len()) / EPOCH_LEN } else { MAX_NOTES };
        let read: Vec<_> = hello.epochs().collect();
        prop_assert_eq!(read.len(), epochs.len().min(most.1).min(left));
        prop_assert!(epochs.len() > read.len() || read == epochs);
        prop_assert!(!short || Message::Hello(hello).len() <= room);
        round_trip(Message::Hello(hello));
    }

    #[test]
    fn holdings_round_trip(
        namespace: u32, own in proptest::collection::vec(any::<(u8, u32)>(), 0..8),
        sections in proptest::collection::vec((0u16..9, any::<u32>(), any::<(u8, u16)>(), 1u8..6), 0..4),
    ) {
        let mut space = [0; HOLDINGS_BYTES];
        let room = usize::from(MIN_MTU) - HEADER_LEN - OVERHEAD;
        let mut writer = HoldingsWriter::new(&mut space[..room - 6]);
        let pages = own.into_iter().map(|(number, bits)| Page { number, bits });
        let own: Vec<Page> = pages.take_while(|page| writer.own(*page)).collect();
        let mut written = Vec::new();
        for (id, sequence, (age_s, mtu), count) in sections {
            let holder = Holder { id: NodeId(id), sequence, age_s, mtu };
            if !writer.section(holder) {
                break;
            }
            let pages = (0..count).map(|number| Page { number, bits: sequence });
            let pages: Vec<Page> = pages.take_while(|page| writer.page(*page)).collect();
            prop_assert!(!pages.is_empty(), "a section has a page");
            written.push((holder, pages));
        }
        let holdings = writer.finish(NamespaceId(namespace));
        prop_assert!(Message::Holdings(holdings).len() <= room);
        prop_assert_eq!(holdings.own().collect::<Vec<_>>(), own);
        let read = holdings.sections().map(|(holder, pages)| (holder, pages.collect::<Vec<_>>()));
        prop_assert_eq!(read.collect::<Vec<_>>(), written);
        round_trip(Message::Holdings(holdings));
    }

    #[test]
    fn calls_round_trip(request: u32, deadline_ms: u32, export in "[a-z]{0,20}", args: Vec<u8>) {
        let name = "shop/rms".parse().unwrap();
        let (run, asked_ds, oldest) = (request.rotate_left(9), deadline_ms as u16, request as u16);
        let passes = Passes(request as u8);
        let call = Call { request, deadline_ms, run, asked_ds, oldest, passes, name, export: &export, args: &args };
        round_trip(Message::Call(call));
        let failed = Answer::Failed(Fault::Trapped, Some(Trap::Unreachable));
        let (to, number) = (NodeId(deadline_ms as u16), request.rotate_left(7));
        let moves = [
            Answer::Adopting(GoNumber::new(number)),
            Answer::Refused(Fault::Busy, GoNumber::new(number)),
            Answer::Moving(to),
            Answer::Unmoved(to, Fault::Busy),
        ];
        for answer in [Answer::Working(request, Wait(oldest)), Answer::Done(&args), failed].into_iter().chain(moves) {
            round_trip(Message::Return(Return { request, answer }));
        }
    }

    #[test]
    fn loads_round_trip(wait: u16, executors: u8) {
        round_trip(Message::Load(Load { wait: Wait(wait), executors }));
        prop_assert_eq!(Wait::of(Wait(wait).duration()), Wait(wait));
    }

    #[test]
    fn reports_round_trip(
        number: u32, core: u8, uptime_ms: u32, text in "[a-z:]{0,64}",
        addresses in proptest::collection::vec(any::<[u8; 4]>(), 0..=REPORT_ADDRESSES),
    ) {
        let addresses = addresses.concat();
        let report = Report::new(number, Cause::Fault, core, uptime_ms, &addresses, &text);
        let report = Message::Report(report.unwrap());
        prop_assert!(report.len() <= usize::from(MIN_MTU) - HEADER_LEN - OVERHEAD);
        round_trip(report);
        let longer = [&text[..], &"x".repeat(REPORT_TEXT_BYTES)].concat();
        let report = Report::new(number, Cause::Fault, core, uptime_ms, &addresses, &longer);
        prop_assert_eq!(report.is_some(), text.is_empty());
    }

    #[test]
    fn moves_round_trip(
        request: u32, deadline_ms: u32, caller: (u16, u32), mtu: u16, size: u32, digest: [u8; 32],
        number in 1u32..,
    ) {
        let (caller, digest) = ((NodeId(caller.0), caller.1), Digest(digest));
        round_trip(Message::Move(Move { request, to: caller.0 }));
        round_trip(Message::Offer(Offer { request, deadline_ms, caller, mtu, size, digest }));
        let number = GoNumber::new(number).unwrap();
        round_trip(Message::Go(Go { request, number }));
        let object = Object::Job { request };
        round_trip(Message::Fetch(Fetch { object, request: mtu, offset: size, part: 1, wanted: 1, direct: true }));
    }

    #[test]
    fn att_23_random_moved_jobs_never_panic(
        bytes: Vec<u8>, changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 0..4),
    ) {
        let mut changed = moved_job();
        for (at, value) in changes {
            let at = usize::from(at) % changed.len();
            changed[at] = value;
        }
        for bytes in [bytes, changed] {
            if let Ok(job) = MovedJob::parse(&bytes) {
                prop_assert_eq!(job.activations().count(), usize::from(bytes[4]));
            }
            for at in 0..4 {
                image(&bytes, at);
            }
        }
    }

    #[test]
    fn att_43_random_frames_never_panic(mut bytes: Vec<u8>, kind in 0u8..16, raw: bool) {
        if let (false, Some(first)) = (raw, bytes.first_mut()) {
            *first = 0x10;
        }
        if let (false, Some(at)) = (raw, bytes.get_mut(15)) {
            *at = kind;
        }
        if let Ok(frame) = Frame::parse(&bytes) {
            let mut again = vec![0; frame.len()];
            frame.emit(&mut again).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}

#[test]
fn a_search_and_an_offer_collect_the_smallest_frame_size_of_their_route() {
    let tasklet = TaskletRef {
        namespace: NamespaceId(1),
        number: 2,
        sequence: 3,
    };
    let search = |mtu| {
        Message::Search(Search {
            tasklet,
            request: 1,
            mtu,
        })
    };
    let offer = |mtu| {
        Message::Offer(Offer {
            request: 1,
            deadline_ms: 2,
            caller: (NodeId(3), 4),
            mtu,
            size: 5,
            digest: Digest([6; 32]),
        })
    };
    let lowered = |mut message: Message<'static>, mtu| {
        message.lower_mtu(mtu);
        message
    };
    assert_eq!(lowered(search(1200), 256), search(256));
    assert_eq!(lowered(search(200), 256), search(200));
    assert_eq!(lowered(offer(1200), 256), offer(256));
    assert_eq!(lowered(offer(200), 256), offer(200));
    // What comes back from the end of the route stays as it is.
    let (request, size) = (1, 5);
    let found = Message::Found(Found {
        request,
        mtu: 1200,
        size,
    });
    assert_eq!(lowered(found, 256), found);
}

#[test]
fn att_53_offsets_that_wrap_are_refused() {
    let data = |offset: u32, total: u32| {
        let mut body = vec![0, 1, 0, 0, 0, 0];
        body.extend(total.to_be_bytes());
        body.extend(offset.to_be_bytes());
        body.extend([1, 2, 3]);
        Message::parse(Kind::Data, &body).is_ok()
    };
    assert!(data(7, 10));
    assert!(!data(8, 10));
    assert!(!data(u32::MAX - 1, u32::MAX));
    assert!(!data(u32::MAX, 2));
}

/// The moved job of the specification.
fn moved_job() -> Vec<u8> {
    let spec = include_str!("../../../../spec/snapshot.md");
    let block = spec.split("```hex job\n").nth(1).unwrap();
    bytes_of(block.split("```").next().unwrap())
}

fn bytes_of(hex: &str) -> Vec<u8> {
    let digits = hex.bytes().filter_map(|c| (c as char).to_digit(16));
    let digits: Vec<u8> = digits.map(|digit| digit as u8).collect();
    let pairs = digits.chunks(2);
    pairs.map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn the_specification_s_moved_job_is_what_is_read_and_every_cut_of_it_is_refused() {
    let bytes = moved_job();
    let job = MovedJob::parse(&bytes).unwrap();
    let head = job.head;
    assert_eq!(
        (head.next, head.trap, head.calls_left),
        (Next::Start, None, 4095)
    );
    assert_eq!((head.name, head.export), ("shop/top".parse().unwrap(), ""));
    assert_eq!(head.message, [0x81, 5]);
    let namespace = NamespaceId(0x0a0b_0c0d);
    assert_eq!(
        (job.epoch(namespace), job.epoch(NamespaceId(1))),
        (Some(7), None)
    );
    let held: Vec<_> = job.activations().collect();
    let reference = |number, sequence| TaskletRef {
        namespace,
        number,
        sequence,
    };
    assert_eq!((held[0].tasklet, held[0].fuel), (reference(2, 4), 1000));
    assert_eq!((held[1].tasklet, held[1].fuel), (reference(3, 1), 100));
    assert_eq!(
        (held[0].image, held[1].image),
        (&[0x4e, 1, 1, 0][..], &[][..])
    );
    assert_eq!(
        (image(&bytes, 0), image(&bytes, 1), image(&bytes, 2)),
        (held[0].image, &[][..], &[][..])
    );
    for cut in 0..bytes.len() {
        assert!(MovedJob::parse(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(MovedJob::parse(&longer).is_err());
}

#[test]
fn the_specification_s_moved_job_is_what_is_written() {
    let bytes = moved_job();
    let job = MovedJob::parse(&bytes).unwrap();
    let namespace = NamespaceId(0x0a0b_0c0d);
    let mut out = [0; 256];
    let mut len = write_head(&mut out, &job.head, [(namespace, 7)].into_iter()).unwrap();
    for held in job.activations() {
        len += write_activation(&mut out[len..], held.tasklet, held.fuel, held.export).unwrap();
        len += write_image(&mut out[len..], held.image).unwrap();
    }
    assert_eq!(out[..len], bytes);
}

#[test]
fn a_priority_goes_with_a_call_and_with_a_record_and_hides_nothing_else() {
    for priority in Priority::ALL.iter().copied() {
        for (passes, next) in [(Passes::PINNED, None), (Passes::PLACED, Some(2))] {
            let urgent = passes.of(priority);
            assert_eq!(urgent.priority(), priority);
            assert_eq!(urgent.quiet().priority(), priority);
            assert_eq!(
                (urgent.is_placed(), urgent.is_claim()),
                (passes.is_placed(), false)
            );
            assert_eq!(urgent.of(Priority::Normal), passes);
            let passed = next.map(|left| Passes(left).of(priority));
            assert_eq!(urgent.next(), passed);
        }
        let head = JobHead {
            priority: Full::of(priority),
            next: Next::Resume(Err(Fault::Trapped)),
            trap: None,
            depth: 1,
            calls_left: 5,
            name: "shop/top".parse().unwrap(),
            export: "",
            message: &[],
        };
        let mut record = [0; 100];
        let mut len = write_head(&mut record, &head, core::iter::empty()).unwrap();
        let tasklet = TaskletRef {
            namespace: NamespaceId(5),
            number: 2,
            sequence: 1,
        };
        len += write_activation(&mut record[len..], tasklet, 9, "").unwrap();
        len += write_image(&mut record[len..], &[1]).unwrap();
        let read = MovedJob::parse(&record[..len]).unwrap();
        assert_eq!(read.head.priority, head.priority);
        assert_eq!(read.head.next, head.next);
    }
}

#[test]
fn a_record_never_outgrows_its_buffer() {
    let head = JobHead {
        priority: Full::of(Priority::Normal),
        next: Next::Start,
        trap: None,
        depth: 0,
        calls_left: 0,
        name: "-/-".parse().unwrap(),
        export: "measure",
        message: &[7; 100],
    };
    let mut out = [0; 200];
    for room in 0..out.len() {
        let epochs = [(NamespaceId(5), 3)].into_iter();
        let written = write_head(&mut out[..room], &head, epochs);
        let written = written.and_then(|len| write_image(&mut out[len..room], &[1; 20]));
        assert_eq!(written.is_ok(), room >= 158, "{room}");
    }
}

#[test]
fn the_specification_s_vectors_hold() {
    let spec = include_str!("../../../../spec/wire.md");
    let mut checked = [0; Kind::ALL.len()];
    for block in spec.split("```hex\n").skip(1) {
        let hex = block.split("```").next().unwrap();
        let bytes = bytes_of(hex);
        let frame = Frame::parse(&bytes).unwrap();
        let mut again = vec![0; bytes.len()];
        let len = match bytes[0] & CHECKED {
            0 => frame.emit(&mut again),
            _ => frame.emit_checked(&mut again),
        };
        assert_eq!((len, &again), (Some(bytes.len()), &bytes));
        if let Message::Flow(flow) = frame.message {
            let content = flow.content().unwrap();
            let mut again = vec![0; flow.len()];
            assert_eq!(content.write(&mut again), Some(again.len()));
            assert_eq!(Flow::new(&again), flow);
        }
        checked[frame.message.kind() as usize - 1] += 1;
    }
    assert!(!checked.contains(&0), "a vector for each kind: {checked:?}");
}
