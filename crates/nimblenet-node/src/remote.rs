//! A client of nodes and registries: calls, publishes, lists and pulls over CoAP.

mod publishing;
mod summary;

use alloc::collections::BTreeMap;
use core::fmt::{self, Write as _};
use core::time::Duration;
use std::io;

use minicbor::Decoder;
use nimblenet_core::publication::BadPackages;
use nimblenet_core::{BadDelta, Catalogue, CatalogueLimits, Priority};
use nimblenet_tasklet::api::{Problem, Resource, failure, query};
use nimblenet_tasklet::compression::expand;
use nimblenet_tasklet::{Delta, Digest, Entry, Name, NodeId, Place, TaskletName};
use tokio::net::ToSocketAddrs;
use tokio::time::Instant;

use crate::coap::{Client, ClientError, Code, Format, Request, Response, Timers};
use crate::flow::Plan;
use crate::key::PublicKey;

pub use self::publishing::{Form, History, PublishReport, Stopped};
pub use self::summary::{
    FlowList, FlowSummary, ItemSummary, JobSummary, LineSummary, ModuleSummary, NamespaceSummary,
    OperatorSummary, StatusSummary, TriggerList, TriggerSummary,
};

/// A node or registry at a CoAP address.
#[derive(Debug)]
pub struct Remote {
    client: Client,
    /// The epoch to which publications lead at least.
    at_least: Option<u32>,
}

/// How a tasklet is called.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct CallOptions<'a> {
    /// The export; if none, `run`.
    pub export: Option<&'a str>,
    /// The node of the mesh that runs it; if none, the one that is asked.
    pub at: Option<NodeId>,
    /// Whether the answer says where the tasklets came from.
    pub explain: bool,
    /// Whether the answer has the lines that the tasklets have written to the log.
    pub logs: bool,
    /// The number of the client that calls, by which a node tells clients apart.
    pub client: Option<u32>,
    /// The client's number for the call, by which it asks for the result later.
    pub number: Option<u32>,
    /// How urgent it is.
    pub priority: Priority,
    /// How long it may take; as long as the node's configuration says if there is none.
    pub deadline: Option<Duration>,
}

/// How often a request is made anew whose body has not come whole.
const BEGINNINGS: usize = 3;
/// The most bytes of a compressed module when it is expanded.
const PLAIN_BYTES_MAX: usize = 1 << 16;

impl Remote {
    /// The node or registry at `address`; nothing is sent yet. Each request may take `patience`,
    /// its answer included.
    ///
    /// # Errors
    /// If the address cannot be resolved.
    pub async fn connect(address: impl ToSocketAddrs, patience: Duration) -> io::Result<Self> {
        let client = Client::connect(address, Timers::NEAR, patience).await?;
        Ok(Self {
            client,
            at_least: None,
        })
    }

    /// Ends every request at `deadline`, even if its patience is not over.
    pub fn end_by(&mut self, deadline: Instant) {
        self.client.end_by(deadline);
    }

    /// Calls a tasklet; the answer is the CBOR array of results, or with `explain` or `logs` the
    /// document `explained` (spec/api.md, section 3).
    ///
    /// # Errors
    /// [`RemoteError`], with the fault's code if the call failed.
    pub async fn call(
        &mut self,
        name: &TaskletName,
        args: &[u8],
        options: CallOptions<'_>,
    ) -> Result<Vec<u8>, RemoteError> {
        let CallOptions {
            export,
            at,
            explain,
            logs,
            client,
            number,
            priority,
            deadline,
        } = options;
        let path = [name.namespace.as_str(), name.name.as_str()];
        let mut request = ask(Resource::Call, &path);
        let export = export.map(|export| format!("{}={export}", query::EXPORT));
        request.query.extend(export);
        let at = at.map(|at| format!("{}={at}", query::AT));
        request.query.extend(at);
        let explain = explain.then(|| query::EXPLAIN.to_owned());
        request.query.extend(explain);
        request.query.extend(logs.then(|| query::LOGS.to_owned()));
        let client = client.map(|client| format!("{}={client}", query::CLIENT));
        request.query.extend(client);
        let number = number.map(|number| format!("{}={number}", query::NUMBER));
        request.query.extend(number);
        let urgent = (priority != Priority::Normal).then(|| priority.name());
        let urgent = urgent.map(|name| format!("{}={name}", query::PRIORITY));
        request.query.extend(urgent);
        let deadline = deadline.map(|time| format!("{}={}", query::DEADLINE, time.as_millis()));
        request.query.extend(deadline);
        request.format = Some(Format::CBOR);
        request.payload = args.to_vec();
        Ok(self.request(&request).await?.payload)
    }

