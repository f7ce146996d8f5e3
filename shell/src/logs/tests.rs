//! Tests of the log as a whole.

use super::samples::Sample;
use super::subscriber::LineSubscriber;
use super::*;
use crate::journal::{Journal as _, Trouble};
use bytes::Bytes;
use std::fs;
use std::time::Instant;
use steadfast_core::id::{ConnId, Key, MessageId, PusherId};
use steadfast_core::record::{ConnRecord, DeliveryRecord, PushRecord, Record};
use steadfast_core::time::Time;
use tracing::dispatcher::{self, Dispatch};

const LEVELS: [LogLevel; 4] = [LogLevel::Error, LogLevel::Warn, LogLevel::Info, LogLevel::Debug];

/// 2026-11-21T01:20:00.123Z.
const NOON: Time = Time::from_micros(1_795_224_000_123_456);

fn formatted(format: LogFormat, level: LogLevel, max: usize, record: &Record) -> String {
    let subscriber = LineSubscriber::new(format, level, max);
    dispatcher::with_default(&Dispatch::new(subscriber.clone()), || events::emit(NOON, record));
    let lines = subscriber.lines();
    String::from_utf8(lines.buffer.clone()).unwrap()
}

fn text(record: &Record) -> String {
    formatted(LogFormat::Text, LogLevel::Debug, 1_024, record)
}

fn options(level: LogLevel, file: PathBuf) -> LogOptions {
    LogOptions { format: LogFormat::Text, level, file: Some(file), content_max: 100, queue: 10 }
}

fn received(content: &'static str) -> Record {
    let content = Bytes::from_static(content.as_bytes());
    Record::Connection(
        ConnId { slot: 0, generation: 0 },
        ConnRecord::Received { key: None, content },
    )
}

#[test]
fn every_record_is_one_line_of_text() {
    for (record, tag, rest) in samples::all() {
        assert_eq!(text(&record), format!("2026-11-21T01:20:00.123Z [{tag}]{rest}\n"));
    }
}

#[test]
fn every_record_is_one_json_object() {
    for (record, tag, _) in samples::all() {
        let line = formatted(LogFormat::Json, LogLevel::Debug, 1_024, &record);
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["time"], "2026-11-21T01:20:00.123Z");
        assert_eq!(object["tag"], tag);
        let level = level::of(&record);
        assert_eq!(object["level"], format!("{level:?}").to_lowercase());
    }
    let (record, ..) = &samples::all()[0];
    assert_eq!(
        formatted(LogFormat::Json, LogLevel::Info, 1, record),
        "{\"level\":\"info\",\"time\":\"2026-11-21T01:20:00.123Z\",\"tag\":\"recv\",\
         \"connId\":\"c3.1\",\"uid\":\"5\",\"content\":\"a\",\"content_bytes\":3}\n"
    );
}

#[test]
fn levels_on_the_loop_are_those_of_the_events() {
    for (record, tag, _) in samples::all() {
        for level in LEVELS {
            let is_written = !formatted(LogFormat::Text, level, 9, &record).is_empty();
            assert_eq!(is_written, level::of(&record) <= level, "{tag} {level:?}");
        }
    }
}

#[test]
fn every_tag_and_its_level_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/operations.md");
    let operations = fs::read_to_string(path).unwrap();
    for (record, tag, _) in samples::all() {
        let level = format!("{:?}", level::of(&record)).to_lowercase();
        let row = format!("| `[{tag}]` | {level} |");
        assert!(operations.contains(&row), "docs/operations.md lacks {row}");
    }
}

#[test]
fn troubles_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.log");
    let logs = Logs::start(&options(LogLevel::Error, path.clone())).unwrap();
    let mut journal = logs.journal();
    let listener = "127.0.0.1:5001".parse().unwrap();
    let error = io::Error::other("too many open files");
    journal.trouble(NOON, Trouble::AcceptFailed { listener, error });
    let (file, error) = ("rec.000001".into(), "no space left".to_owned());
    journal.trouble(NOON, Trouble::RecordingStopped { file, error });
    drop(journal);
    logs.finish(Duration::from_secs(10));
    assert_eq!(
        fs::read_to_string(&path).unwrap(),
        "2026-11-21T01:20:00.123Z [accept fail] listener=127.0.0.1:5001 \
         error=\"too many open files\"\n\
         2026-11-21T01:20:00.123Z [record stop] file=rec.000001 error=\"no space left\"\n"
    );
}

