//! The same meaning once more, as simply as it can be said: all messages in one list, every
//! question answered by walking it. It keeps everything and drops nothing lazily, counts positions
//! and epochs per key, and so differs from the model wherever the model is clever.

use crate::id::Key;
use crate::id::MessageId;
use crate::record::DeathReason;
use crate::store::{
    Answer, Append, Appended, ClaimAnswer, ClaimOp, DeadAnswer, DeadCursor, DeadFilter, DeadLetter,
    DeadOp, DeviceAnswer, DeviceEntry, DeviceOp, Expired, ExpiryCursor, Found, Loaded, Manner,
    Node, Op, Queue, QueueAnswer, QueueOp, Session, SessionOp, StoredMessage, Target,
};
use crate::time::Time;
use std::collections::BTreeSet;

/// A store that is only simple.
#[derive(Default)]
pub(super) struct Naive {
    messages: Vec<Message>,
    names: Vec<(Append, MessageId)>,
    deaths: Vec<Key>,
    positions: Vec<Key>,
    leases: Vec<(Node, Time)>,
    claims: Vec<Claim>,
    sessions: Vec<Session>,
    /// Everything that was ever logged, and whether it was dropped.
    logged: Vec<(DeviceEntry, bool)>,
}

#[derive(Clone)]
struct Message {
    letter: DeadLetter,
    is_dead: bool,
}

struct Claim {
    key: Key,
    node: Node,
    epoch: u64,
    is_current: bool,
}

impl Naive {
    pub(super) fn apply(&mut self, op: Op) -> Answer {
        match op {
            Op::Append(append) => Answer::Appended(self.append(append)),
            Op::Load { key, max_messages, max_bytes } => {
                let all = self.mailbox(&key);
                let tail = all.last().map(|message| message.position);
                let deaths = self.deaths.iter().filter(|it| **it == key).count() as u64;
                let messages = within(all, max_messages, max_bytes);
                Answer::Loaded(Loaded { messages, tail, deaths })
            }
            Op::Remove { key, ids } => {
                let mut withdrawn = 0;
                for id in &ids {
                    let of = |it: &Message| it.letter.key == key && it.letter.message.id == *id;
                    withdrawn += u32::from(self.messages.iter().any(|it| of(it) && it.is_dead));
                    self.messages.retain(|it| !of(it));
                }
                Answer::Removed { ids, withdrawn }
            }
            Op::Retry { key, retries, epoch } => {
                if self.claim_on(&key).map_or(0, |claim| claim.epoch) != epoch {
                    return Answer::Retried;
                }
                for retry in retries {
                    let Some(it) = self.get(&key, retry.id, false) else { continue };
                    if retry.tries > it.letter.message.tries {
                        it.letter.message.tries = retry.tries;
                        it.letter.message.not_before = retry.not_before;
                    }
                }
                Answer::Retried
            }
            Op::Bury { key, ids, reason, at, epoch } => {
                let claim = self.claim_on(&key);
                let admits = claim.is_some_and(|claim| claim.epoch == epoch)
                    || (epoch == 0 && !claim.is_some_and(|claim| self.lives(&claim.node, at)));
                if !admits {
                    return Answer::Buried(Vec::new());
                }
                let buried = ids.into_iter().filter(|id| self.bury(&key, *id, reason, at));
                Answer::Buried(buried.collect())
            }
            Op::Expire { now, after, limit } => Answer::Expired(self.expire(now, after, limit)),
            Op::Claim(op) => Answer::Claim(self.claim(op)),
            Op::Dead(op) => Answer::Dead(self.dead(op)),
            Op::Queue(op) => Answer::Queue(self.queue(op)),
            Op::Find { key, target, now } => {
                Answer::Found(Box::new(self.locate(&key, target, now)))
            }
            Op::Session(SessionOp::Put { session, now }) => {
                let kept = self.sessions.iter().rev().find(|kept| kept.id == session.id);
                let kept = kept.filter(|kept| kept.expires_at > now);
                let is_older = |kept: &Session| match kept.applied == session.applied {
                    true => kept.deaths_seen <= session.deaths_seen,
                    false => kept.applied < session.applied,
                };
                if kept.is_none_or(is_older) {
                    self.sessions.push(session);
                }
                Answer::SessionKept
            }
            Op::Session(SessionOp::Get { id, now }) => {
                let last = self.sessions.iter().rev().find(|session| session.id == id);
                Answer::SessionFound(last.filter(|session| session.expires_at > now).cloned())
            }
            Op::Device(op) => Answer::Device(self.device(op)),
        }
    }

