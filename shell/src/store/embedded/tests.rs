//! The durable store held against the model, closed and opened again, and in trouble.

use super::disk::Disk;
use super::layout::{Body, Reader, VERSION, Writer, after_prefix, escaped, prefix, state};
use super::trouble::{Step, Trouble};
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread as threads;
use std::time::{Duration, Instant};
use steadfast_core::id::{Key, MessageId};
use steadfast_core::store::arbitrary::{alone, inventory, ops, time_of};
use steadfast_core::store::judge::Judge;
use steadfast_core::store::{Append, Appended, Loaded, Promise};
use steadfast_core::time::Time;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

fn reopen(engine: Engine, directory: &Path) -> Engine {
    drop(engine);
    Engine::open(directory).unwrap()
}

/// Asks the store and the judge, operation by operation.
fn compare(judge: &mut Judge, engine: &mut Engine, operations: &[Op]) -> Result<(), TestCaseError> {
    for op in operations {
        let answer = engine.apply(judge.translate(op)).unwrap();
        judge.verdict(op, &answer).map_err(TestCaseError::fail)?;
    }
    Ok(())
}

/// Batches of these lengths, the store closed and opened again behind those whose fate is 0.
fn equivalent(operations: &[Op], batches: &[(usize, u32)]) -> Result<(), TestCaseError> {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let (mut judge, mut engine) = (Judge::new(), Engine::open(directory.path()).unwrap());
    let mut rest = operations;
    for (len, fate) in batches.iter().cycle().take(operations.len()) {
        let (batch, others) = rest.split_at((*len).min(rest.len()));
        rest = others;
        compare(&mut judge, &mut engine, batch)?;
        engine.sync().unwrap();
        if *fate == 0 && !rest.is_empty() {
            engine = reopen(engine, directory.path());
        }
    }
    compare(&mut judge, &mut engine, rest)?;
    engine.sync().unwrap();
    engine = reopen(engine, directory.path());
    prop_assert_eq!(engine.count_waiting().unwrap(), judge.model().counts().waiting);
    let now = operations.iter().filter_map(time_of).max().unwrap_or(Time::EPOCH);
    compare(&mut judge, &mut engine, &alone(inventory(now)))?;
    Ok(())
}

