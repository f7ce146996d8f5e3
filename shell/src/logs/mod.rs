//! The log: one line per record, written by a thread of its own.
//!
//! Records cross a bounded queue as data ([`queue`]); the log thread (`thread`) turns each into a
//! `tracing` event ([`events`]), and a subscriber formats it straight into the buffer that is
//! written out ([`subscriber`]). Nothing is formatted, written or waited for on the event loop. What
//! the queue cannot take is counted and told in a line of its own, `[log drop]`.

pub mod events;
pub mod level;
mod line;
mod output;
pub mod queue;
pub mod subscriber;
mod thread;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use queue::LogJournal;

use crate::config::{LogFormat, LogLevel, Settings};
use output::Output;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// What a line looks like.
    pub format: LogFormat,
    /// Which records are logged.
    pub level: LogLevel,
    /// The file; standard output when absent.
    pub file: Option<PathBuf>,
    /// How many bytes of a content are shown.
    pub content_max: usize,
    /// How many records may wait for the log thread, as far as their contents have no more than
    /// 64 MiB together. As many again may be in its hands.
    pub queue: usize,
}

impl LogOptions {
    /// As the settings say.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self {
            format: settings.log_format,
            level: settings.log_level,
            file: settings.log_file.clone(),
            content_max: settings.log_content_max as usize,
            queue: settings.log_queue as usize,
        }
    }
}

/// A running log.
#[derive(Debug)]
pub struct Logs {
    queue: Arc<queue::Queue>,
    level: LogLevel,
    thread: Option<crate::running::Running>,
}

impl Logs {
    /// Opens the file and starts the thread; neither happens when the level is `off`.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened or the thread not be started.
    pub fn start(options: &LogOptions) -> io::Result<Self> {
        let queue = Arc::new(queue::Queue::new(options.queue));
        let thread = match options.level {
            LogLevel::Off => None,
            LogLevel::Error | LogLevel::Warn | LogLevel::Info | LogLevel::Debug => {
                let output = Output::open(options.file.as_deref())?;
                Some(thread::start(Arc::clone(&queue), options, output)?)
            }
        };
        Ok(Self { queue, level: options.level, thread })
    }

    /// The event loop's end of the log.
    #[must_use]
    pub fn journal(&self) -> LogJournal {
        LogJournal::new(Arc::clone(&self.queue), self.level)
    }

    /// Writes out what was handed over and ends the thread; waits for it at most this long, for
    /// nobody may be reading what it writes. Journals are to be dropped before.
    pub fn finish(self, within: Duration) {
        if let Some(thread) = self.thread {
            self.queue.close();
            thread.join(within);
        }
    }
}
