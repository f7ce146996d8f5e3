//! What must hold between the tables, whatever has happened.

use super::Gateway;
use crate::connection::Phase;
use crate::mailbox::{Claim, KeyState, Mailbox, Standing};
use crate::operations::Pending;
use crate::record::Dialect;
use crate::time::Time;

/// How much a gateway holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Open connections.
    pub connections: usize,
    /// Connected back ends.
    pub pushers: usize,
    /// Keys of which something is known.
    pub mailboxes: usize,
    /// Storage operations that are not answered, or wait to be tried again.
    pub operations: usize,
    /// Messages that are being delivered.
    pub window: usize,
}

impl Gateway {
    /// How much the gateway holds, for tests and simulations: at rest it is what the world has.
    #[must_use]
    pub fn tables(&self) -> Tables {
        Tables {
            connections: self.conns.iter().flatten().count(),
            pushers: self.pushers.iter().count(),
            mailboxes: self.registry.iter().count(),
            operations: self.operations.iter().count(),
            window: self.registry.iter().map(|(_, mailbox)| mailbox.entries().len()).sum(),
        }
    }

    /// Verifies everything that is kept in more than one place. Looks at every connection and
    /// message in memory: for tests and simulations.
    ///
    /// # Panics
    /// When something does not hold, naming it.
    pub fn check(&self) {
        self.registry.check(self.now.as_micros());
        self.pushers.iter().for_each(crate::pushers::Pusher::check);
        let open = self.conns.iter().flatten().count();
        assert_eq!(open, self.open_conns as usize, "open connections");
        let armed = self.conns.iter().flatten().filter(|conn| conn.armed != Time::NEVER).count()
            + self.mailbox_timers.iter().filter(|at| **at != Time::NEVER).count();
        assert_eq!(armed, self.timers.len(), "armed timers");
        self.uploads.check(self.operations.iter().filter_map(|operation| {
            if let Pending::DeviceLog(upload) = operation { Some(&**upload) } else { None }
        }));
        self.check_bindings();
        self.check_mailboxes();
    }

    fn check_bindings(&self) {
        for conn in self.conns.iter().flatten() {
            let live = conn.link.as_ref().is_some_and(|link| link.live().is_some());
            let Phase::Bound(binding) = &conn.phase else {
                assert!(!live, "{} has been welcomed, and is not bound", conn.id);
                continue;
            };
            assert_eq!(live, binding.dialect == Dialect::Link, "{} and its dialect", conn.id);
            if let Some(link) = &conn.link {
                link.check(binding.bytes_in_flight, binding.written_to);
            }
            let mailbox = self.registry.get(binding.mailbox);
            assert!(mailbox.conns.contains(&conn.id), "the mailbox of {} lists it", conn.id);
            assert!(binding.written_to <= mailbox.end(), "{} is ahead of its mailbox", conn.id);
            assert!(binding.acked_to <= binding.written_to, "{} confirmed the unwritten", conn.id);
            assert!(
                binding.in_flight() > 0 || binding.bytes_in_flight == 0,
                "{} has bytes of no message in flight",
                conn.id
            );
            if let Some(outstanding) = conn.pings.outstanding {
                assert!(outstanding.mark <= binding.written_to, "a ping of {}", conn.id);
                assert!(outstanding.bytes <= binding.bytes_in_flight, "a ping of {}", conn.id);
            }
        }
    }

    fn check_mailboxes(&self) {
        let slots = self.registry.iter().map(|(slot, _)| slot as usize + 1).max().unwrap_or(0);
        // For each mailbox, how many operations there are on it and how many messages they bury.
        let mut known = vec![(0_u32, 0); slots];
        for operation in self.operations.iter() {
            if let Some(slot) = operation.mailbox() {
                let (pending, burying) = &mut known[slot as usize];
                *pending += 1;
                if let Pending::Bury { ids, .. } = operation {
                    *burying += ids.len();
                }
            }
        }
        for (slot, mailbox) in self.registry.iter() {
            let key = &mailbox.key;
            let (pending, burying) = known[slot as usize];
            assert_eq!(mailbox.pending, pending, "operations on {key}");
            assert_eq!(mailbox.burying.len(), burying, "burials of {key}");
            let bytes: u64 = mailbox.entries().map(|entry| entry.payload.len() as u64).sum();
            assert_eq!(mailbox.bytes, bytes, "bytes in the window of {key}");
            assert_eq!(
                mailbox.removing,
                u32::try_from(mailbox.removed_ids().count()).expect("few"),
                "removals of {key}"
            );
            for id in &mailbox.conns {
                let binding = self.conn(*id).and_then(crate::connection::Connection::binding);
                assert_eq!(binding.map(|b| b.mailbox), Some(slot), "{id} is bound to {key}");
            }
            let length = mailbox.entries().len();
            let alive = || mailbox.entries().filter(|entry| entry.standing != Standing::Void);
            // What ascends is unique, and it mostly does.
            let unique = alive().is_sorted_by(|one, next| one.id < next.id)
                || alive().count() == mailbox.ids().len();
            assert!(unique, "a message is once in the window of {key}");
            self.check_claim(slot);
            if mailbox.conns.is_empty() {
                assert_eq!(length, 0, "the window of {key}, which has no connection");
                assert!(
                    matches!(mailbox.state, KeyState::Unknown | KeyState::Loading(_)),
                    "{key} has no connection and is {:?}",
                    mailbox.state
                );
            }
            let first = mailbox.entries().next();
            assert!(
                first.is_none_or(|first| first.standing != Standing::Void),
                "the window of {key} begins with an entry that is skipped"
            );
            for entry in mailbox.entries() {
                self.check_entry(slot, entry);
            }
        }
    }

    fn check_claim(&self, slot: u32) {
        let Mailbox { key, claim, conns, .. } = self.registry.get(slot);
        if self.config.sharing.is_none() {
            return assert_eq!(*claim, Claim::None, "the store of {key} is not shared");
        }
        let asks = |pending: &&Pending| matches!(pending, Pending::Claim { mailbox, .. } if *mailbox == slot);
        let asked = self.operations.iter().filter(asks).count();
        assert_eq!(asked, usize::from(matches!(claim, Claim::Asked { .. })), "claims of {key}");
        if conns.is_empty() {
            let gone = matches!(claim, Claim::None | Claim::Asked { .. });
            assert!(gone, "{key} has no connection and its claim is {claim:?}");
        } else {
            assert_ne!(*claim, Claim::None, "{key} has a connection");
        }
    }

    fn check_entry(&self, slot: u32, entry: &crate::mailbox::Entry) {
        let id = entry.id;
        if let Some(op) = entry.op {
            let Some(Pending::Append(append)) = self.operations.get(op) else {
                panic!("{id} waits for an operation that is no append");
            };
            assert_eq!(append.id, id, "the append of {id}");
            assert_eq!(append.mailbox, slot, "the append of {id}");
            assert!(entry.unpromised.is_none(), "{id} waits for the store and for a pong");
        } else {
            assert_ne!(entry.standing, Standing::Held, "{id} is held for no operation");
        }
    }
}
