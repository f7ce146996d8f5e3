//! How messages are confirmed: pings that cover what was written before them, and their pongs.
//!
//! Frames are ordered, so the pong to a ping sent after a message proves that the client's
//! WebSocket stack has the message. A client that never answers pings but plainly lives is served
//! as the original did: what its socket takes counts as confirmed.

use super::Gateway;
use crate::command::{Close, Command, Reply};
use crate::config::{BindPolicy, Detail};
use crate::connection::{Awaited, Binding, Connection, Drain, MUTE_AFTER, Phase, Speech};
use crate::id::{ConnId, MessageId};
use crate::mailbox::{Entry, Standing, Unstored};
use crate::operations::Pending;
use crate::record::{ConnRecord, DeliveryRecord, PushRecord};
use crate::time::{Span, Time};

/// Unconfirmed bytes extend a pong's deadline at this rate: a slow line is not a dead one.
const SLOWEST_BYTES_PER_SEC: u64 = 32 << 10;

/// How long a slow line may take for so many bytes.
pub(super) fn transfer(bytes: u64) -> Span {
    Span::from_micros(bytes.saturating_mul(1_000_000) / SLOWEST_BYTES_PER_SEC)
}

impl Gateway {
    /// Pings a connection, unless a ping is outstanding or it never answers them.
    pub(super) fn send_ping(&mut self, id: ConnId) {
        let (now, patience, pong_timeout) = (self.now, self.patience(), self.config.pong_timeout);
        let conn = self.conn_mut(id).expect("an open connection is pinged");
        let (mark, bytes) = match &mut conn.phase {
            Phase::Opening | Phase::Closing(..) => return,
            Phase::Unbound => (0, 0),
            Phase::Bound(binding) => (binding.written_to, binding.bytes_in_flight),
        };
        let proven = match conn.pings.speech {
            Speech::Mute(_) => return,
            Speech::Pongs => true,
            Speech::Unproven(_) => false,
        };
        if conn.pings.outstanding.is_some() || conn.link.is_some() {
            return;
        }
        let deadline = patience.after(pong_timeout + transfer(bytes));
        let counter = conn.pings.sent(now, mark, bytes, deadline);
        if let Some(binding) = conn.binding_mut() {
            binding.uncovered_since = Time::NEVER;
        }
        self.emit(Command::Ping { conn: id, counter });
        if !proven {
            self.emit(Command::ReportDrained { conn: id });
        }
    }

    /// Sees to it that what was just written gets confirmed.
    pub(super) fn after_writing(&mut self, id: ConnId) {
        let now = self.now;
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        let delay = self.config.confirm_delay;
        let conn = self.conn_mut(id).expect("an open connection was written to");
        let sent_at = conn.pings.sent_at;
        let is_link = conn.link.is_some();
        let (outstanding, mute) =
            (conn.pings.outstanding.is_some(), matches!(conn.pings.speech, Speech::Mute(_)));
        let binding = conn.binding_mut().expect("a bound connection was written to");
        if binding.uncovered_since == Time::NEVER {
            return;
        }
        if is_link {
            // Its application says what it has.
            binding.uncovered_since = Time::NEVER;
            return;
        }
        if mute {
            binding.uncovered_since = Time::NEVER;
            return self.ask_drained(id);
        }
        let half_full = binding.in_flight() * 2 >= u64::from(binding.allowance.min(messages))
            || binding.bytes_in_flight * 2 >= max_bytes;
        if !outstanding && (half_full || now >= sent_at + delay) {
            self.send_ping(id);
        }
    }

    /// Asks when a mute connection's socket has taken what was written.
    fn ask_drained(&mut self, id: ConnId) {
        let (patience, pong_timeout) = (self.patience(), self.config.pong_timeout);
        let conn = self.conn_mut(id).expect("an open connection was written to");
        let Some(binding) = conn.binding() else { return };
        if conn.pings.speech == Speech::Mute(Drain::Idle) && binding.in_flight() > 0 {
            let (mark, bytes) = (binding.written_to, binding.bytes_in_flight);
            let deadline = patience.after(pong_timeout + transfer(bytes));
            conn.pings.speech = Speech::Mute(Drain::Asked(Awaited { mark, bytes, deadline }));
            self.emit(Command::ReportDrained { conn: id });
        }
    }

