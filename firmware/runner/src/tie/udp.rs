//! One datagram, one frame.

use core::net::SocketAddr;
use std::net::UdpSocket;

use anyhow::{Context as _, Result};

use super::Losses;
use crate::frames::{Frames, stuffed};
use crate::{Board, Uart};

const MAX_DATAGRAM_BYTES: usize = 2048;

pub(super) struct End {
    socket: UdpSocket,
    frames: Frames,
    refused: u64,
}

impl End {
    pub(super) fn new(listen: SocketAddr, peer: SocketAddr) -> Result<Self> {
        let socket =
            UdpSocket::bind(listen).with_context(|| format!("cannot listen on {listen}"))?;
        socket
            .connect(peer)
            .with_context(|| format!("cannot send to {peer}"))?;
        socket
            .set_nonblocking(true)
            .context("cannot poll a socket")?;
        Ok(Self {
            socket,
            frames: Frames::default(),
            refused: 0,
        })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    pub(super) fn losses(&self) -> Losses {
        Losses {
            damaged_frames: self.frames.damaged(),
            refused_frames: self.refused,
            unread_bytes: 0,
        }
    }

    pub(super) fn carry(&mut self, board: &mut Board, uart: Uart) {
        let mut datagram = [0; MAX_DATAGRAM_BYTES];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let line = stuffed(&datagram[..length]);
            // Half a frame would spoil the next one too.
            if line.len() <= board.room(uart) {
                board.send(uart, &line);
            } else {
                self.refused += 1;
            }
        }
        for byte in board.take(uart) {
            if let Some(frame) = self.frames.push(byte) {
                self.refused += u64::from(self.socket.send(&frame).is_err());
            }
        }
    }
}
