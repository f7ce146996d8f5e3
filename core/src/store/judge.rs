//! Holds a store against the model, answer by answer.
//!
//! Positions and epochs are a store's own: only their order means anything. The judge learns which
//! ones the store gives, checks that they grow as promised, and expects to see the same ones again.
//! Everything else must be equal.

use super::model::Model;
use super::{
    Answer, Append, Appended, ClaimAnswer, ClaimOp, DeadAnswer, Found, Loaded, Node, Notice, Op,
    QueueAnswer, QueueOp, StoredMessage,
};
use crate::id::{Key, MessageId};
use std::collections::BTreeMap;

/// A model beside a store that is asked the same.
///
/// For each operation: hand [`Judge::translate`]'s result to the store, and its answer to
/// [`Judge::verdict`] together with the original operation.
#[derive(Debug, Default)]
pub struct Judge {
    model: Model,
    /// The store's position of every message it ever stored.
    positions: BTreeMap<MessageId, u64>,
    /// The store's epoch for each of the model's.
    epochs: BTreeMap<u64, u64>,
    /// The store's latest epoch of each key.
    latest: BTreeMap<Key, u64>,
}

impl Judge {
    /// A judge of a store that is empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The model as it is after the last verdict.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// What the store should have told nodes since the last call.
    pub fn take_notices(&mut self) -> Vec<(Node, Notice)> {
        let mut notices = self.model.take_notices();
        for (_, notice) in &mut notices {
            if let Notice::KeyTaken { epoch, .. } = notice {
                *epoch = self.epoch(*epoch);
            }
        }
        notices
    }

    /// The operation in the store's own terms.
    #[must_use]
    pub fn translate(&self, op: &Op) -> Op {
        match op {
            Op::Claim(ClaimOp::Release { key, epoch }) => {
                let epoch = self.epoch(*epoch);
                Op::Claim(ClaimOp::Release { key: key.clone(), epoch })
            }
            Op::Queue(QueueOp::Messages { key, after, max_messages, max_bytes }) => {
                // Only what waits has a position that the store must still know.
                let before = self.model.waiting(key).take_while(|it| Some(it.position) <= *after);
                let after = before.last().and_then(|it| self.positions.get(&it.id).copied());
                let (max_messages, max_bytes) = (*max_messages, *max_bytes);
                let key = key.clone();
                Op::Queue(QueueOp::Messages { key, after, max_messages, max_bytes })
            }
            Op::Append(append) => {
                Op::Append(Append { epoch: self.epoch(append.epoch), ..append.clone() })
            }
            Op::Retry { key, retries, epoch } => {
                let (key, retries) = (key.clone(), retries.clone());
                Op::Retry { key, retries, epoch: self.epoch(*epoch) }
            }
            Op::Bury { key, ids, reason, at, epoch } => {
                let (key, ids, epoch) = (key.clone(), ids.clone(), self.epoch(*epoch));
                Op::Bury { key, ids, reason: *reason, at: *at, epoch }
            }
            Op::Load { .. }
            | Op::Remove { .. }
            | Op::Expire { .. }
            | Op::Claim(ClaimOp::Renew { .. } | ClaimOp::Claim { .. })
            | Op::Dead(_)
            | Op::Queue(QueueOp::Keys { .. } | QueueOp::Purge { .. } | QueueOp::Totals)
            | Op::Find { .. }
            | Op::Session(_)
            | Op::Device(_) => op.clone(),
        }
    }

    /// The store's epoch for one of the model's.
    fn epoch(&self, ours: u64) -> u64 {
        // No store gives epoch zero.
        self.epochs.get(&ours).copied().unwrap_or(0)
    }

    /// Carries the operation out on the model and compares the store's answer.
    ///
    /// # Errors
    ///
    /// Says what the store should have answered.
    pub fn verdict(&mut self, op: &Op, answer: &Answer) -> Result<(), String> {
        let (tail, appended) = (self.tail(op), self.model.counts().appended);
        let expect = self.model.apply(op.clone());
        if self.model.counts().appended > appended {
            self.learn_position(op, answer, tail)?;
        }
        self.learn_epoch(op, &expect, answer)?;
        let expect = self.in_store_terms(op, expect);
        if *answer == expect {
            return Ok(());
        }
        Err(format!("to {op:?}\nthe store answered {answer:?}\ninstead of        {expect:?}"))
    }

