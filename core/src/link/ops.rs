//! The ops that the gateway has not confirmed: kept while the link is away, sent again when it is
//! back.

use bytestring::ByteString;
use std::collections::VecDeque;

/// A change of the session's context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Its number in the session.
    pub n: u64,
    /// The JSON Merge Patch: a JSON text.
    pub patch: ByteString,
}

/// Unconfirmed ops, so many at most.
///
/// Invariant: their numbers follow each other, and the last one's is `last`.
#[derive(Clone, Debug)]
pub(super) struct Ops {
    limit: usize,
    last: u64,
    waiting: VecDeque<Op>,
}

impl Ops {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, last: 0, waiting: VecDeque::new() }
    }

    /// Takes what an earlier run left.
    pub(super) fn restore(&mut self, last: u64, ops: Vec<Op>) {
        let first = (last + 1).saturating_sub(ops.len() as u64);
        self.last = last;
        self.waiting = (first..).zip(ops).map(|(n, op)| Op { n, ..op }).collect();
    }

    /// A new one, unless too many wait.
    pub(super) fn add(&mut self, patch: ByteString) -> Option<Op> {
        if self.waiting.len() >= self.limit {
            return None;
        }
        self.last += 1;
        let op = Op { n: self.last, patch };
        self.waiting.push_back(op.clone());
        Some(op)
    }

    /// All up to this number are applied. Says up to which some waited that no longer do.
    pub(super) fn confirm(&mut self, through: u64) -> Option<u64> {
        let done = self.waiting.iter().take_while(|op| op.n <= through).count();
        let confirmed = self.waiting.drain(..done).last().map(|op| op.n);
        if self.waiting.is_empty() {
            // The session may know of more than this run does.
            self.last = self.last.max(through);
        }
        confirmed
    }

    /// The session is a fresh one, whose numbers begin at 1.
    pub(super) fn renumber(&mut self) {
        for (n, op) in (1..).zip(&mut self.waiting) {
            op.n = n;
        }
        self.last = self.waiting.len() as u64;
    }

    /// Those that wait, in order.
    pub(super) fn waiting(&self) -> impl Iterator<Item = &Op> {
        self.waiting.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(ops: &Ops) -> Vec<u64> {
        ops.waiting().map(|op| op.n).collect()
    }

    #[test]
    fn ops_wait_until_they_are_confirmed() {
        let mut ops = Ops::new(3);
        for expect in [Some(1), Some(2), Some(3), None] {
            assert_eq!(ops.add("{}".into()).map(|op| op.n), expect);
        }
        assert_eq!(ops.confirm(2), Some(2));
        assert_eq!(ops.confirm(2), None);
        assert_eq!(numbers(&ops), [3]);
        ops.renumber();
        assert_eq!((numbers(&ops), ops.add("1".into()).map(|op| op.n)), (vec![1], Some(2)));
    }

    #[test]
    fn numbers_go_on_where_the_session_is() {
        let mut ops = Ops::new(3);
        ops.restore(7, vec![Op { n: 6, patch: "1".into() }, Op { n: 7, patch: "2".into() }]);
        assert_eq!((numbers(&ops), ops.confirm(6)), (vec![6, 7], Some(6)));
        assert_eq!(ops.confirm(9), Some(7));
        assert_eq!(ops.add("3".into()).map(|op| op.n), Some(10));
    }
}
