//! A simulated client: the production `Link` between a WebSocket of its own and its user's whims.

mod links;

use super::WS_PORT;
use super::ends::Ends;
use super::frames::{self, Got, LINK_REQUEST, Opcode, REQUEST, Reader};
use super::plan::{ClientSetup, Pongs, Speaks};
use super::tally::Tally;
use super::timeline::Timeline;
use super::watch::Watch;
use super::wire::{Chop, Meters, Wire};
use crate::linked::{Linked, Peer, Storage};
use crate::oracle::{Fact, Oracle};
use crate::schedule::{self, Delivered, Push};
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use steadfast_core::event::Protocol;
use steadfast_core::id::Key;
use steadfast_core::link::legacy::{Link, LinkCommand, LinkConfig, LinkEvent};
use steadfast_core::time::{Span, Time};
use turmoil::net::TcpStream;

/// What a link sends to have something come back.
const PING: &str = r#"{"type":"ping"}"#;

/// What is done to a client, or what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whim {
    /// It wants to be connected.
    Start,
    /// It says goodbye and stays away.
    Leave,
    /// Its program ends without a word; it stays away.
    Quit,
    /// It loses its power: nobody is told, and its socket looks open. It stays away.
    Vanish,
    /// It neither reads nor sends for this long.
    Freeze(Span),
    /// It answers no pings for this long.
    IgnorePings(Span),
    /// It sends a pong that nobody asked for.
    StrayPong(u64),
    /// It sends bytes that are no text.
    Binary,
    /// It changes the context of its session.
    Change,
    /// Its socket breaks; it comes back by itself.
    Break,
    /// The same with a reset, as soon as bytes arrive that it does not read.
    Reset,
    /// It sends its first message once more: a heartbeat.
    Say,
    /// It sends this message.
    Text(String),
    /// It sends this message, by which it is taken for the device of this key.
    Pose(usize, String),
    /// It reads nothing.
    StopReading,
    /// It reads again.
    Read,
    /// It sends bytes that break the protocol.
    Malformed(u8),
    /// It connects to this gateway from now on.
    Roam(usize),
}

impl Whim {
    /// Whether the client's connection is not sound any more.
    fn harms(&self) -> bool {
        match self {
            Self::Leave
            | Self::Quit
            | Self::Vanish
            | Self::Freeze(_)
            | Self::IgnorePings(_)
            | Self::Break
            | Self::Reset
            | Self::StopReading
            | Self::Malformed(_) => true,
            Self::Start
            | Self::StrayPong(_)
            | Self::Binary
            | Self::Change
            | Self::Say
            | Self::Text(_)
            | Self::Pose(..)
            | Self::Read
            | Self::Roam(_) => false,
        }
    }
}

