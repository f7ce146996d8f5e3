//! What is judged of messages: replies, storage, tries.

use super::{Fate, Judge, Message, Presence};
use std::collections::VecDeque;
use steadfast_core::command::Reply;
use steadfast_core::config::BindPolicy;
use steadfast_core::id::{MessageId, OpId, PusherId};
use steadfast_core::record::PushRecord;
use steadfast_core::store::{Append, Op};

impl Judge {
    pub(super) fn on_reply(&mut self, pusher: PusherId, reply: Reply) {
        let waiting = self.replies.get_mut(&pusher).and_then(VecDeque::pop_front);
        let id = waiting.expect("a reply answers a push");
        let message = &self.messages[&id];
        let payload = &self.payloads[&message.payload];
        match (reply, message.fate) {
            (Reply::Ok(named), Fate::Itself) => {
                assert_eq!(named, id, "the reply to {id}");
                assert!(payload.sent > 0, "{id} was answered ok and not written");
                assert!(self.is_safe(id), "{id} was answered ok and is not safe");
            }
            (Reply::Queued(named), Fate::Itself) => {
                assert_eq!(named, id, "the reply to {id}");
                assert!(message.stored, "{id} was answered queued and is not safe");
            }
            (Reply::Ok(named) | Reply::Queued(named), Fate::Another(other)) => {
                assert_eq!(named, other, "the reply to {id}");
                assert!(self.is_safe(other), "{other} stands for {id} and is not safe");
            }
            (Reply::Fail(_), Fate::Failed) => {}
            (reply, fate) => panic!("{id}, which is {fate:?}, was answered {reply:?}"),
        }
        self.message(id).promised = !matches!(reply, Reply::Fail(_));
    }

    pub(super) fn on_op(&mut self, op: OpId, request: &Op) {
        match request {
            Op::Append(append) => {
                self.appends.insert(op, (append.id, self.seen));
                self.judge_append(append);
            }
            Op::Remove { ids, .. } => {
                for id in ids {
                    self.on_removal(*id);
                }
            }
            Op::Load { .. }
            | Op::Retry { .. }
            | Op::Bury { .. }
            | Op::Expire { .. }
            | Op::Claim(_)
            | Op::Dead(_)
            | Op::Queue(_)
            | Op::Find { .. }
            | Op::Session(_)
            | Op::Device(_) => {}
        }
    }

    pub(super) fn judge_append(&self, append: &Append) {
        assert_eq!(append.limit, self.config.mailbox_limit, "the limit of {}", append.key);
        if let Some(id) = append.window_end {
            assert!(!self.live(&append.key).is_empty(), "{} has no window", append.key);
            assert!(!self.messages[&id].removed, "{id} is confirmed and in no window");
        }
        if append.merge_within.is_some() {
            assert!(self.live(&append.key).is_empty(), "{} is not offline", append.key);
        }
    }

    pub(super) fn on_removal(&mut self, id: MessageId) {
        let message = self.messages.get_mut(&id).expect("only messages are removed");
        let payload = self.payloads.get_mut(&message.payload).expect("it was pushed");
        if !std::mem::replace(&mut message.removed, true) {
            payload.removed += 1;
            payload.in_window = None;
        }
        assert!(payload.removed <= payload.proven, "{id} is removed, and no client has it");
    }

    pub(super) fn on_push_record(&mut self, pusher: PusherId, record: &PushRecord) {
        match record {
            PushRecord::Prepared { key, id, content } => {
                let (key, payload) = (key.clone(), content.clone());
                let presence =
                    if self.live(&key).is_empty() { Presence::Absent } else { Presence::Live };
                self.last_push = Some((*id, presence, Presence::Live));
                self.payloads.entry(payload.clone()).or_default().ids.push(*id);
                let fate = Fate::Itself;
                let message =
                    Message { key, payload, fate, stored: false, promised: false, removed: false };
                self.messages.insert(*id, message);
                self.replies.entry(pusher).or_default().push_back(*id);
            }
            PushRecord::Missed { .. } => {
                let (_, _, recorded) = self.last_push.as_mut().expect("a push was read");
                *recorded = Presence::Absent;
            }
            PushRecord::Merged { id, into, .. } => {
                let gone = self.messages[into].removed;
                assert!(!gone, "{id} is merged with {into}, which is confirmed");
                self.message(*id).fate = Fate::Another(*into);
            }
            PushRecord::Duplicate { id, first, .. } => {
                self.message(*id).fate = Fate::Another(*first);
            }
            PushRecord::Failed { id, .. } => self.message(*id).fate = Fate::Failed,
            PushRecord::Ok { .. }
            | PushRecord::Queued { .. }
            | PushRecord::Refused { .. }
            | PushRecord::Unfinished { .. }
            | PushRecord::Paused { .. }
            | PushRecord::Resumed => {}
        }
    }

    /// Nobody is left who could confirm it, and nobody has.
    pub(super) fn on_failed_try(&mut self, id: MessageId, tries: u32) {
        let message = &self.messages[&id];
        let payload = &self.payloads[&message.payload];
        assert!(tries <= self.config.retry_max, "{id} has failed {tries} tries");
        assert!(payload.sent > 0, "{id} has failed a try and was never written");
        let live = self.live(&message.key);
        if self.config.bind != BindPolicy::All {
            assert!(live.is_empty(), "{id} has failed a try, and {live:?} could take it over");
        }
        if payload.ids.len() == 1 {
            assert_eq!(payload.proven, 0, "{id} has failed a try, and a client has it");
            for conn in live.iter().map(|id| &self.conns[id]) {
                let unproven = &conn.sent[conn.proven..];
                assert!(!unproven.contains(&message.payload), "{id} may still be confirmed");
            }
        }
        self.payload_of_mut(id).in_window = None;
    }
}