    fn device(&mut self, op: DeviceOp) -> DeviceAnswer {
        let size = |it: &DeviceEntry| (it.device.len() + it.entry.len()) as u64;
        match op {
            DeviceOp::Link { .. } | DeviceOp::Unlink { .. } => DeviceAnswer::Kept,
            DeviceOp::Log { device, entry, limit } => {
                let entry = DeviceEntry { number: self.logged.len() as u64 + 1, device, entry };
                let there = self.logged.iter().filter(|(_, dropped)| !dropped);
                let bytes: u64 = there.map(|(entry, _)| size(entry)).sum();
                if bytes + size(&entry) > limit {
                    // Its number is given to the next one.
                    return DeviceAnswer::Full;
                }
                self.logged.push((entry, false));
                DeviceAnswer::Kept
            }
            DeviceOp::Read { after, max_entries, max_bytes } => {
                let mut entries: Vec<DeviceEntry> = Vec::new();
                for (entry, dropped) in &self.logged {
                    let read: u64 = entries.iter().map(size).sum();
                    if *dropped || after.is_some_and(|after| entry.number <= after) {
                        continue;
                    }
                    let is_enough = !entries.is_empty() && read >= max_bytes;
                    if is_enough || entries.len() == max_entries as usize {
                        break;
                    }
                    entries.push(entry.clone());
                }
                DeviceAnswer::Entries(entries)
            }
            DeviceOp::Drop { through, limit } => {
                let there = self.logged.iter_mut().filter(|(_, dropped)| !dropped);
                let taken = there.filter(|(entry, _)| entry.number <= through);
                let dropped = taken.take(limit as usize).map(|(_, dropped)| *dropped = true);
                DeviceAnswer::Dropped(dropped.count() as u64)
            }
        }
    }

    /// The claim that stands, whether or not its node lives.
    fn claim_on(&self, key: &Key) -> Option<&Claim> {
        self.claims.iter().find(|it| it.key == *key && it.is_current)
    }

    fn lives(&self, node: &Node, now: Time) -> bool {
        self.leases.iter().any(|(holder, until)| holder == node && *until > now)
    }

    fn append(&mut self, mut append: Append) -> Appended {
        let key = append.key.clone();
        if let Some(known) = self.messages.iter().find(|it| it.letter.message.id == append.id) {
            let position = known.letter.message.position;
            return Appended::Stored { position, evicted: Vec::new() };
        }
        if let Some(ours) = &append.idempotency {
            let named = self.names.iter().rev().find(|(first, _)| {
                let theirs = first.idempotency.as_ref().unwrap();
                first.key == key && theirs.name == ours.name
            });
            if let Some((first, message)) = named {
                let window = first.idempotency.as_ref().unwrap().window;
                if append.accepted_at <= first.accepted_at + window {
                    return if first.payload == append.payload {
                        Appended::Duplicate { first: *message, promise: first.promise }
                    } else {
                        Appended::Conflict
                    };
                }
            }
        }
        let other = self.claim_on(&key).filter(|claim| claim.epoch != append.epoch);
        let is_elsewhere = other.is_some_and(|it| self.lives(&it.node, append.accepted_at));
        if other.is_some() {
            append.merge_within = None;
        }
        if is_elsewhere {
            append.window_end = None;
            append.spare = append.limit;
        }
        let last = self.mailbox(&key).pop();
        let into = last.filter(|last| {
            append.window_end != Some(last.id)
                && append.payload == last.payload
                && append
                    .merge_within
                    .is_some_and(|span| append.accepted_at <= last.accepted_at + span)
        });
        let stands_for_it = into.as_ref().map_or(append.id, |into| into.id);
        if append.idempotency.is_some() {
            self.names.push((append.clone(), stands_for_it));
        }
        if let Some(into) = into {
            return Appended::Merged { into: into.id };
        }
        let (position, evicted) = self.store(append);
        match is_elsewhere {
            true => Appended::Elsewhere { position, evicted },
            false => Appended::Stored { position, evicted },
        }
    }

    fn store(&mut self, append: Append) -> (u64, Vec<MessageId>) {
        let Append { key, id, payload, accepted_at, expires_at, .. } = append;
        let Append { limit, window_end, spare, .. } = append;
        self.positions.push(key.clone());
        let position = self.positions.iter().filter(|it| **it == key).count() as u64;
        let message = StoredMessage {
            id,
            position,
            payload,
            accepted_at,
            expires_at,
            tries: 0,
            not_before: Time::EPOCH,
        };
        let (at, reason) = (Time::EPOCH, DeathReason::Tries);
        let letter = DeadLetter { key: key.clone(), message, at, reason, history: Vec::new() };
        self.messages.push(Message { letter, is_dead: false });
        let mut evicted = Vec::new();
        loop {
            let mailbox = self.mailbox(&key);
            let end = mailbox.iter().position(|it| Some(it.id) == window_end);
            let window = end.map_or(0, |end| end + 1).max(spare as usize);
            let counted = &mailbox[window.min(mailbox.len())..];
            if counted.len() <= limit as usize {
                return (position, evicted);
            }
            let oldest = counted[0].id;
            assert!(self.bury(&key, oldest, DeathReason::Limit, accepted_at));
            evicted.push(oldest);
        }
    }

