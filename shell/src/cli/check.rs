//! `steadfast check`: what is wrong with a configuration, or what it comes to.

use super::{complain, inputs, say};
use crate::config::show::effective_toml;
use clap::ArgMatches;
use std::process::ExitCode;

/// Runs `steadfast check`.
pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    match inputs::load(matches) {
        Ok(loaded) if matches.get_flag("print") => say(&effective_toml(&loaded)),
        Ok(_) => say("the configuration is valid\n"),
        Err(problems) => return complain(problems),
    }
    ExitCode::SUCCESS
}
