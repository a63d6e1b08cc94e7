//! The CoAP resources of a daemon: what a request means, and how answers are written.

use nimblenet_core::{CallId, DropReason, Instant, Progress, Standing, Step};
use nimblenet_tasklet::{Digest, Fault, Name, NodeId, TaskletName, Trap};

use super::{CallReport, Status};
use crate::coap::{Code, Format, Method, Request, Response};
use crate::key::{PublicKey, hex_bytes};
use crate::store::{Published, Refusal};

type Writer = minicbor::Encoder<Vec<u8>>;

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Action {
    Call {
        name: TaskletName,
        export: String,
        args: Vec<u8>,
        explain: bool,
        at: Option<NodeId>,
    },
    Discover,
    Status,
    Jobs,
    Move {
        call: CallId,
        to: NodeId,
    },
    Namespaces,
    Delta {
        namespace: Name,
        from: u32,
    },
    Publish {
        namespace: Name,
        key: Option<PublicKey>,
        delta: Vec<u8>,
    },
    Module {
        digest: Digest,
    },
    Stage {
        digest: Digest,
        module: Vec<u8>,
    },
}

impl Action {
    /// What `request` asks for, or the answer that it is refused with.
    pub(super) fn of(request: Request) -> Result<Self, Response> {
        let path: Vec<&str> = request.path.iter().map(String::as_str).collect();
        match (&path[..], request.method) {
            ([".well-known", "core"], Method::Get) => Ok(Self::Discover),
            (["status"], Method::Get) => Ok(Self::Status),
            (["jobs"], Method::Get) => Ok(Self::Jobs),
            (["jobs", call], Method::Post) => {
                let call = call.parse().ok().map(CallId);
                let to = request.query("to").map(|to| read_node("to", to));
                Ok(Self::Move {
                    call: call.ok_or_else(|| bad_request("a call is a number of /jobs"))?,
                    to: to.ok_or_else(|| bad_request("to=ID says which node"))??,
                })
            }
            (["t", namespace, name], Method::Post) => {
                let name = TaskletName::new(&format!("{namespace}/{name}"));
                let name = name.map_err(|error| bad_request(&error.to_string()))?;
                Self::call(name, &request)
            }
            (["r"], Method::Get) => Ok(Self::Namespaces),
            (["r", namespace], Method::Get) => Ok(Self::Delta {
                namespace: read_name(namespace)?,
                from: request
                    .query("from")
                    .map_or(Ok(0), str::parse)
                    .map_err(|_| bad_request("from is an epoch number"))?,
            }),
            (["r", namespace], Method::Put) => Ok(Self::Publish {
                namespace: read_name(namespace)?,
                key: request
                    .query("key")
                    .map(str::parse)
                    .transpose()
                    .map_err(|_| bad_request("key is 64 hexadecimal digits"))?,
                delta: request.payload,
            }),
            (["m", digest], Method::Get) => Ok(Self::Module {
                digest: read_digest(digest)?,
            }),
            (["m", digest], Method::Put) => Ok(Self::Stage {
                digest: read_digest(digest)?,
                module: request.payload,
            }),
            (
                [".well-known", "core"]
                | ["status"]
                | ["jobs"]
                | ["jobs", _]
                | ["t", _, _]
                | ["r", ..]
                | ["m", _],
                _,
            ) => {
                let code = Code::METHOD_NOT_ALLOWED;
                Err(failure(code, "method-not-allowed", "see .well-known/core"))
            }
            _ => {
                let code = Code::NOT_FOUND;
                Err(failure(code, "unknown-resource", "see .well-known/core"))
            }
        }
    }

    fn call(name: TaskletName, request: &Request) -> Result<Self, Response> {
        if request.format.is_some_and(|format| format != Format::CBOR) {
            let code = Code::UNSUPPORTED_FORMAT;
            return Err(failure(code, "unsupported-format", "arguments are CBOR"));
        }
        if request.accept.is_some_and(|format| format != Format::CBOR) {
            let code = Code::NOT_ACCEPTABLE;
            return Err(failure(code, "not-acceptable", "results are CBOR"));
        }
        let args = if request.payload.is_empty() {
            vec![0x80]
        } else {
            request.payload.clone()
        };
        Ok(Self::Call {
            name,
            export: request.query("x").unwrap_or("").to_owned(),
            args,
            explain: request.query("explain").is_some(),
            at: request
                .query("at")
                .map(|at| read_node("at", at))
                .transpose()?,
        })
    }
}

