//! How long to wait before the next attempt: doubling, capped, and spread by jitter so that the
//! clients of a restarted gateway do not all come back at the same moment.

use super::LinkConfig;
use crate::time::Span;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The delays of one link.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    min: Span,
    max: Span,
    factor: u32,
    jitter_percent: u32,
    max_attempts: Option<u32>,
    /// Retries since the last stable connection.
    retries: u32,
    rng: ChaCha8Rng,
}

impl Backoff {
    pub(super) fn new(config: &LinkConfig, seed: u64) -> Self {
        Self {
            min: config.delay_min,
            max: config.delay_max,
            factor: config.delay_factor,
            jitter_percent: config.jitter_percent,
            max_attempts: config.max_attempts,
            retries: 0,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// The delay before the next retry, or nothing when there have been enough.
    pub(super) fn next_delay(&mut self) -> Option<Span> {
        if self.max_attempts.is_some_and(|max| self.retries >= max) {
            return None;
        }
        let grown = self.min.times(u64::from(self.factor).saturating_pow(self.retries));
        self.retries = self.retries.saturating_add(1);
        // The jitter comes after the cap, or all would meet again at the longest delay.
        let base = grown.min(self.max).max(self.min);
        let spread = base.times(u64::from(self.jitter_percent)).divided_by(100);
        // The least delay cuts the bounds and not what was drawn: raised to it, half of all first
        // delays would be that very one, and half of all clients would meet after it.
        let bounds = (base - spread).max(self.min).as_micros()..=(base + spread).as_micros();
        Some(Span::from_micros(self.rng.random_range(bounds)))
    }

    /// The next delay is the first again.
    pub(super) fn reset(&mut self) {
        self.retries = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    fn backoff(seed: u64) -> Backoff {
        Backoff::new(&LinkConfig::new(Key::new("5")), seed)
    }

    #[test]
    fn delays_double_up_to_the_cap_within_the_jitter() {
        let mut spread_at_cap = Vec::new();
        for seed in 0..50 {
            let mut backoff = backoff(seed);
            for (retry, base_ms) in
                [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000].into_iter().enumerate()
            {
                let delay = backoff.next_delay().unwrap().as_millis();
                let bounds = (base_ms * 7 / 10).max(1_000)..=base_ms * 13 / 10;
                assert!(bounds.contains(&delay), "retry {retry}: {delay} ms");
                if retry >= 5 {
                    spread_at_cap.push(delay);
                }
            }
        }
        assert!(spread_at_cap.iter().any(|delay| *delay > 36_000));
        assert!(spread_at_cap.iter().any(|delay| *delay < 24_000));
    }

    #[test]
    fn a_hundred_retries_do_not_overflow() {
        let mut backoff = backoff(1);
        let delays: Vec<_> = (0..100).map(|_| backoff.next_delay().unwrap()).collect();
        assert!(delays.iter().all(|delay| *delay <= Span::from_secs(39)));
    }

    #[test]
    fn after_a_reset_the_first_delay_comes_again() {
        let mut backoff = backoff(1);
        for _ in 0..6 {
            let _ = backoff.next_delay();
        }
        backoff.reset();
        assert!(backoff.next_delay().unwrap() <= Span::from_millis(1_300));
    }

    #[test]
    fn first_delays_are_spread_evenly_over_what_the_least_one_leaves() {
        let mut tenths = [0; 3];
        for seed in 0..3_000 {
            let beyond_ms = backoff(seed).next_delay().unwrap().as_millis() - 1_000;
            tenths[usize::try_from(beyond_ms / 100).unwrap().min(2)] += 1;
        }
        assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
    }

    #[test]
    fn growth_and_jitter_are_settings() {
        let plain = LinkConfig { jitter_percent: 0, ..LinkConfig::new(Key::new("5")) };
        let fixed = LinkConfig { delay_factor: 1, ..plain.clone() };
        for (config, delays_s) in
            [(plain, [1, 2, 4, 8, 16, 30, 30]), (fixed, [1, 1, 1, 1, 1, 1, 1])]
        {
            let mut backoff = Backoff::new(&config, 1);
            let delays = [(); 7].map(|()| backoff.next_delay().unwrap());
            assert_eq!(delays, delays_s.map(Span::from_secs));
        }
    }

    #[test]
    fn the_least_delay_wins_over_a_longest_below_it() {
        let config = LinkConfig { delay_max: Span::ZERO, ..LinkConfig::new(Key::new("5")) };
        let delay = Backoff::new(&config, 1).next_delay().unwrap();
        assert!((Span::from_secs(1)..=Span::from_millis(1_300)).contains(&delay), "{delay}");
    }

    #[test]
    fn there_are_no_more_retries_than_allowed() {
        let config = LinkConfig { max_attempts: Some(2), ..LinkConfig::new(Key::new("5")) };
        let mut backoff = Backoff::new(&config, 1);
        let delays = [(); 3].map(|()| backoff.next_delay().is_some());
        assert_eq!(delays, [true, true, false]);
    }
}
