//! The Direct tier under `cargo test`: some worlds with debug assertions, the schedules that failed
//! once, and that a seed decides everything, in any process.
//!
//! `steadfast-sim sweep` runs many more.

use std::env;
use std::fs;
use std::process::Command;
use steadfast_sim::direct::{self, Watch};
use steadfast_sim::play;
use steadfast_sim::sabotage::Sabotage;
use steadfast_sim::schedule::{Schedule, Tier};

/// How many worlds are run here.
const WORLDS: u64 = 150;

#[test]
fn promises_hold_in_random_worlds() {
    for seed in 0..WORLDS {
        let outcome = direct::play_twice(&Schedule::draw(seed, Tier::Direct));
        let replay = format!("cargo run -p steadfast-sim --profile sim -- replay {seed} --trace");
        assert_eq!(outcome.violation, None, "seed {seed}; to see it: {replay}");
    }
}

#[test]
fn schedules_that_failed_once_pass() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions");
    let mut kept = 0;
    for entry in fs::read_dir(directory).expect("the directory is there") {
        let path = entry.expect("it can be read").path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = fs::read_to_string(&path).expect("it can be read");
            let schedule = Schedule::from_json(&text).expect("it is a schedule");
            let outcome = play::twice(&schedule);
            assert_eq!(outcome.violation, None, "{}", path.display());
            kept += 1;
        }
    }
    assert!(kept > 0, "{directory} has no schedules");
}

#[test]
fn a_broken_gateway_is_noticed() {
    let sabotage = Some(Sabotage::ConfirmOnWrite);
    let watch = Watch { judged: true, sabotage, ..Watch::default() };
    let mut caught = (0..20).map(|seed| Schedule::draw(seed, Tier::Direct));
    assert!(caught.any(|schedule| direct::play(&schedule, &watch).violation.is_some()));
}

/// Set where this program runs as its own child, which prints hashes and compares nothing.
const CHILD: &str = "STEADFAST_TRACE_HASHES";

/// The same worlds give the same traces in every process: nothing depends on addresses, on the
/// seeds of hash maps or on a clock.
#[test]
fn a_seed_decides_everything() {
    let hash = |seed| direct::play(&Schedule::draw(seed, Tier::Direct), &Watch::default()).hash;
    let hashes: Vec<_> = (0..8).map(hash).collect();
    let shown = format!("trace hashes {hashes:016x?}");
    if env::var_os(CHILD).is_some() {
        eprintln!("{shown}");
        return;
    }
    let program = env::current_exe().expect("this program has a path");
    let child = Command::new(&program)
        .args(["--exact", "a_seed_decides_everything", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("this program runs");
    let printed = String::from_utf8(child.stderr).expect("hashes are text");
    assert!(printed.contains(&shown), "here: {shown}\nin another process: {printed}");
}
