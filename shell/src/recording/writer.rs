//! The thread that writes a recording.

use super::Options;
use super::format::{Begins, EndReason, Head, Origin, PROGRAM};
use super::queue::{Found, Item, Queue};
use super::segment::{self, Segment};
use crate::journal::{Journal, Trouble};
use crate::running::Running;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use std::{fs, mem};
use steadfast_core::time::Time;

/// How long the thread lets events gather before it writes them.
const REST: Duration = Duration::from_millis(10);

pub(super) fn start(
    writer: Writer,
    queue: Arc<Queue>,
    journal: impl Journal + 'static,
) -> io::Result<Running> {
    Running::start("recording", move || writer.run(&queue, journal))
}

/// The segments being written.
#[derive(Debug)]
pub(super) struct Writer {
    base: PathBuf,
    keep: u32,
    /// What the segment being written is.
    head: Head,
    segment: Segment,
    /// The time of the last event.
    last: Time,
}

impl Writer {
    /// Begins a run with the number after those that are there.
    pub(super) fn begin(options: &Options, run: u64, origin: Origin) -> io::Result<Self> {
        let base = options.file.clone();
        let numbers = segment::list(&base).map_err(|error| naming(&base, error))?;
        let number = numbers.last().map_or(1, |last| last + 1);
        let at = now();
        let head = Head {
            run,
            number,
            begins: Begins::AtStart,
            first_event: 1,
            at,
            origin,
            program: PROGRAM.to_owned(),
        };
        let segment = Segment::create(&base, &head, None)
            .map_err(|error| naming(&segment::path_of(&base, number), error))?;
        let writer = Self { base, keep: options.keep, head, segment, last: at };
        writer.drop_old()?;
        Ok(writer)
    }

    /// Writes until the queue is closed or writing fails.
    pub(super) fn run(mut self, queue: &Queue, mut journal: impl Journal) {
        loop {
            let (items, found) = queue.take(REST);
            for item in items {
                if let Err(error) = self.write(item, queue) {
                    queue.give_up();
                    return self.fail(error.to_string(), &mut journal);
                }
            }
            match found {
                Found::Open => {}
                Found::Closed => return self.stop(&mut journal),
                Found::Overflowed => {
                    queue.give_up();
                    let text = format!(
                        "the disk does not keep up: over {} MiB of events wait to be written",
                        queue.limit >> 20
                    );
                    return self.fail(text, &mut journal);
                }
            }
        }
    }

    fn write(&mut self, item: Item, queue: &Queue) -> io::Result<()> {
        match item {
            Item::Events(events, count, last) => {
                self.segment.events(&events, count)?;
                self.last = last;
                queue.reuse(events);
                Ok(())
            }
            Item::State(state) => {
                self.turn(&state)?;
                queue.state_is_written();
                Ok(())
            }
        }
    }

    /// Begins a further segment, and then ends the one before it: when it cannot begin, that one can
    /// still say so.
    fn turn(&mut self, state: &[u8]) -> io::Result<()> {
        let head = Head {
            number: self.head.number + 1,
            begins: Begins::AtState,
            first_event: self.segment.next_event(),
            at: self.last,
            ..self.head.clone()
        };
        let path = segment::path_of(&self.base, head.number);
        let next = Segment::create(&self.base, &head, Some(state));
        let next = next.map_err(|error| naming(&path, error))?;
        self.head = head;
        mem::replace(&mut self.segment, next).end(self.last, &EndReason::Full)?;
        self.drop_old()
    }

    /// Removes the segments that are too many.
    fn drop_old(&self) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let numbers = segment::list(&self.base)?;
        let kept = numbers.len().saturating_sub(self.keep as usize);
        for number in &numbers[..kept] {
            let path = segment::path_of(&self.base, *number);
            fs::remove_file(&path).map_err(|error| naming(&path, error))?;
        }
        Ok(())
    }

    fn stop(self, journal: &mut impl Journal) {
        let path = segment::path_of(&self.base, self.head.number);
        if let Err(error) = self.segment.end(self.last, &EndReason::Stopped) {
            tell(journal, path, error.to_string());
        }
    }

    /// Ends the recording early. The end is written where that is possible: what is missing then is
    /// a torn segment, which a replay tells as well.
    fn fail(self, error: String, journal: &mut impl Journal) {
        let file = segment::path_of(&self.base, self.head.number);
        let _ = self.segment.end(self.last, &EndReason::Failed(error.clone()));
        tell(journal, file, error);
    }
}

/// In the log, and on standard error for those who keep none.
fn tell(journal: &mut impl Journal, file: PathBuf, error: String) {
    let shown = file.display();
    // With standard error closed too, there is nobody left to tell.
    let _ = writeln!(io::stderr(), "warning: the recording {shown} has ended: {error}");
    let trouble = Trouble::RecordingStopped { file, error };
    journal.trouble(now(), trouble);
    journal.turn_ended();
}

fn naming(path: &std::path::Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
