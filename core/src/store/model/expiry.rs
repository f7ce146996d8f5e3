//! Waiting messages in order of expiry.
//!
//! Almost every message expires later than the one appended before it, because the time to live is
//! one setting. Those go to the end of a queue, numbered, so that an entry is found again without a
//! search; the others (a requeue, equal times with ids out of order, a change of the setting) go to
//! a tree. An entry of the queue whose message stops waiting is marked, and leaves when it is the
//! first, or when too many are marked: that is cheaper by far than a tree's insert and remove for
//! each message.
//!
//! Invariants: every waiting message has one unmarked entry; the queue ascends strictly; its first
//! entry is unmarked; marked entries are at most as many as the others and [`SLACK`].

use crate::store::ExpiryCursor;
use std::collections::{BTreeMap, VecDeque};
use std::iter::from_fn;
use std::ops::Bound;

/// How many marked entries are always tolerated; few in tests, so that they meet the clean-up.
const SLACK: usize = if cfg!(test) { 8 } else { 1_024 };

/// Waiting messages in order of expiry.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    in_order: VecDeque<Entry>,
    /// The number of the queue's first entry.
    base: u64,
    /// How many entries of the queue are marked.
    marked: usize,
    late: BTreeMap<ExpiryCursor, Place>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    cursor: ExpiryCursor,
    place: Place,
    waits: bool,
}

/// Where a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of its mailbox.
    pub(super) mailbox: usize,
    /// Its position there.
    pub(super) position: u64,
}

/// Where a message's entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    /// In the queue, under this number.
    InOrder(u64),
    /// In the tree.
    Late,
}

impl Expiry {
    /// Adds the entry of a message that waits from now on, and tells where it is.
    pub(super) fn insert(&mut self, cursor: ExpiryCursor, place: Place) -> Number {
        if self.in_order.back().is_none_or(|last| last.cursor < cursor) {
            self.in_order.push_back(Entry { cursor, place, waits: true });
            return Number::InOrder(self.base + self.in_order.len() as u64 - 1);
        }
        let known = self.late.insert(cursor, place);
        assert!(known.is_none(), "a message has one entry");
        Number::Late
    }

    /// Drops the entry of a message that waits no more. When the queue is cleaned up, its entries
    /// get other numbers, and `renumber` is told.
    pub(super) fn remove(
        &mut self,
        cursor: ExpiryCursor,
        number: Number,
        renumber: impl FnMut(Place, Number),
    ) {
        match number {
            Number::Late => {
                let place = self.late.remove(&cursor);
                assert!(place.is_some(), "a message has an entry");
            }
            Number::InOrder(number) => {
                let index = usize::try_from(number - self.base).expect("an index into the queue");
                let entry = &mut self.in_order[index];
                assert!(entry.waits, "a message has one entry");
                entry.waits = false;
                self.marked += 1;
                self.pop_marked();
                if self.marked > self.in_order.len() - self.marked + SLACK {
                    self.clean_up(renumber);
                }
            }
        }
    }

    fn pop_marked(&mut self) {
        while self.in_order.front().is_some_and(|first| !first.waits) {
            self.in_order.pop_front();
            self.base += 1;
            self.marked -= 1;
        }
    }

    fn clean_up(&mut self, mut renumber: impl FnMut(Place, Number)) {
        self.in_order.retain(|entry| entry.waits);
        self.marked = 0;
        for (number, entry) in (self.base..).zip(&self.in_order) {
            renumber(entry.place, Number::InOrder(number));
        }
    }

    /// The messages behind `after` in order.
    pub(super) fn after(
        &self,
        after: Option<ExpiryCursor>,
    ) -> impl Iterator<Item = (ExpiryCursor, Place)> {
        let start =
            after.map_or(0, |after| self.in_order.partition_point(|entry| entry.cursor <= after));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let in_order = self.in_order.range(start..).filter(|entry| entry.waits);
        let mut in_order = in_order.map(|entry| (entry.cursor, entry.place)).peekable();
        let late = self.late.range((from, Bound::Unbounded));
        let mut late = late.map(|(cursor, place)| (*cursor, *place)).peekable();
        from_fn(move || match (in_order.peek(), late.peek()) {
            (Some((one, _)), Some((other, _))) if one > other => late.next(),
            (Some(_), _) => in_order.next(),
            (None, _) => late.next(),
        })
    }

