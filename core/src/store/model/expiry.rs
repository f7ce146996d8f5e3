//! Waiting messages in order of expiry.
//!
//! Almost every message expires later than the one appended before it, because the time to live is
//! one setting. Those go to the end of a queue; the others (a requeue, equal times with ids out of
//! order, a change of the setting) go to a tree. A message that stops waiting is not looked for
//! here: its entry stays behind until it is met at the front or until too many are stale, which is
//! cheaper by far than a tree's insert and remove for each message.
//!
//! Invariants: every waiting message has an entry; the queue ascends strictly; entries number at
//! most twice the waiting messages and [`SLACK`].

use crate::store::ExpiryCursor;
use std::collections::{BTreeSet, VecDeque};
use std::iter::from_fn;
use std::ops::Bound;

/// How many stale entries are always tolerated; few in tests, so that they meet the clean-up.
const SLACK: usize = if cfg!(test) { 8 } else { 1_024 };

/// Waiting messages in order of expiry, and some that wait no more.
#[derive(Clone, Debug, Default)]
pub(super) struct Expiry {
    in_order: VecDeque<ExpiryCursor>,
    late: BTreeSet<ExpiryCursor>,
}

impl Expiry {
    /// Adds the entry of a message that waits from now on.
    pub(super) fn insert(&mut self, cursor: ExpiryCursor) {
        if self.in_order.back().is_none_or(|last| *last < cursor) {
            self.in_order.push_back(cursor);
        } else {
            self.late.insert(cursor);
        }
    }

    /// Notes that a message waits no more: drops its entry when that costs nothing, and all stale
    /// ones when they are too many. `waiting` is how many messages wait now.
    pub(super) fn gone(
        &mut self,
        cursor: ExpiryCursor,
        waiting: usize,
        waits: impl Fn(&ExpiryCursor) -> bool,
    ) {
        if self.in_order.front() == Some(&cursor) {
            self.in_order.pop_front();
        }
        if self.has_room(waiting) {
            return;
        }
        self.in_order.retain(&waits);
        self.late.retain(&waits);
    }

    /// Drops the stale entries before the first one that is not.
    pub(super) fn skip_stale(&mut self, waits: impl Fn(&ExpiryCursor) -> bool) {
        while self.in_order.front().is_some_and(|first| !waits(first)) {
            self.in_order.pop_front();
        }
        while self.late.first().is_some_and(|first| !waits(first)) {
            self.late.pop_first();
        }
    }

    /// The entries behind `after` in order, stale ones included.
    pub(super) fn after(&self, after: Option<ExpiryCursor>) -> impl Iterator<Item = ExpiryCursor> {
        let start = after.map_or(0, |after| self.in_order.partition_point(|entry| *entry <= after));
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut in_order = self.in_order.range(start..).copied().peekable();
        let mut late = self.late.range((from, Bound::Unbounded)).copied().peekable();
        from_fn(move || match (in_order.peek(), late.peek()) {
            (Some(one), Some(other)) if one == other => {
                // A message that went and came back: its stale entry is good again.
                late.next();
                in_order.next()
            }
            (Some(one), Some(other)) if one > other => late.next(),
            (Some(_), _) => in_order.next(),
            (None, _) => late.next(),
        })
    }

    /// Whether a message has an entry.
    pub(super) fn contains(&self, cursor: &ExpiryCursor) -> bool {
        self.late.contains(cursor) || self.in_order.binary_search(cursor).is_ok()
    }

    /// Panics when an invariant of this index alone is broken.
    pub(super) fn check(&self, waiting: usize) {
        assert!(self.has_room(waiting), "stale entries are dropped when they are too many");
        assert!(self.in_order.iter().is_sorted_by(|one, next| one < next), "the queue ascends");
    }

    fn has_room(&self, waiting: usize) -> bool {
        self.in_order.len() + self.late.len() <= 2 * waiting + SLACK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::MessageId;
    use crate::time::Time;

    fn entry((micros, counter): (u64, u64)) -> ExpiryCursor {
        let id = MessageId { incarnation: 1, counter };
        ExpiryCursor { expires_at: Time::from_micros(micros), id }
    }

    #[test]
    fn lists_in_order_whatever_the_order_of_arrival() {
        let mut expiry = Expiry::default();
        let entries = [(5, 1), (3, 2), (5, 0), (9, 3), (5, 1), (1, 4)];
        entries.into_iter().for_each(|it| expiry.insert(entry(it)));
        for (after, expect) in [
            (None, vec![(1, 4), (3, 2), (5, 0), (5, 1), (9, 3)]),
            (Some((3, 2)), vec![(5, 0), (5, 1), (9, 3)]),
            (Some((5, 0)), vec![(5, 1), (9, 3)]),
            (Some((6, 0)), vec![(9, 3)]),
            (Some((9, 3)), vec![]),
        ] {
            let listed: Vec<_> = expiry.after(after.map(entry)).collect();
            assert_eq!(listed, expect.into_iter().map(entry).collect::<Vec<_>>(), "{after:?}");
        }
    }

    #[test]
    fn stale_entries_are_bounded() {
        let mut expiry = Expiry::default();
        (0..10_000).for_each(|n| expiry.insert(entry((n, n))));
        // The newest go first, so that none is at the front.
        for n in (0..10_000).rev() {
            let waiting = usize::try_from(n).unwrap();
            expiry.gone(entry((n, n)), waiting, |it| it.id.counter < n);
            assert!(expiry.has_room(waiting));
        }
        expiry.check(0);
        expiry.skip_stale(|_| false);
        assert_eq!(expiry.after(None).next(), None);
    }
}
