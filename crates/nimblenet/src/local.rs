//! Runs tasklets on this machine, without a node.
//!
//! ```text
//!   files --Tasklets::load--> tasklets with entries --Runner--> results, or a job image
//! ```

mod argument;
pub(crate) mod file;
mod host;
mod image;
mod job;
mod readings;
mod shape;
mod tasklets;

pub(crate) use argument::argument;
pub(crate) use host::LocalHost;
pub(crate) use image::JobImage;
pub(crate) use job::{End, JobFailed, Report, Runner, arena};
pub(crate) use readings::{Readings, cells};
pub(crate) use shape::{Function, Shape};
pub(crate) use tasklets::{Request, Tasklets, With};
