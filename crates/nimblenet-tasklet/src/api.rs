//! The interface of a node to its clients, whatever protocol carries it (spec/api.md): the names of
//! resources and queries, the status of each answer, and the keys of documents.
//!
//! Daemons, boards and clients take these names from here. Resources are a [`Resource`] each, and
//! each document has a module with a constant for each of its keys.

mod document;

use core::fmt;

use crate::Fault;

pub use document::{
    DOCUMENTS, Key, Value, change, crash, epoch, explained, failure, flow, flows, history, item,
    job, line, link, module, namespace, operator, plan, published, stage, status, step, trigger,
    triggers,
};

/// What a request does with a resource. The numbers are those of CoAP (RFC 7252 section 12.1.1).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Method {
    /// Read.
    Get = 1,
    /// Run.
    Post = 2,
    /// Write.
    Put = 3,
    /// Remove.
    Delete = 4,
}

impl Method {
    /// The method with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Get),
            2 => Some(Self::Post),
            3 => Some(Self::Put),
            4 => Some(Self::Delete),
            _ => None,
        }
    }

    /// The method's name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// The fixed segments of paths.
pub mod segment {
    /// Tasklets, each below its namespace.
    pub const TASKLETS: &str = "t";
    /// Calls in progress.
    pub const JOBS: &str = "jobs";
    /// Modules in the cache.
    pub const CACHE: &str = "cache";
    /// Lines that tasklets have written.
    pub const LOGS: &str = "logs";
    /// Calls that clients have made.
    pub const TRIGGERS: &str = "triggers";
    /// Whether a node gives its jobs away.
    pub const DRAIN: &str = "drain";
    /// Flows that begin or end at a node.
    pub const FLOWS: &str = "flows";
    /// Namespaces and their catalogues.
    pub const NAMESPACES: &str = "r";
    /// The epochs of a catalogue, below its namespace.
    pub const HISTORY: &str = "history";
    /// Modules.
    pub const MODULES: &str = "m";
    /// The status of a node.
    pub const STATUS: &str = "status";
    /// Where discovery begins (RFC 8615).
    pub const WELL_KNOWN: &str = ".well-known";
    /// The list of resources (RFC 6690 section 4).
    pub const CORE: &str = "core";
}

/// The names of queries.
pub mod query {
    /// The export to call; `run` without it.
    pub const EXPORT: &str = "x";
    /// The node of the mesh that is to run a call.
    pub const AT: &str = "at";
    /// Whether the answer to a call explains it.
    pub const EXPLAIN: &str = "explain";
    /// Whether the answer to a call has the lines that its tasklets have written to the log.
    pub const LOGS: &str = "logs";
    /// The number of the client that calls.
    pub const CLIENT: &str = "client";
    /// The number of a call, by which its client asks for the result later.
    pub const NUMBER: &str = "number";
    /// How urgent a call is.
    pub const PRIORITY: &str = "priority";
    /// How long a call may take, in milliseconds.
    pub const DEADLINE: &str = "deadline";
    /// The node that a call moves to.
    pub const TO: &str = "to";
    /// The kind of the resources that are listed.
    pub const RT: &str = "rt";
    /// The path of the resources that are listed.
    pub const HREF: &str = "href";
    /// The epoch, or the number of a line, trigger or item, after which changes are wanted; 0 without
    /// it.
    pub const FROM: &str = "from";
    /// The public key that a publication is signed by, in hexadecimal digits.
    pub const KEY: &str = "key";
    /// Whether a node keeps its jobs again.
    pub const END: &str = "end";
    /// Whether a publication is taken although nodes hold a newer epoch.
    pub const ANYWAY: &str = "anyway";
}

