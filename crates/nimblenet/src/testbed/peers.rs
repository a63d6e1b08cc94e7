//! Nodes of this program in the virtual time of the boards: the registry, and the robots' ends of the
//! lines, each a node of the shipped core without executors' work.

use nimblenet_core::{
    Archive, CallId, CallRequest, Config, Driver, Event, ExecutorId, Input, Instant, LinkAddress,
    LinkId, Node, Placement, Priority, Role, Transmit, drain, pump,
};
use nimblenet_tasklet::{Fault, NodeId, TaskletName, Work};

/// A node in virtual time.
#[derive(Debug)]
pub(super) struct Peer {
    node: Node,
    due: Option<Instant>,
    outside: Outside,
    buffer: Vec<u8>,
}

/// What a node has done since it was last looked at.
#[derive(Debug, Default)]
struct Outside {
    frames: Vec<Vec<u8>>,
    ended: Vec<(CallId, Result<(), Fault>)>,
    announced: Vec<(NodeId, u32)>,
}

impl Driver for Outside {
    fn transmit(&mut self, _: Instant, _: Transmit, frame: &[u8]) {
        self.frames.push(frame.to_vec());
    }

    fn work(&mut self, _: Instant, _: ExecutorId, _: Work<'_>) {}

    fn event(&mut self, _: Instant, event: Event<'_>) {
        match event {
            Event::Finished { call, result, .. } => self.ended.push((call, result.map(|_| ()))),
            Event::Announced { node, epoch, .. } => self.announced.push((node, epoch)),
            Event::Reported { .. }
            | Event::Catalogue { .. }
            | Event::Contradicted { .. }
            | Event::Moved { .. }
            | Event::Item { .. } => {}
        }
    }
}

impl Peer {
    /// A registry with an archive, whose frames have at most `mtu` bytes.
    pub(super) fn registry(id: NodeId, mtu: u16, archive: Archive) -> anyhow::Result<Self> {
        let mut config = Config::new(id, mtu);
        config.role = Role::Registry(archive);
        config.limits.jobs = 1;
        Self::new(config)
    }

    /// The robots' end of a board's second line: it makes so many calls at a time.
    pub(super) fn robots(id: NodeId, mtu: u16, calls: usize) -> anyhow::Result<Self> {
        let mut config = Config::new(id, mtu);
        config.limits.jobs = calls.max(1);
        config.placement = Placement::HERE;
        Self::new(config)
    }

    fn new(config: Config) -> anyhow::Result<Self> {
        let mtu = config.links.iter().map(|link| link.mtu).max().unwrap_or(0);
        Ok(Self {
            node: Node::new(config)?,
            due: Some(Instant::ZERO),
            outside: Outside::default(),
            buffer: vec![0; mtu.into()],
        })
    }

    /// When it wants to hear that time has passed.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Time has passed.
    pub(super) fn wake(&mut self, now: Instant) {
        self.handle(now, Input::Timeout);
    }

    /// A frame has come from a neighbour.
    pub(super) fn hear(&mut self, now: Instant, from: NodeId, bytes: &[u8]) {
        let (link, from) = (LinkId(0), LinkAddress(from.0.into()));
        self.handle(now, Input::Frame { link, from, bytes });
    }

    /// Calls a tasklet at another node.
    ///
    /// # Errors
    /// If it makes as many calls as it may.
    pub(super) fn call(
        &mut self,
        now: Instant,
        at: NodeId,
        request: CallRequest<'_>,
    ) -> Result<CallId, Fault> {
        let called = self.node.call_at(now, at, request);
        let next = drain(&mut self.node, now, &mut self.outside, &mut self.buffer);
        self.due = next.map(|(at, _)| at);
        called
    }

    /// The frames that it has sent since the last look.
    pub(super) fn take_frames(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.outside.frames)
    }

    /// The calls that have ended since the last look.
    pub(super) fn take_ended(&mut self) -> Vec<(CallId, Result<(), Fault>)> {
        core::mem::take(&mut self.outside.ended)
    }

    /// Which nodes have told since the last look which epoch they hold.
    pub(super) fn take_announced(&mut self) -> Vec<(NodeId, u32)> {
        core::mem::take(&mut self.outside.announced)
    }

    fn handle(&mut self, now: Instant, input: Input<'_>) {
        let next = pump(
            &mut self.node,
            now,
            input,
            &mut self.outside,
            &mut self.buffer,
        );
        self.due = next.map(|(at, _)| at);
    }
}

/// A robot's call of `name`, with as much patience as it takes.
pub(super) fn request(name: TaskletName) -> CallRequest<'static> {
    CallRequest {
        name,
        export: "",
        args: super::robots::NOTHING,
        deadline: Some(super::processes::CALL_MAX),
        priority: Priority::Normal,
        client: None,
        key: None,
        from: None,
    }
}
