//! The command line: boards, and where the ends of their UARTs are.

use core::net::SocketAddr;
use core::str::FromStr;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Error, Result, bail, ensure};
use clap::Parser;
use runner::{Bench, BoardId, Dialogue, Image, Lockstep, Port, Tie, Uart};

/// The name of the only board.
const ONLY: &str = "board";

/// Runs images for the RP2040 in real time, their UARTs tied to the outside or to each other.
///
/// An END is `udp:LISTEN,PEER`: one datagram, one frame, which makes the board a UDP neighbour of
/// a node (whose `mtu` is then at most 256); or `pty:PATH`: PATH becomes a link to a
/// pseudo-terminal with the bytes of the line, which a program opens like a serial port.
#[derive(Parser)]
#[command(
    max_term_width = 100,
    after_help = "Examples:\n  \
    runner pico-uart --provision board-7.uf2 --uart0 udp:127.0.0.1:7001,127.0.0.1:4001\n  \
    runner pico-uart --provision board-7.uf2 --uart0 pty:board-7\n  \
    runner --board a=pico-uart,provision=board-7.uf2 --board b=pico-uart,provision=board-8.uf2 \\\n      \
    --tie a.0=udp:127.0.0.1:7001,127.0.0.1:4001 --wire a.1-b.0 --tie b.1=pty:board-8"
)]
pub(crate) struct Arguments {
    /// The only board's image: an ELF file, a UF2 file, or raw flash content.
    #[arg(required_unless_present = "boards", conflicts_with_all = ["boards", "wires", "ties"])]
    image: Option<PathBuf>,
    /// Who the only board is: what `nimblenet provision` wrote, in UF2 or raw.
    #[arg(long, value_name = "FILE", requires = "image")]
    provision: Option<PathBuf>,
    /// What UART0 of the only board is tied to.
    #[arg(long, value_name = "END", requires = "image")]
    uart0: Option<End>,
    /// What UART1 of the only board is tied to.
    #[arg(long, value_name = "END", requires = "image")]
    uart1: Option<End>,
    /// One of several boards.
    #[arg(long = "board", value_name = "NAME=IMAGE[,provision=FILE]")]
    boards: Vec<BoardArgument>,
    /// What a UART of one of them is tied to.
    #[arg(long = "tie", value_name = "NAME.UART=END")]
    ties: Vec<TieArgument>,
    /// A wire between two of their UARTs.
    #[arg(long = "wire", value_name = "NAME.UART-NAME.UART")]
    wires: Vec<WireArgument>,
    /// Stops after this long; else runs until interrupted.
    #[arg(long)]
    pub(crate) seconds: Option<f64>,
    /// Runs the boards in virtual time, a step at a time, as another program says on standard input.
    #[arg(long, requires = "boards", conflicts_with_all = ["ties", "wires", "seconds"])]
    pub(crate) steps: bool,
}

impl Arguments {
    /// Powers all boards on for a dialogue with another program.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, or two boards have the same name.
    pub(crate) fn dialogue(self) -> Result<Dialogue> {
        let mut names: Vec<String> = Vec::new();
        let mut images = Vec::new();
        for board in self.boards {
            let twice = names.contains(&board.name);
            ensure!(!twice, "there are two boards {}", board.name);
            images.push(board.image()?);
            names.push(board.name);
        }
        Ok(Dialogue::new(Lockstep::new(&images)?, names))
    }

