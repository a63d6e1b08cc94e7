//! Calls that do not come as frames: the [`Caller`] makes them at the board's own node, and gets
//! their results.

use core::future::{Future, pending};

use embassy_futures::select::select;
use embassy_sync::blocking_mutex::raw::RawMutex;
use embassy_sync::channel::{Receiver, Sender};
use nimblenet_core::{CallId, CallRequest, Instant, Node};
use nimblenet_tasklet::{Fault, Trap};

use crate::PLACES;
use crate::clock::Clock;
use crate::coap::{Endpoint, MAX_EXCHANGES, MAX_MESSAGE_BYTES, Reaction, RequestId};

/// The longest request that is read; whoever receives a longer one drops it.
pub const MAX_REQUEST_BYTES: usize = 1024;
/// How many requests can wait for the node.
pub const REQUESTS: usize = 2;
/// How many answers can wait to be sent.
pub const ANSWERS: usize = 4;

/// Makes calls at the board's own node.
pub trait Caller {
    /// Waits until [`serve`](Self::serve) has something to do. The future may be dropped at any
    /// time.
    fn ready(&mut self, clock: &impl Clock) -> impl Future<Output = ()>;
    /// Does what is due, and makes the calls that follow.
    fn serve(&mut self, now: Instant, node: &mut Node);
    /// A call has ended: with the CBOR array of its results, or with the fault.
    fn finished(
        &mut self,
        now: Instant,
        call: CallId,
        result: Result<&[u8], Fault>,
        trap: Option<Trap>,
    );
}

/// The caller of a board that makes no calls of its own.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Caller for Nobody {
    async fn ready(&mut self, _: &impl Clock) {
        pending().await
    }

    fn serve(&mut self, _: Instant, _: &mut Node) {}

    fn finished(&mut self, _: Instant, _: CallId, _: Result<&[u8], Fault>, _: Option<Trap>) {}
}

/// A CoAP message and its peer.
#[derive(Clone, Debug)]
pub struct Datagram<P, const BYTES: usize> {
    /// Where it comes from or goes to.
    pub peer: P,
    /// The message.
    pub bytes: heapless::Vec<u8, BYTES>,
}

/// Where requests come from.
pub type Requests<'c, M, P> = Receiver<'c, M, Datagram<P, MAX_REQUEST_BYTES>, REQUESTS>;
/// Where answers go.
pub type Answers<'c, M, P> = Sender<'c, M, Datagram<P, MAX_MESSAGE_BYTES>, ANSWERS>;

/// Makes the calls that CoAP clients ask for. A datagram that finds no room on its way out is lost,
/// as it may be lost in the network; the protocol repeats it.
pub struct CoapCaller<'c, M: RawMutex, P> {
    endpoint: Endpoint<P>,
    running: heapless::Vec<(CallId, RequestId), MAX_EXCHANGES>,
    requests: Requests<'c, M, P>,
    answers: Answers<'c, M, P>,
}

impl<'c, M: RawMutex, P: Copy + PartialEq> CoapCaller<'c, M, P> {
    /// A caller without clients yet. `seed` makes messages differ between restarts.
    pub fn new(seed: u16, requests: Requests<'c, M, P>, answers: Answers<'c, M, P>) -> Self {
        Self {
            endpoint: Endpoint::new(seed),
            running: heapless::Vec::new(),
            requests,
            answers,
        }
    }

    fn take(&mut self, now: Instant, request: &Datagram<P, MAX_REQUEST_BYTES>, node: &mut Node) {
        let peer = request.peer;
        let counters = node.counters();
        let numbers = [
            ("id", u64::from(node.id().0)),
            ("calls", counters.calls),
            ("completed", counters.completed),
            ("failed", counters.failed),
            #[cfg(feature = "placement")]
            ("placed", counters.placed),
            ("rx_bytes", counters.received_bytes()),
            ("tx_bytes", counters.sent_bytes()),
        ];
        let reaction = self.endpoint.handle(now, peer, &request.bytes, &numbers);
        let (id, refused) = match reaction {
            Reaction::Ignore => return,
            Reaction::Reply(bytes) => return send(self.answers, peer, bytes),
            Reaction::Call(id, call) => match make(node, now, call) {
                Ok(call) => (id, self.running.push((call, id)).err().map(|_| Fault::Busy)),
                Err(fault) => (id, Some(fault)),
            },
        };
        if let Some(fault) = refused
            && let Some(answer) = self.endpoint.finish(now, id, Err(fault), None)
        {
            send(self.answers, answer.to, answer.bytes);
        }
    }
}