    pub(super) fn on_drained(&mut self, id: ConnId) {
        let conn = self.conn_mut(id).expect("checked by the caller");
        if let Some(outstanding) = &mut conn.pings.outstanding {
            outstanding.drained = true;
        }
        let Speech::Mute(drain) = conn.pings.speech else { return };
        conn.pings.speech = Speech::Mute(Drain::Idle);
        match drain {
            Drain::Asked(awaited) => self.confirm(id, awaited.mark, awaited.bytes),
            Drain::Idle | Drain::Stale(_) => {}
        }
        self.ask_drained(id);
    }

    pub(super) fn on_pong(&mut self, id: ConnId, counter: Option<u64>) {
        let conn = self.conn_mut(id).expect("checked by the caller");
        if let Some(answered) = conn.pings.answered(counter) {
            self.confirm(id, answered.mark, answered.bytes);
        }
    }

    /// A ping has not been answered in time, or a mute client's socket has not taken what was
    /// written.
    pub(super) fn on_pong_overdue(&mut self, id: ConnId) {
        let conn = self.conn_mut(id).expect("checked by the caller");
        let lives = conn.pings.outstanding.is_some_and(|ping| ping.heard && ping.drained);
        match conn.pings.speech {
            Speech::Unproven(ignored) if lives => {
                conn.pings.outstanding = None;
                self.on_ping_ignored(id, ignored + 1);
            }
            Speech::Unproven(_) | Speech::Pongs | Speech::Mute(_) => {
                let unconfirmed = conn.binding().map_or(0, Binding::in_flight);
                let unconfirmed = u32::try_from(unconfirmed).unwrap_or(u32::MAX);
                let key = self.key_of(id);
                self.record_conn(id, ConnRecord::PongOverdue { key, unconfirmed });
                self.close(id, Close::PongOverdue);
            }
        }
    }

    /// A client that plainly lives has let another ping go by.
    fn on_ping_ignored(&mut self, id: ConnId, ignored: u8) {
        let conn = self.conn_mut(id).expect("checked by the caller");
        if ignored < MUTE_AFTER {
            conn.pings.speech = Speech::Unproven(ignored);
            return self.send_ping(id);
        }
        conn.pings.speech = Speech::Mute(Drain::Idle);
        if let Some(key) = self.key_of(id) {
            self.record_conn(id, ConnRecord::PongUnsupported { key });
        }
        self.ask_drained(id);
    }

    /// A connection has confirmed the entries below `mark`, which are `bytes`.
    pub(super) fn confirm(&mut self, id: ConnId, mark: u64, bytes: u64) {
        let now = self.now;
        let conn = self.conn_mut(id).expect("checked by the caller");
        let Some(binding) = conn.binding_mut() else { return };
        let (slot, before) = (binding.mailbox, binding.acked_to);
        binding.acknowledge(mark, bytes);
        binding.progress(now);
        if mark <= before {
            return;
        }
        self.pass_voids(slot, id);
        let mailbox = self.mailbox(slot);
        mailbox.crowded = false;
        if mailbox.policy == BindPolicy::All {
            for number in before.max(mailbox.base())..mark {
                if let Some(entry) = mailbox.entry_mut(number) {
                    entry.acked = true;
                }
            }
            self.settle_for(slot, id);
        } else {
            self.pop_confirmed(slot, id, |mailbox| mailbox.base() < mark);
        }
        self.pump(slot);
    }

    /// Counts the void entries behind what a connection has confirmed as confirmed too: no ping
    /// will be sent for them.
    fn pass_voids(&mut self, slot: u32, id: ConnId) {
        let acked_to = self.registry.get(slot).after_voids(self.binding(id).acked_to);
        let binding = self.binding_mut(id);
        binding.acked_to = acked_to.min(binding.written_to);
    }