    /// Puts everything on a bench; returns it with the names of the boards.
    ///
    /// # Errors
    ///
    /// If a file cannot be used, an end cannot be made, or the parts do not fit each other.
    pub(crate) fn bench(mut self) -> Result<(Bench, BTreeMap<BoardId, String>)> {
        if let Some(image) = self.image.take() {
            self.boards.push(BoardArgument {
                name: ONLY.to_string(),
                image,
                provision: self.provision.take(),
            });
            for (uart, end) in [(Uart::Zero, self.uart0), (Uart::One, self.uart1)] {
                let board = ONLY.to_string();
                let port = PortName { board, uart };
                self.ties.extend(end.map(|end| TieArgument { port, end }));
            }
        }
        let mut bench = Bench::new();
        let mut names = BTreeMap::new();
        let mut boards = BTreeMap::new();
        for board in self.boards {
            let id = bench.add(&board.image()?)?;
            names.insert(id, board.name.clone());
            let twice = boards.insert(board.name.clone(), id);
            ensure!(twice.is_none(), "there are two boards {}", board.name);
        }
        let mut taken = Vec::new();
        let mut port = |name: &PortName| {
            let known = boards.get(&name.board).copied();
            let board = known.with_context(|| format!("there is no board {}", name.board))?;
            let uart = name.uart;
            let port = Port { board, uart };
            ensure!(
                !taken.contains(&port),
                "a UART of {} has two ends",
                name.board
            );
            taken.push(port);
            Ok(port)
        };
        for WireArgument([a, b]) in &self.wires {
            bench.wire(port(a)?, port(b)?);
        }
        for tie in &self.ties {
            bench.tie(port(&tie.port)?, tie.end.tie()?);
        }
        Ok((bench, names))
    }
}

#[derive(Clone)]
struct BoardArgument {
    name: String,
    image: PathBuf,
    provision: Option<PathBuf>,
}

impl BoardArgument {
    fn image(&self) -> Result<Image> {
        let image = Image::read(&self.image)?;
        match &self.provision {
            Some(record) => image.provisioned_by(record),
            None => Ok(image),
        }
    }
}

impl FromStr for BoardArgument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shape = "a board is written NAME=IMAGE[,provision=FILE]";
        let (name, files) = text.split_once('=').context(shape)?;
        let (image, record) = match files.split_once(",provision=") {
            Some((image, record)) => (image, Some(record)),
            None => (files, None),
        };
        ensure!(!image.is_empty() && record != Some(""), shape);
        Ok(Self {
            name: board_name(name)?,
            image: PathBuf::from(image),
            provision: record.map(PathBuf::from),
        })
    }
}

/// What a UART is tied to.
#[derive(Clone)]
enum End {
    Udp(SocketAddr, SocketAddr),
    Pty(PathBuf),
}

impl End {
    fn tie(&self) -> Result<Tie> {
        match self {
            Self::Udp(listen, peer) => Tie::udp(*listen, *peer),
            Self::Pty(link) => Tie::pty(link),
        }
    }
}

impl FromStr for End {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let address = |text: &str| {
            let address = text.parse();
            address.with_context(|| format!("{text:?} is no address with a port"))
        };
        match text.split_once(':') {
            Some(("udp", ends)) => {
                let (listen, peer) = ends
                    .split_once(',')
                    .context("udp: needs two addresses with a comma between them")?;
                Ok(Self::Udp(address(listen)?, address(peer)?))
            }
            Some(("pty", path)) if !path.is_empty() => Ok(Self::Pty(Path::new(path).into())),
            Some(_) | None => bail!("an end is written udp:LISTEN,PEER or pty:PATH"),
        }
    }
}

/// A UART of a board, by the board's name.
#[derive(Clone)]
struct PortName {
    board: String,
    uart: Uart,
}

impl FromStr for PortName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let shape = "a UART is written NAME.0 or NAME.1";
        let (board, uart) = text.rsplit_once('.').context(shape)?;
        Ok(Self {
            board: board_name(board)?,
            uart: match uart {
                "0" => Uart::Zero,
                "1" => Uart::One,
                _ => bail!(shape),
            },
        })
    }
}

#[derive(Clone)]
struct TieArgument {
    port: PortName,
    end: End,
}

impl FromStr for TieArgument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (port, end) = text
            .split_once('=')
            .context("a tie is written NAME.UART=END")?;
        Ok(Self {
            port: port.parse()?,
            end: end.parse()?,
        })
    }
}

#[derive(Clone)]
struct WireArgument([PortName; 2]);

impl FromStr for WireArgument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (a, b) = text
            .split_once('-')
            .context("a wire is written NAME.UART-NAME.UART")?;
        Ok(Self([a.parse()?, b.parse()?]))
    }
}

/// A name that cannot be mistaken for something else in a tie or a wire.
fn board_name(text: &str) -> Result<String> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let good = !text.is_empty() && text.chars().all(fits);
    ensure!(good, "{text:?} is no board's name: letters, digits, _");
    Ok(text.to_string())
}