/// A segment of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Segment {
    /// This fixed word.
    Is(&'static str),
    /// Any word; this is the name of the segment, in capitals.
    Any(&'static str),
}

/// Declares the resources, one for each method and path.
macro_rules! resources {
    ($($(#[doc = $doc:literal])+ $name:ident = $method:ident [$($kind:ident($word:expr)),+] [$($query:expr),*],)+) => {
        /// A request that a node can serve: a method on a path.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Resource { $($(#[doc = $doc])+ $name,)+ }

        impl Resource {
            /// Every resource.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its method.
            pub const fn method(self) -> Method {
                match self { $(Self::$name => Method::$method,)+ }
            }

            /// The segments of its path.
            pub const fn path(self) -> &'static [Segment] {
                match self { $(Self::$name => &[$(Segment::$kind($word)),+],)+ }
            }

            /// The queries that it understands. Others are ignored.
            pub const fn queries(self) -> &'static [&'static str] {
                match self { $(Self::$name => &[$($query),*],)+ }
            }
        }
    };
}

resources! {
    /// Runs a tasklet.
    Call = Post [Is(segment::TASKLETS), Any("NS"), Any("NAME")] [query::EXPORT, query::AT, query::EXPLAIN, query::LOGS, query::CLIENT, query::NUMBER, query::PRIORITY, query::DEADLINE],
    /// Returns the result of a call that a client has made, here or at another node.
    Claim = Get [Is(segment::TASKLETS), Any("NS"), Any("NAME")] [query::AT, query::CLIENT, query::NUMBER],
    /// Cancels a call that a client has made here.
    Cancel = Delete [Is(segment::TASKLETS), Any("NS"), Any("NAME")] [query::CLIENT, query::NUMBER],
    /// Lists the resources.
    Discovery = Get [Is(segment::WELL_KNOWN), Is(segment::CORE)] [query::RT, query::HREF],
    /// Returns a node's status.
    Status = Get [Is(segment::STATUS)] [],
    /// Lists the calls in progress.
    Jobs = Get [Is(segment::JOBS)] [],
    /// Returns the progress of a call, or its end.
    Job = Get [Is(segment::JOBS), Any("CALL")] [],
    /// Cancels a call in progress, whoever has made it.
    CancelJob = Delete [Is(segment::JOBS), Any("CALL")] [],
    /// Lists the modules in the cache.
    Cache = Get [Is(segment::CACHE)] [],
    /// Lists the newest lines that tasklets have written to the log.
    Logs = Get [Is(segment::LOGS)] [query::FROM],
    /// Lists the newest calls that clients have made.
    Triggers = Get [Is(segment::TRIGGERS)] [query::FROM],
    /// Moves a call in progress to another node.
    Move = Post [Is(segment::JOBS), Any("CALL")] [query::TO],
    /// Has the node give its jobs to its neighbours and take no new ones.
    Drain = Post [Is(segment::DRAIN)] [query::END],
    /// Lists the flows of a node and the operators that it applies.
    Flows = Get [Is(segment::FLOWS)] [],
    /// Begins a flow at a node: at its sink it ends there, at every other node it begins there.
    BeginFlow = Put [Is(segment::FLOWS), Any("NAME")] [],
    /// Lists the newest items that have arrived at the sink of a flow.
    Items = Get [Is(segment::FLOWS), Any("NAME")] [query::FROM],
    /// Gives an item to a source of a flow.
    Give = Post [Is(segment::FLOWS), Any("NAME")] [],
    /// Ends a flow at a node.
    EndFlow = Delete [Is(segment::FLOWS), Any("NAME")] [],
    /// Lists the namespaces.
    Namespaces = Get [Is(segment::NAMESPACES)] [],
    /// Returns a catalogue's changes since an epoch.
    Delta = Get [Is(segment::NAMESPACES), Any("NS")] [query::FROM],
    /// Lists the epochs of a catalogue that its registry keeps.
    History = Get [Is(segment::NAMESPACES), Any("NS"), Is(segment::HISTORY)] [],
    /// Returns a catalogue as it was at an epoch.
    Past = Get [Is(segment::NAMESPACES), Any("NS"), Is(segment::HISTORY), Any("EPOCH")] [],
    /// Publishes a catalogue's next epoch.
    Publish = Put [Is(segment::NAMESPACES), Any("NS")] [query::KEY, query::ANYWAY],
    /// Returns a module.
    Module = Get [Is(segment::MODULES), Any("DIGEST")] [],
    /// Uploads a module, which waits for its publication.
    Stage = Put [Is(segment::MODULES), Any("DIGEST")] [],
}

impl Resource {
    /// The resource that `method` and `path` name.
    ///
    /// # Errors
    /// [`Problem::UnknownResource`] if there is nothing at the path, and
    /// [`Problem::MethodNotAllowed`] if what is there has no such method.
    pub fn find(method: Method, path: &[&str]) -> Result<Self, Problem> {
        let mut problem = Problem::UnknownResource;
        for resource in Self::ALL.iter().filter(|resource| resource.is_at(path)) {
            if resource.method() == method {
                return Ok(*resource);
            }
            problem = Problem::MethodNotAllowed;
        }
        Err(problem)
    }

    /// The path without a slash at its start. The `values` replace the segments that match any
    /// word, in their order.
    pub const fn at<'v>(self, values: &'v [&'v str]) -> Path<'v> {
        Path {
            segments: self.path(),
            values,
        }
    }

    fn is_at(self, path: &[&str]) -> bool {
        let expected = self.path();
        let fits = |(expected, word): (&Segment, &&str)| match expected {
            Segment::Is(expected) => expected == word,
            Segment::Any(_) => true,
        };
        expected.len() == path.len() && expected.iter().zip(path).all(fits)
    }
}

/// A path of a resource, for display.
#[derive(Clone, Copy, Debug)]
pub struct Path<'v> {
    segments: &'static [Segment],
    values: &'v [&'v str],
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut values = self.values.iter();
        for (at, segment) in self.segments.iter().enumerate() {
            let slash = if at == 0 { "" } else { "/" };
            let word = match segment {
                Segment::Is(word) => word,
                Segment::Any(what) => values.next().unwrap_or(what),
            };
            write!(f, "{slash}{word}")?;
        }
        Ok(())
    }
}

