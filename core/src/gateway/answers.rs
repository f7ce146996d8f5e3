//! What the store says.

use super::Gateway;
use crate::backoff;
use crate::command::{FailReason, Reply};
use crate::config::Detail;
use crate::fates::Last;
use crate::id::{MessageId, OpId};
use crate::mailbox::{Entry, KeyState, Standing, Unstored};
use crate::operations::{Asked, Excess, Pending, PendingAppend};
use crate::record::{DeathReason, DeliveryRecord, PushRecord, Record, StoreRecord};
use crate::sabotage::Sabotage;
use crate::store::{
    Answer, Appended, ClaimAnswer, ClaimOp, DeadAnswer, DeadFilter, DeadOp, DeviceAnswer, Expired,
    Op, Promise,
};
use std::collections::{BTreeMap, BTreeSet};

impl Gateway {
    pub(super) fn on_answer(&mut self, op: OpId, answer: Answer) {
        let Some(pending) = self.operations.finish(op) else {
            return self.record(Record::StaleId);
        };
        let slot = pending.mailbox();
        if let Answer::Failed(error) = answer {
            let (kind, key) = (pending.kind(), self.key_in(slot));
            let shown = error.clone();
            self.record(Record::Store(op, StoreRecord::Failed { kind, key, error }));
            self.on_failed(op, pending, shown);
        } else {
            if self.config.sharing.is_some() && !matches!(pending, Pending::Renew { .. }) {
                self.hasten_lease();
            }
            self.on_success(pending, answer);
        }
        if let Some(slot) = slot {
            // Until here the operation kept the mailbox, whatever its answer led to.
            self.mailbox(slot).pending -= 1;
            self.registry.dispose(slot);
        }
    }

    /// An operation that was not answered in time counts as failed.
    pub(super) fn on_timeout(&mut self, op: OpId) {
        let Some(pending) = self.operations.finish(op) else { return };
        let slot = pending.mailbox();
        if let Some(slot) = slot {
            self.mailbox(slot).pending -= 1;
        }
        let (kind, key) = (pending.kind(), self.key_in(slot));
        self.record(Record::Store(op, StoreRecord::TimedOut { kind, key }));
        self.on_failed(op, pending, "the store did not answer in time".to_owned());
        if let Some(slot) = slot {
            self.registry.dispose(slot);
        }
    }

    fn key_in(&self, slot: Option<u32>) -> Option<crate::id::Key> {
        slot.map(|slot| self.registry.get(slot).key.clone())
    }

    fn on_success(&mut self, pending: Pending, answer: Answer) {
        match (pending, answer) {
            (Pending::Append(append), Answer::Appended(appended)) => {
                self.on_appended(append, appended);
            }
            (Pending::Load { mailbox, .. }, Answer::Loaded(loaded)) => {
                self.on_loaded(mailbox, loaded);
            }
            (Pending::Remove { mailbox, first, .. }, Answer::Removed { ids, withdrawn }) => {
                self.reuse_ids(ids);
                self.on_removed(mailbox, first, withdrawn);
            }
            (Pending::Retry { .. }, Answer::Retried) => {}
            (Pending::Bury { mailbox, reason, mut ids, at, epoch, .. }, Answer::Buried(buried)) => {
                let burying = &mut self.mailbox(mailbox).burying;
                ids.iter().for_each(|id| assert!(burying.remove(id), "{id} was to be buried"));
                self.on_buried(mailbox, reason, &buried);
                if self.registry.get(mailbox).epoch() != epoch {
                    // This node has claimed the key anew meanwhile: the store took it for another.
                    ids.retain(|id| !buried.contains(id));
                    self.bury(mailbox, ids, reason, at);
                }
                self.release_when_cleared(mailbox);
            }
            (Pending::Expire, Answer::Expired(expired)) => self.on_expired(expired),
            (Pending::TrimDead(excess), Answer::Dead(DeadAnswer::Purged(count))) => {
                self.on_dead_dropped(excess, count);
            }
            (Pending::Link { conn, asked }, answer) => self.on_link_answer(conn, asked, answer),
            (Pending::DeviceLink, Answer::Device(DeviceAnswer::Kept)) => {}
            (Pending::DeviceLog(upload), Answer::Device(answer)) => {
                self.on_log_answer(*upload, &answer);
            }
            (Pending::Renew { asked_at }, Answer::Claim(ClaimAnswer::Renewed)) => {
                self.on_renewed(asked_at);
            }
            (Pending::Claim { mailbox, .. }, Answer::Claim(answer)) => {
                self.on_claimed(mailbox, answer);
            }
            (Pending::Release { .. }, Answer::Claim(ClaimAnswer::Released(_))) => {}
            (Pending::Operator { mailbox, request, asked }, answer) => {
                self.on_operator_answer(mailbox, request, asked, answer);
            }
            (pending, answer) => panic!("the store answered {pending:?} with {answer:?}"),
        }
    }

