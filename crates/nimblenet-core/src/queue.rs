//! A short queue.

use alloc::vec::Vec;
use core::ops::{Deref, DerefMut};

/// A queue of few items. They are in one row, so that every search is one loop; taking the first
/// item moves the others. For queues as short as those of a node this costs less than a ring, whose
/// code takes more than a kilobyte of a board's flash.
#[derive(Debug)]
pub(crate) struct Queue<T>(Vec<T>);

impl<T> Queue<T> {
    /// An empty queue with room for `capacity` items.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// The number of items for which there is room without an allocation.
    pub(crate) fn capacity(&self) -> usize {
        self.0.capacity()
    }

    pub(crate) fn push_back(&mut self, item: T) {
        self.0.push(item);
    }

    pub(crate) fn push_front(&mut self, item: T) {
        self.insert(0, item);
    }

    /// Puts an item before the one at `at`, or last.
    pub(crate) fn insert(&mut self, at: usize, item: T) {
        self.0.insert(at.min(self.0.len()), item);
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        self.remove(0)
    }

    /// Takes the item at `at` out, if there is one.
    pub(crate) fn remove(&mut self, at: usize) -> Option<T> {
        (at < self.0.len()).then(|| self.0.remove(at))
    }

    /// Keeps only the items for which `is_kept` is true.
    pub(crate) fn retain(&mut self, is_kept: impl FnMut(&T) -> bool) {
        self.0.retain(is_kept);
    }
}

impl<T> Deref for Queue<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Queue<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_leave_in_the_order_they_came_in_unless_one_is_put_first_or_taken_out() {
        let mut queue = Queue::with_capacity(4);
        for item in [1, 2, 3] {
            queue.push_back(item);
        }
        queue.push_front(0);
        assert_eq!(*queue, [0, 1, 2, 3]);
        assert_eq!((queue.remove(2), queue.remove(3)), (Some(2), None));
        queue.retain(|item| *item != 1);
        queue.insert(1, 9);
        assert_eq!((queue.pop_front(), queue.pop_front()), (Some(0), Some(9)));
        assert_eq!(queue.pop_front(), Some(3));
        assert_eq!(queue.pop_front(), None);
    }
}
