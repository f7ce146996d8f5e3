//! Recordings of small sessions, whole and damaged.

use super::chain::{Chain, Frame, Reader};
use super::format::{self, Kind, Origin};
use super::player::{Ending, Problem, Sight, play};
use super::queue::Queue;
use super::recorder::{Recorder, Tape};
use super::writer::Writer;
use super::{Options, Recording, segment};
use crate::journal::{Journal, Trouble};
use crate::machine::Machine as _;
use bytes::Bytes;
use proptest::prelude::*;
use std::fs;
use std::ops::ControlFlow;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::{CloseCause, ConnEvent, Event, Protocol, PusherEvent};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, PusherId};
use steadfast_core::record::Record;
use steadfast_core::store::model::Model;
use steadfast_core::time::{Span, Time};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(10);

/// A gateway that is recorded, with a store and a back end.
struct Session {
    recorder: Recorder<Gateway>,
    model: Model,
    now: Time,
    pending: Vec<Event>,
    conns: u32,
    events: u64,
}

impl Session {
    fn new() -> Self {
        let recorder = Recorder::off(origin().gateway());
        let now = Time::from_micros(1_795_224_000_000_000);
        let model = Model::new(1);
        Self { recorder, model, now, pending: Vec::new(), conns: 0, events: 0 }
    }

    /// Tells an event and all that follows from it, and ends the turn.
    fn tell(&mut self, event: Event) {
        self.pending.push(event);
        while !self.pending.is_empty() {
            let event = self.pending.remove(0);
            let mut commands = Vec::new();
            self.recorder.handle(self.now, event, &mut commands);
            self.events += 1;
            for command in commands {
                if let Command::Store { op, request } = command {
                    let answer = self.model.apply(request);
                    self.pending.push(Event::Answered(op, answer));
                }
            }
        }
        self.recorder.turn_ended();
        // So that where segments begin depends on nothing but their size.
        let deadline = Instant::now() + SOON;
        while !self.recorder.takes_state() {
            assert!(Instant::now() < deadline, "the writer is stuck");
            thread::yield_now();
        }
        self.now += Span::from_micros(1_500);
    }

    fn back_end(&mut self) {
        self.tell(Event::Pusher(PUSHER, PusherEvent::Opened));
    }

    fn push(&mut self, key: &str, data: &str) {
        let line = format!(r#"{{"uid":"{key}","Data":"{data}"}}"#);
        self.tell(Event::Pusher(PUSHER, PusherEvent::LineReceived(Bytes::from(line))));
    }

    fn client(&mut self, key: &str) -> ConnId {
        let id = ConnId { slot: self.conns, generation: 0 };
        self.conns += 1;
        let upgraded = ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy };
        for event in [ConnEvent::Accepted, upgraded, ConnEvent::TextReceived(key.into())] {
            self.tell(Event::Connection(id, event));
        }
        id
    }

    fn close(&mut self, id: ConnId) {
        self.tell(Event::Connection(id, ConnEvent::Closed(CloseCause::Eof)));
    }

    /// What makes a recording of several segments.
    fn busy_day(&mut self) {
        self.back_end();
        let conn = self.client("5");
        for n in 0..40 {
            self.push("5", &format!("message {n}"));
            self.push("6", "waits");
        }
        self.close(conn);
        self.client("6");
        self.push("5", "the last");
    }
}

const PUSHER: PusherId = PusherId { slot: 0, generation: 0 };

fn origin() -> Origin {
    Origin { config: Config::default(), incarnation: 3, seed: 11 }
}

/// Troubles, as they are told.
struct Troubles(Sender<String>);

impl Journal for Troubles {
    fn record(&mut self, _now: Time, _record: Record) {}
    fn trouble(&mut self, _now: Time, trouble: Trouble) {
        let Trouble::RecordingStopped { file, error } = trouble else { return };
        // A test that looks for no troubles has let go of the other end.
        self.0.send(format!("{}: {error}", file.display())).ok();
    }
}

fn options(directory: &TempDir, segment: u64, keep: u32) -> Options {
    Options { file: directory.path().join("rec"), segment, keep }
}

/// Records what `script` does; gives the number of events and the troubles.
fn record(options: &Options, run: u64, script: impl FnOnce(&mut Session)) -> (u64, Vec<String>) {
    let (tell, told) = channel();
    let recording = Recording::start(options, run, origin(), Troubles(tell)).unwrap();
    let mut session = Session::new();
    recording.attach(&mut session.recorder);
    script(&mut session);
    let events = session.events;
    drop(session);
    recording.finish(SOON);
    (events, told.iter().collect())
}

