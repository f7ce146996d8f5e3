//! The command line: what `steadfast …` means, and the exit code it ends with.
//!
//! Exit codes: 0 all went well, 1 something is wrong (one line on standard error says what and what
//! to do), 2 the command line itself is not understood, 3 the time that `device-logs` was given is up,
//! 130 and 143 a second signal ended the process at once.

mod args;
mod check;
mod dead;
mod device_logs;
mod inputs;
mod limits;
mod operator;
mod queue;
mod replay;
mod serve;
pub(crate) mod signals;
mod table;

use std::io::{self, Write as _};
use std::process::ExitCode;

/// Something is wrong.
const FAILED: u8 = 1;

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // A closed standard error leaves nobody to tell.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    match matches.subcommand() {
        None => serve::run(&matches),
        Some(("serve", matches)) => serve::run(matches),
        Some(("check", matches)) => check::run(matches),
        Some(("listen", matches)) => args::listen(matches),
        Some(("push", matches)) => args::push(matches),
        Some(("replay", matches)) => replay::run(matches),
        Some(("dead", matches)) => dead::run(matches),
        Some(("queue", matches)) => queue::run(matches),
        Some(("device-logs", matches)) => device_logs::run(matches),
        Some((name, _)) => unreachable!("{name} is no declared command"),
    }
}

/// Says on standard error what is wrong, one line each.
fn complain<T: std::fmt::Display>(problems: impl IntoIterator<Item = T>) -> ExitCode {
    for problem in problems {
        tell(&format!("error: {problem}"));
    }
    ExitCode::from(FAILED)
}

/// Writes to standard output; that nobody reads it any more is no error.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Writes a line to standard error, if anybody is there.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