    /// The result of the call of a tasklet that the client with the first number has made, with the second
    /// one, at the node `at` of the mesh; at this one if there is none. Waits until the call has ended.
    ///
    /// # Errors
    /// [`RemoteError`]: of the call, if it failed.
    pub async fn claim(
        &mut self,
        name: &TaskletName,
        at: Option<NodeId>,
        (client, number): (u32, u32),
    ) -> Result<Vec<u8>, RemoteError> {
        let path = [name.namespace.as_str(), name.name.as_str()];
        let mut request = ask(Resource::Claim, &path);
        let at = at.map(|at| format!("{}={at}", query::AT));
        request.query.extend(at);
        request.query.push(format!("{}={client}", query::CLIENT));
        request.query.push(format!("{}={number}", query::NUMBER));
        Ok(self.request(&request).await?.payload)
    }

    /// Cancels the call of a tasklet that the client with the first number has made at the node with the second
    /// one. Whoever waits for its result hears that.
    ///
    /// # Errors
    /// [`RemoteError`], with the code `unknown-call` if it is not in progress there.
    pub async fn cancel(
        &mut self,
        name: &TaskletName,
        (client, number): (u32, u32),
    ) -> Result<(), RemoteError> {
        let path = [name.namespace.as_str(), name.name.as_str()];
        let mut request = ask(Resource::Cancel, &path);
        request.query.push(format!("{}={client}", query::CLIENT));
        request.query.push(format!("{}={number}", query::NUMBER));
        self.request(&request).await.map(drop)
    }

    /// Cancels the call in progress that has this number in the node's list, whoever has made it.
    ///
    /// # Errors
    /// [`RemoteError`], with the code `unknown-call` if it is not in progress there.
    pub async fn cancel_job(&mut self, call: u32) -> Result<(), RemoteError> {
        let request = ask(Resource::CancelJob, &[&call.to_string()]);
        self.request(&request).await.map(drop)
    }

    /// The calls in progress at the node.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn jobs(&mut self) -> Result<Vec<JobSummary>, RemoteError> {
        let request = ask(Resource::Jobs, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_jobs(&payload).ok_or(RemoteError::Malformed)
    }

    /// The modules in its cache.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn cache(&mut self) -> Result<Vec<ModuleSummary>, RemoteError> {
        let request = ask(Resource::Cache, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_cache(&payload).ok_or(RemoteError::Malformed)
    }

    /// Moves a call that is in progress at the node to another node of the mesh. Returns when it
    /// has moved or, if another node runs it for this one, when that node has agreed.
    ///
    /// # Errors
    /// [`RemoteError`], with the fault's code if the call goes on where it was.
    pub async fn move_call(&mut self, call: u32, to: NodeId) -> Result<(), RemoteError> {
        let mut request = ask(Resource::Move, &[&call.to_string()]);
        request.query = vec![format!("{}={to}", query::TO)];
        self.request(&request).await.map(drop)
    }

