//! How long to wait before trying again.

use crate::time::{Span, Time};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// When a message whose `tries` tries failed, the last of them written at `written_at`, may be
/// written again: the first redelivery is immediate, each further one `interval` later.
#[must_use]
pub(crate) fn not_before(written_at: Time, tries: u32, interval: Span) -> Time {
    written_at + interval.times(u64::from(tries.saturating_sub(1)))
}

/// How long to wait before a storage operation that must succeed is tried for the `attempt`th time
/// again: 100 ms doubling to 5 s, with up to a fifth more by chance so that keys do not retry in
/// step.
pub(crate) fn store_delay(attempt: u32, rng: &mut ChaCha8Rng) -> Span {
    let base = Span::from_millis(100 << attempt.min(6)).min(Span::from_secs(5));
    let jitter = rng.random_range(0..=base.as_micros() / 5);
    base + Span::from_micros(jitter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::SeedableRng;

    #[test]
    fn redelivery_is_linear_and_first_immediate() {
        let written_at = Time::from_micros(1_000_000);
        let interval = Span::from_secs(3);
        for (tries, after_secs) in [(0, 0), (1, 0), (2, 3), (3, 6), (4, 9)] {
            let expect = written_at + Span::from_secs(after_secs);
            assert_eq!(not_before(written_at, tries, interval), expect);
        }
    }

    #[test]
    fn store_delay_doubles_to_its_cap() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (attempt, least_ms) in [(0, 100), (1, 200), (5, 3_200), (6, 5_000), (60, 5_000)] {
            let delay = store_delay(attempt, &mut rng).as_millis();
            assert!((least_ms..=least_ms * 6 / 5).contains(&delay), "{attempt}: {delay} ms");
        }
    }
}
