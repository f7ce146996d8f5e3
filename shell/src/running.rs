//! A thread whose end can be awaited for a limited time, which a join cannot.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// A running thread.
#[derive(Debug)]
pub(crate) struct Running {
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
}

impl Running {
    /// Starts a thread of this name.
    pub(crate) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let (alive, ended) = channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let _alive: Sender<()> = alive;
            body();
        })?;
        Ok(Self { ended })
    }

    /// Waits for the thread's end, but not longer than this.
    pub(crate) fn join(self, within: Duration) {
        match self.ended.recv_timeout(within) {
            Ok(()) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {}
        }
    }
}
