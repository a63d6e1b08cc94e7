//! Answers as bytes: CBOR, mostly. The keys are those of `nimblenet_tasklet::api`.

use nimblenet_core::{Counters, DropReason, Instant, Standing, Step};
use nimblenet_tasklet::api::{
    self, change, crash, epoch, explained, failure, flow, flows, history, item, job, line, link,
    module, namespace, operator, published, status, step, trigger, triggers,
};
use nimblenet_tasklet::{Fault, NodeId, Place, TaskletName};

use super::{Filter, Job, NotMoved, Recorded, Reply};
use crate::daemon::flows::{FlowList, FlowSummary, Item};
use crate::daemon::{Cached, CallReport, Crash, Status};
use crate::lines::Line;
use crate::link::LinkStatus;
use crate::remote::NamespaceSummary;
use crate::store::{EpochSummary, Published};

type Writer = minicbor::Encoder<Vec<u8>>;
type WriteError = minicbor::encode::Error<core::convert::Infallible>;
type Written<'w> = Result<&'w mut Writer, WriteError>;

/// The format of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Media {
    /// CBOR (RFC 8949).
    Cbor,
    /// Links (RFC 6690).
    Links,
    /// Bytes.
    Bytes,
    /// Something else, which no answer is.
    Other,
}

/// An answer as carriers of resources send it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Document {
    /// The status.
    pub(crate) status: api::Status,
    /// The format of the bytes; nothing if there are none.
    pub(crate) media: Option<Media>,
    /// The body.
    pub(crate) bytes: Vec<u8>,
}

impl Reply {
    /// The reply as bytes.
    pub(crate) fn document(&self) -> Document {
        match self {
            Self::Ended {
                report,
                explain,
                lines,
                place,
                detail,
            } => {
                let lines = lines.as_deref();
                match &report.result {
                    Ok(result) if *explain || lines.is_some() => explained(report, result, lines),
                    Ok(result) => content(|to| raw(to, result)),
                    Err(fault) => failed(*fault, report, place, detail.as_deref(), lines),
                }
            }
            Self::Discovery {
                tasklets,
                registry,
                filters,
            } => links(tasklets, *registry, filters),
            Self::Status(numbers) => content(|to| write_status(to, numbers)),
            Self::Jobs { now, jobs } => content(|to| write_jobs(to, *now, jobs)),
            Self::Cache(modules) => content(|to| write_cache(to, modules)),
            Self::Logs(lines) => content(|to| write_logs(to, lines)),
            Self::Triggers(recorded) => content(|to| write_triggers(to, recorded)),
            Self::Job { now, job } => content(|to| write_job(to, *now, job)),
            Self::Watched { reply, .. } => reply.document(),
            Self::Moved(Ok(()))
            | Self::Cancelled
            | Self::Drains
            | Self::Staged
            | Self::FlowChanged => empty(api::Status::Changed),
            Self::FlowEnded => empty(api::Status::Deleted),
            Self::Flows(list) => content(|to| write_flows(to, list)),
            Self::Items(items) => content(|to| write_items(to, items)),
            Self::Moved(Err(NotMoved { fault, detail })) => {
                let report = CallReport::refused(*fault);
                failed(*fault, &report, "the move", detail.as_deref(), None)
            }
            Self::Namespaces(held) => content(|to| write_namespaces(to, held)),
            Self::Delta(Some(changes)) => content(|to| raw(to, changes)),
            Self::History { epochs, nodes } => content(|to| write_history(to, epochs, nodes)),
            Self::Delta(None) => empty(api::Status::Valid),
            Self::Published(outcome) => {
                cbor(api::Status::Changed, |to| write_published(to, outcome))
            }
            Self::Module(module) => Document {
                status: api::Status::Content,
                media: Some(Media::Bytes),
                bytes: module.clone(),
            },
            Self::Unfit(fault, message) => failure(
                api::Status::of(*fault),
                fault.code(),
                message,
                (None, None),
                None,
            ),
            Self::Refused(refused) => {
                let problem = refused.problem;
                let (status, code) = (problem.status(), problem.code());
                failure(status, code, &refused.message, (None, None), None)
            }
        }
    }
}

fn explained(report: &CallReport, result: &[u8], lines: Option<&[Line]>) -> Document {
    content(|to| {
        let fields = 3 + u64::from(lines.is_some());
        raw(to.map(fields)?.str(explained::RESULT)?, result)?;
        to.str(explained::STEPS)?.array(report.steps.len() as u64)?;
        for step in &report.steps {
            write_step(to, step)?;
        }
        to.str(explained::TOOK_US)?
            .u64(report.took.as_micros() as u64)?;
        if let Some(lines) = lines {
            write_logs(to.str(explained::LINES)?, lines)?;
        }
        Ok(to)
    })
}