fn read_name(text: &str) -> Result<Name, Response> {
    Name::new(text).map_err(|error| bad_request(&error.to_string()))
}

fn read_node(what: &str, text: &str) -> Result<NodeId, Response> {
    let id = text
        .parse()
        .ok()
        .map(NodeId)
        .filter(|id| *id != NodeId::EVERYONE);
    id.ok_or_else(|| bad_request(&format!("{what} is the number of a node, 0 to 65534")))
}

fn read_digest(text: &str) -> Result<Digest, Response> {
    let bytes = hex_bytes(text);
    bytes
        .map(Digest)
        .map_err(|error| bad_request(&error.to_string()))
}

fn bad_request(message: &str) -> Response {
    failure(Code::BAD_REQUEST, "bad-request", message)
}

/// An answer that reports a failure.
pub(super) fn failure(code: Code, stable: &str, message: &str) -> Response {
    cbor(code, |to| {
        to.map(2)?.str("code")?.str(stable)?;
        to.str("message")?.str(message)
    })
}

/// The answer to a publication or upload that is refused.
pub(super) fn refusal(refusal: &Refusal) -> Response {
    let code = match refusal {
        Refusal::Malformed(_) | Refusal::OtherNamespace | Refusal::DigestMismatch => {
            Code::BAD_REQUEST
        }
        Refusal::UnknownNamespace => Code::NOT_FOUND,
        Refusal::UnknownKey | Refusal::BadSignature => Code::FORBIDDEN,
        Refusal::NamespaceClash
        | Refusal::StaleEpoch { .. }
        | Refusal::VersionExists { .. }
        | Refusal::SequenceGap { .. } => Code::CONFLICT,
        Refusal::TooLarge { .. } => Code::TOO_LARGE,
        Refusal::Full | Refusal::Storage(_) | Refusal::Damaged => Code::UNAVAILABLE,
        Refusal::Catalogue(_)
        | Refusal::DuplicateName { .. }
        | Refusal::BadImport { .. }
        | Refusal::MissingModule { .. }
        | Refusal::WrongSize { .. }
        | Refusal::InvalidModule { .. } => Code::UNPROCESSABLE,
    };
    failure(code, refusal.code(), &refusal.to_string())
}

/// The answer to a publication.
pub(super) fn published(outcome: &Published) -> Response {
    cbor(Code::CHANGED, |to| {
        to.map(4)?.str("epoch")?.u32(outcome.epoch)?;
        to.str("entries")?.u64(outcome.entries as u64)?;
        to.str("modules")?.u64(outcome.modules as u64)?;
        to.str("claimed")?.bool(outcome.claimed)
    })
}

/// The answer to a call that has ended. `detail` says more than the fault does.
pub(super) fn ended(report: &CallReport, explain: bool, detail: Option<&str>) -> Response {
    let result = match &report.result {
        Ok(result) => result,
        Err(fault) => return fault_response(*fault, report.trap, detail),
    };
    if !explain {
        return Response::new(Code::CONTENT, Format::CBOR, result.clone());
    }
    cbor(Code::CONTENT, |to| {
        to.map(3)?.str("result")?;
        to.writer_mut().extend_from_slice(result);
        to.str("steps")?.array(report.steps.len() as u64)?;
        for step in &report.steps {
            write_step(to, step)?;
        }
        to.str("took_us")?.u64(report.took.as_micros() as u64)
    })
}

/// The answer to `/jobs`: calls in progress, oldest first.
pub(super) fn jobs(now: Instant, held: &[Progress]) -> Response {
    cbor(Code::CONTENT, |to| {
        to.array(held.len() as u64)?;
        for job in held {
            write_job(to, now, job)?;
        }
        Ok(to)
    })
}