/// Makes a call of a client: at the node where placement has it run, if the image places calls.
#[inline(always)]
fn make(node: &mut Node, now: Instant, call: CallRequest<'_>) -> Result<CallId, Fault> {
    match PLACES {
        true => node.call(now, call),
        false => node.call_here(now, call),
    }
}

fn send<M: RawMutex, P>(answers: Answers<'_, M, P>, peer: P, bytes: &[u8]) {
    if let Ok(bytes) = heapless::Vec::from_slice(bytes) {
        let _ = answers.try_send(Datagram { peer, bytes });
    }
}

impl<M: RawMutex, P: Copy + PartialEq> Caller for CoapCaller<'_, M, P> {
    async fn ready(&mut self, clock: &impl Clock) {
        let due = async {
            match self.endpoint.poll_timeout() {
                Some(at) => clock.until(at).await,
                None => pending().await,
            }
        };
        select(self.requests.ready_to_receive(), due).await;
    }

    fn serve(&mut self, now: Instant, node: &mut Node) {
        while let Some(message) = self.endpoint.handle_timeout(now) {
            send(self.answers, message.to, message.bytes);
        }
        if let Ok(request) = self.requests.try_receive() {
            self.take(now, &request, node);
        }
    }

    fn finished(
        &mut self,
        now: Instant,
        call: CallId,
        result: Result<&[u8], Fault>,
        trap: Option<Trap>,
    ) {
        let Some(at) = self.running.iter().position(|(held, _)| *held == call) else {
            return;
        };
        let (_, id) = self.running.swap_remove(at);
        if let Some(answer) = self.endpoint.finish(now, id, result, trap) {
            send(self.answers, answer.to, answer.bytes);
        }
    }
}

