//! A small world around a gateway: scripted clients and back ends, the reference model as store,
//! and a trace of everything.

use bytes::Bytes;
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::{CloseCause, ConnEvent, Event, Protocol, PushRequest, PusherEvent};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, OpId, PusherId};
use steadfast_core::store::model::Model;
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::{Span, Time};
use steadfast_core::trace::Trace;

/// What the store does with operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Carries them out and answers at once.
    Prompt,
    /// Carries them out, and keeps the answers until it is prompt again or asked for one.
    Slow,
    /// Answers that they failed, and does nothing.
    Failing,
    /// The same for operations of this kind; prompt with all others.
    Refusing(&'static str),
    /// Neither carries them out nor answers.
    Dead,
    /// Carries out and answers what only reads, and fails the rest: its disk is full.
    ReadOnly,
}

/// What clients do about pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pongs {
    /// They answer at once.
    Prompt,
    /// They do not.
    None,
}

/// Whether clients read what is written to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Everything, at once: their sockets are always drained.
    Prompt,
    /// Nothing: their sockets never drain.
    None,
}

/// One step of a world's history.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The gateway was told this.
    Told(Event),
    /// The gateway gave this order.
    Gave(Command),
}

/// A gateway with everything around it.
#[derive(Debug)]
pub struct World {
    /// What is tried.
    pub gateway: Gateway,
    /// What the store holds.
    pub model: Model,
    /// The time that the next event happens at.
    pub now: Time,
    /// All events and commands so far.
    pub trace: Trace,
    /// What the store does; [`set_store`](Self::set_store) also gives the answers held back.
    pub store: Store,
    /// What clients do about pings from now on.
    pub pongs: Pongs,
    reads: Reads,
    /// Every event and command, in order.
    pub history: Vec<(Time, Step)>,
    /// The last ping of each connection that was not answered.
    pings: BTreeMap<ConnId, u64>,
    /// Connections whose drain is to be reported, and whose clients do not read.
    undrained: BTreeSet<ConnId>,
    events: VecDeque<Event>,
    late_answers: VecDeque<(OpId, Answer)>,
    next_conn: u32,
    next_pusher: u32,
}

/// Which run of the gateway it is.
const INCARNATION: u32 = 1;

/// The world begins at this time.
pub const START: Time = Time::from_micros(1_800_000_000_000_000);