/// What a replay came by: the number of events and the ends of runs.
type Seen = Result<(u64, Vec<Ending>), Problem>;

fn replay(file: &Path) -> Seen {
    let chain = Chain::open(file)?;
    let (mut events, mut endings) = (0, Vec::new());
    play(&chain, &mut |sight| {
        match sight {
            Sight::Moment(_) => events += 1,
            Sight::RunEnds(_, ending) => endings.push(ending.clone()),
            Sight::RunBegins(..) | Sight::RunTakenUp(..) => {}
        }
        ControlFlow::Continue(())
    })?;
    Ok((events, endings))
}

/// The text with which a recording is refused.
fn refusal(seen: Seen) -> String {
    match seen {
        Err(Problem::Refused(text)) => text,
        Err(Problem::Differs(_)) | Ok(_) => panic!("not refused: {seen:?}"),
    }
}

fn segments(options: &Options) -> Vec<PathBuf> {
    let numbers = segment::list(&options.file).unwrap();
    numbers.into_iter().map(|number| segment::path_of(&options.file, number)).collect()
}

#[test]
fn what_was_recorded_is_replayed() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    let (events, troubles) = record(&options, 1, Session::busy_day);
    assert_eq!(troubles, [] as [String; 0]);
    let (replayed, endings) = replay(&options.file).unwrap();
    assert_eq!(replayed, events);
    assert!(matches!(endings[..], [Ending::Stopped(_)]), "{endings:?}");
    let paths = segments(&options);
    assert!(paths.len() > 3, "{paths:?}");
    let mut fewer = events;
    for path in &paths[1..] {
        let (replayed, _) = replay(path).unwrap();
        assert!(replayed < fewer, "{} has {replayed} events", path.display());
        fewer = replayed;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_second_run_goes_on_after_the_first() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 2_000, 0);
    let (first, _) = record(&options, 1, Session::busy_day);
    let last = segments(&options).pop().unwrap();
    let (second, _) = record(&options, 2, |session| session.back_end());
    assert_eq!(replay(&options.file).unwrap().0, first + second);
    // The first run was killed.
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 10]).unwrap();
    let (replayed, endings) = replay(&options.file).unwrap();
    assert_eq!(replayed, first + second);
    assert!(matches!(endings[..], [Ending::Torn(_), Ending::Stopped(_)]), "{endings:?}");
}

#[test]
fn old_segments_are_dropped() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 2);
    record(&options, 1, Session::busy_day);
    let paths = segments(&options);
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(!options.file.with_extension("000001").exists());
    replay(&options.file).unwrap();
}

#[test]
fn gaps_are_refused() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    record(&options, 1, Session::busy_day);
    let paths = segments(&options);
    let (second, third) = (&paths[1], &paths[2]);
    let aside = directory.path().join("aside");
    let name = |path: &Path| path.display().to_string();

    fs::rename(second, &aside).unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains(&format!("{} is missing", name(second))), "{text}");
    assert!(replay(third).is_ok(), "the chain after the gap is whole");

    fs::rename(third, second).unwrap();
    fs::rename(&aside, third).unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains("was renamed"), "{text}");
    fs::rename(third, &aside).unwrap();
    fs::rename(second, third).unwrap();

    let other = TempDir::new().unwrap();
    let others = self::options(&other, 600, 0);
    record(&others, 2, Session::busy_day);
    fs::copy(&segments(&others)[1], second).unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains("different runs"), "{text}");

    fs::rename(&aside, second).unwrap();
    assert!(replay(&options.file).is_ok(), "all is in its place again");
    let last = paths.last().unwrap();
    fs::remove_file(last).unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains("the segment after"), "{text}");
}

#[test]
fn every_flipped_byte_is_noticed() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 100, 0);
    record(&options, 1, |session| {
        session.back_end();
        (0..4).for_each(|n| session.push("5", &n.to_string()));
    });
    let paths = segments(&options);
    assert!(paths.len() > 1, "{paths:?}");
    for (path, step) in paths.iter().zip([7, 1]) {
        let mut bytes = fs::read(path).unwrap();
        for index in (0..bytes.len()).step_by(step) {
            bytes[index] ^= 1 << (index % 8);
            fs::write(path, &bytes).unwrap();
            let text = refusal(replay(&options.file));
            assert!(text.contains(path.to_str().unwrap()), "byte {index}: {text}");
            bytes[index] ^= 1 << (index % 8);
        }
        fs::write(path, &bytes).unwrap();
    }
    assert!(replay(&options.file).is_ok(), "all is mended");
}

