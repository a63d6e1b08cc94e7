//! The boards: the program that runs them on an emulator, a step at a time.
//!
//! It is a program of its own, with the image and the records of the boards. The two speak in lines of
//! words, which `firmware/runner/src/dialogue.rs` describes.

use core::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Lines, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail};
use nimblenet_board::provision::Provision;
use nimblenet_core::Instant;
use nimblenet_tasklet::NodeId;

use crate::failure::{Coded, MISSING_PROGRAM, PROCESS_FAILED};

/// How many lines of its log an error shows.
const LOG_LINES: usize = 5;

/// The files that boards need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Firmware {
    /// The program that runs boards.
    pub(crate) runner: PathBuf,
    /// The image that they run.
    pub(crate) image: PathBuf,
}

impl Firmware {
    /// The variable that names the program that runs boards.
    pub(crate) const RUNNER: &'static str = "NIMBLENET_RUNNER";
    /// The variable that names the image.
    pub(crate) const IMAGE: &'static str = "NIMBLENET_IMAGE";
    /// Where the repository's own task puts the program.
    const RUNNER_PLACE: &'static str = "target/runner/release/runner";
    /// Where the repository's own task puts the image.
    const IMAGE_PLACE: &'static str = "target/firmware/thumbv6m-none-eabi/release/pico-uart";

    /// The files that options, variables or the repository give, in this order.
    ///
    /// # Errors
    /// If one of them is not there, with the task that builds it.
    pub(crate) fn find(runner: Option<&Path>, image: Option<&Path>) -> anyhow::Result<Self> {
        let file = |given: Option<&Path>, option, variable, place: &str, task| {
            let set = std::env::var_os(variable).map(PathBuf::from);
            let path = given.map(PathBuf::from).or(set);
            let path = path.unwrap_or_else(|| place.into());
            let place = path.display();
            match path.is_file() {
                true => Ok(path),
                false if path.exists() => Err(Coded::new(
                    MISSING_PROGRAM,
                    format!(
                        "{place} is no regular file: name another one with {option} or {variable}"
                    ),
                )),
                false => Err(Coded::new(
                    MISSING_PROGRAM,
                    format!(
                        "{place} is not there: in the repository, `{task}` builds it; name it with \
                         {option} or {variable}"
                    ),
                )),
            }
        };
        Ok(Self {
            runner: file(
                runner,
                "--runner",
                Self::RUNNER,
                Self::RUNNER_PLACE,
                "cargo xtask runner --build",
            )?,
            image: file(
                image,
                "--image",
                Self::IMAGE,
                Self::IMAGE_PLACE,
                "cargo xtask firmware",
            )?,
        })
    }
}

/// A line of a board.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Line {
    /// That of the air.
    Air,
    /// That of the robots.
    Robots,
}

impl Line {
    fn uart(self) -> u8 {
        match self {
            Self::Air => 0,
            Self::Robots => 1,
        }
    }
}

/// A frame that a board has sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Sent {
    /// When it had left.
    pub(crate) at: Instant,
    /// The board.
    pub(crate) node: NodeId,
    /// The line on which it left.
    pub(crate) line: Line,
    /// The frame.
    pub(crate) frame: Vec<u8>,
}

/// How a board is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct State {
    /// How often it was reset.
    pub(crate) resets: u64,
    /// Instructions that both cores have executed.
    pub(crate) instructions: u64,
    /// Bytes that its lines did not take.
    pub(crate) lost_bytes: u64,
    /// How often something that was no frame left it.
    pub(crate) damaged: u64,
}

/// The program that runs the boards. It ends with this.
#[derive(Debug)]
pub(crate) struct Runner {
    child: Child,
    input: BufWriter<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    log: PathBuf,
}

impl Runner {
    /// Powers the boards on, each with its record. Records are written into `folder`, and the
    /// program's log into `logs`.
    ///
    /// # Errors
    /// If the program does not start, or refuses the image or a record.
    pub(crate) fn start(
        firmware: &Firmware,
        boards: &[Provision],
        folder: &Path,
        logs: &Path,
    ) -> anyhow::Result<Self> {
        let log = logs.join("boards.log");
        let mut command = Command::new(&firmware.runner);
        command.arg("--steps");
        for board in boards {
            let record = folder.join(format!("{}.record", board.id()));
            fs::write(&record, board.encode()).context("writing the record of a board")?;
            let (image, record) = (firmware.image.display(), record.display());
            let board = format!("{}={image},provision={record}", name(board.id()));
            command.args(["--board", &board]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).context("making a log")?)
            // An interrupt at the terminal is for the testbed; this one ends with its input.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", firmware.runner.display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let input = BufWriter::new(input.context("a program has an input")?);
        let output = output.context("a program has an output")?;
        let mut runner = Self {
            child,
            input,
            lines: BufReader::new(output).lines(),
            log,
        };
        match runner.hear()?.as_str() {
            "ready" => Ok(runner),
            other => Err(runner.failed(&format!("says `{other}` and not that it is ready"))),
        }
    }

