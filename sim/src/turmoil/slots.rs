//! The tables of a simulated gateway's sockets, named by slot and generation as the daemon's are.

/// The place of an entry: its slot, and the generation of the entry in it.
pub(super) type Place = (u32, u32);

/// A table of `T`. Free slots are reused, the last one freed first.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    /// The generation of a slot that was never used. Each run of a gateway begins higher, so that
    /// places are unique in the whole world.
    first_generation: u32,
}

impl<T> Slots<T> {
    pub(super) fn new(first_generation: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), first_generation }
    }

    pub(super) fn insert(&mut self, entry: T) -> Place {
        let (slot, generation) = self.reserve();
        self.slots[slot as usize].1 = Some(entry);
        (slot, generation)
    }

    /// A place without an entry, which nobody else is given until it is released.
    pub(super) fn reserve(&mut self) -> Place {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((self.first_generation, None));
            self.slots.len() as u32 - 1
        });
        (slot, self.slots[slot as usize].0)
    }

    /// A place that was reserved is free again.
    pub(super) fn release(&mut self, (slot, _): Place) {
        self.slots[slot as usize].0 += 1;
        self.free.push(slot);
    }

    pub(super) fn get_mut(&mut self, (slot, generation): Place) -> Option<&mut T> {
        let (current, entry) = self.slots.get_mut(slot as usize)?;
        if *current == generation { entry.as_mut() } else { None }
    }

    pub(super) fn remove(&mut self, place: Place) -> Option<T> {
        self.get_mut(place)?;
        let entry = self.slots[place.0 as usize].1.take();
        self.release(place);
        entry
    }

    /// The places in use, in order.
    pub(super) fn places(&self) -> Vec<Place> {
        let used = self.slots.iter().enumerate().filter(|(_, (_, entry))| entry.is_some());
        used.map(|(slot, (generation, _))| (slot as u32, *generation)).collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|(_, entry)| entry.as_ref())
    }
}