fn write_job<'w>(
    to: &'w mut Writer,
    now: Instant,
    job: &Progress,
) -> Result<&'w mut Writer, WriteError> {
    let node = match job.standing {
        Standing::At(node) => Some(node),
        Standing::Waiting | Standing::Running | Standing::Moving => None,
    };
    let optional = [
        job.name.is_some(),
        node.is_some(),
        job.caller.is_some(),
        job.deadline.is_some(),
    ];
    let fields = 4 + optional.iter().filter(|there| **there).count();
    to.map(fields as u64)?.str("call")?.u32(job.call.0)?;
    if let Some(name) = job.name {
        to.str("tasklet")?.str(&name.to_string())?;
    }
    to.str("state")?.str(job.standing.name())?;
    if let Some(node) = node {
        to.str("at")?.u16(node.0)?;
    }
    if let Some(caller) = job.caller {
        to.str("for")?.u16(caller.0)?;
    }
    to.str("depth")?.u64(job.depth as u64)?;
    if let Some(deadline) = job.deadline {
        to.str("left_ms")?
            .u64((deadline - now).as_millis() as u64)?;
    }
    to.str("age_ms")?
        .u64((now - job.accepted).as_millis() as u64)
}

/// The answer to a move that has ended.
pub(super) fn moved(result: Result<(), Fault>) -> Response {
    match result {
        Ok(()) => Response::empty(Code::CHANGED),
        Err(fault) => fault_response(fault, None, None),
    }
}

fn write_step<'w>(to: &'w mut Writer, step: &Step) -> Result<&'w mut Writer, WriteError> {
    to.map(7)?;
    to.str("tasklet")?.str(&step.name.to_string())?;
    to.str("version")?.u16(step.tasklet.sequence)?;
    to.str("source")?.str(step.source.name())?;
    to.str("hops")?.u8(step.hops)?;
    to.str("attempts")?.u8(step.attempts)?;
    to.str("bytes")?.u32(step.bytes)?;
    to.str("wait_us")?.u64(step.took.as_micros() as u64)
}

fn fault_response(fault: Fault, trap: Option<Trap>, detail: Option<&str>) -> Response {
    let code = match fault {
        Fault::UnknownNamespace
        | Fault::UnknownTasklet
        | Fault::UnknownExport
        | Fault::UnknownCall => Code::NOT_FOUND,
        Fault::WrongArguments => Code::BAD_REQUEST,
        Fault::ValuesTooLarge | Fault::TooLarge => Code::TOO_LARGE,
        Fault::Busy
        | Fault::Unreachable
        | Fault::NoCatalogue
        | Fault::CacheFull
        | Fault::NoMemory
        | Fault::Stopped => Code::UNAVAILABLE,
        Fault::Deadline => Code::GATEWAY_TIMEOUT,
        Fault::WrongSignature
        | Fault::DigestMismatch
        | Fault::BadSignature
        | Fault::InvalidModule
        | Fault::UnknownImport
        | Fault::CapabilityDenied
        | Fault::NoExecutor
        | Fault::OutOfFuel
        | Fault::Trapped
        | Fault::DeviceFailed
        | Fault::BadImage
        | Fault::TooDeep
        | Fault::TooManyCalls
        | _ => Code::INTERNAL,
    };
    let mut message = fault.meaning().trim().to_owned();
    if let Some(trap) = trap {
        message = format!("{message} {}", trap.meaning().trim());
    }
    if let Some(detail) = detail {
        message = format!("{message} ({detail})");
    }
    failure(code, fault.code(), &message)
}

/// The answer to `.well-known/core` (RFC 6690).
pub(super) fn links<'n>(
    tasklets: impl Iterator<Item = (&'n Name, Name)>,
    registry: bool,
) -> Response {
    let mut links = String::from("</status>;ct=60,</jobs>;ct=60");
    if registry {
        links.push_str(",</r>;rt=\"nimblenet.registry\";ct=60");
    }
    for (namespace, name) in tasklets {
        links.push_str(&format!(
            ",</t/{namespace}/{name}>;rt=\"nimblenet.tasklet\";ct=60"
        ));
    }
    Response::new(Code::CONTENT, Format::LINKS, links.into_bytes())
}

