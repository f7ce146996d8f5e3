//! The operations on queues that serve operators: list keys and messages, purge, find, count.
//!
//! Keys are in no order here, so a list of them walks all mailboxes: a few milliseconds for 100,000,
//! whenever an operator asks.

use super::Model;
use super::messages::within;
use crate::id::{Key, MessageId};
use crate::store::{Found, QueueAnswer, QueueOp, StoredMessage, Target};
use crate::time::Time;
use std::collections::BTreeSet;

impl Model {
    /// Carries the operation out.
    pub(super) fn queue_op(&mut self, op: QueueOp) -> QueueAnswer {
        match op {
            QueueOp::Keys { prefix, after, limit } => {
                let mut queues = self.waiting.queues(|key| {
                    key.starts_with(&*prefix) && after.as_ref().is_none_or(|after| key > after)
                });
                queues.truncate(limit as usize);
                QueueAnswer::Keys(queues)
            }
            QueueOp::Messages { key, after, max_messages, max_bytes } => {
                let behind = |it: &&StoredMessage| after.is_none_or(|after| it.position > after);
                let messages = self.waiting.messages(&key).filter(behind);
                QueueAnswer::Messages(within(messages, max_messages, max_bytes))
            }
            QueueOp::Purge { key, ids, spare, limit } => {
                QueueAnswer::Purged(self.clear(&key, ids, &spare, limit))
            }
            QueueOp::Totals => {
                QueueAnswer::Totals { waiting: self.counts.waiting, dead: self.counts.dead }
            }
        }
    }

    /// Drops waiting messages of a key; returns which.
    fn clear(
        &mut self,
        key: &Key,
        mut ids: Vec<MessageId>,
        spare: &[MessageId],
        limit: u32,
    ) -> Vec<MessageId> {
        if ids.is_empty() {
            ids = self.waiting.messages(key).map(|message| message.id).collect();
        }
        let spare: BTreeSet<_> = spare.iter().collect();
        let mut left = limit;
        ids.retain(|id| {
            if left == 0 || spare.contains(id) || self.waiting.take(key, *id).is_none() {
                return false;
            }
            left -= 1;
            self.dead.forget(*id);
            self.counts.waiting -= 1;
            self.counts.cleared += 1;
            true
        });
        ids
    }

    /// Where a message of a key is.
    pub(super) fn locate(&self, key: Key, target: Target, now: Time) -> Found {
        let (id, otherwise) = match target {
            Target::Id(id) => (id, Found::Unknown),
            Target::Name(name) => match self.names.message(key.clone(), name, now) {
                Some(id) => (id, Found::Gone(id)),
                None => return Found::Unknown,
            },
        };
        if let Some(message) = self.waiting.get(&key, id) {
            return Found::Waiting(message.clone());
        }
        match self.dead.find(id) {
            Some(letter) if letter.key == key => Found::Dead(letter.clone()),
            Some(_) | None => otherwise,
        }
    }
}
