//! How long to wait before the next attempt: doubling, capped, and spread by jitter so that the
//! clients of a restarted gateway do not all come back at the same moment.

use crate::time::Span;

/// How delays grow and spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The first delay, and the least of all. Default 1 s.
    pub min: Span,
    /// The longest delay, before its jitter. Default 30 s.
    pub max: Span,
    /// Each delay is this many times the one before, up to the longest. Default 2.
    pub factor: u32,
    /// How far a delay is spread to either side, in percent of itself. Default 30.
    pub jitter_percent: u32,
    /// How many retries in a row may fail. Default: any number.
    pub max_attempts: Option<u32>,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            min: Span::from_secs(1),
            max: Span::from_secs(30),
            factor: 2,
            jitter_percent: 30,
            max_attempts: None,
        }
    }
}

/// The delays of one link. What is drawn between their bounds is for its owner.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    delays: Delays,
    /// Retries since the last stable connection.
    retries: u32,
}

impl Backoff {
    pub(super) fn new(delays: Delays) -> Self {
        Self { delays, retries: 0 }
    }

    /// The shortest and the longest that the delay before the next retry may be, or nothing when
    /// there have been enough.
    pub(super) fn next_bounds(&mut self) -> Option<(Span, Span)> {
        let Delays { min, max, factor, jitter_percent, max_attempts } = self.delays;
        if max_attempts.is_some_and(|max| self.retries >= max) {
            return None;
        }
        let grown = min.times(u64::from(factor).saturating_pow(self.retries));
        self.retries = self.retries.saturating_add(1);
        // The jitter comes after the cap, or all would meet again at the longest delay.
        let base = grown.min(max).max(min);
        let spread = base.times(u64::from(jitter_percent)).divided_by(100);
        // The least delay cuts the bounds and not what is drawn: raised to it, half of all first
        // delays would be that very one, and half of all clients would meet after it.
        Some(((base - spread).max(min), base + spread))
    }

    /// The next delay is the first again.
    pub(super) fn reset(&mut self) {
        self.retries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Delays = Delays {
        min: Span::from_secs(1),
        max: Span::from_secs(30),
        factor: 2,
        jitter_percent: 30,
        max_attempts: None,
    };

    fn bounds_ms(delays: Delays, count: usize) -> Vec<(u64, u64)> {
        let mut backoff = Backoff::new(delays);
        let bounds = std::iter::from_fn(|| backoff.next_bounds());
        bounds.map(|(low, high)| (low.as_millis(), high.as_millis())).take(count).collect()
    }

    #[test]
    fn delays_double_up_to_the_cap_and_spread_beyond_it() {
        assert_eq!(Delays::default(), PLAIN);
        let expect = [
            (1_000, 1_300),
            (1_400, 2_600),
            (2_800, 5_200),
            (5_600, 10_400),
            (11_200, 20_800),
            (21_000, 39_000),
            (21_000, 39_000),
        ];
        assert_eq!(bounds_ms(PLAIN, 7), expect);
    }

    #[test]
    fn a_hundred_retries_do_not_overflow() {
        assert_eq!(bounds_ms(PLAIN, 100)[99], (21_000, 39_000));
    }

    #[test]
    fn after_a_reset_the_first_delay_comes_again() {
        let mut backoff = Backoff::new(PLAIN);
        let first = backoff.next_bounds();
        assert_ne!(backoff.next_bounds(), first);
        backoff.reset();
        assert_eq!(backoff.next_bounds(), first);
    }

    #[test]
    fn growth_and_jitter_are_settings() {
        let exact = Delays { jitter_percent: 0, ..PLAIN };
        let fixed = Delays { factor: 1, ..exact };
        for (delays, expect_s) in [(exact, [1, 2, 4, 8, 16, 30, 30]), (fixed, [1; 7])] {
            let expect: Vec<_> = expect_s.iter().map(|s| (s * 1_000, s * 1_000)).collect();
            assert_eq!(bounds_ms(delays, 7), expect);
        }
    }

    #[test]
    fn the_least_delay_wins_over_a_longest_below_it() {
        assert_eq!(bounds_ms(Delays { max: Span::ZERO, ..PLAIN }, 1), [(1_000, 1_300)]);
    }

    #[test]
    fn there_are_no_more_retries_than_allowed() {
        assert_eq!(bounds_ms(Delays { max_attempts: Some(2), ..PLAIN }, 3).len(), 2);
    }
}
