//! The operations on the messages of one key: append, load, remove, retry, bury.

use super::Model;
use super::names::Seen;
use crate::id::{Key, MessageId};
use crate::record::DeathReason;
use crate::store::{Append, Appended, Loaded, Retry, StoredMessage};
use crate::time::Time;

impl Model {
    /// Keeps a message. The first of these that holds decides:
    ///
    /// 1. The id waits or is a dead letter: its position is answered again. The list of evicted
    ///    messages is not: they are dead letters, and a store need not remember whose they were.
    /// 2. The idempotency name was used for this key within the first push's window, whatever has
    ///    become of its message: a duplicate or, with another payload, a conflict.
    /// 3. The last waiting message, unless it is being delivered, has the same payload and was
    ///    accepted at most `merge_within` earlier: merged. The idempotency name then stands for
    ///    that message.
    /// 4. It is stored at the end, and the oldest messages that are too many are buried: all of
    ///    them, and with a limit of zero the new one too. Messages up to `window_end` neither count
    ///    nor die (when that message does not wait, there are none), and neither do the `spare`
    ///    oldest.
    ///
    /// When another node has claimed the key, nothing is merged, and that node is told, also of a
    /// duplicate. When its lease holds, it serves the key, and the sender does not know the window: the
    /// `limit` oldest messages neither count nor die.
    pub(super) fn append(&mut self, mut append: Append) -> Appended {
        if let Some(position) = self.position(&append) {
            self.counts.repeated += 1;
            return Appended::Stored { position, evicted: Vec::new() };
        }
        match self.names.seen(&append) {
            Seen::Never => {}
            Seen::Same(first) => {
                self.counts.duplicates += 1;
                self.claims.wake(&append.key, append.epoch);
                return Appended::Duplicate { first: first.message, promise: first.promise };
            }
            Seen::Other => {
                self.counts.conflicts += 1;
                return Appended::Conflict;
            }
        }
        let (key, epoch) = (append.key.clone(), append.epoch);
        let is_elsewhere = self.claims.other(&key, epoch, append.accepted_at).is_some();
        if is_elsewhere {
            append.window_end = None;
            append.spare = append.limit;
        }
        if ![0, epoch].contains(&self.claims.epoch(&key)) {
            // What waits may be confirmed, also by a node whose lease is over.
            append.merge_within = None;
        }
        if let Some(into) = self.merges_with(&append) {
            self.counts.merged += 1;
            self.names.record(&append, into);
            return Appended::Merged { into };
        }
        self.names.record(&append, append.id);
        let (position, evicted) = self.store(append);
        self.claims.wake(&key, epoch);
        match is_elsewhere {
            true => Appended::Elsewhere { position, evicted },
            false => Appended::Stored { position, evicted },
        }
    }

    /// The position of a message that is already there.
    fn position(&mut self, append: &Append) -> Option<u64> {
        if self.newest.is_none_or(|newest| newest < append.id) {
            self.newest = Some(append.id);
            return None;
        }
        if let Some(message) = self.waiting.get(&append.key, append.id) {
            return Some(message.position);
        }
        let letter = self.dead.find(append.id)?;
        assert!(letter.key == append.key, "an id names one message of one key");
        Some(letter.message.position)
    }

    /// The message that stands for the new one too.
    fn merges_with(&self, append: &Append) -> Option<MessageId> {
        let span = append.merge_within?;
        let last = self.waiting.messages(&append.key).next_back()?;
        let same = append.window_end != Some(last.id)
            && append.accepted_at.since(last.accepted_at) <= span
            && append.payload == last.payload;
        same.then_some(last.id)
    }

    /// Stores a message at the end of its mailbox.
    fn store(&mut self, append: Append) -> (u64, Vec<MessageId>) {
        let Append { key, id, payload, accepted_at, expires_at, .. } = append;
        let Append { limit, window_end, spare, .. } = append;
        self.last_position += 1;
        let position = self.last_position;
        let not_before = Time::EPOCH;
        let message =
            StoredMessage { id, position, payload, accepted_at, expires_at, tries: 0, not_before };
        let waiting = self.waiting.put(&key, message);
        self.counts.appended += 1;
        self.counts.waiting += 1;
        let mut evicted = Vec::new();
        if waiting > limit as usize {
            let excess = self.waiting.excess(&key, (window_end, spare), limit);
            evicted = self.bury(&key, excess, accepted_at, DeathReason::Limit);
        }
        (position, evicted)
    }

    /// Reads the oldest messages: at most `max_messages`, and none behind the one that reaches
    /// `max_bytes`.
    pub(super) fn load(&self, key: &Key, max_messages: u32, max_bytes: u64) -> Loaded {
        let deaths = self.dead.deaths(key);
        let messages = within(self.waiting.messages(key), max_messages, max_bytes);
        let tail = self.waiting.messages(key).next_back().map(|last| last.position);
        Loaded { messages, tail, deaths }
    }

    /// Forgets messages of a key, waiting or dead; returns how many were dead.
    pub(super) fn remove(&mut self, key: &Key, ids: &[MessageId]) -> u32 {
        let mut withdrawn = 0;
        for id in ids {
            if self.waiting.take(key, *id).is_some() {
                self.dead.forget(*id);
                self.counts.waiting -= 1;
                self.counts.removed += 1;
            } else if self.dead.take(key, *id).is_some() {
                withdrawn += 1;
                self.counts.dead -= 1;
                self.counts.removed += 1;
                self.counts.withdrawn += 1;
            } else {
                self.counts.absent += 1;
            }
        }
        withdrawn
    }

    /// Notes failed tries of waiting messages. A number that is not larger than the known one is
    /// old news, and so is its `not_before`.
    pub(super) fn retry(&mut self, key: &Key, retries: &[Retry]) {
        for retry in retries {
            self.waiting.retry(key, retry);
        }
    }

    /// Turns those messages that wait for the key into dead letters, for their age those that have
    /// expired; returns them in the order given.
    pub(super) fn bury(
        &mut self,
        key: &Key,
        mut ids: Vec<MessageId>,
        at: Time,
        reason: DeathReason,
    ) -> Vec<MessageId> {
        ids.retain(|id| {
            let Some(message) = self.waiting.get(key, *id) else { return false };
            if reason == DeathReason::Ttl && message.expires_at > at {
                return false;
            }
            let message = self.waiting.take(key, *id).expect("it was just looked at");
            self.dead.bury(key, message, at, reason);
            self.counts.waiting -= 1;
            self.counts.dead += 1;
            self.counts.died += 1;
            true
        });
        ids
    }
}

/// The first messages: at most `max_messages`, and none behind the one that reaches `max_bytes`.
pub(super) fn within<'a>(
    all: impl Iterator<Item = &'a StoredMessage>,
    max_messages: u32,
    max_bytes: u64,
) -> Vec<StoredMessage> {
    let mut messages = Vec::new();
    let mut bytes = 0;
    for message in all.take(max_messages as usize) {
        bytes += message.payload.len() as u64;
        messages.push(message.clone());
        if bytes >= max_bytes {
            break;
        }
    }
    messages
}
