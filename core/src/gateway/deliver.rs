//! How messages get to connections: the window, loading, writing.

use super::Gateway;
use super::confirm::transfer;
use crate::command::{Command, FrameKind};
use crate::config::BindPolicy;
use crate::connection::Until;
use crate::id::{ConnId, MessageId};
use crate::mailbox::{Entry, Freshness, KeyState, Standing};
use crate::operations::Pending;
use crate::record::{DeathReason, DeliveryRecord};
use crate::sabotage::Sabotage;
use crate::store::{Loaded, Op};
use crate::time::{Span, Time};
use std::collections::BTreeSet;

/// With several receivers, the slowest may fall behind the fastest by so many windows.
const LAG_WINDOWS: u64 = 4;

/// How long a load waits after one that brought nothing new, though there is more to load.
const FRUITLESS_LOAD_DELAY: Span = Span::from_millis(100);

impl Gateway {
    /// Whether a further message may enter the window: some receiver has room for it, none is too
    /// far behind, and the store keeps up with the removals.
    pub(super) fn window_has_room(&self, slot: u32, bytes: u64) -> bool {
        let mailbox = self.registry.get(slot);
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        if mailbox.removing >= self.config.max_removing {
            return false;
        }
        let some_room = mailbox.receivers().iter().any(|&id| self.has_room(slot, id, bytes));
        let lag_messages = LAG_WINDOWS * u64::from(messages);
        let lag = mailbox.policy == BindPolicy::All
            && (mailbox.end() - mailbox.base() >= lag_messages
                || (mailbox.bytes > 0 && mailbox.bytes + bytes > LAG_WINDOWS * max_bytes));
        some_room && !lag
    }

    /// Whether a receiver has room for a further message behind those it is still to be written.
    fn has_room(&self, slot: u32, id: ConnId, bytes: u64) -> bool {
        let (mailbox, binding) = (self.registry.get(slot), self.binding(id));
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        let unwritten = mailbox.end() - binding.written_to.max(mailbox.base());
        if unwritten == 0 || self.sabotaged(Sabotage::HeldNotCounted) {
            return binding.has_room(bytes, messages, max_bytes);
        }
        binding.in_flight() + unwritten < u64::from(binding.allowance.min(messages))
            && mailbox.bytes + bytes <= max_bytes
    }

    /// Writes what may be written to the mailbox's receivers, and loads more when it pays.
    pub(super) fn pump(&mut self, slot: u32) {
        match self.registry.get(slot).policy {
            BindPolicy::Newest | BindPolicy::Kick => {
                if let Some(id) = self.registry.get(slot).newest() {
                    self.serve(slot, id);
                }
            }
            BindPolicy::All => {
                for index in 0..self.registry.get(slot).conns.len() {
                    let id = self.registry.get(slot).conns[index];
                    self.serve(slot, id);
                }
            }
        }
        self.start_loading(slot);
    }

    /// Serves one receiver: entries, the ping that confirms them, answers that waited for them.
    fn serve(&mut self, slot: u32, id: ConnId) {
        self.write_ready(slot, id);
        self.after_writing(id);
        self.release_backlog(slot, id);
        self.arm(id);
    }

    /// Writes the entries whose turn has come to one receiver, as far as it has room.
    fn write_ready(&mut self, slot: u32, id: ConnId) {
        if !self.serves(slot) {
            return;
        }
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        let from = self.binding(id).written_to;
        let mut number = from.max(self.registry.get(slot).base());
        while let Some(entry) = self.registry.get(slot).entry(number) {
            match entry.standing {
                Standing::Held => break,
                Standing::Void => self.skip_entry(id, number),
                Standing::Ready => {
                    let bytes = entry.payload.len() as u64;
                    if !self.binding(id).has_room(bytes, messages, max_bytes) {
                        break;
                    }
                    self.write_entry(slot, id, number);
                }
            }
            number += 1;
        }
    }

