//! Back ends and clients around gateways that are killed again and again.
//!
//! Each is a thread that connects, does its part until the connection ends, and connects again: a
//! back end to the same gateway, a client to any.
//! What they push, are answered and get goes to the [`Ledger`].

use super::ledger::{Facts, Ledger, Outcome, Visit};
use crate::support::ws_client::{Open, Pongs, WsClient, WsEvent};
use crate::support::{pause, poll_until, pump};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// How soon a refused connection is tried again.
const RECONNECT: Duration = Duration::from_millis(3);
/// A push is answered by then, whatever the store does (`store_timeout` is 5 s).
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);
/// Well within the time that a page may be silent.
const HEARTBEAT: Duration = Duration::from_secs(3);
/// A client that answers no ping has to say something in the time of each.
const MUTE_HEARTBEAT: Duration = Duration::from_millis(200);

/// Messages in a window, and removals before a key has to wait.
pub(crate) const WINDOW: usize = 64;
pub(crate) const REMOVING: usize = 64;

/// Limits that nothing reaches: no message of these tests may become a dead letter.
pub(crate) const NO_DEATH: [&str; 4] =
    ["--mailbox-limit=1000000000", "--ttl=365d", "--retry-max=1000000", "--retry-interval=10ms"];

/// How a client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// Is there whenever the gateway is.
    Steady,
    /// Goes away at random moments, with FIN or RST, and comes back.
    Roaming,
    /// Is there, and never answers a ping.
    Mute,
    /// Comes only at the end.
    Absent,
}

/// How far things are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Phase {
    /// Everybody does as they like.
    Busy,
    /// Back ends wait for their last replies and end.
    Draining,
    /// Every client is there and stays.
    Home,
    /// Everybody ends.
    Over,
}

/// The ledger and those who write it.
pub(crate) struct World {
    /// Where clients and back ends connect.
    gateways: Vec<(SocketAddr, SocketAddr)>,
    seed: u64,
    pub(crate) ledger: Ledger,
    habits: Vec<Habit>,
    phase: AtomicU8,
    /// What a back end or a client saw that must never be seen.
    violations: Mutex<Vec<String>>,
}

impl World {
    /// A world for gateways at these addresses.
    pub(crate) fn new(
        gateways: &[(SocketAddr, SocketAddr)],
        seed: u64,
        clients: &[(&str, Habit)],
        publishers: usize,
    ) -> Self {
        let keys = clients.iter().map(|(key, _)| (*key).to_owned()).collect();
        let habits = clients.iter().map(|(_, habit)| *habit).collect();
        let (ledger, violations) = (Ledger::new(keys, publishers), Mutex::default());
        let phase = AtomicU8::new(Phase::Busy as u8);
        Self { gateways: gateways.to_vec(), seed, ledger, habits, phase, violations }
    }

