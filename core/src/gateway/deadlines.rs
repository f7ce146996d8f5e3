//! What time brings: idleness, overdue pongs, held answers, retries, sweeps.

use super::Gateway;
use crate::command::Close;
use crate::connection::{Connection, Patience, Phase, Speech};
use crate::id::{ConnId, Key, OpId};
use crate::mailbox::{Claim, KeyState};
use crate::record::ConnRecord;
use crate::time::{Span, Time};
use crate::timers::Owner;

/// A deadline served later than this means that the process was stalled.
pub(super) const LATE: Span = Span::from_secs(1);

/// A timer within this span is not moved for an earlier deadline.
const SOON: Span = Span::from_millis(50);

/// A connection that was not pinged for this long keeps no memory for a window.
const REST_AFTER: Span = Span::from_secs(3);

/// How long answers wait for the messages that were waiting at bind while nothing moves.
const BACKLOG_PATIENCE: Span = Span::from_secs(1);

/// How many expired messages or dead letters one sweep operation handles, and after how many deaths
/// dead letters are counted before their time.
pub(super) const SWEEP_LIMIT: u32 = 1_000;

/// A link client is closed when it is silent for so many heartbeats.
const MISSED_HEARTBEATS: u64 = 3;

/// How often dead letters are checked for age and number.
const DEAD_SWEEP_INTERVAL: Span = Span::from_secs(60);

/// Why the next deadline will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A connection's: idleness, a ping to send or a pong to miss, answers held back.
    Connection(ConnId),
    /// A mailbox's: its first waiting message may be written again.
    Mailbox(Key),
    /// A storage operation is unanswered for too long.
    StoreTimeout(OpId),
    /// A storage operation that failed is given again.
    StoreRetry,
    /// Expired messages and old dead letters are looked for.
    Sweep,
    /// The lease is extended or over, or claims are looked after.
    Lease,
}

/// When the regular work is due.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sweep {
    /// `None` before the first event.
    expiry_at: Option<Time>,
    dead_at: Time,
    /// How many messages died since dead letters were last counted.
    pub(super) died: u64,
}

/// What is due at a deadline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    Timer(Owner),
    Timeout(OpId),
    Parked,
    Sweep,
    Lease,
}