/// The result of a request. The numbers are those of CoAP: class and detail, in three and five bits
/// (RFC 7252 section 12.1.2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Status {
    /// What the request names is gone.
    Deleted = number(2, 2),
    /// The client has the newest state.
    Valid = number(2, 3),
    /// The node has done what was asked, and something has changed.
    Changed = number(2, 4),
    /// The answer has the content that was asked for.
    Content = number(2, 5),
    /// The request is malformed.
    BadRequest = number(4, 0),
    /// The request has an option that is not understood.
    BadOption = number(4, 2),
    /// The client has no right to do this.
    Forbidden = number(4, 3),
    /// The node does not have what was asked for.
    NotFound = number(4, 4),
    /// The resource has no such method.
    MethodNotAllowed = number(4, 5),
    /// The answer has no such format.
    NotAcceptable = number(4, 6),
    /// Parts of the body are missing.
    Incomplete = number(4, 8),
    /// The request contradicts the node's present state.
    Conflict = number(4, 9),
    /// A body or a value is too long.
    TooLarge = number(4, 13),
    /// The body has a format that is not understood.
    UnsupportedFormat = number(4, 15),
    /// The body is well formed but cannot be used.
    Unprocessable = number(4, 22),
    /// The call failed.
    Internal = number(5, 0),
    /// The node cannot do this now, but perhaps later.
    Unavailable = number(5, 3),
    /// The request took too long.
    GatewayTimeout = number(5, 4),
}

const fn number(class: u8, detail: u8) -> u8 {
    class << 5 | detail
}

impl Status {
    /// The status of the answer to a call that failed.
    pub const fn of(fault: Fault) -> Self {
        match fault {
            Fault::UnknownNamespace
            | Fault::UnknownTasklet
            | Fault::UnknownExport
            | Fault::UnknownCall => Self::NotFound,
            Fault::WrongArguments => Self::BadRequest,
            Fault::ValuesTooLarge | Fault::TooLarge => Self::TooLarge,
            Fault::Busy
            | Fault::Unreachable
            | Fault::NoCatalogue
            | Fault::CacheFull
            | Fault::NoMemory
            | Fault::Stopped
            | Fault::TooLate => Self::Unavailable,
            Fault::Deadline => Self::GatewayTimeout,
            Fault::Cancelled => Self::Conflict,
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
            | Fault::TooManyCalls => Self::Internal,
        }
    }

    /// Its number in CoAP.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// As CoAP writes it, such as 4.04.
impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.number() >> 5, self.number() & 31)
    }
}

/// Declares why requests fail, apart from calls: each problem has a status and a code.
macro_rules! problems {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:ident $code:literal,)+) => {
        /// Why a request is refused, if not because a call failed. Codes never change.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Problem { $($(#[doc = $doc])+ $name,)+ }

        impl Problem {
            /// Every problem.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The stable code: lower-case words joined by hyphens.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// What it means, in one sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+),)+ }
            }

            /// The status of the answer.
            pub const fn status(self) -> Status {
                match self { $(Self::$name => Status::$status,)+ }
            }
        }
    };
}