fn batches() -> impl Strategy<Value = Vec<(usize, u32)>> {
    proptest::collection::vec((1..32_usize, 0..8_u32), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    // Two tests, so that they run at the same time.
    #[test]
    fn answers_as_the_model_does(
        operations in ops(1..80).prop_map(alone),
        batches in batches(),
    ) {
        equivalent(&operations, &batches)?;
    }

    #[test]
    fn answers_long_sequences_as_the_model_does(
        operations in ops(80..160).prop_map(alone),
        batches in batches(),
    ) {
        equivalent(&operations, &batches)?;
    }

    #[test]
    fn texts_sort_as_they_are_and_end_where_they_end(
        one in "[\0\u{1}ab\u{7ff}]{0,4}",
        other in "[\0\u{1}ab\u{7ff}]{0,4}",
        rest in any::<Vec<u8>>(),
    ) {
        let (first, second) = (Key::new(one.clone()), Key::new(other.clone()));
        prop_assert_eq!(prefix(&first).cmp(&prefix(&second)), one.cmp(&other));
        let record = Writer::default().text(&one).rest(&rest).end();
        let mut reader = Reader::new(&record, "a text");
        prop_assert_eq!(reader.text().unwrap(), one.clone());
        prop_assert_eq!(reader.rest(), &rest[..]);
        let starts = one.is_empty() || {
            let (start, end) = (escaped(&one), after_prefix(&escaped(&one)));
            (start..end).contains(&prefix(&second))
        };
        prop_assert_eq!(starts, other.starts_with(&one));
    }

    #[test]
    fn a_shortened_record_is_no_record(len in 0..40_usize) {
        let mut body = Body::new(Time::from_micros(7), Bytes::from_static(b"payload"));
        body.history.push((Time::from_micros(8), steadfast_core::record::DeathReason::Ttl));
        let record = Bytes::from(body.encode());
        prop_assert_eq!(Body::decode(&record).unwrap(), body.clone());
        let header = record.len() - body.payload.len();
        prop_assert_eq!(Body::decode(&record.slice(..len.min(header - 1))).is_err(), true);
    }
}

/// A directory for what is thrown away: in memory, if there is one.
fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

fn key() -> Key {
    Key::new("key")
}

fn id(counter: u64) -> MessageId {
    MessageId { incarnation: 1, counter }
}

fn append(counter: u64, payload: Bytes) -> Op {
    Op::Append(Append {
        key: key(),
        id: id(counter),
        payload,
        accepted_at: Time::EPOCH,
        expires_at: Time::NEVER,
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 1_000_000,
        window_end: None,
        spare: 0,
        epoch: 0,
    })
}

fn small(counter: u64) -> Op {
    append(counter, Bytes::from_static(b"payload"))
}

fn load() -> Op {
    Op::Load { key: key(), max_messages: u32::MAX, max_bytes: u64::MAX }
}

/// A store whose thread runs, in trouble or not, with the directory it is in.
struct Store {
    backend: Option<Embedded>,
    directory: tempfile::TempDir,
    asked: u32,
}

impl Store {
    fn new(trouble: Trouble) -> Self {
        let directory = tempfile::tempdir_in(scratch()).unwrap();
        let mut engine = Engine::open(directory.path()).unwrap();
        engine.trouble(&trouble);
        let backend = Embedded::start_thread(directory.path().to_owned(), engine, 1).unwrap();
        Self { backend: Some(backend), directory, asked: 0 }
    }

    fn backend(&mut self) -> &mut Embedded {
        self.backend.as_mut().unwrap()
    }

    /// Hands operations over as one turn of an event loop does.
    fn submit(&mut self, operations: impl IntoIterator<Item = Op>) {
        for op in operations {
            let id = OpId { slot: self.asked, generation: 0 };
            self.asked += 1;
            self.backend().submit(id, op);
        }
        self.backend().hand_over();
    }

    /// The next answers, which must be to the operations asked, in their order.
    fn answers(&mut self, count: u32) -> Vec<Answer> {
        let mut answers = Vec::new();
        wait_for("answers", || {
            self.backend().collect(&mut answers);
            (answers.len() >= count as usize).then_some(())
        });
        let asked = (self.asked - count..self.asked).collect::<Vec<_>>();
        assert_eq!(answers.iter().map(|(id, _)| id.slot).collect::<Vec<_>>(), asked);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    fn ask(&mut self, op: Op) -> Answer {
        self.submit([op]);
        self.answers(1).remove(0)
    }

    /// Ends the thread; what is on disk then.
    fn on_disk(mut self) -> Vec<u64> {
        self.backend = None;
        let mut engine = Engine::open(self.directory.path()).unwrap();
        counters(&engine.apply(load()).unwrap())
    }
}

/// The counters of the ids that were loaded.
fn counters(answer: &Answer) -> Vec<u64> {
    let Answer::Loaded(Loaded { messages, .. }) = answer else { panic!("{answer:?}") };
    messages.iter().map(|message| message.id.counter).collect()
}

fn is_stored(answer: &Answer) -> bool {
    matches!(answer, Answer::Appended(Appended::Stored { .. }))
}

/// Waits until something is there.
fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "no {what} within {DEADLINE:?}");
        threads::yield_now();
    }
}

#[test]
fn what_was_answered_is_on_disk_after_the_end() {
    let mut store = Store::new(Trouble::default());
    store.submit((1..=100).map(small));
    assert!(store.answers(100).iter().all(is_stored));
    store.submit([Op::Remove { key: key(), ids: vec![id(2), id(4)] }]);
    let left = (1..=100).filter(|counter| ![2, 4].contains(counter)).collect::<Vec<_>>();
    assert_eq!(store.on_disk(), left, "what was asked before the end is done before the end");
}

#[test]
fn a_large_message_comes_back_as_it_was() {
    let mut store = Store::new(Trouble::default());
    let payload = Bytes::from((0..3 << 20).map(|n: u32| (n % 251) as u8).collect::<Vec<_>>());
    assert!(is_stored(&store.ask(append(1, payload.clone()))));
    store.backend = None;
    let mut engine = Engine::open(store.directory.path()).unwrap();
    engine.disk.messages.rotate_memtable_and_wait().unwrap();
    let Answer::Loaded(loaded) = engine.apply(load()).unwrap() else { panic!("not loaded") };
    assert_eq!(loaded.messages[0].payload, payload);
}

#[test]
fn what_is_removed_in_the_same_batch_is_never_written() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let mut engine = Engine::open(directory.path()).unwrap();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&steps);
    engine.trouble(&Trouble::new(move |step| {
        log.lock().unwrap().push(step);
        Ok(())
    }));
    let batch = |engine: &mut Engine, operations: Vec<Op>| {
        for op in operations {
            engine.apply(op).unwrap();
        }
        engine.sync().unwrap();
        std::mem::take(&mut *steps.lock().unwrap())
    };
    let remove = |counter| Op::Remove { key: key(), ids: vec![id(counter)] };
    assert_eq!(batch(&mut engine, vec![small(1), small(2), remove(2), remove(1)]), []);
    let both = [Step::Commit, Step::Sync];
    assert_eq!(batch(&mut engine, vec![small(3), remove(3), small(4)]), both);
    assert_eq!(batch(&mut engine, vec![remove(4)]), both, "what is on disk has to go");
    assert_eq!(batch(&mut engine, vec![load()]), [], "a read writes nothing");
}