    fn on_appended(&mut self, append: PendingAppend, appended: Appended) {
        match appended {
            Appended::Stored { evicted, .. } => {
                if let Some(to) = append.reply
                    && self.config.sharing.is_some()
                    && append.entry.is_none()
                    && self.registry.get(append.mailbox).conns.is_empty()
                {
                    self.record_missed(append.mailbox, to, append.id);
                }
                self.on_stored(&append, append.promise);
                self.on_buried(append.mailbox, DeathReason::Limit, &evicted);
            }
            Appended::Elsewhere { evicted, .. } => {
                // It may have been written here too: whether a connection that has lost its key
                // counts as live, nobody can tell. If it was claimed since, this node is the other.
                if self.registry.get(append.mailbox).epoch() == append.epoch {
                    self.lose_key(append.mailbox);
                }
                self.on_stored(&append, Promise::Queued);
                self.on_buried(append.mailbox, DeathReason::Limit, &evicted);
            }
            Appended::Merged { into } => {
                if self.fates.forget(append.id) {
                    self.fates.accept(into);
                }
                self.drop_held(&append);
                let Some(to) = append.reply else { return };
                let key = self.registry.get(append.mailbox).key.clone();
                self.record_push(to, PushRecord::Merged { key, id: append.id, into });
                self.reply(to, Reply::Queued(into));
            }
            Appended::Duplicate { first, promise } => {
                self.fates.forget(append.id);
                self.drop_held(&append);
                let Some(to) = append.reply else { return };
                let key = self.registry.get(append.mailbox).key.clone();
                self.record_push(to, PushRecord::Duplicate { key, id: append.id, first });
                self.reply(
                    to,
                    match promise {
                        Promise::Ok => Reply::Ok(first),
                        Promise::Queued => Reply::Queued(first),
                    },
                );
                self.fetch_duplicated(append.mailbox, first);
            }
            Appended::Conflict => {
                self.drop_held(&append);
                self.fail_push(&append, FailReason::Conflict);
            }
        }
    }

    /// A push is safe, and may be promised so much.
    fn on_stored(&mut self, append: &PendingAppend, promise: Promise) {
        let slot = append.mailbox;
        let mut written = promise == Promise::Ok;
        if let Some(number) = append.entry {
            let entry = self.mailbox(slot).entry_mut(number);
            if let Some(entry) = entry.filter(|entry| entry.id == append.id) {
                entry.op = None;
                if entry.standing == Standing::Held {
                    entry.standing = Standing::Ready;
                    self.pump(slot);
                }
                let entry = self.registry.get(slot).entry(number);
                written &= entry.is_none_or(Entry::was_written);
            }
        } else if !self.sabotaged(Sabotage::AppendForgotten) {
            // The store holds a message that the window does not.
            self.mailbox(slot).fall_behind();
        }
        if let Some(to) = append.reply {
            let id = append.id;
            if self.records(Detail::Outcomes) {
                let key = self.registry.get(slot).key.clone();
                let ok = PushRecord::Ok { key: key.clone(), id };
                self.record_push(to, if written { ok } else { PushRecord::Queued { key, id } });
            }
            self.reply(to, if written { Reply::Ok(id) } else { Reply::Queued(id) });
        }
        if append.entry.is_none() {
            self.pump(slot);
        }
    }

    /// A push that was not to be written before its answer will never be.
    fn drop_held(&mut self, append: &PendingAppend) {
        let Some(number) = append.entry else { return };
        let mailbox = self.mailbox(append.mailbox);
        if mailbox.entry(number).is_some_and(|entry| entry.id == append.id) {
            mailbox.void(number);
            mailbox.crowded = false;
            self.pump(append.mailbox);
            self.mailbox(append.mailbox).pop_void();
        }
    }

    /// The first push of a name may be in the store although it was answered `fail`: not in the
    /// window then, and promised now.
    fn fetch_duplicated(&mut self, slot: u32, first: MessageId) {
        let mailbox = self.mailbox(slot);
        if !mailbox.knows(first) {
            mailbox.fall_behind();
            self.pump(slot);
        }
    }

    fn fail_push(&mut self, append: &PendingAppend, reason: FailReason) {
        if let Some(to) = append.reply {
            let key = self.registry.get(append.mailbox).key.clone();
            self.reply_failed(to, key, append.id, reason);
        }
    }

