//! How connections come to keys and leave them: binding, takeover, standby.

use super::{Gateway, Running};
use crate::backoff;
use crate::command::{Close, FailReason, Reply};
use crate::config::{BindMatch, BindPolicy};
use crate::connection::{Answer, Backlog, Binding, Phase, Until};
use crate::id::{ConnId, Key, MessageId};
use crate::mailbox::{Entry, Freshness, KeyState, Standing, Unstored};
use crate::operations::Pending;
use crate::record::{ConnRecord, DeathReason, DeliveryRecord, Dialect};
use crate::sabotage::Sabotage;
use crate::store::{Promise, Retry};
use crate::time::Time;
use bytestring::ByteString;
use std::collections::VecDeque;

impl Gateway {
    /// Binds a connection to a key and delivers what waits for it; `answer` is given after that.
    pub(super) fn bind(
        &mut self,
        id: ConnId,
        key: Key,
        dialect: Dialect,
        answer: Option<ByteString>,
    ) {
        let policy = self.policy(&key, dialect);
        let slot = self.registry.find_or_insert(&key, policy);
        let mailbox = self.registry.get_mut(slot);
        mailbox.policy = policy;
        mailbox.crowded = false;
        let older = mailbox.newest();
        let others = u32::try_from(mailbox.conns.len()).expect("fewer than 2^32 connections");
        let joined = match policy {
            BindPolicy::Newest | BindPolicy::Kick => mailbox.base(),
            BindPolicy::All => self.first_unwritten(slot),
        };
        self.registry.get_mut(slot).conns.push(id);
        if others == 0 {
            self.registry.note_live(slot);
        }
        let is_web = key.is_digits() && dialect != Dialect::Link;
        let binding = Binding::new(slot, dialect, is_web, joined);
        self.conn_mut(id).expect("an open connection binds").phase = Phase::Bound(binding);
        self.record_conn(id, ConnRecord::Bound { key: key.clone(), dialect, others });
        self.send_ping(id);
        self.claim_for_newer(slot);
        match (policy, older) {
            (BindPolicy::All, _) | (_, None) => {}
            (BindPolicy::Newest, Some(older)) => self.take_over(slot, older, id),
            (BindPolicy::Kick, Some(older)) => {
                self.take_over(slot, older, id);
                self.kick_others(slot, Some(id));
            }
        }
        if dialect != Dialect::Link {
            self.await_backlog(slot, id, answer.map(|answer| Answer::Text(dialect, answer)));
        }
        self.start_loading(slot);
        self.pump(slot);
    }

    /// The policy for several connections of a key.
    fn policy(&self, key: &Key, dialect: Dialect) -> BindPolicy {
        let rule = self.config.bind_rules.iter().find(|rule| match &rule.matches {
            BindMatch::Dialect(of) => *of == dialect,
            BindMatch::Prefix(prefix) => key.starts_with(prefix.as_str()),
        });
        rule.map_or(self.config.bind, |rule| rule.policy)
    }

    /// The first entry that no connection of the mailbox was written.
    fn first_unwritten(&self, slot: u32) -> u64 {
        let mailbox = self.registry.get(slot);
        let written = mailbox.conns.iter().filter_map(|&id| self.conn(id)?.binding());
        let written = written.map(|binding| binding.written_to).max();
        written.unwrap_or(mailbox.base()).max(mailbox.base())
    }

    /// Writes everything unconfirmed to the connection that serves the key from now on.
    fn take_over(&mut self, slot: u32, from: ConnId, to: ConnId) {
        if self.sabotaged(Sabotage::TakeoverForgets) {
            let end = self.registry.get(slot).end();
            self.binding_mut(to).skip_to(end);
        }
        let moved = self.move_window(slot, to);
        let key = self.registry.get(slot).key.clone();
        self.record_conn(from, ConnRecord::TakenOver { key, by: to, moved });
    }

    /// Writes to `to` what it was not written of the window, whatever its room: what is unconfirmed
    /// on another connection moves at once.
    fn move_window(&mut self, slot: u32, to: ConnId) -> u32 {
        if !self.serves(slot) {
            return 0;
        }
        let mailbox = self.registry.get(slot);
        let (base, end) = (mailbox.base(), mailbox.end());
        let from = self.binding(to).written_to.max(base);
        let mut moved = 0;
        for number in from..end {
            let entry = self.registry.get(slot).entry(number).expect("an entry of the window");
            match entry.standing {
                Standing::Held => break,
                Standing::Void => self.skip_entry(to, number),
                Standing::Ready => {
                    self.write_entry(slot, to, number);
                    moved += 1;
                }
            }
        }
        self.after_writing(to);
        self.arm(to);
        moved
    }

