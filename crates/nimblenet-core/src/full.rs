//! Parts that only a full node has: a microcontroller has neither the memory nor the flash for them.

use crate::config::FULL;

/// A part of a node. Where the node is not a full one there is none, and it takes no room, nor the code
/// that makes it.
#[derive(Debug)]
pub(crate) struct Full<T>([T; FULL as usize]);

impl<T> Full<T> {
    /// The part that `make` makes.
    pub(crate) fn new(make: impl Fn() -> T) -> Self {
        Self(core::array::from_fn(|_| make()))
    }

    /// The part; none if the node is not a full one.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.first()
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.first_mut()
    }
}
