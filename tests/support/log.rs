//! What one peer has seen, with the time of each event, and a way to wait for more.

use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// An event and when it was seen.
pub(crate) type Timed<E> = (Instant, E);

/// A growing list of events, shared between a reading thread and a test.
pub(crate) struct Log<E> {
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    entries: Vec<Timed<E>>,
    ended: bool,
}

impl<E: Clone> Log<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State { entries: Vec::new(), ended: false }),
            changed: Condvar::new(),
        }
    }

    /// Adds an event, seen now. Nothing is added after [`end`](Self::end).
    pub(crate) fn push(&self, event: E) {
        let mut state = self.lock();
        if !state.ended {
            state.entries.push((Instant::now(), event));
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Adds a last event.
    pub(crate) fn push_last(&self, event: E) {
        self.push(event);
        self.end();
    }

    /// No further event will come.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Makes waiting tests look again, for conditions that are not in the list.
    pub(crate) fn nudge(&self) {
        drop(self.lock());
        self.changed.notify_all();
    }

    pub(crate) fn entries(&self) -> Vec<Timed<E>> {
        self.lock().entries.clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The event at this place.
    pub(crate) fn get(&self, place: usize) -> Option<E> {
        self.lock().entries.get(place).map(|(_, event)| event.clone())
    }

    /// Looks at the list as it is now.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&[Timed<E>]) -> T) -> T {
        look(&self.lock().entries)
    }

    /// Waits until `seen` is true of the list; `false` when the list ended or `limit` passed first.
    pub(crate) fn wait(&self, limit: Duration, mut seen: impl FnMut(&[Timed<E>]) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        loop {
            if seen(&state.entries) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return false;
            }
            state = self.changed.wait_timeout(state, left).expect("no reader panicked").0;
        }
    }

    /// Waits until the list has ended.
    pub(crate) fn wait_end(&self, limit: Duration) -> bool {
        self.wait(limit, |_| false);
        self.has_ended()
    }

    fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().expect("no reader panicked")
    }
}
