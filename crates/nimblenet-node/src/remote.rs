//! A client of nodes and registries: calls, publishes, lists and pulls over CoAP.

mod summary;

use alloc::collections::BTreeMap;
use core::fmt::{self, Write as _};
use core::time::Duration;
use std::io;

use minicbor::Decoder;
use nimblenet_core::publication::{BadPackages, Publication, Travel, new_dictionary};
use nimblenet_core::{BadDelta, Catalogue, CatalogueLimits};
use nimblenet_tasklet::api::{Problem, Resource, failure, query};
use nimblenet_tasklet::compression::expand;
use nimblenet_tasklet::{Delta, Digest, Entry, Name, NodeId, Package, Place, TaskletName};
use tokio::net::ToSocketAddrs;
use tokio::time::Instant;

use crate::coap::{Client, ClientError, Code, Format, Request, Response, Timers};
use crate::key::{PublicKey, SigningKey};

pub use self::summary::{
    JobSummary, LineSummary, ModuleSummary, NamespaceSummary, TriggerList, TriggerSummary,
};

/// How often a publication is made anew when others publish at the same time.
const ATTEMPTS: usize = 5;
/// How often a publication is sent again when its answer is lost.
const REPEATS: usize = 2;

/// A node or registry at a CoAP address.
#[derive(Debug)]
pub struct Remote {
    client: Client,
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
}

/// How modules that are published travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// As they run.
    Plain,
    /// Compressed with the namespace's dictionary where that is shorter; a namespace without one gets
    /// one if it pays.
    Shortest,
}

/// The most bytes of a compressed module when it is expanded.
const PLAIN_BYTES_MAX: usize = 1 << 16;

/// What a publication has changed and uploaded, for one namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PublishReport {
    /// The namespace.
    pub namespace: Name,
    /// The epoch that it is at.
    pub epoch: u32,
    /// Entries that are new or changed.
    pub entries: usize,
    /// Packages that were published already as they are.
    pub unchanged: usize,
    /// Modules uploaded.
    pub modules: usize,
    /// Their bytes.
    pub module_bytes: usize,
    /// Bytes of the signed catalogue change.
    pub delta_bytes: usize,
    /// Whether this publication has claimed the namespace for its key.
    pub claimed: bool,
}