fn write_step<'w>(to: &'w mut Writer, step: &Step) -> Written<'w> {
    to.map(7)?;
    to.str(step::TASKLET)?.str(&step.name.to_string())?;
    to.str(step::VERSION)?.u16(step.tasklet.sequence)?;
    to.str(step::SOURCE)?.str(step.source.name())?;
    to.str(step::HOPS)?.u8(step.hops)?;
    to.str(step::ATTEMPTS)?.u8(step.attempts)?;
    to.str(step::BYTES)?.u32(step.bytes)?;
    to.str(step::WAIT_US)?.u64(step.took.as_micros() as u64)
}

/// Calls in progress, oldest first.
fn write_jobs<'w>(to: &'w mut Writer, now: Instant, jobs: &[Job]) -> Written<'w> {
    to.array(jobs.len() as u64)?;
    for job in jobs {
        write_job(to, now, job)?;
    }
    Ok(to)
}

fn write_job<'w>(to: &'w mut Writer, now: Instant, listed: &Job) -> Written<'w> {
    let (job, made) = (&listed.progress, listed.made);
    let client = made.and_then(|made| made.client);
    let number = made.and_then(|made| made.number);
    let node = match job.standing {
        Standing::At(node) => Some(node),
        Standing::Waiting | Standing::Queued | Standing::Running | Standing::Moving => None,
    };
    let optional = [
        job.name.is_some(),
        node.is_some(),
        job.caller.is_some(),
        client.is_some(),
        number.is_some(),
        made.is_some(),
        job.deadline.is_some(),
    ];
    let fields = 4 + optional.iter().filter(|there| **there).count();
    to.map(fields as u64)?.str(job::CALL)?.u32(job.call.0)?;
    if let Some(name) = job.name {
        to.str(job::TASKLET)?.str(&name.to_string())?;
    }
    to.str(job::STATE)?.str(job.standing.name())?;
    if let Some(node) = node {
        to.str(job::AT)?.u16(node.0)?;
    }
    if let Some(caller) = job.caller {
        to.str(job::FOR)?.u16(caller.0)?;
    }
    if let Some(client) = client {
        to.str(job::CLIENT)?.u32(client.0)?;
    }
    if let Some(number) = number {
        to.str(job::NUMBER)?.u32(number)?;
    }
    if let Some(made) = made {
        to.str(job::PRIORITY)?.str(made.priority.name())?;
    }
    to.str(job::DEPTH)?.u64(job.depth as u64)?;
    if let Some(deadline) = job.deadline {
        to.str(job::LEFT_MS)?
            .u64((deadline - now).as_millis() as u64)?;
    }
    to.str(job::AGE_MS)?
        .u64((now - job.accepted).as_millis() as u64)
}

fn write_cache<'w>(to: &'w mut Writer, modules: &[Cached]) -> Written<'w> {
    to.array(modules.len() as u64)?;
    for cached in modules {
        let held = cached.module;
        to.map(6)?;
        to.str(module::TASKLET)?.str(&cached.name.to_string())?;
        to.str(module::VERSION)?.u16(held.tasklet.sequence)?;
        to.str(module::BYTES)?.u32(held.bytes)?;
        to.str(module::USES)?.u32(held.uses)?;
        to.str(module::PINNED)?.bool(held.reserved)?;
        to.str(module::LOADED)?.bool(cached.loaded)?;
    }
    Ok(to)
}

/// Lines of the log, oldest first.
fn write_logs<'w>(to: &'w mut Writer, lines: &[Line]) -> Written<'w> {
    to.array(lines.len() as u64)?;
    for written in lines {
        let call = u64::from(written.call.is_some());
        to.map(4 + call + 2 * u64::from(written.place.is_some()))?;
        to.str(line::NUMBER)?.u64(written.number)?;
        let since = written.at.since(Instant::ZERO);
        to.str(line::AT_MS)?.u64(since.as_millis() as u64)?;
        to.str(line::TASKLET)?.str(&written.tasklet.to_string())?;
        if let Some(call) = written.call {
            to.str(line::CALL)?.u32(call.0)?;
        }
        if let Some(place) = written.place {
            to.str(line::FUNCTION)?.u32(place.function())?;
            to.str(line::OFFSET)?.u32(place.offset())?;
        }
        to.str(line::TEXT)?.str(&written.text)?;
    }
    Ok(to)
}