    fn on_removed(&mut self, slot: u32, first: MessageId, withdrawn: u32) {
        let mailbox = self.registry.get_mut(slot);
        let was_behind = mailbox.removing >= self.config.max_removing;
        let ids = mailbox.end_removal(first);
        mailbox.crowded = false;
        if withdrawn > 0 {
            let key = mailbox.key.clone();
            self.record_delivery(key, DeliveryRecord::Withdrawn { count: withdrawn });
        }
        self.reuse_ids(ids);
        self.release_when_cleared(slot);
        if was_behind {
            self.pump(slot);
        }
    }

    fn on_buried(&mut self, slot: u32, reason: DeathReason, ids: &[MessageId]) {
        for &id in ids {
            let key = self.registry.get(slot).key.clone();
            self.fates.note(id, Last::Died);
            self.record_delivery(key, DeliveryRecord::Died { id, reason });
        }
        self.sweep.died += ids.len() as u64;
        if self.sweep.died >= u64::from(super::deadlines::SWEEP_LIMIT) {
            self.drop_dead(Excess::Number);
        }
    }

    /// Buries the expired messages that are not being delivered, and asks for more when there may
    /// be more.
    fn on_expired(&mut self, expired: Vec<Expired>) {
        let more = expired.len() >= super::deadlines::SWEEP_LIMIT as usize;
        let last = expired.last().map(|expired| expired.cursor);
        let mut by_key: BTreeMap<_, Vec<MessageId>> = BTreeMap::new();
        for Expired { key, cursor } in expired {
            by_key.entry(key).or_default().push(cursor.id);
        }
        let requeued = self.being_requeued();
        for (key, mut ids) in by_key {
            let slot = self.registry.find_or_insert(&key, self.config.bind);
            let mailbox = self.registry.get(slot);
            if matches!(mailbox.state, KeyState::Loading(_)) || requeued.contains(&slot) {
                // What the load brings is being judged, or these are being buried already, or let wait
                // again before they would be buried; the next sweep sees what is left.
                continue;
            }
            let known = self.known_ids(slot);
            ids.retain(|id| !known.contains(id));
            self.bury(slot, ids, DeathReason::Ttl, self.now);
            self.registry.dispose(slot);
        }
        if more {
            self.sweep_expired(last);
        }
    }

    /// The mailboxes of which dead letters are being let wait again.
    fn being_requeued(&self) -> BTreeSet<u32> {
        let requeued = |pending: &Pending| {
            let Pending::Operator { mailbox, asked: Asked::Requeue, .. } = pending else {
                return None;
            };
            *mailbox
        };
        self.operations.iter().filter_map(requeued).collect()
    }

    fn on_dead_dropped(&mut self, excess: Excess, count: u64) {
        if count > 0 {
            let op = OpId { slot: 0, generation: 0 };
            self.record(Record::Store(op, StoreRecord::DeadDropped { count }));
        }
        if count >= u64::from(super::deadlines::SWEEP_LIMIT) {
            self.drop_dead(excess);
        }
    }

    fn on_failed(&mut self, op: OpId, pending: Pending, error: String) {
        match pending {
            Pending::Append(append) => self.on_append_failed(&append),
            Pending::Load { mailbox, attempt } => {
                if self.registry.get(mailbox).conns.is_empty() {
                    self.mailbox(mailbox).state = KeyState::Unknown;
                } else {
                    self.park(op, Pending::Load { mailbox, attempt: attempt + 1 }, attempt);
                }
            }
            Pending::Remove { mailbox, first, .. } if self.sabotaged(Sabotage::RemovalGivenUp) => {
                self.mailbox(mailbox).end_removal(first);
            }
            Pending::Remove { mailbox, first, attempt } => {
                self.park(op, Pending::Remove { mailbox, first, attempt: attempt + 1 }, attempt);
            }
            Pending::Retry { mailbox, retries, attempt } => {
                if !self.operations.join_parked(mailbox, &retries) {
                    let again = Pending::Retry { mailbox, retries, attempt: attempt + 1 };
                    self.park(op, again, attempt);
                }
            }
            Pending::Bury { ids, .. } if ids.is_empty() => {}
            Pending::Bury { mailbox, ids, reason, at, epoch, attempt } => {
                let again = Pending::Bury { mailbox, ids, reason, at, epoch, attempt: attempt + 1 };
                self.park(op, again, attempt);
            }
            Pending::Link { conn, asked } => self.on_link_failed(conn, asked),
            Pending::Operator { mailbox, request, asked } => {
                self.on_operator_failed(mailbox, request, asked, error);
            }
            Pending::DeviceLog(upload) => self.on_log_failed(*upload),
            Pending::Claim { mailbox, attempt } => {
                self.park(op, Pending::Claim { mailbox, attempt: attempt + 1 }, attempt);
            }
            Pending::Release { mailbox, epoch, attempt } => {
                let again = Pending::Release { mailbox, epoch, attempt: attempt + 1 };
                self.park(op, again, attempt);
            }
            Pending::Renew { .. } => self.on_renewal_failed(),
            // The next sweep tries again; a device's next connection is noted again.
            Pending::Expire | Pending::TrimDead(_) | Pending::DeviceLink => {}
        }
    }

