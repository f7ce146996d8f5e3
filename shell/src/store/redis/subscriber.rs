//! What other nodes have done, as Redis tells it: a connection of its own that is subscribed to this
//! node's channel, and the thread that reads it.
//!
//! What is published while nobody is subscribed is lost. So the first thing told after each
//! subscription is that something may have been missed.

use super::connection::Server;
use super::lane::PAUSE;
use super::report::Report;
use crate::codec::redis::decode;
use crate::journal::Journal;
use crate::reactor::Handle;
use crate::store::health::Health;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;
use steadfast_core::store::Notice;

/// After so long without a word the server is asked whether it is still there.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// More notices than this do not wait: then all claims are looked after.
const MAX_WAITING: usize = 100_000;

/// What was told and not taken yet.
#[derive(Debug, Default)]
pub(super) struct Notices {
    waiting: Mutex<Vec<Notice>>,
    has_some: AtomicBool,
    is_stopping: AtomicBool,
    stopped: Condvar,
    handle: OnceLock<Handle>,
}

/// What runs in the thread.
pub(super) struct Subscriber {
    server: Server,
    channel: Vec<u8>,
    notices: Arc<Notices>,
    report: Report,
}

impl Notices {
    /// Tells how the event loop is woken.
    pub(super) fn set_handle(&self, handle: Handle) {
        // A backend is started once.
        let _ = self.handle.set(handle);
    }

    /// Appends what was told since the last call.
    pub(super) fn take(&self, notices: &mut Vec<Notice>) {
        if self.has_some.load(Ordering::Relaxed) && self.has_some.swap(false, Ordering::AcqRel) {
            notices.append(&mut self.waiting());
        }
    }

    /// Lets the thread end when it next looks.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
        self.stopped.notify_all();
    }

    /// Adds one, and wakes the event loop.
    pub(super) fn put(&self, notice: Notice) {
        let mut waiting = self.waiting();
        if notice == Notice::Missed || waiting.len() >= MAX_WAITING {
            // All claims are looked after then: what was told of some says nothing more.
            waiting.clear();
            waiting.push(Notice::Missed);
        } else {
            waiting.push(notice);
        }
        drop(waiting);
        if !self.has_some.swap(true, Ordering::AcqRel)
            && let Some(handle) = self.handle.get()
        {
            handle.wake();
        }
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn pause(&self, pause: Duration) {
        let waiting = self.waiting();
        if !self.is_stopping() {
            let slept = self.stopped.wait_timeout(waiting, pause);
            drop(slept.unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Notice>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    pub(super) fn new(server: Server, channel: Vec<u8>, journal: Box<dyn Journal>) -> Self {
        Self { server, channel, notices: Arc::default(), report: Report::new(journal) }
    }

    /// What passes between it and the event loop.
    pub(super) fn notices(&self) -> Arc<Notices> {
        Arc::clone(&self.notices)
    }

    /// How it is doing.
    pub(super) fn health(&self) -> Health {
        self.report.health().clone()
    }

    /// Starts the thread. Nobody waits for its end: it has nothing to finish.
    pub(super) fn spawn(mut self) -> io::Result<()> {
        thread::Builder::new().name("redis notices".to_owned()).spawn(move || self.serve())?;
        Ok(())
    }

    /// Listens, and subscribes again with growing pauses, until it is told to stop.
    fn serve(&mut self) {
        let mut pause = PAUSE.0;
        while !self.notices.is_stopping() {
            if let Err(why) = self.listen(&mut pause) {
                self.report.fails(&why);
            }
            self.notices.pause(pause);
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Listens until the connection fails.
    fn listen(&mut self, pause: &mut Duration) -> Result<(), String> {
        let Self { server, channel, notices, report } = self;
        let subscribed = || {
            *pause = PAUSE.0;
            report.works(&server.subscription());
            notices.put(Notice::Missed);
        };
        let heard = |text: &[u8]| {
            if let Ok(notice) = decode::notice(text) {
                notices.put(notice);
            }
        };
        server.follow(channel, subscribed, heard, || notices.is_stopping())
    }
}
