//! Runs images for the RP2040 in real time, or a step at a time.

mod arguments;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::{stdin, stdout};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use runner::{Bench, BoardId, Losses, Pace, Uart};
use signal_hook::consts::TERM_SIGNALS;

use arguments::Arguments;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.steps {
        let mut dialogue = arguments.dialogue()?;
        return dialogue.hold(stdin().lock(), stdout().lock());
    }
    let lasts = arguments.seconds.map(Duration::try_from_secs_f64);
    let lasts = lasts
        .transpose()
        .context("--seconds must be a time that can pass")?;
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in TERM_SIGNALS {
        signal_hook::flag::register(*signal, Arc::clone(&stopped))
            .context("cannot wait for signals")?;
    }
    let (mut bench, names) = arguments.bench()?;
    let pace = bench
        .live(|real| !stopped.load(Ordering::Relaxed) && lasts.is_none_or(|lasts| real < lasts))?;
    report(&mut bench, &names, pace);
    Ok(())
}

/// Reports what the boards did, and what got lost.
fn report(bench: &mut Bench, names: &BTreeMap<BoardId, String>, pace: Pace) {
    for (id, name) in names {
        let board = bench.board(*id);
        let share = |core| 100.0 * board.busy(core) as f64 / board.now().max(1) as f64;
        let (first, second) = (share(0), share(1));
        eprintln!("{name}: cores busy {first:.1} % and {second:.1} %");
        for uart in Uart::ALL {
            let lost = board.lost(uart);
            if lost > 0 {
                eprintln!("{name}: {uart:?} did not take {lost} bytes");
            }
        }
    }
    for (port, tie) in bench.ties() {
        let losses = tie.losses();
        if losses != Losses::default() {
            eprintln!(
                "{}, UART {:?}: {} damaged and {} refused frames, {} unread bytes",
                names[&port.board],
                port.uart,
                losses.damaged_frames,
                losses.refused_frames,
                losses.unread_bytes
            );
        }
    }
    if !pace.missed.is_zero() {
        eprintln!(
            "too slow for real time: of {:.1} s, {:.1} s did not pass on the boards",
            pace.real.as_secs_f64(),
            pace.missed.as_secs_f64()
        );
    }
}
