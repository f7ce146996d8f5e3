//! A map that is looked into and never walked.
//!
//! The order of a hash map differs from run to run, and keys are chosen by clients. So this one has
//! no iterator, and its hash is SipHash under a seed given by the constructor: the same inputs give
//! the same outputs, and nobody outside can aim for collisions.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use siphasher::sip::SipHasher13;
use std::hash::{Hash, Hasher};

/// A map that is looked into and never walked.
#[derive(Clone, Debug)]
pub(crate) struct Lookup<K, V> {
    table: HashTable<(K, V)>,
    seed: u64,
}

impl<K: Eq + Hash, V> Lookup<K, V> {
    /// An empty map.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { table: HashTable::new(), seed }
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
        self.table.find(hash(self.seed, key), |(known, _)| known == key).map(|(_, value)| value)
    }

    /// The value of `key`, made by `make` when there is none.
    pub(crate) fn get_or_insert_with(&mut self, key: &K, make: impl FnOnce() -> V) -> &mut V
    where
        K: Clone,
    {
        let seed = self.seed;
        let entry = self.table.entry(
            hash(seed, key),
            |(known, _)| known == key,
            |(known, _)| hash(seed, known),
        );
        let entry = entry.or_insert_with(|| (key.clone(), make()));
        &mut entry.into_mut().1
    }

    /// Sets the value of `key` and returns the one it had.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let seed = self.seed;
        let entry = self.table.entry(
            hash(seed, &key),
            |(known, _)| *known == key,
            |(known, _)| hash(seed, known),
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
        let found = self.table.find_entry(hash(self.seed, key), |(known, _)| known == key);
        let entry = found.ok()?;
        if !test(&entry.get().1) {
            return None;
        }
        let ((_, value), _) = entry.remove();
        Some(value)
    }
}

/// The seeded hash of `key`.
fn hash<K: Hash>(seed: u64, key: &K) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(seed, !seed);
    key.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

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
