//! Bytes that one core lends to the other.
#![allow(unsafe_code)]

/// A module's or an image's bytes on the node's disk.
///
/// The node keeps a module where it is, unchanged, from the start of its activation until the
/// interpreter has answered that it ended, or has taken the message to stop it; and it keeps an
/// image until the interpreter has answered its thaw (`nimblenet_core::cache`, "code that is in use
/// never moves"). This is an address and no reference, since a reference would claim more than
/// that: the node meanwhile writes to other parts of the disk.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    at: *const u8,
    len: usize,
}

// SAFETY: this is only an address; `as_ref` states what a read through it needs.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    /// Lends a module or an image.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self {
            at: bytes.as_ptr(),
            len: bytes.len(),
        }
    }
}

impl AsRef<[u8]> for Lent {
    /// The bytes. Only [`Worker`](crate::worker::Worker) and the parcel that it opens read them: a
    /// module for an activation that has started and has neither ended nor been stopped, an image
    /// while its thaw is not answered.
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `at` and `len` come from a slice on the disk, which is never freed while the
        // program runs. The node neither moves nor changes the bytes for as long as said above,
        // and the callers named there read no longer than that.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }
}
