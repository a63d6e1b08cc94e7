//! A UART's end outside the bench: a UDP socket or a pseudo-terminal.

mod pty;
mod udp;

use core::net::SocketAddr;
use std::path::Path;

use anyhow::Result;

use crate::{Board, Uart};

/// What a UART is tied to.
pub struct Tie(End);

enum End {
    Udp(Box<udp::End>),
    Pty(pty::End),
}

/// What a tie did not carry.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Losses {
    /// Frames from the board that were damaged (UDP).
    pub damaged_frames: u64,
    /// Datagrams that were longer than a frame, or for which the socket or the board had no room
    /// (UDP).
    pub refused_frames: u64,
    /// Bytes from the board that no program read, or that it read too slowly (pseudo-terminal).
    pub unread_bytes: u64,
}

impl Tie {
    /// A socket: one datagram is one frame, without what the line adds, so that the board is an
    /// ordinary neighbour of a node that speaks UDP. It listens at one address and sends to the
    /// other, and drops what others send.
    ///
    /// # Errors
    ///
    /// If the socket cannot listen at the address.
    pub fn udp(listen: SocketAddr, peer: SocketAddr) -> Result<Self> {
        let end = udp::End::new(listen, peer)?;
        Ok(Self(End::Udp(Box::new(end))))
    }

    /// A pseudo-terminal, with a symbolic link to it at `link`: a program that opens the link reads
    /// and writes the very bytes of the line, as at the serial port of a board. The link is removed
    /// with the tie.
    ///
    /// # Errors
    ///
    /// If the system gives no pseudo-terminal, or something that is no symbolic link is in the
    /// link's place.
    pub fn pty(link: &Path) -> Result<Self> {
        Ok(Self(End::Pty(pty::End::new(link)?)))
    }

    /// The address at which it listens; none for a pseudo-terminal.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.0 {
            End::Udp(end) => end.address(),
            End::Pty(_) => None,
        }
    }

    /// What it did not carry.
    #[must_use]
    pub fn losses(&self) -> Losses {
        match &self.0 {
            End::Udp(end) => end.losses(),
            End::Pty(end) => end.losses(),
        }
    }

    /// Moves the bytes that have arrived on either side.
    pub(crate) fn carry(&mut self, board: &mut Board, uart: Uart) {
        match &mut self.0 {
            End::Udp(end) => end.carry(board, uart),
            End::Pty(end) => end.carry(board, uart),
        }
    }
}
