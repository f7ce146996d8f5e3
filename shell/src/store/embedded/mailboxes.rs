//! What is known of mailboxes without asking the disk: a bounded cache.
//!
//! A mailbox in the cache is known completely: which messages wait, in order, without payloads. One
//! that is not is read from disk when its key is next used.
//!
//! There are two generations. A mailbox that is used moves to the young one; when the young one has
//! grown to half of the cache, it becomes the old one, and what was old and unused is forgotten.

use super::layout::Place;
use std::collections::{HashMap, VecDeque};
use std::mem;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::time::Time;

/// Half of the cache: so many messages, and for each mailbox as many more as it takes itself. Some
/// 30 MB; with a tenth of that, pushes to 100,000 keys in turn had to read each mailbox again.
const HALF: usize = 400_000;
/// A mailbox without messages takes about as much memory as this many messages.
const EMPTY: usize = 4;

/// The mailboxes that are known.
#[derive(Debug, Default)]
pub(super) struct Mailboxes {
    young: HashMap<Key, Mailbox>,
    old: HashMap<Key, Mailbox>,
    /// Messages that joined or came with mailboxes of the young generation, at least.
    messages: usize,
}

/// What waits for one key.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    /// In order of position.
    pub(super) entries: VecDeque<Entry>,
    /// How many of its messages ever died.
    pub(super) deaths: u64,
    /// The message that joined last, to compare the next with.
    pub(super) last: Option<Last>,
}

/// A waiting message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    /// Where it is among those that are not on disk yet; only if it was appended in this round.
    pub(super) fresh: Fresh,
}

/// A place among the messages of one round that are not on disk yet. Of an earlier round, it is on
/// disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    pub(super) round: u32,
    pub(super) index: u32,
}

/// What a push is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) position: u64,
    pub(super) accepted_at: Time,
    /// The payload's hash; where it is equal, the payloads have to be compared.
    pub(super) hash: u64,
}

impl Mailboxes {
    /// The mailbox of a key, if it is known.
    pub(super) fn get(&mut self, key: &Key) -> Option<&mut Mailbox> {
        // Two look-ups where one might do, for the borrow checker's sake: it is the young one almost
        // always.
        if !self.young.contains_key(key) {
            let (key, mailbox) = self.old.remove_entry(key)?;
            self.messages += mailbox.entries.len();
            self.young.insert(key, mailbox);
        }
        self.young.get_mut(key)
    }

    /// Adds a mailbox that was read.
    pub(super) fn insert(&mut self, key: &Key, mailbox: Mailbox) -> &mut Mailbox {
        self.messages += mailbox.entries.len();
        // The text may be a part of something larger, which must not be kept for it.
        self.young.entry(Key::new(&**key)).insert_entry(mailbox).into_mut()
    }

    /// Notes that a message joined some mailbox.
    pub(super) fn grown(&mut self) {
        self.messages += 1;
    }

    /// Forgets what was not used for long. Only when everything is on disk.
    pub(super) fn age(&mut self) {
        if EMPTY * self.young.len() + self.messages > HALF {
            self.old = mem::take(&mut self.young);
            self.messages = 0;
        }
    }
}

impl Mailbox {
    /// The index of a message: as a rule the first, else by order of ids, which need not be kept.
    pub(super) fn index(&self, id: MessageId) -> Option<usize> {
        if self.entries.front()?.place.id == id {
            return Some(0);
        }
        let found = self.entries.binary_search_by_key(&id, |entry| entry.place.id);
        found.ok().or_else(|| self.entries.iter().position(|entry| entry.place.id == id))
    }

    /// Lets a message wait at its position.
    pub(super) fn put(&mut self, entry: Entry) {
        let position = entry.place.position;
        if self.entries.back().is_none_or(|last| last.place.position < position) {
            self.entries.push_back(entry);
        } else {
            let at = self.entries.partition_point(|other| other.place.position < position);
            self.entries.insert(at, entry);
        }
    }
}
