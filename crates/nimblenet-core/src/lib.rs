//! A NimbleNet node as one state machine, without input, output, clock or threads.
//!
//! A driver tells the [`Node`] what happened, and carries out what the node asks for; [`pump`] is
//! the loop in between. The Linux daemon, the firmware and the simulator are such drivers.
//!
//! ```text
//!   frames, outcomes, time --handle--> Node --poll_transmit--> frames for links
//!   calls ------------------commands-->      --poll_work-----> work for the executor
//!                                            --poll_event----> results for the user
//!                                            --poll_timeout--> when to call again, and why
//! ```
//!
//! ```
//! use nimblenet_core::{
//!     CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, Node, Priority, Transmit, pump,
//! };
//! use nimblenet_tasklet::{Fault, NodeId, Work};
//!
//! /// Counts frames instead of sending them.
//! #[derive(Default)]
//! struct Idle {
//!     frames: usize,
//! }
//!
//! impl Driver for Idle {
//!     fn transmit(&mut self, _: Instant, _: Transmit, _frame: &[u8]) {
//!         self.frames += 1;
//!     }
//!     fn work(&mut self, _: Instant, _: ExecutorId, _: Work<'_>) {}
//!     fn event(&mut self, _: Instant, _: Event<'_>) {}
//! }
//!
//! let mut node = Node::new(Config::new(NodeId(1), 1200)).unwrap();
//! let mut driver = Idle::default();
//! let mut frame = [0; 1200];
//!
//! // In its first second, the node says hello to neighbours that it does not know yet.
//! let mut now = Instant::ZERO;
//! while now < Instant::from_micros(1_000_000) {
//!     let next = pump(&mut node, now, Input::Timeout, &mut driver, &mut frame);
//!     (now, _) = next.expect("there is always another hello");
//! }
//! assert!(driver.frames > 0);
//!
//! // It was told of no namespace, so it takes no calls.
//! let name = "shop/rms".parse().unwrap();
//! let request = CallRequest { name, export: "", args: &[0x80], deadline: None, priority: Priority::Normal, client: None, key: None, from: None };
//! assert_eq!(node.call(now, request), Err(Fault::UnknownNamespace));
//! ```
//!
//! Where to look: [`wire`] has the messages, one file each; [`cache`] the modules and the eviction
//! policies; [`place`] the placement policies; [`publication`] the rule that numbers a catalogue's
//! entries; [`Config`] and [`Limits`] the configuration of a node and its limits.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod archive;
pub mod cache;
mod catalogue;
pub mod compression;
mod config;
mod costs;
mod counters;
mod earliest;
mod event;
mod flow;
mod full;
mod holders;
mod job;
mod latency;
mod mesh;
mod node;
pub mod place;
mod places;
pub mod publication;
mod pump;
mod queue;
mod random;
mod repute;
mod table;
mod time;
mod urgency;
pub mod wire;

pub use archive::{Archive, Modules};
pub use cache::{CachedModule, Eviction};
pub use catalogue::{BadDelta, Catalogue, CatalogueLimits};
pub use config::{
    AcquisitionConfig, Config, ConfigError, Discovery, ExecutorId, HelloConfig, Limits,
    LinkAddress, LinkConfig, LinkId, MIN_MTU, NamespaceConfig, Pace, Role, StaticNeighbour,
    StaticRoute, Topology,
};
pub use counters::{Acquired, Counters, DropReason, Traffic};
pub use event::{
    Awaited, CallKey, CallRequest, ClientId, Event, Input, PartyId, Priority, Progress, Reason,
    Standing,
};
pub use flow::{
    Feed, FlowError, FlowId, FlowPlan, FlowStatus, MAX_STAGES, OperatorStatus, SinkStatus, Stage,
    StageKind, StagePlan, Stages,
};
pub use job::{CallId, Source, Step};
pub use mesh::Transmit;
pub use node::{Abilities, Node, Occupancy, RESULTS_KEPT};
pub use place::Placement;
pub use pump::{Driver, drain, pump};
pub use time::Instant;