    /// Writes one entry to a connection.
    pub(super) fn write_entry(&mut self, slot: u32, id: ConnId, number: u64) {
        let (now, patience, ack_timeout) = (self.now, self.patience(), self.config.ack_timeout);
        let entry =
            self.mailbox(slot).entry_mut(number).expect("only entries of the window are written");
        debug_assert_eq!(entry.standing, Standing::Ready, "only ready entries are written");
        entry.written_at = now;
        let (payload, message, tries) = (entry.payload.clone(), entry.id, entry.tries);
        let waited = entry.position.is_some();
        let bytes = payload.len() as u64;
        let conn = self.conn_mut(id).expect("a mailbox lists open connections");
        let frame = match &mut conn.link {
            None => payload,
            Some(link) => {
                let ack_by = patience.after(ack_timeout + transfer(bytes));
                link.write(number, message, &payload, tries, ack_by)
            }
        };
        conn.count_out(frame.len());
        let binding = conn.binding_mut().expect("a mailbox lists bound connections");
        binding.skip_to(number);
        binding.written_to = number + 1;
        binding.bytes_in_flight += bytes;
        binding.uncovered_since = binding.uncovered_since.min(now);
        binding.progress(now);
        self.emit(Command::Send { conn: id, kind: FrameKind::Text, payload: frame });
        if waited {
            let key = self.registry.get(slot).key.clone();
            self.record_delivery(key, DeliveryRecord::Written { id: message, conn: id, tries });
        }
    }

    /// Passes over an entry that is not written. Behind one that is in flight it takes room until a
    /// ping has covered it.
    pub(super) fn skip_entry(&mut self, id: ConnId, number: u64) {
        let now = self.now;
        let binding = self.binding_mut(id);
        binding.skip_to(number + 1);
        if binding.in_flight() > 0 {
            binding.uncovered_since = binding.uncovered_since.min(now);
        }
    }

    /// Gives the answers that waited for the backlog, when it is written.
    fn release_backlog(&mut self, slot: u32, id: ConnId) {
        let binding = self.binding(id);
        let Some(backlog) = &binding.backlog else { return };
        let Until::Position(last) = backlog.until else { return };
        let mailbox = self.registry.get(slot);
        let all_taken = mailbox.reached >= last || mailbox.state == KeyState::CaughtUp;
        let all_written = binding.written_to >= mailbox.end() || !mailbox.receivers().contains(&id);
        if all_taken && all_written {
            self.release_answers(id);
        }
    }

    /// Loads the mailbox when it holds more than the window and there is room for it.
    pub(super) fn start_loading(&mut self, slot: u32) {
        let mailbox = self.registry.get(slot);
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        let wanted = match mailbox.state {
            KeyState::Unknown | KeyState::Behind => !mailbox.conns.is_empty(),
            KeyState::Loading(_) | KeyState::CaughtUp => false,
        };
        let room = mailbox
            .receivers()
            .iter()
            .any(|&id| self.binding(id).is_half_empty(messages, max_bytes));
        if wanted
            && room
            && mailbox.resume_at <= self.now
            && !mailbox.crowded
            && mailbox.removing < self.config.max_removing
            && self.serves(slot)
            && self.window_has_room(slot, 0)
        {
            self.mailbox(slot).state = KeyState::Loading(Freshness::Fresh);
            self.issue_again(Pending::Load { mailbox: slot, attempt: 0 });
        }
    }

    /// The load that brings as much as there is room for, beyond what the store returns although
    /// it is in the window or being removed.
    pub(super) fn load_op(&mut self, slot: u32) -> Op {
        let mailbox = self.registry.get_mut(slot);
        let known = mailbox.end() - mailbox.base()
            + u64::from(mailbox.removing)
            + mailbox.burying.len() as u64;
        let messages = known + u64::from(self.config.window_messages);
        mailbox.loading = u32::try_from(messages).unwrap_or(u32::MAX);
        Op::Load {
            key: mailbox.key.clone(),
            max_messages: mailbox.loading,
            max_bytes: mailbox.bytes + mailbox.removing_bytes + self.config.window_bytes,
        }
    }

