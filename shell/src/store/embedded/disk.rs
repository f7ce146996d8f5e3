//! The database below the store: its keyspaces, its limits, and when it is written to.
//!
//! A commit makes records visible, a [`sync`](Disk::sync) makes all commits before it durable; both
//! fail for good once fjall has seen an error, so whoever meets one drops the [`Disk`] and opens it
//! anew. Commits wait here, not in fjall, while it has too much to flush or to compact: fjall's own
//! wait does not end when its threads have failed.

use super::layout::{Corrupt, Reader, VERSION, state};
use fjall::{
    Database, Iter, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, OwnedWriteBatch,
    PersistMode,
};
use std::fmt;
use std::ops::Bound;
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Memory for blocks that were read.
const BLOCK_CACHE: u64 = 16 << 20;
/// How much may be written to the keyspace of messages before it is flushed.
const MESSAGES_BUFFER: u64 = 16 << 20;
/// The same for each of the others.
const OTHER_BUFFER: u64 = 4 << 20;
/// Size of the journals beyond which what holds them is flushed; the least that fjall takes.
const JOURNALS: u64 = 64 << 20;
/// Threads that flush and compact.
const WORKERS: usize = 2;
/// Files that may be open.
const OPEN_FILES: usize = 128;
/// Larger messages and device logs are kept apart, so that compactions do not copy them.
const LARGE: u32 = 32 << 10;
/// From so many buffers waiting to be flushed on, commits wait. Fjall itself waits from 4 on.
const WAITING_BUFFERS: usize = 3;
/// From so many unsorted tables on, commits wait. Fjall itself waits from 20 on.
const UNSORTED_TABLES: usize = 19;

/// Something that went wrong below the store.
#[derive(Debug)]
pub(super) enum Fault {
    /// In the database.
    Database(fjall::Error),
    /// A record that cannot be read.
    Corrupt(Corrupt),
    /// The store was written by a later version of the program.
    Newer(u32),
}

/// An open database.
pub(super) struct Disk {
    database: Database,
    pub(super) messages: Keyspace,
    pub(super) expiry: Keyspace,
    pub(super) letters: Keyspace,
    pub(super) names: Keyspace,
    pub(super) devices: Keyspace,
    pub(super) state: Keyspace,
    /// Whether there are commits that are not durable.
    is_unsynced: bool,
    #[cfg(test)]
    pub(super) trouble: super::trouble::Trouble,
}

impl Disk {
    /// Opens the database in this directory, or makes one.
    pub(super) fn open(directory: &Path) -> Result<Self, Fault> {
        let database = Database::builder(directory)
            .cache_size(BLOCK_CACHE)
            .max_journaling_size(JOURNALS)
            .worker_threads(WORKERS)
            .max_cached_files(Some(OPEN_FILES))
            .manual_journal_persist(true)
            .open()?;
        let buffered =
            |bytes: u64| move || KeyspaceCreateOptions::default().max_memtable_size(bytes);
        let state = database.keyspace("state", buffered(OTHER_BUFFER))?;
        check_version(&database, &state)?;
        let separate = KvSeparationOptions::default().separation_threshold(LARGE);
        let of_devices = || buffered(OTHER_BUFFER)().with_kv_separation(Some(separate.clone()));
        let of_messages = || buffered(MESSAGES_BUFFER)().with_kv_separation(Some(separate.clone()));
        Ok(Self {
            messages: database.keyspace("messages", of_messages)?,
            expiry: database.keyspace("expiry", buffered(OTHER_BUFFER))?,
            letters: database.keyspace("letters", buffered(OTHER_BUFFER))?,
            names: database.keyspace("names", buffered(OTHER_BUFFER))?,
            devices: database.keyspace("devices", of_devices)?,
            state,
            database,
            is_unsynced: false,
            #[cfg(test)]
            trouble: super::trouble::Trouble::default(),
        })
    }

    /// An empty batch.
    pub(super) fn batch(&self) -> OwnedWriteBatch {
        self.database.batch()
    }

