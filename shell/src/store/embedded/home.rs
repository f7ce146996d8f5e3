//! The directory of the store: for one process at a time, and with a whole database or none.
//!
//! A database consists of several files, and whoever is killed while it makes them leaves some that
//! can neither be opened nor made. So a new one is made beside its place and moved there when it is
//! whole.

use super::disk::Fault;
use super::engine::Engine;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// The database.
const STORE: &str = "store";
/// The database while it is made.
const UNFINISHED: &str = "store.new";
/// Locked by the process that has the directory.
const LOCK: &str = "lock";

/// A directory that belongs to this process as long as this lives.
#[derive(Debug)]
pub(super) struct Home {
    /// The database in it.
    pub(super) store: PathBuf,
    /// The operating system unlocks it when it is closed, however the process ends.
    _lock: File,
}

impl Home {
    /// Takes possession of a directory, and makes it and its database if they are missing.
    pub(super) fn open(directory: &Path) -> Result<Self, Fault> {
        fs::create_dir_all(directory).map_err(fault)?;
        let lock = File::create(directory.join(LOCK)).map_err(fault)?;
        lock.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => Fault::Database(fjall::Error::Locked),
            TryLockError::Error(error) => fault(error),
        })?;
        let store = directory.join(STORE);
        if !store.try_exists().map_err(fault)? {
            make(directory, &store)?;
        }
        Ok(Self { store, _lock: lock })
    }
}

/// Makes the database.
fn make(directory: &Path, store: &Path) -> Result<(), Fault> {
    let unfinished = directory.join(UNFINISHED);
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault(error)),
        Ok(()) | Err(_) => {}
    }
    fs::create_dir(&unfinished).map_err(fault)?;
    drop(Engine::open(&unfinished)?);
    fs::rename(&unfinished, store).map_err(fault)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(fault)
}

fn fault(error: io::Error) -> Fault {
    fjall::Error::Io(error).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_unfinished_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let unfinished = directory.path().join(UNFINISHED);
        fs::create_dir(&unfinished).unwrap();
        fs::write(unfinished.join("0.jnl"), b"").unwrap();
        let home = Home::open(directory.path()).unwrap();
        assert!(!unfinished.exists());
        Engine::open(&home.store).unwrap();
    }

    #[test]
    fn a_directory_has_one_owner() {
        let directory = tempfile::tempdir().unwrap();
        let first = Home::open(directory.path()).unwrap();
        let second = Home::open(directory.path());
        assert!(matches!(second, Err(Fault::Database(fjall::Error::Locked))), "{second:?}");
        drop(first);
        Home::open(directory.path()).unwrap();
    }
}