#[test]
fn every_run_has_an_incarnation_of_its_own() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    for expected in 1..=3 {
        assert_eq!(Embedded::open(directory.path()).unwrap().incarnation(), expected);
    }
}

#[test]
fn a_second_daemon_is_refused() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let first = Embedded::open(directory.path()).unwrap();
    let problem = Embedded::open(directory.path()).unwrap_err();
    assert_eq!(
        problem,
        format!(
            "cannot open the store in {} (data): another process has it open; stop the other \
             daemon, or give this one a directory of its own",
            directory.path().display()
        )
    );
    drop(first);
    Embedded::open(directory.path()).unwrap();
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    drop(Embedded::open(directory.path()).unwrap());
    let mut disk = Disk::open(&directory.path().join("store")).unwrap();
    let mut batch = disk.batch();
    batch.insert(&disk.state, state::VERSION, (VERSION + 1).to_be_bytes());
    disk.commit(batch).unwrap();
    disk.sync().unwrap();
    drop(disk);
    for _ in 0..2 {
        let problem = Embedded::open(directory.path()).unwrap_err();
        assert_eq!(
            problem,
            format!(
                "cannot open the store in {} (data): it was written by a later version (layout 2, \
                 this one reads 1); run the version that wrote it, or choose another directory",
                directory.path().display()
            )
        );
    }
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let problem = Embedded::open(file.path()).unwrap_err();
    let start = format!("cannot open the store in {} (data): ", file.path().display());
    assert!(problem.starts_with(&start), "{problem}");
    assert!(problem.ends_with("; check the path, its permissions and its free space"), "{problem}");
}

/// A switch for trouble: this step fails with this error while it is on.
fn failing(at: Step, code: i32) -> (Arc<AtomicBool>, Trouble) {
    let switch = Arc::new(AtomicBool::new(false));
    let is_on = Arc::clone(&switch);
    let fate = move |step| {
        let fails = step == at && is_on.load(Ordering::SeqCst);
        if fails { Err(io::Error::from_raw_os_error(code)) } else { Ok(()) }
    };
    (switch, Trouble::new(fate))
}

/// Lets a step fail for a while; what fails says so, and afterwards it goes on by itself.
fn recovers_from(at: Step, code: i32, text: &str) {
    let (switch, trouble) = failing(at, code);
    let mut store = Store::new(trouble);
    assert!(is_stored(&store.ask(small(1))));
    let health = store.backend().health();
    assert!(health.look().failing.is_none());
    switch.store(true, Ordering::SeqCst);
    for counter in 2..5 {
        let Answer::Failed(why) = store.ask(small(counter)) else { panic!("it did not fail") };
        assert!(why.contains(text), "{why}");
    }
    let failing = health.look().failing.expect("health shows it");
    assert!(failing.why.contains(text), "{}", failing.why);
    switch.store(false, Ordering::SeqCst);
    wait_for("recovery", || health.look().failing.is_none().then_some(()));
    // Whether the failed ones happened is open; asked again, each is there once.
    store.submit((1..=5).map(small));
    assert!(store.answers(5).iter().all(is_stored));
    let mut loaded = counters(&store.ask(load()));
    loaded.sort_unstable();
    assert_eq!(loaded, [1, 2, 3, 4, 5]);
    assert_eq!(health.look().queued, 0);
}

#[test]
fn a_full_disk_fails_what_is_asked_until_there_is_room() {
    // ENOSPC
    recovers_from(Step::Commit, 28, "No space left on device");
}

#[test]
fn a_failed_sync_fails_the_whole_batch_until_one_succeeds() {
    // EIO
    recovers_from(Step::Sync, 5, "Input/output error");
}

