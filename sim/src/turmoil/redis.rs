//! The host that runs Redis: the [`Server`] without I/O between turmoil's sockets, with delays,
//! troubles and crashes.
//!
//! Whatever has come is carried out, synced to the append-only file and answered together. A crash
//! keeps what was answered, and a beginning of what was not.

use super::gateway::Door;
use super::shared::{PORT, PREFIX};
use super::tally::Tally;
use super::watch::Watch;
use super::wire::{Chop, Meters, Wire};
use super::{START, since_start};
use crate::redis::{Refusal, Server};
use crate::schedule::{Delivered, Trouble};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use steadfast_core::time::Span;
use steadfast_shell::codec::redis::scripts::Clock;
use tokio::time::{Instant, Sleep, sleep_until};

/// The name of its host.
pub(super) const NAME: &str = "redis";

/// What is known of the server outside of its process.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) server: RefCell<Server>,
    /// Whether its process runs.
    is_up: Cell<bool>,
    trouble: Cell<Option<Trouble>>,
    /// Whether the connections on which notices are told are to be reset.
    resets: Cell<bool>,
    /// A slow server takes up to this long.
    slow: Span,
    rng: RefCell<ChaCha8Rng>,
    pub(super) chop: Chop,
    meters: Meters,
    waker: RefCell<Option<Waker>>,
    delivered: Tally,
    watch: Watch,
}

impl Machine {
    pub(super) fn new(
        seed: u64,
        slow: Span,
        meters: Meters,
        delivered: Tally,
        watch: Watch,
    ) -> Self {
        let mut server = Server::new(PREFIX, Clock::Server, seed);
        server.note_done(watch.judges_shares());
        Self {
            server: RefCell::new(server),
            is_up: Cell::new(false),
            trouble: Cell::new(None),
            resets: Cell::new(false),
            slow,
            rng: RefCell::new(ChaCha8Rng::seed_from_u64(seed)),
            chop: Chop::default(),
            meters,
            waker: RefCell::new(None),
            delivered,
            watch,
        }
    }

    /// It has this trouble from now on.
    pub(super) fn set_trouble(&self, trouble: Option<Trouble>) {
        self.trouble.set(trouble);
        self.wake();
    }

    /// Somebody connects past the network: the connection's number, if a process is there to take it.
    pub(super) fn connect(&self) -> Option<u64> {
        self.is_up.get().then(|| self.server.borrow_mut().connect())
    }

    /// What it replies at once to what comes by such a connection.
    ///
    /// # Errors
    /// The connection was lost, or nothing is answered.
    pub(super) fn ask(&self, peer: u64, bytes: &[u8]) -> io::Result<Vec<u8>> {
        if self.trouble.get() == Some(Trouble::Stalled) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let mut server = self.server.borrow_mut();
        server.ask(peer, bytes).ok_or_else(|| io::ErrorKind::ConnectionReset.into())
    }

    /// The connections on which notices are told break.
    pub(super) fn reset_subscribers(&self) {
        self.resets.set(true);
        self.wake();
    }

