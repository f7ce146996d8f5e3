//! The store of one gateway, asked from a test.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use crate::server::{PATIENCE, RedisServer};
use bytes::Bytes;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use steadfast_core::id::{Key, MessageId, OpId};
use steadfast_core::record::Record;
use steadfast_core::store::{Answer, Append, Appended, Op, Promise};
use steadfast_core::time::Time;
use steadfast_shell::codec::redis::scripts::Clock;
use steadfast_shell::journal::{Journal, Trouble};
use steadfast_shell::store::Backend as _;
use steadfast_shell::store::redis::{Options, Redis};

/// A store, and what it told.
pub(crate) struct Store {
    pub(crate) redis: Redis,
    pub(crate) told: Told,
    asked: u32,
}

/// What was told of troubles, one line each.
#[derive(Clone, Default)]
pub(crate) struct Told(Arc<Mutex<Vec<String>>>);

impl Journal for Told {
    fn record(&mut self, _now: Time, _record: Record) {}

    fn trouble(&mut self, _now: Time, trouble: Trouble) {
        let line = match trouble {
            Trouble::AcceptFailed { .. } | Trouble::RecordingStopped { .. } => {
                unreachable!("a store neither accepts nor records")
            }
            Trouble::StoreFailing { why } => format!("failing: {why}"),
            Trouble::StoreWorks { what } => format!("works: {what}"),
            Trouble::StoreDoubtful { why } => format!("doubtful: {why}"),
        };
        self.0.lock().unwrap().push(line);
    }
}

impl Told {
    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// How a test uses a server.
pub(crate) fn options(server: &RedisServer) -> Options {
    Options {
        url: server.url(),
        prefix: "test".to_owned(),
        device_url: None,
        wait_replicas: 0,
        timeout: PATIENCE,
        node: "test".to_owned(),
        clock: Clock::Operations,
    }
}

impl Store {
    pub(crate) fn open(options: &Options) -> Self {
        let told = Told::default();
        let journal = || -> Box<dyn Journal> { Box::new(told.clone()) };
        let redis = Redis::open(options, journal, || (7, 7)).unwrap();
        Self { redis, told, asked: 0 }
    }

    /// A store on this server that gives up waiting early.
    pub(crate) fn impatient(server: &RedisServer) -> Self {
        Self::open(&Options { timeout: Duration::from_millis(300), ..options(server) })
    }

    /// Asks for all of it at once and returns the answers in order.
    pub(crate) fn ask_all(&mut self, ops: impl IntoIterator<Item = Op>) -> Vec<Answer> {
        let first = self.submit(ops);
        self.answers(first)
    }

    pub(crate) fn ask(&mut self, op: Op) -> Answer {
        self.ask_all([op]).remove(0)
    }

    /// Asks for all of it at once; returns the number of the first.
    pub(crate) fn submit(&mut self, ops: impl IntoIterator<Item = Op>) -> u32 {
        let first = self.asked;
        for op in ops {
            self.redis.submit(OpId { slot: self.asked, generation: 0 }, op);
            self.asked += 1;
        }
        self.redis.hand_over();
        first
    }

    /// The answers to everything asked since the operation of this number, in the order of asking.
    pub(crate) fn answers(&mut self, first: u32) -> Vec<Answer> {
        let count = (self.asked - first) as usize;
        let mut answers = Vec::new();
        let until = Instant::now() + PATIENCE;
        loop {
            self.redis.collect(&mut answers);
            if answers.len() >= count {
                break;
            }
            assert!(Instant::now() < until, "{} of {count} operations are answered", answers.len());
            std::thread::yield_now();
        }
        answers.sort_by_key(|(op, _)| op.slot);
        let slots: Vec<_> = answers.iter().map(|(op, _)| op.slot).collect();
        assert_eq!(slots, (first..self.asked).collect::<Vec<_>>(), "each is answered once");
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    /// Asks until it is carried out.
    pub(crate) fn insist(&mut self, op: &Op) -> Answer {
        let until = Instant::now() + PATIENCE;
        loop {
            let answer = self.ask(op.clone());
            let Answer::Failed(why) = answer else { return answer };
            assert!(Instant::now() < until, "still failing: {why}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks, and returns why it failed.
    pub(crate) fn failure(&mut self, op: Op) -> String {
        let answer = self.ask(op);
        let Answer::Failed(why) = answer else { panic!("it did not fail: {answer:?}") };
        why
    }

    /// Why operations fail, as those who watch it see it.
    pub(crate) fn failing(&self) -> Option<String> {
        self.redis.health().look().failing.map(|it| it.why)
    }
}

pub(crate) fn id(counter: u64) -> MessageId {
    MessageId { incarnation: 1, counter }
}

pub(crate) fn append_to(key: &'static str, counter: u64, payload: Bytes) -> Op {
    Op::Append(Append {
        key: Key::new(key),
        id: id(counter),
        payload,
        accepted_at: Time::from_micros(1_000),
        expires_at: Time::from_micros(2_000),
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 1_000_000,
        window_end: None,
        spare: 0,
        epoch: 0,
    })
}

pub(crate) fn append(counter: u64) -> Op {
    append_to("k", counter, Bytes::from_static(b"payload"))
}

pub(crate) fn load(key: &'static str) -> Op {
    Op::Load { key: Key::new(key), max_messages: u32::MAX, max_bytes: u64::MAX }
}

pub(crate) fn remove(counters: impl IntoIterator<Item = u64>) -> Op {
    Op::Remove { key: Key::new("k"), ids: counters.into_iter().map(id).collect() }
}

pub(crate) fn is_stored(answer: &Answer) -> bool {
    matches!(answer, Answer::Appended(Appended::Stored { .. }))
}

/// Whose messages a load has found.
pub(crate) fn counters(answer: &Answer) -> Vec<u64> {
    let Answer::Loaded(loaded) = answer else { panic!("not loaded: {answer:?}") };
    loaded.messages.iter().map(|message| message.id.counter).collect()
}
