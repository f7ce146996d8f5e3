//! Deadlines in one ordered structure.
//!
//! Timers are lazy: a deadline that moves later leaves its timer alone, and is looked at again when
//! the timer fires.

use crate::time::Time;
use std::collections::BTreeSet;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// The connection in this slot.
    Connection(u32),
    /// The mailbox in this slot.
    Mailbox(u32),
}

/// All armed timers.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: BTreeSet<(Time, Owner)>,
}

impl Timers {
    /// Sets the owner's timer to `at`, from `armed`, which [`Time::NEVER`] says it was not.
    pub(crate) fn rearm(&mut self, owner: Owner, armed: &mut Time, at: Time) {
        if *armed == at {
            return;
        }
        self.disarm(owner, armed);
        if at != Time::NEVER {
            self.armed.insert((at, owner));
            *armed = at;
        }
    }

    /// Takes the owner's timer away.
    pub(crate) fn disarm(&mut self, owner: Owner, armed: &mut Time) {
        if *armed != Time::NEVER {
            let was_there = self.armed.remove(&(*armed, owner));
            assert!(was_there, "an armed timer is in the table");
            *armed = Time::NEVER;
        }
    }

    /// The earliest timer.
    pub(crate) fn first(&self) -> Option<(Time, Owner)> {
        self.armed.first().copied()
    }

    /// How many timers are armed.
    pub(crate) fn len(&self) -> usize {
        self.armed.len()
    }
}
