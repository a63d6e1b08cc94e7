//! Being asked to end: Ctrl-C, or the signal that ends services.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears requests to end from its construction on.
#[derive(Debug)]
pub(crate) struct Interrupt {
    keyboard: Signal,
    service: Signal,
}

impl Interrupt {
    /// Takes the signals over from the system, which would end the process at once.
    ///
    /// # Errors
    /// If the system does not give them.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            keyboard: signal(SignalKind::interrupt())?,
            service: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next request. It may be given up and called again.
    pub(crate) async fn requested(&mut self) {
        tokio::select! {
            _ = self.keyboard.recv() => {}
            _ = self.service.recv() => {}
        }
    }
}
