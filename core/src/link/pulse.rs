//! Whether a connection lives: heartbeats, the health check, and short probes.
//!
//! Whatever arrives is a sign of life, because answers may be queued behind a long backlog. A
//! heartbeat that nothing follows in time makes the connection suspect, the second in a row dead.

use super::LinkConfig;
use super::quality::Quality;
use crate::time::{Span, Time};

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Send a heartbeat.
    Heartbeat,
    /// Send a ping.
    Ping,
    /// The first heartbeat was missed.
    Suspect,
    /// The connection is dead.
    Dead,
}

/// The signs of life of one connection.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    interval: Span,
    timeout: Span,
    missed_max: u32,
    health_interval: Span,
    idle_ping: Span,
    idle_max: Span,
    /// When the next heartbeat is due.
    beat_at: Time,
    /// When the last one was sent, until its answer comes.
    sent_at: Option<Time>,
    /// By when something must have come after it.
    answer_by: Option<Time>,
    /// How many in a row nothing came after.
    missed: u32,
    health_at: Time,
    heard_at: Time,
    /// Whether the silence was asked about.
    pinged: bool,
    /// By when something must come after a short probe.
    probe_by: Option<Time>,
}

impl Pulse {
    /// A connection was welcomed; the gateway wants a heartbeat so often.
    pub(super) fn new(config: &LinkConfig, interval: Span, now: Time) -> Self {
        Self {
            interval,
            timeout: config.heartbeat_timeout.min(interval),
            missed_max: config.missed_max,
            health_interval: config.health_interval,
            idle_ping: config.idle_ping,
            idle_max: config.idle_max,
            beat_at: now + interval,
            sent_at: None,
            answer_by: None,
            missed: 0,
            health_at: now + config.health_interval,
            heard_at: now,
            pinged: false,
            probe_by: None,
        }
    }

    pub(super) fn due(&self) -> Time {
        let awaited = [self.answer_by, self.probe_by].into_iter().flatten();
        awaited.fold(self.beat_at.min(self.health_at), Time::min)
    }

    /// Anything arrived.
    pub(super) fn heard(&mut self, now: Time) {
        self.heard_at = now;
        self.missed = 0;
        self.answer_by = None;
        self.probe_by = None;
        self.pinged = false;
    }

    /// The answer to a heartbeat arrived.
    pub(super) fn answered(&mut self, now: Time, quality: &mut Quality) {
        if let Some(sent_at) = self.sent_at.take() {
            quality.answered(now.since(sent_at));
        }
    }

    /// There is doubt whether the connection still lives: something must come within this time.
    /// Says whether to ask.
    pub(super) fn doubt(&mut self, now: Time, within: Span) -> bool {
        if self.probe_by.is_some() {
            return false;
        }
        // Whoever slept could not hear the answer to an earlier heartbeat.
        self.answer_by = None;
        self.heard_at = now;
        self.probe_by = Some(now + within);
        true
    }

    /// Appends what is due.
    pub(super) fn tick(&mut self, now: Time, quality: &mut Quality, beats: &mut Vec<Beat>) {
        if self.probe_by.is_some_and(|by| by <= now) {
            return beats.push(Beat::Dead);
        }
        if self.answer_by.is_some_and(|by| by <= now) {
            self.answer_by = None;
            self.sent_at = None;
            self.missed += 1;
            quality.lost();
            if self.missed >= self.missed_max {
                return beats.push(Beat::Dead);
            }
            beats.push(Beat::Suspect);
        }
        if self.beat_at <= now {
            self.beat_at = now + self.interval;
            self.sent_at = Some(now);
            self.answer_by = Some(now + self.timeout);
            beats.push(Beat::Heartbeat);
        }
        if self.health_at <= now {
            self.health_at = now + self.health_interval;
            quality.window_ended();
            let silent = now.since(self.heard_at);
            if silent >= self.idle_max {
                return beats.push(Beat::Dead);
            }
            if silent >= self.idle_ping && !self.pinged {
                self.pinged = true;
                beats.push(Beat::Ping);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    const START: Time = Time::from_micros(1_000_000_000);

    /// What is done until `until_s`, after an interval of the gateway's; `hears` says at what
    /// seconds something arrives.
    fn beats(interval_s: u64, until_s: u64, hears: impl Fn(u64) -> bool) -> Vec<(u64, Beat)> {
        let config = LinkConfig::new(Key::new("5"), vec!["a".into()]);
        let mut pulse = Pulse::new(&config, Span::from_secs(interval_s), START);
        let mut done = Vec::new();
        for second in 0..=until_s {
            let now = START + Span::from_secs(second);
            if hears(second) {
                pulse.heard(now);
            }
            let mut beats = Vec::new();
            if pulse.due() <= now {
                pulse.tick(now, &mut Quality::default(), &mut beats);
            }
            done.extend(beats.into_iter().map(|beat| (second, beat)));
            if done.last().is_some_and(|(_, beat)| *beat == Beat::Dead) {
                break;
            }
        }
        done
    }

    #[test]
    fn a_second_missed_heartbeat_is_the_end() {
        let expect =
            [(15, Beat::Heartbeat), (25, Beat::Suspect), (30, Beat::Heartbeat), (40, Beat::Dead)];
        assert_eq!(beats(15, 100, |_| false), expect);
    }

    #[test]
    fn anything_that_comes_answers_a_heartbeat() {
        let expect = [15, 30, 45].map(|second| (second, Beat::Heartbeat));
        assert_eq!(beats(15, 50, |second| second % 15 == 9), expect);
        let suspect_once = beats(15, 50, |second| second == 26);
        let expect = [
            (15, Beat::Heartbeat),
            (25, Beat::Suspect),
            (30, Beat::Heartbeat),
            (40, Beat::Suspect),
            (45, Beat::Heartbeat),
        ];
        assert_eq!(suspect_once, expect, "what was missed before does not count");
    }

    #[test]
    fn the_health_check_ends_a_silence_that_heartbeats_do_not() {
        assert_eq!(beats(1_000, 200, |_| false), [(60, Beat::Ping), (120, Beat::Dead)]);
        let alive = beats(1_000, 200, |second| second % 70 == 0);
        assert_eq!(alive, [(60, Beat::Ping), (130, Beat::Ping), (200, Beat::Ping)]);
    }

    #[test]
    fn a_doubt_has_to_be_dispelled_soon() {
        let config = LinkConfig::new(Key::new("5"), vec!["a".into()]);
        for hears in [true, false] {
            let mut pulse = Pulse::new(&config, Span::from_secs(15), START);
            assert!(pulse.doubt(START, config.probe_timeout));
            assert!(!pulse.doubt(START, config.probe_timeout), "once is enough");
            let now = START + config.probe_timeout;
            if hears {
                pulse.heard(now);
            }
            let mut beats = Vec::new();
            pulse.tick(now, &mut Quality::default(), &mut beats);
            assert_eq!(beats, if hears { vec![] } else { vec![Beat::Dead] });
        }
    }
}
