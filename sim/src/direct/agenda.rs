//! What is still to happen, in order of time; what happens at one instant, in the order it was noted.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Happenings ordered by time.
#[derive(Debug)]
pub(super) struct Agenda<T> {
    heap: BinaryHeap<Reverse<Item>>,
    /// The happenings, by the place that an item names.
    store: Vec<Option<T>>,
    free: Vec<u32>,
    noted: u64,
}

/// When something happens, the how-manieth it was noted, and where it is kept.
type Item = (u64, u64, u32);

impl<T> Agenda<T> {
    pub(super) fn new() -> Self {
        Self { heap: BinaryHeap::new(), store: Vec::new(), free: Vec::new(), noted: 0 }
    }

    /// Notes what happens at a time.
    pub(super) fn note(&mut self, at: u64, what: T) {
        let place = self.free.pop().unwrap_or_else(|| {
            self.store.push(None);
            u32::try_from(self.store.len() - 1).expect("an agenda is shorter than 2^32")
        });
        self.store[place as usize] = Some(what);
        self.noted += 1;
        self.heap.push(Reverse((at, self.noted, place)));
    }

    /// When the next thing happens.
    pub(super) fn next_at(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the next thing.
    pub(super) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, place)) = self.heap.pop()?;
        self.free.push(place);
        let what = self.store[place as usize].take().expect("an item names what is kept");
        Some((at, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_happen_in_order_of_time_and_of_notice() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, "b"), (3, "a"), (5, "c"), (9, "d")] {
            agenda.note(at, what);
        }
        assert_eq!(agenda.next_at(), Some(3));
        let order: Vec<_> = std::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order, [(3, "a"), (5, "b"), (5, "c"), (9, "d")]);
    }
}
