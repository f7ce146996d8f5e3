//! A world of back ends and clients around several gateways, and one kind of trouble each.

use super::fleet::{Fleet, SOON, under_load};
use super::judge::{Order, Totals, judge};
use super::ledger::Outcome;
use super::server::RedisServer;
use super::world::{Habit, NO_DEATH, REMOVING, WINDOW, World};
use crate::support::poll_until;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use redis::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const PUBLISHERS: usize = 4;
/// As in `crash.rs`, and that on each of the gateways between which a client moves.
const MOST_REPEATED: usize = 2 * (2 * WINDOW + REMOVING);
/// Who connects.
const CLIENTS: [(&str, Habit); 12] = [
    ("1001", Habit::Steady),
    (r#"{"uid":"12","FunctionType":4}"#, Habit::Roaming),
    ("1002", Habit::Roaming),
    ("1003", Habit::Mute),
    ("01001", Habit::Steady),
    (r#"{"uid":"12", "FunctionType":4}"#, Habit::Roaming),
    ("plain text, 中文", Habit::Steady),
    ("1004", Habit::Absent),
    ("1006", Habit::Roaming),
    ("10070", Habit::Roaming),
    (r#"{"uid":"12"}"#, Habit::Steady),
    ("1007", Habit::Steady),
];

/// Short windows and timeouts, so that limits are met.
const FLAGS: [&str; 4] =
    ["--log-level=error", "--pong-timeout=1s", "--window-messages=64", "--max-removing=64"];

/// A world under way, and what trouble is made with.
pub(crate) struct Storm<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) rng: ChaCha8Rng,
    world: &'a World,
}

impl Storm<'_> {
    /// Waits until pushes are promised again.
    pub(crate) fn recovers(&self) {
        // Every back end has some under way: of those promised now, many were pushed since.
        let promised = || self.world.ledger.count(Outcome::is_promise);
        let wanted = promised() + PUBLISHERS * 200;
        assert!(poll_until(SOON, || promised() > wanted), "no recovery; {}", self.fleet.output());
    }

    /// Waits until pushes fail.
    pub(crate) fn fails(&self) {
        let failed = || self.world.ledger.count(|it| it == Outcome::Fail);
        let before = failed();
        assert!(poll_until(SOON, || failed() > before), "nothing fails; {}", self.fleet.output());
    }

    /// Lets the load go on for some time.
    pub(crate) fn goes_on(&mut self, millis: std::ops::Range<u64>) {
        under_load(self.rng.random_range(millis));
    }
}

