//! How good the network is, from 0 to 1: what the round trips of heartbeats and their losses say.
//!
//! It decides how often one endpoint is tried before the next, or the fallback: where the network
//! was good, a WebSocket that fails twice is being blocked; where it was bad, patience is better.

use crate::time::Span;

/// A round trip up to this long is as good as none.
const RTT_GOOD_MS: f64 = 100.0;
/// So much longer is as bad as can be.
const RTT_RANGE_MS: f64 = 1_000.0;
/// This share of lost heartbeats is as bad as can be.
const LOSS_WORST: f64 = 0.2;
/// A larger share makes a link weak.
const LOSS_WEAK: f64 = 0.05;
/// What a weak link's quality is at most.
const WEAK: f64 = 0.5;
/// The weight of a new sample.
const SMOOTHING: f64 = 8.0;
/// How many falling windows in a row make a link weak.
const FALLING: u32 = 2;

/// What is known of the network; the windows are those between two health checks.
#[derive(Clone, Debug, Default)]
pub(super) struct Quality {
    rtt_ms: Option<f64>,
    loss: f64,
    window_length: u64,
    last_window_length: u64,
    falling: u32,
}

impl Quality {
    /// A heartbeat was answered after this time.
    pub(super) fn answered(&mut self, after: Span) {
        let sample = after.as_millis() as f64;
        self.rtt_ms = Some(self.rtt_ms.map_or(sample, |rtt| rtt + (sample - rtt) / SMOOTHING));
        self.loss -= self.loss / SMOOTHING;
    }

    /// A heartbeat was not answered in time.
    pub(super) fn lost(&mut self) {
        self.loss += (1.0 - self.loss) / SMOOTHING;
    }

    /// A text of this length arrived, in UTF-16 units, as JavaScript counts.
    pub(super) fn received(&mut self, length: usize) {
        self.window_length += length as u64;
    }

    /// A window ends.
    pub(super) fn window_ended(&mut self) {
        let is_falling = self.window_length < self.last_window_length;
        self.falling = if is_falling { self.falling + 1 } else { 0 };
        self.last_window_length = self.window_length;
        self.window_length = 0;
    }

    /// The smoothed round trip in milliseconds, once one is known.
    pub(super) fn rtt_ms(&self) -> Option<f64> {
        self.rtt_ms
    }

    /// The quality; 1 while nothing is known.
    pub(super) fn value(&self) -> f64 {
        let slowness = (self.rtt_ms.unwrap_or(0.0) - RTT_GOOD_MS) / RTT_RANGE_MS;
        let lossiness = self.loss / LOSS_WORST;
        let value = (1.0 - slowness.clamp(0.0, 1.0)) * (1.0 - lossiness.clamp(0.0, 1.0));
        let is_weak = self.loss > LOSS_WEAK || self.falling >= FALLING;
        if is_weak { value.min(WEAK) } else { value }
    }

    /// How many attempts in a row are made at one endpoint.
    pub(super) fn attempts(&self) -> u32 {
        match self.value() {
            value if value > 0.8 => 2,
            value if value > 0.5 => 4,
            _ => 8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(rtts_ms: &[u64], losses: u32) -> Quality {
        let mut quality = Quality::default();
        rtts_ms.iter().for_each(|ms| quality.answered(Span::from_millis(*ms)));
        (0..losses).for_each(|_| quality.lost());
        quality
    }

    #[test]
    fn it_falls_with_round_trips_and_losses() {
        for (rtts_ms, losses, value, attempts) in [
            (&[][..], 0, 1.0, 2),
            (&[80], 0, 1.0, 2),
            (&[250], 0, 0.85, 2),
            (&[400], 0, 0.7, 4),
            (&[700], 0, 0.4, 8),
            (&[100, 900], 0, 0.9, 2),
            (&[9_000], 0, 0.0, 8),
            (&[50], 1, 0.375, 8),
            (&[50], 2, 0.0, 8),
        ] {
            let quality = after(rtts_ms, losses);
            assert!((quality.value() - value).abs() < 1e-9, "{rtts_ms:?} {}", quality.value());
            assert_eq!(quality.attempts(), attempts, "{rtts_ms:?}");
        }
    }

    #[test]
    fn a_loss_is_outweighed_by_answers() {
        let mut quality = after(&[50], 1);
        let mut answers = 0;
        while quality.value() <= WEAK {
            quality.answered(Span::from_millis(50));
            answers += 1;
        }
        assert_eq!(answers, 7);
    }

    #[test]
    fn throughput_that_falls_for_two_windows_makes_a_link_weak() {
        let mut quality = Quality::default();
        for (bytes, value) in [(900, 1.0), (800, 1.0), (700, 0.5), (700, 1.0), (0, 1.0), (0, 1.0)] {
            quality.received(bytes);
            quality.window_ended();
            assert!((quality.value() - value).abs() < 1e-9, "{bytes}: {}", quality.value());
        }
    }
}
