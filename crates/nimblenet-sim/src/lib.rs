//! Real nodes in virtual time.
//!
//! The simulator drives the very node that ships (`nimblenet-core`) over simulated links. It
//! decides nothing itself: no search, no eviction, no route. The same seed gives the same run.
//!
//! ```
//! use nimblenet_sim::{Draft, Layout, LinkModel, Net, Publisher, TimedExecutor};
//!
//! // A chain that works for 1 ms, calls an algorithm of 2 ms, and works for another 3 ms.
//! let chain = TimedExecutor::module(&[1000, 3000], 300);
//! let chain = Draft::new("chain", chain, "func()").calling("shop/rms", "func()");
//! let rms = Draft::new("rms", TimedExecutor::module(&[2000], 110), "func()");
//! let shelf = vec![(Publisher::new("shop"), vec![chain, rms])];
//! let executor = |_| Box::new(TimedExecutor::default()) as Box<_>;
//! let mut net = Net::new(1, &Layout::pair(), LinkModel::PAPER, shelf, |_| {}, executor);
//!
//! let call = net.run_call(2, "shop/chain");
//! assert!(call.result.is_ok());
//! assert_eq!(call.steps.len(), 2);
//! ```
#![forbid(unsafe_code)]
#![allow(
    clippy::std_instead_of_alloc,
    reason = "a program for an operating system"
)]

mod churn;
mod energy;
mod engine;
mod errands;
mod executor;
mod interpreted;
mod layout;
mod link;
mod publisher;
mod report;
mod run;
mod story;
mod urgency;

pub mod bound;
pub mod claims;
mod code;
pub mod course;
pub mod figures;
pub mod floor;
pub mod followed;
pub mod kinds;
pub mod plot;
pub mod robot;
pub mod scenario;
pub mod swarm;
pub mod tale;
pub mod tally;
pub mod trace;
pub mod vibration;
pub use churn::Churn;
pub use energy::{Duty, Energy};
pub use engine::{Balance, Engine, Factory, Fates, Lane, Observer, Passing, flip};
pub use errands::{Errands, HandOver, Question};
pub use executor::{SimExecutor, TimedExecutor};
pub use interpreted::{Device, WasmExecutor};
pub use layout::Layout;
pub use link::{Bandwidth, Bursts, LinkModel};
pub use publisher::{Draft, Publisher, Sign, shelve, sign};
pub use report::{AirBytes, HEADERS, RESPONSE_WINDOW_S, Replay, Report, Responses, Sources};
pub use run::{
    Cut, NAMESPACE, Profile, Run, Settings, UnknownName, algorithm_name, chain_name, paper,
};
pub use story::{Arrival, Finished, Net};
pub use urgency::{Deadlines, Urgency};
