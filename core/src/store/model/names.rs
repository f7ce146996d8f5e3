//! Idempotency names: which push came first under a back end's own name for it.
//!
//! A name is known until its window is over, whatever becomes of the message. Of the payload only
//! the length and a 128-bit hash under a seed are kept, so that a large message is not held in
//! memory for the whole window.
//!
//! Entries whose window is over are dropped two for each push, so they cannot pile up. Since time
//! never goes backward within a run, nobody can see whether such an entry has been dropped yet.

use crate::id::{Key, MessageId};
use crate::lookup::{Guard, Lookup, Seeded};
use crate::store::{Append, Idempotency, Promise};
use crate::time::{Span, Time};
use bytestring::ByteString;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::VecDeque;
use std::hash::Hasher;

/// How many old entries each push looks at.
const LOOK_AT: usize = 2;

/// Which push came first under a name.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pushes: Lookup<Name, First>,
    /// The names in the order in which they were recorded, to find those to drop.
    recorded: VecDeque<Name>,
    seed: u64,
}

/// A back end's own name for a push to a key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    key: Key,
    name: ByteString,
}

impl Seeded for Name {
    fn hash_under(&self, guard: &Guard) -> u64 {
        guard.hash(self)
    }
}

/// The first push under a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct First {
    /// Its message, or the one it was merged into.
    pub(super) message: MessageId,
    /// What it was answered.
    pub(super) promise: Promise,
    payload: Fingerprint,
    accepted_at: Time,
    window: Span,
}

/// What is kept of a payload to tell it from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    len: usize,
    hash: u128,
}

/// What is known of a push's name.
pub(super) enum Seen {
    /// Nothing: it is the first.
    Never,
    /// A push with the same payload came before.
    Same(First),
    /// A push with another payload came before.
    Other,
}

impl Names {
    /// No names; `seed` is for hashing.
    pub(super) fn new(seed: u64) -> Self {
        Self { pushes: Lookup::new(seed), recorded: VecDeque::new(), seed }
    }

    /// What is known of the name of a push.
    pub(super) fn seen(&self, push: &Append) -> Seen {
        let Some(Idempotency { name, window: _ }) = &push.idempotency else { return Seen::Never };
        let name = Name { key: push.key.clone(), name: name.clone() };
        match self.pushes.get(&name) {
            Some(first) if first.is_over(push.accepted_at) => Seen::Never,
            Some(first) if first.payload == self.fingerprint(&push.payload) => Seen::Same(*first),
            Some(_) => Seen::Other,
            None => Seen::Never,
        }
    }

    /// The message that a name stands for.
    pub(super) fn message(&self, key: Key, name: ByteString, now: Time) -> Option<MessageId> {
        let first = self.pushes.get(&Name { key, name })?;
        (!first.is_over(now)).then_some(first.message)
    }

    /// Remembers the name of a push, which is the first under it; `message` stands for it.
    pub(super) fn record(&mut self, push: &Append, message: MessageId) {
        self.drop_some(push.accepted_at);
        let Some(Idempotency { name, window }) = &push.idempotency else { return };
        let name = Name { key: push.key.clone(), name: name.clone() };
        let first = First {
            message,
            promise: push.promise,
            payload: self.fingerprint(&push.payload),
            accepted_at: push.accepted_at,
            window: *window,
        };
        self.recorded.push_back(name.clone());
        self.pushes.insert(name, first);
    }

    /// Panics when an invariant is broken. Walks everything.
    pub(super) fn check(&self) {
        // A name that was used again after its window is listed twice.
        assert!(self.pushes.len() <= self.recorded.len(), "every name is listed to be dropped");
    }

    /// Drops the oldest entries if their windows are over.
    fn drop_some(&mut self, now: Time) {
        for _ in 0..LOOK_AT {
            let Some(name) = self.recorded.front() else { return };
            match self.pushes.get(name) {
                Some(first) if !first.is_over(now) => return,
                Some(_) | None => {}
            }
            self.pushes.remove_if(name, |_| true);
            self.recorded.pop_front();
        }
    }

    fn fingerprint(&self, payload: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.seed, !self.seed);
        hasher.write(payload);
        Fingerprint { len: payload.len(), hash: hasher.finish128().as_u128() }
    }
}

impl First {
    /// Whether a push accepted at `now` is too late to be a duplicate.
    fn is_over(&self, now: Time) -> bool {
        now.since(self.accepted_at) > self.window
    }
}
