//! The heap, from which the program allocates at its start and never again.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};

use critical_section::Mutex;

/// A heap that only grows, and only until it is sealed. An allocation after that fails, which
/// ends the program: a board whose cores share a heap must not allocate while it runs.
///
/// A freed range cannot be used again, unless it was the last that was allocated; a program that
/// allocates everything once loses little by that.
pub struct SealedHeap<const BYTES: usize> {
    bytes: UnsafeCell<Bytes<BYTES>>,
    state: Mutex<Cell<State>>,
}

#[repr(align(8))]
struct Bytes<const BYTES: usize>([u8; BYTES]);

#[derive(Clone, Copy)]
struct State {
    used: usize,
    sealed: bool,
}

// SAFETY: the heap never reads or writes the bytes, and hands out no range that is in use; only
// critical sections reach the state.
unsafe impl<const BYTES: usize> Sync for SealedHeap<BYTES> {}

impl<const BYTES: usize> SealedHeap<BYTES> {
    /// An empty heap.
    #[must_use]
    pub const fn new() -> Self {
        let state = State {
            used: 0,
            sealed: false,
        };
        Self {
            bytes: UnsafeCell::new(Bytes([0; BYTES])),
            state: Mutex::new(Cell::new(state)),
        }
    }

    /// Seals the heap: every later allocation fails.
    pub fn seal(&self) {
        self.change(|state| state.sealed = true);
    }

    /// Bytes allocated, alignment included.
    pub fn used(&self) -> usize {
        self.change(|state| state.used)
    }

    fn change<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        critical_section::with(|token| {
            let cell = self.state.borrow(token);
            let mut state = cell.get();
            let result = change(&mut state);
            cell.set(state);
            result
        })
    }

    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }
}

impl<const BYTES: usize> Default for SealedHeap<BYTES> {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: each range is aligned and within the bytes, and is handed out again only after it was
// freed.
unsafe impl<const BYTES: usize> GlobalAlloc for SealedHeap<BYTES> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.base();
        self.change(|state| {
            let address = base as usize + state.used;
            let begin = address.next_multiple_of(layout.align()) - base as usize;
            match begin.checked_add(layout.size()) {
                Some(end) if end <= BYTES && !state.sealed => {
                    state.used = end;
                    // SAFETY: `begin` is within the bytes.
                    unsafe { base.add(begin) }
                }
                _ => core::ptr::null_mut(),
            }
        })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        let begin = pointer as usize - self.base() as usize;
        self.change(|state| {
            if begin + layout.size() == state.used {
                state.used = begin;
            }
        });
    }
}

impl<const BYTES: usize> core::fmt::Debug for SealedHeap<BYTES> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SealedHeap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    #[test]
    fn it_gives_aligned_ranges_until_it_is_full() {
        let heap = SealedHeap::<64>::new();
        // SAFETY: the layouts are not empty.
        let [a, b, c] =
            [layout(3, 1), layout(8, 8), layout(48, 1)].map(|layout| unsafe { heap.alloc(layout) });
        assert_eq!(b as usize % 8, 0);
        assert!(b as usize >= a as usize + 3);
        assert_eq!(c as usize, b as usize + 8);
        // SAFETY: as above.
        assert!(unsafe { heap.alloc(layout(1, 1)) }.is_null());
        assert_eq!(heap.used(), 64);
    }

    #[test]
    fn the_last_range_can_be_given_back() {
        let heap = SealedHeap::<64>::new();
        // SAFETY: the layout is not empty, and what is freed came from this heap.
        unsafe {
            let first = heap.alloc(layout(16, 1));
            let second = heap.alloc(layout(16, 1));
            heap.dealloc(first, layout(16, 1));
            assert_eq!(heap.used(), 32, "not the last");
            heap.dealloc(second, layout(16, 1));
            assert_eq!(heap.used(), 16);
        }
    }

    #[test]
    fn a_sealed_heap_gives_nothing() {
        let heap = SealedHeap::<64>::new();
        heap.seal();
        // SAFETY: the layout is not empty.
        assert!(unsafe { heap.alloc(layout(1, 1)) }.is_null());
    }
}