/// What a node has seen of its clients, by the numbers of the triggers.
fn write_triggers<'w>(to: &'w mut Writer, recorded: &Recorded) -> Written<'w> {
    let micros = |at: Instant| at.since(Instant::ZERO).as_micros() as u64;
    to.map(4 + u64::from(recorded.registry.is_some()))?;
    to.str(triggers::NODE)?.u16(recorded.node.0)?;
    to.str(triggers::NOW_US)?.u64(micros(recorded.now))?;
    let neighbours = &recorded.neighbours;
    to.str(triggers::NEIGHBOURS)?
        .array(neighbours.len() as u64)?;
    for neighbour in neighbours {
        to.u16(neighbour.0)?;
    }
    if let Some(registry) = recorded.registry {
        to.str(triggers::REGISTRY)?.u16(registry.0)?;
    }
    to.str(triggers::TRIGGERS)?
        .array(recorded.triggers.len() as u64)?;
    for seen in &recorded.triggers {
        let optional = [seen.client.is_some(), seen.fault.is_some()];
        let optional = optional.iter().filter(|there| **there).count() as u64;
        to.map(5 + optional)?;
        to.str(trigger::NUMBER)?.u64(seen.number)?;
        to.str(trigger::AT_US)?.u64(micros(seen.at))?;
        to.str(trigger::TASKLET)?.str(&seen.tasklet.to_string())?;
        if let Some(client) = seen.client {
            to.str(trigger::CLIENT)?.u32(client.0)?;
        }
        to.str(trigger::TOOK_US)?
            .u64(seen.took.as_micros() as u64)?;
        to.str(trigger::WAITED_US)?
            .u64(seen.waited.as_micros() as u64)?;
        if let Some(fault) = seen.fault {
            to.str(trigger::CODE)?.str(fault.code())?;
        }
    }
    Ok(to)
}

fn write_flows<'w>(to: &'w mut Writer, list: &FlowList) -> Written<'w> {
    to.map(3)?.str(flows::NODE)?.u16(list.node.0)?;
    to.str(flows::FLOWS)?.array(list.flows.len() as u64)?;
    for summary in &list.flows {
        write_flow(to, summary)?;
    }
    to.str(flows::OPERATORS)?
        .array(list.operators.len() as u64)?;
    for status in &list.operators {
        to.map(9)?.str(operator::FLOW)?.u32(status.flow.0)?;
        to.str(operator::SOURCE)?.u16(status.source.0)?;
        to.str(operator::KIND)?.str(status.kind.name())?;
        to.str(operator::TASKLET)?
            .str(&status.tasklet.to_string())?;
        to.str(operator::ITEMS_IN)?.u64(status.items_in)?;
        to.str(operator::BYTES_IN)?.u64(status.bytes_in)?;
        to.str(operator::ITEMS_OUT)?.u64(status.items_out)?;
        to.str(operator::BYTES_OUT)?.u64(status.bytes_out)?;
        to.str(operator::SAVED)?.i64(status.saved)?;
    }
    Ok(to)
}

fn write_flow<'w>(to: &'w mut Writer, summary: &FlowSummary) -> Written<'w> {
    let fields = |there: bool, count| if there { count } else { 0 };
    let (source, taken) = (summary.source.is_some(), summary.taken.is_some());
    to.map(3 + fields(source, 5) + fields(taken, 2))?;
    to.str(flow::NAME)?.str(summary.name.as_str())?;
    to.str(flow::ID)?.u32(summary.id.0)?;
    to.str(flow::SINK)?.u16(summary.sink.0)?;
    if let Some(source) = summary.source {
        to.str(flow::TAKEN)?.u32(source.taken)?;
        to.str(flow::REFUSED)?.u32(source.refused)?;
        to.str(flow::ARRIVED)?.u32(source.arrived)?;
        to.str(flow::REPEATED)?.u32(source.repeated)?;
        to.str(flow::UNWANTED)?.bool(source.unwanted)?;
    }
    if let Some(taken) = summary.taken {
        to.str(flow::ITEMS)?.u32(taken.items)?;
        to.str(flow::DROPPED)?.u32(taken.dropped)?;
    }
    Ok(to)
}

