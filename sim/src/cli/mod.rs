//! The commands: each prints what it found and says by its exit code whether all is well.

mod storm;

use clap::Command;
use std::process::ExitCode;

/// Runs the command that was asked for.
pub(crate) fn run() -> ExitCode {
    let matches = command().get_matches();
    let (name, matches) = matches.subcommand().expect("clap requires a command");
    let result = match name {
        storm::NAME => storm::run(matches),
        other => unreachable!("clap knows no command {other}"),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn command() -> Command {
    Command::new("steadfast-sim")
        .about("Runs whole worlds from a seed")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(storm::command())
}
