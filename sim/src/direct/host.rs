//! The gateway's process: its turns, what it orders, its disk, its ends and beginnings.

#![allow(clippy::wildcard_enum_match_arm, reason = "each match picks out what it is about")]

use super::peers::ClientEvent;
use super::{Happening, NODE, Run};
use crate::oracle::Fact;
use crate::sabotage::{Sabotage, Tamper};
use crate::schedule::{Actor, Crash, Delivered, Stream, Trouble};
use bytes::Bytes;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::{CloseCause, ConnEvent, Event, PusherEvent};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, Key, OpId, PusherId};
use steadfast_core::record::{ConnRecord, Record, StoreRecord};
use steadfast_core::sabotage::Sabotage as Broken;
use steadfast_core::store::Answer;
use steadfast_core::time::Span;

/// The gateway's process.
#[derive(Debug)]
pub(super) struct Host {
    /// None while it is down.
    pub(super) gateway: Option<Gateway>,
    /// Which run of the process this is.
    pub(super) run: u32,
    /// Whether it was told to stop.
    pub(super) stopping: bool,
    /// Whether the gateway knows: from then on its event loop reads no back end.
    deaf: bool,
    /// What has arrived since the last turn.
    inbox: Vec<Event>,
    /// The inbox of the last turn, for the next one.
    emptied: Vec<Event>,
    /// Back ends that are read again.
    resumed: Vec<PusherId>,
    /// When the next turn is.
    pub(super) turn_at: Option<u64>,
    pub(super) stalled_until: u64,
    /// Since when it stands still.
    stalled_since: Option<u64>,
    rng: ChaCha8Rng,
    /// The buffer for its orders.
    pub(super) commands: Vec<Command>,
    pub(super) tamper: Tamper,
}

impl Host {
    pub(super) fn new(config: Config, incarnation: u32, seed: u64, broken: Option<Broken>) -> Self {
        Self {
            gateway: Some(gateway(config, incarnation, seed, broken)),
            run: incarnation,
            stopping: false,
            deaf: false,
            inbox: Vec::new(),
            emptied: Vec::new(),
            resumed: Vec::new(),
            turn_at: None,
            stalled_until: 0,
            stalled_since: None,
            rng: Actor::Gateway(NODE).stream(seed, Stream::World),
            commands: Vec::new(),
            tamper: Tamper::default(),
        }
    }

    /// Whether somebody can connect to it.
    pub(super) fn is_open(&self) -> bool {
        self.gateway.is_some() && !self.stopping
    }

    /// Whether nothing has arrived that it was not told.
    pub(super) fn is_quiet(&self) -> bool {
        self.inbox.is_empty() && self.resumed.is_empty()
    }
}

/// A gateway, broken inside or not.
fn gateway(config: Config, incarnation: u32, seed: u64, broken: Option<Broken>) -> Gateway {
    let mut gateway = Gateway::new(config, incarnation, seed);
    if let Some(broken) = broken {
        gateway.sabotage(broken);
    }
    gateway
}

/// A number for each source of events: what comes from one source stays in order.
fn source(event: &Event) -> u64 {
    match event {
        Event::Connection(id, _) => u64::from(id.slot),
        Event::Pusher(id, _) => (1 << 40) + u64::from(id.slot),
        Event::Answered(..)
        | Event::Noticed(_)
        | Event::Operator(..)
        | Event::DeadlineReached
        | Event::ShutdownRequested => 1 << 41,
    }
}

