//! What operators ask for. Everything that concerns a mailbox goes through the store like
//! everything else, in the order of the key; what the core knows better, since it is delivering,
//! is laid over the store's answer.

use super::Gateway;
use crate::command::Command;
use crate::connection::Connection;
use crate::fates::Last;
use crate::id::{Key, MessageId, OpId, RequestId};
use crate::mailbox::Standing;
use crate::operations::{Asked, Pending};
use crate::operator::{ConnectionView, Counts, Fate, OperatorAnswer, OperatorRequest, Stage};
use crate::record::{DeliveryRecord, Record, StoreRecord};
use crate::store::{
    Answer, DeadAnswer, DeadOp, DeviceAnswer, DeviceOp, Found, Op, QueueAnswer, QueueOp,
    StoredMessage, Target,
};
use std::collections::BTreeMap;

/// A page of messages has at most so many payload bytes, and one message more.
const PAGE_BYTES: u64 = 4 << 20;

impl Gateway {
    pub(super) fn on_operator(&mut self, request: RequestId, asked: OperatorRequest) {
        match asked {
            OperatorRequest::ListQueues { prefix, after, limit } => {
                let op = Op::Queue(QueueOp::Keys { prefix, after, limit });
                self.ask(request, None, Asked::Plain, op);
            }
            OperatorRequest::ShowQueue { key, after, limit } => {
                let messages = QueueOp::Messages {
                    key: key.clone(),
                    after,
                    max_messages: limit,
                    max_bytes: PAGE_BYTES,
                };
                self.ask(request, Some(&key), Asked::Plain, Op::Queue(messages));
            }
            OperatorRequest::PurgeQueue { key, ids, limit } => {
                self.purge_queue(request, &key, ids, limit);
            }
            OperatorRequest::ListDead { filter, after, limit } => {
                let op = Op::Dead(DeadOp::List { filter, after, limit });
                self.ask(request, None, Asked::Plain, op);
            }
            OperatorRequest::RequeueDead { key, ids } => {
                self.requeue_dead(request, &key, ids);
            }
            OperatorRequest::PurgeDead { filter, limit } => {
                let op = Op::Dead(DeadOp::Purge { filter, limit });
                self.ask(request, None, Asked::Plain, op);
            }
            OperatorRequest::FindMessage { key, target } => {
                let asked = match &target {
                    Target::Id(id) => Asked::Find(Some(*id)),
                    Target::Name(_) => Asked::Find(None),
                };
                let op = Op::Find { key: key.clone(), target, now: self.now };
                self.ask(request, Some(&key), asked, op);
            }
            OperatorRequest::ListConnections { key, after, limit } => {
                let views = self.connection_views(key.as_ref(), after, limit);
                self.tell(request, OperatorAnswer::Connections(views));
            }
            OperatorRequest::Count => {
                let counts = self.counts();
                self.tell(request, OperatorAnswer::Counts(counts));
            }
            OperatorRequest::CountStored => {
                self.ask(request, None, Asked::Plain, Op::Queue(QueueOp::Totals));
            }
            OperatorRequest::ReadDeviceLog { after, limit } => {
                let op = DeviceOp::Read { after, max_entries: limit, max_bytes: PAGE_BYTES };
                self.ask(request, None, Asked::Plain, Op::Device(op));
            }
            OperatorRequest::DropDeviceLog { through, limit } => {
                let op = Op::Device(DeviceOp::Drop { through, limit });
                self.ask(request, None, Asked::Plain, op);
            }
        }
    }

    fn tell(&mut self, request: RequestId, answer: OperatorAnswer) {
        self.emit(Command::Answer { request, answer });
    }

    fn ask(&mut self, request: RequestId, key: Option<&Key>, asked: Asked, op: Op) {
        let mailbox = key.map(|key| self.registry.find_or_insert(key, self.config.bind));
        self.issue(Pending::Operator { mailbox, request, asked }, op);
    }

    /// Lets dead letters wait again at their old places: before what a load under way brings, which
    /// would no longer be the first of the mailbox and so not be spared by appends.
    fn requeue_dead(&mut self, request: RequestId, key: &Key, ids: Vec<MessageId>) {
        let slot = self.registry.find_or_insert(key, self.config.bind);
        self.mailbox(slot).outdate_load();
        self.forget_burials(slot);
        let expires_at = self.now + self.config.ttl;
        let op = DeadOp::Requeue { key: key.clone(), ids, expires_at };
        let pending = Pending::Operator { mailbox: Some(slot), request, asked: Asked::Requeue };
        self.issue(pending, Op::Dead(op));
    }

