//! What occurs in many worlds, and what never does.

use super::args::Seeds;
use super::{Verdict, pool, say, say_failure};
use std::io;
use std::ops::ControlFlow;
use steadfast_sim::direct::Watch;
use steadfast_sim::play;
use steadfast_sim::schedule::Schedule;
use steadfast_sim::tally::Tally;

pub(super) fn run(range: &Seeds) -> io::Result<Verdict> {
    let watch = Watch { tallied: true, judged: true, ..Watch::default() };
    let (mut tally, mut failed) = (Tally::default(), false);
    pool::each(
        range.seeds.clone(),
        range.jobs,
        |seed| play::once(&Schedule::draw(seed, range.tier), &watch),
        |seed, outcome| {
            if let Some(violation) = &outcome.violation {
                say_failure(seed, range.tier, violation);
                failed = true;
            }
            tally.add(&outcome.tally);
            ControlFlow::Continue(())
        },
    );
    for (name, count) in tally.all() {
        say(&format!("{count:>12} {name}"));
    }
    let gaps = tally.gaps(range.tier);
    for gap in &gaps {
        say(&format!("census: {gap}"));
    }
    Ok(Verdict::of(gaps.is_empty() && !failed))
}
