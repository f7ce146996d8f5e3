//! The schedules that failed once.

use super::args::Source;
use super::{Verdict, replay, replay_command, say};
use std::path::Path;
use std::{fs, io};
use steadfast_sim::play;

pub(super) fn run(directory: &Path) -> io::Result<Verdict> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut failed = 0;
    for path in &paths {
        let name = path.display().to_string();
        let schedule = replay::load(&Source::File(path.clone()))?;
        if let Some(violation) = play::twice(&schedule).violation {
            failed += 1;
            say(&format!("{name}: {violation}"));
            say(&format!("  to see it: {}", replay_command(&name)));
        }
    }
    say(&format!("{} kept schedules, {failed} failed", paths.len()));
    Ok(Verdict::of(failed == 0))
}
