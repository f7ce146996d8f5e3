//! What occurs in many worlds, and what never does.

use super::args::Seeds;
use super::{Verdict, pool, say, say_failure};
use std::io;
use std::ops::ControlFlow;
use steadfast_sim::direct::{self, Watch};
use steadfast_sim::schedule::{Schedule, Tier};
use steadfast_sim::tally::Tally;

pub(super) fn run(range: &Seeds) -> io::Result<Verdict> {
    let watch = Watch { tallied: true, judged: true, ..Watch::default() };
    let (mut tally, mut failed) = (Tally::default(), false);
    pool::each(
        range.seeds.clone(),
        range.jobs,
        |seed| direct::play(&Schedule::draw(seed, Tier::Direct), &watch),
        |seed, outcome| {
            if let Some(violation) = &outcome.violation {
                say_failure(seed, violation);
                failed = true;
            }
            tally.add(&outcome.tally);
            ControlFlow::Continue(())
        },
    );
    for (name, count) in tally.all() {
        say(&format!("{count:>12} {name}"));
    }
    let gaps = tally.gaps();
    for gap in &gaps {
        say(&format!("census: {gap}"));
    }
    Ok(Verdict::of(gaps.is_empty() && !failed))
}
