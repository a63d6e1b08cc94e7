//! What spec/api.md says is what `nimblenet_tasklet::api` has and what the daemon does.

use alloc::collections::BTreeSet;
use core::time::Duration;

use minicbor::Decoder;
use minicbor::data::Type;
use nimblenet_core::{
    CachedModule, CallKey, ClientId, Counters, Feed, FlowId, FlowStatus, OperatorStatus, Priority,
    SinkStatus, Source, StageKind, StagePlan, Standing, Step,
};
use nimblenet_tasklet::api::{DOCUMENTS, Key, Method, Resource, Segment, Value};
use nimblenet_tasklet::{Place, TaskletRef, Trap};

use super::*;
use crate::coap::ServerCounters;
use crate::daemon::Crash;
use crate::daemon::flows::FlowSummary;
use crate::flow::ROOM;
use crate::lines::Line;
use crate::link::LinkStatus;
use crate::store::{Change, Refusal};

const SPEC: &str = include_str!("../../../../../spec/api.md");

/// The rows of the table after a heading, without its head, as cells without backticks.
fn table(heading: &str) -> Vec<Vec<String>> {
    let (_, rest) = SPEC.split_once(&format!("\n{heading}\n")).expect(heading);
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows = rows.take_while(|line| line.starts_with('|')).skip(2);
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split('|');
        cells.map(|cell| cell.trim().replace('`', "")).collect()
    };
    rows.map(cells).collect()
}

/// The block of a kind and name.
fn block(kind: &str, name: &str) -> &'static str {
    let start = format!("```{kind} {name}\n");
    let (_, rest) = SPEC.split_once(&start).expect(name);
    rest.split("```").next().unwrap()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pair = |pair: &[u8]| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(pair).collect()
}

#[test]
fn the_table_of_resources_is_that_of_the_code() {
    let rows = table("## 1. Resources");
    assert_eq!(rows.len(), Resource::ALL.len());
    for (row, resource) in rows.iter().zip(Resource::ALL) {
        let words = resource.path().iter().map(|segment| match segment {
            Segment::Is(word) | Segment::Any(word) => format!("/{word}"),
        });
        let path: String = words.collect();
        let expected = [
            resource.method().name(),
            &path,
            &resource.queries().join(", "),
        ];
        assert_eq!(row[..3], expected);
    }
}

#[test]
fn the_tables_of_codes_are_those_of_the_code() {
    let faults = table("### Calls that fail").into_iter();
    let listed = faults.flat_map(|row| {
        let codes = row[1].split(", ").map(str::to_owned).collect::<Vec<_>>();
        codes.into_iter().map(move |code| (row[0].clone(), code))
    });
    let listed: Vec<_> = listed.collect();
    let known = Fault::ALL.iter();
    let known: BTreeSet<_> = known
        .map(|fault| {
            (
                nimblenet_tasklet::api::Status::of(*fault).to_string(),
                fault.code().to_owned(),
            )
        })
        .collect();
    assert_eq!(listed.len(), known.len());
    assert_eq!(BTreeSet::from_iter(listed), known);

    let listed = table("### Requests that are refused").into_iter();
    let listed: Vec<_> = listed.map(|row| (row[0].clone(), row[1].clone())).collect();
    let known = Problem::ALL.iter();
    let known = known.map(|problem| (problem.status().to_string(), problem.code().to_owned()));
    assert_eq!(listed, known.collect::<Vec<_>>());
}

#[test]
fn the_tables_of_documents_are_those_of_the_code() {
    let headings = SPEC
        .lines()
        .filter_map(|line| line.strip_prefix("### Document: "));
    let documents = DOCUMENTS.iter().map(|(name, _)| *name);
    assert_eq!(headings.collect::<Vec<_>>(), documents.collect::<Vec<_>>());
    for (name, keys) in DOCUMENTS {
        let rows = table(&format!("### Document: {name}"));
        assert_eq!(rows.len(), keys.len(), "{name}");
        for (row, key) in rows.iter().zip(*keys) {
            let always = if key.always { "always" } else { "" };
            assert_eq!(row[..3], [key.name, key.value.name(), always], "{name}");
        }
    }
}

