//! The ids of the messages that the application has had: what comes twice is dropped.

use bytestring::ByteString;
use std::collections::{BTreeSet, VecDeque};

/// The last ids, so many at most.
///
/// Invariant: both hold the same ids.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    limit: usize,
    order: VecDeque<ByteString>,
    ids: BTreeSet<ByteString>,
}

impl Seen {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, order: VecDeque::new(), ids: BTreeSet::new() }
    }

    /// Notes an id; says whether it is new.
    pub(super) fn note(&mut self, id: ByteString) -> bool {
        if !self.ids.insert(id.clone()) {
            return false;
        }
        self.order.push_back(id);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        assert_eq!(self.order.len(), self.ids.len());
        true
    }

    /// The last one.
    pub(super) fn last(&self) -> Option<&ByteString> {
        self.order.back()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let mut seen = Seen::new(2);
        for (id, is_new) in [("a", true), ("b", true), ("a", false), ("c", true), ("a", true)] {
            assert_eq!(seen.note(id.into()), is_new, "{id}");
        }
        assert_eq!(seen.last().map(|id| &**id), Some("a"));
    }
}
