//! The bounded queue between the event loop and the thread that writes.
//!
//! As with the log, the thread looks for itself every few milliseconds while events come, and is
//! woken only from a deep sleep.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use steadfast_core::time::Time;

/// Events are joined to those that wait already while these have fewer bytes.
const JOINED_BELOW: usize = 1 << 20;

/// What the thread is handed.
#[derive(Debug)]
pub(super) enum Item {
    /// Encoded events, how many, and the time of the last.
    Events(Vec<u8>, u64, Time),
    /// The state after these: here a further segment begins.
    State(Vec<u8>),
}

/// Whether anything is recorded any longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Going {
    /// It is.
    On,
    /// It is not.
    Over,
}

/// What the thread found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More may come.
    Open,
    /// Nothing more will come.
    Closed,
    /// Something did not fit after what was found, and nothing more will come.
    Overflowed,
}

/// What is shared by the loop and the thread.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) limit: usize,
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug)]
struct Inner {
    items: VecDeque<Item>,
    /// Bytes of the events that wait.
    bytes: usize,
    found: Found,
    /// Whether the thread writes no more.
    given_up: bool,
    /// Whether a state waits, or is being written: then there is no need for another.
    has_state: bool,
    asleep: bool,
    /// An emptied buffer, for reuse.
    spare: Vec<u8>,
}

impl Queue {
    /// A queue for so many bytes of events.
    pub(super) fn new(limit: usize) -> Self {
        let inner = Inner {
            items: VecDeque::new(),
            bytes: 0,
            found: Found::Open,
            given_up: false,
            has_state: false,
            asleep: false,
            spare: Vec::new(),
        };
        Self { limit, inner: Mutex::new(inner), wake: Condvar::new() }
    }

    /// Takes `count` events, the last of them at `last`, and leaves an empty buffer.
    pub(super) fn hand_over(&self, events: &mut Vec<u8>, count: u64, last: Time) -> Going {
        let mut inner = self.lock();
        if inner.given_up || inner.found != Found::Open {
            return Going::Over;
        }
        if inner.bytes > 0 && inner.bytes + events.len() > self.limit {
            inner.found = Found::Overflowed;
            self.wake(inner);
            return Going::Over;
        }
        inner.bytes += events.len();
        match inner.items.back_mut() {
            Some(Item::Events(waiting, number, at)) if waiting.len() < JOINED_BELOW => {
                waiting.append(events);
                *number += count;
                *at = last;
            }
            Some(Item::Events(..) | Item::State(_)) | None => {
                let empty = mem::take(&mut inner.spare);
                let full = mem::replace(events, empty);
                inner.items.push_back(Item::Events(full, count, last));
            }
        }
        self.wake(inner);
        Going::On
    }

    /// Whether the thread is done with the last state.
    pub(super) fn takes_state(&self) -> bool {
        !self.lock().has_state
    }

    /// Takes the state after all that was handed over.
    pub(super) fn hand_over_state(&self, state: Vec<u8>) {
        let mut inner = self.lock();
        if inner.given_up {
            return;
        }
        inner.has_state = true;
        inner.items.push_back(Item::State(state));
        self.wake(inner);
    }

    /// Nothing more will come.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        if inner.found == Found::Open {
            inner.found = Found::Closed;
        }
        self.wake(inner);
    }

    /// The thread writes no more.
    pub(super) fn give_up(&self) {
        let mut inner = self.lock();
        inner.given_up = true;
        inner.has_state = false;
        inner.items.clear();
    }

    /// The thread is done with a state.
    pub(super) fn state_is_written(&self) {
        self.lock().has_state = false;
    }

    /// Gives an emptied buffer back.
    pub(super) fn reuse(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut inner = self.lock();
        if inner.spare.capacity() < buffer.capacity() && buffer.capacity() <= 2 * JOINED_BELOW {
            inner.spare = buffer;
        }
    }

    /// Rests for a moment, so that more may come, sleeps until there is something, and takes it.
    pub(super) fn take(&self, rest: Duration) -> (VecDeque<Item>, Found) {
        let mut inner = self.lock();
        if inner.found == Found::Open {
            let rested = self.wake.wait_timeout(inner, rest);
            inner = rested.unwrap_or_else(PoisonError::into_inner).0;
        }
        while inner.items.is_empty() && inner.found == Found::Open {
            inner.asleep = true;
            inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.asleep = false;
        }
        inner.bytes = 0;
        (mem::take(&mut inner.items), inner.found)
    }

    fn wake(&self, inner: MutexGuard<'_, Inner>) {
        let urgent = inner.asleep || inner.has_state || inner.found != Found::Open;
        drop(inner);
        if urgent {
            self.wake.notify_one();
        }
    }

    /// The queue's data are whole after every statement, so a panic elsewhere spoils nothing.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue when the loop's end of it goes.
#[derive(Debug)]
pub(super) struct Closing(pub(super) Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
