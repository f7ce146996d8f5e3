//! The host that runs a gateway: the production core and the production codecs between turmoil's
//! sockets and a simulated disk.
//!
//! A turn is the daemon's: read every socket and hand on each event, settling the store's answers
//! after every one; accept; take what was brought past the sockets; settle; serve the deadline; end
//! what has lingered; write to each socket once. `Gateway::check` runs after every event.

use super::desk::Desk;
use super::disk::Drive;
use super::ends::Ends;
use super::shared::{self, Shared};
use super::slots::Place;
use super::sockets::{Input, Sockets};
use super::tally::Tally;
use super::timeline::{Keep, Kind, Timeline};
use super::watch::Watch;
use super::wire::{Chop, Meters, Wire};
use super::{PUSH_PORT, WS_PORT, since_start};
use crate::narrow;
use crate::oracle::Fact;
use crate::sabotage::Sabotage;
use crate::schedule::Delivered;
use rand::seq::SliceRandom as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use steadfast_core::command::{Close, Command, Reply};
use steadfast_core::config::Config;
use steadfast_core::event::{CloseCause, ConnEvent, Event};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, Key, PusherId};
use steadfast_core::record::{ConnRecord, PushRecord, Record, StoreRecord};
use steadfast_core::time::{Span, Time};
use steadfast_core::trace::Trace;
use tokio::time::{Instant, Sleep, sleep_until};
use turmoil::net::{TcpListener, TcpStream};

/// How often a turn serves a deadline that is due again right after it was served.
const DEADLINES: usize = 64;

/// What is known of a gateway outside of its process: its disk, its clock, and what is done to it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) config: Config,
    seed: u64,
    pub(super) drive: RefCell<Drive>,
    /// What is brought to its process past its sockets.
    pub(super) desk: RefCell<Desk>,
    ends: Ends,
    /// What the wall clock showed when the world began, later leaps included.
    clock: Cell<Time>,
    /// The process does not run before this time.
    stalled_until: Cell<Span>,
    waker: RefCell<Option<Waker>>,
    pub(super) chop: Chop,
    meters: Meters,
    timeline: Timeline,
    /// The key that alone is looked at.
    key: Option<Key>,
    delivered: Tally,
    trace: RefCell<Trace>,
    watch: Watch,
    /// It was asked to stop.
    pub(super) stopping: Cell<bool>,
    /// How many pushes its process has not answered, whether or not anybody waits for that.
    pub(super) unanswered: Cell<usize>,
    index: usize,
    /// The store that it shares with others, if it has none of its own.
    redis: Option<shared::Server>,
    sabotage: Option<Sabotage>,
}

/// What a machine is made of.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) config: Config,
    pub(super) seed: u64,
    pub(super) clock: Time,
    pub(super) meters: Meters,
    pub(super) timeline: Timeline,
    pub(super) key: Option<Key>,
    pub(super) delivered: Tally,
    pub(super) ends: Ends,
    pub(super) watch: Watch,
    /// The host of the store that it shares with others.
    pub(super) redis: Option<&'static str>,
    /// How it is broken on purpose.
    pub(super) sabotage: Option<Sabotage>,
}

impl Machine {
    pub(super) fn new(name: &str, parts: Parts) -> Self {
        let slow = parts.config.store_timeout.times(2);
        let chop = Chop::default();
        let redis = parts.redis.map(|host| shared::Server {
            host: host.to_owned(),
            meters: parts.meters.roomy(),
            chop: chop.clone(),
            patience: Duration::from_micros(parts.config.store_timeout.as_micros()),
            is_deaf: parts.sabotage == Some(Sabotage::LostWake),
        });
        Self {
            name: name.to_owned(),
            drive: RefCell::new(Drive::new(parts.seed, slow, parts.delivered.clone())),
            desk: RefCell::default(),
            ends: parts.ends,
            config: parts.config,
            seed: parts.seed,
            clock: Cell::new(parts.clock),
            stalled_until: Cell::new(Span::ZERO),
            waker: RefCell::new(None),
            chop,
            meters: parts.meters,
            timeline: parts.timeline,
            key: parts.key,
            delivered: parts.delivered,
            trace: RefCell::new(Trace::new()),
            watch: parts.watch,
            stopping: Cell::new(false),
            unanswered: Cell::new(0),
            index: parts.index,
            redis,
            sabotage: parts.sabotage,
        }
    }

