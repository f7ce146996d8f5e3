//! What is judged of messages: pushes, replies, storage.

use super::{Asked, Asking, Fate, Judge, Message, Node, Oracle, Outcome, tried};
use crate::schedule::Push;
use bytes::Bytes;
use steadfast_core::command::{FailReason, Reply};
use steadfast_core::id::{Key, MessageId, OpId, PusherId};
use steadfast_core::record::PushRecord;
use steadfast_core::store::{
    Answer, Append, Appended, ClaimAnswer, ClaimOp, DeadAnswer, Op, Promise, QueueAnswer,
};

impl Judge {
    pub(super) fn on_push_record(&mut self, node: u32, pusher: PusherId, record: &PushRecord) {
        match record {
            PushRecord::Prepared { key, id, content } => {
                self.on_prepared(node, pusher, key, *id, content);
            }
            // Where gateways share a store, the client may be another's.
            PushRecord::Missed { .. } if self.shared => {}
            PushRecord::Missed { .. } => self.node(node).ledger.pay("misses", 1),
            PushRecord::Merged { id, into, .. } => {
                let into_gone = |it: &Message| it.removed && !it.reopened;
                let gone = self.messages.get(into).is_some_and(into_gone);
                self.demand(Oracle::Confirmation, !gone, || {
                    format!("{id} is merged with {into}, which is confirmed")
                });
                self.outcome(*id, Outcome::Another);
            }
            PushRecord::Duplicate { id, .. } => self.outcome(*id, Outcome::Another),
            PushRecord::Failed { id, .. } => self.outcome(*id, Outcome::Failed),
            PushRecord::Ok { id, .. } => self.outcome(*id, Outcome::Ok),
            PushRecord::Queued { id, .. } => self.outcome(*id, Outcome::Queued),
            PushRecord::Refused { reason, .. } => {
                if *reason != FailReason::TooLong {
                    let pusher = self.node(node).pushers.entry(pusher).or_default();
                    pusher.unanswered.push_back(Asking::Refused);
                }
            }
            PushRecord::Unfinished { .. } | PushRecord::Paused { .. } | PushRecord::Resumed => {}
        }
    }

    fn on_prepared(
        &mut self,
        node: u32,
        pusher: PusherId,
        key: &Key,
        id: MessageId,
        payload: &Bytes,
    ) {
        let (serial, index) = (Push::serial_of(payload), self.key_index(key));
        let (Some(serial), Some(index)) = (serial, index) else {
            return self.blame(Oracle::Reply, format!("{id} to {key} was never pushed"));
        };
        if !self.shared && self.live(node, index).next().is_none() {
            self.node(node).ledger.owe("misses", 1);
        }
        let state = self.node(node).pushers.entry(pusher).or_default();
        state.unanswered.push_back(Asking::Message(id));
        let order = self.batches;
        let content = self.contents.entry(serial).or_default();
        content.key = index;
        content.ids.push(id);
        if content.pusher.is_none() {
            (content.pusher, content.order) = (Some((node, pusher)), order);
        }
        let message = Message {
            key: index,
            content: serial,
            fate: Fate::Itself,
            stored: false,
            held: false,
            promised: false,
            failed: false,
            removed: false,
            reopened: false,
            tries: 0,
            recorded: None,
            expires_at: self.now.wall + self.own_ttl.unwrap_or(self.config.ttl),
        };
        if self.messages.insert(id, message).is_some() {
            self.blame(Oracle::Tables, format!("{id} names two messages"));
        }
    }

    fn outcome(&mut self, id: MessageId, outcome: Outcome) {
        let Some(message) = self.messages.get_mut(&id) else {
            return self.blame(Oracle::Records, format!("{id} was never pushed"));
        };
        let twice = message.recorded.replace(outcome).is_some();
        message.failed |= outcome == Outcome::Failed;
        self.demand(Oracle::Records, !twice, || format!("{id} has two outcomes"));
    }