    /// Burials that fail may be carried out all the same, and given again they would bury what is let
    /// wait again: those that failed, and those that may yet. What is still to be buried fails once
    /// more, or the next sweep finds it.
    fn forget_burials(&mut self, slot: u32) {
        let (count, ids) = self.operations.drop_burials(slot);
        let mailbox = self.mailbox(slot);
        mailbox.pending -= count;
        for id in ids {
            mailbox.burying.remove(&id);
        }
    }

    /// Drops what waits. What is in the window is being delivered and stays, and a load under way may
    /// bring what is dropped.
    fn purge_queue(&mut self, request: RequestId, key: &Key, ids: Vec<MessageId>, limit: u32) {
        let slot = self.registry.find_or_insert(key, self.config.bind);
        let mailbox = self.mailbox(slot);
        mailbox.outdate_load();
        let mut spare: Vec<_> = mailbox.ids().into_iter().collect();
        spare.extend(mailbox.removed_ids());
        let key = mailbox.key.clone();
        let pending = Pending::Operator { mailbox: Some(slot), request, asked: Asked::Plain };
        self.issue(pending, Op::Queue(QueueOp::Purge { key, ids, spare, limit }));
    }

    /// The store has answered what an operator asked.
    pub(super) fn on_operator_answer(
        &mut self,
        slot: Option<u32>,
        request: RequestId,
        asked: Asked,
        answer: Answer,
    ) {
        let answer = match answer {
            Answer::Queue(answer) => self.queue_answer(slot, answer),
            Answer::Dead(DeadAnswer::Listed(letters)) => OperatorAnswer::Dead(letters),
            Answer::Dead(DeadAnswer::Purged(count)) => {
                if count > 0 {
                    let op = OpId { slot: 0, generation: 0 };
                    self.record(Record::Store(op, StoreRecord::DeadPurged { count }));
                }
                OperatorAnswer::Dropped(count)
            }
            Answer::Dead(DeadAnswer::Requeued(ids)) => {
                let slot = slot.expect("a requeue is about a key");
                self.on_requeued(slot, &ids);
                OperatorAnswer::Requeued(ids)
            }
            Answer::Found(found) => {
                let slot = slot.expect("a message is found by its key");
                OperatorAnswer::Found(Box::new(self.fate(slot, asked, *found)))
            }
            Answer::Device(DeviceAnswer::Entries(entries)) => OperatorAnswer::DeviceLog(entries),
            Answer::Device(DeviceAnswer::Dropped(count)) => {
                if count > 0 {
                    let op = OpId { slot: 0, generation: 0 };
                    self.record(Record::Store(op, StoreRecord::DeviceLogTaken { count }));
                }
                OperatorAnswer::Dropped(count)
            }
            Answer::Appended(_)
            | Answer::Loaded(_)
            | Answer::Removed { .. }
            | Answer::Retried
            | Answer::Buried(_)
            | Answer::Expired(_)
            | Answer::Claim(_)
            | Answer::SessionKept
            | Answer::SessionFound(_)
            | Answer::Device(DeviceAnswer::Kept | DeviceAnswer::Full)
            | Answer::Failed(_) => panic!("the store answered an operator with {answer:?}"),
        };
        self.tell(request, answer);
    }

    fn queue_answer(&mut self, slot: Option<u32>, answer: QueueAnswer) -> OperatorAnswer {
        match answer {
            QueueAnswer::Keys(queues) => OperatorAnswer::Queues(queues),
            QueueAnswer::Messages(messages) => {
                let stages = self.stages(slot.expect("messages are listed by key"));
                let staged = messages.into_iter().map(|message| {
                    let stage = stages.get(&message.id).copied().unwrap_or(Stage::Waiting);
                    (message, stage)
                });
                OperatorAnswer::Queue(staged.collect())
            }
            QueueAnswer::Purged(ids) => {
                let slot = slot.expect("a queue is purged by its key");
                for &id in &ids {
                    let key = self.registry.get(slot).key.clone();
                    self.fates.note(id, Last::Purged);
                    self.record_delivery(key, DeliveryRecord::Purged { id });
                }
                // What was too much for the window may be gone.
                self.look_again(slot);
                OperatorAnswer::Dropped(ids.len() as u64)
            }
            QueueAnswer::Totals { waiting, dead } => OperatorAnswer::Totals { waiting, dead },
        }
    }

