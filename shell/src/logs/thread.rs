//! The log thread: takes records, formats them through `tracing`, writes them out.

use super::output::Output;
use super::queue::{Entry, Queue};
use super::subscriber::LineSubscriber;
use super::{LogOptions, events};
use crate::running::Running;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::time::Time;
use tracing::dispatcher::{self, Dispatch};

/// Lines are written out at the latest when there are so many bytes of them.
const WRITE_AT: usize = 64 << 10;

/// How long the thread waits before it looks for records again, while they keep coming.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// After this long without records it sleeps until it is woken.
const DEEP_SLEEP_AFTER: Duration = Duration::from_secs(1);

/// How often an output that fails is complained about.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

pub(super) fn start(
    queue: Arc<Queue>,
    options: &LogOptions,
    output: Output,
) -> io::Result<Running> {
    let subscriber = LineSubscriber::new(options.format, options.level, options.content_max);
    Running::start("logs", move || {
        let dispatch = Dispatch::new(subscriber.clone());
        dispatcher::with_default(&dispatch, || Writer::new(subscriber, output).run(&queue));
    })
}

/// Formats and writes.
struct Writer {
    subscriber: LineSubscriber,
    output: Output,
    complained: Option<Instant>,
}

impl Writer {
    fn new(subscriber: LineSubscriber, output: Output) -> Self {
        Self { subscriber, output, complained: None }
    }

    fn run(&mut self, queue: &Queue) {
        let mut records = Vec::new();
        let mut idle_since = Instant::now();
        loop {
            let found = queue.take(&mut records);
            let is_idle = records.is_empty() && found.dropped == 0;
            for (time, entry) in records.drain(..) {
                self.log(time, &entry);
            }
            if found.dropped > 0 {
                events::dropped(now(), found.dropped);
            }
            if !is_idle {
                self.write_out();
                idle_since = Instant::now();
            } else if found.closed {
                return;
            } else if idle_since.elapsed() < DEEP_SLEEP_AFTER {
                thread::park_timeout(LOOK_AGAIN);
            } else if queue.fall_asleep(thread::current()) {
                thread::park();
            }
        }
    }

    fn log(&mut self, time: Time, entry: &Entry) {
        if self.output.turns_at(time) {
            self.write_out();
            let turned = self.output.turn(time);
            self.complain_about(turned);
        }
        match entry {
            Entry::Record(record) => events::emit(time, record),
            Entry::Trouble(trouble) => events::emit_trouble(time, trouble),
        }
        if self.subscriber.lines().buffer.len() >= WRITE_AT {
            self.write_out();
        }
    }

    fn write_out(&mut self) {
        let mut lines = self.subscriber.lines();
        let written = match lines.buffer.is_empty() {
            true => Ok(()),
            false => self.output.write(&lines.buffer),
        };
        lines.buffer.clear();
        drop(lines);
        self.complain_about(written);
    }

    /// Lines that cannot be written are lost: the gateway goes on without its log.
    fn complain_about(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        if self.complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
            let text = format!("cannot write the log: {error}; its lines are lost for now");
            // With standard error closed too, there is nobody left to tell.
            let _ = writeln!(io::stderr(), "warning: {text}");
            self.complained = Some(Instant::now());
        }
    }
}

/// For the lines that are the log's own; all others bring their time with them.
fn now() -> Time {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}
