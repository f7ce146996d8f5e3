//! Many seeds, each twice.

use super::args::Seeds;
use super::{Verdict, pool, say, say_failure};
use std::io;
use std::ops::ControlFlow;
use std::time::Instant;
use steadfast_sim::play;
use steadfast_sim::schedule::Schedule;

pub(super) fn run(range: &Seeds) -> io::Result<Verdict> {
    let began = Instant::now();
    let (mut seeds, mut events, mut failed) = (0_u64, 0_u64, Vec::new());
    pool::each(
        range.seeds.clone(),
        range.jobs,
        |seed| play::twice(&Schedule::draw(seed, range.tier)),
        |seed, outcome| {
            seeds += 1;
            events += outcome.events;
            if let Some(violation) = outcome.violation {
                failed.push((seed, violation));
            }
            if failed.len() < range.failures {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        },
    );
    let secs = began.elapsed().as_secs_f64();
    for (seed, violation) in &failed {
        say_failure(*seed, range.tier, violation);
    }
    say(&format!(
        "{seeds} seeds, each twice, in {secs:.1} s: {:.1} seeds/s, {} events a seed, {} failed",
        seeds as f64 / secs,
        events / seeds.max(1),
        failed.len()
    ));
    Ok(Verdict::of(failed.is_empty()))
}
