//! The durable store: fjall, an embedded database, in a directory and a thread of its own.
//!
//! The event loop hands over what a turn has asked for at once, and gets all answers of a batch at
//! once (`handoff`). The thread (`thread`) takes whatever has queued as one batch, carries it out
//! (`engine`), makes it durable, and answers. So nothing is answered that is not durable, one sync
//! serves as many operations as came during the last, and a message that is appended and removed
//! within one batch is never written.
//!
//! Messages and removals are written to a log first (`wal`), and what is still waiting when the log
//! has grown goes to the database in bulk. Most messages are confirmed before and never get there:
//! that made the store's thread four times as cheap for live traffic.
//!
//! After a fault everything in the batch is answered [`Failed`](steadfast_core::store::Answer::Failed):
//! it may or may not have happened. fjall takes no more writes then, so the database is closed and
//! opened again, and once something could be written durably, operations are carried out again.
//! Until then they fail at once. [`Health`] shows it.
//!
//! # On disk
//!
//! `DIRECTORY/lock` is locked by the process that has the directory, `DIRECTORY/store.new` is a
//! database that is not finished (`home`). `DIRECTORY/store` is a fjall database of format 3, and in
//! it the log, `ahead.log`. What the log says comes after what the database says if the log's
//! generation is greater than the database's. These are the keyspaces; `layout` has the encodings.
//! `K` is a key's text with its end marked, `id` is incarnation (4 bytes) and counter (8),
//! times are microseconds since 1970 (8).
//!
//! | keyspace | key | value |
//! |---|---|---|
//! | `messages` | K, position (8), id, expiry | accepted at, tries (4), not before, earlier deaths, payload |
//! | `expiry` | expiry, id, position (8) | the key's text |
//! | `letters` | `l`, K, id | death, reason, position, id, expiry, and what `messages` has |
//! | | `t`, death, id | the key's text |
//! | | `k`, K, death, id | |
//! | `names` | `n`, K, name | message id, promise, the payload's length and hash, accepted at, window |
//! | | `o`, end of the window, K, name | |
//! | `state` | `v` | the layout's version (4): 1 |
//! | | `i` | the last incarnation (4) |
//! | | `n` | last position, newest id, how many wait, how many are dead |
//! | | `g` | the last generation of the log that is in the database (8) |
//! | | `m`, `b` | of the device log: the last number, how many bytes it holds (8 each) |
//! | | `s` | 16 random bytes: the secret of the hashes in `names` and the checksums in the log |
//! | | `d`, K | how many of the key's messages ever died (8) |
//! | | `S`, session id | key, context, applied, deaths seen, expiry |
//! | | `X`, expiry, session id | |
//! | `devices` | `D`, device id | its connection |
//! | | `L`, number (8) | device id, entry |
//!
//! A mailbox is the range of its K in `messages`, in order and with its payloads in place, so that a
//! load is one scan. Which messages a mailbox has is kept in a bounded cache (`mailboxes`) and read
//! from the keys of that range when it is not there. Messages are kept in memory only while the log
//! alone has them.
//!
//! The log is a sequence of batches: generation (8), length of the payload (4), SipHash-1-3 of both
//! under the secret (8), payload. Its entries are `1`, position, id, expiry, accepted at, key, payload
//! of a message that was appended, and `2`, position, id, expiry, key of one that is gone; key and
//! payload with their lengths (4) in front.

mod devices;
mod disk;
mod engine;
mod home;
mod layout;
mod letters;
mod mailboxes;
mod messages;
mod others;
mod queues;
#[cfg(test)]
mod tests;
mod thread;
#[cfg(test)]
mod trouble;
mod wal;

use super::Backend;
use super::handoff::{Handoff, weight};
use super::health::Health;
use crate::reactor::Handle;
use disk::Fault;
use engine::Engine;
use home::Home;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Op};
use thread::Worker;

/// The longest key in bytes that the store takes: the database's keys are shorter than 64 KiB, and
/// zero bytes count twice.
pub const MAX_KEY: u64 = 32_000;

/// More than this is not queued: further operations fail at once.
const MAX_QUEUED_BYTES: usize = 256 << 20;