    /// Makes a batch visible.
    pub(super) fn commit(&mut self, batch: OwnedWriteBatch) -> Result<(), Fault> {
        if batch.is_empty() {
            return Ok(());
        }
        #[cfg(test)]
        self.trouble.strike(super::trouble::Step::Commit).map_err(fjall::Error::Io)?;
        self.wait_for_background()?;
        self.is_unsynced = true;
        Ok(batch.commit()?)
    }

    /// Makes everything durable that was committed.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        if self.is_unsynced {
            #[cfg(test)]
            self.trouble.strike(super::trouble::Step::Sync).map_err(fjall::Error::Io)?;
            self.database.persist(PersistMode::SyncData)?;
            self.is_unsynced = false;
        }
        Ok(())
    }

    /// A number of the keyspace `state`; 0 when it was never written.
    pub(super) fn number(&self, record: &[u8]) -> Result<u64, Fault> {
        let number = self.state.get(record)?;
        let number = number.map(|number| Reader::new(&number, "a number").u64()).transpose()?;
        Ok(number.unwrap_or(0))
    }

    /// Space taken on disk in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or(0)
    }

    /// Lets flushes and compactions catch up.
    fn wait_for_background(&self) -> Result<(), Fault> {
        let is_behind = |keyspace: &&Keyspace| {
            keyspace.sealed_memtable_count() >= WAITING_BUFFERS
                || keyspace.l0_table_count() >= UNSORTED_TABLES
        };
        let Self { messages, expiry, letters, names, devices, state, .. } = self;
        let keyspaces = [messages, expiry, letters, names, devices, state];
        while keyspaces.iter().any(is_behind) {
            // Fails when the threads have.
            self.database.persist(PersistMode::Buffer)?;
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

/// Reads the layout's version, and writes it into a new store.
fn check_version(database: &Database, state: &Keyspace) -> Result<(), Fault> {
    if let Some(version) = state.get(state::VERSION)? {
        let bytes = version.as_ref().try_into().map_err(|_| Corrupt("the version"))?;
        let version = u32::from_be_bytes(bytes);
        return if version > VERSION { Err(Fault::Newer(version)) } else { Ok(()) };
    }
    state.insert(state::VERSION, VERSION.to_be_bytes())?;
    Ok(database.persist(PersistMode::SyncAll)?)
}

/// The records whose keys begin with `prefix`, from the one at `from` on.
pub(super) fn records_from(keyspace: &Keyspace, prefix: &[u8], from: Bound<Vec<u8>>) -> Iter {
    let start = match from {
        Bound::Unbounded => Bound::Included(prefix.to_vec()),
        Bound::Included(_) | Bound::Excluded(_) => from,
    };
    keyspace.range((start, Bound::Excluded(super::layout::after_prefix(prefix))))
}

/// The records whose keys begin with `prefix`.
pub(super) fn records(keyspace: &Keyspace, prefix: &[u8]) -> Iter {
    records_from(keyspace, prefix, Bound::Unbounded)
}

impl From<fjall::Error> for Fault {
    fn from(error: fjall::Error) -> Self {
        Self::Database(error)
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Database(fjall::Error::Io(error))
    }
}

impl From<Corrupt> for Fault {
    fn from(corrupt: Corrupt) -> Self {
        Self::Corrupt(corrupt)
    }
}

/// What went wrong, for one line.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(fjall::Error::Io(error)) => write!(f, "{error}"),
            Self::Database(fjall::Error::Storage(fjall::LsmError::Io(error))) => {
                write!(f, "{error}")
            }
            Self::Database(fjall::Error::Locked) => f.write_str("another process has it open"),
            Self::Database(fjall::Error::Poisoned) => {
                f.write_str("writing in the background failed")
            }
            Self::Database(error) => write!(f, "{error:?}"),
            Self::Corrupt(Corrupt(what)) => write!(f, "the record of {what} cannot be read"),
            Self::Newer(version) => write!(
                f,
                "it was written by a later version (layout {version}, this one reads {VERSION})"
            ),
        }
    }
}
