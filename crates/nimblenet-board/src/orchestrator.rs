//! Drives the node: frames, replies and time go in; frames and parcels come out.

use core::future::pending;
use core::time::Duration;

use embassy_futures::select::{Either, Either4, select, select4};
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::signal::Signal;
use embassy_sync::{channel, zerocopy_channel};
use nimblenet_core::{
    Counters, Driver, Event, ExecutorId, Input, Instant, LinkAddress, LinkId, Node, Transmit,
    drain, pump,
};
use nimblenet_tasklet::{NamespaceId, Work};

use crate::calls::{Caller, Nobody};
use crate::clock::{Clock, Watchdog};
use crate::framing::{Frame, MAX_FRAME_BYTES};
use crate::ledger::BoardLedger;
use crate::lent::Lent;
use crate::parcel::{Parcel, Reply};

/// How many frames that have come in can wait for the node.
pub const INCOMING_FRAMES: usize = 4;
/// How many frames can wait for a link; the node holds the others back.
pub const OUTGOING_FRAMES: usize = 2;
/// The longest time between two feedings of the watchdog.
const FEED: Duration = Duration::from_millis(500);
/// An interpreter that owes an answer for longer than this is lost; its longest work, a signature
/// check, takes a fraction of a second.
const PATIENCE: Duration = Duration::from_secs(4);

/// A frame that has come in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// The link.
    pub link: LinkId,
    /// The neighbour on it.
    pub from: LinkAddress,
    /// The frame.
    pub frame: Frame,
}

/// A frame that is to go out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Departure {
    /// The neighbour; none for all on the link.
    pub to: Option<LinkAddress>,
    /// The frame.
    pub frame: Frame,
}

/// The channel to a link, for frames that go out.
pub type Outgoing<'c, M> = channel::Sender<'c, M, Departure, OUTGOING_FRAMES>;
/// The channel from all links, for frames that come in.
pub type Incoming<'c, M> = channel::Receiver<'c, M, Arrival, INCOMING_FRAMES>;

/// The node, and the channels through which it acts; `C` makes the board's own calls.
pub struct Orchestrator<'c, M: RawMutex, const LINKS: usize, C = Nobody> {
    node: Node,
    outside: Outside<'c, M, LINKS, C>,
    frame: [u8; MAX_FRAME_BYTES],
}

struct Outside<'c, M: RawMutex, const LINKS: usize, C> {
    links: [Outgoing<'c, M>; LINKS],
    work: zerocopy_channel::Sender<'c, M, Parcel>,
    /// Since when the interpreter owes an answer.
    waits: Option<Instant>,
    caller: C,
    /// What must not fall; none if it was lost.
    ledger: Option<&'c mut BoardLedger>,
}

impl<M: RawMutex, const LINKS: usize, C: Caller> Driver for Outside<'_, M, LINKS, C> {
    fn takes_frame(&self, LinkId(link): LinkId) -> bool {
        self.links
            .get(usize::from(link))
            .is_some_and(|link| !link.is_full())
    }

    fn takes_work(&self, _: ExecutorId) -> bool {
        !self.work.is_full()
    }

    fn transmit(&mut self, _: Instant, transmit: Transmit, frame: &[u8]) {
        let Transmit {
            link: LinkId(link),
            to,
            ..
        } = transmit;
        let room = self.links.get(usize::from(link));
        if let (Some(link), Ok(frame)) = (room, Frame::from_slice(frame)) {
            // There is room, since `takes_frame` was true.
            let _ = link.try_send(Departure { to, frame });
        }
    }

    /// Not inlined into `drain`: that would cost the image half a kilobyte of flash.
    #[inline(never)]
    fn work(&mut self, now: Instant, _: ExecutorId, work: Work<'_>) {
        if let Some(parcel) = self.work.try_send() {
            parcel.pack(work, |bytes, _| Lent::new(bytes));
            self.work.send_done();
            self.waits = Some(now);
        }
    }

    fn keep(&mut self, _: Instant, namespace: NamespaceId, epoch: u32) {
        if let Some(ledger) = &mut self.ledger {
            ledger.raise(namespace, epoch);
        }
    }

    fn event(&mut self, now: Instant, event: Event<'_>) {
        // The node sends results to callers on other nodes itself, as frames.
        if let Event::Finished {
            call, result, trap, ..
        } = event
        {
            self.caller.finished(now, call, result, trap);
        }
    }
}

