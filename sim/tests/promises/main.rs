//! Random worlds: whatever clients, back ends, the store and the clock do, the promises hold.
//!
//! Each world is made from a seed. A failure names it; `SEED=<n> cargo test -p steadfast-sim --test
//! promises` runs that world alone and prints its trace.

mod judge;
mod play;

use play::Play;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::env;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process::Command;
use steadfast_core::gateway::Gateway;
use steadfast_sim::world::{Step, World};

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

/// A gateway that is written down and read back between any two events goes on as if nothing had
/// been.
#[test]
fn a_gateway_that_is_read_back_goes_on_the_same() {
    let seed: Option<u64> = env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    for seed in seed.map_or(0..30, |seed| seed..seed + 1) {
        let mut play = Play::new(seed);
        play.run();
        let mut gateway = World::gateway(play.config);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut steps = play.world.history.into_iter().peekable();
        while let Some((now, step)) = steps.next() {
            let Step::Told(event) = step else { panic!("each order follows an event") };
            if rng.random_bool(0.1) {
                let written = postcard::to_stdvec(&gateway).expect("a gateway can be written");
                let read: Gateway = postcard::from_bytes(&written).expect("and read");
                assert_eq!(postcard::to_stdvec(&read).as_ref(), Ok(&written), "seed {seed}");
                assert_eq!(read.next_deadline(), gateway.next_deadline(), "seed {seed}");
                gateway = read;
                gateway.check();
            }
            let mut commands = Vec::new();
            gateway.handle(now, event, &mut commands);
            for command in commands {
                let expected = steps.next().map(|(_, step)| step);
                assert_eq!(Some(Step::Gave(command)), expected, "seed {seed} at {now}");
            }
            let more = steps.peek().filter(|(_, step)| matches!(step, Step::Gave(_)));
            assert_eq!(more, None, "seed {seed} at {now}: an order is missing");
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
