//! The circuit breaker of one endpoint: after several failures in a row it is left alone for a
//! while, and then gets a single try.

use crate::time::{Span, Time};

#[derive(Clone, Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    open_until: Option<Time>,
}

impl Breaker {
    /// When an attempt may be made, unless it may be at any time.
    pub(super) fn opens_at(&self) -> Option<Time> {
        self.open_until
    }

    /// Whether an attempt may be made now.
    pub(super) fn admits(&self, now: Time) -> bool {
        self.open_until.is_none_or(|until| until <= now)
    }

    /// An attempt failed. Once there were `limit` in a row each further one opens the breaker again,
    /// so that the try after the pause is a single one.
    pub(super) fn failed(&mut self, now: Time, limit: u32, pause: Span) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= limit {
            self.open_until = Some(now + pause);
        }
    }

    /// A connection stood, or what was known is outdated.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_for_a_pause_and_half_opens_for_one_try() {
        let (mut breaker, pause) = (Breaker::default(), Span::from_secs(30));
        let at = |secs: u64| Time::from_micros(secs * 1_000_000);
        for secs in 1..5 {
            breaker.failed(at(secs), 5, pause);
            assert!(breaker.admits(at(secs)));
        }
        breaker.failed(at(5), 5, pause);
        assert_eq!((breaker.admits(at(34)), breaker.admits(at(35))), (false, true));
        breaker.failed(at(36), 5, pause);
        assert_eq!((breaker.admits(at(65)), breaker.opens_at()), (false, Some(at(66))));
        breaker.reset();
        breaker.failed(at(67), 5, pause);
        assert!(breaker.admits(at(67)));
    }
}
