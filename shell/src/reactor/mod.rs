//! The event loop: one thread that owns the sockets and the machine.
//!
//! A loop turn:
//!
//! 1. waits for sockets, or until the next deadline;
//! 2. reads what can be read and hands each event to the machine, whose commands are carried out
//!    before the next event is looked at;
//! 3. accepts new connections;
//! 4. takes what other threads have brought;
//! 5. hands the store's answers to the machine until there are none;
//! 6. tells the machine of its deadline when it has come: after the sockets were read, so that a
//!    stall of the process is not taken for the silence of a peer;
//! 7. writes to each socket that has something to write, once.
//!
//! Invariants: one thread, no locks, no globals, so that a process may run several reactors; time
//! is read once a turn and never goes backward; nobody starves, since a turn reads a bounded
//! amount from each socket; nothing grows without bound (see `clients` and `pushers`).
//!
//! Not here: protocols, which are in [`codec`](crate::codec), and rules, which are the machine's.

mod clients;
mod clock;
mod desk;
mod figures;
mod handle;
mod listeners;
mod outbox;
mod polls;
mod pushers;
mod slots;
mod sockets;

pub use desk::{Answer as TakeAnswer, Busy, Courier, Request};
pub use figures::{BOUNDS, Durations, Figures, Links};
pub use handle::Handle;

use crate::journal::Journal;
use crate::machine::Machine;
use crate::pages::Page;
use crate::store::Backend;
use clock::{Clock, span};
use desk::{AnswerFigures, Desk, Taken};
use listeners::{Kind, Listener};
use mio::{Events, Poll};
use polls::Polls;
use slots::Place;
use sockets::{Sockets, WAKER, restore};
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use steadfast_core::command::Command;
use steadfast_core::event::{ConnEvent, Event, PusherEvent};
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Notice};
use steadfast_core::time::Time;

/// Size of the buffer that all sockets are read into; also the most that a client gives a turn.
const READ_BUFFER: usize = 256 << 10;
/// Back ends that have more are read again in the same turn until they have given so many bytes in
/// all: the more pushes a turn takes, the fewer writes and pings their receivers need. Reading
/// one buffer of each of four back ends a turn took a sixth more CPU time per message.
const PUSHED_A_TURN: usize = 2 << 20;
/// How many sockets one call of epoll reports.
const EVENTS: usize = 1024;
/// How often a turn asks epoll for more when it reported as many as it could.
const EVENT_BATCHES: usize = 16;
/// How often a turn serves a deadline that is due again right after it was served.
const DEADLINES: usize = 64;

/// Where a reactor listens, and its limits.
#[derive(Clone, Debug)]
pub struct ReactorConfig {
    /// Where clients connect. Port 0 takes any free port.
    pub ws: SocketAddr,
    /// Where back ends connect, if anywhere.
    pub push: Option<SocketAddr>,
    /// The longest message from a client in bytes; a longer one closes the connection with 1009.
    pub max_message: usize,
    /// The longest line from a back end in bytes; a longer one closes the connection.
    pub max_push_line: usize,
    /// How long a long-poll waits at most.
    pub poll_wait: Duration,
    /// The origins whose pages may long-poll besides those of the gateway's own; `*` is any.
    pub poll_origins: Vec<String>,
    /// What is served to clients that do not upgrade.
    pub pages: &'static [Page],
    /// How many back ends may be connected; further ones wait to be accepted.
    pub max_backends: usize,
    /// How long a closed socket may stay to have its last bytes read.
    pub linger: Duration,
    /// How long a shutdown may take.
    pub shutdown_timeout: Duration,
}

impl ReactorConfig {
    /// The default limits with these addresses.
    #[must_use]
    pub fn new(ws: SocketAddr, push: Option<SocketAddr>) -> Self {
        Self {
            ws,
            push,
            max_message: 10 << 20,
            max_push_line: 10 << 20,
            poll_wait: Duration::from_secs(20),
            poll_origins: Vec::new(),
            pages: &[],
            max_backends: 128,
            linger: Duration::from_secs(2),
            shutdown_timeout: Duration::from_secs(5),
        }
    }
}