impl<'c, M: RawMutex, const LINKS: usize, C: Caller> Orchestrator<'c, M, LINKS, C> {
    /// Connects `node` to `links`, to the interpreter through `work`, to `caller`, and to the `ledger` that
    /// keeps what must not fall, unless that was lost.
    pub fn new(
        node: Node,
        links: [Outgoing<'c, M>; LINKS],
        work: zerocopy_channel::Sender<'c, M, Parcel>,
        caller: C,
        ledger: Option<&'c mut BoardLedger>,
    ) -> Self {
        Self {
            node,
            outside: Outside {
                links,
                work,
                waits: None,
                caller,
                ledger,
            },
            frame: [0; MAX_FRAME_BYTES],
        }
    }

    /// The node's counters.
    pub fn counters(&self) -> &Counters {
        self.node.counters()
    }

    /// Tells the node what happened. Returns the latest time for the next [`Input::Timeout`].
    pub fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Instant> {
        let Self {
            node,
            outside,
            frame,
        } = self;
        let next = pump(node, now, input, outside, frame);
        next.map(|(at, _)| at)
    }

    /// Gives the interpreter's reply to the node; the reply's place may be used again afterwards.
    pub fn answered(&mut self, now: Instant, reply: &Reply) -> Option<Instant> {
        self.outside.waits = None;
        match reply.outcome() {
            Some(outcome) => self.handle(now, Input::Outcome(outcome)),
            None => self.room(now),
        }
    }

    /// Lets the caller do what is due.
    pub fn serve(&mut self, now: Instant) -> Option<Instant> {
        self.outside.caller.serve(now, &mut self.node);
        self.room(now)
    }

    /// Tells the node that a link or the interpreter has room again.
    pub fn room(&mut self, now: Instant) -> Option<Instant> {
        let Self {
            node,
            outside,
            frame,
        } = self;
        let next = drain(node, now, outside, frame);
        next.map(|(at, _)| at)
    }

    /// Starts the watchdog, and tells the node everything that happens, without end.
    pub async fn run(
        &mut self,
        clock: impl Clock,
        incoming: Incoming<'c, M>,
        room: &Signal<M, ()>,
        mut replies: zerocopy_channel::Receiver<'c, M, Reply>,
        mut watchdog: impl Watchdog,
    ) -> ! {
        watchdog.start();
        let mut due = self.handle(clock.now(), Input::Timeout);
        loop {
            let now = clock.now();
            if self
                .outside
                .waits
                .is_some_and(|since| now - since > PATIENCE)
            {
                watchdog.interpreter_lost();
                pending::<()>().await;
            }
            watchdog.feed();
            if let Some(ledger) = &mut self.outside.ledger {
                ledger.come_to(self.node.next_sequence());
            }
            if due.is_some_and(|due| due <= now) {
                due = self.handle(now, Input::Timeout);
            }
            let wake = due.map_or(now + FEED, |due| due.min(now + FEED));
            // Frames come last, since strangers may send them without end; all else has a limit.
            let next = select4(
                replies.receive(),
                room.wait(),
                incoming.receive(),
                clock.until(wake),
            );
            let happened = match select(next, self.outside.caller.ready(&clock)).await {
                Either::First(happened) => happened,
                Either::Second(()) => {
                    due = self.serve(clock.now());
                    continue;
                }
            };
            due = match happened {
                Either4::First(reply) => {
                    let due = self.answered(clock.now(), reply);
                    replies.receive_done();
                    due
                }
                Either4::Second(()) => self.room(clock.now()),
                Either4::Third(Arrival { link, from, frame }) => {
                    let bytes = &frame[..];
                    self.handle(clock.now(), Input::Frame { link, from, bytes })
                }
                Either4::Fourth(()) => due,
            };
        }
    }
}

impl<M: RawMutex, const LINKS: usize, C> core::fmt::Debug for Orchestrator<'_, M, LINKS, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Orchestrator").finish_non_exhaustive()
    }
}