impl World {
    /// A world in which everything works and nothing has happened.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            gateway: Self::gateway(config),
            model: Model::new(7),
            now: START,
            trace: Trace::new(),
            store: Store::Prompt,
            pongs: Pongs::Prompt,
            reads: Reads::Prompt,
            history: Vec::new(),
            pings: BTreeMap::new(),
            undrained: BTreeSet::new(),
            events: VecDeque::new(),
            late_answers: VecDeque::new(),
            next_conn: 0,
            next_pusher: 0,
        }
    }

    /// The gateway as it is when a world begins.
    #[must_use]
    pub fn gateway(config: Config) -> Gateway {
        Gateway::new(config, INCARNATION, 7)
    }

    /// Says in the trace what comes next.
    pub fn note(&mut self, text: &str) {
        self.trace.note(text);
    }

    /// Tells the gateway an event, and everything that follows from it at once.
    pub fn tell(&mut self, event: Event) {
        self.events.push_back(event);
        while let Some(event) = self.events.pop_front() {
            self.trace.event(self.now, &event);
            self.history.push((self.now, Step::Told(event.clone())));
            let mut commands = Vec::new();
            self.gateway.handle(self.now, event, &mut commands);
            self.gateway.check();
            self.trace.commands(&commands);
            for command in commands {
                self.history.push((self.now, Step::Gave(command.clone())));
                self.obey(command);
            }
        }
        self.model.check();
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Store { op, request } => self.execute(op, request),
            Command::Ping { conn, counter } => {
                self.pings.insert(conn, counter);
                if self.pongs == Pongs::Prompt {
                    self.pings.remove(&conn);
                    let pong = ConnEvent::PongReceived(Some(counter));
                    self.events.push_back(Event::Connection(conn, pong));
                }
            }
            Command::Close { conn, .. } => {
                self.pings.remove(&conn);
                self.undrained.remove(&conn);
                self.events
                    .retain(|event| !matches!(event, Event::Connection(id, _) if *id == conn));
                let closed = ConnEvent::Closed(CloseCause::Commanded);
                self.events.push_back(Event::Connection(conn, closed));
            }
            Command::Finish { pusher } => {
                self.events.push_back(Event::Pusher(pusher, PusherEvent::Closed));
            }
            Command::ReportDrained { conn } => match self.reads {
                Reads::Prompt => {
                    self.events.push_back(Event::Connection(conn, ConnEvent::Drained));
                }
                Reads::None => {
                    self.undrained.insert(conn);
                }
            },
            Command::Send { .. }
            | Command::Pong { .. }
            | Command::Reply { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Answer { .. }
            | Command::Record(_) => {}
        }
    }

    /// The store takes an operation. Its answers come in the order of the operations.
    fn execute(&mut self, op: OpId, request: Op) {
        let answer = match self.store {
            Store::Refusing(kind) if request.kind() == kind => {
                Answer::Failed("read-only".to_owned())
            }
            Store::Prompt | Store::Refusing(_) | Store::Slow => self.model.apply(request),
            Store::Failing => Answer::Failed("disk full".to_owned()),
            Store::Dead => return,
            Store::ReadOnly => match request {
                Op::Load { .. } | Op::Expire { .. } => self.model.apply(request),
                Op::Append(_)
                | Op::Remove { .. }
                | Op::Retry { .. }
                | Op::Bury { .. }
                | Op::Claim(_)
                | Op::Dead(_)
                | Op::Queue(_)
                | Op::Find { .. }
                | Op::Session(_)
                | Op::Device(_) => Answer::Failed("disk full".to_owned()),
            },
        };
        self.late_answers.push_back((op, answer));
        self.pass_notices();
        if self.store != Store::Slow {
            let answers = self.late_answers.drain(..);
            self.events.extend(answers.map(|(op, answer)| Event::Answered(op, answer)));
        }
    }

    /// What the store tells this node reaches it.
    fn pass_notices(&mut self) {
        let told = self.model.take_notices().into_iter();
        let told = told.filter(|(node, _)| node.incarnation == INCARNATION);
        self.events.extend(told.map(|(_, notice)| Event::Noticed(notice)));
    }

    /// Another node asks the same store for something.
    pub fn elsewhere(&mut self, request: Op) -> Answer {
        let answer = self.model.apply(request);
        self.pass_notices();
        while let Some(event) = self.events.pop_front() {
            self.tell(event);
        }
        answer
    }

    /// Lets the store behave otherwise; answers held back come now when it is prompt.
    pub fn set_store(&mut self, store: Store) {
        self.store = store;
        if store == Store::Prompt {
            while !self.late_answers.is_empty() {
                self.answer();
            }
        }
    }

    /// The slow store gives the oldest answer it holds back.
    ///
    /// # Panics
    /// When there is none.
    pub fn answer(&mut self) {
        let (op, answer) = self.late_answers.pop_front().expect("an answer is held back");
        self.tell(Event::Answered(op, answer));
    }

    /// Lets time pass, with every deadline in it.
    pub fn wait(&mut self, span: Span) {
        let until = self.now + span;
        while let Some((at, _)) = self.gateway.next_deadline().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            self.tell(Event::DeadlineReached);
        }
        self.now = until;
    }

    /// Lets so many milliseconds pass, with every deadline in them.
    pub fn wait_ms(&mut self, millis: u64) {
        self.wait(Span::from_millis(millis));
    }

    /// Lets time pass without serving any deadline: the process is stalled, or its clock leaps.
    pub fn stall(&mut self, span: Span) {
        self.now += span;
    }

    /// A socket is accepted; it has asked for nothing yet.
    pub fn accept(&mut self) -> ConnId {
        let id = ConnId { slot: self.next_conn, generation: 0 };
        self.next_conn += 1;
        self.tell(Event::Connection(id, ConnEvent::Accepted));
        id
    }

    /// A client connects.
    pub fn connect(&mut self) -> ConnId {
        self.connect_to("/")
    }

    /// A client connects to this path and query.
    pub fn connect_to(&mut self, target: &str) -> ConnId {
        let id = self.accept();
        self.tell(Event::Connection(
            id,
            ConnEvent::Upgraded { target: target.into(), protocol: Protocol::Legacy },
        ));
        id
    }

    /// A client connects and sends its first message.
    pub fn client(&mut self, key: &str) -> ConnId {
        let id = self.connect();
        self.text(id, key);
        id
    }

    /// A client connects that speaks the link protocol.
    pub fn connect_link(&mut self) -> ConnId {
        let id = self.accept();
        self.tell(Event::Connection(
            id,
            ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Link },
        ));
        id
    }

    /// The client sends a message.
    pub fn text(&mut self, id: ConnId, text: &str) {
        self.tell(Event::Connection(id, ConnEvent::TextReceived(text.into())));
    }

    /// The client sends a ping of its own.
    pub fn ping(&mut self, id: ConnId) {
        self.tell(Event::Connection(id, ConnEvent::PingReceived(Bytes::from_static(b"ping"))));
    }

    /// The client answers the last ping.
    ///
    /// # Panics
    /// When there is none to answer.
    pub fn pong(&mut self, id: ConnId) {
        let counter = self.pings.remove(&id).expect("a ping to answer");
        self.tell(Event::Connection(id, ConnEvent::PongReceived(Some(counter))));
    }

    /// Clients read from now on, or do not; what they had left unread is drained now.
    pub fn set_reads(&mut self, reads: Reads) {
        self.reads = reads;
        if reads == Reads::Prompt {
            while let Some(id) = self.undrained.pop_first() {
                self.tell(Event::Connection(id, ConnEvent::Drained));
            }
        }
    }

    /// The connection is reset.
    pub fn drop_conn(&mut self, id: ConnId) {
        self.pings.remove(&id);
        self.undrained.remove(&id);
        let cause = CloseCause::Failed("reset by peer".to_owned());
        self.tell(Event::Connection(id, ConnEvent::Closed(cause)));
    }

    /// A back end connects.
    pub fn pusher(&mut self) -> PusherId {
        let id = PusherId { slot: self.next_pusher, generation: 0 };
        self.next_pusher += 1;
        self.tell(Event::Pusher(id, PusherEvent::Opened));
        id
    }

    /// A back end sends a line.
    pub fn line(&mut self, id: PusherId, line: &str) {
        let line = Bytes::copy_from_slice(line.as_bytes());
        self.tell(Event::Pusher(id, PusherEvent::LineReceived(line)));
    }

    /// A back end pushes `data` to `key`.
    pub fn push(&mut self, id: PusherId, key: &str, data: &str) {
        self.line(id, &format!(r#"{{"uid":"{key}","Data":"{data}"}}"#));
    }

    /// A back end sends no more; so many bytes of its last line had no end.
    pub fn finish(&mut self, id: PusherId, unfinished: u64) {
        self.tell(Event::Pusher(id, PusherEvent::Finished { unfinished }));
    }

    /// A back end pushes by HTTP under a name of its own.
    pub fn request(&mut self, id: PusherId, key: &str, data: &str, name: &str) {
        let request = PushRequest {
            key: key.into(),
            data: data.into(),
            idempotency: Some(ByteString::from(name)),
            ttl: None,
        };
        self.tell(Event::Pusher(id, PusherEvent::Requested(request)));
    }
}