/// The answer to `/r`: each namespace with its epoch, entries and key.
pub(super) fn namespaces(held: &[(Name, u32, u16, Option<PublicKey>)]) -> Response {
    cbor(Code::CONTENT, |to| {
        to.map(held.len() as u64)?;
        for (name, epoch, entries, key) in held {
            to.str(name.as_str())?.map(2 + u64::from(key.is_some()))?;
            to.str("epoch")?.u32(*epoch)?;
            to.str("entries")?.u16(*entries)?;
            if let Some(key) = key {
                to.str("key")?.str(&key.to_string())?;
            }
        }
        Ok(to)
    })
}

/// The answer to `/status`.
pub(super) fn status(status: &Status) -> Response {
    let (node, link) = (&status.counters, &status.link);
    let acquired = &node.acquired;
    let mut numbers = vec![
        ("id", u64::from(status.id.0)),
        ("uptime_ms", status.uptime.as_millis() as u64),
        ("jobs", status.jobs as u64),
        ("neighbours", status.neighbours.len() as u64),
        ("calls", node.calls),
        ("completed", node.completed),
        ("failed", node.failed),
        ("acquired_local", acquired.local),
        ("acquired_neighbour", acquired.neighbour),
        ("acquired_global", acquired.global),
        ("acquired_registry", acquired.registry),
        ("not_acquired", node.not_acquired),
        ("digest_mismatches", node.digest_mismatches),
        ("bad_signatures", node.bad_signatures),
        ("resumed_transfers", node.resumed_transfers),
        ("moved_out", node.moved_out),
        ("moved_in", node.moved_in),
        ("moves_refused", node.moves_refused),
        ("moves_failed", node.moves_failed),
        ("tx_bytes", link.sent_bytes),
        ("rx_bytes", link.received_bytes),
        ("tx_datagrams", link.sent),
        ("rx_datagrams", link.received),
        ("strangers", link.strangers),
        ("coap_requests", status.coap.requests),
        ("coap_repeated", status.coap.repeated),
    ];
    for reason in DropReason::ALL {
        numbers.push((reason.name(), node.dropped(reason)));
    }
    cbor(Code::CONTENT, |to| {
        to.map(numbers.len() as u64 + 3)?;
        for (name, value) in &numbers {
            to.str(name)?.u64(*value)?;
        }
        to.str("epochs")?.map(status.epochs.len() as u64)?;
        for (name, epoch) in &status.epochs {
            to.str(name.as_str())?.u32(*epoch)?;
        }
        to.str("serial")?.array(status.serial.len() as u64)?;
        for line in &status.serial {
            let numbers = [
                ("tx_bytes", line.sent_bytes),
                ("rx_bytes", line.received_bytes),
                ("tx_frames", line.sent),
                ("rx_frames", line.received),
                ("damaged", line.damaged),
                ("dropped", line.dropped),
            ];
            to.map(numbers.len() as u64 + 2)?;
            to.str("device")?.str(&line.device.to_string_lossy())?;
            to.str("up")?.bool(line.up)?;
            for (name, value) in numbers {
                to.str(name)?.u64(value)?;
            }
        }
        to.str("crashes")?.array(status.crashes.len() as u64)?;
        for crash in &status.crashes {
            to.map(6)?.str("node")?.u16(crash.node.0)?;
            to.str("cause")?.str(crash.cause)?;
            to.str("core")?.u8(crash.core)?;
            to.str("uptime_ms")?.u32(crash.uptime_ms)?;
            to.str("addresses")?.array(crash.addresses.len() as u64)?;
            for address in &crash.addresses {
                to.u32(*address)?;
            }
            to.str("text")?.str(&crash.text)?;
        }
        Ok(to)
    })
}

type WriteError = minicbor::encode::Error<core::convert::Infallible>;

fn cbor(
    code: Code,
    write: impl FnOnce(&mut Writer) -> Result<&mut Writer, WriteError>,
) -> Response {
    let mut writer = minicbor::Encoder::new(Vec::new());
    write(&mut writer).expect("writing to memory does not fail");
    Response::new(code, Format::CBOR, writer.into_writer())
}
