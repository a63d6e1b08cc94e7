//! A UDP socket: one datagram is one frame. A datagram has the checksum that the line's framing has taken
//! away (spec/wire.md, section 2); a board takes frames that have both.

use core::net::SocketAddr;
use std::net::UdpSocket;

use anyhow::{Context as _, Result};
use nimblenet_board::framing::{Deframer, Frame, MAX_FRAME_BYTES, MAX_LINE_BYTES, stuffed};
use nimblenet_core::wire::{CHECKSUM_LEN, check};

use super::Losses;
use crate::{Board, Uart};

pub(super) struct End {
    socket: UdpSocket,
    deframer: Deframer,
    damaged: u64,
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
            deframer: Deframer::new(),
            damaged: 0,
            refused: 0,
        })
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    pub(super) fn losses(&self) -> Losses {
        Losses {
            damaged_frames: self.damaged,
            refused_frames: self.refused,
            unread_bytes: 0,
        }
    }

    pub(super) fn carry(&mut self, board: &mut Board, uart: Uart) {
        // One byte more than a frame, to notice longer datagrams.
        let mut datagram = [0; MAX_FRAME_BYTES + 1];
        while let Ok(length) = self.socket.recv(&mut datagram) {
            let mut line = [0; MAX_LINE_BYTES];
            let frame = Frame::from_slice(&datagram[..length]);
            match frame.map(|frame| stuffed(&frame, &mut line)) {
                // Send a frame whole or not at all: half a frame would spoil the next one too.
                Ok(line) if line.len() <= board.room(uart) => board.send(uart, line),
                Ok(_) | Err(_) => self.refused += 1,
            }
        }
        for byte in board.take(uart) {
            match self.deframer.push(byte) {
                None => {}
                Some(Ok(frame)) => {
                    let mut datagram = [0; MAX_FRAME_BYTES + CHECKSUM_LEN];
                    datagram[..frame.len()].copy_from_slice(&frame);
                    let length = check(&mut datagram, frame.len());
                    self.refused += u64::from(self.socket.send(&datagram[..length]).is_err());
                }
                Some(Err(_)) => self.damaged += 1,
            }
        }
    }
}
