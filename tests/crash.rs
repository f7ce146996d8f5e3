//! Crashes and faults of the real process: nothing that was answered is lost.
//!
//! [`world`] has the back ends and clients, [`ledger`] what they saw, [`judge`] the rules; [`kills`]
//! ends the daemon with SIGKILL at random moments, [`faults`] tries one fault at a time. The seed is
//! printed and can be given:
//! `SEED=7 ROUNDS=1000 cargo test --release -p steadfast --test crash kills -- --nocapture`.

mod support;

#[path = "crash/faults.rs"]
mod faults;
#[path = "crash/judge.rs"]
mod judge;
#[path = "crash/kills.rs"]
mod kills;
#[path = "crash/ledger.rs"]
mod ledger;
#[path = "crash/namespace.rs"]
mod namespace;
#[path = "crash/stall.rs"]
mod stall;
#[path = "crash/world.rs"]
mod world;

use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::daemon::{Daemon, Process, own_addresses};

/// Kill rounds of a usual run.
const ROUNDS: u32 = 100;

/// A number from the environment.
fn number<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = std::env::var(name).ok()?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{name}={text} is not a number")))
}

fn seed() -> u64 {
    let drawn = || {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(since_epoch.expect("the clock is past 1970").subsec_nanos())
    };
    number("SEED").unwrap_or_else(drawn)
}

#[test]
fn nothing_answered_is_lost_by_kills() {
    let (seed, rounds) = (seed(), number("ROUNDS").unwrap_or(ROUNDS));
    let replay = format!(
        "SEED={seed} ROUNDS={rounds} cargo test -p steadfast --test crash kills -- --nocapture"
    );
    println!("{replay}");
    // A kill is mostly waited for: two worlds take the time of one.
    let halves = [(seed, rounds.div_ceil(2)), (seed.wrapping_add(1), rounds / 2)];
    let outcomes = thread::scope(|scope| {
        let worlds = halves.map(|(seed, rounds)| scope.spawn(move || world_of_kills(seed, rounds)));
        worlds.map(|world| world.join().expect("its findings are not panics"))
    });
    let mut cut_short = 0;
    for (kills::Outcome { findings, totals, starts }, (_, rounds)) in outcomes.iter().zip(halves) {
        println!("{totals}\n{starts:?}");
        let shown = findings.iter().take(20).map(String::as_str).collect::<Vec<_>>().join("\n");
        assert!(shown.is_empty(), "{} findings:\n{shown}\nagain: {replay}", findings.len());
        // Whether there was anything to find.
        assert_eq!(totals.failed, 0, "a healthy store fails nothing: {totals}");
        for (what, count) in [
            ("ok", totals.ok),
            ("queued", totals.queued),
            ("unanswered", totals.unanswered),
            ("repeated", totals.duplicates),
        ] {
            assert!(count >= rounds as usize, "hardly anything was {what}: {totals}");
        }
        cut_short += starts.cut_short;
    }
    assert!(cut_short > 0 || rounds < ROUNDS, "no start was cut short");
}

/// Kills with a store of their own.
fn world_of_kills(seed: u64, rounds: u32) -> kills::Outcome {
    let data = tempfile::tempdir().expect("a temporary directory");
    let data = data.path().to_str().expect("a path in UTF-8");
    let store = ["--data", data];
    let (addresses, patience) = (own_addresses(), Duration::from_secs(20));
    kills::run(&kills::Plan { seed, rounds, store: &store, addresses, patience })
}

/// The database consists of several files; whatever of them is there, the next start goes well.
#[test]
fn a_first_start_may_be_killed_at_any_moment() {
    for millis in (0..120).step_by(6) {
        let data = tempfile::tempdir().expect("a temporary directory");
        let store = ["--data", data.path().to_str().expect("a path in UTF-8")];
        let arguments = ["serve", "--ws", "127.0.0.1:0", "--push", "127.0.0.1:0"];
        let process = Process::spawn(&[&arguments[..], &store].concat());
        support::pause(Duration::from_millis(millis));
        drop(process);
        Daemon::start(&store).kill();
    }
}

#[test]
fn kills_of_a_volatile_store_are_found_to_lose() {
    let (addresses, patience) = (own_addresses(), Duration::from_secs(5));
    let store = ["--store=memory"];
    let plan = kills::Plan { seed: 1, rounds: 5, store: &store, addresses, patience };
    let outcome = kills::run(&plan);
    println!("{}", outcome.totals);
    assert!(outcome.totals.lost > 0, "{}", outcome.totals);
}
