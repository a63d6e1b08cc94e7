//! Modules that were uploaded and wait for the publication that names them.
//!
//! They are in memory only: a module that is never published is lost when the process ends. The
//! oldest modules make room for new ones.

use alloc::collections::VecDeque;

use nimblenet_tasklet::Digest;

#[derive(Debug)]
pub(super) struct Staging {
    modules: VecDeque<(Digest, Box<[u8]>)>,
    bytes: usize,
    max_bytes: usize,
}

impl Staging {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            modules: VecDeque::new(),
            bytes: 0,
            max_bytes,
        }
    }

    /// Keeps `module`; false if it is larger than the whole room.
    pub(super) fn insert(&mut self, digest: Digest, module: &[u8]) -> bool {
        if self.get(&digest).is_some() {
            return true;
        }
        if module.len() > self.max_bytes {
            return false;
        }
        while self.bytes + module.len() > self.max_bytes {
            let (_, oldest) = self.modules.pop_front().expect("bytes are of modules held");
            self.bytes -= oldest.len();
        }
        self.bytes += module.len();
        self.modules.push_back((digest, module.into()));
        true
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<&[u8]> {
        let mut modules = self.modules.iter();
        let found = modules.find(|(held, _)| held == digest);
        found.map(|(_, module)| &module[..])
    }

    /// Forgets the modules for which `published` is true.
    pub(super) fn forget(&mut self, published: impl Fn(&Digest) -> bool) {
        self.modules.retain(|(digest, _)| !published(digest));
        self.bytes = self.modules.iter().map(|(_, module)| module.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_upload_makes_room() {
        let mut staging = Staging::new(10);
        let digest = |module: &[u8]| Digest::of(module);
        for module in [b"aaaa", b"bbbb", b"bbbb", b"cccc"] {
            assert!(staging.insert(digest(module), module));
        }
        assert!(staging.get(&digest(b"aaaa")).is_none());
        assert!(staging.get(&digest(b"bbbb")).is_some());
        assert!(!staging.insert(digest(b"too large!!"), b"too large!!"));
        staging.forget(|held| *held == digest(b"bbbb"));
        assert_eq!(staging.bytes, 4);
    }
}
