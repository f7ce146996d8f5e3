//! `steadfast-sim`: runs worlds, and says what came of them.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
