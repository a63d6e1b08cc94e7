//! Reaching nodes and registries from the command line.

use core::fmt;
use core::future::Future;
use core::str::FromStr;
use core::time::Duration;

use anyhow::Context;
use nimblenet_node::remote::Remote;

/// CoAP's port (RFC 7252 section 6.1).
const DEFAULT_PORT: u16 = 5683;

/// Where a node or registry takes CoAP requests: `host:port`, also written `coap://host:port`.
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
            _ => Err("an address is host:port"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Address {
    /// What is there; an answer may take `patience`.
    ///
    /// # Errors
    /// If the host has no address.
    pub(crate) async fn connect(&self, patience: Duration) -> anyhow::Result<Remote> {
        let remote = Remote::connect(&self.0, patience).await;
        remote.with_context(|| format!("cannot find {self}"))
    }
}

/// Runs `work` to its end on this thread.
///
/// # Errors
/// What `work` says, or that the system has nothing to run it with.
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
        for bad in ["", ":4000", "cell-3:port", "cell-3:99999"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