    /// What its wall clock shows at this moment of the world.
    pub(super) fn time(&self, at: Span) -> Time {
        self.clock.get() + at
    }

    /// The wall clock leaps forward.
    pub(super) fn leap(&self, at: Span, span: Span) {
        self.clock.set(self.clock.get() + span);
        self.delivered.count(Delivered::Leapt);
        self.lose(at, span);
        self.wake();
    }

    /// The wall clock is set back. Only for a machine that is down.
    pub(super) fn set_back(&self, span: Span) {
        self.clock.set(self.clock.get() - span);
        self.delivered.count(Delivered::ClockWentBack);
    }

    /// The process does not run for so long.
    pub(super) fn stall(&self, at: Span, span: Span) {
        self.stalled_until.set(at + span);
        self.delivered.count(Delivered::Stalled);
        self.lose(at, span);
    }

    /// The process runs again at once.
    pub(super) fn unstall(&self) {
        self.stalled_until.set(Span::ZERO);
        self.wake();
    }

    fn lose(&self, at: Span, span: Span) {
        let wall = self.time(at);
        self.watch.fact(at, Some(wall), self.index, Fact::Lost(self.index as u32, span));
    }

    /// Its process has ended.
    pub(super) fn crash(&self, at: Span) {
        self.drive.borrow_mut().crash();
        self.desk.borrow_mut().crash(&self.ends);
        self.tell_facts(at);
        self.stopping.set(false);
        self.unanswered.set(0);
        self.watch.fact(at, None, self.index, Fact::Crashed(self.index as u32));
    }

    /// Tells what the disk has to tell.
    fn tell_facts(&self, at: Span) {
        let facts = self.drive.borrow_mut().disk.take_facts();
        for fact in facts {
            self.watch.fact(at, Some(self.time(at)), self.index, fact);
        }
    }

    /// Has the process look at its disk and its clock.
    pub(super) fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Runs the gateway from what its disk has kept, until it is crashed.
pub(super) async fn serve(machine: Rc<Machine>) -> turmoil::Result {
    let run = machine.drive.borrow_mut().disk.start();
    // Where each gateway has its own store, the names of messages differ all the same.
    let mut store = (None, machine.index as u32 * 10_000 + run);
    if let Some(server) = &machine.redis {
        let rng = ChaCha8Rng::seed_from_u64(machine.seed ^ u64::from(run) << 16);
        let (shared, incarnation) = Shared::open(server.clone(), &machine.name, rng).await;
        store = (Some(shared), incarnation);
    }
    let doors = [Door::open(WS_PORT).await?, Door::open(PUSH_PORT).await?];
    let mut process = Process::start(machine, doors, run, store);
    poll_fn(|cx| process.turn(cx)).await
}

/// A listener, and the connection it waits for.
pub(super) struct Door {
    accept: Pin<Box<dyn Future<Output = Accepted>>>,
}

type Accepted = (TcpListener, io::Result<(TcpStream, SocketAddr)>);

impl Door {
    pub(super) async fn open(port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
        Ok(Self::new(listener))
    }