    /// Closes the older connections of a key, unless that was done a moment ago: two pages that
    /// reconnect at once must not fight over it.
    pub(super) fn kick_others(&mut self, slot: u32, newest: Option<ConnId>) {
        let (now, interval) = (self.now, self.config.kick_interval);
        let mailbox = self.mailbox(slot);
        if mailbox.kicked_at.is_some_and(|at| now < at + interval) {
            return;
        }
        mailbox.kicked_at = Some(now);
        let older: Vec<_> =
            mailbox.conns.iter().copied().filter(|id| Some(*id) != newest).collect();
        for id in older {
            self.close(id, Close::Kicked);
        }
    }

    /// Holds the answer back while messages wait that were waiting at bind.
    fn await_backlog(&mut self, slot: u32, id: ConnId, answer: Option<Answer>) {
        let loads = match self.registry.get(slot).state {
            KeyState::CaughtUp => 0,
            KeyState::Unknown | KeyState::Behind => 1,
            // The load under way may have been answered before the last message was stored.
            KeyState::Loading(_) => 2,
        };
        if loads == 2 {
            self.mailbox(slot).fall_behind();
        }
        if loads > 0 {
            let until = Until::Loads(loads);
            let backlog = Backlog { until, answers: VecDeque::new(), progress_at: self.now };
            self.binding_mut(id).backlog = Some(Box::new(backlog));
        }
        if let Some(answer) = answer {
            self.answer(id, answer);
        }
    }

    /// Takes a connection from its key. What it leaves unconfirmed goes to another connection of
    /// the key, or has failed a try.
    pub(super) fn unbind(&mut self, id: ConnId) {
        let keeps_pings = self.sabotaged(Sabotage::PongsOutliveName);
        let Some(conn) = self.conn_mut(id) else { return };
        if !matches!(conn.phase, Phase::Bound(_)) {
            return;
        }
        let Phase::Bound(binding) = std::mem::replace(&mut conn.phase, Phase::Unbound) else {
            return;
        };
        if !keeps_pings {
            conn.pings.forget();
        }
        let slot = binding.mailbox;
        let mailbox = self.registry.get_mut(slot);
        mailbox.crowded = false;
        let was_newest = mailbox.newest() == Some(id);
        mailbox.conns.retain(|other| *other != id);
        if binding.dialect == Dialect::Device && was_newest {
            self.device_left(slot, id);
        }
        let mailbox = self.registry.get_mut(slot);
        if mailbox.conns.is_empty() {
            self.registry.forget_live(slot);
            self.abandon_window(slot, id);
        } else if mailbox.policy == BindPolicy::All {
            self.settle(slot);
            self.pump(slot);
        } else if was_newest {
            self.stand_in(slot);
        } else if self.sabotaged(Sabotage::StaleCloseErases) {
            let newest = self.registry.get(slot).newest();
            return self.unbind(newest.expect("a newer connection is left"));
        }
        self.registry.dispose(slot);
    }

    /// Lets the newest of the older connections serve the key.
    fn stand_in(&mut self, slot: u32) {
        let mailbox = self.registry.get(slot);
        let id = mailbox.newest().expect("an older connection is left");
        let key = mailbox.key.clone();
        let moved = self.move_window(slot, id);
        self.record_conn(id, ConnRecord::StandbyTookOver { key, moved });
        self.pump(slot);
    }

    /// Nobody is left to confirm the window: its messages wait again, each with one more failed
    /// try, unless a connection that left earlier had confirmed it.
    fn abandon_window(&mut self, slot: u32, last: ConnId) {
        let end = self.registry.get(slot).end();
        self.settle_until(slot, last, end);
        let mailbox = self.mailbox(slot);
        mailbox.state = match mailbox.state {
            // The answer is still to come, and does not know of the tries that fail here.
            KeyState::Loading(_) => KeyState::Loading(Freshness::Outdated),
            KeyState::Unknown | KeyState::Behind | KeyState::CaughtUp => KeyState::Unknown,
        };
        mailbox.resume_at = Time::EPOCH;
        mailbox.reached = None;
        self.release_key(slot);
        self.arm_mailbox(slot);
    }

