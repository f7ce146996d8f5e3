//! Dead letters, in order of death.
//!
//! The order is by time of death and, at equal times, by id. A second index by key serves requeues
//! and filtered lists; a third finds a letter by its message.
//!
//! Deaths are also counted per key. The count never falls, not even when a letter is withdrawn,
//! requeued or purged, so that whoever remembers an older count can tell that something died since;
//! that is why it is kept for every key that ever lost a message.

use crate::id::{Key, MessageId};
use crate::lookup::Lookup;
use crate::record::DeathReason;
use crate::store::{DeadCursor, DeadFilter, DeadLetter, StoredMessage};
use crate::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All dead letters, and what must be remembered of former ones.
#[derive(Clone, Debug)]
pub(super) struct Dead {
    letters: BTreeMap<DeadCursor, DeadLetter>,
    by_key: BTreeSet<(Key, DeadCursor)>,
    by_id: Lookup<MessageId, Time>,
    /// Earlier deaths of messages that wait again.
    histories: BTreeMap<MessageId, Vec<(Time, DeathReason)>>,
    /// How many messages of a key ever died.
    deaths: BTreeMap<Key, u64>,
}

impl Dead {
    /// No dead letters; `seed` is for hashing.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            letters: BTreeMap::new(),
            by_key: BTreeSet::new(),
            by_id: Lookup::new(seed),
            histories: BTreeMap::new(),
            deaths: BTreeMap::new(),
        }
    }

    /// How many dead letters there are.
    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// How many messages of a key ever died.
    pub(super) fn deaths(&self, key: &Key) -> u64 {
        self.deaths.get(key).copied().unwrap_or(0)
    }

    /// All dead letters in order of death.
    pub(super) fn letters(&self) -> impl Iterator<Item = &DeadLetter> {
        self.letters.values()
    }

    /// The dead letter of a message.
    pub(super) fn find(&self, id: MessageId) -> Option<&DeadLetter> {
        let at = *self.by_id.get(&id)?;
        self.letters.get(&DeadCursor { at, id })
    }

    /// Sets aside a message that waits no more.
    pub(super) fn bury(
        &mut self,
        key: &Key,
        message: StoredMessage,
        at: Time,
        reason: DeathReason,
    ) {
        let id = message.id;
        let history = self.histories.remove(&id).unwrap_or_default();
        let known = self.by_id.insert(id, at);
        assert!(known.is_none(), "a message has one dead letter");
        self.by_key.insert((key.clone(), DeadCursor { at, id }));
        *self.deaths.entry(key.clone()).or_default() += 1;
        let letter = DeadLetter { key: key.clone(), message, at, reason, history };
        self.letters.insert(DeadCursor { at, id }, letter);
    }

    /// Takes a dead letter out, if it is of this key.
    pub(super) fn take(&mut self, key: &Key, id: MessageId) -> Option<DeadLetter> {
        let letters = &self.letters;
        let at = self.by_id.remove_if(&id, |at| {
            letters.get(&DeadCursor { at: *at, id }).is_some_and(|letter| letter.key == *key)
        })?;
        let cursor = DeadCursor { at, id };
        self.by_key.remove(&(key.clone(), cursor));
        self.letters.remove(&cursor)
    }

    /// Remembers the deaths of a message that waits again.
    pub(super) fn remember(&mut self, id: MessageId, history: Vec<(Time, DeathReason)>) {
        self.histories.insert(id, history);
    }

    /// Forgets the deaths of a message that is gone.
    pub(super) fn forget(&mut self, id: MessageId) {
        self.histories.remove(&id);
    }

    /// The dead letters that pass a filter, in order of death and behind `after`.
    pub(super) fn select<'a>(
        &'a self,
        filter: &'a DeadFilter,
        after: Option<DeadCursor>,
    ) -> impl Iterator<Item = &'a DeadLetter> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let of_key = filter.key.as_ref().map(|key| {
            // Ids and times are not negative: the least cursor is before every letter of the key.
            let start = after.map_or(Bound::Included(FIRST), Bound::Excluded);
            self.by_key
                .range((start.map(|cursor| (key.clone(), cursor)), Bound::Unbounded))
                .take_while(move |(other, _)| other == key)
                .filter_map(|(_, cursor)| self.letters.get(cursor))
        });
        let of_any = match filter.key {
            Some(_) => None,
            None => Some(self.letters.range((start, Bound::Unbounded)).map(|(_, letter)| letter)),
        };
        let letters = of_key.into_iter().flatten().chain(of_any.into_iter().flatten());
        letters
            .take_while(|letter| filter.until.is_none_or(|until| letter.at <= until))
            .filter(|letter| filter.reason.is_none_or(|reason| letter.reason == reason))
            .filter(|letter| filter.id.is_none_or(|id| letter.message.id == id))
    }

    /// Panics when an invariant is broken. Walks everything. `waits` tells whether a message waits.
    pub(super) fn check(&self, waits: impl Fn(MessageId) -> bool) {
        for (cursor, letter) in &self.letters {
            assert_eq!((cursor.at, cursor.id), (letter.at, letter.message.id));
            assert_eq!(self.by_id.get(&cursor.id), Some(&cursor.at), "a letter is found by id");
            assert!(
                self.by_key.contains(&(letter.key.clone(), *cursor)),
                "a letter is found by key"
            );
            assert!(!waits(cursor.id), "a message is dead or waits");
        }
        assert_eq!(self.by_id.len(), self.letters.len());
        assert_eq!(self.by_key.len(), self.letters.len());
        assert!(self.histories.keys().all(|id| waits(*id)), "who has a history of deaths waits");
    }

    /// How many messages ever died.
    pub(super) fn total(&self) -> u64 {
        self.deaths.values().sum()
    }
}

/// Before or at every place in the order of death.
const FIRST: DeadCursor =
    DeadCursor { at: Time::EPOCH, id: MessageId { incarnation: 0, counter: 0 } };