    /// Whether a message's entry is where it is said to be.
    pub(super) fn contains(&self, cursor: &ExpiryCursor, number: Number) -> bool {
        match number {
            Number::Late => self.late.contains_key(cursor),
            Number::InOrder(number) => {
                let index = number.checked_sub(self.base).and_then(|it| usize::try_from(it).ok());
                let entry = index.and_then(|index| self.in_order.get(index));
                entry.is_some_and(|entry| entry.waits && entry.cursor == *cursor)
            }
        }
    }

    /// Panics when an invariant of this index alone is broken. `waiting` is how many messages wait.
    pub(super) fn check(&self, waiting: usize) {
        let marked = self.in_order.iter().filter(|entry| !entry.waits).count();
        assert_eq!(self.marked, marked, "marked entries are counted");
        let unmarked = self.in_order.len() - marked;
        assert_eq!(unmarked + self.late.len(), waiting, "every waiting message has one entry");
        assert!(marked <= unmarked + SLACK, "marked entries are dropped when they are too many");
        assert!(self.in_order.front().is_none_or(|first| first.waits), "the first entry waits");
        let ascends = self.in_order.iter().is_sorted_by(|one, next| one.cursor < next.cursor);
        assert!(ascends, "the queue ascends");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::time::Time;

    /// A place that is of no importance.
    fn place(position: u64) -> Place {
        Place { mailbox: 0, position }
    }

    fn entry((micros, counter): (u64, u64)) -> ExpiryCursor {
        let id = MessageId { incarnation: 1, counter };
        ExpiryCursor { expires_at: Time::from_micros(micros), id }
    }

    #[test]
    fn lists_in_order_whatever_the_order_of_arrival() {
        let mut expiry = Expiry::default();
        for it in [(5, 1), (3, 2), (5, 0), (9, 3), (1, 4)] {
            expiry.insert(entry(it), place(0));
        }
        for (after, expect) in [
            (None, vec![(1, 4), (3, 2), (5, 0), (5, 1), (9, 3)]),
            (Some((3, 2)), vec![(5, 0), (5, 1), (9, 3)]),
            (Some((5, 0)), vec![(5, 1), (9, 3)]),
            (Some((6, 0)), vec![(9, 3)]),
            (Some((9, 3)), vec![]),
        ] {
            let listed: Vec<_> = expiry.after(after.map(entry)).map(|(cursor, _)| cursor).collect();
            assert_eq!(listed, expect.into_iter().map(entry).collect::<Vec<_>>(), "{after:?}");
        }
    }

    #[test]
    fn marked_entries_are_bounded_and_numbers_stay_true() {
        let mut expiry = Expiry::default();
        let mut numbers: BTreeMap<_, _> =
            (0..10_000).map(|n| (n, expiry.insert(entry((n, n)), place(n)))).collect();
        // The newest go first, so that none is at the front.
        for n in (0..10_000).rev() {
            let number = numbers.remove(&n).unwrap();
            assert!(expiry.contains(&entry((n, n)), number));
            expiry.remove(entry((n, n)), number, |place, number| {
                numbers.insert(place.position, number);
            });
            expiry.check(numbers.len());
        }
        assert_eq!(expiry.after(None).next(), None);
    }

    #[test]
    fn a_message_that_goes_and_comes_back_is_listed_once() {
        let mut expiry = Expiry::default();
        expiry.insert(entry((1, 1)), place(1));
        let number = expiry.insert(entry((2, 2)), place(2));
        expiry.remove(entry((2, 2)), number, |_, _| {});
        expiry.insert(entry((2, 2)), place(2));
        assert_eq!(expiry.after(None).count(), 2);
        expiry.check(2);
    }
}
