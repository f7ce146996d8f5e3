//! Sessions of link clients.

use crate::store::{Answer, Session, SessionOp};
use crate::time::Time;
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};

/// How many expired sessions each read drops.
const DROP: usize = 2;

/// All sessions, by id and by expiry.
///
/// Invariant: the two indexes hold the same sessions.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    by_id: BTreeMap<ByteString, Session>,
    by_expiry: BTreeSet<(Time, ByteString)>,
}

impl Sessions {
    /// Carries the operation out.
    pub(super) fn apply(&mut self, op: SessionOp) -> Answer {
        match op {
            SessionOp::Put { session, now } => {
                self.put(session, now);
                Answer::SessionKept
            }
            SessionOp::Get { id, now } => {
                self.forget(now, DROP);
                let session = self.by_id.get(&id).filter(|session| session.expires_at > now);
                Answer::SessionFound(session.cloned())
            }
        }
    }

    /// Drops some sessions that have expired. Since time never goes backward within a run, nobody
    /// can see whether one has been dropped yet.
    pub(super) fn forget(&mut self, now: Time, at_most: usize) {
        for _ in 0..at_most {
            let Some((expires_at, _)) = self.by_expiry.first() else { return };
            if *expires_at > now {
                return;
            }
            if let Some((_, id)) = self.by_expiry.pop_first() {
                self.by_id.remove(&id);
            }
        }
    }

    /// Panics when an invariant is broken. Walks everything.
    pub(super) fn check(&self) {
        assert_eq!(self.by_id.len(), self.by_expiry.len());
        for session in self.by_id.values() {
            let entry = (session.expires_at, session.id.clone());
            assert!(self.by_expiry.contains(&entry), "a session's expiry is known");
        }
    }

    fn put(&mut self, session: Session, now: Time) {
        let kept = self.by_id.get(&session.id);
        if kept.is_some_and(|kept| kept.expires_at > now && kept.is_ahead_of(&session)) {
            return;
        }
        let entry = (session.expires_at, session.id.clone());
        if let Some(old) = self.by_id.insert(session.id.clone(), session) {
            self.by_expiry.remove(&(old.expires_at, old.id));
        }
        self.by_expiry.insert(entry);
    }
}
