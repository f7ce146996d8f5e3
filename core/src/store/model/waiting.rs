//! Messages that wait: one mailbox per key, found by key and by expiry.
//!
//! A mailbox is a queue in order of position: messages join at its end and mostly leave at its
//! front, which is why a message is looked for there first and no index by id is kept. An emptied
//! mailbox is given up at once, so that a key which is seen once costs nothing for ever. Its small
//! buffer serves the next key that needs one, and is then still in the processor's cache: leaving it
//! with its key for a while measured slower (310 against 450 ns for an append and its removal with
//! 10,000 keys in random order).
//!
//! Invariants: a key has a mailbox exactly when a message waits for it; positions ascend strictly
//! within a mailbox; every waiting message is found in the order of expiry.

use super::expiry::{Expiry, Number, Place};
use crate::id::{Key, MessageId};
use crate::lookup::Lookup;
use crate::store::{Expired, ExpiryCursor, Queue, Retry, StoredMessage};
use crate::time::Time;
use std::collections::VecDeque;

/// A vacated mailbox that has room for more messages than this gives its memory back.
const SPARE_CAPACITY: usize = 16;
/// So many vacated mailboxes keep their buffers.
const SPARE_BUFFERS: usize = 1_024;

/// All messages that wait.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    by_key: Lookup<Key, usize>,
    expiry: Expiry,
    mailboxes: Vec<Mailbox>,
    /// Mailboxes of no key.
    vacant: Vec<usize>,
    /// How many messages wait.
    len: usize,
}

/// The messages of one key, or a vacant place for some.
#[derive(Clone, Debug)]
struct Mailbox {
    key: Key,
    messages: VecDeque<Kept>,
}

/// A message, and where its entry in the order of expiry is.
#[derive(Clone, Debug)]
struct Kept {
    message: StoredMessage,
    expiry: Number,
}