    /// Ends the entries whose fate is decided, where messages go to several connections.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(id) = self.registry.get(slot).newest() else { return };
        self.settle_for(slot, id);
    }

    fn settle_for(&mut self, slot: u32, by: ConnId) {
        let decided = self.first_pending(slot).min(self.registry.get(slot).end());
        self.settle_until(slot, by, decided);
    }

    /// Ends the entries before `end`, for whose confirmation nobody waits any more: those that a
    /// connection has confirmed are confirmed, the others have failed a try.
    pub(super) fn settle_until(&mut self, slot: u32, by: ConnId, end: u64) {
        let (mut ids, mut bytes) = (self.spare_ids(), 0);
        let (mut retries, mut dead) = (Vec::new(), Vec::new());
        while self.registry.get(slot).base() < end {
            let Some(entry) = self.mailbox(slot).pop() else { break };
            if entry.acked && entry.standing == Standing::Ready {
                ids.push(entry.id);
                bytes += entry.payload.len() as u64;
                self.promise_kept(slot, &entry);
                continue;
            }
            if entry.standing == Standing::Ready {
                self.mailbox(slot).fall_behind();
            }
            self.fail_try(slot, entry, &mut retries, &mut dead);
        }
        self.forget_confirmed(slot, by, ids, bytes);
        self.note_failed_tries(slot, retries, dead);
    }

    /// The first entry that some connection may still confirm. Later connections join at later
    /// entries, so every entry after it has such a connection too.
    fn first_pending(&self, slot: u32) -> u64 {
        let mailbox = self.registry.get(slot);
        let bindings = mailbox.conns.iter().filter_map(|&id| self.conn(id)?.binding());
        let pending = bindings.map(|binding| binding.acked_to.max(binding.joined)).min();
        pending.unwrap_or(mailbox.end())
    }

    /// Takes confirmed entries from the front of the window and has the store forget them.
    fn pop_confirmed(
        &mut self,
        slot: u32,
        by: ConnId,
        is_confirmed: impl Fn(&crate::mailbox::Mailbox) -> bool,
    ) {
        let (mut ids, mut bytes) = (self.spare_ids(), 0);
        while is_confirmed(self.registry.get(slot)) {
            let Some(entry) = self.mailbox(slot).pop() else { break };
            if entry.standing == Standing::Void {
                continue;
            }
            debug_assert_eq!(entry.standing, Standing::Ready, "only written entries are confirmed");
            ids.push(entry.id);
            bytes += entry.payload.len() as u64;
            self.promise_kept(slot, &entry);
        }
        self.mailbox(slot).pop_void();
        self.forget_confirmed(slot, by, ids, bytes);
    }

    /// Has the store forget confirmed messages, which are `bytes`.
    pub(super) fn forget_confirmed(
        &mut self,
        slot: u32,
        by: ConnId,
        ids: Vec<MessageId>,
        bytes: u64,
    ) {
        let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else {
            return self.reuse_ids(ids);
        };
        let count = u32::try_from(ids.len()).expect("a window is smaller than 2^32");
        self.confirmed += u64::from(count);
        let mailbox = self.mailbox(slot);
        let key = mailbox.key.clone();
        mailbox.add_removal(ids, bytes);
        let behind = mailbox.removing >= self.config.max_removing;
        if self.records(Detail::Everything) {
            let confirmed = DeliveryRecord::Confirmed { conn: by, first, last, count };
            self.record_delivery(key.clone(), confirmed);
        }
        if behind {
            let count = self.registry.get(slot).removing;
            self.record_delivery(key, DeliveryRecord::RemovalsBehind { count });
        }
        self.issue_again(Pending::Remove { mailbox: slot, first, attempt: 0 });
    }

    /// Answers the push of a message that is confirmed before the store has answered.
    pub(super) fn promise_kept(&mut self, slot: u32, entry: &Entry) {
        let pending = entry.op.and_then(|op| self.operations.get_mut(op));
        let reply = match pending {
            Some(Pending::Append(append)) => append.reply.take(),
            _ => match entry.unstored {
                Some(Unstored::Unanswered(to)) => Some(to),
                Some(Unstored::Failed) | None => None,
            },
        };
        if let Some(to) = reply {
            if self.records(Detail::Outcomes) {
                let key = self.registry.get(slot).key.clone();
                self.record_push(to, PushRecord::Ok { key, id: entry.id });
            }
            self.reply(to, Reply::Ok(entry.id));
        }
    }

    /// How a connection's pings stand, for the deadlines.
    pub(super) fn confirm_due(&self, conn: &Connection) -> Time {
        let waits =
            conn.pings.outstanding.is_some() || matches!(conn.pings.speech, Speech::Mute(_));
        match conn.binding() {
            Some(binding) if !waits && binding.uncovered_since != Time::NEVER => {
                binding.uncovered_since + self.config.confirm_delay
            }
            _ => Time::NEVER,
        }
    }
}