    /// Has the node give its jobs to its neighbours and take no new ones, or, if not `drains`, keep them
    /// again. Returns at once.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn drain(&mut self, drains: bool) -> Result<(), RemoteError> {
        let mut request = ask(Resource::Drain, &[]);
        request.query = (!drains)
            .then(|| query::END.to_owned())
            .into_iter()
            .collect();
        self.request(&request).await.map(drop)
    }

    /// The newest lines that tasklets have written to its log, after number `from`.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn lines(&mut self, from: u64) -> Result<Vec<LineSummary>, RemoteError> {
        let mut request = ask(Resource::Logs, &[]);
        request.query = vec![format!("{}={from}", query::FROM)];
        let payload = self.request(&request).await?.payload;
        let lines = summary::read_lines(&mut Decoder::new(&payload));
        lines.ok_or(RemoteError::Malformed)
    }

    /// What it has seen of its clients after trigger number `from`, and of the mesh.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn triggers(&mut self, from: u64) -> Result<TriggerList, RemoteError> {
        let mut request = ask(Resource::Triggers, &[]);
        request.query = vec![format!("{}={from}", query::FROM)];
        let payload = self.request(&request).await?.payload;
        summary::read_triggers(&payload).ok_or(RemoteError::Malformed)
    }

    /// Begins a flow at the node or, if it is the plan's sink, ends it there. The plan that the node has
    /// already changes nothing.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn begin_flow(&mut self, name: &Name, plan: &Plan) -> Result<(), RemoteError> {
        let mut request = ask(Resource::BeginFlow, &[name.as_str()]);
        request.format = Some(Format::CBOR);
        request.payload = plan.write();
        self.request(&request).await.map(drop)
    }

    /// Ends a flow at the node.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn end_flow(&mut self, name: &Name) -> Result<(), RemoteError> {
        let request = ask(Resource::EndFlow, &[name.as_str()]);
        self.request(&request).await.map(drop)
    }

    /// Gives an item, one CBOR value, to a flow that begins at the node.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn give_item(&mut self, name: &Name, value: &[u8]) -> Result<(), RemoteError> {
        let mut request = ask(Resource::Give, &[name.as_str()]);
        request.format = Some(Format::CBOR);
        request.payload = value.to_vec();
        self.request(&request).await.map(drop)
    }

    /// The flows of the node, and what its operators have done.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn flows(&mut self) -> Result<FlowList, RemoteError> {
        let request = ask(Resource::Flows, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_flows(&payload).ok_or(RemoteError::Malformed)
    }

    /// Items that have arrived of a flow that ends at the node, after item number `from`, oldest first: as
    /// many as it lists at a time.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn items(&mut self, name: &Name, from: u64) -> Result<Vec<ItemSummary>, RemoteError> {
        let mut request = ask(Resource::Items, &[name.as_str()]);
        request.query = vec![format!("{}={from}", query::FROM)];
        let payload = self.request(&request).await?.payload;
        summary::read_items(&payload).ok_or(RemoteError::Malformed)
    }

    /// The numbers of a node or registry, by the keys of its status.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn numbers(&mut self) -> Result<BTreeMap<String, u64>, RemoteError> {
        self.status().await.map(|status| status.numbers)
    }

    /// The status of a node or registry.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn status(&mut self) -> Result<StatusSummary, RemoteError> {
        let request = ask(Resource::Status, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_status(payload).ok_or(RemoteError::Malformed)
    }

    /// The namespaces that it holds.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn namespaces(&mut self) -> Result<Vec<NamespaceSummary>, RemoteError> {
        let request = ask(Resource::Namespaces, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_namespaces(&payload).ok_or(RemoteError::Malformed)
    }

    /// A namespace's catalogue; empty if nothing was ever published. Its signature is not
    /// checked.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn catalogue(&mut self, namespace: &Name) -> Result<Catalogue, RemoteError> {
        self.fetch(namespace, None).await
    }

    /// A namespace's catalogue, if it is signed by `key`; empty if nothing was ever published.
    ///
    /// # Errors
    /// [`RemoteError`]; [`RemoteError::OtherKey`] if it is signed by another key.
    pub async fn signed_catalogue(
        &mut self,
        namespace: &Name,
        key: &PublicKey,
    ) -> Result<Catalogue, RemoteError> {
        self.fetch(namespace, Some(key)).await
    }

    /// The module with this digest, which is checked.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn module(&mut self, digest: &Digest) -> Result<Vec<u8>, RemoteError> {
        let request = ask(Resource::Module, &[&digest.to_string()]);
        let module = self.request(&request).await?.payload;
        if Digest::of(&module) == *digest {
            Ok(module)
        } else {
            Err(RemoteError::WrongDigest)
        }
    }

    /// The module of an entry of `catalogue` as it runs.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn expanded(
        &mut self,
        catalogue: &Catalogue,
        entry: &Entry<'_>,
    ) -> Result<Vec<u8>, RemoteError> {
        let module = self.module(&entry.digest).await?;
        let Some(compression) = entry.compression else {
            return Ok(module);
        };
        let dictionary = catalogue.entry(compression.dictionary);
        let dictionary = dictionary.ok_or(RemoteError::Malformed)?;
        let dictionary = self.module(&dictionary.digest).await?;
        let mut plain = vec![0; (compression.plain_bytes as usize).min(PLAIN_BYTES_MAX)];
        let expanded = expand(&module, &dictionary, &mut plain);
        expanded.map_err(|_| RemoteError::Malformed)?;
        Ok(plain)
    }

    async fn fetch(
        &mut self,
        namespace: &Name,
        key: Option<&PublicKey>,
    ) -> Result<Catalogue, RemoteError> {
        let empty = Catalogue::new(*namespace, CatalogueLimits::LARGE);
        let request = ask(Resource::Delta, &[namespace.as_str()]);
        let response = match self.request(&request).await {
            Ok(response) => response,
            Err(error) if error.code() == Problem::UnknownNamespace.code() => return Ok(empty),
            Err(error) => return Err(error),
        };
        if response.code == Code::VALID {
            return Ok(empty);
        }
        read_catalogue(namespace, &response.payload, key)
    }

    async fn request(&mut self, request: &Request) -> Result<Response, RemoteError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let response = self.client.request(request).await;
            let response = response.map_err(RemoteError::Client)?;
            if response.code.is_success() {
                return Ok(response);
            }
            let refused = refused(&response);
            // It has started anew, and has lost the first blocks: nothing has come of them.
            if attempt >= BEGINNINGS || refused.code() != Problem::Incomplete.code() {
                return Err(refused);
            }
        }
    }
}