    /// Starts a thread for each back end and each client. They end when the returned guard does.
    pub(crate) fn start<'scope, 'world: 'scope>(
        &'world self,
        scope: &'scope Scope<'scope, 'world>,
        publishers: usize,
    ) -> Guard<'world> {
        for publisher in 0..publishers {
            scope.spawn(move || self.publish(publisher));
        }
        for key in 0..self.habits.len() {
            scope.spawn(move || self.live(key));
        }
        Guard { world: self }
    }

    /// Has every back end wait for its last replies and every client come, and waits until all
    /// that was promised has arrived, as long as something does within `patience`.
    pub(crate) fn drain(&self, patience: Duration) -> bool {
        self.enter(Phase::Draining);
        let settled = || self.ledger.count(|it| it == Outcome::Unanswered);
        let mut unanswered = settled();
        // Those of killed connections stay unanswered; of a living one they become fewer.
        while poll_until(Duration::from_secs(1), || settled() < unanswered) {
            unanswered = settled();
        }
        self.enter(Phase::Home);
        let mut missing = self.ledger.missing(|_| true);
        while missing > 0 {
            let has_come = || self.ledger.missing(|_| true) < missing;
            if !poll_until(patience, has_come) {
                return false;
            }
            missing = self.ledger.missing(|_| true);
        }
        true
    }

    /// Connects as each client once more, until the gateway has nothing left for it.
    pub(crate) fn wait_empty(&self, limit: Duration) -> bool {
        let is_empty = |key| poll_until(limit, || self.visit_once(key) == Some(0));
        (0..self.habits.len()).all(is_empty)
    }

    /// What is wrong, and the facts for the judge.
    pub(crate) fn end(self) -> (Vec<String>, Facts) {
        (self.violations.into_inner().expect("no thread panicked"), self.ledger.into_facts())
    }

    fn enter(&self, phase: Phase) {
        self.phase.fetch_max(phase as u8, Ordering::SeqCst);
    }

    fn is_in(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::SeqCst) >= phase as u8
    }

    fn violated(&self, what: String) {
        self.violations.lock().expect("no thread panicked").push(what);
    }

    /// The stream of random choices of one actor.
    fn rng(&self, actor: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(actor as u64 + 1);
        rng
    }

    /// A back end, until replies are no longer waited for.
    fn publish(&self, publisher: usize) {
        let mut rng = self.rng(publisher);
        let push = self.gateways[publisher % self.gateways.len()].1;
        while !self.is_in(Phase::Draining) {
            let Ok(socket) = pump::connect(push, None) else {
                pause(RECONNECT);
                continue;
            };
            let answered = self.ledger.pushes(publisher).len();
            let mut session =
                Session { world: self, publisher, socket, answered, unread: Vec::new() };
            session.run(&mut rng);
        }
    }

    /// A client, until all is over.
    fn live(&self, key: usize) {
        let habit = self.habits[key];
        let mut rng = self.rng(1000 + key);
        let mut away_until = Instant::now();
        while !self.is_in(Phase::Over) {
            let is_away = match habit {
                Habit::Steady | Habit::Mute => false,
                Habit::Roaming => Instant::now() < away_until,
                Habit::Absent => true,
            };
            if is_away && !self.is_in(Phase::Home) {
                pause(RECONNECT);
                continue;
            }
            let pongs = if habit == Habit::Mute { Pongs::Never } else { Pongs::Prompt };
            let ws = self.gateways[rng.random_range(0..self.gateways.len())].0;
            let Ok(client) = WsClient::open(ws, &Open { pongs, ..Open::default() }) else {
                pause(RECONNECT);
                continue;
            };
            self.visit(key, client, &mut rng);
            away_until = Instant::now() + Duration::from_millis(rng.random_range(0..1500));
        }
    }

    /// One connection of a client.
    fn visit(&self, key: usize, mut client: WsClient, rng: &mut ChaCha8Rng) {
        let habit = self.habits[key];
        let text = self.ledger.keys[key].as_bytes();
        self.ledger.visits(key).push(Visit::new());
        client.send_text(text);
        let begun = Instant::now();
        let leaves_at = begun + Duration::from_millis(rng.random_range(5..1500));
        let heartbeat = if habit == Habit::Mute { MUTE_HEARTBEAT } else { HEARTBEAT };
        let (mut taken, mut said_at) = (0, begun);
        loop {
            let has_ended = client.has_ended();
            self.take(key, &client, &mut taken, Duration::from_millis(50));
            if has_ended {
                return;
            }
            let leaves =
                habit == Habit::Roaming && Instant::now() >= leaves_at && !self.is_in(Phase::Home);
            if leaves || self.is_in(Phase::Over) {
                if rng.random_bool(0.5) {
                    client.drop_connection();
                } else {
                    client.abort();
                }
                // What was read, and maybe confirmed, until then.
                return self.take(key, &client, &mut taken, Duration::ZERO);
            }
            if said_at.elapsed() >= heartbeat {
                client.send_text(text);
                said_at = Instant::now();
            }
        }
    }

    /// Notes what has come to a client.
    fn take(&self, key: usize, client: &WsClient, taken: &mut usize, limit: Duration) {
        let events = client.events_after(*taken, limit);
        *taken += events.len();
        for event in events {
            match event {
                WsEvent::Text(text) => {
                    let text = String::from_utf8(text).expect("the reader has checked");
                    if text != "biubiubiu" && text != self.ledger.keys[key] {
                        self.ledger.arrive(key, &text);
                    }
                }
                WsEvent::Violation(what) => self.violated(what),
                WsEvent::Binary(_) => self.violated("a binary message".to_owned()),
                // The gateway may be killed at any moment of a handshake.
                WsEvent::Pong(_) | WsEvent::Closed { .. } | WsEvent::HandshakeFailed(_) => {}
            }
        }
    }

    /// Connects as a client, and leaves when all that waited at that moment has come; how much
    /// that was.
    pub(crate) fn visit_once(&self, key: usize) -> Option<usize> {
        let client = WsClient::open(self.gateways[0].0, &Open::default()).ok()?;
        self.ledger.visits(key).push(Visit::new());
        client.send_text(self.ledger.keys[key].as_bytes());
        // The answers to the key and to this ping wait for all that waits for the client.
        let is_complete = client.fence(Duration::from_secs(10));
        self.take(key, &client, &mut 0, Duration::ZERO);
        is_complete.then(|| self.ledger.visits(key).last().map_or(0, Vec::len))
    }
}

