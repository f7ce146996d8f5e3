//! Real Redis against the reference model: the same operations, the same answers.
//!
//! A failure prints the shrunk operations; `PROPTEST_RNG_SEED` (printed with it) replays it.

use crate::server::{PATIENCE, RedisServer};
use crate::store::{Store, options};
use proptest::collection::vec;
use proptest::prop_assert_eq;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use std::cell::RefCell;
use steadfast_core::store::arbitrary::{inventory, ops, time_of};
use steadfast_core::store::judge::Judge;
use steadfast_core::store::{Append, ClaimOp, DeviceOp, Notice, Op, QueueOp};
use steadfast_core::time::Time;
use steadfast_shell::codec::redis::decode::notice;
use steadfast_shell::codec::redis::encode::channel;

/// Operations that name what an earlier answer said have to wait for it.
fn depends_on_answers(op: &Op) -> bool {
    match op {
        Op::Append(Append { epoch, .. }) | Op::Retry { epoch, .. } | Op::Bury { epoch, .. } => {
            *epoch != 0
        }
        Op::Claim(ClaimOp::Release { .. }) | Op::Queue(QueueOp::Messages { .. }) => true,
        Op::Load { .. }
        | Op::Remove { .. }
        | Op::Expire { .. }
        | Op::Claim(ClaimOp::Renew { .. } | ClaimOp::Claim { .. })
        | Op::Dead(_)
        | Op::Queue(QueueOp::Keys { .. } | QueueOp::Purge { .. } | QueueOp::Totals)
        | Op::Find { .. }
        | Op::Session(_)
        | Op::Device(_) => false,
    }
}

/// Hears what all nodes are told.
struct Ear {
    subscriber: redis::Connection,
    heard: u64,
}

impl Ear {
    fn new(server: &RedisServer) -> Self {
        let client = redis::Client::open(server.url()).expect("a server's URL");
        let mut subscriber = client.get_connection().expect("a server that runs");
        subscriber.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        subscriber
            .send_packed_command(&redis::cmd("PSUBSCRIBE").arg("test:node:*").get_packed_command())
            .expect("a subscription");
        subscriber.recv_response().expect("a subscription");
        Self { subscriber, heard: 0 }
    }

    /// What was told until now: the channel and the notice.
    fn hear(&mut self, server: &RedisServer) -> Vec<(Vec<u8>, Notice)> {
        self.heard += 1;
        let mark = format!("end {}", self.heard);
        server.ask(&["PUBLISH", "test:node:end", &mark]);
        let mut notices = Vec::new();
        loop {
            let message = self.subscriber.recv_response().expect("a message");
            let (_, _, channel, payload): (String, String, Vec<u8>, Vec<u8>) =
                redis::from_redis_value(message).expect("a message");
            if payload == mark.as_bytes() {
                return notices;
            }
            notices.push((channel, notice(&payload).expect("a notice")));
        }
    }
}

/// Asks the stores in pipelines of these lengths, in turn, and judges the answers.
fn compare(
    stores: &mut [Store],
    operations: &[Op],
    lengths: &[usize],
) -> Result<Judge, TestCaseError> {
    let mut judge = Judge::new();
    let mut left = operations;
    let mut turn = 0;
    while !left.is_empty() {
        let most = lengths[turn % lengths.len()].min(left.len());
        let dependent = left[1..most].iter().position(depends_on_answers);
        let (now, later) = left.split_at(dependent.map_or(most, |at| at + 1));
        let store = turn % stores.len();
        let answers = stores[store].ask_all(now.iter().map(|op| judge.translate(op)));
        for (op, answer) in now.iter().zip(answers) {
            judge.verdict(op, &answer).map_err(TestCaseError::fail)?;
        }
        left = later;
        turn += 1;
    }
    Ok(judge)
}

/// What a gateway asks of Redis: the device log is drained beside it, and has no limit of its own.
fn in_redis(op: Op) -> Option<Op> {
    let Op::Device(op) = op else { return Some(op) };
    Some(Op::Device(match op {
        DeviceOp::Read { .. } | DeviceOp::Drop { .. } => return None,
        DeviceOp::Log { device, entry, limit: _ } => {
            DeviceOp::Log { device, entry, limit: u64::MAX }
        }
        DeviceOp::Link { .. } | DeviceOp::Unlink { .. } => op,
    }))
}

fn check(gateways: usize, cases: u32, shrinking: u32) {
    let server = RedisServer::start_with(&["--appendonly", "no"]);
    let stores: Vec<_> = (0..gateways).map(|_| Store::open(&options(&server))).collect();
    let stores = RefCell::new((stores, Ear::new(&server)));
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand_seed);
    let config = Config {
        cases,
        max_shrink_iters: shrinking,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    };
    let strategy = (ops(1..160), vec(1..24_usize, 1..8));
    let result = TestRunner::new(config).run(&strategy, |(mut operations, lengths)| {
        let now = operations.iter().filter_map(time_of).max().unwrap_or(Time::EPOCH);
        operations.extend(inventory(now));
        let operations: Vec<_> = operations.into_iter().filter_map(in_redis).collect();
        server.ask(&["FLUSHDB"]);
        let (stores, ear) = &mut *stores.borrow_mut();
        let mut judge = compare(stores, &operations, &lengths)?;
        let expect = judge.take_notices().into_iter();
        let expect: Vec<_> =
            expect.map(|(node, notice)| (channel("test", &node), notice)).collect();
        prop_assert_eq!(ear.hear(&server), expect);
        Ok(())
    });
    if let Err(failure) = result {
        panic!(
            "{failure}\nreplay: PROPTEST_RNG_SEED={seed} cargo test -p steadfast-shell --test \
             redis_store equivalence"
        );
    }
}

/// A comparison that cannot fail would prove nothing.
#[test]
fn what_is_lost_behind_the_stores_back_is_noticed() {
    let server = RedisServer::start_with(&["--appendonly", "no"]);
    let mut stores = [Store::open(&options(&server))];
    for key in [
        "messages",
        "histories",
        "names",
        "expiry",
        "keys",
        "deaths",
        "letters",
        "leases",
        "claims",
    ] {
        let seed = RngSeed::Fixed(7);
        let config = Config { rng_seed: seed, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new(config);
        let noticed = (0..200).any(|_| {
            let operations = ops(100..160).new_tree(&mut runner).unwrap().current();
            server.ask(&["FLUSHDB"]);
            let mut judge = Judge::new();
            operations.chunks(10).any(|chunk| {
                let mut wrong = false;
                for op in chunk {
                    let answer = stores[0].ask(judge.translate(op));
                    wrong |= judge.verdict(op, &answer).is_err();
                }
                server.ask(&["DEL", &format!("test:{{0}}:{key}")]);
                wrong
            })
        });
        assert!(noticed, "{key} can be lost without anybody noticing");
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

#[test]
fn one_gateway_is_answered_as_the_model_answers() {
    check(1, 700, 2_000);
}

#[test]
fn two_gateways_in_turn_are_answered_as_the_model_answers() {
    check(2, 300, 2_000);
}
