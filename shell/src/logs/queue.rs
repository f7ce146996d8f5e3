//! The bounded queue between event loop and log thread.
//!
//! The loop gathers records in a vector of its own and swaps it in when a turn ends, so that a turn
//! costs one uncontended lock, however many records it made. The vectors go round: after warm-up
//! nothing is allocated. The log thread looks for itself every few milliseconds while records come,
//! and is woken only from a deep sleep, so that a busy loop makes no system call for its log.

use super::level;
use crate::config::LogLevel;
use crate::journal::{Journal, Trouble};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;
use steadfast_core::record::{ConnRecord, PushRecord, Record};
use steadfast_core::time::Time;

/// Records are handed over before the turn ends once there are so many.
const GATHERED_AT_MOST: usize = 4_096;

/// The contents of the records that wait may have so many bytes together, and one content more.
const CONTENT_AT_MOST: usize = 64 << 20;

/// What there is to log.
#[derive(Debug)]
pub(super) enum Entry {
    /// What happened in the gateway.
    Record(Record),
    /// What went wrong around its sockets.
    Trouble(Trouble),
}

impl Entry {
    /// How many bytes of messages it keeps in memory.
    fn content(&self) -> usize {
        match self {
            Self::Record(
                Record::Connection(
                    _,
                    ConnRecord::Received { content, .. }
                    | ConnRecord::HeartbeatReceived { content, .. }
                    | ConnRecord::HeartbeatAnswered { content, .. },
                )
                | Record::Push(
                    _,
                    PushRecord::Prepared { content, .. } | PushRecord::Refused { content, .. },
                ),
            ) => content.len(),
            Self::Record(_) | Self::Trouble(_) => 0,
        }
    }
}

/// What is shared by the loop and the log thread.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    content_limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Vec<(Time, Entry)>,
    /// Bytes of their contents.
    content: usize,
    /// What did not fit since the thread last looked.
    dropped: u64,
    closed: bool,
    /// The log thread, while it sleeps until it is woken.
    asleep: Option<Thread>,
}

/// What the log thread found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How many records did not fit.
    pub(super) dropped: u64,
    /// Whether nothing more will come.
    pub(super) closed: bool,
}

impl Queue {
    /// A queue for so many records.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self::with_content_limit(limit, CONTENT_AT_MOST)
    }

    /// A queue for so many records whose contents have so many bytes together.
    pub(super) fn with_content_limit(limit: usize, content_limit: usize) -> Self {
        Self { limit, content_limit, inner: Mutex::default() }
    }

    /// Nothing more will come: the log thread ends once it has written what there is.
    pub fn close(&self) {
        let thread = {
            let mut inner = self.lock();
            inner.closed = true;
            inner.asleep.take()
        };
        if let Some(thread) = thread {
            thread.unpark();
        }
    }

    /// Takes all that waits, into a vector that has to be empty.
    pub(super) fn take(&self, records: &mut Vec<(Time, Entry)>) -> Found {
        assert!(records.is_empty());
        let mut inner = self.lock();
        mem::swap(&mut inner.records, records);
        inner.content = 0;
        Found { dropped: mem::take(&mut inner.dropped), closed: inner.closed }
    }

    /// Notes that `thread` has to be woken for the next record. Says whether it may sleep, which it
    /// may not when there is something to do by now.
    pub(super) fn fall_asleep(&self, thread: Thread) -> bool {
        let mut inner = self.lock();
        let idle = inner.records.is_empty() && inner.dropped == 0 && !inner.closed;
        inner.asleep = idle.then_some(thread);
        idle
    }

    /// The queue's data are whole after every statement, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The event loop's end of the log.
#[derive(Debug)]
pub struct LogJournal {
    queue: Arc<Queue>,
    level: LogLevel,
    gathered: Vec<(Time, Entry)>,
    /// Bytes of the contents of what is gathered.
    content: usize,
    /// How many more records may be gathered, and bytes of contents.
    room: usize,
    content_room: usize,
    dropped: u64,
}

impl LogJournal {
    /// The loop's end of `queue`, for records of this level and above.
    #[must_use]
    pub fn new(queue: Arc<Queue>, level: LogLevel) -> Self {
        let (room, content_room) = (queue.limit, queue.content_limit);
        Self { queue, level, gathered: Vec::new(), content: 0, room, content_room, dropped: 0 }
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= self.room || self.content >= self.content_room
    }

    fn gather(&mut self, now: Time, entry: Entry) {
        if self.gathered.is_empty() && self.is_full() && self.dropped == 0 {
            // The room is as of the last turn: the log thread may have made more since.
            self.hand_over();
        }
        if self.is_full() {
            self.dropped += 1;
            return;
        }
        self.content += entry.content();
        self.gathered.push((now, entry));
        if self.gathered.len() >= GATHERED_AT_MOST {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        let mut inner = self.queue.lock();
        if inner.records.is_empty() {
            mem::swap(&mut inner.records, &mut self.gathered);
        } else {
            inner.records.append(&mut self.gathered);
        }
        inner.content += mem::take(&mut self.content);
        inner.dropped += mem::take(&mut self.dropped);
        // Other journals may have filled the queue further than this one has room for.
        self.room = self.queue.limit.saturating_sub(inner.records.len());
        self.content_room = self.queue.content_limit.saturating_sub(inner.content);
        let thread = inner.asleep.take();
        drop(inner);
        if let Some(thread) = thread {
            thread.unpark();
        }
    }
}

impl Journal for LogJournal {
    fn record(&mut self, now: Time, record: Record) {
        if level::of(&record) <= self.level {
            self.gather(now, Entry::Record(record));
        }
    }

    fn trouble(&mut self, now: Time, trouble: Trouble) {
        if level::of_trouble(&trouble) <= self.level {
            self.gather(now, Entry::Trouble(trouble));
        }
    }

    fn turn_ended(&mut self) {
        if !self.gathered.is_empty() || self.dropped > 0 {
            self.hand_over();
        }
    }
}

impl Drop for LogJournal {
    fn drop(&mut self) {
        self.turn_ended();
    }
}