    pub(super) fn on_reply(&mut self, node: u32, pusher: PusherId, reply: Reply) {
        let state = self.node(node).pushers.entry(pusher).or_default();
        let id = match state.unanswered.pop_front() {
            Some(Asking::Message(id)) => id,
            Some(Asking::Refused) => {
                let refused = matches!(reply, Reply::Fail(_));
                return self.demand(Oracle::Reply, refused, || {
                    format!("a line that is no push is answered {reply:?}")
                });
            }
            None => {
                return self.blame(Oracle::Reply, format!("{reply:?} answers no push of {pusher}"));
            }
        };
        if let Some(text) = self.wrong_reply(id, reply) {
            self.blame(Oracle::Reply, text);
        }
        let message = self.messages.get_mut(&id).expect("it was pushed");
        message.promised = !matches!(reply, Reply::Fail(_));
        message.failed |= !message.promised;
        let (promised, fate) = (message.promised, message.fate);
        // A promise given for a merged push is one for the message that stands for it.
        if let Fate::Another(other) = fate
            && let Some(other) = self.messages.get_mut(&other)
        {
            other.promised |= promised;
        }
    }

    /// What is wrong with the reply to a push.
    fn wrong_reply(&self, id: MessageId, reply: Reply) -> Option<String> {
        let message = &self.messages[&id];
        let sent = self.contents[&message.content].sent > 0;
        let wrong = match (reply, message.fate) {
            (Reply::Ok(named) | Reply::Queued(named), Fate::Itself) if named != id => {
                "answered for another"
            }
            (Reply::Ok(_), Fate::Itself) if !sent => "answered ok, and was not written",
            (Reply::Ok(_) | Reply::Queued(_), Fate::Itself) if !self.is_safe(id) => {
                "promised, and is not safe"
            }
            (Reply::Ok(named) | Reply::Queued(named), Fate::Another(other)) if named != other => {
                "answered for another than it was merged with"
            }
            (Reply::Ok(_) | Reply::Queued(_), Fate::Another(other)) if !self.is_safe(other) => {
                "promised, and what stands for it is not safe"
            }
            (Reply::Ok(_) | Reply::Queued(_), Fate::Conflict) => "promised, and it conflicts",
            (Reply::Fail(FailReason::Conflict), Fate::Itself | Fate::Another(_)) => {
                "refused for a conflict that is none"
            }
            (Reply::Ok(_) | Reply::Queued(_) | Reply::Fail(_), _) => {
                let recorded = match (reply, message.fate) {
                    (Reply::Fail(_), _) => Outcome::Failed,
                    (_, Fate::Another(_)) => Outcome::Another,
                    (Reply::Ok(_), _) => Outcome::Ok,
                    (Reply::Queued(_), _) => Outcome::Queued,
                };
                if message.recorded == Some(recorded) {
                    return None;
                }
                return Some(format!("{id} is answered {reply:?}: {:?}", message.recorded));
            }
        };
        Some(format!("{id} (#{}) is {wrong}: {reply:?}", message.content))
    }

    /// Whether a push was answered that it is not promised, and nothing else stands for it.
    pub(super) fn is_unpromised(&self, id: MessageId) -> bool {
        self.messages.get(&id).is_some_and(|message| message.failed && !message.promised)
    }

    /// Whether the store has it or a client.
    fn is_safe(&self, id: MessageId) -> bool {
        let Some(message) = self.messages.get(&id) else { return false };
        message.stored || self.contents[&message.content].proven > 0
    }

    pub(super) fn on_op(&mut self, node: u32, op: OpId, request: &Op) {
        let asked = match request {
            Op::Append(append) => {
                self.judge_append(node, append);
                Asked::Append(append.id)
            }
            Op::Remove { ids, .. } => {
                for id in ids {
                    self.on_removal(node, *id);
                }
                Asked::Other
            }
            Op::Retry { retries, .. } => {
                for (id, tries) in tried(retries) {
                    self.judge_retry(id, tries);
                }
                Asked::Other
            }
            Op::Bury { ids, reason, .. } => {
                for id in ids {
                    self.judge_burial(*id, *reason);
                }
                Asked::Other
            }
            Op::Dead(request) => {
                self.judge_drop(request);
                if self.operating { Asked::Wish } else { Asked::Other }
            }
            Op::Load { max_messages: 0, .. } => self.telling.map_or(Asked::Other, Asked::Greeting),
            Op::Session(request) => self.on_session_op(node, request),
            Op::Claim(ClaimOp::Claim { key, .. }) => {
                self.key_index(key).map_or(Asked::Other, Asked::Claim)
            }
            Op::Load { .. } | Op::Expire { .. } | Op::Claim(_) | Op::Queue(_) | Op::Find { .. } => {
                Asked::Other
            }
            Op::Device(request) => self.on_device_op(node, op, request),
        };
        self.node(node).ops.insert(op, asked);
    }

