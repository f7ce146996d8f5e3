//! Carries operations out on the database.
//!
//! Appended messages wait in memory until something has to be read from disk or the batch ends;
//! those that are removed before are never written. Everything else goes into one fjall batch. A
//! [`flush`](Engine::flush) commits both; [`sync`](Engine::sync) makes durable what was committed.
//!
//! The rule that keeps this simple: what is not committed yet are messages in memory, removals, and
//! names of pushes together with their message; whatever changes anything else commits before it
//! returns, and whatever reads messages from disk commits before it reads.

use super::disk::{Disk, Fault};
use super::layout::{Body, Counters, Place, Reader, prefix, state, tagged_prefix};
use super::mailboxes::{Entry, Fresh, Mailbox, Mailboxes};
use bytes::Bytes;
use fjall::OwnedWriteBatch;
use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::path::Path;
use steadfast_core::id::Key;
use steadfast_core::store::{Answer, ExpiryCursor, Op};
use steadfast_core::time::Time;

/// More uncommitted bytes than this are committed at once.
const MANY_BYTES: usize = 8 << 20;
/// And more records than this.
pub(super) const MANY_RECORDS: usize = 8 << 10;
/// How many expired names are dropped by each look for expired messages.
const DROPPED_NAMES: usize = 1_000;

/// The store, without its thread.
pub(super) struct Engine {
    pub(super) disk: Disk,
    pub(super) mailboxes: Mailboxes,
    pub(super) counters: Counters,
    /// Messages that are not committed; `None` when removed since.
    pub(super) fresh: Vec<Option<FreshMessage>>,
    /// Their payloads' bytes, and some for each.
    fresh_bytes: usize,
    /// Which messages are fresh: those of this round.
    round: u32,
    /// What is to be committed with them.
    pub(super) batch: OwnedWriteBatch,
    /// For hashes of idempotent pushes' payloads.
    pub(super) secret: u128,
    /// For hashes that are compared with each other only.
    pub(super) hasher: RandomState,
    /// No waiting message expires before this place.
    pub(super) first_expiry: Option<ExpiryCursor>,
    /// No name's window ends before this.
    pub(super) first_name_end: Time,
    /// No session expires before this.
    pub(super) first_session_expiry: Time,
}

/// A message that is not committed.
#[derive(Debug)]
pub(super) struct FreshMessage {
    pub(super) key: Key,
    pub(super) place: Place,
    pub(super) accepted_at: Time,
    pub(super) payload: Bytes,
}

impl Engine {
    /// Opens the store in this directory, or makes one.
    pub(super) fn open(directory: &Path) -> Result<Self, Fault> {
        let mut disk = Disk::open(directory)?;
        let counters = match disk.state.get(state::COUNTERS)? {
            Some(bytes) => Counters::decode(&bytes)?,
            None => Counters::default(),
        };
        let secret = secret(&mut disk)?;
        Ok(Self {
            batch: disk.batch(),
            disk,
            mailboxes: Mailboxes::default(),
            counters,
            fresh: Vec::new(),
            fresh_bytes: 0,
            round: 1,
            secret,
            hasher: RandomState::new(),
            first_expiry: None,
            first_name_end: Time::EPOCH,
            first_session_expiry: Time::EPOCH,
        })
    }

    /// The number of this run: one more than the last. Durable when it returns.
    pub(super) fn next_incarnation(&mut self) -> Result<u32, Fault> {
        let last = match self.disk.state.get(state::INCARNATION)? {
            Some(bytes) => Reader::new(&bytes, "the incarnation").u32()?,
            None => 0,
        };
        let next = last + 1;
        self.batch.insert(&self.disk.state, state::INCARNATION, next.to_be_bytes());
        self.flush()?;
        self.sync()?;
        Ok(next)
    }

    /// Writes something durably, to see whether that is possible.
    pub(super) fn probe(&mut self) -> Result<(), Fault> {
        self.batch.insert(&self.disk.state, state::PROBE, *b"");
        self.flush()?;
        self.sync()
    }

