//! The random draws of one link.
//!
//! A draw is 32 bits and picks a whole number of milliseconds, so that the JavaScript client, given
//! the same draws as fractions, picks the same.

use crate::time::Span;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

#[derive(Clone, Debug)]
pub(super) struct Chance {
    rng: ChaCha8Rng,
}

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// A whole number of milliseconds from `low` to `high`.
    pub(super) fn between(&mut self, low: Span, high: Span) -> Span {
        let low_ms = low.as_micros().div_ceil(1_000);
        let count = high.as_millis().saturating_sub(low_ms) + 1;
        let picked = (u128::from(self.rng.next_u32()) * u128::from(count)) >> 32;
        Span::from_millis(low_ms + u64::try_from(picked).expect("less than the count"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_millisecond_is_as_likely() {
        let mut chance = Chance::new(1);
        let (low, high) = (Span::from_micros(2_500), Span::from_micros(5_900));
        let mut counts = [0; 8];
        for _ in 0..3_000 {
            counts[usize::try_from(chance.between(low, high).as_millis()).unwrap()] += 1;
        }
        assert_eq!([counts[0], counts[1], counts[2], counts[6], counts[7]], [0; 5]);
        assert!(counts[3..6].iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
