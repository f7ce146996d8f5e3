//! A small part of a schedule that fails as well.

use super::args::Source;
use super::{Verdict, replay, replay_command, say};
use std::path::Path;
use std::{fs, io};
use steadfast_sim::direct::Watch;
use steadfast_sim::play;
use steadfast_sim::schedule::Tier;
use steadfast_sim::shrink;

pub(super) fn run(source: &Source, directory: &Path) -> io::Result<Verdict> {
    let schedule = replay::load(source)?;
    let watch = Watch { judged: true, ..Watch::default() };
    let Some(violation) = play::once(&schedule, &watch).violation else {
        say("every promise was kept: there is nothing to shrink");
        return Ok(Verdict::Good);
    };
    say(&format!("{} operations: {violation}", schedule.ops.len()));
    let fails = |part: &_| {
        let found = play::once(part, &watch).violation;
        found.is_some_and(|found| found.oracle == violation.oracle)
    };
    let small = shrink::shrink(&schedule, fails);
    if let Some(violation) = play::once(&small, &watch).violation {
        say(&format!("{} operations: {violation}", small.ops.len()));
    }
    fs::create_dir_all(directory)?;
    let oracle = format!("{:?}", violation.oracle).to_lowercase();
    let tier = match small.tier {
        Tier::Direct => "",
        Tier::Turmoil => "turmoil-",
    };
    let path = directory.join(format!("{tier}{oracle}-{}.json", small.seed));
    fs::write(&path, small.to_json())?;
    say(&format!("kept as {}", path.display()));
    say(&format!("  to see it: {}", replay_command(&path.display().to_string())));
    Ok(Verdict::Bad)
}
