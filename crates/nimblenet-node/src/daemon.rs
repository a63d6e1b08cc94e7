//! A running node or registry: the state machine of `nimblenet-core`, driven by sockets, timers and
//! worker threads.
//!
//! ```text
//!   links ----frames----+   (a task each)          +--> links
//!   CoAP -----requests--+   (a task of its own)    +--> replies
//!   handle ---requests--+--> one loop, one node ---+--> replies
//!   executor -----------+   (a thread of its own)  +--> executor, signature checks
//!   store --------------+   (a thread of its own)  +--> store, kept catalogues
//! ```
//!
//! The loop knows links by the trait [`Link`](crate::link::Link) and clients by the requests and
//! replies of `api.rs`; other tasks carry their bytes.
//!
//! Several daemons can live in one process, each on its own threads; the command line runs one.

pub(crate) mod api;
mod crash;
mod failure;
mod floors;
mod flows;
mod holders;
mod keeper;
mod links;
mod notices;
mod numbers;
mod registry;
mod run;
mod serve;
mod setup;
mod watch;

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nimblenet_core::{
    CachedModule, CallKey, ClientId, ConfigError, Counters, PartyId, Priority, Step,
};
use nimblenet_tasklet::{Fault, Name, NodeId, Place, TaskletName, Trap};
use tokio::sync::mpsc::UnboundedSender;

use crate::coap::ServerCounters;
use crate::config::{NodeConfig, RegistryConfig};
use crate::link::LinkStatus;

use self::api::{Answer, Reply, Request, Wanted};
pub use self::crash::Crash;
pub use self::keeper::keep_catalogue;
pub use self::run::FAREWELL;
use crate::store::{OpenError, Store};

/// A running node or registry. Dropping the handle stops it within [`FAREWELL`].
#[derive(Debug)]
pub struct Daemon {
    requests: Requests,
    thread: Option<JoinHandle<()>>,
    addresses: Addresses,
}

/// The addresses at which a daemon listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The address for frames of the mesh.
    pub mesh: SocketAddr,
    /// The address for CoAP requests, if it takes them.
    pub coap: Option<SocketAddr>,
}

/// Sockets that are bound already, for meshes whose ports the system chooses.
#[derive(Debug)]
pub struct Sockets {
    /// Takes frames of the mesh.
    pub mesh: UdpSocket,
    /// Takes CoAP requests.
    pub coap: Option<UdpSocket>,
}

/// A call from within the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Call {
    /// The tasklet.
    pub name: TaskletName,
    /// The export; empty for `run`.
    pub export: String,
    /// The arguments: a CBOR array.
    pub args: Vec<u8>,
    /// The node of the mesh that is to run it; none for this one.
    pub at: Option<NodeId>,
    /// How long it may take; if none, as long as the configuration says.
    pub deadline: Option<Duration>,
    /// How urgent it is.
    pub priority: Priority,
    /// Who calls; none if it does not say.
    pub client: Option<ClientId>,
    /// By what the client asks for the result later, here or at another node; none if it does not.
    pub key: Option<CallKey>,
    /// Whom it comes from, as its carrier tells callers apart; none if nobody can tell.
    pub from: Option<PartyId>,
}

/// How a call ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CallReport {
    /// The results as a CBOR array, or the fault.
    pub result: Result<Vec<u8>, Fault>,
    /// The trap, if that was the reason.
    pub trap: Option<Trap>,
    /// If it failed while it ran here: the tasklet that failed first, which made its callers fail.
    pub blamed: Option<TaskletName>,
    /// Where in that one's module, if that is known.
    pub place: Option<Place>,
    /// Where its tasklets came from, in order.
    pub steps: Vec<Step>,
    /// The time from the call to its end.
    pub took: Duration,
}

