//! Links and a gateway in random worlds: each message exactly once and in order, each op once, and
//! sessions that are resumed, whatever connections, the store, pages and the gateway do.
//!
//! Each world is made from a seed. `SEED=<n> cargo test -p steadfast-sim --test links` runs that world
//! alone and prints its trace; `SEEDS=<n>` runs so many.

mod world;

use std::collections::BTreeMap;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use world::World;

/// How many worlds one run of the test makes; `SEEDS` overrides it.
const WORLDS: u64 = 60;

/// What has to occur in some world, or nothing was tried.
const CENSUS: &[&str] = &[
    "accepted",
    "connection broken",
    "delivered",
    "gateway restarted",
    "half open",
    "message dropped as seen",
    "op confirmed",
    "open failed",
    "page reloaded",
    "resumed",
    "store failed",
    "written again",
    "[ack timeout]",
    "[session]",
    "[op]",
    "[takeover]",
    "close 4007",
];

#[test]
fn links_have_everything_once() {
    let one: Option<u64> = env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    let worlds = env::var("SEEDS").map_or(WORLDS, |seeds| seeds.parse().expect("a number"));
    let mut census = BTreeMap::new();
    for seed in one.map_or(0..worlds, |seed| seed..seed + 1) {
        let mut world = World::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| world.run()));
        if one.is_some() {
            eprintln!("{}", world.trace());
        }
        if let Err(panic) = result {
            eprintln!("seed {seed} failed; to see it alone:");
            eprintln!("  SEED={seed} cargo test -p steadfast-sim --test links -- --nocapture");
            resume_unwind(panic);
        }
        for (name, count) in world.census() {
            *census.entry(*name).or_insert(0) += count;
        }
    }
    if one.is_none() && worlds >= WORLDS {
        for name in CENSUS {
            assert!(census.contains_key(name), "{name} never occurred: {census:?}");
        }
    }
}

#[test]
fn a_seed_decides_everything() {
    let play = || {
        let mut world = World::new(7);
        world.run();
        world.trace().to_owned()
    };
    assert_eq!(play(), play());
}
