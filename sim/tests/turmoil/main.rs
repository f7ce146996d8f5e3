//! Worlds with real bytes: random ones that judge the promises, and stories for people.
//!
//! `SEED=<n> cargo test -p steadfast-sim --test turmoil promises -- --nocapture` runs the world of one
//! seed alone and prints its timeline.

mod stories;
mod story;

use std::env;
use std::process::Command;
use steadfast_sim::schedule::{Schedule, Tier};
use steadfast_sim::turmoil::{self, Keep, Outcome, table};

/// How many random worlds one run makes; `SEEDS` overrides it.
const WORLDS: u64 = 8;

fn run(seed: u64, keep: Keep) -> Outcome {
    turmoil::run(&Schedule::draw(seed, Tier::Turmoil), keep)
}

#[test]
fn promises_hold_on_real_bytes() {
    if let Ok(seed) = env::var("SEED") {
        let outcome = run(seed.parse().expect("a number"), Keep::Lines);
        eprintln!("{}", table(&outcome.lines));
        eprintln!("{:?}\n{:?}", outcome.faults, outcome.census);
        return assert_eq!(outcome.failure, None);
    }
    let worlds = env::var("SEEDS").map_or(WORLDS, |seeds| seeds.parse().expect("a number"));
    let mut failures = Vec::new();
    for seed in 0..worlds {
        let first = run(seed, Keep::Hash);
        let differs = first.failure.is_none() && run(seed, Keep::Hash).hash != first.hash;
        if differs || first.failure.is_some() {
            eprintln!("seed {seed}: {:?}", first.failure);
            eprintln!(
                "  SEED={seed} cargo test -p steadfast-sim --test turmoil promises -- --nocapture"
            );
            failures.push(seed);
        }
    }
    assert!(failures.is_empty(), "of {worlds} worlds, these failed or differed: {failures:?}");
}

/// Set where this program runs as its own child, which prints hashes and compares nothing.
const CHILD: &str = "STEADFAST_TURMOIL_HASHES";

/// The same worlds happen in every process: nothing depends on addresses, on the seeds of hash maps
/// or on a clock.
#[test]
fn a_seed_decides_every_byte() {
    let hashes: Vec<_> = (0..3).map(|seed| run(seed, Keep::Hash).hash).collect();
    let shown = format!("hashes {hashes:016x?}");
    if env::var_os(CHILD).is_some() {
        eprintln!("{shown}");
        return;
    }
    let program = env::current_exe().expect("this program has a path");
    let child = Command::new(&program)
        .args(["--exact", "a_seed_decides_every_byte", "--nocapture"])
        .env(CHILD, "1")
        .output()
        .expect("this program runs");
    let printed = String::from_utf8(child.stderr).expect("hashes are text");
    assert!(printed.contains(&shown), "here: {shown}\nin another process: {printed}");
}
