//! The commands: each prints what it found and says by its exit code whether all is well.

mod args;
mod census;
mod pool;
mod regressions;
mod replay;
mod saboteurs;
mod shrink;
mod storm;
mod sweep;

use args::Chosen;
use std::io::{self, Write};
use std::process::ExitCode;
use steadfast_sim::direct;
use steadfast_sim::oracle::Violation;
use steadfast_sim::schedule::Tier;

/// Runs the command that was asked for.
pub(crate) fn run() -> ExitCode {
    direct::keep_panics_quiet();
    let result = match args::parse() {
        Chosen::Sweep(range) => sweep::run(&range),
        Chosen::Replay(replay) => replay::run(&replay),
        Chosen::Shrink { source, directory } => shrink::run(&source, &directory),
        Chosen::Census(range) => census::run(&range),
        Chosen::Saboteurs { jobs, only } => saboteurs::run(jobs, only.as_deref()),
        Chosen::Regressions { directory } => regressions::run(&directory),
        Chosen::Storm(matches) => storm::run(&matches).map(|()| Verdict::Good),
    };
    match result {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
}

impl Verdict {
    fn of(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// One line for whoever reads.
fn say(text: &str) {
    // Nobody reads any more when this fails.
    let _ = writeln!(io::stdout(), "{text}");
}

/// What is said of a failed seed: what broke, and the one command that shows it again.
fn say_failure(seed: u64, tier: Tier, violation: &Violation) {
    say(&format!("seed {seed}: {violation}"));
    let tier = match tier {
        Tier::Direct => "",
        Tier::Turmoil => " --tier turmoil",
    };
    say(&format!("  to see it: {}", replay_command(&format!("{seed}{tier}"))));
}

fn replay_command(source: &str) -> String {
    format!("cargo run -p steadfast-sim --profile sim -- replay {source} --trace")
}