/// The catalogue that a delta from nothing leads to, if `key` has signed it.
fn read_catalogue(
    namespace: &Name,
    delta: &[u8],
    key: Option<&PublicKey>,
) -> Result<Catalogue, RemoteError> {
    let mut catalogue = Catalogue::new(*namespace, CatalogueLimits::LARGE);
    let delta = Delta::decode(delta).map_err(|_| RemoteError::Malformed)?;
    let root = catalogue
        .root_after(&delta)
        .map_err(RemoteError::Catalogue)?;
    if key.is_some_and(|key| !key.verifies_root(&root, &delta.signature)) {
        return Err(RemoteError::OtherKey);
    }
    catalogue
        .apply(&delta, &root, false)
        .map_err(RemoteError::Catalogue)?;
    Ok(catalogue)
}

fn ask(resource: Resource, values: &[&str]) -> Request {
    Request::new(resource.method(), &resource.at(values).to_string())
}

fn refused(response: &Response) -> RemoteError {
    // A board may say less, and what comes after something unreadable is left out.
    let (mut code, mut message, mut tasklet) = (None, None, None);
    let (mut function, mut offset, mut lines) = (None, None, None);
    let mut decoder = Decoder::new(&response.payload);
    let fields = decoder.map().ok().flatten().unwrap_or(0);
    for _ in 0..fields {
        let read = match decoder.str() {
            Ok(failure::CODE) => decoder.str().map(|value| code = Some(value)),
            Ok(failure::MESSAGE) => decoder.str().map(|value| message = Some(value)),
            Ok(failure::TASKLET) => decoder.str().map(|value| tasklet = Some(value)),
            Ok(failure::FUNCTION) => decoder.u32().map(|value| function = Some(value)),
            Ok(failure::OFFSET) => decoder.u32().map(|value| offset = Some(value)),
            Ok(failure::LINES) => {
                lines = summary::read_lines(&mut decoder);
                Ok(())
            }
            Ok(_) => decoder.skip(),
            Err(error) => Err(error),
        };
        if read.is_err() {
            break;
        }
    }
    let tasklet = tasklet.and_then(|name| TaskletName::new(name).ok());
    let place = function.zip(offset);
    let place = place.and_then(|(function, offset)| Place::new(function, offset));
    RemoteError::Refused {
        response: response.code,
        code: code.unwrap_or("refused").into(),
        message: message.unwrap_or("no reason was given").into(),
        place: tasklet.zip(place).map(Box::new),
        lines: lines.unwrap_or_default().into(),
    }
}

