//! `steadfast replay`: runs a recording through the core once more, and shows it.

use super::{FAILED, complain, tell};
use crate::recording::about::About;
use crate::recording::chain::Chain;
use crate::recording::format::Digest;
use crate::recording::player::{Difference, Ending, Moment, Problem, Sight, play};
use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use steadfast_core::dialect::trim;
use steadfast_core::id::Key;
use steadfast_core::time::{Span, Time};
use steadfast_core::trace::Trace;

/// The progress is shown anew after so many events.
const PROGRESS_EVERY: u64 = 1_024;

const DAY: u64 = 86_400_000_000;

/// The words of `steadfast replay`.
pub(super) fn command() -> Command {
    Command::new("replay")
        .about("Run a recording through the rules once more and show what happened")
        .after_help(
            "Examples:\n  steadfast replay /var/lib/steadfast/rec\n  \
             steadfast replay rec --key 5 --from 01:20 --to 01:25\n  \
             steadfast replay rec.000012               begin with this segment\n\nA line begins with \
             > for an event, < for a command, . for a record. Ids and times are those of the \
             log.\nExit code 1 when the recording is damaged or has a gap, or when the commands \
             differ from those recorded.",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("What --record was given, or a segment to begin with"),
        )
        .arg(
            Arg::new("key")
                .long("key")
                .value_name("KEY")
                .help("Show only what is about this key: its pushes, connections and messages"),
        )
        .arg(moment_arg("from", "Show nothing before this time, as in 2026-11-21T01:20:00Z or 01:20"))
        .arg(moment_arg("to", "Show nothing after this time"))
}

fn moment_arg(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TIME").value_parser(parse_point).help(help)
}

/// A time as it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// An instant.
    At(Time),
    /// So long after midnight, UTC.
    OfDay(Span),
}

fn parse_point(text: &str) -> Result<Point, String> {
    let is_clock = text.bytes().all(|byte| byte.is_ascii_digit() || b":.".contains(&byte));
    let point = if is_clock && text.contains(':') {
        let time = text.parse::<jiff::civil::Time>().ok();
        time.and_then(|time| {
            let since = time.duration_since(jiff::civil::Time::midnight());
            u64::try_from(since.as_micros())
                .ok()
                .map(|micros| Point::OfDay(Span::from_micros(micros)))
        })
    } else {
        let instant = text.parse::<jiff::Timestamp>().ok();
        let micros = instant.and_then(|instant| u64::try_from(instant.as_microsecond()).ok());
        micros.map(|micros| Point::At(Time::from_micros(micros)))
    };
    point.ok_or_else(|| {
        "is no time; write as in 2026-11-21T01:20:00Z, 2026-11-21T09:20:00+08:00 or, in UTC, 01:20:00"
            .to_owned()
    })
}

impl Point {
    /// The first such time from `base` on.
    fn resolve(self, base: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::OfDay(span) => {
                let midnight = Time::from_micros(base.as_micros() / DAY * DAY);
                let same_day = midnight + span;
                if same_day < base { same_day + Span::from_micros(DAY) } else { same_day }
            }
        }
    }
}

/// Runs `steadfast replay`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    let file: &PathBuf = matches.get_one("file").expect("the argument is required");
    let mut chain = match Chain::open(file) {
        Ok(chain) => chain,
        Err(problem) => return complain([problem]),
    };
    let begun_at = chain.begun_at().unwrap_or(Time::EPOCH);
    let point = |name| matches.get_one::<Point>(name).copied();
    let from = point("from").map(|point| point.resolve(begun_at));
    let to = point("to").map(|point| point.resolve(from.unwrap_or(begun_at)));
    if let Some(from) = from {
        chain.begin_at(from);
    }
    let key = matches.get_one::<String>("key").map(|key| Key::new(trim(key)));
    let mut screen = Screen {
        out: BufWriter::new(io::stdout().lock()),
        trace: Trace::verbatim(),
        about: key.map(About::new),
        from: from.unwrap_or(Time::EPOCH),
        to: to.unwrap_or(Time::NEVER),
        progress: progress(chain.bytes()),
        events: 0,
        failed: Ok(()),
    };
    let played = play(&chain, &mut |sight| screen.show(sight));
    screen.finish(played)
}

