//! Parts that only a full node has: a microcontroller has neither the memory nor the flash for them.

use crate::config::FULL;

/// A part of a node. Where the node is not a full one there is none, and it takes no room, nor the code
/// that makes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
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

impl<T: Copy + Default> Full<T> {
    /// The value `value`, where it is kept.
    pub(crate) fn of(value: T) -> Self {
        Self::new(|| value)
    }

    /// The value, or the default one where it is not kept.
    pub(crate) fn value(&self) -> T {
        self.get().copied().unwrap_or_default()
    }
}