    fn judge_append(&mut self, node: u32, append: &Append) {
        let Some(message) = self.messages.get_mut(&append.id) else {
            return self.blame(Oracle::Records, format!("{} was not recorded", append.id));
        };
        message.held = append.idempotency.is_some() && append.promise == Promise::Ok;
        let (key, due, given) = (message.key, message.expires_at, append.expires_at);
        self.demand(Oracle::Death, given == due, || {
            format!("{} is to expire at {given}, and not at {due}", append.id)
        });
        let offline = self.live(node, key).next().is_none();
        let limit = self.config.mailbox_limit;
        self.demand(Oracle::Memory, append.limit == limit, || {
            format!("{} may wait for {}, and the limit is {limit}", append.limit, append.key)
        });
        self.demand(Oracle::Conservation, offline || append.merge_within.is_none(), || {
            format!("{} may merge, and {} has a connection", append.id, append.key)
        });
        self.demand(Oracle::Memory, !offline || append.spare == 0, || {
            format!("{} spares {} messages, and nothing is delivered", append.id, append.spare)
        });
        self.judge_held(node, append, key);
        let Some(spared) = append.window_end.filter(|_| !self.shared) else { return };
        let spared_one = self.messages.get(&spared);
        let removed = spared_one.is_none_or(|message| message.removed && !message.reopened);
        self.demand(Oracle::Memory, !removed && !offline, || {
            format!("{} spares {spared}, which is in no window", append.id)
        });
    }

    /// What is to be written when the store has answered has its room in the window of the key's
    /// only connection.
    fn judge_held(&mut self, node: u32, append: &Append, key: u32) {
        let most = self.config.window_messages as usize;
        let alone = self.live(node, key).map(|(_, conn)| conn).find(|conn| conn.alone);
        let Some(conn) = alone else { return };
        let unproven = conn.sent.len() - conn.proven.min(conn.sent.len());
        let held = |id: &MessageId| {
            let message = &self.messages[id];
            message.key == key && message.held && self.contents[&message.content].sent == 0
        };
        let others = self.nodes[node as usize].ops.values().filter(|asked| match asked {
            Asked::Append(id) => held(id),
            Asked::Wish
            | Asked::Greeting(_)
            | Asked::Keep(_)
            | Asked::Note(_)
            | Asked::Upload(..)
            | Asked::Claim(_)
            | Asked::Other => false,
        });
        let count = unproven + others.count() + usize::from(held(&append.id));
        self.demand(Oracle::Memory, count <= most, || {
            format!("{count} messages are in the window of {}, and {most} may be", append.key)
        });
    }

    fn on_removal(&mut self, node: u32, id: MessageId) {
        let Some(message) = self.messages.get_mut(&id) else {
            return self.blame(Oracle::Confirmation, format!("{id} is removed: no message"));
        };
        let reopened = std::mem::replace(&mut message.reopened, false);
        let again = std::mem::replace(&mut message.removed, true) && !reopened;
        let repeated = !self.node(node).removing.insert(id);
        if again {
            // By the same gateway that tries it once more, or by another one whose client had it too.
            let confirmed = u64::from(self.shared && !repeated);
            return self.node(node).ledger.owe("confirmed messages", confirmed);
        }
        let content = self.content_of(id).expect("it was pushed");
        content.removed += 1;
        content.in_window = None;
        let proven = content.removed <= content.proven;
        self.demand(Oracle::Confirmation, proven, || {
            format!("{id} is removed, and no client has it")
        });
        self.node(node).ledger.owe("confirmed messages", 1);
    }