impl CallReport {
    fn refused(fault: Fault) -> Self {
        Self {
            result: Err(fault),
            trap: None,
            blamed: None,
            place: None,
            steps: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

/// A module in a node's cache.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cached {
    /// The tasklet.
    pub name: TaskletName,
    /// Its version, bytes and uses.
    pub module: CachedModule,
    /// Whether an executor has it loaded, so that its next start is quick.
    pub loaded: bool,
}

/// A daemon's numbers at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// The node's id.
    pub id: NodeId,
    /// The node's counters.
    pub counters: Counters,
    /// The state of its links: UDP first, then the links of the configuration in their order.
    pub links: Vec<LinkStatus>,
    /// The counters of its CoAP server.
    pub coap: ServerCounters,
    /// Jobs that run or wait.
    pub jobs: usize,
    /// Results of calls with numbers that are kept for their clients.
    pub results: usize,
    /// Bytes of modules in the cache.
    pub cache_used: usize,
    /// Bytes that the cache may hold.
    pub cache_bytes: usize,
    /// Modules evicted so far.
    pub evicted: u64,
    /// Nodes in direct reach.
    pub neighbours: Vec<NodeId>,
    /// The epoch of each catalogue held.
    pub epochs: Vec<(Name, u32)>,
    /// Crashes that nodes have reported to this registry, oldest first.
    pub crashes: Vec<Crash>,
    /// Why a registry serves what it has and takes no publications.
    pub degraded: Option<String>,
    /// Whether the node gives its jobs to its neighbours and takes no new ones.
    pub draining: bool,
    /// Time since the start.
    pub uptime: Duration,
}

impl Status {
    /// Bytes of frames sent, on all links.
    pub fn sent_bytes(&self) -> u64 {
        self.links.iter().map(|link| link.sent_bytes).sum()
    }

    /// Bytes of frames received, on all links.
    pub fn received_bytes(&self) -> u64 {
        self.links.iter().map(|link| link.received_bytes).sum()
    }
}

impl Daemon {
    /// Starts a node. Without `sockets` it binds those of the configuration.
    ///
    /// # Errors
    /// [`StartError`] says what is not possible.
    pub fn node(config: NodeConfig, sockets: Option<Sockets>) -> Result<Self, StartError> {
        let sockets = match sockets {
            Some(sockets) => sockets,
            None => Sockets::bind(config.mesh.listen, config.coap)?,
        };
        setup::Setup::node(config)?.start(sockets)
    }

    /// Starts a registry. Without `sockets` it binds those of the configuration.
    ///
    /// # Errors
    /// [`StartError`] says what is not possible.
    pub fn registry(config: RegistryConfig, sockets: Option<Sockets>) -> Result<Self, StartError> {
        let store = Store::open(&config.data, config.trust.clone(), config.limits);
        let store = store.map_err(StartError::Store)?;
        let sockets = match sockets {
            Some(sockets) => sockets,
            None => Sockets::bind(config.mesh.listen, Some(config.coap))?,
        };
        setup::Setup::registry(&config, store)?.start(sockets)
    }

    /// The addresses at which it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Takes a call; the report comes through the receiver when it has ended.
    pub fn start_call(&self, call: Call) -> mpsc::Receiver<CallReport> {
        let (send, report) = mpsc::channel();
        let request = Request::Call {
            call,
            wanted: Wanted::default(),
        };
        let answer = Answer::new(move |reply| {
            if let Reply::Ended { report, .. } = reply {
                let _ = send.send(report);
            }
        });
        self.requests.give(request, answer);
        report
    }

    /// Calls a tasklet and waits for its end.
    pub fn call(&self, call: Call) -> CallReport {
        let report = self.start_call(call).recv();
        report.unwrap_or_else(|_| CallReport::refused(Fault::Stopped))
    }

    /// Whether it runs. It ends by itself only after a fault in the program.
    pub fn is_running(&self) -> bool {
        let thread = self.thread.as_ref();
        thread.is_some_and(|thread| !thread.is_finished())
    }

    /// Its numbers; nothing if it has ended.
    pub fn status(&self) -> Option<Status> {
        let (send, status) = mpsc::channel();
        let answer = Answer::new(move |reply| {
            if let Reply::Status(status) = reply {
                let _ = send.send(*status);
            }
        });
        self.requests.give(Request::Status, answer);
        status.recv().ok()
    }

