//! What became of a link's connections.

use crate::time::{Span, Time};

/// Figures about a link's connections.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// Attempts after the first, and probes for a way back from the fallback.
    pub reconnects_total: u32,
    /// Those that were welcomed.
    pub reconnects_successful: u32,
    /// Those that failed.
    pub reconnects_failed: u32,
    /// When the link was last welcomed.
    pub last_connected_at: Option<Time>,
    /// When the link last lost its connection.
    pub last_disconnected_at: Option<Time>,
    /// How long the link was started and had no connection.
    pub downtime: Span,
    /// How long it had one, in percent of the time that it was started.
    pub availability_percent: f64,
    /// Messages handed to the application.
    pub messages: u64,
    /// Messages that came again and were dropped.
    pub duplicates: u64,
    /// The smoothed round trip of heartbeats, in milliseconds.
    pub rtt_ms: Option<f64>,
    /// How good the network is, 0 to 1.
    pub quality: f64,
}

/// Keeps the figures.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) total: u32,
    pub(super) successful: u32,
    pub(super) failed: u32,
    pub(super) messages: u64,
    pub(super) duplicates: u64,
    last_connected_at: Option<Time>,
    last_disconnected_at: Option<Time>,
    /// Since when it is started.
    started_at: Option<Time>,
    /// Since when it is started and has no connection.
    down_since: Option<Time>,
    /// The time of all that ended before.
    started_for: Span,
    downtime: Span,
}

impl Tally {
    pub(super) fn started(&mut self, now: Time) {
        self.started_at = Some(now);
        self.down_since = Some(now);
    }

    pub(super) fn stopped(&mut self, now: Time) {
        self.end_downtime(now);
        if let Some(at) = self.started_at.take() {
            self.started_for += now.since(at);
        }
    }

    pub(super) fn connected(&mut self, now: Time) {
        self.end_downtime(now);
        self.last_connected_at = Some(now);
    }

    pub(super) fn disconnected(&mut self, now: Time) {
        self.down_since = Some(now);
        self.last_disconnected_at = Some(now);
    }

    pub(super) fn figures(&self, now: Time) -> Statistics {
        let since = |at: Option<Time>| at.map_or(Span::ZERO, |at| now.since(at));
        let downtime = self.downtime + since(self.down_since);
        let started_for = self.started_for + since(self.started_at);
        let up = started_for - downtime;
        let is_new = started_for == Span::ZERO;
        let share = up.as_micros() as f64 / started_for.as_micros() as f64;
        Statistics {
            reconnects_total: self.total,
            reconnects_successful: self.successful,
            reconnects_failed: self.failed,
            last_connected_at: self.last_connected_at,
            last_disconnected_at: self.last_disconnected_at,
            downtime,
            availability_percent: if is_new { 0.0 } else { share * 100.0 },
            messages: self.messages,
            duplicates: self.duplicates,
            rtt_ms: None,
            quality: 1.0,
        }
    }

    fn end_downtime(&mut self, now: Time) {
        if let Some(at) = self.down_since.take() {
            self.downtime += now.since(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn availability_is_the_share_of_the_time_started() {
        let mut tally = Tally::default();
        let at = |secs: u64| Time::from_micros(secs * 1_000_000);
        assert!(tally.figures(at(1)).availability_percent.abs() < 1e-9);
        tally.started(at(10));
        tally.connected(at(11));
        tally.disconnected(at(19));
        tally.stopped(at(20));
        let figures = tally.figures(at(1_000));
        assert_eq!(figures.downtime, Span::from_secs(2));
        assert!((figures.availability_percent - 80.0).abs() < 1e-9);
        assert_eq!(
            (figures.last_connected_at, figures.last_disconnected_at),
            (Some(at(11)), Some(at(19)))
        );
        tally.started(at(2_000));
        assert_eq!(tally.figures(at(2_010)).downtime, Span::from_secs(12));
    }
}
