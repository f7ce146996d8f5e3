//! The operations on dead letters: list, requeue, purge, trim.

use super::Model;
use crate::id::{Key, MessageId};
use crate::store::{DeadAnswer, DeadFilter, DeadLetter, DeadOp, StoredMessage};
use crate::time::Time;

impl Model {
    /// Carries the operation out.
    pub(super) fn dead_op(&mut self, op: DeadOp) -> DeadAnswer {
        match op {
            DeadOp::List { filter, after, limit } => {
                let letters = self.dead.select(&filter, after).take(limit as usize);
                DeadAnswer::Listed(letters.cloned().collect())
            }
            DeadOp::Requeue { key, ids, expires_at } => {
                DeadAnswer::Requeued(self.requeue(&key, ids, expires_at))
            }
            DeadOp::Purge { filter, limit } => DeadAnswer::Purged(self.purge(&filter, limit)),
            DeadOp::Trim { keep, limit } => {
                let excess = self.counts.dead.saturating_sub(keep).min(u64::from(limit));
                let limit = u32::try_from(excess).expect("it is at most the limit given");
                DeadAnswer::Purged(self.purge(&DeadFilter::default(), limit))
            }
        }
    }

    /// Lets dead letters wait again, however many messages wait; returns them in the order given,
    /// or in order of death when none were given.
    fn requeue(&mut self, key: &Key, mut ids: Vec<MessageId>, expires_at: Time) -> Vec<MessageId> {
        if ids.is_empty() {
            let filter = DeadFilter { key: Some(key.clone()), ..DeadFilter::default() };
            ids = self.dead.select(&filter, None).map(|letter| letter.message.id).collect();
        }
        ids.retain(|id| {
            let Some(letter) = self.dead.take(key, *id) else { return false };
            let DeadLetter { message, at, reason, mut history, .. } = letter;
            history.push((at, reason));
            self.dead.remember(*id, history);
            let not_before = Time::EPOCH;
            self.waiting.put(key, StoredMessage { expires_at, tries: 0, not_before, ..message });
            self.counts.dead -= 1;
            self.counts.waiting += 1;
            self.counts.requeued += 1;
            true
        });
        if !ids.is_empty() {
            self.claims.wake(key, 0);
        }
        ids
    }

    /// Drops the first dead letters that pass the filter; returns how many.
    fn purge(&mut self, filter: &DeadFilter, limit: u32) -> u64 {
        let letters = self.dead.select(filter, None).take(limit as usize);
        let doomed: Vec<_> = letters.map(|it| (it.key.clone(), it.message.id)).collect();
        for (key, id) in &doomed {
            self.dead.take(key, *id).expect("it was listed");
        }
        let purged = doomed.len() as u64;
        self.counts.dead -= purged;
        self.counts.purged += purged;
        purged
    }
}