#[test]
fn a_torn_end_is_tolerated_and_a_torn_middle_is_not() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    let (events, _) = record(&options, 1, Session::busy_day);
    let paths = segments(&options);
    let last = paths.last().unwrap();
    let whole = fs::read(last).unwrap();
    for length in (0..whole.len()).step_by(2) {
        fs::write(last, &whole[..length]).unwrap();
        let file = if length % 50 == 0 { &options.file } else { last };
        let (replayed, endings) = replay(file).unwrap();
        assert!(replayed <= events, "{replayed} of {events}");
        assert!(matches!(endings[..], [Ending::Torn(_) | Ending::Open]), "{length}: {endings:?}");
    }
    // A power cut leaves zeros.
    fs::write(last, [&whole[..], &[0; 100]].concat()).unwrap();
    refusal(replay(&options.file));
    let (head, _) = whole.split_at(whole.len() - end_bytes(last, &whole));
    fs::write(last, [head, &[0; 100]].concat()).unwrap();
    assert_eq!(replay(&options.file).unwrap(), (events, vec![Ending::Torn(100)]));
    fs::write(last, &whole).unwrap();

    let second = fs::read(&paths[1]).unwrap();
    for length in (0..second.len() - end_bytes(&paths[1], &second)).step_by(29) {
        fs::write(&paths[1], &second[..length]).unwrap();
        refusal(replay(&options.file));
    }
}

/// How long the end frame is that a segment has.
fn end_bytes(path: &Path, whole: &[u8]) -> usize {
    fs::write(path, whole).unwrap();
    let (mut reader, _) = Reader::open(path).unwrap();
    let mut before = 0;
    while let Frame::Whole(kind, _) = reader.frame().unwrap() {
        if kind == Kind::End {
            return whole.len() - usize::try_from(before).unwrap();
        }
        before = reader.offset();
    }
    panic!("no end")
}

/// Writes a segment anew, each frame changed by `change`.
fn rewrite(path: &Path, mut change: impl FnMut(Kind, &mut Vec<u8>)) {
    let (mut reader, _) = Reader::open(path).unwrap();
    let mut bytes = fs::read(path).unwrap()[..format::PREAMBLE].to_vec();
    while let Frame::Whole(kind, mut content) = reader.frame().unwrap() {
        change(kind, &mut content);
        bytes.extend(format::frame(kind, &content).unwrap());
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn other_commands_than_recorded_are_reported() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    record(&options, 1, Session::busy_day);
    let path = &segments(&options)[1];
    let whole = fs::read(path).unwrap();
    // The hash is what an entry ends with.
    let mut frames = 0;
    rewrite(path, |kind, content| {
        frames += usize::from(kind == Kind::Events);
        if kind == Kind::Events && frames == 1 {
            *content.last_mut().unwrap() ^= 1;
        }
    });
    let Err(Problem::Differs(difference)) = replay(&options.file) else { panic!("no difference") };
    assert_eq!(difference.segment, *path);
    let (_, recorded) = difference.event.clone().unwrap();
    let replayed = format::Digest::of(&difference.commands, &mut Vec::new());
    assert_eq!(recorded.count, replayed.count);
    assert_eq!(recorded.hash ^ replayed.hash, 1 << 56);

    fs::write(path, &whole).unwrap();
    assert!(replay(&options.file).is_ok(), "it is mended");
    let reader = Reader::open(path).unwrap().0;
    rewrite(path, |kind, content| {
        if kind == Kind::State {
            let mut other: Gateway = reader.decode(content).unwrap();
            other.handle(Time::NEVER, Event::ShutdownRequested, &mut Vec::new());
            content.clear();
            format::write(&other, content);
        }
    });
    let Err(Problem::Differs(difference)) = replay(&options.file) else { panic!("no difference") };
    assert_eq!((difference.segment, difference.event), (path.clone(), None));
}

#[test]
fn a_disk_that_does_not_keep_up_ends_the_recording() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 1 << 20, 0);
    let writer = Writer::begin(&options, 1, origin()).unwrap();
    let queue = Arc::new(Queue::new(500));
    let mut session = Session::new();
    session.recorder.put_in(Tape::new(Arc::clone(&queue), options.segment));
    session.back_end();
    session.push("5", "it fits");
    assert!(session.recorder.is_recording());
    session.push("5", &"it does not fit ".repeat(50));
    assert!(!session.recorder.is_recording());
    session.push("5", "and the gateway goes on");
    let (tell, told) = channel();
    writer.run(&queue, Troubles(tell));
    let told: Vec<_> = told.iter().collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("rec.000001: the disk does not keep up"), "{told:?}");
    let (replayed, endings) = replay(&options.file).unwrap();
    assert_eq!(replayed, 3, "what was handed over before");
    assert!(
        matches!(&endings[..], [Ending::Failed(_, why)] if why.contains("keep up")),
        "{endings:?}"
    );
}

