//! What became of the last messages that were pushed by HTTP, so that `confirmed` can be told from
//! `dropped` once the store has forgotten them.
//!
//! A confirm costs nothing here: a message that was accepted, has not died and was not purged, and
//! that the store does not have any more, is confirmed. Only the latest [`LIMIT`] are remembered,
//! of this run.

use crate::id::MessageId;
use std::collections::BTreeMap;

/// So many messages are remembered.
pub(crate) const LIMIT: usize = 65_536;

/// The last messages that were pushed by HTTP.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Fates {
    /// Ids ascend with time: the first is the oldest.
    last: BTreeMap<MessageId, Last>,
}

/// The last that was heard of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Last {
    /// It was accepted: it is waiting, being delivered, or confirmed.
    Accepted,
    /// It became a dead letter.
    Died,
    /// An operator dropped it.
    Purged,
}

impl Fates {
    /// Remembers a new message.
    pub(crate) fn accept(&mut self, id: MessageId) {
        self.last.entry(id).or_insert(Last::Accepted);
        if self.last.len() > LIMIT {
            self.last.pop_first();
        }
    }

    /// Notes news of a message, if it is remembered.
    pub(crate) fn note(&mut self, id: MessageId, news: Last) {
        if let Some(last) = self.last.get_mut(&id) {
            *last = news;
        }
    }

    /// Forgets a message that was not promised; tells whether it was remembered.
    pub(crate) fn forget(&mut self, id: MessageId) -> bool {
        self.last.remove(&id).is_some()
    }

    /// The last that was heard of a message.
    pub(crate) fn get(&self, id: MessageId) -> Option<Last> {
        self.last.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_first() {
        let id = |counter| MessageId { incarnation: 1, counter };
        let mut fates = Fates::default();
        for counter in 0..=LIMIT as u64 {
            fates.accept(id(counter));
        }
        assert_eq!(fates.get(id(0)), None);
        assert_eq!(fates.get(id(1)), Some(Last::Accepted));
        fates.note(id(0), Last::Died);
        fates.note(id(1), Last::Purged);
        fates.forget(id(2));
        assert_eq!([id(0), id(1), id(2)].map(|id| fates.get(id)), [None, Some(Last::Purged), None]);
    }
}
