//! The bytes of the line on a pseudo-terminal.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};

use super::Losses;
use crate::{Board, Uart};

/// The most bytes that wait for the board; with more, the writing program waits, as at a serial
/// port.
const MAX_WAITING_BYTES: usize = 4096;

pub(super) struct End {
    terminal: File,
    link: PathBuf,
    /// Bytes from the board that are not written yet.
    outgoing: Vec<u8>,
    unread: u64,
}

impl End {
    pub(super) fn new(link: &Path) -> Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let terminal = openpt(flags).context("the system gives no pseudo-terminal")?;
        let made = || -> rustix::io::Result<PathBuf> {
            grantpt(&terminal)?;
            unlockpt(&terminal)?;
            rustix::io::ioctl_fionbio(&terminal, true)?;
            let mut line = tcgetattr(&terminal)?;
            line.make_raw();
            tcsetattr(&terminal, OptionalActions::Now, &line)?;
            let name = ptsname(&terminal, Vec::new())?;
            let name = PathBuf::from(std::ffi::OsString::from_vec(name.into_bytes()));
            // Open and close it once: only then does it tell whether anybody has it open.
            let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
            drop(rustix::fs::open(&name, flags, Mode::empty())?);
            Ok(name)
        };
        let name = made().context("cannot set a pseudo-terminal up")?;
        place(&name, link).with_context(|| format!("cannot make the link {}", link.display()))?;
        Ok(Self {
            terminal: File::from(terminal),
            link: link.to_path_buf(),
            outgoing: Vec::new(),
            unread: 0,
        })
    }

    pub(super) fn losses(&self) -> Losses {
        Losses {
            unread_bytes: self.unread,
            ..Losses::default()
        }
    }

    pub(super) fn carry(&mut self, board: &mut Board, uart: Uart) {
        let mut bytes = [0; MAX_WAITING_BYTES];
        loop {
            let room = MAX_WAITING_BYTES.saturating_sub(board.waiting(uart));
            if room == 0 {
                break;
            }
            match self.terminal.read(&mut bytes[..room]) {
                Ok(0) => break,
                Ok(length) => board.send(uart, &bytes[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Nobody has the other end open. Bytes that a board sends then are lost, as at a
                // serial port.
                Err(_) => {
                    self.unread += (self.outgoing.len() + board.take(uart).len()) as u64;
                    self.outgoing.clear();
                    return;
                }
            }
        }
        self.outgoing.extend(board.take(uart));
        let written = self.terminal.write(&self.outgoing).unwrap_or(0);
        self.outgoing.drain(..written);
        let waiting = self.outgoing.len();
        if waiting > MAX_WAITING_BYTES {
            self.unread += (waiting - MAX_WAITING_BYTES) as u64;
            self.outgoing.truncate(MAX_WAITING_BYTES);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.link);
    }
}

/// Makes a symbolic link. Replaces one that an earlier run has left behind.
fn place(name: &Path, link: &Path) -> std::io::Result<()> {
    if fs::symlink_metadata(link).is_ok_and(|found| found.is_symlink()) {
        fs::remove_file(link)?;
    }
    symlink(name, link)
}
