//! A table of a fixed number of places.

use alloc::vec::Vec;

/// Items that come and go, each in a place of its own. A new item takes the lowest free place, and
/// a search ends at the last item, so a large table that is almost empty costs as little as a small
/// one.
#[derive(Debug)]
pub(crate) struct Table<T> {
    places: Vec<Option<T>>,
    /// The place after the last item; all places from here on are free.
    end: usize,
}

impl<T> Table<T> {
    /// A table of free places.
    pub(crate) fn new(places: usize) -> Self {
        Self {
            places: (0..places).map(|_| None).collect(),
            end: 0,
        }
    }

    /// All places, taken or free.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Puts an item in the lowest free place, and returns the place; none if all are taken.
    pub(crate) fn insert(&mut self, item: T) -> Option<usize> {
        let at = self.places.iter().position(Option::is_none)?;
        self.put(at, item);
        Some(at)
    }

    /// Puts an item in this place, whatever was there.
    pub(crate) fn put(&mut self, at: usize, item: T) {
        self.places[at] = Some(item);
        self.end = self.end.max(at + 1);
    }

    /// Takes the item of this place out.
    pub(crate) fn take(&mut self, at: usize) -> Option<T> {
        let item = self.places[at].take();
        while let Some((None, _)) = self.places[..self.end].split_last() {
            self.end -= 1;
        }
        item
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.places.get(at)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.places.get_mut(at)?.as_mut()
    }

    /// All items, in the order of their places.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> + Clone {
        self.places[..self.end].iter().flatten()
    }

    /// All items, to change them, in the order of their places.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places[..self.end].iter_mut().flatten()
    }

    /// Places that may have items.
    pub(crate) fn places(&self) -> impl Iterator<Item = usize> + use<T> {
        0..self.end
    }

    /// The lowest place with an item for which `is` is true.
    pub(crate) fn position(&self, is: impl Fn(&T) -> bool) -> Option<usize> {
        let is = |place: &Option<T>| place.as_ref().is_some_and(&is);
        self.places[..self.end].iter().position(is)
    }

    /// Checks that a search misses no item.
    pub(crate) fn assert_invariants(&self) {
        let last = self.places.iter().rposition(Option::is_some);
        debug_assert_eq!(self.end, last.map_or(0, |last| last + 1), "the last item");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_takes_the_lowest_free_place_and_all_are_found_until_they_leave() {
        let mut table = Table::new(3);
        assert_eq!(
            ["a", "b", "c"].map(|it| table.insert(it)),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(table.insert("d"), None, "all places are taken");
        assert_eq!((table.take(1), table.take(1)), (Some("b"), None));
        assert_eq!(table.iter().collect::<Vec<_>>(), [&"a", &"c"]);
        assert_eq!(table.take(2), Some("c"));
        assert_eq!(
            table.places().count(),
            1,
            "places after the last item are not looked at"
        );
        assert_eq!(table.position(|it| *it == "c"), None);
        table.put(2, "e");
        assert_eq!(
            (table.insert("f"), table.position(|it| *it == "e")),
            (Some(1), Some(2))
        );
        assert_eq!((table.get(1), table.get(3)), (Some(&"f"), None));
        table.assert_invariants();
    }
}
