//! A table whose entries are named by slot and generation, so that a name kept too long names
//! nothing instead of a stranger.

/// The place of an entry: its slot, and how often the slot had been used before.
pub(super) type Place = (u32, u32);

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    entry: Option<T>,
}

/// A table of `T`. Free slots are reused, the last one freed first.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The place that the next [`insert`](Self::insert) will use.
    pub(super) fn next_place(&self) -> Place {
        match self.free.last() {
            Some(&slot) => (slot, self.slots[slot as usize].generation),
            None => (self.slots.len() as u32, 0),
        }
    }

    /// Adds an entry at [`next_place`](Self::next_place).
    pub(super) fn insert(&mut self, entry: T) -> Place {
        let place = self.next_place();
        if self.free.pop().is_some() {
            self.slots[place.0 as usize].entry = Some(entry);
        } else {
            self.slots.push(Slot { generation: 0, entry: Some(entry) });
        }
        place
    }

    /// Takes a place that stays empty until [`release`](Self::release): nothing else gets it.
    pub(super) fn reserve(&mut self) -> Place {
        let place = self.next_place();
        if self.free.pop().is_none() {
            self.slots.push(Slot { generation: 0, entry: None });
        }
        place
    }

    /// Gives a reserved place back; it names nothing from now on.
    pub(super) fn release(&mut self, (slot, _): Place) {
        let entry = &mut self.slots[slot as usize];
        assert!(entry.entry.is_none(), "a reserved place is empty");
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
    }

    /// The entry at the place, unless it is gone.
    #[inline]
    pub(super) fn get_mut(&mut self, (slot, generation): Place) -> Option<&mut T> {
        let slot = self.slots.get_mut(slot as usize)?;
        if slot.generation == generation { slot.entry.as_mut() } else { None }
    }

    /// The entry that is in the slot now, whichever it is, and its generation.
    #[inline]
    pub(super) fn in_slot(&mut self, slot: usize) -> Option<(u32, &mut T)> {
        let slot = self.slots.get_mut(slot)?;
        slot.entry.as_mut().map(|entry| (slot.generation, entry))
    }

    /// Takes the entry out; its place names nothing from now on.
    pub(super) fn remove(&mut self, (slot, generation): Place) -> Option<T> {
        let entry = self.slots.get_mut(slot as usize)?;
        if entry.generation != generation {
            return None;
        }
        let taken = entry.entry.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        Some(taken)
    }

    /// The places in use, in order of slot.
    pub(super) fn places(&self) -> Vec<Place> {
        let used = self.slots.iter().enumerate().filter(|(_, slot)| slot.entry.is_some());
        used.map(|(index, slot)| (index as u32, slot.generation)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_place_names_nothing() {
        let mut slots = Slots::default();
        let (a, b) = (slots.insert('a'), slots.insert('b'));
        assert_eq!((a, b, slots.len()), ((0, 0), (1, 0), 2));
        assert_eq!(slots.remove(a), Some('a'));
        assert_eq!(slots.remove(a), None);
        assert_eq!(slots.next_place(), (0, 1));
        let c = slots.insert('c');
        assert_eq!(c, (0, 1));
        assert_eq!(slots.get_mut(a), None);
        assert_eq!(slots.get_mut(c), Some(&mut 'c'));
        assert_eq!(slots.in_slot(0), Some((1, &mut 'c')));
        assert_eq!(slots.places(), [c, b]);
        assert_eq!(slots.get_mut((9, 0)), None);
    }

    #[test]
    fn a_reserved_place_is_nobodys() {
        let mut slots = Slots::default();
        let a = slots.insert('a');
        let reserved = slots.reserve();
        let b = slots.insert('b');
        assert_eq!((a, reserved, b), ((0, 0), (1, 0), (2, 0)));
        assert_eq!(slots.get_mut(reserved), None);
        assert_eq!(slots.remove(reserved), None);
        assert_eq!((slots.places(), slots.len()), (vec![a, b], 3));
        slots.release(reserved);
        assert_eq!((slots.next_place(), slots.len()), ((1, 1), 2));
    }
}
