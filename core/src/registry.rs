//! Which mailbox belongs to which key.
//!
//! Keys are text chosen by clients, so the lookup hashes them with a secret: it cannot be iterated,
//! and its order is never seen.

#[cfg(feature = "serde")]
mod saved;

use crate::config::BindPolicy;
use crate::dialect::json;
use crate::id::Key;
use crate::lookup::Guard;
use crate::mailbox::Mailbox;
use hashbrown::HashTable;
use std::collections::BTreeSet;

/// All mailboxes in memory.
#[derive(Debug)]
pub(crate) struct Registry {
    guard: Guard,
    slots: Vec<Option<Mailbox>>,
    free: Vec<u32>,
    by_key: HashTable<u32>,
    /// Live keys that are JSON objects, by the hash of their canonical form. Ordered, so that which
    /// of several equal ones is found does not depend on how the table came about.
    by_value: BTreeSet<(u64, u32)>,
}

impl Registry {
    pub(crate) fn new(secret: u64) -> Self {
        Self {
            guard: Guard::new(secret),
            slots: Vec::new(),
            free: Vec::new(),
            by_key: HashTable::new(),
            by_value: BTreeSet::new(),
        }
    }

    /// How many mailboxes are in memory.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// The slot of the key's mailbox, if there is one in memory.
    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        let slots = &self.slots;
        let found = self.by_key.find(self.guard.hash(key), |&slot| &**key_of(slots, slot) == key);
        found.copied()
    }

    /// The slot of the key's mailbox, which is made when there is none.
    pub(crate) fn find_or_insert(&mut self, key: &str, policy: BindPolicy) -> u32 {
        if let Some(slot) = self.find(key) {
            return slot;
        }
        // The key may share the memory of the line it came in, which a mailbox must not keep.
        let mailbox = Some(Mailbox::new(Key::new(key), policy));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = mailbox;
                slot
            }
            None => {
                self.slots.push(mailbox);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 mailboxes")
            }
        };
        self.index(slot);
        slot
    }

    /// Makes the mailbox in a slot one that is found by its key.
    fn index(&mut self, slot: u32) {
        let (guard, slots) = (&self.guard, &self.slots);
        let hash = |&slot: &u32| guard.hash(&**key_of(slots, slot));
        self.by_key.insert_unique(hash(&slot), slot, hash);
    }

    /// The mailbox in a slot that is known to be in use.
    pub(crate) fn get(&self, slot: u32) -> &Mailbox {
        self.slots[slot as usize].as_ref().expect("the slot of a mailbox in use")
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, slot: u32) -> &mut Mailbox {
        self.slots[slot as usize].as_mut().expect("the slot of a mailbox in use")
    }

    /// One more than the last slot that was ever in use.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("fewer than 2^32 mailboxes")
    }

    /// The mailbox in a slot, if it is in use.
    pub(crate) fn at(&self, slot: u32) -> Option<&Mailbox> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Drops the mailbox when nothing needs it any more.
    pub(crate) fn dispose(&mut self, slot: u32) {
        if !self.get(slot).is_disposable() {
            return;
        }
        let slots = &self.slots;
        let key = &key_of(slots, slot);
        let entry = self.by_key.find_entry(self.guard.hash(&***key), |&other| other == slot);
        entry.expect("a mailbox is found by its key").remove();
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    /// Makes a live key known to [`similar`](Self::similar).
    pub(crate) fn note_live(&mut self, slot: u32) {
        let Some(value) = self.value_hash(&self.get(slot).key) else { return };
        self.by_value.insert((value, slot));
    }

    /// Undoes [`note_live`](Self::note_live).
    pub(crate) fn forget_live(&mut self, slot: u32) {
        let Some(value) = self.value_hash(&self.get(slot).key) else { return };
        assert!(self.by_value.remove(&(value, slot)), "a live JSON key is indexed by its value");
    }

    /// A live key that is equal to this one as JSON, though not as text.
    pub(crate) fn similar(&self, key: &Key) -> Option<&Key> {
        let value = self.value_hash(key)?;
        let (_, slot) = self.by_value.range((value, 0)..=(value, u32::MAX)).next()?;
        Some(&self.get(*slot).key).filter(|other| *other != key)
    }

    /// All mailboxes in memory, in order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Mailbox)> {
        (0..).zip(&self.slots).filter_map(|(slot, mailbox)| Some((slot, mailbox.as_ref()?)))
    }

    fn value_hash(&self, key: &Key) -> Option<u64> {
        if !key.starts_with('{') {
            return None;
        }
        Some(self.guard.hash(&*json::canonical(key)?))
    }
}

fn key_of(slots: &[Option<Mailbox>], slot: u32) -> &Key {
    &slots[slot as usize].as_ref().expect("an indexed slot is in use").key
}