impl Gateway {
    /// When [`DeadlineReached`](crate::event::Event::DeadlineReached) is due next, and why.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Time, Reason)> {
        let (at, due) = self.first_due()?;
        let reason = match due {
            Due::Timer(Owner::Connection(slot)) => {
                let conn = self.conns[slot as usize].as_ref().expect("armed timers have owners");
                Reason::Connection(conn.id)
            }
            Due::Timer(Owner::Mailbox(slot)) => {
                Reason::Mailbox(self.registry.get(slot).key.clone())
            }
            Due::Timeout(op) => Reason::StoreTimeout(op),
            Due::Parked => Reason::StoreRetry,
            Due::Sweep => Reason::Sweep,
            Due::Lease => Reason::Lease,
        };
        Some((at, reason))
    }

    /// When the next deadline is, and what of.
    pub(super) fn first_due(&self) -> Option<(Time, Due)> {
        let mut first = self.timers.first().map(|(at, owner)| (at, Due::Timer(owner)));
        let mut compare = |at: Option<Time>, due: Due| {
            if let Some(at) = at
                && first.is_none_or(|(other, _)| at < other)
            {
                first = Some((at, due));
            }
        };
        if let Some((at, op)) = self.operations.first_timeout() {
            compare(Some(at), Due::Timeout(op));
        }
        compare(self.operations.first_parked(), Due::Parked);
        compare(self.sweep.expiry_at, Due::Sweep);
        compare(self.lease_deadline(), Due::Lease);
        first
    }

    /// Does what is due.
    pub(super) fn on_deadline(&mut self) {
        while let Some((at, owner)) = self.timers.first().filter(|(at, _)| *at <= self.now) {
            match owner {
                Owner::Connection(slot) => self.on_conn_timer(slot),
                Owner::Mailbox(slot) => self.on_mailbox_timer(slot),
            }
            debug_assert_ne!(self.timers.first(), Some((at, owner)), "a timer that fired moved on");
        }
        while let Some((_, op)) = self.operations.first_timeout().filter(|(at, _)| *at <= self.now)
        {
            self.on_timeout(op);
        }
        self.unpark();
        self.sweep();
        self.on_lease_due();
    }

    /// Looks for expired messages about a hundred times in a time to live, but neither more often
    /// than every second nor less often than every 10 s: a load never writes an expired message, so
    /// the sweep only decides when people see it die.
    fn sweep(&mut self) {
        let Some(at) = self.sweep.expiry_at.filter(|at| *at <= self.now) else { return };
        debug_assert!(at <= self.now, "the sweep is due");
        self.schedule_sweep();
        self.sweep_expired(None);
        if self.sweep.dead_at <= self.now {
            self.sweep.dead_at = self.now + DEAD_SWEEP_INTERVAL;
            self.sweep_dead();
        }
    }

    fn schedule_sweep(&mut self) {
        let interval = self.config.ttl.divided_by(100);
        let interval = interval.clamp(Span::from_secs(1), Span::from_secs(10));
        self.sweep.expiry_at = Some(self.now + interval);
    }

    /// Starts the regular work with the first event.
    pub(super) fn start_sweeping(&mut self) {
        if self.sweep.expiry_at.is_none() {
            self.sweep.dead_at = self.now + DEAD_SWEEP_INTERVAL;
            self.schedule_sweep();
        }
    }

    /// The instant a patience runs out, if no more time is lost.
    fn real(&self, patience: Patience) -> Time {
        patience.0 + self.lost
    }

    /// When something is to be done about a connection.
    fn conn_deadline(&self, conn: &Connection) -> Time {
        let pong = conn.pings.deadline().map_or(Time::NEVER, |deadline| self.real(deadline));
        let backlog = conn.binding().and_then(|binding| binding.backlog.as_ref());
        let backlog = backlog.map_or(Time::NEVER, |b| b.progress_at + BACKLOG_PATIENCE);
        let link = conn.link.as_ref();
        let link = link.and_then(|link| link.deadline()).map_or(Time::NEVER, |at| self.real(at));
        let silence = match conn.phase {
            Phase::Closing(..) => return Time::NEVER,
            Phase::Opening => self.config.handshake_timeout,
            Phase::Unbound | Phase::Bound(_) if self.asks_when_idle(conn) => {
                self.config.idle_timeout.divided_by(2)
            }
            Phase::Unbound | Phase::Bound(_) => self.idle_timeout(conn),
        };
        let idle = self.real(conn.heard_at.after(silence));
        idle.min(pong).min(backlog).min(self.confirm_due(conn)).min(link)
    }

    /// How long a connection may be silent.
    fn idle_timeout(&self, conn: &Connection) -> Span {
        match conn.link {
            Some(_) => self.config.link_heartbeat.times(MISSED_HEARTBEATS),
            None => self.config.idle_timeout,
        }
    }

    /// Whether the connection is to be asked for a sign of life before it is given up.
    fn asks_when_idle(&self, conn: &Connection) -> bool {
        let mute = matches!(conn.pings.speech, Speech::Mute(_));
        let asked = conn.idle_pinged || conn.pings.outstanding.is_some() || mute;
        !asked && conn.link.is_none() && !conn.binding().is_some_and(|binding| binding.digits)
    }

    /// Sets a connection's timer, if its deadline has become earlier.
    pub(super) fn arm(&mut self, id: ConnId) {
        let Some(conn) = self.conn(id) else { return };
        // A timer that fires soon will look at everything in time.
        if conn.armed <= self.now + self.config.confirm_delay.min(SOON) {
            return;
        }
        let deadline = self.conn_deadline(conn);
        if deadline < conn.armed {
            self.set_conn_timer(id.slot, deadline);
        }
    }

    fn set_conn_timer(&mut self, slot: u32, at: Time) {
        let conn = self.conns[slot as usize].as_mut().expect("timers are set for open connections");
        self.timers.rearm(Owner::Connection(slot), &mut conn.armed, at);
    }

    fn on_conn_timer(&mut self, slot: u32) {
        let id = self.conns[slot as usize].as_ref().expect("armed timers have owners").id;
        self.on_conn_due(id);
        if let Some(conn) = self.conn(id) {
            let deadline = self.conn_deadline(conn);
            let rests = self.now.since(conn.pings.sent_at) >= REST_AFTER;
            let mailbox = conn.binding().filter(|_| rests).map(|binding| binding.mailbox);
            self.set_conn_timer(slot, deadline);
            if let Some(mailbox) = mailbox {
                self.mailbox(mailbox).rest();
            }
        }
    }

    /// Does what is due about one connection.
    fn on_conn_due(&mut self, id: ConnId) {
        let conn = self.conn(id).expect("armed timers have owners");
        let patience = self.patience();
        let silent = patience.0.since(conn.heard_at.0);
        if matches!(conn.phase, Phase::Opening) {
            if silent >= self.config.handshake_timeout {
                self.close(id, Close::HandshakeOverdue);
            }
        } else if silent >= self.idle_timeout(conn) {
            let key = self.key_of(id);
            self.record_conn(id, ConnRecord::IdleTimedOut { key, silent });
            self.close(id, Close::Idle);
        } else if conn
            .link
            .as_ref()
            .and_then(|link| link.deadline())
            .is_some_and(|at| at <= patience)
        {
            self.on_link_overdue(id);
        } else {
            if conn.pings.deadline().is_some_and(|deadline| deadline <= patience) {
                self.on_pong_overdue(id);
            }
            self.on_open_conn_due(id, silent);
        }
    }

    /// Does what is due about one connection that is neither idle nor owes a pong, if it is open.
    fn on_open_conn_due(&mut self, id: ConnId, silent: Span) {
        let (now, half) = (self.now, self.config.idle_timeout.divided_by(2));
        let conn = self.conn(id).expect("armed timers have owners");
        if matches!(conn.phase, Phase::Closing(..)) {
            return;
        }
        let (asks, confirm_due) = (self.asks_when_idle(conn), self.confirm_due(conn) <= now);
        let backlog = conn.binding().and_then(|binding| binding.backlog.as_ref());
        if backlog.is_some_and(|backlog| backlog.progress_at + BACKLOG_PATIENCE <= now) {
            self.release_answers(id);
        }
        if asks && silent >= half {
            self.conn_mut(id).expect("it is open").idle_pinged = true;
            self.send_ping(id);
        } else if confirm_due {
            self.send_ping(id);
        }
    }

    /// Sets a mailbox's timer to when its first waiting message may be written again.
    pub(super) fn arm_mailbox(&mut self, slot: u32) {
        let mailbox = self.registry.get(slot);
        let waits = mailbox.state == KeyState::Behind && mailbox.resume_at > self.now;
        let at = match mailbox.claim {
            Claim::Lost { ask_at, .. } => ask_at,
            Claim::None | Claim::Asked { .. } | Claim::Held { .. } if waits => mailbox.resume_at,
            Claim::None | Claim::Asked { .. } | Claim::Held { .. } => Time::NEVER,
        };
        let index = slot as usize;
        if self.mailbox_timers.len() <= index {
            self.mailbox_timers.resize(index + 1, Time::NEVER);
        }
        self.timers.rearm(Owner::Mailbox(slot), &mut self.mailbox_timers[index], at);
    }

    fn on_mailbox_timer(&mut self, slot: u32) {
        self.ask_whether_free(slot);
        self.pump(slot);
        self.arm_mailbox(slot);
    }
}
