//! Tales: what a node says of its load, whatever that is. The node itself is right; its frames are
//! changed when they leave it.

use nimblenet_core::wire::{Answer, Frame, Load, Message, Return, Wait};
use nimblenet_tasklet::NodeId;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// A random tale says at most so many hundredths of a second.
const RANDOM_MAX: u16 = 2000;

/// What a node says of the time that new work waits there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tale {
    /// None.
    Idle,
    /// The longest that a frame can say.
    Full,
    /// Any time up to 20 s, another one each time.
    Random,
    /// Half of it.
    Half,
}

impl Tale {
    /// Every tale.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Full, Self::Random, Self::Half];

    /// The name of this kind of fault, in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "says-idle",
            Self::Full => "says-full",
            Self::Random => "says-random",
            Self::Half => "says-half",
        }
    }

    fn wait(self, wait: Wait, random: &mut ChaCha8Rng) -> Wait {
        match self {
            Self::Idle => Wait(0),
            Self::Full => Wait(u16::MAX),
            Self::Random => Wait(random.random_range(0..=RANDOM_MAX)),
            Self::Half => Wait(wait.0 / 2),
        }
    }

    /// The frame that the node `teller` sends instead of `frame`, which has `len` bytes with its checksum, if
    /// it has one; none if that says nothing of its load.
    pub(crate) fn told(
        self,
        teller: NodeId,
        (frame, len): (&Frame<'_>, usize),
        random: &mut ChaCha8Rng,
    ) -> Option<Vec<u8>> {
        if frame.origin != teller {
            return None;
        }
        let message = if let Message::Load(load) = frame.message {
            let wait = self.wait(load.wait, random);
            Message::Load(Load { wait, ..load })
        } else if let Message::Return(Return { request, answer }) = frame.message
            && let Answer::Working(run, wait) = answer
        {
            let answer = Answer::Working(run, self.wait(wait, random));
            Message::Return(Return { request, answer })
        } else {
            return None;
        };
        let frame = Frame { message, ..*frame };
        let mut bytes = vec![0; len.max(frame.len())];
        match len > frame.len() {
            true => frame.emit_checked(&mut bytes)?,
            false => frame.emit(&mut bytes)?,
        };
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use nimblenet_core::wire::CHECKSUM_LEN;

    use super::*;

    fn frame(origin: u16, message: Message<'_>) -> Frame<'_> {
        Frame {
            ttl: 0,
            sender: NodeId(3),
            receiver: NodeId::EVERYONE,
            origin: NodeId(origin),
            destination: NodeId::EVERYONE,
            sequence: 7,
            hops: 1,
            unanswered: false,
            message,
        }
    }

    fn said(tale: Tale, origin: u16, message: Message<'_>) -> Option<u16> {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let frame = frame(origin, message);
        let told = tale.told(NodeId(3), (&frame, frame.len()), &mut random)?;
        let checked = frame.len() + CHECKSUM_LEN;
        let checked = tale.told(NodeId(3), (&frame, checked), &mut random)?;
        assert_eq!(checked.len(), told.len() + CHECKSUM_LEN);
        assert!(Frame::parse(&checked).is_ok(), "its checksum is right");
        let told = Frame::parse(&told).unwrap();
        assert_eq!((told.origin, told.sequence), (NodeId(3), 7));
        if let Message::Load(load) = told.message {
            return Some(load.wait.0);
        }
        let Message::Return(Return { answer, .. }) = told.message else {
            panic!("it says nothing of a load");
        };
        let Answer::Working(9, wait) = answer else {
            panic!("it says that it works, in its run");
        };
        Some(wait.0)
    }

    #[test]
    fn a_tale_changes_what_its_teller_says_of_its_load_and_nothing_else() {
        let wait = Wait(600);
        let load = Message::Load(Load { wait, executors: 1 });
        let answer = Answer::Working(9, wait);
        let works = Message::Return(Return { request: 5, answer });
        for message in [load, works] {
            assert_eq!(said(Tale::Idle, 3, message), Some(0));
            assert_eq!(said(Tale::Full, 3, message), Some(u16::MAX));
            assert_eq!(said(Tale::Half, 3, message), Some(300));
            let random = said(Tale::Random, 3, message);
            assert!(random.is_some_and(|wait| wait <= RANDOM_MAX));
            assert_eq!(said(Tale::Idle, 4, message), None, "another node says it");
        }
        let answer = Answer::Done(&[0x80]);
        let done = Message::Return(Return { request: 5, answer });
        assert_eq!(said(Tale::Idle, 3, done), None);
    }
}
