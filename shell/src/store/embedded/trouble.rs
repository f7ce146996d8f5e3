//! Faults below the store, for tests: each step of writing asks here whether it fails or stalls.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Records are made visible.
    Commit,
    /// What was committed is made durable.
    Sync,
}

type Fate = dyn FnMut(Step) -> io::Result<()> + Send;

/// Decides what fails. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Trouble {
    fate: Arc<Mutex<Option<Box<Fate>>>>,
}

impl Trouble {
    /// Trouble that is as this function says.
    pub(super) fn new(fate: impl FnMut(Step) -> io::Result<()> + Send + 'static) -> Self {
        Self { fate: Arc::new(Mutex::new(Some(Box::new(fate)))) }
    }

    /// The step's fate.
    pub(super) fn strike(&self, step: Step) -> io::Result<()> {
        let mut fate = self.fate.lock().unwrap_or_else(PoisonError::into_inner);
        fate.as_mut().map_or(Ok(()), |fate| fate(step))
    }
}

impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Trouble")
    }
}
