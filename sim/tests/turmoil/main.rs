//! Worlds with real bytes: random ones that judge the promises, and stories for people.
//!
//! `steadfast-sim sweep --tier turmoil` runs many more of the former.

mod shared;
mod stories;
mod story;

use std::env;
use std::process::Command;
use steadfast_sim::schedule::{Schedule, Tier};
use steadfast_sim::turmoil::{self, Keep};

/// How many random worlds one run makes.
const WORLDS: u64 = 4;

#[test]
fn promises_hold_on_real_bytes() {
    for seed in 0..WORLDS {
        let outcome = turmoil::play_twice(&Schedule::draw(seed, Tier::Turmoil));
        let replay = format!(
            "cargo run -p steadfast-sim --profile sim -- replay {seed} --tier turmoil --trace"
        );
        assert_eq!(outcome.violation, None, "seed {seed}; to see it: {replay}");
    }
}

/// Of worlds without faults every client that binds is vouched for: a judge that is told of no sound
/// connection could not see one that is closed wrongly.
#[test]
fn the_judges_know_who_is_well() {
    let clean = (0..).map(|seed| Schedule::draw(seed, Tier::Turmoil)).find(Schedule::is_clean);
    let clean = clean.expect("a quarter of all worlds are");
    let outcome = turmoil::run(&clean, Keep::Hash, true);
    assert_eq!(outcome.violation, None);
    let clients = clean.world.clients.len() as u64;
    assert!(outcome.vouched >= clients, "{} of {clients} clients", outcome.vouched);
}

/// Set where this program runs as its own child, which prints hashes and compares nothing.
const CHILD: &str = "STEADFAST_TURMOIL_HASHES";

/// The same worlds happen in every process: nothing depends on addresses, on the seeds of hash maps
/// or on a clock.
#[test]
fn a_seed_decides_every_byte() {
    let hash = |seed| {
        let schedule = Schedule::draw(seed, Tier::Turmoil);
        turmoil::run(&schedule, Keep::Hash, false).hash
    };
    let hashes: Vec<_> = (0..3).map(hash).collect();
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
