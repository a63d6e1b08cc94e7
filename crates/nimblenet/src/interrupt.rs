//! Requests to end: Ctrl-C, the signal that ends services, or the end of the terminal.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives requests to end from its construction on.
#[derive(Debug)]
pub(crate) struct Interrupt {
    keyboard: Signal,
    service: Signal,
    terminal: Signal,
}

impl Interrupt {
    /// Takes over the signals, at which the system would end the process at once.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            keyboard: signal(SignalKind::interrupt())?,
            service: signal(SignalKind::terminate())?,
            terminal: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next request. The wait may be cancelled and called again.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.service.recv() => {}
            _ = self.terminal.recv() => {}
        }
    }
}