/// The addresses a reactor listens on, with real ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalAddrs {
    /// Where clients connect.
    pub ws: SocketAddr,
    /// Where back ends connect.
    pub push: Option<SocketAddr>,
}

/// An event loop around a machine, a store and a journal.
#[derive(Debug)]
pub struct Reactor<M, B, J> {
    machine: M,
    backend: B,
    journal: J,
    poll: Poll,
    handle: Handle,
    addresses: LocalAddrs,
    listeners: Vec<Listener>,
    sockets: Sockets,
    clock: Clock,
    shutdown_timeout: Duration,
    /// When a shutdown under way ends at the latest.
    ends_at: Option<Time>,
    read_buffer: Vec<u8>,
    /// The commands of the event being handled; empty between two events.
    commands: Vec<Command>,
    /// The store's answers being handed on; empty between two rounds.
    answers: Vec<(OpId, Answer)>,
    notices: Vec<Notice>,
    desk: Desk,
    figures: Figures,
}

impl<M: Machine, B: Backend, J: Journal> Reactor<M, B, J> {
    /// Starts to listen. Connections wait in the kernel until [`run`](Self::run).
    ///
    /// # Errors
    /// An address cannot be listened on (the text names it and the setting), or the operating
    /// system gives no epoll.
    pub fn bind(config: &ReactorConfig, machine: M, backend: B, journal: J) -> io::Result<Self> {
        let poll = Poll::new()?;
        let registry = poll.registry();
        let mut listeners = vec![Listener::bind(Kind::Ws, config.ws, registry)?];
        if let Some(address) = config.push {
            listeners.push(Listener::bind(
                Kind::Push { most: config.max_backends },
                address,
                registry,
            )?);
        }
        let addresses = LocalAddrs {
            ws: listeners[0].address(),
            push: listeners.get(1).map(Listener::address),
        };
        let handle = Handle::new(&poll, WAKER)?;
        let desk = Desk::new(handle.clone());
        let clock = Clock::start();
        let mut sockets = Sockets::new(
            registry.try_clone()?,
            config.max_message,
            config.max_push_line,
            Polls::new(span(config.poll_wait), config.poll_origins.clone()),
            span(config.linger),
            clock.now(),
        );
        sockets.pages = config.pages;
        let mut backend = backend;
        backend.start(handle.clone());
        Ok(Self {
            machine,
            backend,
            journal,
            poll,
            handle,
            addresses,
            listeners,
            sockets,
            clock,
            shutdown_timeout: config.shutdown_timeout,
            ends_at: None,
            read_buffer: vec![0; READ_BUFFER],
            commands: Vec::new(),
            answers: Vec::new(),
            notices: Vec::new(),
            desk,
            figures: Figures::default(),
        })
    }

    /// The addresses it listens on, with real ports.
    #[must_use]
    pub fn local_addrs(&self) -> LocalAddrs {
        self.addresses
    }

    /// Reaches this reactor from other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Brings pushes and operators' requests to this reactor from other threads.
    #[must_use]
    pub fn courier(&self) -> Courier {
        self.desk.courier()
    }

