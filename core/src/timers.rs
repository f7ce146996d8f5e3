//! Deadlines in one ordered structure.
//!
//! Timers are lazy: a deadline that moves later leaves its timer alone, and is looked at again when
//! the timer fires.
//!
//! The structure is a binary heap that knows the place of each owner's timer, so that a timer can
//! be moved. It allocates only to hold more timers than ever before; a `BTreeSet` allocated about
//! once in eleven pushes to 500 connections.

use crate::time::Time;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Owner {
    /// The connection in this slot.
    Connection(u32),
    /// The mailbox in this slot.
    Mailbox(u32),
}

/// All armed timers.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Timers {
    /// Each timer is before those at twice its place, plus one and plus two.
    heap: Vec<(Time, Owner)>,
    /// The places of the connections' timers, by slot; of the unarmed ones, anything.
    connections: Vec<u32>,
    /// The same of the mailboxes'.
    mailboxes: Vec<u32>,
}

impl Timers {
    /// Sets the owner's timer to `at`, from `armed`, which [`Time::NEVER`] says it was not.
    pub(crate) fn rearm(&mut self, owner: Owner, armed: &mut Time, at: Time) {
        if *armed == at {
            return;
        }
        if at == Time::NEVER {
            return self.disarm(owner, armed);
        }
        let place = if *armed == Time::NEVER {
            self.heap.push((at, owner));
            self.heap.len() - 1
        } else {
            let place = self.place(owner, *armed);
            self.heap[place].0 = at;
            place
        };
        *armed = at;
        self.sift(place);
    }

    /// Takes the owner's timer away.
    pub(crate) fn disarm(&mut self, owner: Owner, armed: &mut Time) {
        if *armed == Time::NEVER {
            return;
        }
        let place = self.place(owner, *armed);
        *armed = Time::NEVER;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.sift(place);
        }
    }

    /// The earliest timer.
    pub(crate) fn first(&self) -> Option<(Time, Owner)> {
        self.heap.first().copied()
    }

    /// How many timers are armed.
    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Where the timer of `owner`, which is set to `armed`, stands in the heap.
    fn place(&self, owner: Owner, armed: Time) -> usize {
        let place = match owner {
            Owner::Connection(slot) => self.connections[slot as usize],
            Owner::Mailbox(slot) => self.mailboxes[slot as usize],
        };
        assert_eq!(self.heap[place as usize], (armed, owner), "an armed timer is in the table");
        place as usize
    }

    /// Moves the timer at `place` to where it belongs.
    fn sift(&mut self, mut place: usize) {
        let timer = self.heap[place];
        while let Some(parent) = place.checked_sub(1).map(|below| below / 2)
            && timer < self.heap[parent]
        {
            self.put(place, self.heap[parent]);
            place = parent;
        }
        while let Some(child) = self.earlier_child(place)
            && self.heap[child] < timer
        {
            self.put(place, self.heap[child]);
            place = child;
        }
        self.put(place, timer);
    }

    fn earlier_child(&self, place: usize) -> Option<usize> {
        let children = 2 * place + 1..self.heap.len().min(2 * place + 3);
        children.min_by_key(|&child| self.heap[child])
    }

    fn put(&mut self, place: usize, timer: (Time, Owner)) {
        self.heap[place] = timer;
        let (places, slot) = match timer.1 {
            Owner::Connection(slot) => (&mut self.connections, slot as usize),
            Owner::Mailbox(slot) => (&mut self.mailboxes, slot as usize),
        };
        if places.len() <= slot {
            places.resize(slot + 1, 0);
        }
        places[slot] = u32::try_from(place).expect("fewer than 2^32 timers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn the_first_timer_is_the_earliest(
            moves in prop::collection::vec((any::<bool>(), 0..8_u32, prop::option::of(0..20_u64)), 0..200)
        ) {
            let mut timers = Timers::default();
            let mut armed = [[Time::NEVER; 8]; 2];
            let mut expect = BTreeSet::new();
            for (is_mailbox, slot, at) in moves {
                let owner = if is_mailbox { Owner::Mailbox(slot) } else { Owner::Connection(slot) };
                let armed = &mut armed[usize::from(is_mailbox)][slot as usize];
                let at = at.map_or(Time::NEVER, Time::from_micros);
                expect.remove(&(*armed, owner));
                if at != Time::NEVER {
                    expect.insert((at, owner));
                }
                timers.rearm(owner, armed, at);
                prop_assert_eq!(*armed, at);
                prop_assert_eq!(timers.first(), expect.first().copied());
                prop_assert_eq!(timers.len(), expect.len());
            }
        }
    }
}