    /// The store's largest position among the messages that an appended one comes after.
    fn tail(&self, op: &Op) -> Option<u64> {
        let Op::Append(append) = op else { return None };
        let waiting = self.model.waiting(&append.key).map(|message| message.id);
        let dead = self.model.dead_letters().filter(|letter| letter.key == append.key);
        let ids = waiting.chain(dead.map(|letter| letter.message.id));
        ids.filter_map(|id| self.positions.get(&id)).max().copied()
    }

    /// Takes note of the position of a new message, which must be behind `tail`.
    fn learn_position(
        &mut self,
        op: &Op,
        answer: &Answer,
        tail: Option<u64>,
    ) -> Result<(), String> {
        if let Op::Append(append) = op
            && let Answer::Appended(
                Appended::Stored { position, .. } | Appended::Elsewhere { position, .. },
            ) = answer
        {
            if tail.is_some_and(|tail| *position <= tail) {
                return Err(format!("position {position} is not behind {tail:?}: {op:?}"));
            }
            self.positions.insert(append.id, *position);
        }
        Ok(())
    }

    /// Takes note of the epoch of a new claim, which must be greater than the key's last.
    fn learn_epoch(&mut self, op: &Op, expect: &Answer, answer: &Answer) -> Result<(), String> {
        if let Op::Claim(ClaimOp::Claim { key, .. }) = op
            && let Answer::Claim(ClaimAnswer::Claimed { epoch: ours, .. }) = expect
            && let Answer::Claim(ClaimAnswer::Claimed { epoch: theirs, .. }) = answer
            && !self.epochs.contains_key(ours)
        {
            let latest = self.latest.insert(key.clone(), *theirs).unwrap_or(0);
            if *theirs <= latest {
                return Err(format!("epoch {theirs} is not greater than {latest}: {op:?}"));
            }
            self.epochs.insert(*ours, *theirs);
        }
        Ok(())
    }

