//! The operations that are neither about messages nor about devices: claims, sessions.

use super::disk::{Fault, records};
use super::engine::Engine;
use super::layout::{
    Corrupt, Reader, Writer, decode_claim, decode_session, encode_claim, encode_session,
    lease_record, state, tagged_prefix,
};
use steadfast_core::id::Key;
use steadfast_core::store::{Answer, ClaimAnswer, ClaimOp, Node, Session, SessionOp};
use steadfast_core::time::Time;

/// How many expired sessions each new one drops.
const DROPPED_SESSIONS: usize = 2;

impl Engine {
    /// Carries an operation on claims out.
    pub(super) fn claim_op(&mut self, op: ClaimOp) -> Result<ClaimAnswer, Fault> {
        match op {
            ClaimOp::Renew { node, now, until } => {
                self.renew(&node, now, until)?;
                Ok(ClaimAnswer::Renewed)
            }
            ClaimOp::Claim { key, node, now } => self.claim(&key, node, now),
            ClaimOp::Release { key, epoch } => {
                let record = tagged_prefix(state::CLAIM, &key);
                let claim = self.disk.state.get(&record)?;
                let current = claim.map(|claim| decode_claim(&claim)).transpose()?;
                let is_current = current.is_some_and(|(current, _)| current == epoch);
                if is_current {
                    self.batch.remove(&self.disk.state, record);
                    self.commit()?;
                }
                Ok(ClaimAnswer::Released(is_current))
            }
        }
    }

    /// Extends a lease; one that already holds for longer is left as it is. Leases that are over
    /// are dropped: nobody can tell them from leases that never were.
    fn renew(&mut self, node: &Node, now: Time, until: Time) -> Result<(), Fault> {
        let mut until = until;
        for lease in records(&self.disk.state, &[state::LEASE]) {
            let (record, end) = lease.into_inner()?;
            let end = Reader::new(&end, "a lease").time()?;
            if end <= now {
                self.batch.remove(&self.disk.state, record);
            } else if record == lease_record(node).as_slice() {
                until = until.max(end);
            }
        }
        // Records of one batch must not contradict each other.
        self.commit()?;
        self.batch.insert(&self.disk.state, lease_record(node), until.as_micros().to_be_bytes());
        self.commit()
    }

    /// Takes a key from whoever has it. A claim needs no lease, but holds nothing without one.
    fn claim(&mut self, key: &Key, node: Node, now: Time) -> Result<ClaimAnswer, Fault> {
        let record = tagged_prefix(state::CLAIM, key);
        let mut before = None;
        if let Some(claim) = self.disk.state.get(&record)? {
            let (_, holder) = decode_claim(&claim)?;
            let lease = self.disk.state.get(lease_record(&holder))?;
            let end = lease.map(|end| Reader::new(&end, "a lease").time()).transpose()?;
            before = Some(holder).filter(|it| *it != node && end.is_some_and(|end| end > now));
        }
        let epoch = self.disk.number(state::EPOCH)? + 1;
        self.batch.insert(&self.disk.state, state::EPOCH, epoch.to_be_bytes());
        self.batch.insert(&self.disk.state, record, encode_claim(epoch, &node));
        self.commit()?;
        Ok(ClaimAnswer::Claimed { epoch, before })
    }

    /// Carries an operation on sessions out.
    pub(super) fn session_op(&mut self, op: SessionOp) -> Result<Answer, Fault> {
        match op {
            SessionOp::Put { session, now } => {
                self.put_session(&session, now)?;
                Ok(Answer::SessionKept)
            }
            SessionOp::Get { id, now } => {
                let session = self.session(&id)?;
                let session = session.filter(|session| session.expires_at > now);
                self.forget_sessions(now, DROPPED_SESSIONS)?;
                Ok(Answer::SessionFound(session))
            }
        }
    }

    fn session(&self, id: &str) -> Result<Option<Session>, Fault> {
        let record = self.disk.state.get(session_record(id))?;
        Ok(record.map(|record| decode_session(id, &record)).transpose()?)
    }

    fn put_session(&mut self, session: &Session, now: Time) -> Result<(), Fault> {
        let expiry = session_expiry_record(session.expires_at, &session.id);
        let old = self.session(&session.id)?;
        let alive = old.as_ref().filter(|old| old.expires_at > now);
        if alive.is_some_and(|old| old.applied > session.applied) {
            return Ok(());
        }
        if let Some(old) = old
            && old.expires_at != session.expires_at
        {
            self.batch.remove(&self.disk.state, session_expiry_record(old.expires_at, &old.id));
        }
        self.batch.insert(&self.disk.state, expiry, *b"");
        self.batch.insert(&self.disk.state, session_record(&session.id), encode_session(session));
        self.first_session_expiry = self.first_session_expiry.min(session.expires_at);
        self.commit()
    }

    /// Drops some sessions that have expired. Since time never goes backward within a run, nobody
    /// can see whether one has been dropped yet.
    pub(super) fn forget_sessions(&mut self, now: Time, at_most: usize) -> Result<(), Fault> {
        if self.first_session_expiry > now {
            return Ok(());
        }
        let from = Writer::tagged(state::SESSION_EXPIRY).time(self.first_session_expiry).end();
        let from = std::ops::Bound::Included(from);
        let all = super::disk::records_from(&self.disk.state, &[state::SESSION_EXPIRY], from);
        // When nothing is left, the next session to expire is one that is yet to be kept.
        let mut next = Time::NEVER;
        for (dropped, record) in all.enumerate() {
            let record = record.key()?;
            let (expires_at, id) = session_expiry(&record)?;
            if expires_at > now || dropped == at_most {
                next = expires_at;
                break;
            }
            self.batch.remove(&self.disk.state, session_record(&id));
            self.batch.remove(&self.disk.state, record);
        }
        self.first_session_expiry = next;
        self.commit()
    }
}

/// The key of a session.
fn session_record(id: &str) -> Vec<u8> {
    Writer::tagged(state::SESSION).rest(id.as_bytes()).end()
}

/// The key of its record in the order of expiry.
fn session_expiry_record(expires_at: Time, id: &str) -> Vec<u8> {
    Writer::tagged(state::SESSION_EXPIRY).time(expires_at).rest(id.as_bytes()).end()
}

/// What such a key names.
fn session_expiry(record: &[u8]) -> Result<(Time, String), Corrupt> {
    let mut reader = Reader::new(record, "a session's expiry");
    reader.u8()?;
    Ok((reader.time()?, reader.rest_text()?.to_owned()))
}
