//! `steadfast device-logs`: takes what devices logged and writes it to files.
//!
//! What is taken when, and removed when, is [`device_logs`](crate::device_logs)'s. Here is what it works
//! on: files (`files`), and lists in Redis (`redis`) or a running daemon with a store of its own
//! (`daemon`).
//!
//! Exit codes: 0 told to stop, 1 failed, 2 the command line is not understood, 3 the time is up.

mod daemon;
mod files;
mod redis;

use super::args::not_empty;
use super::operator::common_args;
use super::{complain, signals, tell};
use crate::config::units::{parse_duration, show_duration};
use crate::device_logs::{Passed, Sink, Source, Trouble, pass_on};
use clap::{Arg, ArgMatches, Command, value_parser};
use files::Files;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use steadfast_core::time::Span;

/// The time is up.
const TIME_IS_UP: u8 = 3;
/// The first pause before the source is tried again, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

const REDIS_VARIABLES: [&str; 2] = ["STEADFAST_REDIS_DEVICES", "STEADFAST_REDIS"];

const EXAMPLES: &str = "\
Examples:
  steadfast device-logs --redis redis://127.0.0.1:6379 --dir /var/log/devices
  steadfast device-logs --redis redis://:PASSWORD@redis.lan:6379/15 --name b --max-runtime 0s
  steadfast device-logs --dir /var/log/devices        from a daemon with a store of its own

Entries are appended to DIR/device-YYYY-MM-DD.log (UTC), a line of JSON each. An entry is removed
from its list once its line is synced to disk, so none is lost and one may be there twice after a
crash. What is no JSON goes to the list device:log:rejected. Every consumer of a Redis needs a
--name of its own, and a directory.

Exit code 0 when told to stop (SIGTERM), 3 when the time is up, 1 when something is wrong.";

/// The words of `steadfast device-logs`.
pub(super) fn command() -> Command {
    let [admin, token_file, _json] = common_args();
    Command::new("device-logs")
        .about("Write what devices logged to files, reliably")
        .after_help(EXAMPLES)
        .arg(Arg::new("redis").long("redis").value_name("URL").value_parser(not_empty).help(
            "The Redis server of the lists; database 15 unless the URL names one \
                     [env: STEADFAST_REDIS_DEVICES or STEADFAST_REDIS] [default: ask the daemon]",
        ))
        .arg(
            Arg::new("name")
                .long("name")
                .value_name("NAME")
                .default_value("main")
                .value_parser(not_empty)
                .help("This consumer's own name in Redis: of its list of entries under way"),
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("DIRECTORY")
                .default_value("device-logs")
                .value_parser(value_parser!(PathBuf))
                .help("Where the files are; made if it is missing"),
        )
        .arg(
            Arg::new("max_runtime")
                .long("max-runtime")
                .value_name("DURATION")
                .default_value("3600s")
                .value_parser(parse_duration)
                .help("End after this time, with exit code 3; 0s: never"),
        )
        .arg(admin)
        .arg(token_file)
}

/// Runs `steadfast device-logs`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let done = consume(matches);
    match &done {
        Ok(end) => end.code(),
        Err(problem) => complain([problem]),
    }
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Stopped,
    TimeIsUp,
}

impl End {
    fn code(self) -> ExitCode {
        match self {
            Self::Stopped => ExitCode::SUCCESS,
            Self::TimeIsUp => ExitCode::from(TIME_IS_UP),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::TimeIsUp => "the time is up",
        }
    }
}

impl Sink for Files {
    fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        Self::append(self, lines)
    }
}

/// Tells when to stop.
struct Stop {
    signals: Receiver<()>,
    deadline: Option<Instant>,
}

impl Stop {
    /// Waits for so long; tells what there is to end for, as soon as there is.
    fn wait(&self, time: Duration) -> Option<End> {
        let left = self.deadline.map(|at| at.saturating_duration_since(Instant::now()));
        let is_last = left.is_some_and(|left| left <= time);
        match self.signals.recv_timeout(left.map_or(time, |left| left.min(time))) {
            Err(RecvTimeoutError::Timeout) => is_last.then_some(End::TimeIsUp),
            Ok(()) | Err(RecvTimeoutError::Disconnected) => Some(End::Stopped),
        }
    }
}

