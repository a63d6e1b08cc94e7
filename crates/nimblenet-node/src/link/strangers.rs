//! Senders that are no neighbours, so that each of them is spoken of now and then only.

use core::net::SocketAddr;
use core::time::Duration;

use nimblenet_core::Instant;

/// How often one of them is spoken of.
const REPEAT: Duration = Duration::from_secs(60);
/// Addresses that are remembered. While as many are, further ones are not spoken of.
const MAX_STRANGERS: usize = 64;

/// Who was spoken of, and when.
#[derive(Default, Debug)]
pub(super) struct Strangers(Vec<(SocketAddr, Instant)>);

impl Strangers {
    /// Whether a stranger that was heard is to be spoken of.
    pub(super) fn is_news(&mut self, now: Instant, address: SocketAddr) -> bool {
        self.0.retain(|(_, told)| now.since(*told) < REPEAT);
        let known = self.0.iter().any(|(known, _)| *known == address);
        let news = !known && self.0.len() < MAX_STRANGERS;
        if news {
            self.0.push((address, now));
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_is_news_once_a_minute_and_not_many_are_at_once() {
        let at = |seconds: u64| Instant::from_micros(seconds * 1_000_000);
        let stranger = |port: u16| SocketAddr::from(([192, 0, 2, 1], port));
        let mut strangers = Strangers::default();
        assert!(strangers.is_news(at(1), stranger(1)));
        assert!(!strangers.is_news(at(60), stranger(1)));
        assert!(strangers.is_news(at(61), stranger(1)));
        let told = (2..1000).filter(|port| strangers.is_news(at(62), stranger(*port)));
        assert_eq!(told.count(), MAX_STRANGERS - 1);
        assert!(strangers.is_news(at(122), stranger(999)));
    }
}
