//! The operations on dead letters: list, requeue, purge, trim.

use super::disk::{Fault, records_from};
use super::engine::{Engine, MANY_RECORDS};
use super::layout::{
    Corrupt, Letter, Place, death_cursor, death_of_key_record, death_record, letters, tagged_prefix,
};
use super::mailboxes::Entry;
use std::ops::Bound;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::store::{DeadAnswer, DeadCursor, DeadFilter, DeadOp};
use steadfast_core::time::Time;

impl Engine {
    /// Carries the operation out.
    pub(super) fn dead_op(&mut self, op: DeadOp) -> Result<DeadAnswer, Fault> {
        self.spill()?;
        Ok(match op {
            DeadOp::List { filter, after, limit } => {
                let mut listed = Vec::new();
                self.select(&filter, after, limit, |key, letter| listed.push(letter.of(key)))?;
                DeadAnswer::Listed(listed)
            }
            DeadOp::Requeue { key, ids, expires_at } => {
                DeadAnswer::Requeued(self.requeue(&key, ids, expires_at)?)
            }
            DeadOp::Purge { filter, limit } => DeadAnswer::Purged(self.purge(&filter, limit)?),
            DeadOp::Trim { keep, limit } => {
                let excess = self.counters.dead.saturating_sub(keep).min(u64::from(limit));
                let limit = u32::try_from(excess).expect("it is at most the limit given");
                DeadAnswer::Purged(self.purge(&DeadFilter::default(), limit)?)
            }
        })
    }

    /// Shows the dead letters that pass a filter, in order of death and behind `after`.
    fn select(
        &self,
        filter: &DeadFilter,
        after: Option<DeadCursor>,
        limit: u32,
        mut show: impl FnMut(Key, Letter),
    ) -> Result<(), Fault> {
        let (prefix, from) = match &filter.key {
            Some(key) => (
                tagged_prefix(letters::BY_KEY, key),
                after.map(|after| death_of_key_record(key, after)),
            ),
            None => (vec![letters::BY_TIME], after.map(death_record)),
        };
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        let mut left = limit;
        for record in records_from(&self.disk.letters, &prefix, from) {
            if left == 0 {
                break;
            }
            let (record, text) = record.into_inner()?;
            let cursor = death_cursor(&record)?;
            if filter.until.is_some_and(|until| cursor.at > until) {
                break;
            }
            let key = match &filter.key {
                Some(key) => key.clone(),
                None => Key::new(str::from_utf8(&text).map_err(|_| Corrupt("a death"))?),
            };
            if filter.id.is_some_and(|id| cursor.id != id) {
                continue;
            }
            let letter = self.letter(&key, cursor.id)?.ok_or(Corrupt("a dead letter"))?;
            if filter.reason.is_none_or(|reason| letter.reason == reason) {
                show(key, letter);
                left -= 1;
            }
        }
        Ok(())
    }

    /// Lets dead letters wait again, however many messages wait; returns them in the order given,
    /// or in order of death when none were given.
    fn requeue(
        &mut self,
        key: &Key,
        mut ids: Vec<MessageId>,
        expires_at: Time,
    ) -> Result<Vec<MessageId>, Fault> {
        if ids.is_empty() {
            let filter = DeadFilter { key: Some(key.clone()), ..DeadFilter::default() };
            self.select(&filter, None, u32::MAX, |_, letter| ids.push(letter.place.id))?;
        }
        let mut requeued = Vec::new();
        for id in ids {
            let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
            if mailbox.index(id).is_some() {
                continue;
            }
            let Some(letter) = self.letter(key, id)? else { continue };
            self.drop_letter(key, letter.at, id);
            let Letter { at, reason, place, mut body } = letter;
            body.history.push((at, reason));
            (body.tries, body.not_before) = (0, Time::EPOCH);
            let place = Place { expires_at, ..place };
            self.batch.insert(&self.disk.messages, place.record(key), body.encode());
            let text = key.text().as_bytes().to_vec();
            self.batch.insert(&self.disk.expiry, place.expiry_record(), text);
            self.expires_from(expires_at, id);
            let entry = Entry { place, fresh: self.on_disk() };
            Self::mailbox(&mut self.mailboxes, &self.disk, key)?.put(entry);
            self.mailboxes.grown();
            self.counters.waiting += 1;
            requeued.push(id);
            if self.batch.len() > MANY_RECORDS {
                self.spill()?;
            }
        }
        self.spill()?;
        Ok(requeued)
    }

    /// Drops the first dead letters that pass the filter; returns how many.
    fn purge(&mut self, filter: &DeadFilter, limit: u32) -> Result<u64, Fault> {
        let mut doomed: Vec<(Key, Time, MessageId)> = Vec::new();
        self.select(filter, None, limit, |key, letter| {
            doomed.push((key, letter.at, letter.place.id));
        })?;
        for (key, at, id) in &doomed {
            self.drop_letter(key, *at, *id);
            if self.batch.len() > MANY_RECORDS {
                self.spill()?;
            }
        }
        self.spill()?;
        Ok(doomed.len() as u64)
    }
}