fn consume(matches: &ArgMatches) -> Result<End, String> {
    let (sender, receiver) = channel();
    signals::on_first(move || {
        // Who receives may have ended.
        let _ = sender.send(());
    })
    .and_then(|()| signals::survive_file_limit())
    .map_err(|error| format!("cannot handle signals: {error}"))?;
    let max_runtime: Span = *matches.get_one("max_runtime").expect("the argument has a default");
    let deadline = Some(max_runtime).filter(|it| *it > Span::ZERO);
    let deadline = deadline.map(|it| Instant::now() + Duration::from_micros(it.as_micros()));
    let stop = Stop { signals: receiver, deadline };
    let mut source = source(matches)?;
    let directory: &PathBuf = matches.get_one("dir").expect("the argument has a default");
    let mut files = Files::open(directory)?;
    log(&format!(
        "[device logs ready] from={} dir={} max_runtime={}",
        source.name(),
        directory.display(),
        show_duration(max_runtime)
    ));
    let mut work = Work { source: &mut *source, files: &mut files, passed: Passed::default() };
    let end = work.run(&stop)?;
    let Passed { entries, rejected } = work.passed;
    log(&format!(
        "[device logs end] entries={entries} rejected={rejected} reason=\"{}\"",
        end.text()
    ));
    Ok(end)
}

/// The source that flags and environment name.
fn source(matches: &ArgMatches) -> Result<Box<dyn Source>, String> {
    let of_variable = |name: &&str| std::env::var(name).ok().filter(|text| !text.is_empty());
    let url = matches.get_one::<String>("redis").cloned();
    let url = url.or_else(|| REDIS_VARIABLES.iter().find_map(of_variable));
    let Some(url) = url else { return Ok(Box::new(daemon::Daemon::of(matches)?)) };
    let name = matches.get_one::<String>("name").expect("the argument has a default");
    Ok(Box::new(redis::lists(&url, name)?))
}

/// What is being done.
struct Work<'a> {
    source: &'a mut dyn Source,
    files: &'a mut dyn Sink,
    passed: Passed,
}

impl Work<'_> {
    /// Takes, writes and confirms until there is something to end for, and never ends in between.
    fn run(&mut self, stop: &Stop) -> Result<End, String> {
        let mut pause = PAUSE.0;
        let mut trouble: Option<(String, Instant)> = None;
        loop {
            let rest = match pass_on(self.source, self.files, log) {
                Ok(Passed { entries, rejected }) => {
                    self.passed.entries += entries;
                    self.passed.rejected += rejected;
                    pause = PAUSE.0;
                    if let Some((_, since)) = trouble.take() {
                        let lasted = since.elapsed().as_secs_f64();
                        log(&format!("[device logs works] after={lasted:.1}s"));
                    }
                    if entries + rejected > 0 { Duration::ZERO } else { self.source.pause() }
                }
                Err(Trouble::Lasting(why)) => return Err(why),
                Err(Trouble::Passing(why)) => {
                    if trouble.as_ref().is_none_or(|(told, _)| *told != why) {
                        log(&format!("[device logs failing] error=\"{why}\""));
                    }
                    let since = trouble.map_or_else(Instant::now, |(_, since)| since);
                    trouble = Some((why, since));
                    let rest = pause;
                    pause = (pause * 2).min(PAUSE.1);
                    rest
                }
            };
            match (stop.wait(rest), trouble.take()) {
                (Some(End::TimeIsUp), Some((why, _))) => return Err(why),
                (Some(end), _) => return Ok(end),
                (None, before) => trouble = before,
            }
        }
    }
}

/// Tells on standard error what happened, with the time.
fn log(text: &str) {
    tell(&format!("{:.3} {text}", jiff::Timestamp::now()));
}