    /// The model's answer with the store's positions and epochs.
    fn in_store_terms(&self, op: &Op, answer: Answer) -> Answer {
        let theirs = |id: &MessageId| self.positions.get(id).copied().unwrap_or(0);
        let translate = |message: &mut StoredMessage| message.position = theirs(&message.id);
        match answer {
            Answer::Appended(Appended::Stored { evicted, .. }) => {
                let Op::Append(append) = op else { unreachable!("only an append is answered so") };
                Answer::Appended(Appended::Stored { position: theirs(&append.id), evicted })
            }
            Answer::Appended(Appended::Elsewhere { evicted, .. }) => {
                let Op::Append(append) = op else { unreachable!("only an append is answered so") };
                Answer::Appended(Appended::Elsewhere { position: theirs(&append.id), evicted })
            }
            Answer::Loaded(Loaded { mut messages, tail: _, deaths }) => {
                let Op::Load { key, .. } = op else { unreachable!("only a load is answered so") };
                messages.iter_mut().for_each(translate);
                let tail = self.model.waiting(key).last().map(|message| theirs(&message.id));
                Answer::Loaded(Loaded { messages, tail, deaths })
            }
            Answer::Claim(ClaimAnswer::Claimed { epoch, previous }) => {
                let (epoch, previous) = (self.epoch(epoch), self.epoch(previous));
                Answer::Claim(ClaimAnswer::Claimed { epoch, previous })
            }
            Answer::Dead(DeadAnswer::Listed(mut letters)) => {
                letters.iter_mut().for_each(|letter| translate(&mut letter.message));
                Answer::Dead(DeadAnswer::Listed(letters))
            }
            Answer::Queue(QueueAnswer::Messages(mut messages)) => {
                messages.iter_mut().for_each(translate);
                Answer::Queue(QueueAnswer::Messages(messages))
            }
            Answer::Found(mut found) => {
                match &mut *found {
                    Found::Waiting(message) => translate(message),
                    Found::Dead(letter) => translate(&mut letter.message),
                    Found::Gone(_) | Found::Unknown => {}
                }
                Answer::Found(found)
            }
            Answer::Appended(
                Appended::Merged { .. } | Appended::Duplicate { .. } | Appended::Conflict,
            )
            | Answer::Removed { .. }
            | Answer::Retried
            | Answer::Buried(_)
            | Answer::Expired(_)
            | Answer::Claim(ClaimAnswer::Renewed | ClaimAnswer::Taken | ClaimAnswer::Released(_))
            | Answer::Dead(DeadAnswer::Requeued(_) | DeadAnswer::Purged(_))
            | Answer::Queue(
                QueueAnswer::Keys(_) | QueueAnswer::Purged(_) | QueueAnswer::Totals { .. },
            )
            | Answer::SessionKept
            | Answer::SessionFound(_)
            | Answer::Device(_)
            | Answer::Failed(_) => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Manner, Promise};
    use crate::time::Time;
    use bytes::Bytes;

    /// A store that is right but for one answer.
    fn verdicts(ops: &[Op], distort: impl Fn(usize, Answer) -> Answer) -> Vec<bool> {
        let (mut judge, mut store) = (Judge::new(), Model::new(1));
        // Not from the beginning of its counters.
        let node = Node { name: "x".into(), incarnation: 1 };
        let (key_of_another, manner, now) = (Key::new("another"), Manner::Take, Time::EPOCH);
        let elsewhere = Op::Claim(ClaimOp::Claim { key: key_of_another, node, manner, now });
        for op in [append(99), Op::Remove { key: key(), ids: vec![id(99)] }, elsewhere] {
            store.apply(op);
        }
        let verdict = |(index, op)| {
            let answer = distort(index, store.apply(judge.translate(op)));
            judge.verdict(op, &answer).is_ok()
        };
        ops.iter().enumerate().map(verdict).collect()
    }

    fn key() -> Key {
        Key::new("k")
    }

    fn id(counter: u64) -> MessageId {
        MessageId { incarnation: 1, counter }
    }

    fn append(counter: u64) -> Op {
        Op::Append(Append {
            key: key(),
            id: id(counter),
            payload: Bytes::from_static(b"payload"),
            accepted_at: Time::EPOCH,
            expires_at: Time::NEVER,
            promise: Promise::Ok,
            idempotency: None,
            merge_within: None,
            limit: 10,
            window_end: None,
            spare: 0,
            epoch: 0,
        })
    }

    fn load() -> Op {
        Op::Load { key: key(), max_messages: 10, max_bytes: 1_000 }
    }

    fn claim(name: &'static str) -> Op {
        let node = Node { name: name.into(), incarnation: 1 };
        let manner = Manner::Take;
        Op::Claim(ClaimOp::Claim { key: key(), node, manner, now: Time::EPOCH })
    }

    fn release(epoch: u64) -> Op {
        Op::Claim(ClaimOp::Release { key: key(), epoch })
    }

    #[test]
    fn a_right_store_passes_with_its_own_positions_and_epochs() {
        let ops = [
            append(1),
            append(2),
            append(1),
            load(),
            claim("a"),
            claim("b"),
            release(1),
            release(2),
        ];
        assert_eq!(verdicts(&ops, |_, answer| answer), [true; 8]);
    }

    #[test]
    fn a_wrong_answer_is_caught() {
        let stored = |position| {
            let evicted = Vec::new();
            move |_| Answer::Appended(Appended::Stored { position, evicted: evicted.clone() })
        };
        let claimed = |epoch| move |_| Answer::Claim(ClaimAnswer::Claimed { epoch, previous: 2 });
        let without_last = |answer| {
            let Answer::Loaded(mut loaded) = answer else { panic!("{answer:?}") };
            loaded.messages.pop();
            Answer::Loaded(loaded)
        };
        let failed = |_| Answer::Failed("disk full".to_owned());
        catches(&[append(1), append(2)], 1, stored(2));
        catches(&[append(1), append(2), append(1)], 2, stored(3));
        catches(&[append(1), load()], 1, without_last);
        catches(&[claim("a"), claim("b")], 1, claimed(2));
        catches(&[claim("a"), release(1)], 1, |_| Answer::Claim(ClaimAnswer::Released(false)));
        catches(&[append(1)], 0, failed);
    }

    /// Asserts that the answer to the operation at `index` fails when it is distorted, and that no
    /// earlier one does.
    fn catches(ops: &[Op], index: usize, distort: impl Fn(Answer) -> Answer) {
        let verdicts =
            verdicts(ops, |at, answer| if at == index { distort(answer) } else { answer });
        assert_eq!(verdicts.iter().position(|right| !right), Some(index), "{ops:?}");
    }
}