    /// Runs until [`Handle::shutdown`] has been carried out.
    ///
    /// # Errors
    /// The operating system's poll failed.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            self.wait(&mut events)?;
            let began = Instant::now();
            self.read();
            self.accept();
            self.take_requests();
            self.take_notices();
            self.settle();
            self.serve_deadline();
            self.sockets.end_lingering();
            self.sockets.serve_polls();
            self.dispatch_pending();
            if self.handle.is_stopping() && self.ends_at.is_none() {
                self.stop();
            }
            // The store works while the sockets are written to.
            self.backend.hand_over();
            self.sockets.answer_polls();
            self.sockets.flush();
            self.dispatch_pending();
            self.backend.hand_over();
            self.machine.turn_ended();
            self.journal.turn_ended();
            self.figures.turn_ended(began.elapsed());
            if self.ends_at.is_some_and(|end| self.sockets.is_empty() || end <= self.sockets.now) {
                return Ok(());
            }
        }
    }

    /// The machine, for a look at it after [`run`](Self::run).
    #[must_use]
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine, to change it before [`run`](Self::run).
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Waits for sockets to become ready, or for the next deadline, and takes the time.
    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let mut timeout = self.timeout();
        for _ in 0..EVENT_BATCHES {
            match self.poll.poll(events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
                Err(error) => return Err(error),
            }
            let mut reported = 0;
            for event in events.iter() {
                reported += 1;
                self.sockets.ready(event);
                for listener in &mut self.listeners {
                    listener.note_ready(event.token());
                }
            }
            if reported < EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        self.sockets.now = self.clock.now();
        Ok(())
    }

    /// How long there is nothing to do unless a socket becomes ready.
    fn timeout(&self) -> Option<Duration> {
        if self.sockets.is_busy() || self.listeners.iter().any(Listener::is_busy) {
            return Some(Duration::ZERO);
        }
        let listeners = self.listeners.iter().filter_map(Listener::next_deadline);
        let deadline = listeners
            .chain(self.machine.next_deadline())
            .chain(self.sockets.next_deadline())
            .chain(self.ends_at)
            .min()?;
        Some(Duration::from_micros(deadline.since(self.clock.now()).as_micros()))
    }

    /// Reads every socket that has something to read, clients once and back ends in rounds.
    fn read(&mut self) {
        let mut buffer = mem::take(&mut self.read_buffer);
        let mut pushed = 0;
        while pushed < PUSHED_A_TURN && !self.sockets.readable_pushers.is_empty() {
            let mut list = mem::take(&mut self.sockets.readable_pushers);
            for place in list.drain(..) {
                pushed += self.read_pusher(place, &mut buffer);
            }
            restore(&mut self.sockets.readable_pushers, list);
        }
        let mut list = mem::take(&mut self.sockets.readable_clients);
        for place in list.drain(..) {
            self.read_client(place, &mut buffer);
        }
        restore(&mut self.sockets.readable_clients, list);
        self.read_buffer = buffer;
    }

    fn read_client(&mut self, place: Place, buffer: &mut [u8]) {
        if let Some(bytes) = self.sockets.receive_client(place, buffer) {
            let mut input = &buffer[..bytes];
            while let Some(event) = self.sockets.next_client_event(place, &mut input) {
                self.dispatch(event);
                self.settle();
            }
        }
        self.dispatch_pending();
    }

    /// Returns how many bytes were read.
    fn read_pusher(&mut self, place: Place, buffer: &mut [u8]) -> usize {
        if let Some(mut rest) = self.sockets.take_rest(place) {
            let mut input = rest.input();
            while let Some(event) = self.sockets.next_pusher_event(place, &mut input) {
                self.dispatch(event);
                self.settle();
            }
            let left = input.len();
            rest.keep(left);
            self.sockets.put_rest(place, rest);
        }
        let received = self.sockets.receive_pusher(place, buffer);
        if let Some(bytes) = received {
            let mut input = &buffer[..bytes];
            while let Some(event) = self.sockets.next_pusher_event(place, &mut input) {
                self.dispatch(event);
                self.settle();
            }
            self.sockets.keep_input(place, input);
        }
        self.dispatch_pending();
        received.unwrap_or(0)
    }

    fn accept(&mut self) {
        for listener in &mut self.listeners {
            listener.accept(&mut self.sockets, &mut self.journal);
        }
        self.dispatch_pending();
    }

    /// Takes what other threads have brought.
    fn take_requests(&mut self) {
        for _ in 0..desk::TAKEN_A_TURN {
            match self.desk.take(&mut self.sockets) {
                Some(Taken::Event(event)) => self.dispatch(event),
                Some(Taken::Push(id, request)) => {
                    self.dispatch(Event::Pusher(id, PusherEvent::Opened));
                    self.dispatch(Event::Pusher(id, PusherEvent::Requested(request)));
                }
                Some(Taken::Figures(AnswerFigures(answer))) => {
                    let mut figures = self.figures.clone();
                    self.sockets.polls.count(&mut figures.links);
                    answer(figures);
                }
                None => return,
            }
        }
        self.desk.look_again();
    }

    /// Hands on what a shared store has told.
    fn take_notices(&mut self) {
        let mut notices = mem::take(&mut self.notices);
        self.backend.notices(&mut notices);
        for notice in notices.drain(..) {
            self.dispatch(Event::Noticed(notice));
        }
        self.notices = notices;
    }

    /// Hands the store's answers to the machine until there are none. Done after every event that was
    /// read: what a client asked comes before what it asked next, and what an answer touches is still
    /// in the processor's cache.
    fn settle(&mut self) {
        loop {
            let mut answers = mem::take(&mut self.answers);
            self.backend.collect(&mut answers);
            let quiet = answers.is_empty();
            for (op, answer) in answers.drain(..) {
                self.dispatch(Event::Answered(op, answer));
            }
            self.answers = answers;
            if quiet {
                return;
            }
        }
    }

    /// Tells the machine of its deadline, if it has come.
    fn serve_deadline(&mut self) {
        for _ in 0..DEADLINES {
            if self.machine.next_deadline().is_none_or(|deadline| deadline > self.sockets.now) {
                return;
            }
            self.dispatch(Event::DeadlineReached);
            self.settle();
        }
    }

    /// Begins the shutdown.
    fn stop(&mut self) {
        self.ends_at = Some(self.sockets.now + span(self.shutdown_timeout));
        self.listeners.clear();
        self.dispatch(Event::ShutdownRequested);
        self.settle();
        self.sockets.stop_pushers();
        self.sockets.end_polls();
        self.dispatch_pending();
    }

    /// Hands one event to the machine, and then what that has caused.
    fn dispatch(&mut self, event: Event) {
        self.handle_one(event);
        self.dispatch_pending();
    }

    /// Hands on what the sockets have to tell by themselves.
    fn dispatch_pending(&mut self) {
        while let Some(event) = self.sockets.pending.pop_front() {
            if let Event::Connection(conn, ConnEvent::Drained) = event
                && !self.sockets.is_live(conn)
            {
                continue;
            }
            self.handle_one(event);
        }
    }

    fn handle_one(&mut self, event: Event) {
        let mut commands = mem::take(&mut self.commands);
        self.figures.event(&event);
        self.machine.handle(self.sockets.now, event, &mut commands);
        for command in commands.drain(..) {
            self.execute(command);
        }
        self.commands = commands;
    }

    fn execute(&mut self, command: Command) {
        match command {
            Command::Send { conn, kind, payload } => {
                self.figures.messages_out += 1;
                self.figures.bytes_out += payload.len() as u64;
                self.sockets.send(conn, kind, &payload);
            }
            Command::Ping { conn, counter } => self.sockets.ping(conn, counter),
            Command::Pong { conn, payload } => self.sockets.pong(conn, &payload),
            Command::ReportDrained { conn } => self.sockets.report_drained(conn),
            Command::Close { conn, close } => self.sockets.close(conn, close),
            Command::Reply { pusher, reply } => {
                self.figures.reply(reply);
                if !self.desk.reply(pusher, reply, &mut self.sockets) {
                    self.sockets.reply(pusher, reply);
                }
            }
            Command::Answer { request, answer } => self.desk.answer(request, answer),
            Command::Pause { pusher } => self.sockets.pause(pusher),
            Command::Resume { pusher } => self.sockets.resume(pusher),
            Command::Finish { pusher } => self.sockets.finish(pusher),
            Command::Store { op, request } => {
                self.figures.submitted(op);
                self.backend.submit(op, request);
            }
            Command::Record(record) => {
                self.figures.record(&record);
                self.journal.record(self.sockets.now, record);
            }
        }
    }
}
