//! Tells the operator how a connection to Redis is doing: in its health at once, in the log when that
//! changes and from time to time.

use crate::journal::{Journal, Trouble};
use crate::store::health::Health;
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::time::Time;

/// A trouble that lasts is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// What is told of one connection.
pub(super) struct Report {
    health: Health,
    journal: Box<dyn Journal>,
    told: Option<Instant>,
}

impl Report {
    pub(super) fn new(journal: Box<dyn Journal>) -> Self {
        Self { health: Health::default(), journal, told: None }
    }

    /// How the connection is doing.
    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// It is of no use for now.
    pub(super) fn fails(&mut self, why: &str) {
        let before = self.health.look().failing;
        self.health.fails(why);
        if before.is_none_or(|before| before.why != why)
            || self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN)
        {
            self.told = Some(Instant::now());
            self.tell(Trouble::StoreFailing { why: why.to_owned() });
        }
    }

    /// It works; `name` is what does.
    pub(super) fn works(&mut self, name: &str) {
        if let Some(failing) = self.health.look().failing {
            self.health.update(|state| state.failing = None);
            let lasted = SystemTime::now().duration_since(failing.since).unwrap_or_default();
            let what = format!("{name} works again after {:.1} s", lasted.as_secs_f64());
            self.tell(Trouble::StoreWorks { what });
        }
    }

    pub(super) fn tell(&mut self, trouble: Trouble) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX));
        self.journal.trouble(now, trouble);
        self.journal.turn_ended();
    }
}