/// Ends the world's threads, also when a test fails.
pub(crate) struct Guard<'a> {
    world: &'a World,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.world.enter(Phase::Over);
    }
}

/// One connection of a back end.
struct Session<'a> {
    world: &'a World,
    publisher: usize,
    socket: TcpStream,
    /// The first of its pushes without an answer.
    answered: usize,
    unread: Vec<u8>,
}

impl Session<'_> {
    /// Pushes in bursts and reads replies, until the gateway is gone or the test over.
    fn run(&mut self, rng: &mut ChaCha8Rng) {
        self.socket.set_read_timeout(Some(REPLY_TIMEOUT)).expect("a socket takes a timeout");
        while !self.world.is_in(Phase::Draining) {
            let burst = rng.random_range(1..=60);
            let lines: String = (0..burst).map(|_| self.next_line(rng)).collect();
            let is_written = self.socket.write_all(lines.as_bytes()).is_ok();
            // What is left open is what is pipelined.
            let open = if is_written { rng.random_range(0..100) } else { 0 };
            if !self.read_replies(open) || !is_written {
                return;
            }
            pause(Duration::from_millis(rng.random_range(0..15)));
        }
        self.read_replies(0);
    }

    /// A new push. Clients differ in how much they get.
    fn next_line(&self, rng: &mut ChaCha8Rng) -> String {
        let keys = self.world.habits.len();
        let key = rng.random_range(0..keys).min(rng.random_range(0..keys));
        self.world.ledger.push(self.publisher, key) + "\n"
    }

    /// Reads until at most `open` pushes are unanswered; `false` when no more can come.
    fn read_replies(&mut self, open: usize) -> bool {
        let mut buffer = [0; 4096];
        while self.world.ledger.pushes(self.publisher).len() - self.answered > open {
            match self.socket.read(&mut buffer) {
                Ok(0) => return false,
                Ok(bytes) => self.take_replies(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.world.violated(format!("no reply within {REPLY_TIMEOUT:?}"));
                    return false;
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn take_replies(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let end = self.unread.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.unread.drain(..end).collect();
        let mut pushes = self.world.ledger.pushes(self.publisher);
        for line in lines.split_inclusive(|&byte| byte == b'\n') {
            let outcome = Outcome::of_reply(&line[..line.len() - 1]);
            match (outcome, pushes.get_mut(self.answered)) {
                (Some(outcome), Some(push)) => push.outcome = outcome,
                (None, _) => self.world.violated(format!("a reply {line:?}")),
                (_, None) => self.world.violated("a reply without a push".to_owned()),
            }
            self.answered += 1;
        }
    }
}
