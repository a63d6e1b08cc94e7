//! Links to other nodes.
//!
//! A link has a sending half, the [`Link`], and a task that gives what it hears to an [`Inlet`].
//! A [`LinkPlan`] starts both. A new kind of link is a file here with its plan, and a key in
//! `config.rs` if it can be configured.

mod serial;
mod strangers;
mod udp;

use core::fmt::Debug;
use std::io;

use nimblenet_core::{LinkAddress, LinkConfig, LinkId};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

pub use serial::SerialConfig;
pub(crate) use udp::UdpPlan;

/// The sending half of a link to one neighbour or several.
pub trait Link: Debug {
    /// Puts a frame on the link: to one neighbour, or to each. It does not wait: it drops and
    /// counts a frame that cannot be sent.
    fn send(&mut self, to: Option<LinkAddress>, frame: &[u8]);

    /// The state and the counters of the link.
    fn status(&self) -> LinkStatus;
}

/// A link that a daemon is to have.
pub trait LinkPlan: Debug + Send + Sync {
    /// The frames that it carries.
    fn frames(&self) -> LinkConfig;

    /// Starts the link, with a task among `tasks` that gives the frames it hears to `inlet` and
    /// ends only when the inlet is closed. Called once, within a runtime.
    ///
    /// # Errors
    /// If the system lacks something that the link needs.
    fn start(&self, inlet: Inlet, tasks: &mut JoinSet<()>) -> io::Result<Box<dyn Link>>;
}

/// The state of a link, and what it has moved since the start.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LinkStatus {
    /// Its kind.
    pub kind: &'static str,
    /// Its device or address.
    pub name: String,
    /// Whether it can send.
    pub up: bool,
    /// Frames sent.
    pub sent: u64,
    /// Their bytes, without what the link adds.
    pub sent_bytes: u64,
    /// Frames received from neighbours.
    pub received: u64,
    /// Their bytes, without what the link adds.
    pub received_bytes: u64,
    /// Bytes that came in and were no frame: noise, or a frame that was damaged.
    pub damaged: u64,
    /// Frames that were not sent: too many waited, there was nobody, or the system refused.
    pub dropped: u64,
    /// Frames from senders that are no neighbours.
    pub strangers: u64,
}

/// A frame that came in.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) link: LinkId,
    pub(crate) from: LinkAddress,
    pub(crate) bytes: Vec<u8>,
}

/// The queue into which a link puts the frames that come in.
#[derive(Clone, Debug)]
pub struct Inlet {
    link: LinkId,
    frames: Sender<Heard>,
}

/// The daemon has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl Inlet {
    pub(crate) fn new(link: LinkId, frames: Sender<Heard>) -> Self {
        Self { link, frames }
    }

    /// Gives a frame from a neighbour to the daemon; waits while too many wait for it.
    ///
    /// # Errors
    /// [`Closed`] if the daemon has ended, and with it the link's task.
    pub async fn give(&self, from: LinkAddress, bytes: Vec<u8>) -> Result<(), Closed> {
        let link = self.link;
        let heard = Heard { link, from, bytes };
        self.frames.send(heard).await.map_err(|_| Closed)
    }
}
