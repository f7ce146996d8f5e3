//! One world again, as closely as wanted.

use super::args::{Replay, Source};
use super::{Verdict, say};
use std::{fs, io};
use steadfast_core::id::Key;
use steadfast_sim::direct::Watch;
use steadfast_sim::play;
use steadfast_sim::sabotage::Sabotage;
use steadfast_sim::schedule::Schedule;

/// The schedule of a seed or a file.
pub(super) fn load(source: &Source) -> io::Result<Schedule> {
    match source {
        Source::Seed(seed, tier) => Ok(Schedule::draw(*seed, *tier)),
        Source::File(path) => {
            let told = |error: &dyn std::fmt::Display| {
                io::Error::other(format!("{}: {error}", path.display()))
            };
            let text = fs::read_to_string(path).map_err(|error| told(&error))?;
            Schedule::from_json(&text).map_err(|error| told(&error))
        }
    }
}

pub(super) fn run(replay: &Replay) -> io::Result<Verdict> {
    let schedule = load(&replay.source)?;
    if replay.json {
        say(schedule.to_json().trim_end());
    }
    let sabotage = replay.sabotage.as_deref().map(named).transpose()?;
    let traced = replay.trace.then(|| replay.key.as_deref().map(|key| Key::new(key.to_owned())));
    let watch = Watch { judged: true, tallied: false, traced, sabotage };
    let outcome = play::once(&schedule, &watch);
    if replay.trace {
        say(outcome.trace.trim_end());
    }
    say(&format!(
        "{} families, {} operations, {} events, trace hash {:016x}",
        schedule.families.len(),
        schedule.ops.len(),
        outcome.events,
        outcome.hash
    ));
    match &outcome.violation {
        Some(violation) => say(&violation.to_string()),
        None => say("every promise was kept"),
    }
    Ok(Verdict::of(outcome.violation.is_none()))
}

/// The sabotage of this name.
pub(super) fn named(name: &str) -> io::Result<Sabotage> {
    let mut all = Sabotage::ALL.iter().chain(Sabotage::SHARED);
    let found = all.find(|(sabotage, ..)| sabotage.name() == name);
    found.map(|(sabotage, ..)| *sabotage).ok_or_else(|| {
        let all = Sabotage::ALL.iter().chain(Sabotage::SHARED);
        let names: Vec<_> = all.map(|(sabotage, ..)| sabotage.name()).collect();
        io::Error::other(format!("there is no sabotage {name}: it is one of {}", names.join(", ")))
    })
}