impl Run<'_> {
    /// Puts an event where the next turn finds it.
    pub(super) fn arrive(&mut self, event: Event) {
        if self.host.gateway.is_none() {
            return;
        }
        self.host.inbox.push(event);
        let delay = self.host.rng.random_range(0..200);
        self.schedule_turn(self.now + delay);
    }

    pub(super) fn schedule_turn(&mut self, at: u64) {
        let at = at.max(self.now).max(self.host.stalled_until);
        if self.host.turn_at.is_none_or(|other| at < other) {
            self.host.turn_at = Some(at);
        }
    }

    /// The event loop goes round: what has arrived is told, then the deadline.
    pub(super) fn turn(&mut self) {
        self.host.turn_at = None;
        if self.host.gateway.is_none() {
            return;
        }
        if self.now < self.host.stalled_until {
            return self.schedule_turn(self.now);
        }
        if let Some(since) = self.host.stalled_since.take() {
            let span = Span::from_micros(self.now - since);
            self.fact(Fact::Lost(NODE, span));
            if span > Span::from_secs(1) {
                self.deliver(Delivered::Stalled);
            }
        }
        let emptied = std::mem::take(&mut self.host.emptied);
        let mut inbox = std::mem::replace(&mut self.host.inbox, emptied);
        self.shuffle(&mut inbox);
        for event in inbox.drain(..) {
            self.tell_arrived(event);
        }
        self.host.emptied = inbox;
        for id in std::mem::take(&mut self.host.resumed) {
            self.read_wire(id);
        }
        self.serve_deadline();
        if !self.host.inbox.is_empty() {
            self.schedule_turn(self.now);
        }
    }

    fn serve_deadline(&mut self) {
        let due = |run: &Self| Some(run.host.gateway.as_ref()?.next_deadline()?.0);
        let mut at = due(self);
        if at.is_some_and(|at| at <= self.wall()) {
            self.tell(Event::DeadlineReached);
            at = due(self);
        }
        if let Some(at) = at {
            let wait = at.since(self.wall()).as_micros();
            self.schedule_turn(self.now + wait);
        }
    }

    /// Ready sockets come in any order.
    fn shuffle(&mut self, inbox: &mut [Event]) {
        if inbox.len() < 2 {
            return;
        }
        let salt = self.host.rng.next_u64() | 1;
        let rank = |event: &Event| (source(event) + 1).wrapping_mul(salt).rotate_left(29);
        if !inbox.is_sorted_by_key(rank) {
            inbox.sort_by_key(rank);
            self.deliver(Delivered::Reordered);
        }
    }

    /// Tells an event, if what it is about is still there and may be read.
    fn tell_arrived(&mut self, event: Event) {
        match &event {
            Event::Connection(id, what) => {
                let Some(socket) = self.sockets.get(*id).filter(|socket| socket.open) else {
                    return;
                };
                match what {
                    ConnEvent::Upgraded { .. } => {
                        socket.upgraded = true;
                        let client = socket.client;
                        self.tell(event.clone());
                        if let Some(client) = client {
                            self.upgraded(client, event);
                        }
                        return;
                    }
                    ConnEvent::Accepted => {
                        let id = *id;
                        self.tell(event);
                        return self.vouch(id);
                    }
                    ConnEvent::Closed(_) => self.note_stale_close(*id),
                    ConnEvent::TextReceived(_)
                    | ConnEvent::BinaryReceived(_)
                    | ConnEvent::PingReceived(_)
                    | ConnEvent::PongReceived(_)
                    | ConnEvent::Drained => {}
                }
            }
            Event::Pusher(id, what) => {
                let (id, deaf) = (*id, self.host.deaf);
                let Some(wire) = self.wires.get_mut(&id) else { return };
                if !wire.is_read_up_to(what, deaf) {
                    wire.backlog.push_back(what.clone());
                    return self.read_wire(id);
                }
                if let PusherEvent::Closed = what {
                    self.wires.remove(&id);
                }
            }
            Event::ShutdownRequested => self.host.deaf = true,
            Event::Answered(..)
            | Event::Noticed(_)
            | Event::Operator(..)
            | Event::DeadlineReached => {}
        }
        self.tell(event);
    }

    fn upgraded(&mut self, client: u32, event: Event) {
        let Event::Connection(id, _) = event else { return };
        let attempt = self.clients[client as usize].attempt;
        if self.clients[client as usize].socket == Some(id) {
            self.reach_client(client, attempt, ClientEvent::Opened);
        }
    }

    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Send { conn, payload, .. } => {
                self.send_down(conn, ClientEvent::Text(payload));
            }
            Command::Ping { conn, counter } => self.send_down(conn, ClientEvent::Ping(counter)),
            Command::Pong { conn, .. } => self.send_down(conn, ClientEvent::Pong),
            Command::ReportDrained { conn } => self.report_drained(conn),
            Command::Close { conn, close } => {
                self.host.inbox.retain(|event| match event {
                    Event::Connection(id, _) => *id != conn,
                    _ => true,
                });
                let code = Some(close.code()).filter(|_| !close.is_forced());
                self.send_down(conn, ClientEvent::Closed(code));
                let closed = ConnEvent::Closed(CloseCause::Commanded);
                self.arrive(Event::Connection(conn, closed));
            }
            Command::Pause { pusher } => {
                if let Some(wire) = self.wires.get_mut(&pusher) {
                    wire.paused = true;
                }
            }
            Command::Resume { pusher } => self.resume(pusher),
            Command::Finish { pusher } => {
                if let Some(wire) = self.wires.get_mut(&pusher) {
                    wire.backlog.clear();
                }
                self.arrive(Event::Pusher(pusher, PusherEvent::Closed));
            }
            Command::Store { op, request } => {
                self.disk.submit(op, request);
                self.schedule_sync();
            }
            Command::Answer { answer, .. } => self.tell_operator(&answer),
            Command::Record(_) | Command::Reply { .. } => {}
        }
    }

    /// What a record tells the world.
    pub(super) fn heed(&mut self, record: &Record) {
        match record {
            Record::Connection(id, ConnRecord::Bound { key, .. }) => self.note_bound(*id, key),
            Record::Store(_, StoreRecord::TimedOut { .. }) => {
                self.deliver(Delivered::StoreTimedOut);
            }
            _ => {}
        }
    }

    fn resume(&mut self, pusher: PusherId) {
        if let Some(wire) = self.wires.get_mut(&pusher) {
            wire.paused = false;
            self.host.resumed.push(pusher);
            self.schedule_turn(self.now);
        }
    }

    /// Tells what a back end has sent, in order, as far as the gateway reads it.
    fn read_wire(&mut self, id: PusherId) {
        let deaf = self.host.deaf;
        while let Some(wire) = self.wires.get_mut(&id).filter(|wire| wire.is_read(deaf)) {
            let Some(event) = wire.backlog.pop_front() else { return };
            if let PusherEvent::Closed = event {
                self.wires.remove(&id);
            }
            self.tell(Event::Pusher(id, event));
        }
    }

    fn note_bound(&mut self, id: ConnId, key: &Key) {
        let keys = (0..).zip(&self.schedule.world.keys);
        let key = keys.filter(|(_, spec)| spec.text == **key).map(|(place, _)| place).next();
        let Some(socket) = self.sockets.get(id) else { return };
        socket.bound = key;
        let mut others = self.sockets.open_ones().filter(|other| other.id != id);
        if others.any(|other| key.is_some() && other.bound == key && other.half_open) {
            drop(others);
            self.deliver(Delivered::TakeoverOfHalfOpen);
        }
    }

    fn note_stale_close(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.get(id) else { return };
        let (key, half_open) = (socket.bound, socket.half_open);
        let mut others = self.sockets.open_ones().filter(|other| other.id != id);
        if others.any(|other| half_open && key.is_some() && other.bound == key) {
            drop(others);
            self.deliver(Delivered::StaleClose);
        }
    }

    fn active_trouble(&self) -> Option<Trouble> {
        self.trouble.filter(|(_, until)| *until > self.now).map(|(trouble, _)| trouble)
    }

    pub(super) fn schedule_sync(&mut self) {
        if self.syncing || self.disk.queued() == 0 {
            return;
        }
        let delay = match self.active_trouble() {
            Some(Trouble::Slow) => self.disk_rng.random_range(100_000..3_000_000),
            Some(Trouble::Stalled) => self.trouble.map_or(0, |(_, until)| until - self.now),
            None | Some(Trouble::Failing | Trouble::Unclear | Trouble::ReadOnly) => {
                self.disk_rng.random_range(100..3_000)
            }
        };
        self.syncing = true;
        self.note(delay, Happening::Sync);
    }

    /// The disk carries out what is queued; the answers are on their way.
    pub(super) fn sync(&mut self) {
        self.syncing = false;
        let trouble = self.active_trouble();
        let answers = self.disk.sync(trouble);
        for fact in self.disk.take_facts() {
            self.fact(fact);
        }
        let failed = answers.iter().any(|(_, answer)| matches!(answer, Answer::Failed(_)));
        match trouble {
            Some(Trouble::Slow) if !answers.is_empty() => self.deliver(Delivered::StoreWasSlow),
            Some(Trouble::Failing) if failed => self.deliver(Delivered::StoreFailed),
            Some(Trouble::Unclear) if failed => self.deliver(Delivered::StoreWasUnclear),
            Some(Trouble::ReadOnly) if failed => self.deliver(Delivered::StoreWasReadOnly),
            _ => {}
        }
        if !answers.is_empty() {
            // The answers of one sync do not overtake those of another.
            let delay = self.disk_rng.random_range(20..400);
            self.answers_at = self.answers_at.max(self.now + delay);
            self.note(self.answers_at - self.now, Happening::Answers(self.host.run, answers));
        }
        self.schedule_sync();
    }

    pub(super) fn arrive_from_store(&mut self, run: u32, answers: Vec<(OpId, Answer)>) {
        if run != self.host.run {
            return;
        }
        for (op, answer) in answers {
            self.arrive(Event::Answered(op, answer));
        }
    }

    /// The process stands still.
    pub(super) fn stall(&mut self, millis: u64) {
        if self.host.gateway.is_some() && self.host.stalled_since.is_none() {
            self.host.stalled_since = Some(self.now);
            self.host.stalled_until = self.now + millis * 1_000;
            self.host.turn_at = None;
            self.schedule_turn(self.host.stalled_until);
        }
    }

    /// The process ends without warning.
    pub(super) fn crash(&mut self, how: Crash, down: u64, back: u64) {
        if self.host.gateway.is_none() {
            return;
        }
        let queued = self.disk.queued();
        let wreck = self.disk.crash(self.disk_rng.random_range(0..=queued));
        if wreck.kept > 0 {
            self.deliver(Delivered::UnansweredKept);
        }
        if wreck.lost > 0 {
            self.deliver(Delivered::UnsyncedLost);
        }
        self.deliver(match how {
            Crash::Process => Delivered::ProcessCrashed,
            Crash::Machine => Delivered::MachineCrashed,
        });
        for fact in self.disk.take_facts() {
            self.fact(fact);
        }
        self.remark("crash");
        self.end_process(how);
        let back = i64::try_from(back * 1_000).expect("a short time");
        if back > 0 {
            self.deliver(Delivered::ClockWentBack);
            self.leapt -= back;
            self.turned_back += back.unsigned_abs() / 1_000;
        }
        self.note(down * 1_000, Happening::Restart);
    }

    fn end_process(&mut self, how: Crash) {
        self.host.gateway = None;
        self.host.stopping = false;
        self.host.deaf = false;
        self.host.inbox.clear();
        self.host.resumed.clear();
        self.host.stalled_since = None;
        self.host.stalled_until = 0;
        self.host.turn_at = None;
        let open: Vec<_> = self.sockets.open_ones().map(|socket| socket.id).collect();
        for id in open {
            if how == Crash::Process {
                self.send_down(id, ClientEvent::Closed(None));
            }
            self.sockets.free(id);
        }
        self.wires.clear();
        self.back_ends.iter_mut().for_each(|back_end| back_end.id = None);
        self.fact(Fact::Crashed(NODE));
    }

    /// The process is told to stop, and has a second for it.
    pub(super) fn shutdown(&mut self, down: u64) {
        if self.host.is_open() {
            self.host.stopping = true;
            self.deliver(Delivered::Stopped);
            self.arrive(Event::ShutdownRequested);
            self.note(1_000_000, Happening::Exit(down));
        }
    }

    pub(super) fn exit(&mut self, down: u64) {
        if self.host.gateway.is_none() || !self.host.stopping {
            return;
        }
        self.disk.crash(usize::MAX);
        for fact in self.disk.take_facts() {
            self.fact(fact);
        }
        self.end_process(Crash::Process);
        self.note(down * 1_000, Happening::Restart);
    }

    pub(super) fn restart(&mut self) {
        if self.host.gateway.is_some() {
            return;
        }
        let run = self.disk.start();
        let seed = self.schedule.seed ^ (u64::from(run) << 40);
        let broken = self.watch.sabotage.and_then(Sabotage::inside);
        self.remark("start");
        self.host.gateway = Some(gateway(self.config.clone(), run, seed, broken));
        self.host.run = run;
    }

    /// The wall clock leaps forward.
    pub(super) fn leap(&mut self, millis: u64) {
        self.leapt += i64::try_from(millis * 1_000).expect("a short time");
        self.fact(Fact::Lost(NODE, Span::ZERO));
        self.deliver(Delivered::Leapt);
        if self.host.gateway.is_some() {
            self.schedule_turn(self.now);
        }
    }

    fn report_drained(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.get(id) else { return };
        let slow = socket.client.map_or(0, |client| self.clients[client as usize].slow_until);
        if slow > self.now {
            self.deliver(Delivered::ReadSlowly);
            self.agenda.note(slow, Happening::ToGateway(id, ConnEvent::Drained));
        } else {
            self.arrive(Event::Connection(id, ConnEvent::Drained));
        }
    }

    /// The payload of the client's own pings.
    pub(super) fn own_ping() -> Bytes {
        Bytes::from_static(b"link")
    }
}
