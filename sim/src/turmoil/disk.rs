//! When a simulated disk does its work: the shared [`Disk`] with delays, troubles and crashes.
//!
//! What is given while a sync is due joins its batch, as a store with group commit has it.

use super::tally::Tally;
use crate::disk::Disk;
use crate::schedule::{Delivered, Trouble};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use std::collections::VecDeque;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::{Span, Time};

/// A disk that outlives the gateway in front of it.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) disk: Disk,
    trouble: Option<Trouble>,
    /// When what is queued is carried out.
    due: Option<Time>,
    answers: VecDeque<(OpId, Answer)>,
    /// A slow disk takes up to this long.
    slow: Span,
    rng: ChaCha8Rng,
    delivered: Tally,
}

impl Drive {
    pub(super) fn new(seed: u64, slow: Span, delivered: Tally) -> Self {
        Self {
            disk: Disk::new(seed),
            trouble: None,
            due: None,
            answers: VecDeque::new(),
            slow,
            rng: ChaCha8Rng::seed_from_u64(seed),
            delivered,
        }
    }

    pub(super) fn set_trouble(&mut self, trouble: Option<Trouble>) {
        self.trouble = trouble;
    }

    /// Takes an operation at this time.
    pub(super) fn submit(&mut self, now: Time, op: OpId, request: Op) {
        self.disk.submit(op, request);
        if self.due.is_none() {
            let millis = match self.trouble {
                Some(Trouble::Slow) => self.rng.random_range(5..=self.slow.as_millis().max(6)),
                None
                | Some(
                    Trouble::Failing | Trouble::Unclear | Trouble::Stalled | Trouble::ReadOnly,
                ) => self.rng.random_range(1..3),
            };
            self.due = Some(now + Span::from_millis(millis));
        }
    }

    /// When the next operations are answered.
    pub(super) fn next_due(&self) -> Option<Time> {
        self.due.filter(|_| self.trouble != Some(Trouble::Stalled))
    }

    /// The next answer, if it is due.
    pub(super) fn next_answer(&mut self, now: Time) -> Option<(OpId, Answer)> {
        if self.answers.is_empty() && self.next_due().is_some_and(|due| due <= now) {
            self.due = None;
            self.answers = self.disk.sync(self.trouble).into();
            let delivered = match self.trouble {
                Some(Trouble::Slow) => Some(Delivered::StoreWasSlow),
                Some(Trouble::Failing) => Some(Delivered::StoreFailed),
                Some(Trouble::Unclear) => Some(Delivered::StoreWasUnclear),
                Some(Trouble::ReadOnly) => Some(Delivered::StoreWasReadOnly),
                None | Some(Trouble::Stalled) => None,
            };
            if let Some(delivered) = delivered {
                self.delivered.count(delivered);
            }
        }
        self.answers.pop_front()
    }

    /// The machine goes down: of what was under way, a beginning may have been synced.
    pub(super) fn crash(&mut self) {
        let most = if self.trouble == Some(Trouble::Stalled) { 0 } else { self.disk.queued() };
        let wreck = self.disk.crash(self.rng.random_range(0..=most));
        if wreck.kept > 0 {
            self.delivered.count(Delivered::UnansweredKept);
        }
        if wreck.lost > 0 {
            self.delivered.count(Delivered::UnsyncedLost);
        }
        self.answers.clear();
        self.due = None;
    }
}
