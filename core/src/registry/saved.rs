//! A registry that is written down and read back. The tables by which mailboxes are found are made
//! anew: their order is never seen, and hashes may differ between machines.

use super::Registry;
use crate::mailbox::Mailbox;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is written.
#[derive(Serialize)]
struct Written<'a> {
    seed: u64,
    slots: &'a [Option<Mailbox>],
    free: &'a [u32],
    /// The slots of the live keys that are JSON objects.
    live: Vec<u32>,
}

/// What is read: the same fields.
#[derive(Deserialize)]
struct Read {
    seed: u64,
    slots: Vec<Option<Mailbox>>,
    free: Vec<u32>,
    live: Vec<u32>,
}

impl Serialize for Registry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut live: Vec<_> = self.by_value.iter().map(|&(_, slot)| slot).collect();
        live.sort_unstable();
        let (seed, slots, free) = (self.guard.seed(), &self.slots, &self.free);
        Written { seed, slots, free, live }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Registry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read { seed, slots, free, live } = Read::deserialize(deserializer)?;
        let used: Vec<_> = (0..).zip(&slots).filter(|(_, slot)| slot.is_some()).collect();
        let used: Vec<u32> = used.into_iter().map(|(slot, _)| slot).collect();
        let mut registry = Self { slots, free, ..Self::new(seed) };
        used.into_iter().for_each(|slot| registry.index(slot));
        live.into_iter().for_each(|slot| registry.note_live(slot));
        Ok(registry)
    }
}