    /// Messages wait again at their old places, before anything that is still to be loaded.
    fn on_requeued(&mut self, slot: u32, ids: &[MessageId]) {
        for &id in ids {
            let key = self.registry.get(slot).key.clone();
            self.fates.note(id, Last::Accepted);
            self.record_delivery(key, DeliveryRecord::Requeued { id });
        }
        self.forget_burials(slot);
        // Also when there are none: an earlier attempt may have failed and been carried out.
        self.mailbox(slot).fall_behind();
        self.look_again(slot);
    }

    /// Lets the key load what is there now.
    fn look_again(&mut self, slot: u32) {
        let now = self.now;
        let mailbox = self.mailbox(slot);
        mailbox.crowded = false;
        mailbox.resume_at = mailbox.resume_at.min(now);
        self.pump(slot);
    }

    /// The operation that an operator waits for failed, or was not answered in time.
    pub(super) fn on_operator_failed(
        &mut self,
        slot: Option<u32>,
        request: RequestId,
        asked: Asked,
        error: String,
    ) {
        if let (Asked::Requeue, Some(slot)) = (asked, slot) {
            // It may have been carried out.
            self.forget_burials(slot);
            self.mailbox(slot).fall_behind();
            self.look_again(slot);
        }
        self.tell(request, OperatorAnswer::Failed(error));
    }

    /// How far the messages are that the core is delivering.
    fn stages(&self, slot: u32) -> BTreeMap<MessageId, Stage> {
        let mailbox = self.registry.get(slot);
        let delivered = mailbox.entries().filter(|entry| entry.standing != Standing::Void);
        let written = delivered.filter(|entry| entry.was_written());
        let confirmed = mailbox.removed_ids().map(|id| (id, Stage::Confirmed));
        written.map(|entry| (entry.id, Stage::Written)).chain(confirmed).collect()
    }

    fn fate(&self, slot: u32, asked: Asked, found: Found) -> Fate {
        let id = match found {
            Found::Waiting(message) => return self.stored_fate(slot, message),
            Found::Dead(letter) => return Fate::Dead(letter),
            Found::Gone(id) => Some(id),
            Found::Unknown => match asked {
                Asked::Find(id) => id,
                Asked::Plain | Asked::Requeue => None,
            },
        };
        let Some(id) = id else { return Fate::Unknown };
        match self.stages(slot).get(&id) {
            Some(Stage::Written) => return Fate::Written(id),
            Some(Stage::Confirmed) => return Fate::Confirmed(id),
            Some(Stage::Waiting) | None => {}
        }
        match self.fates.get(id) {
            Some(Last::Accepted) => Fate::Confirmed(id),
            Some(Last::Purged) => Fate::Purged(id),
            Some(Last::Died) => Fate::Gone(id),
            None if matches!(found, Found::Gone(_)) => Fate::Gone(id),
            None => Fate::Unknown,
        }
    }

    fn stored_fate(&self, slot: u32, message: StoredMessage) -> Fate {
        let stage = self.stages(slot).get(&message.id).copied().unwrap_or(Stage::Waiting);
        Fate::Stored(message, stage)
    }

    /// The connections of a key, or of a range of slots.
    fn connection_views(
        &self,
        key: Option<&Key>,
        after: Option<u32>,
        limit: u32,
    ) -> Vec<ConnectionView> {
        let behind = |conn: &&Connection| after.is_none_or(|after| conn.id.slot > after);
        let limit = limit as usize;
        if let Some(key) = key {
            let Some(slot) = self.registry.find(key) else { return Vec::new() };
            let ids = self.registry.get(slot).conns.iter();
            let mut conns: Vec<_> = ids.filter_map(|id| self.conn(*id)).filter(behind).collect();
            conns.sort_by_key(|conn| conn.id.slot);
            return conns.into_iter().take(limit).map(|conn| self.view(conn)).collect();
        }
        let first = after.map_or(0, |after| after as usize + 1).min(self.conns.len());
        let conns = self.conns[first..].iter().flatten().take(limit);
        conns.map(|conn| self.view(conn)).collect()
    }

    fn view(&self, conn: &Connection) -> ConnectionView {
        let binding = conn.binding();
        ConnectionView {
            id: conn.id,
            key: self.key_of(conn.id),
            dialect: binding.map(|binding| binding.dialect),
            opened_at: conn.opened_at,
            silent: self.patience().0.since(conn.heard_at.0),
            unconfirmed: binding.map_or(0, crate::connection::Binding::in_flight),
            totals: conn.totals,
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            connections: u64::from(self.open_conns),
            keys: self.registry.len() as u64,
            operations: self.operations.len() as u64,
            confirmed: self.confirmed,
            acknowledged: self.acknowledged,
            lost: self.lost,
        }
    }
}
