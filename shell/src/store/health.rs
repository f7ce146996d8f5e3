//! How the store is doing, for those who watch it from other threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Shows how the store is doing. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Health {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
}

/// How the store is doing.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Since when and why operations fail; `None` while they are carried out.
    pub failing: Option<Failing>,
    /// Operations that are not answered.
    pub queued: usize,
    /// Since when a batch is being carried out, if one is.
    pub busy_since: Option<SystemTime>,
    /// The last batch that was carried out.
    pub last_batch: Batch,
    /// How many batches were carried out.
    pub batches: u64,
    /// How many operations were carried out.
    pub operations: u64,
    /// Space taken on disk in bytes, as of the last batch but at most a second older.
    pub disk_bytes: u64,
}

/// A trouble that is not over.
#[derive(Clone, Debug)]
pub struct Failing {
    /// When it began.
    pub since: SystemTime,
    /// What went wrong last.
    pub why: String,
}

/// What was made durable at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Batch {
    /// How many operations.
    pub operations: usize,
    /// How long it took.
    pub took: Duration,
}

impl Health {
    /// How the store is doing now.
    #[must_use]
    pub fn look(&self) -> State {
        let state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).clone();
        State { queued: self.shared.queued.load(Ordering::Relaxed), ..state }
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Notes a trouble, or that it goes on.
    pub(super) fn fails(&self, why: &str) {
        self.update(|state| {
            let since = state.failing.take().map_or_else(SystemTime::now, |it| it.since);
            state.failing = Some(Failing { since, why: why.to_owned() });
            state.busy_since = None;
        });
    }

    /// Notes that operations wait.
    pub(super) fn queues(&self, operations: usize, bytes: usize) {
        self.shared.queued.fetch_add(operations, Ordering::Relaxed);
        self.shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that operations were answered.
    pub(super) fn answers(&self, operations: usize, bytes: usize) {
        self.shared.queued.fetch_sub(operations, Ordering::Relaxed);
        self.shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// What the operations that wait take in memory, more or less.
    pub(super) fn queued_bytes(&self) -> usize {
        self.shared.queued_bytes.load(Ordering::Relaxed)
    }
}
