//! What must hold between the tables, whatever has happened.

use super::Gateway;
use crate::connection::{Connection, Phase};
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
        self.pushers.iter().for_each(crate::pushers::Pusher::check);
        let mut open = 0;
        let mut armed = self.mailbox_timers.iter().filter(|at| **at != Time::NEVER).count();
        for conn in self.conns.iter().flatten() {
            open += 1;
            armed += usize::from(conn.armed != Time::NEVER);
            self.check_binding(conn);
        }
        assert_eq!(open, self.open_conns, "open connections");
        assert_eq!(armed, self.timers.len(), "armed timers");
        self.check_mailboxes();
    }

    fn check_binding(&self, conn: &Connection) {
        let live = conn.link.as_ref().is_some_and(|link| link.live().is_some());
        let Phase::Bound(binding) = &conn.phase else {
            assert!(!live, "{} has been welcomed, and is not bound", conn.id);
            return;
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

    fn check_mailboxes(&self) {
        let slots = self.registry.slots() as usize;
        // For each mailbox, how many operations there are on it and how many messages they bury.
        let mut known = vec![(0_u32, 0); slots];
        let mut uploads = Vec::new();
        for operation in self.operations.iter() {
            if let Pending::DeviceLog(upload) = operation {
                uploads.push(&**upload);
            }
            if let Some(slot) = operation.mailbox() {
                let (pending, burying) = &mut known[slot as usize];
                *pending += 1;
                if let Pending::Bury { ids, .. } = operation {
                    *burying += ids.len();
                }
            }
        }
        self.uploads.check(uploads.into_iter());
        // Hashing all keys after every event would take a tenth of a simulation.
        let turn = self.now.as_micros() % self.registry.len().max(1) as u64;
        let mut count = 0;
        for (slot, mailbox) in self.registry.iter() {
            let key = &mailbox.key;
            assert!(!mailbox.is_disposable(), "the mailbox of {key} is of no use");
            if count == turn {
                assert_eq!(self.registry.find(key), Some(slot), "the key {key} finds its mailbox");
            }
            count += 1;
            let (pending, burying) = known[slot as usize];
            assert_eq!(mailbox.pending, pending, "operations on {key}");
            assert_eq!(mailbox.burying.len(), burying, "burials of {key}");
            assert_eq!(mailbox.removing as usize, mailbox.removed_count(), "removals of {key}");
            for id in &mailbox.conns {
                let binding = self.conn(*id).and_then(Connection::binding);
                assert_eq!(binding.map(|b| b.mailbox), Some(slot), "{id} is bound to {key}");
            }
            self.check_window(slot, mailbox);
            self.check_claim(slot, mailbox);
            if mailbox.conns.is_empty() {
                let length = mailbox.entries().len();
                assert_eq!(length, 0, "the window of {key}, which has no connection");
                assert!(
                    matches!(mailbox.state, KeyState::Unknown | KeyState::Loading(_)),
                    "{key} has no connection and is {:?}",
                    mailbox.state
                );
            }
        }
        assert_eq!(self.registry.len() as u64, count, "keys known and mailboxes kept");
    }

    fn check_window(&self, slot: u32, mailbox: &Mailbox) {
        let key = &mailbox.key;
        let (mut bytes, mut last, mut ascends) = (0, None, true);
        for (index, entry) in mailbox.entries().enumerate() {
            bytes += entry.payload.len() as u64;
            self.check_entry(slot, entry);
            if entry.standing == Standing::Void {
                assert_ne!(index, 0, "the window of {key} begins with an entry that is skipped");
                continue;
            }
            ascends &= last < Some(entry.id);
            last = Some(entry.id);
        }
        assert_eq!(mailbox.bytes, bytes, "bytes in the window of {key}");
        // What ascends is unique, and it mostly does.
        let alive = || mailbox.entries().filter(|entry| entry.standing != Standing::Void).count();
        assert!(
            ascends || alive() == mailbox.ids().len(),
            "a message is once in the window of {key}"
        );
    }

    fn check_claim(&self, slot: u32, mailbox: &Mailbox) {
        let Mailbox { key, claim, conns, .. } = mailbox;
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
            assert!(entry.unstored.is_none(), "{id} waits for the store and for a pong");
        } else {
            assert_ne!(entry.standing, Standing::Held, "{id} is held for no operation");
        }
    }
}