    /// Ends it in order, within `patience` and [`FAREWELL`]: calls in progress get `patience` to
    /// end, new ones are refused, and the answers that are left then are sent. Returns its last
    /// numbers.
    pub fn stop(mut self, patience: Duration) -> Option<Status> {
        let (reply, status) = mpsc::channel();
        self.requests.stop(patience, Some(reply));
        let status = status.recv().ok();
        self.join();
        status
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.requests.stop(Duration::ZERO, None);
        self.join();
    }
}

/// The queue through which a daemon takes requests.
#[derive(Clone, Debug)]
pub(crate) struct Requests(UnboundedSender<Command>);

impl Requests {
    /// Gives the daemon a request. If it has ended, a call is refused as stopped and anything else
    /// gets no reply.
    pub(crate) fn give(&self, request: Request, answer: Answer) {
        let unsent = self.0.send(Command::Serve(request, answer)).err();
        let unsent = unsent.map(|error| error.0);
        if let Some(Command::Serve(Request::Call { call, .. }, answer)) = unsent {
            let place = call.name.to_string();
            answer.give(Reply::refused_call(Fault::Stopped, place, None));
        }
    }

    fn stop(&self, patience: Duration, last: Option<mpsc::Sender<Status>>) {
        let _ = self.0.send(Command::Stop(patience, last));
    }
}

/// A command to a daemon's loop.
#[derive(Debug)]
enum Command {
    Serve(Request, Answer),
    /// Give calls this time, end, and send the last numbers.
    Stop(Duration, Option<mpsc::Sender<Status>>),
}

impl Sockets {
    /// Binds the sockets.
    ///
    /// # Errors
    /// [`StartError::Bind`] if an address is in use or is not this machine's.
    pub fn bind(mesh: SocketAddr, coap: Option<SocketAddr>) -> Result<Self, StartError> {
        let bind = |key, address: SocketAddr| {
            let bound = if address.ip().is_multicast() {
                let message = "it is a multicast address, and a node listens at one of its own";
                Err(io::Error::new(io::ErrorKind::InvalidInput, message))
            } else {
                UdpSocket::bind(address)
            };
            bound.map_err(|error| StartError::Bind {
                key,
                address,
                error,
            })
        };
        Ok(Self {
            mesh: bind("listen", mesh)?,
            coap: coap.map(|coap| bind("coap", coap)).transpose()?,
        })
    }

    /// The addresses that they are bound to.
    ///
    /// # Errors
    /// If the system does not know.
    pub fn addresses(&self) -> io::Result<Addresses> {
        let coap = self.coap.as_ref().map(UdpSocket::local_addr);
        Ok(Addresses {
            mesh: self.mesh.local_addr()?,
            coap: coap.transpose()?,
        })
    }
}

/// Why a daemon does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// A socket cannot be bound.
    Bind {
        /// The key of the configuration that names it.
        key: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The registry's store cannot be opened.
    Store(OpenError),
    /// The state directory cannot be made or read.
    State(io::Error),
    /// The boot index beside the registry's store cannot be read or written.
    Data(io::Error),
    /// The parts of the configuration do not fit each other.
    Config(ConfigError),
    /// The system has no more threads or file descriptors.
    System(io::Error),
}

impl StartError {
    /// The key of the configuration that is the cause, if there is one.
    pub fn key(&self) -> Option<&'static str> {
        match self {
            Self::Bind { key, .. } => Some(key),
            Self::Store(_) | Self::Data(_) => Some("data"),
            Self::State(_) => Some("state"),
            Self::Config(ConfigError::Id) => Some("id"),
            Self::Config(ConfigError::Mtu) => Some("mtu"),
            Self::Config(ConfigError::Executors) => Some("executors"),
            Self::Config(_) | Self::System(_) => None,
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { address, error, .. } => write!(f, "cannot listen at {address}: {error}"),
            Self::Store(error) => error.fmt(f),
            Self::State(error) => {
                write!(
                    f,
                    "cannot use the state directory: {error}{}",
                    remedy(error)
                )
            }
            Self::Data(error) => {
                write!(f, "cannot use the data directory: {error}{}", remedy(error))
            }
            Self::Config(error) => error.fmt(f),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for StartError {}

/// What to do if a directory cannot be used, as a clause.
fn remedy(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "; give the user that runs the daemon the right to write there";
    }
    let is_file = [io::ErrorKind::AlreadyExists, io::ErrorKind::NotADirectory];
    match is_file.contains(&error.kind()) {
        true => "; a file is where the directory is to be: move it, or name another directory",
        false => "",
    }
}

#[cfg(test)]
mod tests;
