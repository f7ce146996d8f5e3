//! Random worlds: whatever clients, back ends, the store and the clock do, the promises hold.
//!
//! Each world is made from a seed. A failure names it; `SEED=<n> cargo test -p steadfast-sim --test
//! promises` runs that world alone and prints its trace.

mod judge;
mod play;

use play::Play;
use std::env;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;

/// How many worlds one run of the test makes; `SEEDS` overrides it.
const WORLDS: u64 = 400;

#[test]
fn promises_hold_in_random_worlds() {
    let one: Option<u64> = env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    let worlds = env::var("SEEDS").map_or(WORLDS, |seeds| seeds.parse().expect("a number"));
    let seeds = one.map_or(0..worlds, |seed| seed..seed + 1);
    for seed in seeds {
        let mut play = Play::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| play.run()));
        if one.is_some() {
            eprintln!("{}", play.world.trace.text());
        }
        if let Err(panic) = result {
            eprintln!("seed {seed} failed; to see it alone:");
            eprintln!("  SEED={seed} cargo test -p steadfast-sim --test promises -- --nocapture");
            resume_unwind(panic);
        }
    }
}

/// Set where this program runs as its own child, which prints hashes and compares nothing.
const CHILD: &str = "STEADFAST_TRACE_HASHES";

/// The same worlds give the same traces in every process: nothing depends on addresses, on the
/// seeds of hash maps or on a clock.
#[test]
fn a_seed_decides_everything() {
    let hashes: Vec<_> = (0..8).map(trace_hash).collect();
    let shown = format!("trace hashes {hashes:016x?}");
    if env::var_os(CHILD).is_some() {
        eprintln!("{shown}");
        return;
    }
    let program = env::current_exe().expect("this program has a path");
    for _ in 0..2 {
        let child = Command::new(&program)
            .args(["--exact", "a_seed_decides_everything", "--nocapture"])
            .env(CHILD, "1")
            .output()
            .expect("this program runs");
        let printed = String::from_utf8(child.stderr).expect("hashes are text");
        assert!(printed.contains(&shown), "here: {shown}\nin another process: {printed}");
    }
}

fn trace_hash(seed: u64) -> u64 {
    let mut play = Play::new(seed);
    play.run();
    let mut hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
    play.world.trace.text().hash(&mut hasher);
    hasher.finish()
}