    /// Its process has ended.
    pub(super) fn crash(&self, at: Span) {
        self.is_up.set(false);
        let mut server = self.server.borrow_mut();
        server.set_time(START + at);
        let waiting = server.waiting();
        let most = if self.trouble.get() == Some(Trouble::Stalled) { 0 } else { waiting };
        let wreck = server.crash(self.rng.borrow_mut().random_range(0..=most));
        drop(server);
        self.delivered.count(Delivered::RedisCrashed);
        if wreck.kept > 0 {
            self.delivered.count(Delivered::UnansweredKept);
        }
        if wreck.lost > 0 {
            self.delivered.count(Delivered::UnsyncedLost);
        }
        self.tell_facts(at);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn tell_facts(&self, at: Span) {
        for (op, answer) in self.server.borrow_mut().take_done() {
            self.watch.carried_out(at, &op, &answer);
        }
        for fact in self.server.borrow_mut().store_mut().take_facts() {
            self.watch.fact(at, None, 0, fact);
        }
    }
}

/// Runs the server from what it has kept, until it is crashed.
pub(super) async fn serve(machine: Rc<Machine>) -> turmoil::Result {
    let door = Door::open(PORT).await?;
    machine.is_up.set(true);
    let loads = Span::from_millis(machine.rng.borrow_mut().random_range(0..1_000));
    let mut process = Process {
        loading_until: since_start() + loads,
        machine,
        door,
        peers: Vec::new(),
        due: None,
        alarm: Box::pin(sleep_until(Instant::now())),
    };
    poll_fn(|cx| process.turn(cx)).await
}

/// One run of the server.
struct Process {
    machine: Rc<Machine>,
    door: Door,
    peers: Vec<Peer>,
    loading_until: Span,
    /// When what has come is carried out.
    due: Option<Span>,
    alarm: Pin<Box<Sleep>>,
}

/// A connection.
struct Peer {
    number: u64,
    wire: Wire,
    outbox: Vec<u8>,
}

impl Process {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<turmoil::Result> {
        *self.machine.waker.borrow_mut() = Some(cx.waker().clone());
        let machine = Rc::clone(&self.machine);
        let mut server = machine.server.borrow_mut();
        while let Some(stream) = self.door.poll(cx) {
            if let Ok(wire) = Wire::new(stream, &machine.meters, &machine.chop) {
                self.peers.push(Peer { number: server.connect(), wire, outbox: Vec::new() });
            }
        }
        if machine.resets.take() {
            for number in server.subscribers() {
                server.disconnect(number);
                machine.delivered.count(Delivered::NoticesReset);
            }
        }
        self.peers.retain_mut(|peer| peer.read(cx, &mut server));
        self.work(&mut server);
        self.peers.retain_mut(|peer| peer.write(cx, &mut server));
        drop(server);
        machine.tell_facts(since_start());
        if let Some(due) = self.due.filter(|_| machine.trouble.get() != Some(Trouble::Stalled)) {
            let wait = due.as_micros().saturating_sub(since_start().as_micros()).max(1_000);
            self.alarm.as_mut().reset(Instant::now() + Duration::from_micros(wait));
            if self.alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Carries out what has come, when it is time.
    fn work(&mut self, server: &mut Server) {
        let (machine, now) = (&self.machine, since_start());
        let trouble = machine.trouble.get();
        if server.waiting() == 0 {
            self.due = None;
            return;
        }
        if trouble == Some(Trouble::Stalled) {
            return;
        }
        let mut rng = machine.rng.borrow_mut();
        let millis = match trouble {
            Some(Trouble::Slow) => rng.random_range(5..=machine.slow.as_millis().max(6)),
            Some(_) | None => rng.random_range(1..3),
        };
        if *self.due.get_or_insert(now + Span::from_millis(millis)) > now {
            return;
        }
        self.due = None;
        let refusal = match trouble {
            _ if now < self.loading_until => Some(Refusal::Loading),
            Some(Trouble::Failing) => Some(Refusal::OutOfMemory),
            Some(Trouble::ReadOnly) => Some(Refusal::ReadOnly),
            Some(Trouble::Slow | Trouble::Unclear | Trouble::Stalled) | None => None,
        };
        server.refuse(refusal);
        server.set_time(START + now);
        server.execute();
        let delivered = match (refusal, trouble) {
            (Some(Refusal::Loading), _) => Delivered::RedisWasLoading,
            (Some(Refusal::OutOfMemory), _) => Delivered::StoreFailed,
            (Some(Refusal::ReadOnly), _) => Delivered::StoreWasReadOnly,
            (None, Some(Trouble::Slow)) => Delivered::StoreWasSlow,
            // Everything is done, and nobody is told.
            (None, Some(Trouble::Unclear)) if rng.random_bool(0.5) => {
                self.peers.drain(..).for_each(|peer| server.disconnect(peer.number));
                Delivered::StoreWasUnclear
            }
            (None, _) => return,
        };
        machine.delivered.count(delivered);
    }
}

impl Peer {
    /// Hands on what has arrived. Whether the connection stays.
    fn read(&mut self, cx: &mut Context<'_>, server: &mut Server) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match self.wire.poll_read(cx, &mut buffer) {
                Poll::Pending => return true,
                Poll::Ready(Ok(size)) if size > 0 => server.receive(self.number, &buffer[..size]),
                Poll::Ready(_) => {
                    server.disconnect(self.number);
                    return false;
                }
            }
        }
    }

    /// Sends what there is to send. Whether the connection stays.
    fn write(&mut self, cx: &Context<'_>, server: &mut Server) -> bool {
        let Some(mut output) = server.output(self.number) else { return false };
        self.outbox.append(&mut output);
        match self.wire.write(cx, &self.outbox) {
            Ok(written) => {
                self.outbox.drain(..written);
                true
            }
            Err(_) => {
                server.disconnect(self.number);
                false
            }
        }
    }
}