#[test]
fn content_is_cut_and_says_so() {
    let line = formatted(LogFormat::Text, LogLevel::Info, 4, &received("获取变量"));
    assert!(line.ends_with(" content=获…(12 bytes)\n"), "{line}");
    assert!(text(&received("a\nb")).ends_with(" content=a\\nb\n"));
}

#[test]
fn the_log_is_written_to_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.log");
    let logs = Logs::start(&options(LogLevel::Info, path.clone())).unwrap();
    let mut journal = logs.journal();
    for (record, ..) in samples::all().drain(..2) {
        journal.record(NOON, record);
    }
    drop(journal);
    logs.finish(Duration::from_secs(10));
    let written = fs::read_to_string(&path).unwrap();
    assert_eq!(written, "2026-11-21T01:20:00.123Z [recv] connId=c3.1 uid=5 content=a b\n");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing").join("sf.log");
    assert!(Logs::start(&options(LogLevel::Info, path.clone())).is_err());
    assert!(Logs::start(&options(LogLevel::Off, path)).is_ok());
}

#[test]
fn what_does_not_fit_is_counted() {
    let queue = Arc::new(queue::Queue::new(10));
    let mut journal = LogJournal::new(Arc::clone(&queue), LogLevel::Info);
    for turn in 0..4 {
        for _ in 0..4 {
            journal.record(NOON, received("x"));
        }
        journal.record(NOON, Record::StaleId);
        if turn < 3 {
            journal.turn_ended();
        }
    }
    drop(journal);
    let mut records = Vec::new();
    let found = queue.take(&mut records);
    assert_eq!((records.len(), found.dropped), (10, 6));
}

#[test]
fn there_is_room_again_once_the_thread_has_taken_what_waited() {
    let queue = Arc::new(queue::Queue::new(2));
    let mut journal = LogJournal::new(Arc::clone(&queue), LogLevel::Info);
    for _ in 0..2 {
        journal.record(NOON, received("x"));
    }
    journal.turn_ended();
    queue.take(&mut Vec::new());
    for _ in 0..2 {
        journal.record(NOON, received("x"));
    }
    journal.turn_ended();
    let mut records = Vec::new();
    let found = queue.take(&mut records);
    assert_eq!((records.len(), found.dropped), (2, 0));
}

#[test]
fn large_contents_fill_the_queue_too() {
    let queue = Arc::new(queue::Queue::with_content_limit(100, 10));
    let mut journal = LogJournal::new(Arc::clone(&queue), LogLevel::Debug);
    for content in ["123456", "123456", "123456", ""] {
        journal.record(NOON, received(content));
    }
    journal.turn_ended();
    journal.record(NOON, received("also"));
    journal.turn_ended();
    let mut records = Vec::new();
    let found = queue.take(&mut records);
    assert_eq!((records.len(), found.dropped), (2, 3));
    records.clear();
    journal.record(NOON, received("1234567890123"));
    journal.turn_ended();
    assert_eq!((queue.take(&mut records).dropped, records.len()), (0, 1));
}

#[test]
fn dropped_records_get_a_line_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.log");
    let logs = Logs::start(&LogOptions { queue: 1, ..options(LogLevel::Error, path.clone()) });
    let logs = logs.unwrap();
    let mut journal = logs.journal();
    let failures = || samples::all().into_iter().filter(|(.., tag, _)| *tag == "store fail");
    let (failure, ..): Sample = failures().next().unwrap();
    for _ in 0..3 {
        journal.record(NOON, failure.clone());
    }
    drop(journal);
    logs.finish(Duration::from_secs(10));
    let written = fs::read_to_string(&path).unwrap();
    assert!(written.lines().count() == 2, "{written}");
    assert!(written.ends_with(" [log drop] count=2\n"), "{written}");
}

