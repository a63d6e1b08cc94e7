//! Connects the command line with nodes and registries.

use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;
use core::time::Duration;
use std::io::{self, IsTerminal as _};

use anyhow::Context;
use nimblenet_node::remote::Remote;
use nimblenet_tasklet::NodeId;
use tokio::time::{Instant, sleep, timeout_at};

use crate::failure::{Coded, UNKNOWN_HOST, complain};

/// CoAP's port (RFC 7252 section 6.1).
const DEFAULT_PORT: u16 = 5683;
/// After this time a person at a terminal is told which node a command waits for.
const SILENCE: Duration = Duration::from_secs(2);
/// The time for one more answer at the end of a wait.
const LAST_ANSWER: Duration = Duration::from_millis(500);
/// The longest patience, in seconds: a day.
const PATIENCE_MAX: f64 = 86_400.0;

/// The address at which a node or registry takes CoAP requests: `host:port`, or `coap://host:port`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Address(String);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.strip_prefix("coap://").unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let bare_v6 = text.starts_with('[') && text.ends_with(']');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !bare_v6 => (host, port.parse().ok()),
            _ => (text, Some(DEFAULT_PORT)),
        };
        match port {
            Some(port) if !host.is_empty() => Ok(Self(format!("{host}:{port}"))),
            None if !host.is_empty() => {
                Err("an address is host:port, and a port a number up to 65535")
            }
            _ => Err("an address is host:port"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How long a verb waits for nodes and registries.
#[derive(clap::Args, Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Seconds to wait for all answers together.
    #[arg(long, value_name = "S", default_value = "90", value_parser = seconds)]
    timeout: Duration,
}

/// The requests of a verb, and the time at which they end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    deadline: Instant,
}

impl Wait {
    /// A client of the node at `address`.
    ///
    /// # Errors
    /// If the host has no address.
    pub(crate) async fn connect(self, address: &Address) -> anyhow::Result<Remote> {
        self.connect_for(address, 1).await
    }

    /// Whether the time is over, except for the time of one more answer.
    pub(crate) fn is_over(self) -> bool {
        Instant::now() + LAST_ANSWER >= self.deadline
    }

    /// A client of the node at `address` for one of several requests, which share the time one
    /// after the other.
    ///
    /// # Errors
    /// If the host has no address.
    pub(crate) async fn connect_for(
        self,
        address: &Address,
        requests: u32,
    ) -> anyhow::Result<Remote> {
        let patience = self.deadline.saturating_duration_since(Instant::now()) / requests;
        let connected = timeout_at(self.deadline, Remote::connect(&address.0, patience)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut remote = connected.with_context(|| unknown_host(address))?;
        remote.end_by(self.deadline);
        Ok(remote)
    }
}

impl Patience {
    /// The same, but no longer than `most`.
    pub(crate) fn at_most(self, most: Duration) -> Self {
        let timeout = self.timeout.min(most);
        Self { timeout }
    }

    /// What a person is told when the time is over.
    pub(crate) fn in_vain(self, whom: &Address) -> String {
        format!("{whom} was waited for, {} s", self.timeout.as_secs_f64())
    }

    /// Runs `work`, which asks `whom`, to its end on this thread. If that takes long, a person at a
    /// terminal is told so, and an error that comes when the time is over says how long that was.
    ///
    /// # Errors
    /// The error of `work`, or that the system gives no runtime to run it.
    pub(crate) fn ask<T>(
        self,
        whom: &Address,
        work: impl AsyncFnOnce(Wait) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let patience = self.timeout;
        block_on(async {
            let deadline = Instant::now() + patience;
            let tell = async {
                sleep(SILENCE.min(patience)).await;
                if io::stderr().is_terminal() {
                    let most = patience.as_secs_f64();
                    complain(&format!(
                        "waiting for {whom}, at most {most} s; Ctrl-C gives up\n"
                    ));
                }
                core::future::pending().await
            };
            let wait = Wait { deadline };
            let told = |error: anyhow::Error| match wait.is_over() {
                true => error.context(self.in_vain(whom)),
                false => error,
            };
            tokio::select! {
                done = work(wait) => done.map_err(told),
                () = tell => unreachable!("telling has no end"),
            }
        })
    }
}

/// The error that a host has no address.
pub(crate) fn unknown_host(address: &Address) -> Coded {
    let sentence = format!("cannot find the host of {address}; is its name right?");
    Coded::new(UNKNOWN_HOST, sentence)
}

/// Reads the id of a node.
pub(crate) fn node_id(text: &str) -> Result<NodeId, &'static str> {
    let id = text.parse().ok().map(NodeId);
    let id = id.filter(|id| *id != NodeId::EVERYONE);
    id.ok_or("the id of a node is a number from 0 to 65534")
}

/// Reads an address to listen at: an IP address and a port.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let address: Option<SocketAddr> = text.parse().ok();
    address.ok_or_else(|| {
        "an IP address of this machine and a port are expected, such as 127.0.0.1:5683; 0.0.0.0 \
         stands for all its addresses"
            .to_owned()
    })
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.parse().ok();
    let seconds = seconds.filter(|seconds| *seconds > 0.0 && *seconds <= PATIENCE_MAX);
    let seconds = seconds.map(Duration::from_secs_f64);
    seconds.ok_or_else(|| format!("seconds above 0 and up to {PATIENCE_MAX} are expected"))
}

/// Runs `work` to its end on this thread.
///
/// # Errors
/// The error of `work`, or that the system gives no runtime to run it.
pub(crate) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_id_or_address_is_refused_with_what_is_expected() {
        assert_eq!(node_id("65534"), Ok(NodeId(65534)));
        for bad in ["65535", "70000", "-1", "x"] {
            assert!(node_id(bad).unwrap_err().contains("0 to 65534"), "{bad}");
        }
        assert!(listen_address("0.0.0.0:0").is_ok());
        let named = listen_address("nohost:1").unwrap_err();
        assert!(named.contains("such as 127.0.0.1:5683"), "{named}");
    }

    #[test]
    fn addresses_may_have_a_scheme_and_no_port() {
        let parsed = |text: &str| text.parse::<Address>().map(|address| address.to_string());
        for (text, expected) in [
            ("127.0.0.1:4000", "127.0.0.1:4000"),
            ("coap://cell-3:4000/", "cell-3:4000"),
            ("cell-3", "cell-3:5683"),
            ("[::1]:4000", "[::1]:4000"),
            ("[::1]", "[::1]:5683"),
        ] {
            assert_eq!(parsed(text).as_deref(), Ok(expected));
        }
        for (bad, why) in [
            ("", "host:port"),
            (":4000", "host:port"),
            ("cell-3:port", "up to 65535"),
            ("cell-3:99999", "up to 65535"),
        ] {
            assert!(parsed(bad).unwrap_err().contains(why), "{bad}");
        }
    }
}