    /// Lets a frame come into a board at a time that has not passed.
    ///
    /// # Errors
    /// If the program has ended.
    pub(crate) fn send(
        &mut self,
        at: Instant,
        node: NodeId,
        line: Line,
        frame: &[u8],
    ) -> anyhow::Result<()> {
        let mut hex = String::with_capacity(2 * frame.len());
        frame
            .iter()
            .for_each(|byte| write!(hex, "{byte:02x}").unwrap_or_default());
        let port = format!("{}.{}", name(node), line.uart());
        self.say(&format!("frame {port} {} {hex}", at.as_micros()))
    }

    /// Runs all boards until a time; returns the frames that have left them, in the order of their
    /// times.
    ///
    /// # Errors
    /// If a board is lost, or the program has ended.
    pub(crate) fn run_until(&mut self, until: Instant) -> anyhow::Result<Vec<Sent>> {
        self.say(&format!("run {}", until.as_micros()))?;
        self.flush()?;
        let mut all = Vec::new();
        loop {
            let line = self.hear()?;
            let words: Vec<&str> = line.split(' ').collect();
            let sent = match words[..] {
                ["at", _] => return Ok(all),
                ["sent", port, at, frame] => sent(port, at, frame),
                _ => None,
            };
            all.push(sent.ok_or_else(|| self.failed(&format!("says `{line}`")))?);
        }
    }

    /// How all boards are.
    ///
    /// # Errors
    /// If the program has ended.
    pub(crate) fn look(&mut self) -> anyhow::Result<Vec<State>> {
        self.say("look")?;
        self.flush()?;
        let mut all = Vec::new();
        loop {
            let line = self.hear()?;
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["end"] => return Ok(all),
                ["board", _, ref numbers @ ..] => {
                    let number = |key: &str| {
                        let pair = numbers.chunks(2).find(|pair| pair[0] == key);
                        pair.and_then(|pair| pair.get(1)?.parse::<u64>().ok())
                            .unwrap_or(0)
                    };
                    all.push(State {
                        resets: number("resets"),
                        instructions: number("instructions-0") + number("instructions-1"),
                        lost_bytes: number("lost"),
                        damaged: number("damaged"),
                    });
                }
                _ => bail!(self.failed(&format!("says `{line}`"))),
            }
        }
    }

    /// The most memory that the program has held so far, in bytes. Nothing if the system does not say.
    pub(crate) fn peak_bytes(&self) -> u64 {
        super::processes::peak_bytes(self.child.id())
    }

    fn say(&mut self, line: &str) -> anyhow::Result<()> {
        let said = writeln!(self.input, "{line}");
        said.map_err(|_| self.failed("has ended"))
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let flushed = self.input.flush();
        flushed.map_err(|_| self.failed("has ended"))
    }

    fn hear(&mut self) -> anyhow::Result<String> {
        match self.lines.next() {
            Some(Ok(line)) => Ok(line),
            Some(Err(_)) | None => Err(self.failed("has ended")),
        }
    }

    fn failed(&self, what: &str) -> anyhow::Error {
        let text = super::processes::end_of_log(&self.log, LOG_LINES);
        Coded::new(PROCESS_FAILED, format!("the emulator {what}; {text}")).into()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        // What has ended already is reaped all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a board is called in the dialogue.
fn name(node: NodeId) -> String {
    format!("n{node}")
}

fn sent(port: &str, at: &str, frame: &str) -> Option<Sent> {
    let (node, uart) = port.strip_prefix('n')?.split_once('.')?;
    let bytes = frame.as_bytes().chunks(2).map(|digits| {
        let digits = str::from_utf8(digits).ok()?;
        u8::from_str_radix(digits, 16).ok()
    });
    Some(Sent {
        at: Instant::from_micros(at.parse().ok()?),
        node: NodeId(node.parse().ok()?),
        line: match uart {
            "0" => Line::Air,
            "1" => Line::Robots,
            _ => return None,
        },
        frame: bytes.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_named_with_the_task_that_builds_it() {
        let missing = Firmware::find(Some(Path::new("/nowhere/runner")), None).unwrap_err();
        let said = missing.to_string();
        assert!(said.contains("cargo xtask runner --build"), "{said}");
        assert!(said.contains("--runner or NIMBLENET_RUNNER"), "{said}");
    }

    #[test]
    fn what_is_there_and_no_file_is_not_said_to_be_missing() {
        let device = Path::new("/dev/null");
        let said = Firmware::find(Some(device), None).unwrap_err().to_string();
        assert!(said.starts_with("/dev/null is no regular file"), "{said}");
    }

    #[test]
    fn a_frame_of_a_board_is_read_back() {
        let read = sent("n12.1", "2500", "10ff00").unwrap();
        let expected = Sent {
            at: Instant::from_micros(2500),
            node: NodeId(12),
            line: Line::Robots,
            frame: vec![0x10, 0xff, 0],
        };
        assert_eq!(read, expected);
        for (port, at, frame) in [("12.1", "1", ""), ("n1.2", "1", ""), ("n1.0", "x", "00")] {
            assert_eq!(sent(port, at, frame), None);
        }
    }
}