#[test]
fn a_segment_that_cannot_be_begun_ends_the_recording() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    let blocked = directory.path().join("rec.000002");
    let (events, troubles) = record(&options, 1, |session| {
        fs::create_dir(&blocked).unwrap();
        session.busy_day();
    });
    assert_eq!(troubles.len(), 1, "{troubles:?}");
    assert!(troubles[0].contains("rec.000002: File exists"), "{troubles:?}");
    fs::remove_dir(&blocked).unwrap();
    let (replayed, endings) = replay(&options.file).unwrap();
    assert!(replayed < events, "{replayed}");
    assert!(matches!(&endings[..], [Ending::Failed(..)]), "{endings:?}");
}

#[test]
fn another_version_of_the_program_is_named() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    record(&options, 1, Session::back_end);
    let path = &segments(&options)[0];
    let reader = Reader::open(path).unwrap().0;
    rewrite(path, |kind, content| {
        if kind == Kind::Head {
            let mut head: format::Head = reader.decode(content).unwrap();
            "0.0.7".clone_into(&mut head.program);
            content.clear();
            format::write(&head, content);
        }
    });
    let text = refusal(replay(&options.file));
    assert!(text.contains("was recorded by steadfast 0.0.7"), "{text}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let directory = TempDir::new().unwrap();
    let options = options(&directory, 600, 0);
    let text = refusal(replay(&options.file));
    assert!(text.contains("there is no recording"), "{text}");
    let path = options.file.with_extension("000001");
    fs::write(&path, "something else entirely").unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains("rec.000001 is no recording"), "{text}");
    let mut newer = format::MAGIC.to_vec();
    newer.extend((format::VERSION + 1).to_le_bytes());
    fs::write(&path, newer).unwrap();
    let text = refusal(replay(&options.file));
    assert!(text.contains(&format!("version {}", format::VERSION + 1)), "{text}");
}

/// One thing that happens in a random session.
#[derive(Clone, Debug)]
enum Step {
    Push(usize),
    Client(usize),
    Close(u32),
    Pass(u64),
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn random_sessions_replay_from_every_segment(
        steps in prop::collection::vec(prop_oneof![
            4 => (0..4_usize).prop_map(Step::Push),
            2 => (0..4_usize).prop_map(Step::Client),
            1 => (0..8_u32).prop_map(Step::Close),
            1 => (1..20_000_u64).prop_map(Step::Pass),
        ], 1..80),
        segment in 500..3_000_u64,
    ) {
        let keys = ["5", "text", r#"{\"uid\":\"7\"}"#, r#"{ \"uid\":\"7\"}"#];
        let directory = TempDir::new().unwrap();
        let options = options(&directory, segment, 0);
        let (events, troubles) = record(&options, 1, |session| {
            session.back_end();
            for step in steps {
                match step {
                    Step::Push(key) => session.push(keys[key], "data"),
                    Step::Client(key) => { session.client(&keys[key].replace('\\', "")); }
                    Step::Close(slot) if slot < session.conns => {
                        let id = ConnId { slot, generation: 0 };
                        session.close(id);
                    }
                    Step::Close(_) => {}
                    Step::Pass(millis) => {
                        session.now += Span::from_millis(millis);
                        session.tell(Event::DeadlineReached);
                    }
                }
            }
        });
        prop_assert_eq!(troubles, Vec::<String>::new());
        prop_assert_eq!(replay(&options.file).unwrap().0, events);
        for path in segments(&options) {
            replay(&path).unwrap();
        }
    }
}
