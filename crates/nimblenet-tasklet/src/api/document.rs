//! The keys of documents (spec/api.md, section 3).

/// The type of a value in a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// A number that is not negative.
    Uint,
    /// A number that may be negative.
    Int,
    /// Any value that a tasklet can take or return.
    Any,
    /// True or false.
    Bool,
    /// Text.
    Text,
    /// A list.
    Array,
    /// A map.
    Map,
}

impl Value {
    /// Its name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uint => "uint",
            Self::Int => "int",
            Self::Any => "any",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Array => "array",
            Self::Map => "map",
        }
    }
}

/// A key of a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    /// The key: lower-case words joined by underscores.
    pub name: &'static str,
    /// The type of its value.
    pub value: Value,
    /// Whether every document of this kind has it.
    pub always: bool,
}

/// Declares documents: each is a module with a constant for each key.
macro_rules! documents {
    ($($(#[doc = $doc:literal])+ $document:ident { $($(#[doc = $key_doc:literal])+ $key:ident = $name:literal $value:ident $(, $optional:ident)?;)+ })+) => {
        $(
            $(#[doc = $doc])+
            pub mod $document {
                use super::{Key, Value};

                $($(#[doc = $key_doc])+ pub const $key: &str = $name;)+

                /// Its keys, in the order in which they are written.
                pub const KEYS: &[Key] = &[$(
                    Key {
                        name: $key,
                        value: Value::$value,
                        always: concat!($(stringify!($optional))?).is_empty(),
                    },
                )+];
            }
        )+

        /// Every document with its keys.
        pub const DOCUMENTS: &[(&str, &[Key])] = &[$((stringify!($document), $document::KEYS),)+];
    };
}

documents! {
    /// Why a request failed.
    failure {
        /// The stable code: lower-case words joined by hyphens.
        CODE = "code" Text;
        /// A sentence for people.
        MESSAGE = "message" Text;
        /// The tasklet that failed first, if it ran at the node that was asked.
        TASKLET = "tasklet" Text, optional;
        /// The function of its module where it failed: an index among all of them, imports included.
        FUNCTION = "function" Uint, optional;
        /// The instruction there: bytes from the start of its module.
        OFFSET = "offset" Uint, optional;
        /// What its tasklets have written to the log, if the request asks for it: a `line` each.
        LINES = "lines" Array, optional;
    }
    /// The answer to a call whose client asked for an explanation, or for lines of the log.
    explained {
        /// The results.
        RESULT = "result" Array;
        /// Where its tasklets came from, in order: a `step` each.
        STEPS = "steps" Array;
        /// Microseconds from the call to its end.
        TOOK_US = "took_us" Uint;
        /// What its tasklets have written to the log, if the request asks for it: a `line` each.
        LINES = "lines" Array, optional;
    }
    /// One acquisition of a tasklet.
    step {
        /// The tasklet's full name.
        TASKLET = "tasklet" Text;
        /// The sequence number of its version.
        VERSION = "version" Uint;
        /// Where it came from: `local`, `neighbour`, `global` or `registry`.
        SOURCE = "source" Text;
        /// The number of hops to that source.
        HOPS = "hops" Uint;
        /// Attempts of the acquisition.
        ATTEMPTS = "attempts" Uint;
        /// Bytes of the module that came over the mesh.
        BYTES = "bytes" Uint;
        /// Microseconds of the acquisition.
        WAIT_US = "wait_us" Uint;
    }
    /// A call in progress.
    job {
        /// Its number at this node.
        CALL = "call" Uint;
        /// Its tasklet's full name, if the node knows.
        TASKLET = "tasklet" Text, optional;
        /// `waiting`, `running`, `moving` or `remote`.
        STATE = "state" Text;
        /// The other node that runs it.
        AT = "at" Uint, optional;
        /// The other node that it runs for.
        FOR = "for" Uint, optional;
        /// The number of the client that has made it here, if it gave one.
        CLIENT = "client" Uint, optional;
        /// The client's number for it, if it gave one.
        NUMBER = "number" Uint, optional;
        /// How urgent it is, if a client has made it here: `low`, `normal` or `high`.
        PRIORITY = "priority" Text, optional;
        /// Tasklets on its stack here.
        DEPTH = "depth" Uint;
        /// Milliseconds until its deadline.
        LEFT_MS = "left_ms" Uint, optional;
        /// Milliseconds since the call.
        AGE_MS = "age_ms" Uint;
    }
    /// What a node has seen of its clients and of the mesh, for a recording.
    triggers {
        /// The node's id.
        NODE = "node" Uint;
        /// Microseconds from the node's start to this answer.
        NOW_US = "now_us" Uint;
        /// The ids of the nodes in direct reach.
        NEIGHBOURS = "neighbours" Array;
        /// The registry of the node's first namespace.
        REGISTRY = "registry" Uint, optional;
        /// Ended calls of clients, by their numbers: a `trigger` each.
        TRIGGERS = "triggers" Array;
    }
    /// A call that a client has made and that has ended.
    trigger {
        /// Its number; triggers are numbered from 1 since the node's start, as they end.
        NUMBER = "number" Uint;
        /// Microseconds from the node's start to the call.
        AT_US = "at_us" Uint;
        /// The tasklet's full name.
        TASKLET = "tasklet" Text;
        /// The client's number, if it gave one.
        CLIENT = "client" Uint, optional;
        /// Microseconds from the call to its end.
        TOOK_US = "took_us" Uint;
        /// Microseconds of that in which it waited for tasklets that this node lacked.
        WAITED_US = "waited_us" Uint;
        /// The code of the fault, if it failed.
        CODE = "code" Text, optional;
    }
    /// A flow as a client has it begin at a node.
    plan {
        /// The node that the items are for.
        SINK = "sink" Uint;
        /// A tasklet without parameters, which the source runs in each period; its result is an item.
        TASKLET = "tasklet" Text, optional;
        /// Milliseconds from run to run, if there is a tasklet.
        PERIOD_MS = "period_ms" Uint, optional;
        /// Its operators, in order: a `stage` each.
        OPERATORS = "operators" Array;
        /// Whether nobody but the sink applies them; false without it.
        AT_SINK = "at_sink" Bool, optional;
        /// How many items the source keeps until the sink has them; 64 without it.
        ROOM = "room" Uint, optional;
    }
    /// An operator of a flow.
    stage {
        /// `map`, `filter`, `window` or `accumulate`.
        KIND = "kind" Text;
        /// Its tasklet's full name.
        TASKLET = "tasklet" Text;
        /// How many of its inputs make one output; 1 without it.
        COUNT = "count" Uint, optional;
    }
    /// The flows of a node, and the operators that it applies to flows.
    flows {
        /// The node's id.
        NODE = "node" Uint;
        /// Those that begin or end here, by name: a `flow` each.
        FLOWS = "flows" Array;
        /// What operators have done here lately, for each source: an `operator` each.
        OPERATORS = "operators" Array;
    }
    /// A flow at one of its sources, or at its sink.
    flow {
        /// Its name.
        NAME = "name" Text;
        /// Its number in frames, by which operators name it.
        ID = "id" Uint;
        /// The node that the items are for.
        SINK = "sink" Uint;
        /// At a source: items taken since it began.
        TAKEN = "taken" Uint, optional;
        /// At a source: items that were not taken, since there was no room, they were too long, or the tasklet failed.
        REFUSED = "refused" Uint, optional;
        /// At a source: items that the sink has.
        ARRIVED = "arrived" Uint, optional;
        /// At a source: items that were sent again.
        REPEATED = "repeated" Uint, optional;
        /// At a source: whether the sink has said that it does not take the flow.
        UNWANTED = "unwanted" Bool, optional;
        /// At the sink: items that have arrived since it takes the flow.
        ITEMS = "items" Uint, optional;
        /// At the sink: items that it had no room to work on, which their sources send again.
        DROPPED = "dropped" Uint, optional;
    }
    /// What an operator has done at a node for one source of a flow.
    operator {
        /// The flow's number in frames.
        FLOW = "flow" Uint;
        /// The source of its items.
        SOURCE = "source" Uint;
        /// `map`, `filter`, `window` or `accumulate`.
        KIND = "kind" Text;
        /// Its tasklet's full name.
        TASKLET = "tasklet" Text;
        /// Items that came in.
        ITEMS_IN = "items_in" Uint;
        /// Bytes of the frames that they have, or would have.
        BYTES_IN = "bytes_in" Uint;
        /// Items that went on.
        ITEMS_OUT = "items_out" Uint;
        /// Bytes of the frames that they have, or would have.
        BYTES_OUT = "bytes_out" Uint;
        /// Bytes of frames that links on the way to the sink did not carry.
        SAVED = "saved" Int;
    }
    /// An item at the sink of its flow.
    item {
        /// Its number; items are numbered from 1 since the node takes the flow.
        NUMBER = "number" Uint;
        /// Milliseconds from the node's start to its arrival.
        AT_MS = "at_ms" Uint;
        /// The node that it comes from.
        SOURCE = "source" Uint;
        /// The first item of that source that it covers.
        FIRST = "first" Uint;
        /// The last one.
        LAST = "last" Uint;
        /// What it is, if no operator has failed.
        VALUE = "value" Any, optional;
        /// The code of the fault, if an operator has failed.
        CODE = "code" Text, optional;
    }
    /// A module in the cache.
    module {
        /// Its tasklet's full name.
        TASKLET = "tasklet" Text;
        /// The sequence number of its version.
        VERSION = "version" Uint;
        /// Its length.
        BYTES = "bytes" Uint;
        /// Uses since it came into the cache.
        USES = "uses" Uint;
        /// Whether a call needs it, so that it cannot be evicted.
        PINNED = "pinned" Bool;
        /// Whether an executor has it loaded, so that its next start is quick.
        LOADED = "loaded" Bool;
    }
    /// A line of the log: what a tasklet has written, or why it failed.
    line {
        /// Its number; lines are numbered from 1 since the node's start.
        NUMBER = "number" Uint;
        /// Milliseconds from the node's start to the line.
        AT_MS = "at_ms" Uint;
        /// The tasklet's full name.
        TASKLET = "tasklet" Text;
        /// The call in which it was written, by its number at this node.
        CALL = "call" Uint, optional;
        /// If the tasklet failed: the function of its module, as in `failure`.
        FUNCTION = "function" Uint, optional;
        /// If the tasklet failed: the instruction, as in `failure`.
        OFFSET = "offset" Uint, optional;
        /// Its text, at most 256 bytes.
        TEXT = "text" Text;
    }
    /// An item of the list of namespaces, under the namespace's name.
    namespace {
        /// The epoch of its catalogue; 0 for none.
        EPOCH = "epoch" Uint;
        /// Its entries.
        ENTRIES = "entries" Uint;
        /// The public key of its owner, in hexadecimal digits.
        KEY = "key" Text, optional;
        /// At its registry: the epoch of each node that has announced one in the last 240 s, under the
        /// node's id.
        NODES = "nodes" Map, optional;
    }
    /// The epochs of a catalogue.
    history {
        /// Those that the registry keeps, oldest first: an `epoch` each.
        EPOCHS = "epochs" Array;
        /// The epoch of each node that has announced one in the last hour, under the node's id.
        NODES = "nodes" Map;
    }
    /// An epoch of a catalogue that its registry keeps.
    epoch {
        /// The epoch.
        EPOCH = "epoch" Uint;
        /// What it has changed, or for the oldest one all that there was: a `change` each.
        CHANGES = "changes" Array;
    }
    /// A change of one entry.
    change {
        /// The tasklet's name within the namespace.
        NAME = "name" Text;
        /// The sequence number of its version since then.
        VERSION = "version" Uint;
        /// Whether it was withdrawn.
        WITHDRAWN = "withdrawn" Bool;
    }
    /// The changes of a publication.
    published {
        /// The epoch that the namespace is at.
        EPOCH = "epoch" Uint;
        /// Entries that are new or changed.
        ENTRIES = "entries" Uint;
        /// Modules that are new.
        MODULES = "modules" Uint;
        /// Whether the namespace was claimed for the publication's key.
        CLAIMED = "claimed" Bool;
    }
    /// A node's status. Boards have a part of these keys.
    status {
        /// The node's id.
        ID = "id" Uint;
        /// Milliseconds since its start.
        UPTIME_MS = "uptime_ms" Uint, optional;
        /// Jobs that run or wait.
        JOBS = "jobs" Uint, optional;
        /// Nodes in direct reach.
        NEIGHBOURS = "neighbours" Uint, optional;
        /// Bytes of modules in the cache.
        CACHE_USED = "cache_used" Uint, optional;
        /// Bytes that the cache may hold.
        CACHE_BYTES = "cache_bytes" Uint, optional;
        /// Modules that were evicted from the cache.
        EVICTED = "evicted" Uint, optional;
        /// Calls from outside.
        CALLS = "calls" Uint;
        /// Calls that gave results.
        COMPLETED = "completed" Uint;
        /// Calls that failed.
        FAILED = "failed" Uint;
        /// Acquisitions from the own cache.
        ACQUIRED_LOCAL = "acquired_local" Uint, optional;
        /// Acquisitions from neighbours.
        ACQUIRED_NEIGHBOUR = "acquired_neighbour" Uint, optional;
        /// Acquisitions from nodes further away.
        ACQUIRED_GLOBAL = "acquired_global" Uint, optional;
        /// Acquisitions from registries.
        ACQUIRED_REGISTRY = "acquired_registry" Uint, optional;
        /// Acquisitions that failed.
        NOT_ACQUIRED = "not_acquired" Uint, optional;
        /// Modules whose digest or size was not that of the catalogue.
        DIGEST_MISMATCHES = "digest_mismatches" Uint, optional;
        /// Catalogues whose signature was wrong.
        BAD_SIGNATURES = "bad_signatures" Uint, optional;
        /// What others said of catalogues and cannot be, unless a registry has lost something.
        CONTRADICTIONS = "contradictions" Uint, optional;
        /// Transfers that another holder continued.
        RESUMED_TRANSFERS = "resumed_transfers" Uint, optional;
        /// Jobs that moved to other nodes.
        MOVED_OUT = "moved_out" Uint, optional;
        /// Jobs that came from other nodes.
        MOVED_IN = "moved_in" Uint, optional;
        /// Calls of this node that placement has sent to others.
        PLACED = "placed" Uint, optional;
        /// Calls of other nodes that placement has passed on.
        PASSED = "passed" Uint, optional;
        /// Results of calls with numbers that are kept for their clients.
        RESULTS = "results" Uint, optional;
        /// Results given to other nodes, where their clients had gone.
        HANDED_OVER = "handed_over" Uint, optional;
        /// Jobs of other nodes that were refused.
        MOVES_REFUSED = "moves_refused" Uint, optional;
        /// Moves that were begun here and failed.
        MOVES_FAILED = "moves_failed" Uint, optional;
        /// Bytes of frames sent, on all links.
        TX_BYTES = "tx_bytes" Uint;
        /// Bytes of frames received, on all links.
        RX_BYTES = "rx_bytes" Uint;
        /// Requests by CoAP.
        COAP_REQUESTS = "coap_requests" Uint, optional;
        /// CoAP messages that were repetitions.
        COAP_REPEATED = "coap_repeated" Uint, optional;
        /// Frames dropped that are not of this protocol.
        MALFORMED = "malformed" Uint, optional;
        /// Frames dropped that were seen before.
        DUPLICATE = "duplicate" Uint, optional;
        /// Frames dropped that are for another node.
        NOT_FOR_US = "not_for_us" Uint, optional;
        /// Frames dropped that are too long for their link.
        TOO_LONG = "too_long" Uint, optional;
        /// Frames dropped because too many wait.
        QUEUE_FULL = "queue_full" Uint, optional;
        /// Frames dropped because their TTL was used up.
        TTL_EXCEEDED = "ttl_exceeded" Uint, optional;
        /// Answers dropped that nobody waits for.
        UNEXPECTED = "unexpected" Uint, optional;
        /// Outcomes dropped whose activation has ended.
        STALE_OUTCOME = "stale_outcome" Uint, optional;
        /// Frames dropped because another node with this node's id sent them.
        OWN_ID = "own_id" Uint, optional;
        /// Frames dropped because more floods, or nodes, come than this one takes at a time.
        LIMITED = "limited" Uint, optional;
        /// Frames dropped because their sender does not hear this node.
        DEAF = "deaf" Uint, optional;
        /// The epoch of each catalogue held, under the namespace's name.
        EPOCHS = "epochs" Map, optional;
        /// Links, in the order of their numbers: a `link` each.
        LINKS = "links" Array, optional;
        /// The newest crashes that nodes have reported: a `crash` each.
        CRASHES = "crashes" Array, optional;
        /// Why a registry serves what it has and takes no publications.
        DEGRADED = "degraded" Text, optional;
        /// True while the node gives its jobs away and takes no new ones.
        DRAINING = "draining" Bool, optional;
    }
    /// A link's status.
    link {
        /// Its kind, such as `udp` or `serial`.
        KIND = "kind" Text;
        /// Its device or address.
        NAME = "name" Text;
        /// Whether the link can send.
        UP = "up" Bool;
        /// Bytes of frames sent, without the link's own framing.
        TX_BYTES = "tx_bytes" Uint;
        /// Bytes of frames received, without the link's own framing.
        RX_BYTES = "rx_bytes" Uint;
        /// Frames sent.
        TX_FRAMES = "tx_frames" Uint;
        /// Frames received.
        RX_FRAMES = "rx_frames" Uint;
        /// Units received that were no frames.
        DAMAGED = "damaged" Uint;
        /// Frames that were dropped instead of sent.
        DROPPED = "dropped" Uint;
        /// Frames from senders that are no neighbours.
        STRANGERS = "strangers" Uint;
    }
    /// How a node's program crashed.
    crash {
        /// The node's id.
        NODE = "node" Uint;
        /// `panic`, `fault`, `interpreter-lost` or `watchdog`.
        CAUSE = "cause" Text;
        /// The core on which it crashed.
        CORE = "core" Uint;
        /// Milliseconds from the program's start to its end.
        UPTIME_MS = "uptime_ms" Uint;
        /// Addresses in its image: of the crash and of its callers.
        ADDRESSES = "addresses" Array;
        /// The message of the panic.
        TEXT = "text" Text;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_words_joined_by_underscores_and_unique_in_their_document() {
        for (document, keys) in DOCUMENTS {
            for (at, key) in keys.iter().enumerate() {
                let good = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
                assert!(key.name.bytes().all(good), "{document}: {}", key.name);
                let known = keys[..at].iter().any(|other| other.name == key.name);
                assert!(!known, "{document}: {} twice", key.name);
            }
        }
    }
}
