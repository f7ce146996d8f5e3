//! A running daemon with a store of its own: its log is read and dropped through its admin port.
//!
//! Entries are numbered, and reading changes nothing: what is not dropped is read again.

use crate::cli::operator::{Method, No, Operator, Question};
use crate::device_logs::{Source, Taken, Trouble};
use clap::ArgMatches;
use serde_json::Value;
use std::time::Duration;

/// How often a daemon is asked that had nothing.
const PAUSE: Duration = Duration::from_secs(1);
/// So many entries are asked for at once; the daemon sends 4 MiB at most, or one entry.
const ENTRIES: u64 = 1_000;

/// The log of a running daemon.
pub(super) struct Daemon {
    operator: Operator,
    /// The last entry that was taken.
    through: Option<u64>,
}

impl Daemon {
    /// The daemon that flags and environment name.
    ///
    /// # Errors
    /// The address is none, or the token cannot be read.
    pub(super) fn of(matches: &ArgMatches) -> Result<Self, String> {
        Ok(Self { operator: Operator::of(matches)?, through: None })
    }

    fn ask(&self, method: Method, question: (&str, u64)) -> Result<Value, Trouble> {
        let question: Question = [(question.0.to_owned(), question.1.into())].into_iter().collect();
        match self.operator.try_to_ask(method, "/device-logs", &question) {
            Ok(answer) => Ok(answer.json),
            Err(No::Now(why)) => Err(Trouble::Passing(why)),
            Err(No::Ever(why)) => Err(Trouble::Lasting(why)),
        }
    }
}

impl Source for Daemon {
    fn name(&self) -> String {
        self.operator.admin().to_owned()
    }

    fn take(&mut self) -> Result<Taken, Trouble> {
        let answer = self.ask(Method::Get, ("limit", ENTRIES))?;
        let foreign = || {
            let admin = self.operator.admin();
            Trouble::Lasting(format!("{admin} answers not as an admin port does (--admin)"))
        };
        let entries = answer["entries"].as_array().ok_or_else(foreign)?;
        let mut taken = Taken::default();
        let mut through = None;
        for entry in entries {
            through = Some(entry["number"].as_u64().ok_or_else(foreign)?);
            let data = entry["data"].as_str().ok_or_else(foreign)?;
            let line = format!("{{\"deviceId\":{},\"data\":{data}}}\n", entry["deviceId"]);
            taken.lines.extend_from_slice(line.as_bytes());
            taken.count += 1;
        }
        self.through = through;
        Ok(taken)
    }

    fn confirm(&mut self) -> Result<(), Trouble> {
        let Some(through) = self.through.take() else { return Ok(()) };
        self.ask(Method::Delete, ("through", through)).map(drop)
    }

    fn pause(&self) -> Duration {
        PAUSE
    }
}