impl Waiting {
    /// No messages; `seed` is for hashing.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            by_key: Lookup::new(seed),
            expiry: Expiry::default(),
            mailboxes: Vec::new(),
            vacant: Vec::new(),
            len: 0,
        }
    }

    /// How many messages wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The messages of a key in order of position.
    pub(super) fn messages(&self, key: &Key) -> impl DoubleEndedIterator<Item = &StoredMessage> {
        let mailbox = self.by_key.get(key).map(|index| &self.mailboxes[*index]);
        mailbox.into_iter().flat_map(|mailbox| mailbox.messages.iter().map(|kept| &kept.message))
    }

    /// A message that waits for this key.
    pub(super) fn get(&self, key: &Key, id: MessageId) -> Option<&StoredMessage> {
        let mailbox = &self.mailboxes[*self.by_key.get(key)?];
        Some(&mailbox.messages[mailbox.index(id)?].message)
    }

    /// What waits for those keys that pass a test, in order of key. Walks everything.
    pub(super) fn queues(&self, test: impl Fn(&Key) -> bool) -> Vec<Queue> {
        let queue = |mailbox: &Mailbox| {
            let first = &mailbox.messages.front()?.message;
            let bytes = mailbox.messages.iter().map(|kept| kept.message.payload.len() as u64);
            test(&mailbox.key).then(|| Queue {
                key: mailbox.key.clone(),
                messages: mailbox.messages.len() as u64,
                bytes: bytes.sum(),
                oldest: first.accepted_at,
            })
        };
        let mut queues: Vec<_> = self.mailboxes.iter().filter_map(queue).collect();
        queues.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        queues
    }

    /// A waiting message and its key. Walks everything.
    pub(super) fn find(&self, id: MessageId) -> Option<(&Key, &StoredMessage)> {
        self.mailboxes
            .iter()
            .find_map(|mailbox| Some((&mailbox.key, &mailbox.messages[mailbox.index(id)?].message)))
    }

    /// Lets a message wait at its position; returns how many wait for the key now.
    pub(super) fn put(&mut self, key: &Key, message: StoredMessage) -> usize {
        let Self { by_key, expiry, mailboxes, vacant, len } = self;
        let index = *by_key.get_or_insert_with(key, || occupy(mailboxes, vacant, key));
        let place = Place { mailbox: index, position: message.position };
        let kept = Kept { expiry: expiry.insert(message.expiry(), place), message };
        *len += 1;
        let messages = &mut mailboxes[index].messages;
        if messages.back().is_none_or(|last| last.message.position < place.position) {
            messages.push_back(kept);
        } else {
            let at = messages.partition_point(|other| other.message.position < place.position);
            messages.insert(at, kept);
        }
        messages.len()
    }

    /// Takes a message out, if it waits for this key.
    pub(super) fn take(&mut self, key: &Key, id: MessageId) -> Option<StoredMessage> {
        let Self { by_key, expiry, mailboxes, vacant, len } = self;
        let index = *by_key.get(key)?;
        let mailbox = &mut mailboxes[index];
        let at = mailbox.index(id)?;
        let Kept { message, expiry: number } =
            mailbox.messages.remove(at).expect("its index was just found");
        *len -= 1;
        if mailbox.messages.is_empty() {
            by_key.remove_if(key, |_| true);
            mailbox.vacate(vacant.len() < SPARE_BUFFERS);
            vacant.push(index);
        }
        expiry.remove(message.expiry(), number, |place, number| {
            let mailbox = &mut mailboxes[place.mailbox];
            let at = mailbox.messages.binary_search_by_key(&place.position, Kept::position);
            let at = at.expect("what has an entry waits");
            mailbox.messages[at].expiry = number;
        });
        Some(message)
    }

    /// Notes a failed try of a message that waits for this key.
    pub(super) fn retry(&mut self, key: &Key, retry: &Retry) {
        let Some(index) = self.by_key.get(key) else { return };
        let mailbox = &mut self.mailboxes[*index];
        let Some(at) = mailbox.index(retry.id) else { return };
        let message = &mut mailbox.messages[at].message;
        if retry.tries > message.tries {
            message.tries = retry.tries;
            message.not_before = retry.not_before;
        }
    }

    /// The oldest messages of a key that are too many when `limit` may wait behind a window, of which
    /// the newest message is known or how many there are.
    pub(super) fn excess(
        &self,
        key: &Key,
        (window_end, spare): (Option<MessageId>, u32),
        limit: u32,
    ) -> Vec<MessageId> {
        let Some(index) = self.by_key.get(key) else { return Vec::new() };
        let mailbox = &self.mailboxes[*index];
        let window = window_end.and_then(|id| mailbox.index(id)).map_or(0, |at| at + 1);
        let exempt = window.max(spare as usize).min(mailbox.messages.len());
        let excess = (mailbox.messages.len() - exempt).saturating_sub(limit as usize);
        mailbox.messages.range(exempt..exempt + excess).map(|kept| kept.message.id).collect()
    }

    /// The messages that expire at `now` or before and behind `after`, at most `limit`.
    pub(super) fn expired(
        &self,
        now: Time,
        after: Option<ExpiryCursor>,
        limit: u32,
    ) -> Vec<Expired> {
        let due = self.expiry.after(after).take_while(|(cursor, _)| cursor.expires_at <= now);
        due.take(limit as usize)
            .map(|(cursor, place)| Expired {
                key: self.mailboxes[place.mailbox].key.clone(),
                cursor,
            })
            .collect()
    }

    /// How many mailboxes hold messages, and how many are vacant.
    #[cfg(test)]
    pub(super) fn mailboxes(&self) -> (usize, usize) {
        (self.by_key.len(), self.vacant.len())
    }

    /// Panics when an invariant is broken. Walks everything.
    pub(super) fn check(&self) {
        self.expiry.check(self.len());
        let mut waiting = 0;
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            let messages = &mailbox.messages;
            waiting += messages.len();
            if messages.is_empty() {
                continue;
            }
            assert_eq!(self.by_key.get(&mailbox.key), Some(&index), "a mailbox is found by key");
            assert!(
                messages.iter().is_sorted_by(|one, next| one.position() < next.position()),
                "positions ascend"
            );
            for Kept { message, expiry } in messages {
                let is_known = self.expiry.contains(&message.expiry(), *expiry);
                assert!(is_known, "a message's expiry is known");
            }
        }
        assert_eq!(waiting, self.len(), "what is counted is what is there");
        assert_eq!(self.by_key.len() + self.vacant.len(), self.mailboxes.len());
        for index in &self.vacant {
            assert!(self.mailboxes[*index].messages.is_empty(), "a vacant mailbox is empty");
        }
    }
}

impl Mailbox {
    /// The index of a message: as a rule the first, else by order of ids, which ids of several nodes
    /// need not keep.
    fn index(&self, id: MessageId) -> Option<usize> {
        if self.messages.front()?.message.id == id {
            return Some(0);
        }
        let found = self.messages.binary_search_by_key(&id, |kept| kept.message.id);
        found.ok().or_else(|| self.messages.iter().position(|kept| kept.message.id == id))
    }

    /// Makes an emptied mailbox ready for another key.
    fn vacate(&mut self, keep_buffer: bool) {
        self.key = Key::new("");
        if !keep_buffer || self.messages.capacity() > SPARE_CAPACITY {
            self.messages = VecDeque::new();
        }
    }
}

impl Kept {
    fn position(&self) -> u64 {
        self.message.position
    }
}

impl StoredMessage {
    /// The message's place in the order of expiry.
    fn expiry(&self) -> ExpiryCursor {
        ExpiryCursor { expires_at: self.expires_at, id: self.id }
    }
}

/// Gives a mailbox to a key that has none.
fn occupy(mailboxes: &mut Vec<Mailbox>, vacant: &mut Vec<usize>, key: &Key) -> usize {
    if let Some(index) = vacant.pop() {
        mailboxes[index].key = key.clone();
        return index;
    }
    mailboxes.push(Mailbox { key: key.clone(), messages: VecDeque::new() });
    mailboxes.len() - 1
}
