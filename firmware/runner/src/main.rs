//! Runs an image for the RP2040 with its UARTs on UDP sockets.

use core::net::SocketAddr;
use core::time::Duration;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use runner::{Board, Bridge, Image, Tie, Uart};

/// Runs an image for the RP2040 in real time, UARTs bridged to UDP, one datagram per frame.
#[derive(Parser)]
#[command(after_help = "Example:\n  \
    runner pico-uart.elf --uart0 127.0.0.1:7001,127.0.0.1:7002 --seconds 10")]
struct Arguments {
    /// An ELF file, a UF2 file, or raw flash content.
    image: PathBuf,
    /// Who the board is: what `nimblenet provision` wrote, in UF2 or raw.
    #[arg(long, value_name = "FILE")]
    provision: Option<PathBuf>,
    /// Where UART0 listens, and where what it sends goes.
    #[arg(long, value_name = "LISTEN,PEER", value_parser = addresses)]
    uart0: Option<(SocketAddr, SocketAddr)>,
    /// Where UART1 listens, and where what it sends goes.
    #[arg(long, value_name = "LISTEN,PEER", value_parser = addresses)]
    uart1: Option<(SocketAddr, SocketAddr)>,
    /// Stops after this long; else runs until killed.
    #[arg(long)]
    seconds: Option<f64>,
}

fn addresses(text: &str) -> Result<(SocketAddr, SocketAddr)> {
    let (listen, peer) = text
        .split_once(',')
        .context("needs two addresses with a comma")?;
    let address = |text: &str| {
        text.parse()
            .with_context(|| format!("{text} is no address"))
    };
    Ok((address(listen)?, address(peer)?))
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let lasts = arguments
        .seconds
        .map(Duration::try_from_secs_f64)
        .transpose();
    let lasts = lasts.context("--seconds must be a time that can pass")?;
    let mut image = Image::read(&arguments.image)?;
    if let Some(record) = &arguments.provision {
        image = image.provisioned_by(record)?;
    }
    let board = Board::new(&image)?;
    let mut ties = Vec::new();
    for (uart, ends) in [(Uart::Zero, arguments.uart0), (Uart::One, arguments.uart1)] {
        if let Some((listen, peer)) = ends {
            ties.push(Tie::new(uart, listen, peer)?);
        }
    }
    let mut bridge = Bridge::new(board, ties);
    bridge.run(lasts)?;
    let board = bridge.board();
    let share = |core| 100.0 * board.busy(core) as f64 / board.now().max(1) as f64;
    eprintln!("cores busy: {:.1} % and {:.1} %", share(0), share(1));
    Ok(())
}
