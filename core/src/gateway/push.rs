//! What back ends ask for: pushes, in lines or by HTTP.

use super::{Gateway, Running};
use crate::command::{Command, FailReason, Reply};
use crate::config::{Dedup, Detail};
use crate::dialect;
use crate::event::{PushRequest, PusherEvent};
use crate::id::{MessageId, OpId, PusherId};
use crate::mailbox::{Entry, KeyState, Standing};
use crate::operations::{Pending, PendingAppend};
use crate::pushers::{Reading, ReplyTo};
use crate::record::{PushRecord, Record};
use crate::sabotage::Sabotage;
use crate::store::{Append, Idempotency, Op, Promise};
use crate::time::{Span, Time};
use bytes::Bytes;

/// A push that was understood.
struct Accepted {
    payload: Bytes,
    idempotency: Option<Idempotency>,
    ttl: Span,
}

/// How a push goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    /// Written at once and stored at the same time.
    Direct,
    /// Stored, and then written in its turn: the store may know that it is a duplicate.
    Held,
    /// Stored, and written when a load brings it.
    Behind,
    /// Stored for a key that has no connection.
    Offline,
}

impl Gateway {
    pub(super) fn on_pusher(&mut self, id: PusherId, event: PusherEvent) {
        if let PusherEvent::Opened = event {
            return self.pushers.open(id);
        }
        if self.pushers.get_mut(id).is_none() {
            return self.record(Record::StaleId);
        }
        match event {
            PusherEvent::Opened => {}
            PusherEvent::LineReceived(line) => self.on_line(id, line),
            PusherEvent::LineTooLong { bytes: _ } => self.on_long_line(id),
            PusherEvent::Requested(request) => self.on_request(id, &request),
            PusherEvent::Finished { unfinished } => self.on_finished(id, unfinished),
            PusherEvent::Closed => {
                self.pushers.close(id);
            }
        }
    }

    fn on_line(&mut self, pusher: PusherId, line: Bytes) {
        let to = self.take_push(pusher, line.len());
        if self.running == Running::Stopping {
            return self.refuse(to, FailReason::Stopping, line);
        }
        match dialect::push::read(&line, self.config.max_key as usize) {
            Ok(push) => {
                let slot = self.registry.find_or_insert(&push.key, self.config.bind);
                let payload = push.rebuilt.map_or(line, Bytes::from);
                let ttl = self.config.ttl;
                self.accept(to, slot, Accepted { payload, idempotency: None, ttl });
            }
            Err(reason) => self.refuse(to, reason, line),
        }
    }

    fn on_long_line(&mut self, id: PusherId) {
        let record = PushRecord::Refused { reason: FailReason::TooLong, content: Bytes::new() };
        self.record(Record::Push(id, record));
        self.on_finished(id, 0);
    }

    fn on_request(&mut self, pusher: PusherId, request: &PushRequest) {
        let payload = request.data.as_bytes().clone();
        let to = self.take_push(pusher, payload.len());
        let key = request.trimmed_key();
        let refusal = if key.is_empty() {
            Some(FailReason::EmptyKey)
        } else if key.len() > self.config.max_key as usize {
            Some(FailReason::KeyTooLong)
        } else if payload.len() as u64 > self.config.max_push_line {
            Some(FailReason::TooLong)
        } else if self.running == Running::Stopping {
            Some(FailReason::Stopping)
        } else {
            None
        };
        if let Some(reason) = refusal {
            return self.refuse(to, reason, payload);
        }
        let window = self.config.dedup_window;
        let idempotency = request.idempotency.clone().map(|name| Idempotency { name, window });
        let ttl = request.ttl.unwrap_or(self.config.ttl);
        let slot = self.registry.find_or_insert(&key, self.config.bind);
        let id = self.accept(to, slot, Accepted { payload, idempotency, ttl });
        self.fates.accept(id);
    }

    fn on_finished(&mut self, id: PusherId, unfinished: u64) {
        if unfinished > 0 {
            self.record(Record::Push(id, PushRecord::Unfinished { bytes: unfinished }));
        }
        self.pushers.get_mut(id).expect("checked by the caller").finish();
        self.flush_replies(id);
    }

    /// Counts a push and stops reading its back end when too many are unanswered.
    fn take_push(&mut self, id: PusherId, bytes: usize) -> ReplyTo {
        let (count, limit) =
            (self.config.max_unanswered as usize, self.config.max_unanswered_bytes);
        let pusher = self.pushers.get_mut(id).expect("checked by the caller");
        let to = pusher.take(bytes);
        let full = pusher.unanswered() >= count || pusher.bytes >= limit;
        if full && pusher.reading == Reading::On {
            pusher.reading = Reading::Paused;
            let unanswered = u32::try_from(pusher.unanswered()).unwrap_or(u32::MAX);
            self.emit(Command::Pause { pusher: id });
            self.record(Record::Push(id, PushRecord::Paused { unanswered }));
        }
        to
    }

