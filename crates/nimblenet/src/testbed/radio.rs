//! The air's sockets and its clock: a thread that carries frames from port to port in real time.

use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use anyhow::{Context as _, anyhow};
use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::air::{Air, PortAt};
use crate::clock;

/// The longest time in which the thread does not look whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// The longest datagram.
const DATAGRAM_BYTES: usize = 65_536;

/// The time of the trace, which goes faster than real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    zero: std::time::Instant,
    speedup: u32,
}

impl Pace {
    /// A time that is zero now.
    pub(crate) fn start(speedup: u32) -> Self {
        let zero = clock::now();
        Self { zero, speedup }
    }

    /// The time now.
    pub(crate) fn now(&self) -> Instant {
        Instant::ZERO + self.zero.elapsed() * self.speedup
    }

    /// The real time until `then`; none if that is past.
    pub(crate) fn until(&self, then: Instant) -> Duration {
        then.since(self.now()) / self.speedup
    }
}

/// The air with sockets on the loopback interface. It carries frames until this is dropped.
#[derive(Debug)]
pub(crate) struct Radio {
    shared: Arc<Shared>,
    /// The address of each port.
    addresses: Vec<SocketAddr>,
    /// Which node meets the air at each port, and which neighbour it takes it for.
    ports: Vec<(NodeId, NodeId)>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    ends: AtomicBool,
}

#[derive(Debug)]
struct State {
    air: Air,
    /// Where the node of each port listens; none until that is known, or when it is gone.
    nodes: Vec<Option<SocketAddr>>,
    /// Why the thread has ended, if it was not told to.
    broken: Option<io::Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Radio {
    /// Binds a socket for each port, and begins to carry frames.
    ///
    /// # Errors
    /// If the system has not enough sockets.
    pub(crate) fn start(air: Air, pace: Pace) -> anyhow::Result<Self> {
        let ports: Vec<_> = air.ports().collect();
        let bind = |_: &(NodeId, NodeId)| -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        };
        let sockets: io::Result<Vec<UdpSocket>> = ports.iter().map(bind).collect();
        let sockets = sockets.context("binding the air's sockets on the loopback interface")?;
        let addresses: io::Result<Vec<_>> = sockets.iter().map(UdpSocket::local_addr).collect();
        let nodes = vec![None; ports.len()];
        let state = Mutex::new(State {
            air,
            nodes,
            broken: None,
        });
        let shared = Arc::new(Shared {
            state,
            ends: AtomicBool::new(false),
        });
        let carrying = shared.clone();
        let carry = move || {
            if let Err(error) = carry(&carrying, &sockets, pace) {
                carrying.lock().broken = Some(error);
            }
        };
        let thread = Builder::new().name("air".into()).spawn(carry)?;
        Ok(Self {
            shared,
            addresses: addresses?,
            ports,
            thread: Some(thread),
        })
    }

    /// The neighbours of a node, each with the address that stands for it.
    pub(crate) fn neighbours(&self, node: NodeId) -> Vec<(NodeId, SocketAddr)> {
        let ports = self.ports.iter().zip(&self.addresses);
        let own = ports.filter(|((at, _), _)| *at == node);
        let mut own: Vec<_> = own.map(|((_, peer), address)| (*peer, *address)).collect();
        own.sort_unstable();
        own
    }

    /// A node listens at this address.
    pub(crate) fn connect(&self, node: NodeId, address: SocketAddr) {
        let mut state = self.shared.lock();
        let own = self.ports.iter().zip(&mut state.nodes);
        own.filter(|((at, _), _)| *at == node)
            .for_each(|(_, held)| *held = Some(address));
    }

    /// The trace begins now and lasts until `to`.
    pub(crate) fn begin(&self, now: Instant, to: Instant) {
        self.shared.lock().air.begin(now, to);
    }

    /// Checks that it still carries frames.
    ///
    /// # Errors
    /// If a socket has failed.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        match &self.shared.lock().broken {
            None => Ok(()),
            Some(error) => Err(anyhow!("the air's sockets have failed: {error}")),
        }
    }

    /// Ends it, and returns what it has carried.
    pub(crate) fn stop<T>(mut self, read: impl FnOnce(&Air) -> T) -> T {
        self.end();
        read(&self.shared.lock().air)
    }

    fn end(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Radio {
    fn drop(&mut self) {
        self.end();
    }
}

/// Carries frames until it is told to end.
fn carry(shared: &Shared, sockets: &[UdpSocket], pace: Pace) -> io::Result<()> {
    let mut buffer = vec![0; DATAGRAM_BYTES];
    while !shared.ends.load(Ordering::Relaxed) {
        let next = shared.lock().air.next();
        let wait = next.map_or(LOOK, |at| pace.until(at).min(LOOK));
        let mut waited = sockets
            .iter()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect::<Vec<_>>();
        match ppoll(&mut waited, Some(TimeSpec::from(wait)), None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = waited.iter().map(|it| it.any().unwrap_or(true));
        let ready: Vec<bool> = ready.collect();
        let mut state = shared.lock();
        for (at, _) in ready.iter().enumerate().filter(|(_, ready)| **ready) {
            // An error is the news that a node was not up when a frame was sent to it.
            while let Ok((len, from)) = sockets[at].recv_from(&mut buffer) {
                if state.nodes[at].is_none_or(|node| node == from) {
                    state.air.hear(pace.now(), PortAt(at), &buffer[..len]);
                }
            }
        }
        while let Some((at, bytes)) = state.air.poll(pace.now()) {
            let node = state.nodes[at.0];
            let sent = node.map(|node| sockets[at.0].send_to(&bytes, node));
            let delivered = matches!(sent, Some(Ok(_)));
            state.air.arrived(pace.now(), at, &bytes, delivered);
        }
    }
    Ok(())
}