impl<M: RawMutex, P> core::fmt::Debug for CoapCaller<'_, M, P> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CoapCaller").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;
    use core::time::Duration;

    use embassy_futures::block_on;
    use embassy_sync::blocking_mutex::raw::NoopRawMutex;
    use embassy_sync::channel::Channel;
    use embassy_sync::zerocopy_channel;
    use nimblenet_core::NamespaceConfig;
    use nimblenet_tasklet::{Capabilities, Name, NodeId};

    use super::*;
    use crate::orchestrator::Orchestrator;
    use crate::parcel;
    use crate::start::config;

    const GET: u8 = 1;
    const POST: u8 = 2;
    const CLIENT: u8 = 5;

    type Sent = Vec<(u8, Vec<u8>)>;

    /// A clock that stands still, and whose deadlines have always come.
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Instant {
            Instant::ZERO
        }

        async fn until(&self, _: Instant) {}
    }

    /// Asks a board for something and lets it work until it has answered; its frames reach nobody.
    fn ask(requests: &[Vec<u8>], time: Duration) -> (Sent, nimblenet_core::Counters) {
        let incoming = Channel::<NoopRawMutex, _, REQUESTS>::new();
        let outgoing = Channel::<NoopRawMutex, _, ANSWERS>::new();
        let mut places = [parcel::empty()];
        let mut work = zerocopy_channel::Channel::<NoopRawMutex, _>::new(&mut places);
        let (give, _take) = work.split();
        let shop = NamespaceConfig {
            name: Name::new("shop").unwrap(),
            registry: NodeId(1),
            key: [7; 32],
            capabilities: Capabilities::NONE,
            stays: false,
        };
        let node = Node::new(config(NodeId(7), vec![shop], &[], 0, 1)).unwrap();
        let caller = CoapCaller::new(0, incoming.receiver(), outgoing.sender());
        let mut board = Orchestrator::new(node, [], give, caller, None);
        let mut sent = Vec::new();
        for request in requests {
            let bytes = heapless::Vec::from_slice(request).unwrap();
            let peer = CLIENT;
            incoming.try_send(Datagram { peer, bytes }).unwrap();
            board.serve(Instant::ZERO);
        }
        let mut now = Instant::ZERO;
        while now < Instant::ZERO + time {
            while let Ok(Datagram { peer, bytes }) = outgoing.try_receive() {
                sent.push((peer, bytes.to_vec()));
            }
            board.handle(now, nimblenet_core::Input::Timeout);
            board.serve(now);
            now += Duration::from_millis(10);
        }
        (sent, *board.counters())
    }

    /// A confirmable request.
    fn request(id: u8, method: u8, path: &[&str]) -> Vec<u8> {
        let mut bytes = vec![0x41, method, 0, id, 0xaa];
        for (at, part) in path.iter().enumerate() {
            let delta = if at == 0 { 11 << 4 } else { 0 };
            bytes.push(delta | part.len() as u8);
            bytes.extend(part.bytes());
        }
        bytes
    }

    #[test]
    fn a_call_that_the_node_refuses_is_answered_at_once() {
        let call = request(1, POST, &["t", "lab", "rms"]);
        let (sent, counters) = ask(&[call], Duration::from_millis(50));
        let [(CLIENT, answer)] = &sent[..] else {
            panic!("{sent:?} is no single answer");
        };
        // The answer is an acknowledgement with 4.04.
        assert_eq!(answer[..5], [0x61, 0x84, 0, 1, 0xaa]);
        assert_eq!((counters.calls, counters.failed), (1, 1));
    }

    #[test]
    fn a_call_that_ends_later_is_answered_then_and_repeated() {
        let call = request(1, POST, &["t", "shop", "rms"]);
        let (sent, counters) = ask(&[call.clone(), call], Duration::from_secs(60));
        assert_eq!(counters.calls, 1, "the repetition is no second call");
        let (_, first) = &sent[0];
        assert_eq!(
            first[..],
            [0x60, 0, 0, 1],
            "whoever repeats is told to wait"
        );
        let (_, answer) = &sent[1];
        // The answer is confirmable, with 5.03: the board has no catalogue.
        assert_eq!(answer[..2], [0x41, 0xa3]);
        let repeated = sent[2..].iter().filter(|(_, bytes)| bytes == answer);
        assert_eq!(repeated.count(), 4, "as often as the protocol says");
        assert_eq!(counters.failed, 1);
    }

    #[test]
    fn the_status_tells_who_the_node_is() {
        let (sent, _) = ask(&[request(1, GET, &["status"])], Duration::from_millis(50));
        let (_, answer) = &sent[0];
        assert_eq!(answer[..2], [0x61, 0x45]);
        let text = b"\x62id\x07";
        assert!(answer.windows(text.len()).any(|window| window == text));
    }

    #[test]
    fn a_caller_wakes_for_requests_and_for_its_own_deadlines() {
        let incoming = Channel::<NoopRawMutex, _, REQUESTS>::new();
        let outgoing = Channel::<NoopRawMutex, _, ANSWERS>::new();
        let mut caller = CoapCaller::new(0, incoming.receiver(), outgoing.sender());
        let woken = |caller: &mut CoapCaller<'_, _, u8>| {
            let waits = select(caller.ready(&Still), core::future::ready(()));
            matches!(block_on(waits), embassy_futures::select::Either::First(()))
        };
        assert!(!woken(&mut caller));
        let bytes = request(1, POST, &["t", "shop", "rms"]);
        let bytes = heapless::Vec::from_slice(&bytes).unwrap();
        let peer = CLIENT;
        incoming.try_send(Datagram { peer, bytes }).unwrap();
        assert!(woken(&mut caller));
    }
}