#[test]
fn a_stalled_disk_stalls_nobody_else() {
    let (release, released) = mpsc::channel::<()>();
    let (entered, stalls) = mpsc::channel();
    let mut store = Store::new(Trouble::new(move |step| {
        if step == Step::Sync {
            entered.send(()).unwrap();
            // Until the other end is gone.
            let _ = released.recv();
        }
        Ok(())
    }));
    store.submit([small(1)]);
    stalls.recv_timeout(DEADLINE).unwrap();
    let health = store.backend().health();
    store.submit((2..=10).map(small));
    assert_eq!(health.look().queued, 10);
    assert!(health.look().busy_since.is_some(), "a stall can be seen");
    let mut answers = Vec::new();
    store.backend().collect(&mut answers);
    assert_eq!(answers, [], "nothing is answered before it is durable");
    drop(release);
    assert!(store.answers(10).iter().all(is_stored));
    assert_eq!(store.on_disk(), (1..=10).collect::<Vec<_>>());
}

#[test]
fn what_waits_for_a_stalled_disk_is_bounded() {
    let (release, released) = mpsc::channel::<()>();
    let mut store = Store::new(Trouble::new(move |step| {
        if step == Step::Commit {
            let _ = released.recv();
        }
        Ok(())
    }));
    let payload = Bytes::from(vec![0; 1 << 20]);
    store.submit((1..=300).map(|counter| append(counter, payload.clone())));
    let mut answers = Vec::new();
    store.backend().collect(&mut answers);
    for (_, answer) in &answers {
        assert_eq!(*answer, Answer::Failed("too much waits for the disk already".to_owned()));
    }
    assert!((44..60).contains(&answers.len()), "{} were refused", answers.len());
    drop(release);
    let (asked, refused) = (300, u32::try_from(answers.len()).unwrap());
    store.asked = asked - refused;
    assert!(store.answers(asked - refused).iter().all(is_stored));
}

/// The log of a store, to be damaged.
fn log_of(directory: &Path) -> PathBuf {
    directory.join("ahead.log")
}

/// A store that has messages in its log only: two batches of two.
fn logged() -> tempfile::TempDir {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let mut engine = Engine::open(directory.path()).unwrap();
    for counters in [[1, 2], [3, 4]] {
        for counter in counters {
            engine.apply(small(counter)).unwrap();
        }
        engine.sync().unwrap();
    }
    directory
}

fn waiting(directory: &Path) -> Vec<u64> {
    counters(&Engine::open(directory).unwrap().apply(load()).unwrap())
}

#[test]
fn an_interrupted_write_of_the_log_takes_back_its_own_batch_only() {
    let whole = fs::read(log_of(logged().path())).unwrap();
    for cut in [0, 1, whole.len() / 4, whole.len() / 2] {
        let directory = logged();
        let log = fs::OpenOptions::new().write(true).open(log_of(directory.path())).unwrap();
        log.set_len((whole.len() - cut) as u64).unwrap();
        let expected: &[u64] = match cut {
            0 => &[1, 2, 3, 4],
            cut if cut <= whole.len() / 2 => &[1, 2],
            _ => &[],
        };
        assert_eq!(waiting(directory.path()), expected, "{cut} bytes are missing");
    }
}

#[test]
fn a_flipped_bit_of_the_log_is_noticed() {
    let directory = logged();
    let mut bytes = fs::read(log_of(directory.path())).unwrap();
    let middle = bytes.len() * 3 / 4;
    bytes[middle] ^= 1;
    fs::write(log_of(directory.path()), bytes).unwrap();
    assert_eq!(waiting(directory.path()), [1, 2]);
}

#[test]
fn what_an_earlier_generation_of_the_log_says_is_over() {
    let directory = logged();
    let old = fs::read(log_of(directory.path())).unwrap();
    let mut engine = Engine::open(directory.path()).unwrap();
    engine.apply(Op::Remove { key: key(), ids: vec![id(1), id(2), id(3)] }).unwrap();
    engine.sync().unwrap();
    drop(engine);
    assert_eq!(waiting(directory.path()), [4]);
    // As if the file had been left as it was when the database took it over.
    fs::write(log_of(directory.path()), old).unwrap();
    assert_eq!(waiting(directory.path()), [4], "what was removed stays removed");
}

#[test]
fn a_log_that_has_grown_begins_again() {
    let directory = tempfile::tempdir_in(scratch()).unwrap();
    let mut engine = Engine::open(directory.path()).unwrap();
    let payload = Bytes::from(vec![b'x'; 1 << 20]);
    for counter in 1..=100 {
        engine.apply(append(counter, payload.clone())).unwrap();
        if counter > 1 {
            let ids = vec![id(counter - 1)];
            engine.apply(Op::Remove { key: key(), ids }).unwrap();
        }
        engine.sync().unwrap();
    }
    drop(engine);
    let size = fs::metadata(log_of(directory.path())).unwrap().len();
    assert!(size < 40 << 20, "the log has {size} bytes");
    assert_eq!(waiting(directory.path()), [100]);
}
