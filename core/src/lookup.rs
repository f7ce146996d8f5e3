//! A map that is looked into and never walked.
//!
//! The order of a hash map differs from run to run, and keys are chosen by clients. So this one has
//! no iterator, and its hash is aHash under a seed given by the constructor: the same inputs give the
//! same outputs, and nobody outside can aim for collisions. (SipHash costs ten times as many
//! instructions on short keys, three times a push.)

use crate::id::{Key, MessageId};
use ahash::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use std::hash::Hash;

/// A map that is looked into and never walked.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<K, V> {
    table: HashTable<(K, V)>,
    guard: Guard,
}

impl<K: Eq + Seeded, V> Lookup<K, V> {
    /// An empty map.
    pub(crate) fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), guard: Guard::new(seed) }
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len()
    }

    /// The value of `key`.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        if self.table.is_empty() {
            return None;
        }
        self.table
            .find(key.hash_under(&self.guard), |(known, _)| known == key)
            .map(|(_, value)| value)
    }

    /// The value of `key`, made by `make` when there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V
    where
        K: Clone,
    {
        let guard = &self.guard;
        let entry = self.table.entry(
            key.hash_under(guard),
            |(known, _)| known == key,
            |(known, _)| known.hash_under(guard),
        );
        let entry = entry.or_insert_with(|| (key.clone(), make()));
        &mut entry.into_mut().1
    }

    /// Sets the value of `key` and returns the one it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let guard = &self.guard;
        let entry = self.table.entry(
            key.hash_under(guard),
            |(known, _)| *known == key,
            |(known, _)| known.hash_under(guard),
        );
        match entry {
            Entry::Occupied(mut entry) => Some(std::mem::replace(&mut entry.get_mut().1, value)),
            Entry::Vacant(entry) => {
                entry.insert((key, value));
                None
            }
        }
    }

    /// Takes the entry of `key` out if its value passes `test`.
    pub(crate) fn remove_if(&mut self, key: &K, test: impl FnOnce(&V) -> bool) -> Option<V> {
        if self.table.is_empty() {
            return None;
        }
        let found = self.table.find_entry(key.hash_under(&self.guard), |(known, _)| known == key);
        let entry = found.ok()?;
        if !test(&entry.get().1) {
            return None;
        }
        let ((_, value), _) = entry.remove();
        Some(value)
    }
}

/// A secret under which text that clients choose is hashed.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    state: RandomState,
    seed: u64,
}

impl Guard {
    /// The secret made from this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let state =
            RandomState::with_seeds(seed, !seed, seed.rotate_left(32), !seed.rotate_left(32));
        Self { state, seed }
    }

    /// What the secret was made from.
    #[cfg(feature = "serde")]
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// The hash of what clients choose.
    pub(crate) fn hash(&self, chosen: &(impl Hash + ?Sized)) -> u64 {
        self.state.hash_one(chosen)
    }
}

/// What can be looked up.
pub(crate) trait Seeded {
    /// The hash under this secret.
    fn hash_under(&self, guard: &Guard) -> u64;
}

/// Ids are given out by gateways, so a multiplication does.
impl Seeded for MessageId {
    #[inline]
    fn hash_under(&self, guard: &Guard) -> u64 {
        const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
        let id = u128::from(self.incarnation) << 64 | u128::from(self.counter);
        let product = (id ^ u128::from(guard.seed)).wrapping_mul(ODD);
        (product >> 64) as u64 ^ product as u64
    }
}

impl Seeded for Key {
    fn hash_under(&self, guard: &Guard) -> u64 {
        guard.hash(&**self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Seeded for u32 {
        fn hash_under(&self, guard: &Guard) -> u64 {
            guard.hash(self)
        }
    }

    #[test]
    fn holds_what_was_put_in() {
        let mut lookup = Lookup::new(7);
        assert_eq!(lookup.get(&1), None);
        assert_eq!(lookup.remove_if(&1, |_| true), None);
        assert_eq!(lookup.insert(1, "one"), None);
        assert_eq!(lookup.insert(1, "uno"), Some("one"));
        assert_eq!(*lookup.get_or_insert_with(&1, || "other"), "uno");
        assert_eq!(*lookup.get_or_insert_with(&2, || "two"), "two");
        assert_eq!(lookup.remove_if(&1, |value| *value == "one"), None);
        assert_eq!(lookup.remove_if(&1, |value| *value == "uno"), Some("uno"));
        assert_eq!((lookup.len(), lookup.get(&1), lookup.get(&2)), (1, None, Some(&"two")));
    }

    #[test]
    fn survives_growth() {
        let mut lookup = Lookup::new(7);
        for n in 0..10_000_u32 {
            lookup.insert(n, n * 2);
        }
        assert!((0..10_000).all(|n| lookup.get(&n) == Some(&(n * 2))));
        assert_eq!(lookup.len(), 10_000);
    }
}