    /// A push may not be safe. If it was written, a pong decides what it is answered.
    fn on_append_failed(&mut self, append: &PendingAppend) {
        let Some(to) = append.reply else { return };
        let serves = self.serves(append.mailbox);
        let mailbox = self.mailbox(append.mailbox);
        let entry = append.entry.and_then(|number| mailbox.entry_mut(number));
        match entry.filter(|entry| entry.id == append.id) {
            Some(entry) if entry.standing == Standing::Ready => {
                entry.op = None;
                entry.unstored = Some(Unstored::Unanswered(to));
                if !serves {
                    self.fail_unstored(append.mailbox);
                }
            }
            _ => {
                self.drop_held(append);
                self.fail_push(append, FailReason::NotStored);
            }
        }
    }

    /// Keeps an operation that must succeed, to be given again later.
    fn park(&mut self, op: OpId, pending: Pending, attempt: u32) {
        let slot = pending.mailbox().expect("operations that must succeed are about a mailbox");
        self.mailbox(slot).pending += 1;
        let (kind, key) = (pending.kind(), self.key_in(Some(slot)));
        let record = StoreRecord::Retried { kind, key, attempt: attempt + 1 };
        self.record(Record::Store(op, record));
        let at = self.now + backoff::store_delay(attempt, &mut self.rng);
        self.operations.park(at, pending);
    }

    /// Gives the parked operations again whose time has come.
    pub(super) fn unpark(&mut self) {
        while let Some(pending) = self.operations.unpark(self.now) {
            let slot = pending.mailbox().expect("operations that must succeed are about a mailbox");
            self.mailbox(slot).pending -= 1;
            self.issue_again(pending);
        }
    }

    /// Gives the store an operation that can be made from what is remembered of it.
    pub(super) fn issue_again(&mut self, mut pending: Pending) {
        let request = match &mut pending {
            Pending::Append(_)
            | Pending::Expire
            | Pending::TrimDead(_)
            | Pending::Link { .. }
            | Pending::DeviceLink
            | Pending::DeviceLog(_)
            | Pending::Renew { .. }
            | Pending::Operator { .. } => {
                unreachable!("{pending:?} is never given again")
            }
            Pending::Load { mailbox, .. } => self.load_op(*mailbox),
            Pending::Remove { mailbox, first, .. } => {
                let mut ids = self.spare_ids.pop().unwrap_or_default();
                let mailbox = self.registry.get(*mailbox);
                ids.extend_from_slice(mailbox.removal(*first));
                Op::Remove { key: mailbox.key.clone(), ids }
            }
            Pending::Retry { mailbox, retries, .. } => {
                let mailbox = self.registry.get(*mailbox);
                let (key, epoch) = (mailbox.key.clone(), mailbox.epoch());
                Op::Retry { key, retries: retries.clone(), epoch }
            }
            Pending::Bury { mailbox, ids, reason, at, epoch, .. } => {
                let mailbox = self.registry.get(*mailbox);
                *epoch = mailbox.epoch();
                let (key, ids) = (mailbox.key.clone(), ids.clone());
                Op::Bury { key, ids, reason: *reason, at: *at, epoch: *epoch }
            }
            Pending::Claim { mailbox, .. } => Op::Claim(self.claim_op(*mailbox)),
            Pending::Release { mailbox, epoch, .. } => {
                let key = self.registry.get(*mailbox).key.clone();
                Op::Claim(ClaimOp::Release { key, epoch: *epoch })
            }
        };
        self.issue(pending, request);
    }

    /// Asks for messages whose time to live is over.
    pub(super) fn sweep_expired(&mut self, after: Option<crate::store::ExpiryCursor>) {
        let limit = super::deadlines::SWEEP_LIMIT;
        self.issue(Pending::Expire, Op::Expire { now: self.now, after, limit });
    }

    /// Drops dead letters that are too old or too many.
    pub(super) fn sweep_dead(&mut self) {
        self.drop_dead(Excess::Age);
        self.drop_dead(Excess::Number);
    }

    fn drop_dead(&mut self, excess: Excess) {
        let limit = super::deadlines::SWEEP_LIMIT;
        let op = match excess {
            Excess::Age => {
                let until = Some(self.now - self.config.dead_keep);
                DeadOp::Purge { filter: DeadFilter { until, ..DeadFilter::default() }, limit }
            }
            Excess::Number => {
                self.sweep.died = 0;
                DeadOp::Trim { keep: self.config.dead_limit, limit }
            }
        };
        self.issue(Pending::TrimDead(excess), Op::Dead(op));
    }
}