    pub(super) fn on_answer(&mut self, node: u32, op: OpId, answer: &Answer) {
        let Some(asked) = self.node(node).ops.remove(&op) else {
            return self.node(node).ledger.owe("stale ids", 1);
        };
        self.on_session_answer(node, &asked, answer);
        self.on_device_answer(node, op, &asked, answer);
        let Node { ledger, removing, .. } = &mut self.nodes[node as usize];
        match answer {
            Answer::Appended(appended) => {
                if let Asked::Append(id) = asked {
                    self.on_appended(node, id, appended);
                }
            }
            Answer::Removed { ids, withdrawn } => {
                for id in ids {
                    removing.remove(id);
                }
                ledger.owe("withdrawn dead letters", u64::from(*withdrawn));
            }
            Answer::Buried(ids) => {
                ledger.owe("deaths", ids.len() as u64);
            }
            Answer::Dead(DeadAnswer::Purged(count)) => match asked {
                Asked::Wish => ledger.owe("purged dead letters", *count),
                Asked::Append(_)
                | Asked::Greeting(_)
                | Asked::Keep(_)
                | Asked::Note(_)
                | Asked::Upload(..)
                | Asked::Claim(_)
                | Asked::Other => ledger.owe("dropped dead letters", *count),
            },
            Answer::Dead(DeadAnswer::Requeued(ids)) => {
                ledger.owe("requeued letters", ids.len() as u64);
            }
            Answer::Queue(QueueAnswer::Purged(ids)) => {
                ledger.owe("purged messages", ids.len() as u64);
            }
            Answer::Failed(_) => ledger.owe("failed operations", 1),
            Answer::Claim(ClaimAnswer::Claimed { epoch, previous }) => {
                if let Asked::Claim(key) = asked {
                    self.on_claimed(node, key, *epoch, *previous);
                }
            }
            Answer::Loaded(_)
            | Answer::Retried
            | Answer::Expired(_)
            | Answer::Claim(_)
            | Answer::Dead(_)
            | Answer::SessionKept
            | Answer::SessionFound(_)
            | Answer::Device(_)
            | Answer::Queue(_)
            | Answer::Found(_) => {}
        }
    }

    /// A gateway has a key. If somebody else had it since this one last did, it begins anew with what
    /// the store has, whatever its connections were written and have not confirmed.
    fn on_claimed(&mut self, node: u32, key: u32, epoch: u64, previous: u64) {
        let state = self.node(node);
        if state.claims.insert(key, epoch).is_some_and(|last| last != previous) {
            let conns = state.conns.values_mut().filter(|conn| conn.key == Some(key));
            conns.for_each(|conn| conn.alone = false);
        }
    }

    fn on_appended(&mut self, node: u32, id: MessageId, appended: &Appended) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        match appended {
            Appended::Stored { evicted, .. } | Appended::Elsewhere { evicted, .. } => {
                message.stored = true;
                self.node(node).ledger.owe("deaths", evicted.len() as u64);
                for id in evicted {
                    self.judge_eviction(*id);
                }
            }
            Appended::Merged { into: first } | Appended::Duplicate { first, .. } => {
                message.fate = Fate::Another(*first);
                // It is in the store, whatever its own push was answered.
                if let Some(first) = self.messages.get_mut(first) {
                    first.stored = true;
                }
            }
            Appended::Conflict => message.fate = Fate::Conflict,
        }
    }

    pub(super) fn on_kept(&mut self, key: &Key, waiting: usize, spared: bool) {
        let config = &self.config;
        // What is being delivered does not count, nor what only awaits its removal, nor what is
        // before it because it was let wait again.
        let requeued = self.key_index(key).and_then(|key| self.requeued.get(&key));
        let requeued = requeued.copied().unwrap_or(0);
        let uncounted = 5 * config.window_messages + config.max_removing + requeued;
        // What is stored for another gateway's key spares what may be in that one's window.
        let limit = config.mailbox_limit * if self.shared { 2 } else { 1 };
        let most = limit + if spared { uncounted } else { 0 };
        self.demand(Oracle::Memory, waiting <= most as usize, || {
            format!("{waiting} messages wait for {key}, and {most} may")
        });
    }

    pub(super) fn on_received(&mut self, client: u32, payload: &Bytes) {
        let Some(serial) = Push::serial_of(payload) else { return };
        let key = self.world.clients[client as usize].key;
        let content = self.contents.entry(serial).or_default();
        content.received += 1;
        let meant = content.key;
        let own = key == meant || self.devices.may_pose(client, meant);
        self.demand(Oracle::CrossTalk, own, || {
            format!("client {client} of key {key} received #{serial}, which is for key {meant}")
        });
        self.received[client as usize].push(serial);
    }
}
