//! The gateway: takes events, gives commands, and is driven by nothing else.
//!
//! This module only dispatches. What happens on a client's connection is in `inbound` and `bind`, or
//! in `link` and `session` where it speaks the link protocol, what devices want besides in `devices`,
//! what a back end asks for in `push`, how messages get to connections in `deliver`, how they are
//! confirmed in `confirm`, what operators ask for in `operator`, what the store says in `answers`, and
//! what time brings in `deadlines`.
//!
//! Invariants: `handle` never fails (a wrong peer is closed, a wrong core panics); the commands of
//! one event are complete and in order; nothing here grows with the number of connections but the
//! tables themselves. [`Gateway::check`] verifies what is kept in more than one place.

mod answers;
mod bind;
mod check;
mod claims;
mod confirm;
mod deadlines;
mod deliver;
mod devices;
mod inbound;
mod link;
mod operator;
mod push;
mod session;
#[cfg(test)]
mod tests;

use crate::command::{Close, Command, Reply};
use crate::config::{Config, Detail};
use crate::connection::{Connection, Patience};
use crate::event::Event;
use crate::fates::Fates;
use crate::id::{ConnId, Key, MessageId};
use crate::mailbox::Mailbox;
use crate::operations::{Operations, Pending};
use crate::pushers::{Pusher, Pushers, ReplyTo};
use crate::record::{ConnRecord, DeliveryRecord, PushRecord, Record};
use crate::registry::Registry;
use crate::store::{Notice, Op};
use crate::time::{Span, Time};
use crate::timers::Timers;
use crate::uploads::Uploads;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::mem;

pub use check::Tables;
pub use deadlines::Reason;

/// The state machine of one node.
///
/// With the feature `serde` it can be written down between two events and read back: what is read
/// goes on with the same commands, byte for byte. What is read has to have been written by this
/// version; nothing else is checked.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Gateway {
    config: Config,
    rng: ChaCha8Rng,
    incarnation: u32,
    /// The counter of the last message id given out.
    last_message: u64,
    conns: Vec<Option<Connection>>,
    open_conns: u32,
    registry: Registry,
    pushers: Pushers,
    operations: Operations,
    uploads: Uploads,
    timers: Timers,
    /// Timers of mailboxes, by slot.
    mailbox_timers: Vec<Time>,
    sweep: deadlines::Sweep,
    lease: claims::Lease,
    /// The time of the event being handled.
    now: Time,
    /// How much time was lost to stalls.
    lost: Span,
    running: Running,
    fates: Fates,
    /// How many messages were confirmed.
    confirmed: u64,
    /// How many messages link clients acknowledged.
    acknowledged: u64,
    /// The caller's buffer, while an event is handled.
    #[cfg_attr(feature = "serde", serde(skip))]
    out: Vec<Command>,
    /// Emptied lists, for reuse.
    #[cfg_attr(feature = "serde", serde(skip))]
    spare_ids: Vec<Vec<MessageId>>,
    /// How it is broken on purpose.
    #[cfg(feature = "sabotage")]
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) sabotage: Option<crate::sabotage::Sabotage>,
}

/// Whether the gateway takes anything new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Running {
    Yes,
    Stopping,
}

