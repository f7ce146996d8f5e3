//! The operations on queues that serve operators: list keys and messages, purge, find, count.

use super::disk::Fault;
use super::engine::{Engine, MANY_RECORDS};
use super::layout::{Body, First, Reader, after_prefix, escaped, name_record, prefix};
use bytes::Bytes;
use std::collections::BTreeSet;
use std::ops::Bound;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::store::{Found, Queue, QueueAnswer, QueueOp, Target};
use steadfast_core::time::Time;

impl Engine {
    /// Carries the operation out.
    pub(super) fn queue_op(&mut self, op: QueueOp) -> Result<QueueAnswer, Fault> {
        Ok(match op {
            QueueOp::Keys { prefix, after, limit } => {
                QueueAnswer::Keys(self.queues(&prefix, after.as_ref(), limit)?)
            }
            QueueOp::Messages { key, after, max_messages, max_bytes } => {
                QueueAnswer::Messages(self.read(&key, after, max_messages as usize, max_bytes)?)
            }
            QueueOp::Purge { key, ids, spare, limit } => {
                QueueAnswer::Purged(self.clear(&key, ids, &spare, limit)?)
            }
            QueueOp::Totals => {
                QueueAnswer::Totals { waiting: self.counters.waiting, dead: self.counters.dead }
            }
        })
    }

    /// The keys for which messages wait, in order.
    fn queues(&mut self, text: &str, after: Option<&Key>, limit: u32) -> Result<Vec<Queue>, Fault> {
        self.spill()?;
        let beginning = escaped(text);
        let mut start = beginning.clone();
        if let Some(after) = after {
            start = start.max(after_prefix(&prefix(after)));
        }
        let end = match &beginning[..] {
            [] => Bound::Unbounded,
            beginning => Bound::Excluded(after_prefix(beginning)),
        };
        if let Bound::Excluded(end) = &end
            && start >= *end
        {
            return Ok(Vec::new());
        }
        let mut queues: Vec<Queue> = Vec::new();
        for record in self.disk.messages.range((Bound::Included(start), end)) {
            let (record, body) = record.into_inner()?;
            let key = Reader::new(&record, "a message").text()?;
            let body = Body::decode(&Bytes::from(body))?;
            let bytes = body.payload.len() as u64;
            match queues.last_mut() {
                Some(queue) if *queue.key == *key => {
                    queue.messages += 1;
                    queue.bytes += bytes;
                }
                Some(_) | None => {
                    if queues.len() == limit as usize {
                        break;
                    }
                    let (key, oldest) = (Key::new(key), body.accepted_at);
                    queues.push(Queue { key, messages: 1, bytes, oldest });
                }
            }
        }
        Ok(queues)
    }

    /// Drops waiting messages of a key; returns which.
    fn clear(
        &mut self,
        key: &Key,
        mut ids: Vec<MessageId>,
        spare: &[MessageId],
        limit: u32,
    ) -> Result<Vec<MessageId>, Fault> {
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
        if ids.is_empty() {
            ids = mailbox.entries.iter().map(|entry| entry.place.id).collect();
        }
        let spare: BTreeSet<_> = spare.iter().collect();
        let mut cleared = Vec::new();
        for id in ids {
            if cleared.len() == limit as usize {
                break;
            }
            if !spare.contains(&id) && self.take(key, id)? {
                cleared.push(id);
            }
            if self.batch.len() > MANY_RECORDS {
                self.spill()?;
            }
        }
        self.spill()?;
        Ok(cleared)
    }

    /// Where a message of a key is.
    pub(super) fn locate(&mut self, key: Key, target: Target, now: Time) -> Result<Found, Fault> {
        self.spill()?;
        let (id, otherwise) = match target {
            Target::Id(id) => (id, Found::Unknown),
            Target::Name(name) => {
                let record = self.disk.names.get(name_record(&key, &name))?;
                let first = record.map(|record| First::decode(&record)).transpose()?;
                match first.filter(|first| !first.is_over(now)) {
                    Some(first) => (first.message, Found::Gone(first.message)),
                    None => return Ok(Found::Unknown),
                }
            }
        };
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, &key)?;
        if let Some(index) = mailbox.index(id) {
            let place = mailbox.entries[index].place;
            return Ok(Found::Waiting(self.body(&key, &place)?.at(place)));
        }
        Ok(match self.letter(&key, id)? {
            Some(letter) => Found::Dead(letter.of(key)),
            None => otherwise,
        })
    }

    /// Recounts what waits, to compare. Walks everything: for tests.
    #[cfg(test)]
    pub(super) fn count_waiting(&mut self) -> Result<u64, Fault> {
        self.spill()?;
        Ok(self.disk.messages.iter().count() as u64)
    }
}