/// Items at the sink of their flow, oldest first.
fn write_items<'w>(to: &'w mut Writer, items: &[Item]) -> Written<'w> {
    to.array(items.len() as u64)?;
    for arrived in items {
        let since = arrived.at.since(Instant::ZERO);
        to.map(6)?.str(item::NUMBER)?.u64(arrived.number)?;
        to.str(item::AT_MS)?.u64(since.as_millis() as u64)?;
        to.str(item::SOURCE)?.u16(arrived.source.0)?;
        to.str(item::FIRST)?.u32(arrived.first)?;
        to.str(item::LAST)?.u32(arrived.last)?;
        match &arrived.result {
            Ok(value) => raw(to.str(item::VALUE)?, value)?,
            Err(fault) => to.str(item::CODE)?.str(fault.code())?,
        };
    }
    Ok(to)
}

/// The message has three parts: where and what, details, and what to do.
fn failed(
    fault: Fault,
    report: &CallReport,
    place: &str,
    detail: Option<&str>,
    lines: Option<&[Line]>,
) -> Document {
    let reason = reason(fault, report, detail);
    let message = format!("{place}: {reason}; {}", fault.remedy());
    let blamed = (report.blamed, report.place);
    let status = api::Status::of(fault);
    failure(status, fault.code(), &message, blamed, lines)
}

/// The meaning of the fault, with its details. `detail` says what the fault does not.
pub(in crate::daemon) fn reason(fault: Fault, report: &CallReport, detail: Option<&str>) -> String {
    let trap = report.trap.map(|trap| clause(trap.meaning()));
    let at = report.place.map(|place| place.to_string());
    let details = [trap.as_deref(), at.as_deref(), detail];
    let details: Vec<&str> = details.into_iter().flatten().collect();
    let what = clause(fault.meaning());
    if details.is_empty() {
        return what;
    }
    format!("{what} ({})", details.join("; "))
}

/// A sentence as part of another.
fn clause(sentence: &str) -> String {
    let sentence = sentence.trim().trim_end_matches('.');
    let mut letters = sentence.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// The pair is the tasklet that failed and where in its module, if the node knows.
fn failure(
    status: api::Status,
    code: &str,
    message: &str,
    (tasklet, place): (Option<TaskletName>, Option<Place>),
    lines: Option<&[Line]>,
) -> Document {
    let fields = 2 + u64::from(tasklet.is_some()) + 2 * u64::from(place.is_some());
    let fields = fields + u64::from(lines.is_some());
    cbor(status, |to| {
        to.map(fields)?.str(failure::CODE)?.str(code)?;
        to.str(failure::MESSAGE)?.str(message)?;
        if let Some(name) = tasklet {
            to.str(failure::TASKLET)?.str(&name.to_string())?;
        }
        if let Some(place) = place {
            to.str(failure::FUNCTION)?.u32(place.function())?;
            to.str(failure::OFFSET)?.u32(place.offset())?;
        }
        if let Some(lines) = lines {
            write_logs(to.str(failure::LINES)?, lines)?;
        }
        Ok(to)
    })
}

fn write_published<'w>(to: &'w mut Writer, outcome: &Published) -> Written<'w> {
    to.map(4)?.str(published::EPOCH)?.u32(outcome.epoch)?;
    to.str(published::ENTRIES)?.u64(outcome.entries as u64)?;
    to.str(published::MODULES)?.u64(outcome.modules as u64)?;
    to.str(published::CLAIMED)?.bool(outcome.claimed)
}

/// A link of `.well-known/core` (RFC 6690), to a resource whose format is CBOR.
struct CoreLink {
    href: String,
    /// What kind of resource it is.
    rt: Option<&'static str>,
    /// Whether clients can observe it.
    obs: bool,
}

impl CoreLink {
    fn new(resource: api::Resource, names: &[&str]) -> Self {
        let kinds = [
            (api::Resource::Call, "nimblenet.tasklet"),
            (api::Resource::Namespaces, "nimblenet.registry"),
        ];
        let kind = kinds.iter().find(|(kind, _)| *kind == resource);
        let rt = kind.map(|(_, rt)| *rt);
        let obs = [api::Resource::Status, api::Resource::Jobs].contains(&resource);
        let href = format!("/{}", resource.at(names));
        Self { href, rt, obs }
    }

    /// Whether it matches a filter (RFC 6690 section 4.1).
    fn matches(&self, filter: &Filter) -> bool {
        let wanted = filter.value.as_str();
        let is_it = |value: &str| match wanted.strip_suffix('*') {
            Some(start) => value.starts_with(start),
            None => value == wanted,
        };
        match filter.name.as_str() {
            "href" => is_it(&self.href),
            "rt" => self.rt.is_some_and(is_it),
            "ct" => is_it("60"),
            "obs" => self.obs && is_it(""),
            _ => false,
        }
    }