#[test]
fn the_example_requests_mean_what_the_spec_says() {
    let read = |name: &str| {
        let mut lines = block("request", name).lines();
        let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let asked = Asked {
            method: [Method::Get, Method::Post, Method::Put, Method::Delete]
                .into_iter()
                .find(|known| known.name() == method)
                .unwrap(),
            path: path.split('/').skip(1).map(str::to_owned).collect(),
            query: query.split('&').map(str::to_owned).collect(),
            media: None,
            accept: None,
            payload: bytes(&lines.collect::<String>()),
        };
        asked.read().unwrap()
    };
    let call = Call {
        name: TaskletName::new("shop/add").unwrap(),
        export: String::new(),
        args: vec![0x82, 2, 3],
        at: Some(NodeId(7)),
        deadline: None,
        priority: Priority::Normal,
        client: None,
        key: None,
        from: None,
    };
    let client = ClientId(9);
    let claim = Call {
        args: Vec::new(),
        client: Some(client),
        ..call.clone()
    };
    let key = CallKey { client, number: 4 };
    assert_eq!(read("claim"), Request::Claim { call: claim, key });
    let name = call.name;
    assert_eq!(read("cancel"), Request::Cancel { name, key });
    let call_12 = CallId(12);
    assert_eq!(read("cancel-job"), Request::CancelJob { call: call_12 });
    let urgent = Call {
        at: None,
        deadline: Some(Duration::from_secs(2)),
        priority: Priority::High,
        ..call.clone()
    };
    let wanted = Wanted::default();
    let expected = Request::Call {
        call: urgent,
        wanted,
    };
    assert_eq!(read("urgent"), expected);
    let wanted = Wanted {
        explain: true,
        logs: false,
    };
    assert_eq!(read("call"), Request::Call { call, wanted });
    let (call, to) = (CallId(12), NodeId(20));
    assert_eq!(read("move"), Request::Move { call, to });
    let namespace = Name::new("shop").unwrap();
    assert_eq!(read("delta"), Request::Delta { namespace, from: 3 });
    assert_eq!(read("logs"), Request::Logs { from: 7 });
    let plan = Plan {
        sink: NodeId(1),
        feed: Feed::Given,
        operators: vec![StagePlan {
            kind: StageKind::Window,
            count: 8,
            tasklet: "std/rms".parse().unwrap(),
        }],
        at_sink: false,
        room: ROOM,
    };
    let name = "vibration".parse().unwrap();
    assert_eq!(read("plan"), Request::BeginFlow { name, plan });
}

/// Replies whose documents the specification shows, with the description of the document.
#[test]
fn a_client_says_its_number_and_nothing_else() {
    let read = |query: &str| {
        let path = ["t", "shop", "add"].map(str::to_owned);
        let asked = Asked {
            method: Method::Post,
            path: path.to_vec(),
            query: vec![query.to_owned()],
            media: None,
            accept: None,
            payload: Vec::new(),
        };
        match asked.read() {
            Ok(Request::Call { call, .. }) => Ok(call.client.map(|client| client.0)),
            Ok(other) => panic!("{other:?} is no call"),
            Err(refused) => Err(refused.problem),
        }
    };
    assert_eq!(read("client=7"), Ok(Some(7)));
    assert_eq!(read("x=run"), Ok(None));
    for wrong in ["client", "client=-1", "client=4294967296", "client=robot"] {
        assert_eq!(read(wrong), Err(Problem::BadRequest), "{wrong}");
    }
}