/// Storage in a directory.
#[derive(Debug)]
pub struct Embedded {
    handoff: Arc<Handoff>,
    /// What this turn of the event loop has asked for.
    submitted: Vec<(OpId, Op)>,
    submitted_bytes: usize,
    /// Whether somebody waits for one of those.
    is_urgent: bool,
    /// Answers to what was not queued.
    refused: Vec<(OpId, Answer)>,
    health: Health,
    incarnation: u32,
    thread: Option<JoinHandle<()>>,
    /// Ours until the thread has ended. Only tests have none.
    home: Option<Home>,
}

impl Embedded {
    /// Opens the store in this directory, or makes one, and starts its thread.
    ///
    /// # Errors
    /// The text says what is wrong with the directory and what to do: it cannot be written to, another
    /// process has it open, or a later version wrote it.
    pub fn open(directory: &Path) -> Result<Self, String> {
        let problem = |fault: Fault| explain(directory, &fault);
        let home = Home::open(directory).map_err(problem)?;
        let mut engine = Engine::open(&home.store).map_err(problem)?;
        let incarnation = engine.next_incarnation().map_err(problem)?;
        let started = Self::start_thread(home.store.clone(), engine, incarnation);
        let mut embedded = started.map_err(|error| problem(fjall::Error::Io(error).into()))?;
        embedded.home = Some(home);
        Ok(embedded)
    }

    /// Gives an open store its thread.
    fn start_thread(store: PathBuf, engine: Engine, incarnation: u32) -> io::Result<Self> {
        let health = Health::default();
        let handoff = Arc::new(Handoff::default());
        let worker = Worker::new(store, engine, Arc::clone(&handoff), health.clone());
        Ok(Self {
            handoff,
            submitted: Vec::new(),
            submitted_bytes: 0,
            is_urgent: false,
            refused: Vec::new(),
            health,
            incarnation,
            thread: Some(worker.spawn()?),
            home: None,
        })
    }

    /// The number of this run of the node: it was never handed out before.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Shows how the store is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl Backend for Embedded {
    fn start(&mut self, handle: Handle) {
        self.handoff.set_handle(handle);
    }

    fn submit(&mut self, op: OpId, request: Op) {
        let bytes = weight(&request);
        if self.health.queued_bytes() + self.submitted_bytes + bytes > MAX_QUEUED_BYTES {
            let why = "too much waits for the disk already".to_owned();
            self.refused.push((op, Answer::Failed(why)));
            return;
        }
        self.submitted_bytes += bytes;
        // What was confirmed or has failed is only noted; for anything else somebody waits.
        self.is_urgent |= !matches!(request, Op::Remove { .. } | Op::Retry { .. });
        self.submitted.push((op, request));
    }

    fn hand_over(&mut self) {
        if self.submitted.is_empty() {
            return;
        }
        self.health.queues(self.submitted.len(), self.submitted_bytes);
        self.handoff.put(&mut self.submitted, self.submitted_bytes, self.is_urgent);
        (self.submitted_bytes, self.is_urgent) = (0, false);
    }

    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>) {
        answers.append(&mut self.refused);
        self.handoff.collect(answers);
    }
}

/// Carries out what was asked for before it ends.
impl Drop for Embedded {
    fn drop(&mut self) {
        self.hand_over();
        self.handoff.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
        self.home = None;
    }
}

/// Why the store cannot be opened, and what to do.
fn explain(directory: &Path, fault: &Fault) -> String {
    let remedy = match fault {
        Fault::Database(fjall::Error::Locked) => {
            "stop the other daemon, or give this one a directory of its own"
        }
        Fault::Newer(_) | Fault::Database(fjall::Error::InvalidVersion(_)) => {
            "run the version that wrote it, or choose another directory"
        }
        Fault::Database(fjall::Error::Io(_)) => {
            "check the path, its permissions and its free space"
        }
        Fault::Database(_) | Fault::Corrupt(_) => "restore the directory, or choose another",
    };
    format!("cannot open the store in {} (data): {fault}; {remedy}", directory.display())
}