    /// Writes the replies that are due, in order.
    pub(super) fn flush_replies(&mut self, id: PusherId) {
        let (count, limit) =
            (self.config.max_unanswered as usize, self.config.max_unanswered_bytes);
        let Some(pusher) = self.pushers.get_mut(id) else { return };
        while let Some(reply) = pusher.next_reply() {
            self.out.push(Command::Reply { pusher: id, reply });
        }
        let relaxed = pusher.unanswered() <= count / 2 && pusher.bytes <= limit / 2;
        if pusher.reading == Reading::Paused && relaxed {
            pusher.reading = Reading::On;
            self.emit(Command::Resume { pusher: id });
            self.record(Record::Push(id, PushRecord::Resumed));
        } else if pusher.reading == Reading::Finished && pusher.unanswered() == 0 {
            pusher.reading = Reading::Over;
            self.emit(Command::Finish { pusher: id });
        }
    }

    fn refuse(&mut self, to: ReplyTo, reason: FailReason, content: Bytes) {
        self.record_push(to, PushRecord::Refused { reason, content });
        self.reply(to, Reply::Fail(reason));
    }

    fn next_message(&mut self) -> MessageId {
        self.last_message += 1;
        MessageId { incarnation: self.incarnation, counter: self.last_message }
    }

    fn accept(&mut self, to: ReplyTo, slot: u32, push: Accepted) -> MessageId {
        let id = self.next_message();
        if self.records(Detail::Outcomes) {
            let (key, content) = (self.registry.get(slot).key.clone(), push.payload.clone());
            self.record_push(to, PushRecord::Prepared { key, id, content });
        }
        match self.route(slot, &push) {
            Route::Direct => self.push_direct(slot, to, id, push, Standing::Ready),
            Route::Held => self.push_direct(slot, to, id, push, Standing::Held),
            Route::Behind => {
                if !self.sabotaged(Sabotage::AppendForgotten) {
                    self.mailbox(slot).fall_behind();
                }
                self.store_push(slot, to, id, push, Promise::Queued, None);
            }
            Route::Offline => {
                // Whether another node has a connection is known when the store answers.
                if self.config.sharing.is_none() {
                    self.record_missed(slot, to, id);
                }
                self.store_push(slot, to, id, push, Promise::Queued, None);
            }
        }
        id
    }

    /// There is no connection of the key.
    pub(super) fn record_missed(&mut self, slot: u32, to: ReplyTo, id: MessageId) {
        let key = self.registry.get(slot).key.clone();
        let similar = self.registry.similar(&key).cloned();
        self.record_push(to, PushRecord::Missed { key, id, similar });
    }

    fn route(&self, slot: u32, push: &Accepted) -> Route {
        let mailbox = self.registry.get(slot);
        if mailbox.conns.is_empty() {
            Route::Offline
        } else if mailbox.state != KeyState::CaughtUp
            || !self.serves(slot)
            || !self.window_has_room(slot, push.payload.len() as u64)
        {
            Route::Behind
        } else if push.idempotency.is_some() {
            Route::Held
        } else {
            Route::Direct
        }
    }

    fn push_direct(
        &mut self,
        slot: u32,
        to: ReplyTo,
        id: MessageId,
        push: Accepted,
        standing: Standing,
    ) {
        let entry = Entry {
            id,
            payload: push.payload.clone(),
            position: None,
            tries: 0,
            written_at: Time::EPOCH,
            standing,
            op: None,
            acked: false,
            unstored: None,
        };
        let number = self.mailbox(slot).push(entry);
        self.pump(slot);
        let op = self.store_push(slot, to, id, push, Promise::Ok, Some(number));
        self.mailbox(slot).entry_mut(number).expect("it was just pushed").op = Some(op);
    }

    fn store_push(
        &mut self,
        slot: u32,
        to: ReplyTo,
        id: MessageId,
        push: Accepted,
        promise: Promise,
        entry: Option<u64>,
    ) -> OpId {
        let mailbox = self.registry.get(slot);
        let offline = mailbox.conns.is_empty();
        // The store may still hold a message that is confirmed or about to be buried: what merged
        // with it would go with it.
        let settled =
            offline && (!mailbox.is_clearing() || self.sabotaged(Sabotage::MergeWhileRemoving));
        let merge = settled && self.config.dedup == Dedup::On && push.idempotency.is_none();
        let append = Append {
            key: mailbox.key.clone(),
            id,
            payload: push.payload,
            accepted_at: self.now,
            expires_at: self.now + push.ttl,
            promise,
            idempotency: push.idempotency,
            merge_within: merge.then_some(self.config.dedup_window.min(push.ttl)),
            limit: self.config.mailbox_limit,
            window_end: mailbox.window_end(id),
            spare: mailbox.spare(id),
            epoch: mailbox.epoch(),
        };
        let (reply, epoch) = (Some(to), append.epoch);
        let pending = PendingAppend { mailbox: slot, id, entry, promise, reply, epoch };
        self.issue(Pending::Append(pending), Op::Append(append))
    }
}
