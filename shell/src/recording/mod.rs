//! Recordings: everything that a gateway was told, so that it can be told again.
//!
//! A [`Recorder`] stands between the event loop and its machine. It encodes each event with its time
//! and a hash of the commands it caused into a buffer, and hands the buffer to a thread of its own
//! (`writer`) through a bounded queue (`queue`). The thread writes segments, `FILE.000001` and on
//! (`format`), each of which begins with the whole state of the machine, so that a chain can begin
//! at any of them. [`chain`] reads the segments back and refuses gaps, [`player`] runs them through
//! the same core and compares the commands, [`about`] finds what concerns one key.
//!
//! Invariants: the event loop never waits for a recording; when the thread cannot keep up or the
//! disk fails, the recording ends, says so once in the log, and the gateway goes on. What was read
//! back is what was written, or it is refused: every frame has a checksum, every segment its place.
//!
//! Not here: what a replay looks like, which is the command line's.

pub mod about;
pub mod chain;
pub mod format;
pub mod player;
mod queue;
mod recorder;
mod segment;
mod writer;

#[cfg(test)]
mod tests;

pub use recorder::Recorder;

use crate::journal::Journal;
use format::Origin;
use queue::Queue;
use recorder::Tape;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many bytes of events may wait to be written; beyond it the recording ends.
const QUEUE_BYTES: usize = 64 << 20;

/// Where and how a recording is kept.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the segments' names begin with.
    pub file: PathBuf,
    /// A further segment begins after so many bytes of events.
    pub segment: u64,
    /// How many segments are kept; all when 0.
    pub keep: u32,
}

/// A running recording.
#[derive(Debug)]
pub struct Recording {
    queue: Arc<Queue>,
    segment: u64,
    thread: crate::running::Running,
}

impl Recording {
    /// Opens the first segment and starts the thread. `run` tells this run from all others. What
    /// ends the recording early is told to the journal.
    ///
    /// # Errors
    /// The segment cannot be written, or the thread not be started. The text names the file.
    pub fn start(
        options: &Options,
        run: u64,
        origin: Origin,
        journal: impl Journal + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(QUEUE_BYTES));
        let writer = writer::Writer::begin(options, run, origin)?;
        let thread = writer::start(writer, Arc::clone(&queue), journal)?;
        Ok(Self { queue, segment: options.segment, thread })
    }

    /// Records what the machine is told from now on. There is one machine to a recording, and it has
    /// been told nothing yet.
    pub fn attach<M>(&self, recorder: &mut Recorder<M>) {
        recorder.put_in(Tape::new(Arc::clone(&self.queue), self.segment));
    }

    /// Writes out what was handed over and ends the recording; waits for it at most this long. The
    /// recorder is to be dropped before.
    pub fn finish(self, within: Duration) {
        self.queue.close();
        self.thread.join(within);
    }
}