problems! {
    /// A name, number or query is not what it should be.
    BadRequest = BadRequest "bad-request",
    /// An option of the message is not understood.
    BadOption = BadOption "bad-option",
    /// There is no such resource.
    UnknownResource = NotFound "unknown-resource",
    /// The resource has no such method.
    MethodNotAllowed = MethodNotAllowed "method-not-allowed",
    /// The arguments of a call are in another format than CBOR.
    UnsupportedFormat = UnsupportedFormat "unsupported-format",
    /// The answer is wanted in a format that it does not have.
    NotAcceptable = NotAcceptable "not-acceptable",
    /// Parts of the body are missing.
    Incomplete = Incomplete "incomplete",
    /// Too many requests or bodies are under way; nothing was run.
    Overloaded = Unavailable "overloaded",
    /// No such module is published here.
    UnknownModule = NotFound "unknown-module",
    /// Only registries take publications.
    NotARegistry = NotFound "not-a-registry",
    /// A registry runs no tasklets.
    NotANode = NotFound "not-a-node",
    /// The plan of a flow is not what the format says.
    BadPlan = BadRequest "bad-plan",
    /// A flow has four operators at most.
    TooManyStages = BadRequest "too-many-stages",
    /// The inputs of an operator are none, or more than one of a map or a filter, or too many for the items that the source keeps.
    BadCount = BadRequest "bad-count",
    /// The period of a source is zero.
    BadPeriod = BadRequest "bad-period",
    /// The node has as many flows as it may.
    TooManyFlows = Unavailable "too-many-flows",
    /// No such flow begins or ends at this node.
    UnknownFlow = NotFound "unknown-flow",
    /// Another flow of this node has the same short identifier.
    FlowClash = Conflict "flow-clash",
    /// A flow of this name with another plan begins or ends at this node.
    FlowDiffers = Conflict "flow-differs",
    /// An item is longer than the node keeps, or than a frame.
    ItemTooLong = TooLarge "item-too-long",
    /// An item is not one value that a tasklet can take.
    NotAValue = BadRequest "not-a-value",
    /// The source keeps as many items as it may, since the sink has not got them yet.
    FlowFull = Unavailable "flow-full",
    /// No catalogue of the namespace is here, or the registry is not for it.
    UnknownNamespace = NotFound "unknown-namespace",
    /// The registry does not keep this epoch.
    UnknownEpoch = NotFound "unknown-epoch",
    /// The registry is stopping.
    Stopped = Unavailable "stopped",
    /// The delta is not what the format says.
    Malformed = BadRequest "malformed",
    /// The delta is for another namespace than the path.
    OtherNamespace = BadRequest "other-namespace",
    /// The bytes do not have the digest in the path.
    DigestMismatch = BadRequest "digest-mismatch",
    /// The namespace belongs to another key.
    UnknownKey = Forbidden "unknown-key",
    /// The signature does not match the catalogue that would result.
    BadSignature = Forbidden "bad-signature",
    /// Another namespace has the same short identifier.
    NamespaceClash = Conflict "namespace-clash",
    /// The delta does not follow on the present epoch.
    StaleEpoch = Conflict "stale-epoch",
    /// Nodes hold a newer epoch, which the registry has lost.
    RegistryBehind = Conflict "registry-behind",
    /// The version is published, with other content.
    VersionExists = Conflict "version-exists",
    /// A sequence number is not its predecessor's plus one.
    SequenceGap = Conflict "sequence-gap",
    /// The module is over the registry's limit.
    TooLarge = TooLarge "too-large",
    /// The entries make no catalogue.
    BadCatalogue = Unprocessable "bad-catalogue",
    /// Two entries have one name.
    DuplicateName = Unprocessable "duplicate-name",
    /// An import names no published export with its signature.
    BadImport = Unprocessable "bad-import",
    /// A tasklet would be withdrawn that another one still calls.
    StillCalled = Conflict "still-called",
    /// A module was not uploaded.
    MissingModule = Unprocessable "missing-module",
    /// A module has another size than its entry says.
    WrongSize = Unprocessable "wrong-size",
    /// A module is not valid WebAssembly, or uses a feature that is off.
    InvalidModule = Unprocessable "invalid-module",
    /// A module cannot be expanded with the dictionary that it names, or a dictionary would change.
    BadCompression = Unprocessable "bad-compression",
    /// The registry has no room for more.
    RegistryFull = Unavailable "registry-full",
    /// The registry's disk is full or fails; nothing has changed.
    StorageFailed = Unavailable "storage-failed",
    /// After a failure of the disk, what is there is not what was published.
    StorageDamaged = Unavailable "storage-damaged",
}