fn examples() -> Vec<(&'static str, &'static str, Reply)> {
    let name = TaskletName::new("shop/add").unwrap();
    let step = Step {
        name,
        tasklet: TaskletRef {
            namespace: nimblenet_tasklet::NamespaceId::of(&name.namespace),
            number: 0,
            sequence: 2,
        },
        source: Source::Neighbour,
        hops: 1,
        attempts: 1,
        bytes: 60,
        took: Duration::from_micros(1500),
    };
    let line = Line {
        number: 7,
        at: Instant::from_micros(1_250_000),
        tasklet: name,
        call: Some(CallId(12)),
        place: Place::new(3, 0x9a),
        text: "warm".to_owned(),
    };
    let ended = |result, trap, explain| Reply::Ended {
        report: CallReport {
            result,
            trap,
            blamed: trap.map(|_| name),
            place: trap.and_then(|_| Place::new(3, 0x9a)),
            steps: vec![step],
            took: Duration::from_micros(2100),
        },
        explain,
        lines: (explain || trap.is_some()).then(|| vec![line.clone()]),
        place: format!("{name} at node 7"),
        detail: None,
    };
    let trapped = ended(Err(Fault::Trapped), Some(Trap::DivideByZero), false);
    let progress = Progress {
        call: CallId(12),
        name: Some(name),
        standing: Standing::At(NodeId(20)),
        caller: Some(NodeId(3)),
        depth: 1,
        accepted: Instant::from_micros(1_000_000),
        deadline: Some(Instant::from_micros(61_000_000)),
    };
    let made = Some(Made {
        client: Some(ClientId(9)),
        number: Some(4),
        priority: Priority::High,
    });
    let jobs = Reply::Jobs {
        now: Instant::from_micros(3_000_000),
        jobs: vec![Job { progress, made }],
    };
    let cache = Reply::Cache(vec![Cached {
        name,
        module: CachedModule {
            tasklet: step.tasklet,
            bytes: 60,
            uses: 5,
            reserved: false,
        },
        loaded: true,
    }]);
    let logs = Reply::Logs(vec![line.clone()]);
    let triggers = Reply::Triggers(Box::new(Recorded {
        node: NodeId(7),
        now: Instant::from_micros(9_000_000),
        neighbours: vec![NodeId(6), NodeId(8)],
        registry: Some(NodeId(1)),
        triggers: vec![
            Trigger {
                number: 41,
                at: Instant::from_micros(8_000_000),
                tasklet: name,
                client: Some(ClientId(3)),
                took: Duration::from_micros(2500),
                waited: Duration::from_micros(1500),
                fault: None,
            },
            Trigger {
                number: 42,
                at: Instant::from_micros(8_500_000),
                tasklet: name,
                client: None,
                took: Duration::ZERO,
                waited: Duration::ZERO,
                fault: Some(Fault::Busy),
            },
        ],
    }));
    let flow_name: Name = "vibration".parse().unwrap();
    let flow = FlowId::of(&flow_name);
    let flows = Reply::Flows(Box::new(FlowList {
        node: NodeId(7),
        flows: vec![FlowSummary {
            name: flow_name,
            id: flow,
            sink: NodeId(7),
            source: Some(FlowStatus {
                flow,
                sink: NodeId(7),
                taken: 17,
                refused: 1,
                arrived: 16,
                repeated: 8,
                unwanted: false,
            }),
            taken: Some(SinkStatus {
                flow,
                items: 2,
                dropped: 3,
            }),
        }],
        operators: vec![OperatorStatus {
            flow,
            source: NodeId(9),
            kind: StageKind::Window,
            tasklet: "std/rms".parse().unwrap(),
            items_in: 16,
            bytes_in: 2048,
            items_out: 2,
            bytes_out: 100,
            saved: -5,
        }],
    }));
    let items = Reply::Items(vec![Item {
        number: 3,
        at: Instant::from_micros(1_250_000),
        source: NodeId(9),
        first: 8,
        last: 15,
        result: Ok(vec![0xfa, 0x3f, 0xc0, 0, 0]),
    }]);
    let namespaces = Reply::Namespaces(vec![NamespaceSummary {
        name: name.namespace,
        epoch: 3,
        entries: 2,
        key: Some(PublicKey([0xab; 32])),
        nodes: Some(vec![(NodeId(7), 3)]),
    }]);
    let history = Reply::History {
        epochs: vec![EpochSummary {
            epoch: 3,
            changes: vec![Change {
                name: name.name,
                version: 2,
                withdrawn: false,
            }],
        }],
        nodes: vec![(NodeId(7), 3)],
    };
    let published = Reply::Published(Published {
        new: true,
        epoch: 4,
        entries: 1,
        modules: 1,
        claimed: false,
    });
    vec![
        ("results", "", ended(Ok(vec![0x81, 5]), None, false)),
        (
            "explained",
            "explained",
            ended(Ok(vec![0x81, 5]), None, true),
        ),
        ("failure", "failure", trapped),
        ("jobs", "", jobs),
        ("cache", "", cache),
        ("logs", "", logs),
        ("triggers", "triggers", triggers),
        ("flows", "flows", flows),
        ("items", "", items),
        ("namespaces", "", namespaces),
        ("history", "history", history),
        ("published", "published", published),
        ("status", "status", Reply::Status(Box::new(numbers()))),
    ]
}

fn numbers() -> Status {
    let mut counters = Counters::default();
    (counters.calls, counters.completed) = (7, 7);
    Status {
        id: NodeId(7),
        counters,
        links: vec![LinkStatus {
            kind: "udp",
            name: "192.0.2.11:4000".to_owned(),
            up: true,
            sent: 2,
            sent_bytes: 60,
            ..LinkStatus::default()
        }],
        coap: ServerCounters::default(),
        jobs: 0,
        results: 0,
        cache_used: 60,
        cache_bytes: 32_768,
        evicted: 0,
        neighbours: vec![NodeId(3)],
        epochs: vec![(Name::new("shop").unwrap(), 3)],
        crashes: vec![Crash {
            node: NodeId(9),
            cause: "panic",
            core: 0,
            uptime_ms: 81_234,
            addresses: vec![0x1000_a3c4],
            text: String::new(),
        }],
        degraded: Some(Refusal::ReadOnly.to_string()),
        draining: true,
        uptime: Duration::from_secs(5),
    }
}

