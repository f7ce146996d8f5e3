//! `steadfast-sim`: runs worlds, and judges the judges.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
