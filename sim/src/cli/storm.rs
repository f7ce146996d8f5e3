//! `steadfast-sim storm`: the reconnect storm, as a table and a drawing.

use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::time::Instant;
use steadfast_sim::storm::{self, Acceptance, Row, Storm};

pub(super) const NAME: &str = "storm";

pub(super) fn command() -> Command {
    Command::new(NAME)
        .about("Lets a crowd of clients lose its server, and counts the attempts to reconnect")
        .arg(
            Arg::new("clients")
                .long("clients")
                .value_name("N")
                .help("How many clients; each takes about 700 bytes")
                .default_value("100000")
                .value_parser(value_parser!(u32).range(1..=10_000_000)),
        )
        .arg(
            Arg::new("seed")
                .long("seed")
                .value_name("S")
                .help("Decides the round trips and the jitter")
                .default_value("1")
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("svg")
                .long("svg")
                .value_name("FILE")
                .help("Draws the storms with a paced server into this file")
                .value_parser(value_parser!(PathBuf)),
        )
}

pub(super) fn run(matches: &ArgMatches) -> io::Result<()> {
    let clients = *matches.get_one::<u32>("clients").expect("it has a default");
    let seed = *matches.get_one::<u64>("seed").expect("it has a default");
    let begun = Instant::now();
    let rows = run_all(&Storm::all(clients, seed));
    let attempts: u64 = rows.iter().map(|row| row.curve.attempts()).sum();
    io::stdout().write_all(storm::table(&rows).as_bytes())?;
    eprintln!(
        "{} storms of {clients} clients, seed {seed}: {attempts} attempts in {:.1} s",
        rows.len(),
        begun.elapsed().as_secs_f64()
    );
    if let Some(path) = matches.get_one::<PathBuf>("svg") {
        let is_paced = |row: &Row| matches!(row.storm.acceptance, Acceptance::Paced { .. });
        let paced: Vec<_> = rows.into_iter().filter(is_paced).collect();
        std::fs::write(path, storm::plot(&paced)).map_err(|error| {
            let problem = format!("--svg {}: cannot be written: {error}", path.display());
            io::Error::new(error.kind(), problem)
        })?;
    }
    Ok(())
}

/// Runs storm after storm, with a bar that shows how many of the clients are back.
fn run_all(storms: &[Storm]) -> Vec<Row> {
    let bar = ProgressBar::new(storms.iter().map(|storm| u64::from(storm.clients)).sum());
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} % of all clients back, {msg}");
    bar.set_style(style.expect("the template is well-formed"));
    let mut rows = Vec::new();
    let mut back_before = 0;
    for storm in storms {
        let down = storm.outage.as_millis() / 1_000;
        bar.set_message(format!("{}, down {down} s, taken {}", storm.policy, storm.acceptance));
        let curve = storm::run(storm, |progress| {
            bar.set_position(back_before + u64::from(progress.back));
        });
        back_before += u64::from(storm.clients);
        rows.push(Row { storm: *storm, curve });
    }
    bar.finish_and_clear();
    rows
}