impl Gateway {
    /// A gateway without connections. `incarnation` is the store's number for this run of this
    /// node, never given out before: message ids are made from it. `seed` decides everything that
    /// is left to chance.
    #[must_use]
    pub fn new(config: Config, incarnation: u32, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let secret = rng.next_u64();
        Self {
            config,
            rng,
            incarnation,
            last_message: 0,
            conns: Vec::new(),
            open_conns: 0,
            registry: Registry::new(secret),
            pushers: Pushers::default(),
            operations: Operations::default(),
            uploads: Uploads::default(),
            timers: Timers::default(),
            mailbox_timers: Vec::new(),
            sweep: deadlines::Sweep::default(),
            lease: claims::Lease::default(),
            now: Time::EPOCH,
            lost: Span::ZERO,
            running: Running::Yes,
            fates: Fates::default(),
            confirmed: 0,
            acknowledged: 0,
            out: Vec::new(),
            spare_ids: Vec::new(),
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    /// Takes one event and appends to `commands` what is to be done about it. `now` must not be
    /// before the time of the last event.
    pub fn handle(&mut self, now: Time, event: Event, commands: &mut Vec<Command>) {
        mem::swap(&mut self.out, commands);
        self.advance(now);
        match event {
            Event::Connection(id, event) => self.on_connection(id, event),
            Event::Pusher(id, event) => self.on_pusher(id, event),
            Event::Operator(id, request) => self.on_operator(id, request),
            Event::Answered(id, answer) => self.on_answer(id, answer),
            Event::Noticed(notice) => self.on_notice(notice),
            Event::DeadlineReached => self.on_deadline(),
            Event::ShutdownRequested => self.on_shutdown(),
        }
        mem::swap(&mut self.out, commands);
    }

    /// How many client connections are open.
    #[must_use]
    pub fn open_connections(&self) -> u32 {
        self.open_conns
    }

    /// How many pushes are not answered.
    #[must_use]
    pub fn unanswered_pushes(&self) -> usize {
        self.pushers.iter().map(Pusher::unanswered).sum()
    }

    /// Notes the time, and the time lost when it comes late to its deadlines.
    fn advance(&mut self, now: Time) {
        assert!(now >= self.now, "time went backward from {} to {now}", self.now);
        let gap = now.since(self.now);
        if gap > deadlines::LATE
            && self.first_due().is_some_and(|(due, _)| now.since(due) > deadlines::LATE)
        {
            self.lost += gap;
            self.record(Record::Late(gap));
        }
        self.now = now;
        self.start_sweeping();
        self.start_lease();
    }

    fn on_shutdown(&mut self) {
        self.running = Running::Stopping;
        let open: Vec<_> = self.pushers.iter().map(|pusher| pusher.id).collect();
        for id in open {
            // First of all, or the replies that follow from the closes would have it read again.
            if let Some(pusher) = self.pushers.get_mut(id) {
                pusher.finish();
            }
            self.flush_replies(id);
        }
        self.give_slots();
        for slot in 0..self.conns.len() {
            if let Some(conn) = &self.conns[slot] {
                self.close(conn.id, Close::GoingAway);
            }
        }
    }

    // What the other modules build with.

    fn emit(&mut self, command: Command) {
        self.out.push(command);
    }

    fn record(&mut self, record: Record) {
        self.out.push(Command::Record(record));
    }

    /// Whether things that go as they should are recorded in this much detail.
    fn records(&self, detail: Detail) -> bool {
        self.config.detail >= detail
    }

    fn record_conn(&mut self, id: ConnId, record: ConnRecord) {
        self.record(Record::Connection(id, record));
    }

    fn record_push(&mut self, to: ReplyTo, record: PushRecord) {
        self.record(Record::Push(to.pusher, record));
    }

    fn record_delivery(&mut self, key: Key, record: DeliveryRecord) {
        self.record(Record::Delivery(key, record));
    }

    /// The time as a client's patience counts it.
    fn patience(&self) -> Patience {
        Patience(self.now - self.lost)
    }

    fn conn(&self, id: ConnId) -> Option<&Connection> {
        self.conns.get(id.slot as usize)?.as_ref().filter(|conn| conn.id == id)
    }

    fn conn_mut(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.conns.get_mut(id.slot as usize)?.as_mut().filter(|conn| conn.id == id)
    }

    /// The key that an event is about, as far as is known before it is handled.
    #[must_use]
    pub fn key_concerned(&self, event: &Event) -> Option<Key> {
        match event {
            Event::Connection(id, _) => self.key_of(*id),
            Event::Answered(op, _) => {
                let operation = self.operations.get(*op)?;
                if let Pending::Link { conn, .. } = operation {
                    return self.key_of(*conn);
                }
                if let Pending::DeviceLog(upload) = operation {
                    return Some(upload.key.clone());
                }
                Some(self.registry.get(operation.mailbox()?).key.clone())
            }
            Event::Operator(_, request) => request.key().cloned(),
            Event::Noticed(
                Notice::MessageStored(key) | Notice::KeyTaken { key, .. } | Notice::KeyFreed(key),
            ) => Some(key.clone()),
            Event::Noticed(Notice::Missed)
            | Event::Pusher(..)
            | Event::DeadlineReached
            | Event::ShutdownRequested => None,
        }
    }

    /// The key a connection is or was bound to.
    #[must_use]
    pub fn key_of(&self, id: ConnId) -> Option<Key> {
        use crate::connection::Phase;
        match &self.conn(id)?.phase {
            Phase::Bound(binding) => Some(self.registry.get(binding.mailbox).key.clone()),
            Phase::Closing(_, key) => key.clone(),
            Phase::Opening | Phase::Unbound => None,
        }
    }

    fn mailbox(&mut self, slot: u32) -> &mut Mailbox {
        self.registry.get_mut(slot)
    }

    /// Gives the store an operation and remembers what it was for.
    fn issue(&mut self, pending: Pending, request: Op) -> crate::id::OpId {
        if let Some(slot) = pending.mailbox() {
            self.mailbox(slot).pending += 1;
        }
        let op = self.operations.issue(pending, self.now, self.config.store_timeout);
        self.emit(Command::Store { op, request });
        op
    }

    /// Answers a push, as soon as those before it are answered.
    fn reply(&mut self, to: ReplyTo, reply: Reply) {
        let Some(pusher) = self.pushers.get_mut(to.pusher) else { return };
        pusher.settle(to, reply);
        self.flush_replies(to.pusher);
    }

    fn spare_ids(&mut self) -> Vec<MessageId> {
        self.spare_ids.pop().unwrap_or_default()
    }

    fn reuse_ids(&mut self, mut ids: Vec<MessageId>) {
        if ids.capacity() > 0 && self.spare_ids.len() < 1_024 {
            ids.clear();
            self.spare_ids.push(ids);
        }
    }
}