    fn new(listener: TcpListener) -> Self {
        let accept = Box::pin(async move {
            let accepted = listener.accept().await;
            (listener, accepted)
        });
        Self { accept }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Option<TcpStream> {
        let Poll::Ready((listener, accepted)) = self.accept.as_mut().poll(cx) else {
            return None;
        };
        *self = Self::new(listener);
        accepted.ok().map(|(stream, _)| stream)
    }
}

/// One run of a gateway's process.
struct Process {
    machine: Rc<Machine>,
    gateway: Gateway,
    sockets: Sockets,
    shared: Option<Shared>,
    doors: [Door; 2],
    commands: Vec<Command>,
    told_to_stop: bool,
    /// In which order sockets are read.
    order: ChaCha8Rng,
    /// The newest connection of each key.
    newest: BTreeMap<Key, ConnId>,
    /// The connections of the key that alone is looked at.
    of_key: BTreeSet<ConnId>,
    alarm: Pin<Box<Sleep>>,
}

impl Process {
    fn start(
        machine: Rc<Machine>,
        doors: [Door; 2],
        run: u32,
        (shared, incarnation): (Option<Shared>, u32),
    ) -> Self {
        let mut gateway =
            Gateway::new(machine.config.clone(), incarnation, machine.seed ^ u64::from(run));
        if let Some(broken) = machine.sabotage.and_then(Sabotage::inside) {
            gateway.sabotage(broken);
        }
        let now = machine.time(since_start());
        let sockets = Sockets::new(
            run,
            machine.config.max_message as usize,
            machine.config.max_push_line as usize,
            now,
            machine.delivered.clone(),
        );
        let alarm = Box::pin(sleep_until(Instant::now()));
        let order = ChaCha8Rng::seed_from_u64(machine.seed ^ u64::from(run) << 32);
        Self {
            machine,
            gateway,
            sockets,
            shared,
            doors,
            commands: Vec::new(),
            told_to_stop: false,
            order,
            newest: BTreeMap::new(),
            of_key: BTreeSet::new(),
            alarm,
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<turmoil::Result> {
        *self.machine.waker.borrow_mut() = Some(cx.waker().clone());
        let stalled_until = self.machine.stalled_until.get();
        if stalled_until > since_start() {
            self.wake_at(cx, stalled_until);
            return Poll::Pending;
        }
        self.sockets.now = self.machine.time(since_start());
        self.work_in_store(cx);
        self.read(cx);
        if !self.told_to_stop {
            self.accept(cx);
        }
        self.take_requests(cx);
        self.take_notices(cx);
        self.settle(cx);
        self.serve_deadline(cx);
        self.sockets.end_lingering();
        if self.machine.stopping.get() && !self.told_to_stop {
            self.told_to_stop = true;
            self.dispatch(cx, Event::ShutdownRequested);
            self.settle(cx);
            self.sockets.stop_pushers();
        }
        self.sockets.flush(cx);
        self.dispatch_pending(cx);
        self.work_in_store(cx);
        self.machine.unanswered.set(self.gateway.unanswered_pushes());
        let due = self.gateway.next_deadline().map(|(at, _)| at);
        let disk = self.machine.drive.borrow().next_due();
        let wake = due.into_iter().chain(disk).chain(self.sockets.next_deadline()).min();
        if let Some(at) = wake {
            // The flush may have caused what is due already.
            let after = at.since(self.sockets.now);
            self.wake_at(cx, since_start() + after);
        }
        Poll::Pending
    }

    /// Lets the threads of a shared store run: what came is taken up, what was ordered is sent.
    fn work_in_store(&mut self, cx: &mut Context<'_>) {
        if let Some(shared) = &mut self.shared {
            shared.turn(cx);
            if shared.has_news() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Hands on what a shared store has told.
    fn take_notices(&mut self, cx: &Context<'_>) {
        let notices = self.shared.as_ref().map(Shared::take_notices);
        for notice in notices.unwrap_or_default() {
            self.dispatch(cx, Event::Noticed(notice));
        }
    }

    /// Asks to be woken at this moment of the world, at least a millisecond from now.
    fn wake_at(&mut self, cx: &mut Context<'_>, at: Span) {
        let wait = at.as_micros().saturating_sub(since_start().as_micros()).max(1_000);
        let deadline = Instant::now() + Duration::from_micros(wait);
        self.alarm.as_mut().reset(deadline);
        if self.alarm.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }

    /// Sockets that are ready come in any order.
    fn shuffled(&mut self, mut places: Vec<Place>) -> Vec<Place> {
        places.shuffle(&mut self.order);
        places
    }

    fn read(&mut self, cx: &mut Context<'_>) {
        let pushers = self.sockets.pusher_places();
        for place in self.shuffled(pushers) {
            if let Input::Bytes(bytes) = self.sockets.receive_pusher(cx, place) {
                let mut input = &bytes[..];
                while let Some(event) = self.sockets.next_pusher_event(place, &mut input) {
                    self.dispatch(cx, event);
                    self.settle(cx);
                }
                if !input.is_empty() {
                    self.sockets.keep_rest(place, input);
                }
            }
            self.dispatch_pending(cx);
        }
        let clients = self.sockets.client_places();
        let mut last = None;
        for place in self.shuffled(clients) {
            if let Input::Bytes(bytes) = self.sockets.receive_client(cx, place) {
                if last.replace(place) > Some(place) {
                    self.machine.delivered.count(Delivered::Reordered);
                }
                let mut input = &bytes[..];
                while let Some(event) = self.sockets.next_client_event(place, &mut input) {
                    self.dispatch(cx, event);
                    self.settle(cx);
                }
            }
            self.dispatch_pending(cx);
        }
    }

    fn accept(&mut self, cx: &mut Context<'_>) {
        while let Some(stream) = self.doors[0].poll(cx) {
            if let Ok(wire) = Wire::new(stream, &self.machine.meters, &self.machine.chop) {
                self.sockets.accept_client(wire);
                // What has come with the connection is read in a turn of its own.
                cx.waker().wake_by_ref();
            }
        }
        while let Some(stream) = self.doors[1].poll(cx) {
            if let Ok(wire) = Wire::new(stream, &self.machine.meters, &self.machine.chop) {
                self.sockets.accept_pusher(wire);
                cx.waker().wake_by_ref();
            }
        }
        self.dispatch_pending(cx);
    }

    /// Takes what was brought past the sockets.
    fn take_requests(&mut self, cx: &Context<'_>) {
        let machine = Rc::clone(&self.machine);
        loop {
            let back_end = || self.sockets.reserve_pusher();
            let events = machine.desk.borrow_mut().take(machine.index, &machine.ends, back_end);
            let Some(events) = events else { return };
            for event in events {
                self.dispatch(cx, event);
                self.settle(cx);
            }
        }
    }

    /// Hands the store's answers on until there are none.
    fn settle(&mut self, cx: &Context<'_>) {
        loop {
            let answer = match &self.shared {
                Some(shared) => shared.next_answer(),
                None => self.machine.drive.borrow_mut().next_answer(self.sockets.now),
            };
            let Some((op, answer)) = answer else { return };
            self.machine.tell_facts(since_start());
            self.dispatch(cx, Event::Answered(op, answer));
        }
    }

    fn serve_deadline(&mut self, cx: &Context<'_>) {
        for _ in 0..DEADLINES {
            if self.gateway.next_deadline().is_none_or(|(at, _)| at > self.sockets.now) {
                return;
            }
            self.dispatch(cx, Event::DeadlineReached);
            self.settle(cx);
        }
    }

    fn dispatch(&mut self, cx: &Context<'_>, event: Event) {
        self.handle_one(cx, event);
        self.dispatch_pending(cx);
    }

    fn dispatch_pending(&mut self, cx: &Context<'_>) {
        while let Some(event) = self.sockets.pending.pop_front() {
            if let Event::Connection(conn, ConnEvent::Drained) = event
                && !self.sockets.is_live(conn)
            {
                continue;
            }
            self.handle_one(cx, event);
        }
    }

    fn handle_one(&mut self, cx: &Context<'_>, event: Event) {
        let now = self.sockets.now;
        self.count(&event);
        let mut commands = std::mem::take(&mut self.commands);
        self.gateway.handle(now, event.clone(), &mut commands);
        if self.machine.watch.is_checked() {
            self.gateway.check();
        }
        self.write_down(&event, &commands);
        self.machine.watch.batch(since_start(), now, self.machine.index, &event, &commands);
        if let Event::Connection(id, ConnEvent::Accepted) = event
            && let Some(client) = self.sockets.peer(id)
        {
            self.machine.watch.accepted(since_start(), self.machine.index, id, client);
        }
        for command in commands.drain(..) {
            self.execute(cx, command);
        }
        self.commands = commands;
    }

    fn execute(&mut self, cx: &Context<'_>, command: Command) {
        match command {
            Command::Send { conn, kind, payload } => self.sockets.send(conn, kind, &payload),
            Command::Ping { conn, counter } => self.sockets.ping(conn, counter),
            Command::Pong { conn, payload } => self.sockets.pong(conn, &payload),
            Command::ReportDrained { conn } => self.sockets.report_drained(conn),
            Command::Close { conn, close } => self.sockets.close(cx, conn, close),
            Command::Reply { pusher, reply } => self.reply(pusher, reply),
            Command::Pause { pusher } => self.sockets.pause(pusher, true),
            Command::Resume { pusher } => {
                self.sockets.pause(pusher, false);
                cx.waker().wake_by_ref();
            }
            Command::Finish { pusher } => self.sockets.finish(pusher),
            Command::Store { op, request } => match &self.shared {
                Some(shared) => shared.submit(op, request),
                None => self.machine.drive.borrow_mut().submit(self.sockets.now, op, request),
            },
            Command::Record(record) => self.count_record(&record),
            Command::Answer { answer, .. } => {
                self.machine.desk.borrow_mut().tell(&answer);
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Hands a reply to the back end, whichever way its push has come.
    fn reply(&mut self, pusher: PusherId, reply: Reply) {
        let machine = &self.machine;
        if machine.desk.borrow_mut().reply(pusher, reply, &machine.ends) {
            self.sockets.release_pusher(pusher);
        } else {
            self.sockets.reply(pusher, reply);
        }
    }

    /// Notes the faults that show in what the gateway is told.
    fn count(&self, event: &Event) {
        if let Event::Connection(_, ConnEvent::Closed(cause)) = event {
            match cause {
                CloseCause::ProtocolError { .. } => {
                    self.machine.delivered.count(Delivered::FrameMalformed);
                }
                CloseCause::BadUpgrade { .. } => {
                    self.machine.delivered.count(Delivered::UpgradeFailed);
                }
                CloseCause::PeerClosed(_)
                | CloseCause::Eof
                | CloseCause::Failed(_)
                | CloseCause::Http
                | CloseCause::Commanded => {}
            }
        }
    }

    /// Notes the faults that show in what the gateway records.
    fn count_record(&mut self, record: &Record) {
        let delivered = match record {
            Record::Push(_, PushRecord::Refused { .. }) => Delivered::LineMalformed,
            Record::Push(_, PushRecord::Unfinished { .. }) => Delivered::LineUnfinished,
            Record::Store(_, StoreRecord::TimedOut { .. }) => Delivered::StoreTimedOut,
            Record::Connection(id, ConnRecord::Bound { key, .. }) => {
                self.newest.insert(key.clone(), *id);
                return;
            }
            Record::Connection(id, ConnRecord::Closed { key, close, .. }) => {
                let newest = key.as_ref().and_then(|key| self.newest.get(key));
                if *close == Some(Close::HandshakeOverdue) {
                    Delivered::UpgradeFailed
                } else if newest.is_some_and(|newest| newest != id && self.sockets.is_live(*newest))
                {
                    Delivered::StaleClose
                } else {
                    return;
                }
            }
            Record::Connection(..)
            | Record::Push(..)
            | Record::Delivery(..)
            | Record::Store(..)
            | Record::StaleId
            | Record::Late(_) => return,
        };
        self.machine.delivered.count(delivered);
    }

    /// Adds what happened to the timeline.
    fn write_down(&mut self, event: &Event, commands: &[Command]) {
        let (at, machine) = (since_start(), Rc::clone(&self.machine));
        machine.timeline.batch(at, self.sockets.now, machine.index, event, commands);
        let narrowed = machine.key.as_ref().map(|key| self.narrowed(key, event, commands));
        let commands = match &narrowed {
            _ if machine.timeline.keep() == Keep::Hash => return,
            None => commands,
            Some((false, about)) if about.is_empty() => return,
            Some((_, about)) => about,
        };
        let mut trace = machine.trace.borrow_mut();
        trace.event(self.sockets.now, event);
        trace.commands(commands);
        for line in trace.take().lines() {
            // A line of the trace begins with its time, which the timeline has in its own way.
            let line = line.get(10..).unwrap_or(line);
            let (kind, text) = match line.strip_prefix(". ") {
                Some(record) => (Kind::Record, record),
                None => (Kind::Core, line),
            };
            machine.timeline.write(at, kind, &machine.name, text.to_owned());
        }
    }

    /// Whether the event is about this key, and which commands are.
    fn narrowed(&mut self, key: &Key, event: &Event, commands: &[Command]) -> (bool, Vec<Command>) {
        for command in commands {
            if let Command::Record(Record::Connection(id, ConnRecord::Bound { key: bound, .. })) =
                command
                && bound == key
            {
                self.of_key.insert(*id);
            }
        }
        let mut of_key = |id: ConnId| self.of_key.contains(&id);
        let about = narrow::event(event, &mut of_key);
        let commands = commands.iter().filter(|command| narrow::command(command, key, &mut of_key));
        (about, commands.cloned().collect())
    }
}