    /// Takes what a load returned into the window, as far as there is room.
    pub(super) fn on_loaded(&mut self, slot: u32, loaded: Loaded) {
        let mailbox = self.mailbox(slot);
        let KeyState::Loading(freshness) = mailbox.state else {
            panic!("{} was loaded although no load was under way", mailbox.key);
        };
        if mailbox.conns.is_empty() {
            mailbox.state = KeyState::Unknown;
            return;
        }
        if freshness == Freshness::Outdated {
            mailbox.state = KeyState::Behind;
            self.note_tail(slot, loaded.tail);
            return self.pump(slot);
        }
        let known = self.known_ids(slot);
        let (mut dead, mut complete, end) = (Vec::new(), true, self.registry.get(slot).end());
        let last = loaded.messages.last().map(|message| message.position);
        for message in loaded.messages {
            let position = message.position;
            if known.contains(&message.id) {
                self.mailbox(slot).reached = Some(position);
                continue;
            }
            if message.expires_at <= self.now {
                dead.push(message.id);
                self.mailbox(slot).reached = Some(position);
                continue;
            }
            if !self.take_loaded(slot, message) {
                complete = false;
                break;
            }
            self.mailbox(slot).reached = Some(position);
        }
        let caught_up = complete && last == loaded.tail && freshness == Freshness::Fresh;
        let again_at = self.now + FRUITLESS_LOAD_DELAY;
        let mailbox = self.mailbox(slot);
        mailbox.state = if caught_up { KeyState::CaughtUp } else { KeyState::Behind };
        if complete && last != loaded.tail && mailbox.end() == end && dead.is_empty() {
            // Nothing new before what is too much for one load: not again at once.
            mailbox.resume_at = again_at;
        }
        self.bury(slot, dead, DeathReason::Ttl, self.now);
        self.note_tail(slot, loaded.tail);
        self.pump(slot);
        self.arm_mailbox(slot);
    }

    /// Puts one loaded message into the window, unless there is no room or its time has not come.
    fn take_loaded(&mut self, slot: u32, message: crate::store::StoredMessage) -> bool {
        let not_before = self.written_from(slot, &message);
        if not_before > self.now {
            self.mailbox(slot).resume_at = not_before;
            return false;
        }
        self.start_slowly(slot, message.tries);
        if !self.window_has_room(slot, message.payload.len() as u64) {
            self.mailbox(slot).crowded = true;
            return false;
        }
        self.mailbox(slot).push(Entry {
            id: message.id,
            payload: message.payload,
            position: Some(message.position),
            tries: message.tries,
            written_at: Time::EPOCH,
            standing: Standing::Ready,
            op: None,
            acked: false,
            unstored: None,
        });
        self.pump_written(slot);
        true
    }

    /// When a loaded message may be written: not later than any try can be from its first load on.
    fn written_from(&mut self, slot: u32, message: &crate::store::StoredMessage) -> Time {
        let latest = self.now + self.config.retry_interval.times(u64::from(self.config.retry_max));
        let mailbox = self.mailbox(slot);
        let known = mailbox.hastened.take().filter(|known| known.0 == message.id);
        if message.not_before <= latest {
            return message.not_before;
        }
        let hastened = known.unwrap_or_else(|| Box::new((message.id, latest)));
        let at = hastened.1;
        mailbox.hastened = Some(hastened);
        at
    }

    /// Writes the newest entries without looking for more.
    fn pump_written(&mut self, slot: u32) {
        for index in 0..self.registry.get(slot).receivers().len() {
            let id = self.registry.get(slot).receivers()[index];
            self.write_ready(slot, id);
        }
    }

    /// A connection whose first message has failed before gets it alone, so that a message that
    /// kills its reader is charged alone; with each confirm it may have twice as many.
    fn start_slowly(&mut self, slot: u32, tries: u32) {
        if tries == 0 {
            return;
        }
        for index in 0..self.registry.get(slot).receivers().len() {
            let id = self.registry.get(slot).receivers()[index];
            let binding = self.binding_mut(id);
            if binding.written_to == binding.joined {
                binding.allowance = 1;
            }
        }
    }

    /// Tells the connections that wait for it which message was the last one at bind.
    fn note_tail(&mut self, slot: u32, tail: Option<u64>) {
        let now = self.now;
        for index in 0..self.registry.get(slot).conns.len() {
            let id = self.registry.get(slot).conns[index];
            let binding = self.binding_mut(id);
            binding.progress(now);
            let Some(backlog) = &mut binding.backlog else { continue };
            backlog.until = match (backlog.until, tail) {
                (Until::Loads(2..), _) => Until::Loads(1),
                (Until::Loads(_), tail) => Until::Position(tail),
                (until @ Until::Position(_), _) => until,
            };
            self.release_backlog(slot, id);
            self.arm(id);
        }
    }

    /// The messages that a load may return although they are being delivered, removed or buried.
    pub(super) fn known_ids(&self, slot: u32) -> BTreeSet<MessageId> {
        let mailbox = self.registry.get(slot);
        let mut known = mailbox.ids();
        known.extend(mailbox.removed_ids());
        known.extend(&mailbox.burying);
        known
    }
}