    fn write(&self, to: &mut String) {
        let comma = if to.is_empty() { "" } else { "," };
        to.push_str(&format!("{comma}<{}>", self.href));
        if let Some(rt) = self.rt {
            to.push_str(&format!(";rt=\"{rt}\""));
        }
        to.push_str(";ct=60");
        if self.obs {
            to.push_str(";obs");
        }
    }
}

/// The links of `.well-known/core` that match all filters.
fn links(tasklets: &[TaskletName], registry: bool, filters: &[Filter]) -> Document {
    let own = [
        api::Resource::Status,
        api::Resource::Jobs,
        api::Resource::Cache,
        api::Resource::Logs,
        api::Resource::Triggers,
        api::Resource::Flows,
    ]
    .into_iter();
    let own = own.chain(registry.then_some(api::Resource::Namespaces));
    let own = own.map(|resource| CoreLink::new(resource, &[]));
    let tasklets = tasklets.iter().map(|name| {
        let names = [name.namespace.as_str(), name.name.as_str()];
        CoreLink::new(api::Resource::Call, &names)
    });
    let mut links = String::new();
    for link in own.chain(tasklets) {
        if filters.iter().all(|filter| link.matches(filter)) {
            link.write(&mut links);
        }
    }
    Document {
        status: api::Status::Content,
        media: Some(Media::Links),
        bytes: links.into_bytes(),
    }
}

/// Each namespace with its epoch, entries and key.
fn write_namespaces<'w>(to: &'w mut Writer, held: &[NamespaceSummary]) -> Written<'w> {
    to.map(held.len() as u64)?;
    for summary in held {
        to.str(summary.name.as_str())?;
        let nodes = summary.nodes.as_ref();
        to.map(2 + u64::from(summary.key.is_some()) + u64::from(nodes.is_some()))?;
        to.str(namespace::EPOCH)?.u32(summary.epoch)?;
        to.str(namespace::ENTRIES)?.u16(summary.entries)?;
        if let Some(key) = summary.key {
            to.str(namespace::KEY)?.str(&key.to_string())?;
        }
        if let Some(nodes) = nodes {
            write_nodes(to.str(namespace::NODES)?, nodes)?;
        }
    }
    Ok(to)
}

/// The epochs of a catalogue, each with what it has changed.
fn write_history<'w>(
    to: &'w mut Writer,
    epochs: &[EpochSummary],
    nodes: &[(NodeId, u32)],
) -> Written<'w> {
    to.map(2)?
        .str(history::EPOCHS)?
        .array(epochs.len() as u64)?;
    for summary in epochs {
        to.map(2)?.str(epoch::EPOCH)?.u32(summary.epoch)?;
        let changes = &summary.changes;
        to.str(epoch::CHANGES)?.array(changes.len() as u64)?;
        for item in changes {
            to.map(3)?.str(change::NAME)?.str(item.name.as_str())?;
            to.str(change::VERSION)?.u16(item.version)?;
            to.str(change::WITHDRAWN)?.bool(item.withdrawn)?;
        }
    }
    to.str(history::NODES)?;
    write_nodes(to, nodes)
}

/// The epoch that each node has announced, under its id.
fn write_nodes<'w>(to: &'w mut Writer, nodes: &[(NodeId, u32)]) -> Written<'w> {
    to.map(nodes.len() as u64)?;
    for (node, epoch) in nodes {
        to.u16(node.0)?.u32(*epoch)?;
    }
    Ok(to)
}

fn write_status<'w>(to: &'w mut Writer, status: &Status) -> Written<'w> {
    let numbers = numbers(status);
    let optional = u64::from(status.degraded.is_some()) + u64::from(status.draining);
    to.map(numbers.len() as u64 + 3 + optional)?;
    for (name, value) in &numbers {
        to.str(name)?.u64(*value)?;
    }
    to.str(status::EPOCHS)?.map(status.epochs.len() as u64)?;
    for (name, epoch) in &status.epochs {
        to.str(name.as_str())?.u32(*epoch)?;
    }
    to.str(status::LINKS)?.array(status.links.len() as u64)?;
    for link in &status.links {
        write_link(to, link)?;
    }
    to.str(status::CRASHES)?
        .array(status.crashes.len() as u64)?;
    for crash in &status.crashes {
        write_crash(to, crash)?;
    }
    if let Some(why) = &status.degraded {
        to.str(status::DEGRADED)?.str(why)?;
    }
    if status.draining {
        to.str(status::DRAINING)?.bool(true)?;
    }
    Ok(to)
}