/// What the clients and back ends of a host share.
#[derive(Clone, Debug)]
pub(super) struct Surroundings {
    pub(super) meters: Meters,
    pub(super) chop: Chop,
    pub(super) timeline: Timeline,
    pub(super) delivered: Tally,
    pub(super) ends: Ends,
    pub(super) watch: Watch,
    /// The names of the gateways' hosts.
    pub(super) gateways: Rc<[String]>,
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>;

enum State {
    Away,
    /// And whether it was polled since it began.
    Connecting(Connecting, bool),
    Open(Box<Socket>),
}

struct Socket {
    wire: Wire,
    reader: Reader,
    outbox: Vec<u8>,
    /// The how-manieth connection of the world it is.
    number: u64,
    /// Of which gateway.
    gateway: usize,
    upgraded: bool,
    reset_on_arrival: bool,
}

/// One client.
pub(super) struct Client {
    setup: ClientSetup,
    around: Surroundings,
    peer: Peer,
    /// When its user tries again, after it was told not to come back.
    restarts_at: Option<Time>,
    state: State,
    gateway: usize,
    /// The gateway of the last attempt.
    connecting_to: usize,
    reads: bool,
    frozen_until: Time,
    ignores_pings_until: Time,
    /// Sockets of which it knows nothing any more, and nobody else was told either.
    ghosts: Vec<Wire>,
    /// The keys of other devices that it was taken for.
    poses: BTreeSet<usize>,
    rng: ChaCha8Rng,
}

impl Client {
    pub(super) fn new(
        setup: ClientSetup,
        around: Surroundings,
        seed: u64,
        storage: &Storage,
    ) -> Self {
        Self {
            peer: peer(&setup, seed, storage),
            restarts_at: None,
            state: State::Away,
            gateway: setup.gateway,
            connecting_to: setup.gateway,
            reads: true,
            frozen_until: Time::EPOCH,
            ignores_pings_until: Time::EPOCH,
            ghosts: Vec::new(),
            poses: BTreeSet::new(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            setup,
            around,
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Time> {
        if self.frozen_until > Time::EPOCH {
            return Some(self.frozen_until);
        }
        [self.peer.next_deadline(), self.restarts_at].into_iter().flatten().min()
    }

    /// The judges are told that something is wrong with its connection, if it has one.
    fn ail(&self, now: Time) {
        if let State::Open(socket) = &self.state {
            self.around.watch.ails(now.since(Time::EPOCH), socket.wire.local);
        }
    }

    /// Carries out what is wanted of it.
    pub(super) fn take(&mut self, now: Time, whim: &Whim) {
        if whim.harms() {
            self.ail(now);
        }
        match whim {
            Whim::Start => self.start(now),
            Whim::Leave => self.leave(now),
            Whim::Quit => {
                self.say(now, "is gone without a word");
                self.lose_process();
                self.tell(now, LinkEvent::Stopped);
            }
            Whim::Vanish => {
                if let State::Open(socket) = std::mem::replace(&mut self.state, State::Away) {
                    self.ghosts.push(socket.wire);
                    self.around.delivered.count(Delivered::Vanished);
                }
                self.say(now, "loses its power");
                self.lose_process();
                self.tell(now, LinkEvent::Stopped);
            }
            Whim::Freeze(span) => {
                self.say(now, &format!("stands still for {span}"));
                self.frozen_until = now + *span;
                if matches!(self.state, State::Open(_)) {
                    self.around.delivered.count(Delivered::Froze);
                }
            }
            Whim::IgnorePings(span) => self.ignores_pings_until = now + *span,
            Whim::StrayPong(counter) => self.send_stray(now, *counter),
            Whim::Change if self.frozen_until > now => {}
            Whim::Change => self.change(now),
            Whim::Binary => self.send(Opcode::Binary, b"\xff\x00"),
            Whim::Break => self.lose(now, "loses its socket"),
            Whim::Reset => {
                if let State::Open(socket) = &mut self.state {
                    socket.reset_on_arrival = true;
                }
            }
            // Before its welcome a link says nothing but hello.
            Whim::Say if self.is_link() && !self.peer.is_connected() => {}
            Whim::Say if self.is_link() => self.send_text(now, PING),
            Whim::Say => self.send_text(now, &self.setup.first.clone()),
            Whim::Text(text) => self.send_text(now, text),
            Whim::Pose(key, text) => {
                self.poses.insert(*key);
                if matches!(&self.state, State::Open(socket) if socket.upgraded) {
                    self.around.delivered.count(Delivered::Posed);
                }
                self.send_text(now, text);
            }
            Whim::StopReading => {
                self.reads = false;
                self.say(now, "stops reading");
            }
            Whim::Read => {
                self.reads = true;
                self.say(now, "reads again");
            }
            Whim::Malformed(which) => {
                if let State::Open(socket) = &mut self.state
                    && socket.upgraded
                {
                    socket.outbox.extend_from_slice(frames::malformed(*which));
                    self.say(now, "→ a malformed frame");
                }
            }
            Whim::Roam(gateway) => self.gateway = *gateway,
        }
    }

    /// It says goodbye, each kind of client in its own way.
    fn leave(&mut self, now: Time) {
        if matches!(self.state, State::Open(_)) {
            self.around.delivered.count(Delivered::Left);
            if !self.is_link() {
                self.send(Opcode::Close, &1000_u16.to_be_bytes());
                self.say(now, "says goodbye");
                self.flush_once();
            }
        }
        self.tell(now, LinkEvent::Stopped);
    }

    /// It sends what answers nothing: a pong, or an acknowledgement.
    fn send_stray(&mut self, now: Time, counter: u64) {
        if matches!(&self.state, State::Open(socket) if socket.upgraded) {
            self.around.delivered.count(Delivered::StrayPonged);
        }
        let welcomed = self.peer.is_connected();
        let linked = self.peer.linked().filter(|_| welcomed);
        match linked.and_then(|linked| linked.stray_ack(counter)) {
            Some(ack) => self.send_text(now, &ack),
            None => self.send(Opcode::Pong, &counter.to_be_bytes()),
        }
    }

    /// Looks at its socket and its clock.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>, now: Time) {
        if self.frozen_until > now {
            return;
        }
        self.frozen_until = Time::EPOCH;
        if let State::Connecting(connecting, polled) = &mut self.state {
            *polled = true;
            let Poll::Ready(connected) = connecting.as_mut().poll(cx) else {
                return self.serve_deadlines(cx, now);
            };
            match connected.and_then(|tcp| Wire::new(tcp, &self.around.meters, &self.around.chop)) {
                Ok(wire) => self.connected(now, wire),
                Err(_) => {
                    self.state = State::Away;
                    self.say(now, "cannot connect");
                    self.tell(now, LinkEvent::Failed);
                }
            }
        }
        self.read(cx, now);
        self.serve_deadlines(cx, now);
        self.flush(cx, now);
    }

    fn serve_deadlines(&mut self, cx: &Context<'_>, now: Time) {
        if self.restarts_at.is_some_and(|at| at <= now) {
            self.start(now);
        }
        while self.peer.next_deadline().is_some_and(|at| at <= now) {
            self.tell(now, LinkEvent::DeadlineReached);
        }
        if matches!(self.state, State::Connecting(_, false)) {
            // It begins when it is polled.
            cx.waker().wake_by_ref();
        }
    }

    fn connected(&mut self, now: Time, wire: Wire) {
        let well = self.setup.pongs == Pongs::Prompt
            && self.reads
            && self.frozen_until <= now
            && self.ignores_pings_until <= now;
        if well {
            self.around.watch.is_well(now.since(Time::EPOCH), wire.local);
        }
        let number = self.around.ends.new_connection();
        let request = if self.is_link() { LINK_REQUEST } else { REQUEST };
        let outbox = request.as_bytes().to_vec();
        let reader = Reader::default();
        self.state = State::Open(Box::new(Socket {
            wire,
            reader,
            outbox,
            number,
            gateway: self.connecting_to,
            upgraded: false,
            reset_on_arrival: false,
        }));
    }

    fn read(&mut self, cx: &mut Context<'_>, now: Time) {
        let mut buffer = [0; 4 << 10];
        while self.reads || matches!(&self.state, State::Open(socket) if socket.reset_on_arrival) {
            let State::Open(socket) = &mut self.state else { return };
            if socket.reset_on_arrival {
                if socket.wire.poll_arrived(cx) == Poll::Ready(true) {
                    self.around.delivered.count(Delivered::ResetByPeer);
                    self.lose(now, "resets its socket");
                }
                return;
            }
            match socket.wire.poll_read(cx, &mut buffer) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => return self.lose(now, "sees the end of the stream"),
                Poll::Ready(Err(_)) => return self.lose(now, "sees a reset"),
                Poll::Ready(Ok(size)) => {
                    socket.reader.push(&buffer[..size]);
                    self.frames(now);
                }
            }
        }
    }

    fn frames(&mut self, now: Time) {
        while let State::Open(socket) = &mut self.state
            && let Some(got) = socket.reader.next()
        {
            match got {
                Got::Upgraded => {
                    socket.upgraded = true;
                    if !self.ghosts.is_empty() {
                        self.around.delivered.count(Delivered::TakeoverOfHalfOpen);
                    }
                    self.tell(now, LinkEvent::Opened);
                }
                Got::Refused(status) => self.lose(now, &format!("is refused: {status}")),
                Got::Text(text) => self.on_text(now, &text),
                Got::Ping(payload) => self.on_ping(now, &payload),
                Got::Pong => self.tell(now, LinkEvent::PongReceived),
                Got::Close(code, reason) => {
                    let shown = code.map_or(String::new(), |code| format!(" {code} {reason}"));
                    self.send(Opcode::Close, &1000_u16.to_be_bytes());
                    self.flush_once();
                    self.lose_with(now, &format!("← close{shown}"), code);
                }
                Got::Broken(what) => {
                    self.around.ends.fail(Oracle::Protocol, format!("{}: {what}", self.setup.name));
                    self.lose(now, "is sent nonsense");
                }
            }
        }
    }

    fn on_ping(&mut self, now: Time, payload: &[u8]) {
        match self.setup.pongs {
            Pongs::Prompt if now >= self.ignores_pings_until => {
                self.send(Opcode::Pong, payload);
                self.say(now, "← ping, → pong");
            }
            Pongs::Prompt | Pongs::Never => {
                self.around.ends.ignored_ping(&self.setup, &self.poses);
                self.around.delivered.count(Delivered::PingIgnored);
                self.say(now, "← ping");
            }
        }
    }

    fn on_text(&mut self, now: Time, text: &[u8]) {
        let State::Open(socket) = &self.state else { return };
        if self.is_link() {
            let text = String::from_utf8_lossy(text).into_owned();
            self.say(now, &format!("← {text}"));
            return self.tell(now, LinkEvent::TextReceived(text.into()));
        }
        let (number, gateway) = (socket.number, socket.gateway);
        if Push::serial_of(text).is_some() {
            let payload = bytes::Bytes::copy_from_slice(text);
            let fact = Fact::Received { client: self.setup.number, payload };
            self.around.watch.fact(now.since(Time::EPOCH), None, gateway, fact);
        }
        let poison = Push::is_poison(text);
        let text = String::from_utf8_lossy(text).into_owned();
        self.say(now, &format!("← {text}"));
        self.around.ends.received(&self.setup, &self.poses, number, &text);
        if poison {
            self.around.delivered.count(Delivered::Poisoned);
            return self.lose(now, "dies of it");
        }
        self.tell(now, LinkEvent::TextReceived(text.into()));
    }

    fn send_text(&mut self, now: Time, text: &str) {
        if matches!(&self.state, State::Open(socket) if socket.upgraded) {
            self.send(Opcode::Text, text.as_bytes());
            self.say(now, &format!("→ {text}"));
        }
    }

    fn is_link(&self) -> bool {
        self.peer.protocol() == Protocol::Link
    }

    /// Appends a frame, if there is a connection for it.
    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let mask = self.rng.random();
        if let State::Open(socket) = &mut self.state
            && socket.upgraded
        {
            frames::put(&mut socket.outbox, opcode, payload, mask);
        }
    }

