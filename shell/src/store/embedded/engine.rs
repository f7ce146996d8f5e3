//! Carries operations out on the write-ahead log and the database.
//!
//! Appended messages stay in memory until the log has grown or something has to be done to them that
//! only the database can do; the removals of older ones are gathered likewise. A [`spill`] brings
//! both to the database. [`sync`] makes durable what was done since the last: a message that was
//! appended and removed in between is never written, one that is removed later is written to the log
//! alone, and only what still waits at the next spill becomes a record.
//!
//! The rule that keeps this simple: what is in memory are messages and removals and nothing else.
//! Whatever changes something else about messages spills before it begins and before it returns.
//! Counters are written with each spill, so they and the log add up.
//!
//! [`spill`]: Engine::spill
//! [`sync`]: Engine::sync

use super::devices::DeviceLog;
use super::disk::{Disk, Fault};
use super::layout::{Body, Counters, Place, Reader, prefix, state, tagged_prefix};
use super::mailboxes::{Entry, Fresh, Mailbox, Mailboxes};
use super::wal::{self, Wal};
use bytes::Bytes;
use fjall::OwnedWriteBatch;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use steadfast_core::id::Key;
use steadfast_core::store::{Answer, ExpiryCursor, Op};
use steadfast_core::time::Time;

/// When so much is in memory it goes to the database.
const MANY_BYTES: usize = 8 << 20;
/// When the log is as large as that, it begins again.
const MANY_LOGGED: u64 = 24 << 20;
/// So many removals go to the database too, and so many records at once.
pub(super) const MANY_RECORDS: usize = 16 << 10;
/// How many expired names are dropped by each look for expired messages.
const DROPPED_NAMES: usize = 1_000;

/// The store, without its thread.
pub(super) struct Engine {
    pub(super) disk: Disk,
    pub(super) wal: Wal,
    pub(super) mailboxes: Mailboxes,
    pub(super) counters: Counters,
    /// Messages that are not in the database; `None` when removed since.
    fresh: Vec<Option<FreshMessage>>,
    /// The first of them that is not in the log.
    unlogged: usize,
    /// Their payloads' bytes, and some for each.
    fresh_bytes: usize,
    /// Which messages are fresh: those of this round. Grows with each spill.
    round: u32,
    /// Messages that are removed, but not from the database yet.
    doomed: Vec<(Key, Place)>,
    /// The earliest expiry among the fresh and the doomed.
    pub(super) memory_expiry: Time,
    /// Other changes that are to be committed.
    pub(super) batch: OwnedWriteBatch,
    /// Whether something was spilled that is not durable.
    is_spilled: bool,
    /// For hashes of idempotent pushes' payloads.
    pub(super) secret: u128,
    /// For hashes that are compared with each other only.
    pub(super) hasher: RandomState,
    /// No waiting message expires before this place.
    pub(super) first_expiry: Option<ExpiryCursor>,
    /// No name's window ends before this.
    pub(super) first_name_end: Time,
    pub(super) device_log: DeviceLog,
    /// No session expires before this.
    pub(super) first_session_expiry: Time,
}