    fn expire(&self, now: Time, after: Option<ExpiryCursor>, limit: u32) -> Vec<Expired> {
        let waiting = self.messages.iter().filter(|it| !it.is_dead);
        let mut expired: Vec<_> = waiting
            .map(|it| {
                let StoredMessage { expires_at, id, .. } = it.letter.message;
                Expired { key: it.letter.key.clone(), cursor: ExpiryCursor { expires_at, id } }
            })
            .filter(|it| it.cursor.expires_at <= now && Some(it.cursor) > after)
            .collect();
        expired.sort_by_key(|it| it.cursor);
        expired.truncate(limit as usize);
        expired
    }

    fn claim(&mut self, op: ClaimOp) -> ClaimAnswer {
        match op {
            ClaimOp::Renew { node, until, .. } => {
                self.leases.push((node, until));
                ClaimAnswer::Renewed
            }
            ClaimOp::Claim { key, node, manner, now } => {
                let mut previous = 0;
                if let Some(claim) = self.claim_on(&key) {
                    previous = claim.epoch;
                    let is_own = claim.node == node;
                    if manner == Manner::Keep && is_own {
                        return ClaimAnswer::Claimed { epoch: previous, previous };
                    }
                    if manner == Manner::Keep && self.lives(&claim.node, now) {
                        return ClaimAnswer::Taken;
                    }
                }
                let current = self.claims.iter_mut().find(|it| it.key == key && it.is_current);
                current.into_iter().for_each(|claim| claim.is_current = false);
                let epoch = 1 + self.claims.len() as u64;
                self.claims.push(Claim { key, node, epoch, is_current: true });
                ClaimAnswer::Claimed { epoch, previous }
            }
            ClaimOp::Release { key, epoch } => {
                let claim = self
                    .claims
                    .iter_mut()
                    .find(|it| it.key == key && it.epoch == epoch && it.is_current);
                ClaimAnswer::Released(claim.map(|claim| claim.is_current = false).is_some())
            }
        }
    }

    fn dead(&mut self, op: DeadOp) -> DeadAnswer {
        match op {
            DeadOp::List { filter, after, limit } => {
                let mut letters = self.letters(&filter);
                letters.retain(|it| Some(DeadCursor { at: it.at, id: it.message.id }) > after);
                letters.truncate(limit as usize);
                DeadAnswer::Listed(letters)
            }
            DeadOp::Requeue { key, mut ids, expires_at } => {
                if ids.is_empty() {
                    let letters = self.letters(&DeadFilter::default());
                    let own = letters.iter().filter(|it| it.key == key);
                    ids = own.map(|it| it.message.id).collect();
                }
                ids.retain(|id| {
                    let Some(it) = self.get(&key, *id, true) else { return false };
                    it.is_dead = false;
                    it.letter.history.push((it.letter.at, it.letter.reason));
                    it.letter.message.tries = 0;
                    it.letter.message.not_before = Time::EPOCH;
                    it.letter.message.expires_at = expires_at;
                    true
                });
                DeadAnswer::Requeued(ids)
            }
            DeadOp::Purge { filter, limit } => {
                let mut letters = self.letters(&filter);
                letters.truncate(limit as usize);
                DeadAnswer::Purged(self.purge(&letters))
            }
            DeadOp::Trim { keep, limit } => {
                let mut letters = self.letters(&DeadFilter::default());
                let excess = (letters.len() as u64).saturating_sub(keep);
                letters.truncate(excess.min(u64::from(limit)).try_into().unwrap());
                DeadAnswer::Purged(self.purge(&letters))
            }
        }
    }