/// What a push makes: prepare, ok, confirm.
fn push_records(count: usize) -> Vec<Record> {
    let (key, pusher) = (Key::new("123456"), PusherId { slot: 0, generation: 0 });
    let conn = ConnId { slot: 77, generation: 3 };
    let content = Bytes::from(vec![b'x'; 128]);
    (0..count as u64)
        .map(|counter| {
            let (id, key) = (MessageId { incarnation: 1, counter }, key.clone());
            let (first, last, content) = (id, id, content.clone());
            match counter % 3 {
                0 => Record::Push(pusher, PushRecord::Prepared { key, id, content }),
                1 => Record::Push(pusher, PushRecord::Ok { key, id }),
                _ => {
                    let count = 1;
                    Record::Delivery(key, DeliveryRecord::Confirmed { conn, first, last, count })
                }
            }
        })
        .collect()
}

/// Says what a record costs the loop and the log thread, each alone on its thread; the medians of
/// five rounds. Claims nothing, for the machine may be busy: `cargo test --release -p
/// steadfast-shell --lib -- --nocapture cost_of_a_record`.
#[test]
fn cost_of_a_record() {
    let count = if cfg!(debug_assertions) { 300 } else { 300_000 };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.log");
    let mut output = Output::open(Some(&path)).unwrap();
    let queue = Arc::new(queue::Queue::new(100_000));
    let mut costs = [(); 5].map(|()| Vec::new());
    for _ in 0..5 {
        let records = push_records(count);
        costs[0].push(cost_on_loop(&queue, LogLevel::Debug, records.clone()));
        costs[1].push(cost_on_loop(&queue, LogLevel::Off, records.clone()));
        costs[2].push(cost_of_lines(LogFormat::Text, &mut output, &records));
        costs[3].push(cost_of_lines(LogFormat::Json, &mut output, &records));
        costs[4].push(cost_of_lines(LogFormat::Text, &mut Output::Discard, &records));
    }
    let medians = costs.map(|mut costs| {
        costs.sort_unstable();
        costs[2] / count as u128
    });
    let size = size_of::<(Time, queue::Entry)>();
    println!(
        "{size} bytes; ns per record: loop {}, filtered {}, text to file {}, JSON to file {}, \
         text unwritten {}",
        medians[0], medians[1], medians[2], medians[3], medians[4]
    );
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), count * 10);
}

/// Nanoseconds spent in the journal, in turns of 100 records.
fn cost_on_loop(queue: &Arc<queue::Queue>, level: LogLevel, records: Vec<Record>) -> u128 {
    let mut journal = LogJournal::new(Arc::clone(queue), level);
    let (mut taken, mut spent) = (Vec::new(), 0);
    let mut records = records.into_iter();
    loop {
        let turn: Vec<_> = records.by_ref().take(100).collect();
        if turn.is_empty() {
            return spent;
        }
        let begun = Instant::now();
        for record in turn {
            journal.record(NOON, record);
        }
        journal.turn_ended();
        spent += begun.elapsed().as_nanos();
        queue.take(&mut taken);
        taken.clear();
    }
}

/// Nanoseconds for formatting the records and writing them to the file.
fn cost_of_lines(format: LogFormat, output: &mut Output, records: &[Record]) -> u128 {
    let subscriber = LineSubscriber::new(format, LogLevel::Debug, 1_024);
    dispatcher::with_default(&Dispatch::new(subscriber.clone()), || {
        let begun = Instant::now();
        for (index, record) in records.iter().enumerate() {
            events::emit(NOON, record);
            if index % 300 == 299 {
                output.write(&subscriber.lines().buffer).unwrap();
                subscriber.lines().buffer.clear();
            }
        }
        let spent = begun.elapsed().as_nanos();
        output.write(&subscriber.lines().buffer).unwrap();
        spent
    })
}