impl Remote {
    /// The node or registry at `address`; nothing is sent yet. Each request may take `patience`,
    /// its answer included.
    ///
    /// # Errors
    /// If the address cannot be resolved.
    pub async fn connect(address: impl ToSocketAddrs, patience: Duration) -> io::Result<Self> {
        let client = Client::connect(address, Timers::NEAR, patience).await?;
        Ok(Self { client })
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
        request.format = Some(Format::CBOR);
        request.payload = args.to_vec();
        Ok(self.request(&request).await?.payload)
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

    /// The numbers of a node or registry, by the keys of its status.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn numbers(&mut self) -> Result<BTreeMap<String, u64>, RemoteError> {
        let request = ask(Resource::Status, &[]);
        let payload = self.request(&request).await?.payload;
        summary::read_numbers(&payload).ok_or(RemoteError::Malformed)
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

    /// The dictionary to compress modules of a publication with; none if they travel as they run.
    async fn dictionary(
        &mut self,
        catalogue: &Catalogue,
        packages: &[Package<'_>],
        form: Form,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        match (form, catalogue.dictionary()) {
            (Form::Plain, _) => Ok(None),
            (Form::Shortest, Some(held)) => self.module(&held.digest).await.map(Some),
            (Form::Shortest, None) => Ok(new_dictionary(catalogue, packages)),
        }
    }

    /// Publishes packages, signed by `key`: the packages of a namespace together, and a namespace
    /// after those that it calls. Their modules travel in `form`. Looks names of other namespaces up at this registry first, then
    /// at `others`.
    ///
    /// # Errors
    /// [`Stopped`] names the namespace, and lists what was published before.
    pub async fn publish(
        &mut self,
        packages: &[Package<'_>],
        form: Form,
        key: &SigningKey,
        others: &mut [Self],
    ) -> Result<Vec<PublishReport>, Stopped> {
        let mut waiting: BTreeMap<Name, Vec<Package<'_>>> = BTreeMap::new();
        for package in packages {
            let group = waiting.entry(package.name.namespace).or_default();
            group.push(*package);
        }
        let mut published = Vec::new();
        while !waiting.is_empty() {
            // Take a namespace that calls none of those that still wait; in a circle, take any.
            let calls_waiting = |group: &[Package<'_>]| {
                let mut imports = group.iter().flat_map(Package::imports);
                imports.any(|import| {
                    let callee = import.name.namespace;
                    callee != group[0].name.namespace && waiting.contains_key(&callee)
                })
            };
            let free = waiting.iter().find(|(_, group)| !calls_waiting(group));
            let next = free.or(waiting.first_key_value());
            let Some(name) = next.map(|(name, _)| *name) else {
                break;
            };
            let group = waiting.remove(&name).unwrap_or_default();
            match self
                .publish_namespace(&name, (&group, form), key, others)
                .await
            {
                Ok(report) => published.push(report),
                Err(error) => {
                    return Err(Stopped {
                        namespace: name,
                        published,
                        error,
                    });
                }
            }
        }
        Ok(published)
    }

    /// Withdraws tasklets of one namespace, signed by `key`: nobody can call them any more, and
    /// calls in progress end with the versions that they began with.
    ///
    /// # Errors
    /// [`RemoteError`].
    pub async fn withdraw(
        &mut self,
        namespace: &Name,
        names: &[Name],
        key: &SigningKey,
    ) -> Result<PublishReport, RemoteError> {
        let change =
            |catalogue: &Catalogue, _: Travel<'_>| Publication::withdrawing(catalogue, names);
        self.commit(namespace, (&[], Form::Plain), key, change)
            .await
    }

    async fn publish_namespace(
        &mut self,
        namespace: &Name,
        (packages, form): (&[Package<'_>], Form),
        key: &SigningKey,
        others: &mut [Self],
    ) -> Result<PublishReport, RemoteError> {
        let elsewhere = self.resolve(namespace, packages, others).await?;
        let change = |catalogue: &Catalogue, travel: Travel<'_>| {
            let find = |name: &TaskletName| elsewhere.get(name).copied();
            Publication::new(catalogue, packages, travel, find)
        };
        self.commit(namespace, (packages, form), key, change).await
    }

    /// Publishes the namespace's next epoch, which `change` makes, with the modules of `packages`.
    async fn commit(
        &mut self,
        namespace: &Name,
        (packages, form): (&[Package<'_>], Form),
        key: &SigningKey,
        change: impl Fn(&Catalogue, Travel<'_>) -> Result<Publication, BadPackages>,
    ) -> Result<PublishReport, RemoteError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            // The signature is over the whole catalogue. To build on a catalogue that somebody
            // else has signed would sign its content with this key.
            let catalogue = self.signed_catalogue(namespace, &key.public()).await?;
            let dictionary = self.dictionary(&catalogue, packages, form).await?;
            let travel = dictionary.as_deref();
            let travel = travel.map_or(Travel::Plain, Travel::Compressed);
            let publication = change(&catalogue, travel).map_err(RemoteError::Packages)?;
            let mut report = PublishReport {
                namespace: *namespace,
                epoch: catalogue.epoch(),
                entries: publication.changed(),
                unchanged: publication.unchanged(),
                modules: 0,
                module_bytes: 0,
                delta_bytes: 0,
                claimed: catalogue.epoch() == 0,
            };
            if publication.changed() == 0 {
                // A node has the catalogue too, but nothing can be published there.
                let held = self.namespaces().await?;
                if held
                    .iter()
                    .any(|it| it.name == *namespace && it.nodes.is_none())
                {
                    return Err(RemoteError::NotARegistry);
                }
                report.claimed = false;
                return Ok(report);
            }
            self.upload(&catalogue, &publication, &mut report).await?;
            let delta = publication.sign(&catalogue, |bytes| key.sign(bytes));
            let delta = delta.map_err(RemoteError::Catalogue)?;
            report.delta_bytes = delta.len();
            match self.put(namespace, key, delta).await {
                Ok(()) => {
                    report.epoch += 1;
                    return Ok(report);
                }
                Err(error) if error.code() == Problem::StaleEpoch.code() && attempt < ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Gives the registry a signed delta. If the answer is lost, it gives the same delta again: a
    /// registry that has it says so and changes nothing.
    async fn put(
        &mut self,
        namespace: &Name,
        key: &SigningKey,
        delta: Vec<u8>,
    ) -> Result<(), RemoteError> {
        let mut request = ask(Resource::Publish, &[namespace.as_str()]);
        request.query = vec![format!("{}={}", query::KEY, key.public())];
        request.format = Some(Format::CBOR);
        request.payload = delta;
        let mut lost = None;
        for _ in 0..=REPEATS {
            match self.request(&request).await {
                Ok(_) => return Ok(()),
                Err(RemoteError::Client(error)) if error.is_lost() => lost = Some(error),
                // The registry may have taken the delta although the answer was lost; then somebody
                // else has published since.
                Err(error) => return Err(error),
            }
        }
        Err(lost.map_or(RemoteError::Malformed, RemoteError::Unknown))
    }

    /// Uploads the modules that the catalogue does not name yet.
    async fn upload(
        &mut self,
        catalogue: &Catalogue,
        publication: &Publication,
        report: &mut PublishReport,
    ) -> Result<(), RemoteError> {
        let mut known: Vec<Digest> = catalogue.entries().map(|entry| entry.digest).collect();
        for module in publication.modules() {
            let digest = Digest::of(module);
            if known.contains(&digest) {
                continue;
            }
            let mut request = ask(Resource::Stage, &[&digest.to_string()]);
            request.format = Some(Format::BYTES);
            request.payload = module.clone();
            self.request(&request).await?;
            report.modules += 1;
            report.module_bytes += module.len();
            known.push(digest);
        }
        Ok(())
    }

    /// Entry numbers of the tasklets of other namespaces that packages call.
    async fn resolve(
        &mut self,
        namespace: &Name,
        packages: &[Package<'_>],
        others: &mut [Self],
    ) -> Result<BTreeMap<TaskletName, u16>, RemoteError> {
        let imports = packages.iter().flat_map(Package::imports);
        let mut callees: Vec<_> = imports.map(|import| import.name).collect();
        callees.retain(|callee| callee.namespace != *namespace);
        let mut namespaces: Vec<_> = callees.iter().map(|callee| callee.namespace).collect();
        namespaces.sort();
        namespaces.dedup();
        let mut numbers = BTreeMap::new();
        for namespace in namespaces {
            let mut found = vec![self.catalogue(&namespace).await?];
            for other in &mut *others {
                found.push(other.catalogue(&namespace).await?);
            }
            let number = |name: &Name| found.iter().find_map(|held| Some(held.find(name)?.number));
            for callee in callees
                .iter()
                .filter(|callee| callee.namespace == namespace)
            {
                numbers.extend(number(&callee.name).map(|number| (*callee, number)));
            }
        }
        Ok(numbers)
    }

    async fn fetch(
        &mut self,
        namespace: &Name,
        key: Option<&PublicKey>,
    ) -> Result<Catalogue, RemoteError> {
        let mut catalogue = Catalogue::new(*namespace, CatalogueLimits::LARGE);
        let request = ask(Resource::Delta, &[namespace.as_str()]);
        let response = match self.request(&request).await {
            Ok(response) => response,
            Err(error) if error.code() == Problem::UnknownNamespace.code() => return Ok(catalogue),
            Err(error) => return Err(error),
        };
        if response.code == Code::VALID {
            return Ok(catalogue);
        }
        let delta = Delta::decode(&response.payload).map_err(|_| RemoteError::Malformed)?;
        let root = catalogue
            .root_after(&delta)
            .map_err(RemoteError::Catalogue)?;
        if key.is_some_and(|key| !key.verifies_root(&root, &delta.signature)) {
            return Err(RemoteError::OtherKey);
        }
        catalogue
            .apply(&delta, false)
            .map_err(RemoteError::Catalogue)?;
        Ok(catalogue)
    }

    async fn request(&mut self, request: &Request) -> Result<Response, RemoteError> {
        let response = self.client.request(request).await;
        let response = response.map_err(RemoteError::Client)?;
        if response.code.is_success() {
            return Ok(response);
        }
        Err(refused(&response))
    }
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

/// Why a publication of several namespaces stopped. Each namespace is published whole or not at
/// all.
#[derive(Debug)]
pub struct Stopped {
    /// The namespace at which it stopped.
    pub namespace: Name,
    /// What was published before.
    pub published: Vec<PublishReport>,
    /// Why it stopped.
    pub error: RemoteError,
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
            Self::OtherKey => f.write_str("the namespace's catalogue is signed by another key"),
            Self::NotARegistry => f.write_str(
                "this is a node, which takes no publications; give the address of the registry",
            ),
            Self::WrongDigest => f.write_str("the module was damaged on its way; try again"),
            Self::Malformed => f.write_str("the answer is not what it should be"),
        }
    }
}

impl core::error::Error for RemoteError {}