    /// Sorts an unconfirmed entry that nobody will confirm any more.
    pub(super) fn fail_try(
        &mut self,
        slot: u32,
        entry: Entry,
        retries: &mut Vec<Retry>,
        dead: &mut Vec<MessageId>,
    ) {
        let key = self.registry.get(slot).key.clone();
        let id = entry.id;
        if let Some(unstored) = entry.unstored {
            return self.forget_unstored(key, id, unstored);
        }
        if !entry.was_written() {
            return self.note_unwritten(&entry);
        }
        if self.running == Running::Stopping || self.has_lost(slot) {
            return;
        }
        let tries = entry.tries + 1;
        self.record_delivery(key, DeliveryRecord::TryFailed { id, tries });
        if tries >= self.config.retry_max {
            return dead.push(id);
        }
        let interval = self.config.retry_interval;
        let not_before = backoff::not_before(entry.written_at, tries, interval);
        retries.push(Retry { id, tries, not_before });
    }

    /// A message leaves the window that was not confirmed and that the store may not have.
    fn forget_unstored(&mut self, key: Key, id: MessageId, unstored: Unstored) {
        if let Unstored::Unanswered(to) = unstored {
            self.reply_failed(to, key.clone(), id, FailReason::NotStored);
        }
        self.record_delivery(key, DeliveryRecord::Forgotten { id });
    }

    /// An entry leaves the window before it was written to anyone: it waits in the store.
    fn note_unwritten(&mut self, entry: &Entry) {
        let pending = entry.op.and_then(|op| self.operations.get_mut(op));
        if let Some(Pending::Append(append)) = pending {
            append.promise = Promise::Queued;
        }
    }

    /// Tells the store which tries failed and which messages had their last one.
    pub(super) fn note_failed_tries(
        &mut self,
        slot: u32,
        retries: Vec<Retry>,
        dead: Vec<MessageId>,
    ) {
        if !retries.is_empty() || !dead.is_empty() {
            self.mailbox(slot).outdate_load();
        }
        if !retries.is_empty() && !self.operations.join_parked(slot, &retries) {
            self.issue_again(Pending::Retry { mailbox: slot, retries, attempt: 0 });
        }
        self.bury(slot, dead, DeathReason::Tries, self.now);
    }

    /// Tells the store to set messages aside, unless it was told before.
    pub(super) fn bury(
        &mut self,
        slot: u32,
        mut ids: Vec<MessageId>,
        reason: DeathReason,
        at: Time,
    ) {
        let burying = &mut self.mailbox(slot).burying;
        ids.retain(|id| burying.insert(*id));
        if !ids.is_empty() {
            let (mailbox, epoch) = (slot, 0);
            self.issue_again(Pending::Bury { mailbox, ids, reason, at, epoch, attempt: 0 });
        }
    }

    /// The unconfirmed entries leave the window without a failed try: what is in the store is loaded
    /// again.
    pub(super) fn forget_window(&mut self, slot: u32) {
        while let Some(entry) = self.mailbox(slot).pop() {
            if let Some(unstored) = entry.unstored {
                let key = self.registry.get(slot).key.clone();
                self.forget_unstored(key, entry.id, unstored);
            } else if !entry.was_written() {
                self.note_unwritten(&entry);
            }
        }
        let end = self.registry.get(slot).end();
        for index in 0..self.registry.get(slot).conns.len() {
            let id = self.registry.get(slot).conns[index];
            self.binding_mut(id).restart(end);
            let conn = self.conn_mut(id).expect("a mailbox lists open connections");
            conn.pings.disclaim();
            if let Some(link) = &mut conn.link {
                link.restart();
            }
        }
    }

    pub(super) fn reply_failed(
        &mut self,
        to: crate::pushers::ReplyTo,
        key: Key,
        id: MessageId,
        reason: FailReason,
    ) {
        self.fates.forget(id);
        self.record_push(to, crate::record::PushRecord::Failed { key, id, reason });
        self.reply(to, Reply::Fail(reason));
    }

    pub(super) fn binding(&self, id: ConnId) -> &Binding {
        let conn = self.conn(id).expect("a mailbox lists open connections");
        conn.binding().expect("a mailbox lists bound connections")
    }

    pub(super) fn binding_mut(&mut self, id: ConnId) -> &mut Binding {
        let conn = self.conn_mut(id).expect("a mailbox lists open connections");
        conn.binding_mut().expect("a mailbox lists bound connections")
    }
}
