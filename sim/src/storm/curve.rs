//! What a storm looks like to the server: attempts, and returns, in each tenth of a second.

use super::Storm;
use steadfast_core::time::Span;

/// The width of a bin.
const BIN: Span = Span::from_millis(100);

/// Attempts and returns since the server was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Curve {
    clients: u32,
    outage: Span,
    attempts: Vec<u32>,
    back: Vec<u32>,
    attempts_total: u64,
    back_total: u32,
}

impl Curve {
    pub(super) fn new(storm: &Storm) -> Self {
        let (clients, outage) = (storm.clients, storm.outage);
        let (attempts, back) = (Vec::new(), Vec::new());
        Self { clients, outage, attempts, back, attempts_total: 0, back_total: 0 }
    }

    pub(super) fn attempt(&mut self, at: Span) {
        count(&mut self.attempts, at);
        self.attempts_total += 1;
    }

    pub(super) fn back(&mut self, at: Span) {
        count(&mut self.back, at);
        self.back_total += 1;
    }

    pub(super) fn clients_back(&self) -> u32 {
        self.back_total
    }

    /// How many clients there are.
    #[must_use]
    pub fn clients(&self) -> u32 {
        self.clients
    }

    /// All attempts together.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts_total
    }

    /// The attempts of each tenth of a second from the loss on.
    #[must_use]
    pub fn bins(&self) -> &[u32] {
        &self.attempts
    }

    /// The most attempts in a tenth of a second.
    #[must_use]
    pub fn peak(&self) -> u32 {
        self.attempts.iter().copied().max().unwrap_or(0)
    }

    /// The same while the server was up: what it has to bear.
    #[must_use]
    pub fn peak_up(&self) -> u32 {
        self.attempts.iter().skip(bin(self.outage)).copied().max().unwrap_or(0)
    }

    /// The most attempts within a second, wherever it begins, while the server was up.
    #[must_use]
    pub fn peak_up_1s(&self) -> u32 {
        let up = self.attempts.get(bin(self.outage)..).unwrap_or(&[]);
        let seconds = up.windows(10.min(up.len()).max(1)).map(|second| second.iter().sum());
        seconds.max().unwrap_or(0)
    }

    /// When this share of the clients, in percent, was connected again, from the loss on; up to a
    /// tenth of a second late.
    #[must_use]
    pub fn back_after(&self, percent: u32) -> Span {
        let wanted = (u64::from(self.clients) * u64::from(percent)).div_ceil(100);
        let (mut sum, mut bins) = (0, 0);
        for count in &self.back {
            if sum >= wanted {
                break;
            }
            sum += u64::from(*count);
            bins += 1;
        }
        BIN.times(bins)
    }
}

fn bin(at: Span) -> usize {
    usize::try_from(at.as_micros() / BIN.as_micros()).expect("a storm is over within years")
}

fn count(bins: &mut Vec<u32>, at: Span) {
    let bin = bin(at);
    if bins.len() <= bin {
        bins.resize(bin + 1, 0);
    }
    bins[bin] += 1;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::{Acceptance, Policy};

    fn curve(attempts_ms: &[u64], back_ms: &[u64]) -> Curve {
        let mut curve = Curve::new(&Storm {
            clients: 4,
            outage: Span::from_secs(1),
            acceptance: Acceptance::AllAtOnce,
            policy: Policy::Fixed,
            seed: 1,
        });
        attempts_ms.iter().for_each(|ms| curve.attempt(Span::from_millis(*ms)));
        back_ms.iter().for_each(|ms| curve.back(Span::from_millis(*ms)));
        curve
    }

    #[test]
    fn peaks_are_told_for_all_and_for_the_time_up() {
        let curve = curve(&[900, 950, 999, 1_000, 1_099, 1_999, 2_000], &[]);
        assert_eq!((curve.peak(), curve.peak_up(), curve.peak_up_1s()), (3, 2, 3));
        assert_eq!(curve.attempts(), 7);
        assert_eq!(curve.bins()[9..11], [3, 2]);
    }

    #[test]
    fn a_share_is_back_at_the_end_of_its_bin() {
        let curve = curve(&[], &[1_000, 1_050, 2_000, 3_000]);
        let shares = [25, 50, 51, 100].map(|percent| curve.back_after(percent).as_millis());
        assert_eq!(shares, [1_100, 1_100, 2_100, 3_100]);
    }
}