/// Why a node or registry did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum RemoteError {
    /// The request did not succeed.
    Client(ClientError),
    /// No answer came to a publication, which may have happened or not.
    Unknown(ClientError),
    /// It refused the request.
    Refused {
        /// The response's code.
        response: Code,
        /// The stable code of the reason.
        code: Box<str>,
        /// The reason.
        message: Box<str>,
        /// The tasklet that failed, and where in its module, if the answer says so.
        place: Option<Box<(TaskletName, Place)>>,
        /// What the call's tasklets have written to the log, if that was asked for.
        lines: Box<[LineSummary]>,
    },
    /// The packages cannot be published together.
    Packages(BadPackages),
    /// The catalogue that it sent, or that would result, is not valid.
    Catalogue(BadDelta),
    /// The catalogue that it sent is not signed by the given key.
    OtherKey,
    /// The registry keeps no epoch before the present one.
    NothingBefore,
    /// There is nothing to publish, but a node holds a newer epoch than the registry, which has lost something.
    Behind {
        /// The node.
        node: NodeId,
        /// Its epoch.
        held: u32,
        /// The registry's.
        here: u32,
    },
    /// It is a node and no registry.
    NotARegistry,
    /// The module that it sent has another digest.
    WrongDigest,
    /// Its answer is not what the format says.
    Malformed,
}

impl RemoteError {
    /// The same with the name of the function where a tasklet failed in its words, if `name` knows
    /// it, instead of the function's index.
    #[must_use]
    pub fn named<'n>(mut self, name: impl FnOnce(&TaskletName, u32) -> Option<&'n str>) -> Self {
        if let Self::Refused {
            message,
            place: Some(failed),
            ..
        } = &mut self
            && let (tasklet, place) = &**failed
            && let Some(name) = name(tasklet, place.function())
        {
            *message = summary::named(message, *place, name).into();
        }
        self
    }

    /// What the call's tasklets have written to the log, if that was asked for.
    pub fn lines(&self) -> &[LineSummary] {
        match self {
            Self::Refused { lines, .. } => lines,
            Self::Client(_)
            | Self::Unknown(_)
            | Self::Packages(_)
            | Self::Catalogue(_)
            | Self::OtherKey
            | Self::NothingBefore
            | Self::Behind { .. }
            | Self::NotARegistry
            | Self::WrongDigest
            | Self::Malformed => &[],
        }
    }

    /// The stable code: lower-case words joined by hyphens.
    pub fn code(&self) -> &str {
        match self {
            Self::Client(error) => error.code(),
            Self::Unknown(_) => "outcome-unknown",
            Self::Refused { code, .. } => code,
            Self::Packages(error) => error.code(),
            Self::Catalogue(_) => Problem::BadCatalogue.code(),
            Self::OtherKey => Problem::UnknownKey.code(),
            Self::NothingBefore => Problem::UnknownEpoch.code(),
            Self::Behind { .. } => Problem::RegistryBehind.code(),
            Self::NotARegistry => Problem::NotARegistry.code(),
            Self::WrongDigest => Problem::DigestMismatch.code(),
            Self::Malformed => Problem::Malformed.code(),
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.code())?;
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Unknown(error) => write!(
                f,
                "{error}; it may have been published or not: the same command again finds out"
            ),
            // A peer's message reaches a terminal: escape its control characters.
            Self::Refused { message, .. } => message.chars().try_for_each(|c| match c {
                c if c.is_control() => write!(f, "{}", c.escape_debug()),
                c => f.write_char(c),
            }),
            Self::Packages(error) => error.fmt(f),
            Self::Catalogue(error) => error.fmt(f),
            Self::OtherKey => f.write_str("the namespace belongs to another key: `nimblenet ls --json` shows which one, and `nimblenet keygen \
                 --show FILE` the public half of yours"),
            Self::NothingBefore => {
                f.write_str("the registry keeps no epoch before the present one")
            }
            Self::Behind { node, held, here } => write!(
                f,
                "nothing is new for the registry, which is at epoch {here}; but node {node} holds epoch {held}: \
                 the registry has lost something, and nodes go by what they hold; publish with \
                 --epoch-at-least {}",
                held.saturating_add(1)
            ),
            Self::NotARegistry => f.write_str(
                "this is a node, which takes no publications; give the address of the registry",
            ),
            Self::WrongDigest => f.write_str("the module was damaged on its way; try again"),
            Self::Malformed => f.write_str("the answer is not what it should be"),
        }
    }
}

impl core::error::Error for RemoteError {}