    /// The socket is gone.
    fn lose(&mut self, now: Time, what: &str) {
        self.lose_with(now, what, None);
    }

    /// The socket is gone, after a close frame with this code if there is one.
    fn lose_with(&mut self, now: Time, what: &str, code: Option<u16>) {
        let State::Open(socket) = &self.state else { return };
        let event = if socket.upgraded { LinkEvent::Closed } else { LinkEvent::Failed };
        self.ail(now);
        self.around.delivered.lost_connection(now);
        self.state = State::Away;
        self.say(now, what);
        match self.peer.linked().map(|linked| linked.ended(code)) {
            Some(event) => self.tell_link(now, event),
            None => self.tell(now, event),
        }
    }

    /// It asks for a connection.
    pub(super) fn dial(&mut self) {
        self.connecting_to = self.gateway;
        let gateway = self.around.gateways[self.gateway].clone();
        let connecting = Box::pin(TcpStream::connect((gateway, WS_PORT)));
        self.state = State::Connecting(connecting, false);
    }

    pub(super) fn tell(&mut self, now: Time, event: LinkEvent) {
        let mut commands = Vec::new();
        match &mut self.peer {
            Peer::Text(link) => link.handle(now, event, &mut commands),
            Peer::Link(_) => return self.tell_link_of(now, event),
        }
        for command in commands {
            match command {
                LinkCommand::Connect => self.dial(),
                LinkCommand::Send(text) => self.send_text(now, &text),
                LinkCommand::Ping => self.send(Opcode::Ping, b""),
                LinkCommand::Disconnect => {
                    self.ail(now);
                    self.state = State::Away;
                }
                LinkCommand::Deliver(_)
                | LinkCommand::StateChanged { .. }
                | LinkCommand::GaveUp => {}
            }
        }
    }