    /// Carries an operation out. It is durable after the next [`flush`](Self::flush) and
    /// [`sync`](Self::sync).
    pub(super) fn apply(&mut self, op: Op) -> Result<Answer, Fault> {
        if self.fresh_bytes > MANY_BYTES || self.batch.len() > MANY_RECORDS {
            self.flush()?;
        }
        Ok(match op {
            Op::Append(append) => Answer::Appended(self.append(append)?),
            Op::Load { key, max_messages, max_bytes } => {
                Answer::Loaded(self.load(&key, max_messages, max_bytes)?)
            }
            Op::Remove { key, ids } => {
                let withdrawn = self.remove(&key, &ids)?;
                Answer::Removed { ids, withdrawn }
            }
            Op::Retry { key, retries } => {
                self.retry(&key, &retries)?;
                Answer::Retried
            }
            Op::Bury { key, ids, reason, at } => Answer::Buried(self.bury(&key, ids, at, reason)?),
            Op::Expire { now, after, limit } => {
                self.forget_sessions(now, limit as usize)?;
                self.forget_names(now, DROPPED_NAMES)?;
                Answer::Expired(self.expired(now, after, limit)?)
            }
            Op::Claim(op) => Answer::Claim(self.claim_op(op)?),
            Op::Dead(op) => Answer::Dead(self.dead_op(op)?),
            Op::Session(op) => self.session_op(op)?,
            Op::Device(op) => self.device_op(op)?,
            Op::Queue(op) => Answer::Queue(self.queue_op(op)?),
            Op::Find { key, target, now } => {
                Answer::Found(Box::new(self.locate(key, target, now)?))
            }
        })
    }

    /// Commits everything.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        for FreshMessage { key, place, accepted_at, payload } in self.fresh.drain(..).flatten() {
            let body = Body::new(accepted_at, payload).encode();
            self.batch.insert(&self.disk.messages, place.record(&key), body);
            self.batch.insert(
                &self.disk.expiry,
                place.expiry_record(),
                key.text().as_bytes().to_vec(),
            );
        }
        self.fresh_bytes = 0;
        self.round = self.round.wrapping_add(1);
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch.insert(&self.disk.state, state::COUNTERS, self.counters.encode());
        let batch = std::mem::replace(&mut self.batch, self.disk.batch());
        self.disk.commit(batch)
    }

    /// Makes durable what was committed.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.disk.sync()?;
        self.mailboxes.age();
        Ok(())
    }

    /// Keeps a message in memory until the next flush.
    pub(super) fn keep_fresh(&mut self, message: FreshMessage) -> Fresh {
        let index = u32::try_from(self.fresh.len()).expect("fewer than 2^32 messages a batch");
        self.fresh_bytes += message.payload.len() + 100;
        self.fresh.push(Some(message));
        Fresh { round: self.round, index }
    }

    /// The index of an entry's message among the fresh ones, if it is one.
    pub(super) fn fresh_index(&self, entry: &Entry) -> Option<usize> {
        (entry.fresh.round == self.round).then_some(entry.fresh.index as usize)
    }

    /// The mailbox of a key, read from disk if it is not known. (Not a method, so that the rest of
    /// the engine can be used beside it.)
    pub(super) fn mailbox<'a>(
        mailboxes: &'a mut Mailboxes,
        disk: &Disk,
        key: &Key,
    ) -> Result<&'a mut Mailbox, Fault> {
        if mailboxes.get(key).is_none() {
            mailboxes.insert(key, read_mailbox(disk, key)?);
        }
        Ok(mailboxes.get(key).expect("it was just inserted"))
    }

    /// How an entry says that its message is on disk.
    pub(super) fn on_disk(&self) -> Fresh {
        Fresh { round: self.round.wrapping_sub(1), index: 0 }
    }
}

/// The store's random bytes, drawn when it is made.
fn secret(disk: &mut Disk) -> Result<u128, Fault> {
    use std::io::Read as _;
    if let Some(bytes) = disk.state.get(state::SECRET)? {
        return Ok(Reader::new(&bytes, "the secret").u128()?);
    }
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(fjall::Error::Io)?;
    let mut batch = disk.batch();
    batch.insert(&disk.state, state::SECRET, bytes);
    disk.commit(batch)?;
    disk.sync()?;
    Ok(u128::from_be_bytes(bytes))
}

/// Reads which messages wait for a key.
fn read_mailbox(disk: &Disk, key: &Key) -> Result<Mailbox, Fault> {
    let mut entries = VecDeque::new();
    for record in super::disk::records(&disk.messages, &prefix(key)) {
        let place = Place::decode(&record.key()?)?;
        entries.push_back(Entry { place, fresh: Fresh { round: 0, index: 0 } });
    }
    let deaths = match disk.state.get(tagged_prefix(state::DEATHS, key))? {
        Some(bytes) => Reader::new(&bytes, "deaths").u64()?,
        None => 0,
    };
    Ok(Mailbox { entries, deaths, last: None })
}
