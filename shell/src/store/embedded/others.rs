//! The operations that are neither about messages nor about devices: sessions.

use super::disk::Fault;
use super::engine::Engine;
use super::layout::{Corrupt, Reader, Writer, decode_session, encode_session, state};
use steadfast_core::store::{Answer, Session, SessionOp};
use steadfast_core::time::Time;

/// How many expired sessions each new one drops.
const DROPPED_SESSIONS: usize = 2;

impl Engine {
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
        if alive.is_some_and(|old| old.is_ahead_of(session)) {
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
