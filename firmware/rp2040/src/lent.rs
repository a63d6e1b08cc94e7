//! Bytes that one core lends to the other.
#![allow(unsafe_code)]

/// A module's bytes in the node's cache, which is elsewhere while they are read.
///
/// The node keeps a module where it is, unchanged, from the start of its activation until the
/// interpreter has answered that it ended, or has taken the word to stop it; cache and core both
/// hold to that (`nimblenet_core::cache`, "code that is in use never moves"). Reading it through
/// a reference would claim more than that: the node meanwhile writes to other parts of the cache.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    at: *const u8,
    len: usize,
}

// SAFETY: it is only an address; what reading through it needs is said at `bytes`.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// Lends a module.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            at: bytes.as_ptr(),
            len: bytes.len(),
        }
    }

    /// The module. Only [`Worker`](crate::worker::Worker) and the parcel that it opens read it,
    /// for an activation that has started and has neither ended nor been stopped.
    pub(crate) fn bytes<'l>(self) -> &'l [u8] {
        // SAFETY: `at` and `len` come from a slice in the cache's region, which is never freed
        // while the program runs. Between the start of an activation and its end the node neither
        // moves nor changes the module's bytes, and the callers named above read no longer than
        // that.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }
}