#[test]
fn every_tasklet_is_listed_and_links_are_filtered() {
    let tasklets: Vec<_> = (0..3000)
        .map(|number| TaskletName::new(&format!("shop/add-{number}")).unwrap())
        .collect();
    let count = |filters: &[(&str, &str)]| {
        let filters = filters.iter().map(|(name, value)| Filter {
            name: (*name).to_owned(),
            value: (*value).to_owned(),
        });
        let reply = Reply::Discovery {
            tasklets: tasklets.clone(),
            registry: true,
            filters: filters.collect(),
        };
        let links = String::from_utf8(reply.document().bytes).unwrap();
        links.split(',').filter(|link| !link.is_empty()).count()
    };
    assert_eq!(count(&[]), 3007);
    assert_eq!(count(&[("rt", "nimblenet.tasklet")]), 3000);
    assert_eq!(count(&[("rt", "nimblenet.*")]), 3001);
    assert_eq!(count(&[("rt", "nimblenet")]), 0);
    assert_eq!(count(&[("href", "/t/shop/add-7")]), 1);
    assert_eq!(count(&[("href", "/t/shop/add-29*")]), 111);
    assert_eq!(count(&[("href", "/t/*"), ("rt", "nimblenet.registry")]), 0);
    assert_eq!(count(&[("href", "*")]), 3007);
    assert_eq!(count(&[("obs", "")]), 2);
    assert_eq!(count(&[("title", "*")]), 0);
}

#[test]
fn the_example_answers_are_what_the_daemon_writes() {
    let mut wrong = Vec::new();
    for (name, _, reply) in examples() {
        let written = reply.document().bytes;
        if bytes(block("hex", name)) != written {
            let hex = written.iter().map(|byte| format!("{byte:02x}"));
            wrong.push((name, hex.collect::<String>()));
        }
    }
    assert_eq!(wrong, []);
}

#[test]
fn documents_have_the_keys_and_values_of_their_tables() {
    for (name, document, reply) in examples() {
        let bytes = reply.document().bytes;
        let mut decoder = Decoder::new(&bytes);
        match name {
            "results" => continue,
            "jobs" => {
                decoder.array().unwrap();
                check("job", &mut decoder);
            }
            "cache" => {
                decoder.array().unwrap();
                check("module", &mut decoder);
            }
            "logs" => {
                decoder.array().unwrap();
                check("line", &mut decoder);
            }
            "items" => {
                decoder.array().unwrap();
                check_but("item", &["code"], &mut decoder);
            }
            "namespaces" => {
                decoder.map().unwrap();
                decoder.str().unwrap();
                check("namespace", &mut decoder);
            }
            _ => check(document, &mut decoder),
        }
        assert_eq!(decoder.position(), bytes.len(), "{name}");
    }
}

/// Reads a document, whose keys must be those of its table and in that order.
fn check(document: &str, decoder: &mut Decoder<'_>) {
    check_but(document, &[], decoder);
}

/// The same of one in which these keys exclude others.
fn check_but(document: &str, left_out: &[&str], decoder: &mut Decoder<'_>) {
    let (_, keys) = DOCUMENTS
        .iter()
        .find(|(name, _)| *name == document)
        .unwrap();
    let mut due = keys.iter();
    for _ in 0..decoder.map().unwrap().unwrap() {
        let found = decoder.str().unwrap();
        let key = due.find(|key| key.name == found);
        let key = key.unwrap_or_else(|| panic!("{found} in {document}"));
        check_value(document, key, decoder);
    }
    // The examples have everything.
    let mut missing = due.filter(|key| !left_out.contains(&key.name));
    assert!(missing.next().is_none(), "{document} is not whole");
}

fn check_value(document: &str, key: &Key, decoder: &mut Decoder<'_>) {
    let found = decoder.datatype().unwrap();
    let fits = match key.value {
        Value::Uint => matches!(found, Type::U8 | Type::U16 | Type::U32 | Type::U64),
        Value::Int => matches!(
            found,
            Type::U8
                | Type::U16
                | Type::U32
                | Type::U64
                | Type::I8
                | Type::I16
                | Type::I32
                | Type::I64
        ),
        Value::Any => true,
        Value::Bool => found == Type::Bool,
        Value::Text => found == Type::String,
        Value::Array => found == Type::Array,
        Value::Map => found == Type::Map,
    };
    assert!(fits, "{document}: {} is {found}", key.name);
    let each = match (document, key.name) {
        ("explained", "steps") => "step",
        ("explained" | "failure", "lines") => "line",
        ("flows", "flows") => "flow",
        ("flows", "operators") => "operator",
        ("status", "links") => "link",
        ("status", "crashes") => "crash",
        _ => return decoder.skip().unwrap(),
    };
    for _ in 0..decoder.array().unwrap().unwrap() {
        check(each, decoder);
    }
}