    fn queue(&mut self, op: QueueOp) -> QueueAnswer {
        match op {
            QueueOp::Keys { prefix, after, limit } => {
                let waiting = self.messages.iter().filter(|it| !it.is_dead);
                let keys: BTreeSet<_> = waiting.map(|it| it.letter.key.clone()).collect();
                let keys = keys.into_iter().filter(|key| key.starts_with(&*prefix));
                let keys = keys.filter(|key| Some(key) > after.as_ref()).take(limit as usize);
                let queue = |key| {
                    let all = self.mailbox(&key);
                    let bytes = all.iter().map(|it| it.payload.len() as u64).sum();
                    Queue { key, messages: all.len() as u64, bytes, oldest: all[0].accepted_at }
                };
                QueueAnswer::Keys(keys.map(queue).collect())
            }
            QueueOp::Messages { key, after, max_messages, max_bytes } => {
                let mut messages = self.mailbox(&key);
                messages.retain(|it| Some(it.position) > after);
                QueueAnswer::Messages(within(messages, max_messages, max_bytes))
            }
            QueueOp::Purge { key, ids, spare, limit } => {
                let all = || self.mailbox(&key).iter().map(|it| it.id).collect();
                let mut purged = Vec::new();
                for id in if ids.is_empty() { all() } else { ids } {
                    let waits = self.get(&key, id, false).is_some();
                    if waits && !spare.contains(&id) && purged.len() < limit as usize {
                        self.messages.retain(|it| it.letter.message.id != id);
                        purged.push(id);
                    }
                }
                QueueAnswer::Purged(purged)
            }
            QueueOp::Totals => {
                let dead = self.messages.iter().filter(|it| it.is_dead).count();
                let waiting = self.messages.len() - dead;
                QueueAnswer::Totals { waiting: waiting as u64, dead: dead as u64 }
            }
        }
    }

    fn locate(&mut self, key: &Key, target: Target, now: Time) -> Found {
        let (id, gone) = match target {
            Target::Id(id) => (id, Found::Unknown),
            Target::Name(name) => {
                let named = self.names.iter().rev().find(|(first, _)| {
                    first.key == *key && first.idempotency.as_ref().unwrap().name == name
                });
                let Some((first, id)) = named else { return Found::Unknown };
                if now > first.accepted_at + first.idempotency.as_ref().unwrap().window {
                    return Found::Unknown;
                }
                (*id, Found::Gone(*id))
            }
        };
        if let Some(it) = self.get(key, id, false) {
            return Found::Waiting(it.letter.message.clone());
        }
        self.get(key, id, true).map_or(gone, |it| Found::Dead(it.letter.clone()))
    }

    fn purge(&mut self, letters: &[DeadLetter]) -> u64 {
        self.messages
            .retain(|it| !letters.iter().any(|dead| dead.message.id == it.letter.message.id));
        letters.len() as u64
    }

    fn bury(&mut self, key: &Key, id: MessageId, reason: DeathReason, at: Time) -> bool {
        let Some(it) = self.get(key, id, false) else { return false };
        if reason == DeathReason::Ttl && it.letter.message.expires_at > at {
            return false;
        }
        it.is_dead = true;
        (it.letter.at, it.letter.reason) = (at, reason);
        self.deaths.push(key.clone());
        true
    }

    fn get(&mut self, key: &Key, id: MessageId, is_dead: bool) -> Option<&mut Message> {
        self.messages
            .iter_mut()
            .find(|it| it.letter.key == *key && it.letter.message.id == id && it.is_dead == is_dead)
    }

    fn mailbox(&self, key: &Key) -> Vec<StoredMessage> {
        let waiting = self.messages.iter().filter(|it| it.letter.key == *key && !it.is_dead);
        let mut mailbox: Vec<_> = waiting.map(|it| it.letter.message.clone()).collect();
        mailbox.sort_by_key(|message| message.position);
        mailbox
    }

    fn letters(&self, filter: &DeadFilter) -> Vec<DeadLetter> {
        let dead = self.messages.iter().filter(|it| it.is_dead).map(|it| it.letter.clone());
        let mut letters: Vec<_> = dead
            .filter(|it| filter.key.as_ref().is_none_or(|key| it.key == *key))
            .filter(|it| filter.reason.is_none_or(|reason| it.reason == reason))
            .filter(|it| filter.until.is_none_or(|until| it.at <= until))
            .filter(|it| filter.id.is_none_or(|id| it.message.id == id))
            .collect();
        letters.sort_by_key(|it| (it.at, it.message.id));
        letters
    }
}

fn within(all: Vec<StoredMessage>, max_messages: u32, max_bytes: u64) -> Vec<StoredMessage> {
    let mut messages: Vec<StoredMessage> = Vec::new();
    for message in all {
        let bytes: usize = messages.iter().map(|it| it.payload.len()).sum();
        let full = !messages.is_empty() && bytes as u64 >= max_bytes;
        if full || messages.len() == max_messages as usize {
            break;
        }
        messages.push(message);
    }
    messages
}