/// A bar on standard error, unless the lines of the replay go to the same screen or nobody looks.
fn progress(bytes: u64) -> ProgressBar {
    let seen = io::stderr().is_terminal() && !io::stdout().is_terminal();
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
    ProgressBar::with_draw_target(Some(bytes), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Where a replay is shown.
struct Screen {
    out: BufWriter<StdoutLock<'static>>,
    trace: Trace,
    about: Option<About>,
    from: Time,
    to: Time,
    progress: ProgressBar,
    /// How many events were replayed.
    events: u64,
    /// Whether standard output takes what is written.
    failed: io::Result<()>,
}

impl Screen {
    fn show(&mut self, sight: Sight<'_>) -> ControlFlow<()> {
        match sight {
            Sight::RunBegins(path, head) => {
                let (seed, incarnation) = (head.origin.seed, head.origin.incarnation);
                self.note(&format!(
                    "{}: steadfast {} begins at {} with seed {seed}, incarnation {incarnation}",
                    path.display(),
                    head.program,
                    head.at
                ));
            }
            Sight::RunTakenUp(path, head) => self.note(&format!(
                "{}: goes on at {} with event {}",
                path.display(),
                head.at,
                head.first_event
            )),
            Sight::Moment(moment) => return self.moment(moment),
            Sight::RunEnds(path, ending) => self.ending(path, ending),
        }
        self.write()
    }

    fn moment(&mut self, moment: &Moment<'_>) -> ControlFlow<()> {
        if moment.at > self.to {
            return ControlFlow::Break(());
        }
        self.events += 1;
        if self.events.is_multiple_of(PROGRESS_EVERY) {
            self.progress.set_position(moment.progress);
        }
        // Asked of every event: it learns the names of the key's messages.
        let picked = match &mut self.about {
            Some(about) => about.pick(moment),
            None => Some(moment.commands.to_vec()),
        };
        if let Some(commands) = picked.filter(|_| moment.at >= self.from) {
            self.trace.event(moment.at, moment.event);
            self.trace.commands(&commands);
        }
        self.write()
    }

    fn ending(&mut self, path: &Path, ending: &Ending) {
        let path = path.display();
        let text = match ending {
            Ending::Stopped(at) => {
                return self.note(&format!("{path}: the gateway stopped at {at}"));
            }
            Ending::Failed(at, why) => format!(
                "warning: {path}: the recording stopped at {at}, and the gateway went on without: {why}"
            ),
            Ending::Open => {
                format!("note: {path} has no end: the daemon was killed, or is still running")
            }
            Ending::Torn(bytes) => format!(
                "note: the last {bytes} bytes of {path} are no whole frame, as a crash leaves them; \
                 what was in them is lost"
            ),
        };
        self.progress.suspend(|| tell(&text));
    }

    fn note(&mut self, text: &str) {
        self.trace.note(text);
    }

    fn write(&mut self) -> ControlFlow<()> {
        self.failed = self.out.write_all(self.trace.take().as_bytes());
        if self.failed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Says how it came out.
    fn finish(mut self, played: Result<(), Problem>) -> ExitCode {
        self.progress.finish_and_clear();
        let written = self.failed.and_then(|()| self.out.flush());
        match written {
            Ok(()) => {}
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return ExitCode::SUCCESS,
            Err(error) => return complain([format!("cannot write to standard output: {error}")]),
        }
        match played {
            Ok(()) => {
                let events = self.events;
                tell(&format!("replayed {events} events; all commands are as recorded"));
                ExitCode::SUCCESS
            }
            Err(Problem::Refused(problem)) => complain([problem]),
            Err(Problem::Differs(difference)) => {
                tell_difference(&difference);
                ExitCode::from(FAILED)
            }
        }
    }
}

/// Says where the replay went another way, and what is known of both.
fn tell_difference(difference: &Difference) {
    let Difference { segment, number, at, event, commands } = difference;
    let place = format!("{}, event {number} at {at}", segment.display());
    let Some((event, recorded)) = event else {
        tell(&format!(
            "error: THE REPLAY DIFFERS from the recording in {place}: the gateway's state is another \
             before it"
        ));
        return tell(CAUSES);
    };
    let replayed = Digest::of(commands, &mut Vec::new());
    tell(&format!("error: THE REPLAY DIFFERS from the recording in {place}"));
    tell(&format!("  recorded: {} commands, hash {:016x}", recorded.count, recorded.hash));
    tell(&format!("  replayed: {} commands, hash {:016x}:", replayed.count, replayed.hash));
    let mut trace = Trace::verbatim();
    trace.event(*at, event);
    trace.commands(commands);
    tell(trace.text().trim_end());
    tell(CAUSES);
}

/// What a difference comes from.
const CAUSES: &str = "Either another build of steadfast recorded it, or the rules do not depend on \
                      events alone, which is a bug: keep the files and report it.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_two_forms() {
        let at = |micros| Ok(Point::At(Time::from_micros(micros)));
        for (text, expect) in [
            ("2026-11-21T01:20:00Z", at(1_795_224_000_000_000)),
            ("2026-11-21T01:20:00.123456Z", at(1_795_224_000_123_456)),
            ("2026-11-21T09:20:00+08:00", at(1_795_224_000_000_000)),
            ("01:20", Ok(Point::OfDay(Span::from_secs(4_800)))),
            ("01:20:00.5", Ok(Point::OfDay(Span::from_millis(4_800_500)))),
        ] {
            assert_eq!(parse_point(text), expect, "{text}");
        }
        for text in ["", "1", "25:00", "2026-11-21T01:20:00", "2026-11-21", "1960-01-01T00:00:00Z"]
        {
            assert!(parse_point(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_the_next_there_is() {
        let noon = Time::from_micros(10 * DAY + DAY / 2);
        let hours = |hours: u64| Point::OfDay(Span::from_secs(hours * 3_600)).resolve(noon);
        assert_eq!(hours(12), noon);
        assert_eq!(hours(13), noon + Span::from_secs(3_600));
        assert_eq!(hours(11), noon + Span::from_secs(23 * 3_600));
    }
}