/// A message that is not in the database.
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
        let done = disk.number(state::GENERATION)?;
        let secret = secret(&mut disk)?;
        let device_log = DeviceLog::read(&disk)?;
        let (wal, entries) = Wal::open(directory, done, secret)?;
        let mut engine = Self {
            batch: disk.batch(),
            disk,
            wal,
            mailboxes: Mailboxes::default(),
            counters,
            fresh: Vec::new(),
            unlogged: 0,
            fresh_bytes: 0,
            memory_expiry: Time::NEVER,
            round: 1,
            doomed: Vec::new(),
            is_spilled: false,
            secret,
            hasher: RandomState::new(),
            first_expiry: None,
            first_name_end: Time::EPOCH,
            first_session_expiry: Time::EPOCH,
            device_log,
        };
        if !entries.is_empty() {
            engine.replay(entries);
            engine.begin_log()?;
        }
        Ok(engine)
    }

    /// Takes up what only the log says.
    fn replay(&mut self, entries: Vec<wal::Entry>) {
        let mut indexes = HashMap::new();
        for entry in entries {
            match entry {
                wal::Entry::Appended(message) => {
                    let Place { position, id, .. } = message.place;
                    self.counters.position = self.counters.position.max(position);
                    self.counters.newest = self.counters.newest.max(Some(id));
                    self.counters.waiting += 1;
                    indexes.insert(position, self.fresh.len());
                    self.fresh.push(Some(message));
                }
                wal::Entry::Gone(key, place) => {
                    self.counters.waiting -= 1;
                    match indexes.remove(&place.position) {
                        Some(index) => self.fresh[index] = None,
                        None => self.doomed.push((key, place)),
                    }
                }
            }
        }
    }

    /// The number of this run: one more than the last. Durable when it returns.
    pub(super) fn next_incarnation(&mut self) -> Result<u32, Fault> {
        let last = match self.disk.state.get(state::INCARNATION)? {
            Some(bytes) => Reader::new(&bytes, "the incarnation").u32()?,
            None => 0,
        };
        let next = last + 1;
        self.batch.insert(&self.disk.state, state::INCARNATION, next.to_be_bytes());
        self.forget_links()?;
        self.commit()?;
        self.sync()?;
        Ok(next)
    }

    /// Writes something durably, to see whether that is possible.
    pub(super) fn probe(&mut self) -> Result<(), Fault> {
        self.batch.insert(&self.disk.state, state::PROBE, *b"");
        self.commit()?;
        self.sync()
    }

    /// Carries an operation out. It is durable after the next [`sync`](Self::sync).
    pub(super) fn apply(&mut self, op: Op) -> Result<Answer, Fault> {
        if self.fresh_bytes > 2 * MANY_BYTES {
            self.spill()?;
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
            Op::Retry { key, retries, epoch: _ } => {
                self.retry(&key, &retries)?;
                Answer::Retried
            }
            Op::Bury { key, ids, reason, at, epoch: _ } => {
                Answer::Buried(self.bury(&key, ids, at, reason)?)
            }
            Op::Expire { now, after, limit } => {
                self.forget_sessions(now, limit as usize)?;
                self.forget_names(now, DROPPED_NAMES)?;
                Answer::Expired(self.expired(now, after, limit)?)
            }
            Op::Claim(_) => Answer::Failed("the embedded store is not shared".to_owned()),
            Op::Dead(op) => Answer::Dead(self.dead_op(op)?),
            Op::Session(op) => self.session_op(op)?,
            Op::Device(op) => Answer::Device(self.device_op(op)?),
            Op::Queue(op) => Answer::Queue(self.queue_op(op)?),
            Op::Find { key, target, now } => {
                Answer::Found(Box::new(self.locate(key, target, now)?))
            }
        })
    }

    /// Commits the changes that are not about messages.
    pub(super) fn commit(&mut self) -> Result<(), Fault> {
        let batch = std::mem::replace(&mut self.batch, self.disk.batch());
        self.disk.commit(batch)
    }

    /// Brings everything to the database, in one batch with what waits there to be committed.
    pub(super) fn spill(&mut self) -> Result<(), Fault> {
        let is_needless = self.batch.is_empty()
            && self.doomed.is_empty()
            && self.fresh.iter().all(Option::is_none);
        if is_needless { Ok(()) } else { self.spill_all() }
    }

    fn spill_all(&mut self) -> Result<(), Fault> {
        for FreshMessage { key, place, accepted_at, payload } in self.fresh.drain(..).flatten() {
            let body = Body::new(accepted_at, payload).encode();
            let text = key.text().as_bytes().to_vec();
            self.batch.insert(&self.disk.messages, place.record(&key), body);
            self.batch.insert(&self.disk.expiry, place.expiry_record(), text);
        }
        for (key, place) in self.doomed.drain(..) {
            self.batch.remove(&self.disk.messages, place.record(&key));
            self.batch.remove(&self.disk.expiry, place.expiry_record());
        }
        (self.fresh_bytes, self.unlogged) = (0, 0);
        self.memory_expiry = Time::NEVER;
        self.round = self.round.wrapping_add(1);
        self.batch.insert(&self.disk.state, state::COUNTERS, self.counters.encode());
        let generation = self.wal.generation().to_be_bytes();
        self.batch.insert(&self.disk.state, state::GENERATION, generation);
        self.wal.forget();
        self.is_spilled = true;
        self.commit()
    }

    /// Spills, and lets the log begin again.
    fn begin_log(&mut self) -> Result<(), Fault> {
        self.spill_all()?;
        self.disk.sync()?;
        self.is_spilled = false;
        self.wal.restart();
        self.mailboxes.age();
        Ok(())
    }

    /// Makes everything durable that was done.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.disk.sync()?;
        if self.is_spilled {
            self.is_spilled = false;
            self.wal.restart();
        }
        for message in self.fresh[self.unlogged..].iter_mut().flatten() {
            self.wal.appended(message);
            // What it was read with must not be kept for it.
            message.payload = Bytes::copy_from_slice(&message.payload);
        }
        self.unlogged = self.fresh.len();
        self.wal.commit()?;
        if self.wal.len() > MANY_LOGGED
            || self.fresh_bytes > MANY_BYTES
            || self.doomed.len() > MANY_RECORDS
        {
            self.begin_log()?;
        }
        Ok(())
    }

    /// Keeps a message in memory until the next spill.
    pub(super) fn keep_fresh(&mut self, message: FreshMessage) -> Fresh {
        let index = u32::try_from(self.fresh.len()).expect("a spill comes before 2^32 messages");
        self.fresh_bytes += message.payload.len() + message.key.len();
        self.memory_expiry = self.memory_expiry.min(message.place.expires_at);
        self.fresh.push(Some(message));
        Fresh { round: self.round, index }
    }

    /// Drops a message that waits no more.
    pub(super) fn drop_message(&mut self, key: &Key, entry: &Entry) {
        if entry.fresh.round != self.round {
            self.wal.gone(key, &entry.place);
            self.memory_expiry = self.memory_expiry.min(entry.place.expires_at);
            self.doomed.push((key.clone(), entry.place));
            return;
        }
        let index = entry.fresh.index as usize;
        if index < self.unlogged {
            self.wal.gone(key, &entry.place);
        }
        self.fresh[index] = None;
    }

    /// The message of an entry, if it is in memory.
    pub(super) fn fresh(&self, entry: &Entry) -> Option<&FreshMessage> {
        let is_fresh = entry.fresh.round == self.round;
        is_fresh.then(|| {
            let message = self.fresh[entry.fresh.index as usize].as_ref();
            message.expect("a fresh message that waits is there")
        })
    }

    /// Lets writing fail as this says.
    #[cfg(test)]
    pub(super) fn trouble(&mut self, trouble: &super::trouble::Trouble) {
        self.disk.trouble.clone_from(trouble);
        self.wal.trouble.clone_from(trouble);
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

    /// How an entry says that its message is in the database.
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
