//! What passes between the event loop and the store's thread: operations one way, answers the other.
//!
//! Each is a vector that changes hands whole, once per turn or batch. The thread is only notified
//! when it sleeps and there is something to get up for, the event loop only when it has collected
//! what it was woken for before.

use crate::reactor::Handle;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, DeviceOp, Op, QueueOp};

/// How long something for which nobody waits is left alone, to be carried out with what comes next.
const LINGER: Duration = Duration::from_millis(20);

/// The two ways.
#[derive(Debug, Default)]
pub(super) struct Handoff {
    queue: Mutex<Queue>,
    changed: Condvar,
    answers: Mutex<Vec<(OpId, Answer)>>,
    has_answers: AtomicBool,
    handle: OnceLock<Handle>,
}

/// What waits for the store's thread.
#[derive(Debug, Default)]
struct Queue {
    operations: Vec<(OpId, Op)>,
    bytes: usize,
    /// When the first of them came.
    since: Option<Instant>,
    /// Whether somebody waits for one of them.
    is_urgent: bool,
    /// What the thread sleeps for.
    sleeps_for: Sleep,
    is_stopping: bool,
}

/// What the store's thread sleeps for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sleep {
    /// Nothing: it works.
    #[default]
    Nothing,
    /// Something that somebody waits for.
    Urgent,
    /// Anything.
    Anything,
}

/// What the store's thread takes.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// In the order in which they were submitted.
    pub(super) operations: Vec<(OpId, Op)>,
    /// What they take in memory.
    pub(super) bytes: usize,
    /// Whether nothing will follow.
    pub(super) is_last: bool,
}

impl Handoff {
    /// Tells how the event loop is woken.
    pub(super) fn set_handle(&self, handle: Handle) {
        // A backend is started once.
        let _ = self.handle.set(handle);
    }

    /// Hands operations over, and leaves an empty vector.
    pub(super) fn put(&self, operations: &mut Vec<(OpId, Op)>, bytes: usize, is_urgent: bool) {
        let mut queue = self.queue();
        if queue.operations.is_empty() {
            mem::swap(&mut queue.operations, operations);
            queue.since = Some(Instant::now());
        } else {
            queue.operations.append(operations);
        }
        queue.bytes += bytes;
        queue.is_urgent |= is_urgent;
        let wakes = match queue.sleeps_for {
            Sleep::Nothing => false,
            Sleep::Urgent => is_urgent,
            Sleep::Anything => true,
        };
        drop(queue);
        if wakes {
            self.changed.notify_one();
        }
    }

    /// Tells the thread to end when it has carried out what waits.
    pub(super) fn stop(&self) {
        self.queue().is_stopping = true;
        self.changed.notify_one();
    }

    /// Waits until there is something to do, and takes all of it; `spare` is an empty vector to fill
    /// next. Returns with nothing after `patience`, if that is given.
    pub(super) fn take(&self, spare: Vec<(OpId, Op)>, patience: Option<Duration>) -> Taken {
        let mut queue = self.queue();
        loop {
            let (sleep, timeout) = match queue.since {
                _ if queue.is_stopping || queue.is_urgent => break,
                None => (Sleep::Anything, patience),
                Some(since) => (Sleep::Urgent, Some(LINGER.saturating_sub(since.elapsed()))),
            };
            if timeout == Some(Duration::ZERO) {
                break;
            }
            queue.sleeps_for = sleep;
            queue = self.sleep(queue, timeout);
            queue.sleeps_for = Sleep::Nothing;
            if queue.since.is_none() && patience.is_some() {
                break;
            }
        }
        let operations = mem::replace(&mut queue.operations, spare);
        queue.since = None;
        queue.is_urgent = false;
        let bytes = mem::take(&mut queue.bytes);
        Taken { operations, bytes, is_last: queue.is_stopping }
    }

    /// Answers, and wakes the event loop if it does not know yet.
    pub(super) fn answer(&self, answers: &mut Vec<(OpId, Answer)>) {
        let mut shared = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.is_empty() {
            mem::swap(&mut *shared, answers);
        } else {
            shared.append(answers);
        }
        drop(shared);
        if !self.has_answers.swap(true, Ordering::AcqRel)
            && let Some(handle) = self.handle.get()
        {
            handle.wake();
        }
    }

    /// Appends the answers that have come.
    pub(super) fn collect(&self, answers: &mut Vec<(OpId, Answer)>) {
        if !self.has_answers.load(Ordering::Relaxed)
            || !self.has_answers.swap(false, Ordering::AcqRel)
        {
            return;
        }
        let mut shared = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.is_empty() {
            mem::swap(&mut *shared, answers);
        } else {
            answers.append(&mut shared);
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        timeout: Option<Duration>,
    ) -> MutexGuard<'a, Queue> {
        match timeout {
            None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => {
                let slept = self.changed.wait_timeout(queue, timeout);
                slept.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// What an operation takes in memory, more or less.
pub(super) fn weight(op: &Op) -> usize {
    const EACH: usize = 128;
    match op {
        Op::Append(append) => EACH + append.payload.len(),
        Op::Device(DeviceOp::Log { entry, .. }) => EACH + entry.len(),
        Op::Remove { ids, .. } | Op::Bury { ids, .. } => EACH + 16 * ids.len(),
        Op::Queue(QueueOp::Purge { ids, spare, .. }) => EACH + 16 * (ids.len() + spare.len()),
        Op::Retry { retries, .. } => EACH + 32 * retries.len(),
        Op::Load { .. }
        | Op::Expire { .. }
        | Op::Claim(_)
        | Op::Dead(_)
        | Op::Session(_)
        | Op::Device(
            DeviceOp::Link { .. }
            | DeviceOp::Unlink { .. }
            | DeviceOp::Read { .. }
            | DeviceOp::Drop { .. },
        )
        | Op::Queue(QueueOp::Keys { .. } | QueueOp::Messages { .. } | QueueOp::Totals)
        | Op::Find { .. } => EACH,
    }
}