/// Puts gateways on this Redis under load while there is trouble, and judges what came of it.
/// `is_empty` tells whether Redis has no waiting message.
#[allow(clippy::print_stdout, reason = "what a failed test shows")]
pub(crate) fn storm(
    test: &str,
    url: &str,
    flags: &[&str],
    trouble: impl FnOnce(&mut Storm<'_>),
    is_empty: impl FnMut() -> bool,
) -> Totals {
    let seed = seed();
    let replay = format!("SEED={seed} cargo test -p steadfast --test nodes {test} -- --nocapture");
    println!("{replay}");
    let mut fleet = Fleet::start(url, 2, &[&NO_DEATH[..], &FLAGS, flags].concat());
    let world = World::new(&fleet.addresses, seed, &CLIENTS, PUBLISHERS);
    let mut remarks = Vec::new();
    std::thread::scope(|scope| {
        let everybody = world.start(scope, PUBLISHERS);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut storm = Storm { fleet: &mut fleet, rng, world: &world };
        storm.recovers();
        trouble(&mut storm);
        storm.recovers();
        if !world.drain(SOON) {
            remarks.push(format!("nothing arrived for {SOON:?}; {}", fleet.output()));
        } else if !poll_until(SOON, is_empty) {
            remarks.push(format!("Redis does not become empty; {}", fleet.output()));
        }
        drop(everybody);
    });
    let (violations, facts) = world.end();
    let verdict = judge(&facts, MOST_REPEATED, Order::PerPublisher);
    println!("{}", verdict.totals);
    remarks.extend(violations);
    remarks.extend(verdict.findings);
    let shown = remarks.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
    assert!(shown.is_empty(), "{} findings:\n{shown}\nagain: {replay}", remarks.len());
    verdict.totals
}

fn seed() -> u64 {
    let drawn = || {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(since_epoch.expect("the clock is past 1970").subsec_nanos())
    };
    let given = std::env::var("SEED").ok();
    given.map_or_else(drawn, |text| text.parse().expect("SEED is a number"))
}

/// A server that keeps what it has acknowledged.
pub(crate) fn durable() -> RedisServer {
    RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
}

pub(crate) fn is_empty(redis: &RedisServer) -> bool {
    redis.ask(&["ZCARD", "steadfast:{0}:expiry"]) == Value::Int(0)
}

#[test]
fn killed_gateways_lose_nothing() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let kills = |storm: &mut Storm<'_>| {
        for round in 0..8 {
            let node = storm.rng.random_range(0..2);
            storm.fleet.nodes[node].kill();
            // Sometimes for long enough that its lease ends.
            if round % 4 == 3 {
                storm.goes_on(1_100..1_300);
            }
            storm.fleet.restart(node);
            // An instant ago it was ready; it may be killed again before anybody is there.
            storm.goes_on(0..400);
        }
    };
    let totals = storm("killed_gateways", &redis.url(), &[], kills, || is_empty(&redis));
    assert!(totals.ok > 100 && totals.queued > 1_000, "{totals}");
    assert!(totals.unanswered > 0 && totals.duplicates > 0, "no kill hit anything: {totals}");
}

#[test]
fn a_redis_that_is_killed_loses_nothing_it_has_synced() {
    let redis = std::cell::RefCell::new(durable());
    let url = redis.borrow().url();
    let kills = |storm: &mut Storm<'_>| {
        for _ in 0..4 {
            redis.borrow_mut().kill();
            storm.fails();
            redis.borrow_mut().run();
            storm.recovers();
        }
    };
    let totals = storm("a_redis_that_is_killed", &url, &[], kills, || is_empty(&redis.borrow()));
    assert!(totals.ok + totals.queued > 1_000 && totals.failed > 0, "{totals}");
}

#[test]
fn a_redis_that_cuts_sleeps_or_is_full_loses_nothing() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let troubles = |storm: &mut Storm<'_>| {
        for _ in 0..8 {
            let kind = ["normal", "pubsub"][storm.rng.random_range(0..2)];
            redis.ask(&["CLIENT", "KILL", "TYPE", kind]);
            storm.goes_on(10..150);
        }
        redis.ask(&["DEBUG", "SLEEP", "0.7"]);
        storm.recovers();
        redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
        storm.fails();
        redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
        storm.recovers();
        // For longer than the leases last.
        redis.ask(&["DEBUG", "SLEEP", "1.5"]);
        storm.recovers();
    };
    let totals = storm("a_redis_that_cuts", &redis.url(), &[], troubles, || is_empty(&redis));
    assert!(totals.ok + totals.queued > 1_000 && totals.failed > 0, "{totals}");
}

#[test]
fn gateways_restart_one_after_the_other_without_a_loss() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let rolls = |storm: &mut Storm<'_>| {
        for node in [0, 1, 0, 1] {
            storm.fleet.nodes[node].sigterm();
            let ended = storm.fleet.nodes[node].wait(Duration::from_secs(10));
            assert!(ended.is_some_and(|it| it.success()), "{}", storm.fleet.output());
            storm.fleet.restart(node);
            storm.goes_on(100..400);
        }
    };
    let totals = storm("gateways_restart", &redis.url(), &[], rolls, || is_empty(&redis));
    assert_eq!(totals.failed, 0, "{totals}");
}
