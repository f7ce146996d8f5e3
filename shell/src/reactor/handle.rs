//! How other threads reach a running reactor.

use mio::{Poll, Token, Waker};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Reaches a reactor from any thread. Cheap to clone; outlives the reactor harmlessly.
#[derive(Clone, Debug)]
pub struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    waker: Waker,
    stop: AtomicBool,
}

impl Handle {
    pub(super) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
        let waker = Waker::new(poll.registry(), token)?;
        Ok(Self { shared: Arc::new(Shared { waker, stop: AtomicBool::new(false) }) })
    }

    /// Asks the reactor to stop: it accepts no more, tells the machine, writes out what is left
    /// and returns from [`run`](super::Reactor::run) within its configured bound.
    pub fn shutdown(&self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes the reactor look at its backend: there are answers.
    pub fn wake(&self) {
        // Waking fails only when the reactor is gone, and then there is nobody to wake.
        let _ = self.shared.waker.wake();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.shared.stop.load(Ordering::Acquire)
    }
}