fn numbers(status: &Status) -> Vec<(&'static str, u64)> {
    let node: &Counters = &status.counters;
    let acquired = &node.acquired;
    let mut numbers = vec![
        (status::ID, u64::from(status.id.0)),
        (status::UPTIME_MS, status.uptime.as_millis() as u64),
        (status::JOBS, status.jobs as u64),
        (status::NEIGHBOURS, status.neighbours.len() as u64),
        (status::CACHE_USED, status.cache_used as u64),
        (status::CACHE_BYTES, status.cache_bytes as u64),
        (status::EVICTED, status.evicted),
        (status::CALLS, node.calls),
        (status::COMPLETED, node.completed),
        (status::FAILED, node.failed),
        (status::ACQUIRED_LOCAL, acquired.local),
        (status::ACQUIRED_NEIGHBOUR, acquired.neighbour),
        (status::ACQUIRED_GLOBAL, acquired.global),
        (status::ACQUIRED_REGISTRY, acquired.registry),
        (status::NOT_ACQUIRED, node.not_acquired),
        (status::DIGEST_MISMATCHES, node.digest_mismatches),
        (status::BAD_SIGNATURES, node.bad_signatures),
        (status::CONTRADICTIONS, node.contradictions),
        (status::RESUMED_TRANSFERS, node.resumed_transfers),
        (status::MOVED_OUT, node.moved_out),
        (status::MOVED_IN, node.moved_in),
        (status::PLACED, node.placed),
        (status::PASSED, node.passed),
        (status::RESULTS, status.results as u64),
        (status::HANDED_OVER, node.handed_over),
        (status::MOVES_REFUSED, node.moves_refused),
        (status::MOVES_FAILED, node.moves_failed),
        (status::TX_BYTES, status.sent_bytes()),
        (status::RX_BYTES, status.received_bytes()),
        (status::COAP_REQUESTS, status.coap.requests),
        (status::COAP_REPEATED, status.coap.repeated),
    ];
    for reason in DropReason::ALL {
        numbers.push((reason.name(), node.dropped(reason)));
    }
    numbers
}

fn write_link<'w>(to: &'w mut Writer, link: &LinkStatus) -> Written<'w> {
    let numbers = [
        (link::TX_BYTES, link.sent_bytes),
        (link::RX_BYTES, link.received_bytes),
        (link::TX_FRAMES, link.sent),
        (link::RX_FRAMES, link.received),
        (link::DAMAGED, link.damaged),
        (link::DROPPED, link.dropped),
        (link::STRANGERS, link.strangers),
    ];
    to.map(numbers.len() as u64 + 3)?;
    to.str(link::KIND)?.str(link.kind)?;
    to.str(link::NAME)?.str(&link.name)?;
    to.str(link::UP)?.bool(link.up)?;
    for (name, value) in numbers {
        to.str(name)?.u64(value)?;
    }
    Ok(to)
}

fn write_crash<'w>(to: &'w mut Writer, crash: &Crash) -> Written<'w> {
    to.map(6)?.str(crash::NODE)?.u16(crash.node.0)?;
    to.str(crash::CAUSE)?.str(crash.cause)?;
    to.str(crash::CORE)?.u8(crash.core)?;
    to.str(crash::UPTIME_MS)?.u32(crash.uptime_ms)?;
    to.str(crash::ADDRESSES)?
        .array(crash.addresses.len() as u64)?;
    for address in &crash.addresses {
        to.u32(*address)?;
    }
    to.str(crash::TEXT)?.str(&crash.text)
}

/// Writes bytes that are CBOR already.
fn raw<'w>(to: &'w mut Writer, bytes: &[u8]) -> Written<'w> {
    to.writer_mut().extend_from_slice(bytes);
    Ok(to)
}

fn empty(status: api::Status) -> Document {
    Document {
        status,
        media: None,
        bytes: Vec::new(),
    }
}

fn content(write: impl FnOnce(&mut Writer) -> Written<'_>) -> Document {
    cbor(api::Status::Content, write)
}

fn cbor(status: api::Status, write: impl FnOnce(&mut Writer) -> Written<'_>) -> Document {
    let mut writer = Writer::new(Vec::new());
    write(&mut writer).expect("writing to memory does not fail");
    Document {
        status,
        media: Some(Media::Cbor),
        bytes: writer.into_writer(),
    }
}