impl Problem {
    /// What the client or the node's operator can do about it, in one clause.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::BadRequest | Self::BadOption | Self::UnknownResource | Self::MethodNotAllowed => {
                "compare the request with spec/api.md"
            }
            Self::UnsupportedFormat => "send the arguments as CBOR (format 60)",
            Self::NotAcceptable => "accept the format that the answer has, or leave the option out",
            Self::Incomplete => "send the missing blocks, or begin at the first",
            Self::Overloaded => "try again after the seconds of Max-Age",
            Self::UnknownModule => "look the digest up with `nimblenet ls --json`",
            Self::NotARegistry => "give the address of a registry",
            Self::NotANode => "give the address of a node",
            Self::BadPlan => "compare the flow with spec/api.md, or start it with `nimblenet flow`",
            Self::TooManyStages => "join operators into one tasklet",
            Self::BadCount => "make windows shorter, or raise the flow's `room`",
            Self::BadPeriod => "give a period of 1 ms or more",
            Self::TooManyFlows => "end a flow that `nimblenet flow list` shows",
            Self::UnknownFlow => {
                "start it with `nimblenet flow start`, or look its name up with `nimblenet flow list`"
            }
            Self::FlowClash => "choose another name for the flow",
            Self::FlowDiffers => {
                "end it with `nimblenet flow stop` and the file that began it, or choose another name"
            }
            Self::ItemTooLong => "give shorter items",
            Self::NotAValue => "give a number, a bool, a text, or a list of numbers or bools",
            Self::FlowFull => {
                "try again later, and look with `nimblenet flow show` whether the sink answers"
            }
            Self::UnknownNamespace => "add the namespace to the configuration, or look its name up",
            Self::UnknownEpoch => "choose one that `nimblenet history` lists",
            Self::Stopped => "try again once the registry is back",
            Self::Malformed | Self::OtherNamespace => "publish with a tool of the same version",
            Self::DigestMismatch => "try again",
            Self::UnknownKey => "sign with the key that the namespace belongs to",
            Self::BadSignature => "publish again",
            Self::NamespaceClash => "choose another name for the namespace",
            Self::StaleEpoch => "publish again: somebody else did so at the same time",
            Self::RegistryBehind => "publish with `--epoch-at-least`, as the message says",
            Self::VersionExists | Self::SequenceGap => "publish again; versions never change",
            Self::TooLarge => "raise the registry's `module_bytes`, or make the module smaller",
            Self::BadCatalogue | Self::DuplicateName => "publish fewer packages, each name once",
            Self::BadImport => {
                "publish the callee before or together, with that signature, or name its registry with `--also`"
            }
            Self::StillCalled => "withdraw the caller before or together",
            Self::MissingModule => "publish again",
            Self::WrongSize | Self::InvalidModule => "pack the module anew",
            Self::BadCompression => "publish again with `--plain`",
            Self::RegistryFull => "try again later, or raise the registry's `namespace_bytes`",
            Self::StorageFailed => "make room on the registry's disk, then publish again",
            Self::StorageDamaged => "look at the registry's disk and log",
        }
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;

    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_path_leads_to_the_resource_that_it_was_made_for() {
        for resource in Resource::ALL {
            let path = resource.at(&["one", "two"]).to_string();
            let words: Vec<&str> = path.split('/').collect();
            let found = Resource::find(resource.method(), &words);
            assert_eq!(found, Ok(*resource), "{path}");
            let others = Resource::ALL.iter().filter(|other| other.is_at(&words));
            let deletes = others
                .filter(|other| other.method() == Method::Delete)
                .count();
            let deleted = Resource::find(Method::Delete, &words);
            assert_eq!(deleted.is_ok(), deletes == 1, "{path}");
            assert!(deleted.is_ok() || deleted == Err(Problem::MethodNotAllowed));
        }
        for nothing in [&[][..], &["t"], &["t", "shop"], &["jobs", "1", "2"], &["x"]] {
            let found = Resource::find(Method::Get, nothing);
            assert_eq!(found, Err(Problem::UnknownResource), "{nothing:?}");
        }
    }

    #[test]
    fn a_code_stands_for_one_problem() {
        for (at, problem) in Problem::ALL.iter().enumerate() {
            let earlier = &Problem::ALL[..at];
            assert!(earlier.iter().all(|other| other.code() != problem.code()));
        }
    }
}
