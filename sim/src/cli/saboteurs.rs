//! Every known way to be broken must be noticed, and a gateway that is not broken must not be.

use super::{Verdict, pool, replay, say};
use std::io;
use std::ops::ControlFlow;
use steadfast_sim::direct::{self, Watch};
use steadfast_sim::oracle::Oracle;
use steadfast_sim::play;
use steadfast_sim::sabotage::Sabotage;
use steadfast_sim::schedule::{Schedule, Tier};

/// This seed must fail when the gateway is broken as bluntly as can be: a judge that lets it pass
/// judges nothing.
const CANARY: u64 = 4;

pub(super) fn run(jobs: usize, only: Option<&str>) -> io::Result<Verdict> {
    let only = only.map(replay::named).transpose()?;
    let mut good = canary_fails();
    let chosen = |sabotage| only.is_none_or(|only| only == sabotage);
    for (tier, list) in [(Tier::Direct, Sabotage::ALL), (Tier::Turmoil, Sabotage::SHARED)] {
        for (sabotage, oracles, within) in list {
            if chosen(*sabotage) {
                good &= catch(tier, *sabotage, oracles, *within, jobs);
            }
        }
    }
    Ok(Verdict::of(good))
}

fn canary_fails() -> bool {
    let watch =
        Watch { judged: true, sabotage: Some(Sabotage::ConfirmOnWrite), ..Watch::default() };
    let schedule = Schedule::draw(CANARY, Tier::Direct);
    let caught = direct::play(&schedule, &watch).violation.is_some();
    let kept = direct::play(&schedule, &Watch { sabotage: None, ..watch }).violation.is_none();
    say(&format!(
        "canary seed {CANARY}: {}",
        if caught && kept { "fails" } else { "DOES NOT FAIL" }
    ));
    caught && kept
}

/// The first seed in which one of the oracles notices.
fn catch(tier: Tier, sabotage: Sabotage, oracles: &[Oracle], within: u64, jobs: usize) -> bool {
    let watch = Watch { judged: true, sabotage: Some(sabotage), ..Watch::default() };
    let (mut first, mut others) = (None, Vec::new());
    pool::each(
        0..within,
        jobs,
        |seed| {
            let schedule = Schedule::draw(seed, tier);
            // What breaks only gateways that share a store is looked for where some do.
            let concerned = tier == Tier::Direct || schedule.world.lease.is_some();
            concerned.then(|| play::once(&schedule, &watch).violation).flatten()
        },
        |seed, violation| {
            let Some(violation) = violation else { return ControlFlow::Continue(()) };
            if !oracles.contains(&violation.oracle) {
                others.push((seed, violation));
                return ControlFlow::Continue(());
            }
            first = Some((seed, violation));
            ControlFlow::Break(())
        },
    );
    let name = sabotage.name();
    match (&first, others.first()) {
        (Some((seed, violation)), _) => {
            say(&format!("{name}: caught with seed {seed} of {within}: {violation}"));
        }
        (None, Some((seed, violation))) => {
            say(&format!("{name}: NOT CAUGHT by {oracles:?}; but with seed {seed}: {violation}"));
        }
        (None, None) => say(&format!("{name}: NOT CAUGHT within {within} seeds")),
    }
    first.is_some()
}