    fn flush(&mut self, cx: &mut Context<'_>, now: Time) {
        let State::Open(socket) = &mut self.state else { return };
        match socket.wire.write(cx, &socket.outbox) {
            Ok(written) => drop(socket.outbox.drain(..written)),
            Err(_) => self.lose(now, "cannot write"),
        }
    }

    /// Writes what the socket takes at once, before it is dropped.
    fn flush_once(&mut self) {
        if let State::Open(socket) = &mut self.state {
            let cx = Context::from_waker(std::task::Waker::noop());
            let _ = socket.wire.write(&cx, &socket.outbox);
        }
    }

    fn say(&self, now: Time, what: &str) {
        let at = now.since(Time::EPOCH);
        self.around.timeline.say_of(at, &self.setup.name, self.setup.key, what);
    }
}

/// The machine that a client runs on. One of the link protocol begins with what its storage holds.
fn peer(setup: &ClientSetup, seed: u64, storage: &Storage) -> Peer {
    if setup.speaks == Speaks::Link {
        let config = schedule::session_link(&setup.first);
        let mut linked = Linked::new(config, seed, Storage::clone(storage));
        linked.lose_process();
        return Peer::Link(Box::new(linked));
    }
    let config = LinkConfig {
        delay_max: Span::from_secs(4),
        open_timeout: Span::from_secs(3),
        heartbeat_interval: setup.heartbeat,
        ..LinkConfig::new(Key::new(setup.first.as_str()))
    };
    Peer::Text(Box::new(Link::new(config, seed)))
}
