//! The newest lines of a node's log: what tasklets have written, and why they failed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use nimblenet_core::{CallId, Instant};
use nimblenet_tasklet::{ActivationId, Place, TaskletName};

/// Lines that are kept.
const MAX_LINES: usize = 512;
/// Bytes of text that are kept.
const MAX_BYTES: usize = 64 << 10;
/// Bytes of one line; the rest of a longer one is left out.
const MAX_LINE_BYTES: usize = 256;

/// A line that a tasklet has written, or that says why it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Its number; lines are numbered from 1 since the node's start.
    pub(crate) number: u64,
    /// When it was written.
    pub(crate) at: Instant,
    /// Who has written it.
    pub(crate) tasklet: TaskletName,
    /// The call that it was written in, as far as the node knows.
    pub(crate) call: Option<CallId>,
    /// Where in its module it failed, if it did.
    pub(crate) place: Option<Place>,
    /// What it says; whatever is no text is replaced.
    pub(crate) text: String,
}

/// The newest lines, shared by the executors that write them and the loop that reads them.
#[derive(Clone, Default, Debug)]
pub(crate) struct Lines(Arc<Mutex<Ring>>);

#[derive(Default, Debug)]
struct Ring {
    lines: VecDeque<Line>,
    bytes: usize,
    /// The number of the last line.
    last: u64,
    /// Lines whose call has yet to be looked up, by number, and who wrote them.
    open: Vec<(u64, ActivationId)>,
}

impl Lines {
    /// Adds a line, written by an activation if that is known. The oldest is forgotten first.
    pub(crate) fn write(
        &self,
        at: Instant,
        tasklet: TaskletName,
        writer: Option<ActivationId>,
        text: &[u8],
    ) {
        let line = Line {
            number: 0,
            at,
            tasklet,
            call: None,
            place: None,
            text: shortened(text),
        };
        self.lock().push(line, writer);
    }

    /// Adds why a tasklet failed in a call.
    pub(crate) fn note_failure(
        &self,
        at: Instant,
        tasklet: TaskletName,
        call: CallId,
        place: Option<Place>,
        text: &str,
    ) {
        let line = Line {
            number: 0,
            at,
            tasklet,
            call: Some(call),
            place,
            text: shortened(text.as_bytes()),
        };
        self.lock().push(line, None);
    }

    /// Looks up the calls of lines that were written since the last time.
    pub(crate) fn find_calls(&self, call: impl Fn(ActivationId) -> Option<CallId>) {
        let mut ring = self.lock();
        for (number, writer) in core::mem::take(&mut ring.open) {
            let place = ring.lines.binary_search_by_key(&number, |line| line.number);
            if let Ok(place) = place {
                ring.lines[place].call = call(writer);
            }
        }
    }

    /// The lines after number `from`. If there is no such number yet, the node has started since
    /// the reader heard of it: all lines.
    pub(crate) fn after(&self, from: u64) -> Vec<Line> {
        let ring = self.lock();
        let from = if from > ring.last { 0 } else { from };
        let first = ring.lines.partition_point(|line| line.number <= from);
        ring.lines.range(first..).cloned().collect()
    }

    /// The lines of a call.
    pub(crate) fn of(&self, call: CallId) -> Vec<Line> {
        let ring = self.lock();
        let lines = ring.lines.iter().filter(|line| line.call == Some(call));
        lines.cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shortened(text: &[u8]) -> String {
    let text = &text[..text.len().min(MAX_LINE_BYTES)];
    String::from_utf8_lossy(text).into_owned()
}

impl Ring {
    /// Adds a line, which gets the next number.
    fn push(&mut self, mut line: Line, writer: Option<ActivationId>) {
        self.last += 1;
        line.number = self.last;
        self.open.extend(writer.map(|writer| (self.last, writer)));
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let oldest = self.lines.pop_front();
            self.bytes -= oldest.map_or(0, |line| line.text.len());
        }
        let kept = self.lines.front().map_or(0, |line| line.number);
        if self.open.first().is_some_and(|(first, _)| *first < kept) {
            self.open.retain(|(number, _)| *number >= kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(lines: &Lines, writer: u32, text: &str) {
        let tasklet = TaskletName::new("shop/talk").unwrap();
        let writer = Some(ActivationId(writer));
        lines.write(Instant::ZERO, tasklet, writer, text.as_bytes());
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[test]
    fn lines_are_read_from_a_number_on_and_all_of_them_after_a_restart() {
        let lines = Lines::default();
        for text in ["one", "two", "three"] {
            write(&lines, 1, text);
        }
        assert_eq!(texts(&lines.after(0)), ["one", "two", "three"]);
        assert_eq!(texts(&lines.after(2)), ["three"]);
        assert_eq!(texts(&lines.after(3)), [""; 0]);
        assert_eq!(texts(&lines.after(900)), ["one", "two", "three"]);
    }

    #[test]
    fn a_line_has_the_call_that_its_writer_ran_when_that_is_looked_up() {
        let lines = Lines::default();
        write(&lines, 1, "one");
        lines.find_calls(|writer| (writer == ActivationId(1)).then_some(CallId(12)));
        write(&lines, 2, "two");
        lines.find_calls(|_| None);
        let calls: Vec<_> = lines.after(0).iter().map(|line| line.call).collect();
        assert_eq!(calls, [Some(CallId(12)), None]);
    }

    #[test]
    fn lines_their_bytes_and_each_of_them_are_bounded() {
        let lines = Lines::default();
        for _ in 0..MAX_LINES + 9 {
            write(&lines, 1, "short");
        }
        let kept = lines.after(0);
        assert_eq!((kept.len(), kept[0].number), (MAX_LINES, 10));
        let long = "x".repeat(MAX_LINE_BYTES + 9);
        for _ in 0..MAX_LINES {
            write(&lines, 1, &long);
        }
        let kept = lines.after(0);
        assert_eq!(kept.len(), MAX_BYTES / MAX_LINE_BYTES);
        assert!(kept.iter().all(|line| line.text.len() == MAX_LINE_BYTES));
        assert_eq!(lines.lock().open.len(), kept.len());
    }
}
