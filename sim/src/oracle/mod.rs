//! The oracles: what must hold in every world, judged from outside.
//!
//! A [`Judge`] is told what each gateway was told and what it ordered ([`Judge::batch`]), facts that
//! only the world knows ([`Fact`]), and in the end what the stores hold ([`Judge::end`]). It believes
//! nothing that a gateway says of itself except the names of messages: records are compared with what
//! happened. What it finds first is kept as the world's [`Violation`].
//!
//! Not here: the core's own tables ([`Gateway::check`](steadfast_core::gateway::Gateway::check),
//! which worlds call after every event), and the comparison of two runs of a seed.

mod clean;
mod connections;
mod deaths;
mod devices;
mod finish;
mod ledger;
mod links;
mod messages;
mod sessions;

use crate::direct::hasher::TraceHasher;
use crate::schedule::{Schedule, WorldSpec};
use bytes::Bytes;
use bytestring::ByteString;
use devices::Devices;
use ledger::Ledger;
use links::LinkClient;
use sessions::{LinkConn, Truth};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasherDefault;
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::{Event, PusherEvent};
use steadfast_core::id::{ConnId, Key, MessageId, OpId, PusherId, RequestId};
use steadfast_core::operator::OperatorRequest;
use steadfast_core::record::{ConnRecord, DeathReason, DeliveryRecord, Record, StoreRecord};
use steadfast_core::store::{DeviceEntry, Retry, Session};
use steadfast_core::time::{Span, Time};

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oracle {
    /// A message is written only to connections whose first message was its key.
    CrossTalk,
    /// Per key and back end, messages are written in the order they were accepted.
    Order,
    /// What is removed from the store has been received, and what was confirmed is not written again.
    Confirmation,
    /// Everything that was promised is confirmed, or dead with its reason, and not both.
    Conservation,
    /// What waits for a healthy client reaches it in time.
    Delivery,
    /// A message dies for a reason that is true.
    Death,
    /// Every push is answered once, in order, and truly.
    Reply,
    /// Nothing grows beyond its limit.
    Memory,
    /// A connection that lives is not closed for idleness, and a dead one always is.
    Idleness,
    /// Heartbeats and pings are answered.
    Heartbeat,
    /// Records say what happened.
    Records,
    /// The core's tables agree with each other and, at rest, with the world.
    Tables,
    /// Where everything works, exactly what was pushed arrives, and nothing else happens.
    Clean,
    /// What the gateway writes is the protocol that its peers speak.
    Protocol,
    /// The application of a link client has each message once.
    Once,
    /// A link has one socket to an endpoint, keeps its delays, and gives up only when it is told to.
    Link,
    /// A session is resumed while it lives, its ops are applied once and in order, and losses are
    /// told.
    Session,
    /// Where gateways share a store, only the one that holds a key decides about it.
    Claims,
    /// What devices upload is in the device log once it is acknowledged, once, as theirs and in order;
    /// and it is noted where they are connected.
    Devices,
    /// A seed decides everything.
    Determinism,
}

impl Oracle {
    /// The oracle's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CrossTalk => "cross-talk",
            Self::Order => "order",
            Self::Confirmation => "confirmation",
            Self::Conservation => "conservation",
            Self::Delivery => "delivery",
            Self::Death => "death",
            Self::Reply => "reply",
            Self::Memory => "memory",
            Self::Idleness => "idleness",
            Self::Heartbeat => "heartbeat",
            Self::Records => "records",
            Self::Tables => "tables",
            Self::Clean => "clean",
            Self::Protocol => "protocol",
            Self::Once => "once",
            Self::Link => "link",
            Self::Session => "session",
            Self::Claims => "claims",
            Self::Devices => "devices",
            Self::Determinism => "determinism",
        }
    }
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which oracle found it.
    pub oracle: Oracle,
    /// When, since the world began.
    pub at: Span,
    /// What was missing.
    pub text: String,
}

/// An instant in a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// How long the world has run: what clients and judges go by.
    pub elapsed: Span,
    /// What the gateways' clock shows: it can leap.
    pub wall: Time,
}

/// What only the world knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// The client of this connection and everything between work, until the contrary is told. Only
    /// such connections are judged to be closed wrongly.
    Sound(u32, ConnId),
    /// Something is wrong with the connection or its client, from now on.
    Ailing(u32, ConnId),
    /// A client's stack received this message, meant for the client's key (its place in
    /// [`WorldSpec::keys`]).
    Received {
        /// Which client: its place in [`WorldSpec::clients`].
        client: u32,
        /// The message.
        payload: Bytes,
    },
    /// The process of this client of the link protocol is another one, with the same storage.
    Reloaded {
        /// Which client: its place in [`WorldSpec::clients`].
        client: u32,
    },
    /// The gateway's process lost this much time: it stood still, or its clock leapt.
    Lost(u32, Span),
    /// The gateway's process ended without warning; its connections and back ends are gone.
    Crashed(u32),
    /// A store kept a message: how many wait for its key now, and whether any of them were spared
    /// because they are being delivered.
    Kept {
        /// Whose.
        key: Key,
        /// How many wait.
        waiting: usize,
        /// Whether the append named messages that are being delivered.
        spared: bool,
    },
    /// A store dropped these dead letters for good.
    Purged(Vec<MessageId>),
    /// A store dropped these waiting messages for good, as an operator wanted it to.
    Cleared(Vec<MessageId>),
    /// A store let these dead letters wait again.
    Requeued {
        /// Which ones.
        ids: Vec<MessageId>,
        /// When they expire now.
        expires_at: Time,
    },
    /// Every key that has clients has had a sound one for long enough: nothing may wait for it.
    Recovered(BTreeMap<Key, Vec<MessageId>>),
}

/// What the stores hold in the end.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// Messages that wait.
    pub waiting: BTreeSet<MessageId>,
    /// Dead letters.
    pub dead: BTreeMap<MessageId, DeathReason>,
    /// How many messages were ever stored, and removed.
    pub appended: u64,
    /// How many were removed.
    pub removed: u64,
    /// How many dead letters and waiting messages were dropped for good.
    pub purged: u64,
    /// The device log, oldest entry first.
    pub device_log: Vec<DeviceEntry>,
    /// Where devices are noted to be connected.
    pub device_links: BTreeMap<ByteString, ConnId>,
}

/// What is looked up for every command, under a hash without a secret: walked in the same order in
/// every process.
type Table<K, V> = HashMap<K, V, BuildHasherDefault<TraceHasher>>;

/// What the oracles remember of a world.
#[derive(Debug)]
pub struct Judge {
    world: WorldSpec,
    config: Config,
    clean: bool,
    now: Moment,
    nodes: Vec<Node>,
    messages: Table<MessageId, Message>,
    contents: Table<u32, Content>,
    /// How many batches were seen: the judge's own time.
    batches: u64,
    purged: BTreeSet<MessageId>,
    /// How many messages of each key were let wait again, however many wait already.
    requeued: BTreeMap<u32, u32>,
    /// Whether the current batch is about an operator's request.
    operating: bool,
    /// The connection that the current batch is about, or the store's answer to it.
    telling: Option<ConnId>,
    /// How long what is pushed in the current batch may wait, if its back end says so.
    own_ttl: Option<Span>,
    devices: Devices,
    /// The latest that the gateways' clock ever showed: what had expired then may be gone.
    latest: Time,
    links: BTreeMap<u32, LinkClient>,
    sessions: BTreeMap<ByteString, Truth>,
    received: Vec<Vec<u32>>,
    /// Whether gateways share the store: then none of them knows alone what became of a message.
    shared: bool,
    violation: Option<Violation>,
}

/// One gateway.
#[derive(Debug, Default)]
struct Node {
    conns: BTreeMap<ConnId, Conn>,
    pushers: BTreeMap<PusherId, Pusher>,
    ops: Table<OpId, Asked>,
    /// How often and how much time was lost.
    losses: u32,
    lost: Span,
    stopping: bool,
    /// When silent connections are looked for again.
    looks_at: Span,
    /// What operators asked and were not told.
    requests: BTreeSet<RequestId>,
    /// What the current batch owes.
    ledger: Ledger,
    abandoned: Vec<u32>,
    /// What it is having removed: the store has not answered.
    removing: BTreeSet<MessageId>,
    /// The epoch of its last claim of each key.
    claims: BTreeMap<u32, u64>,
}

/// An open connection.
#[derive(Debug)]
struct Conn {
    /// Its key's place, once it sent a first message that binds.
    key: Option<u32>,
    bound: bool,
    /// The core has closed it, and its end was not told yet.
    closing: bool,
    upgraded: bool,
    sound: bool,
    /// Whether no other connection ever shared its key with it, and its gateway kept its claim: what is
    /// in flight counts against the window then.
    alone: bool,
    /// The contents written to it, and up to which it has proven to have them.
    sent: Vec<(u32, u32)>,
    proven: usize,
    /// The newest push of each back end that was written to it.
    newest: BTreeMap<(u32, PusherId), u64>,
    /// How many were written before a ping, and before it was asked for its drain.
    pings: BTreeMap<u64, usize>,
    drains: VecDeque<usize>,
    mute: bool,
    heard_at: Span,
    losses: u32,
    lost: Span,
    /// Heartbeats that are to be answered, and answers.
    owed: u32,
    answers: u32,
    pings_owed: u32,
    pongs: u32,
    /// Set when it speaks the link protocol.
    link: Option<Box<LinkConn>>,
}

/// One back end's connection.
#[derive(Debug, Default)]
struct Pusher {
    unanswered: VecDeque<Asking>,
    paused: bool,
}

/// An unanswered line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asking {
    Message(MessageId),
    Refused,
}

/// A storage operation under way.
#[derive(Debug)]
enum Asked {
    Append(MessageId),
    /// By an operator.
    Wish,
    /// What the greeting of this connection has to say.
    Greeting(ConnId),
    /// That a session is kept.
    Keep(Box<Session>),
    /// Where the device of this key is.
    Note(u32),
    /// That what this connection uploads is in the device log.
    Upload(ConnId, ByteString),
    /// For the key of this number.
    Claim(u32),
    Other,
}

/// An accepted push, and what became of it.
#[derive(Debug)]
struct Message {
    key: u32,
    content: u32,
    fate: Fate,
    stored: bool,
    /// It is written when the store has answered that it is no duplicate.
    held: bool,
    promised: bool,
    failed: bool,
    removed: bool,
    /// The process that had it removed ended before the store answered.
    reopened: bool,
    tries: u32,
    recorded: Option<Outcome>,
    expires_at: Time,
}

/// What a push was made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Itself,
    Another(MessageId),
    Conflict,
}

/// What a record said of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    Queued,
    Another,
    Failed,
}

/// All messages of one payload.
#[derive(Debug, Default)]
struct Content {
    key: u32,
    ids: Vec<MessageId>,
    /// By whom it was pushed first, and as the how-manieth of all.
    pusher: Option<(u32, PusherId)>,
    order: u64,
    sent: u32,
    proven: u32,
    removed: u32,
    received: u32,
    /// A gateway ordered that it be set aside.
    set_aside: bool,
    /// A dead letter of it was let wait again, behind what was newer.
    requeued: bool,
    /// Since which batch it is being delivered: written, and neither confirmed nor failed.
    in_window: Option<u64>,
}

impl Judge {
    /// A judge for the world of this schedule.
    #[must_use]
    pub fn new(schedule: &Schedule) -> Self {
        Self {
            world: schedule.world.clone(),
            config: schedule.world.settings.config(),
            clean: schedule.is_clean(),
            now: Moment::default(),
            nodes: Vec::new(),
            messages: Table::default(),
            contents: Table::default(),
            batches: 0,
            purged: BTreeSet::new(),
            requeued: BTreeMap::new(),
            operating: false,
            telling: None,
            own_ttl: None,
            devices: Devices::new(schedule.poses()),
            latest: Time::EPOCH,
            links: BTreeMap::new(),
            sessions: BTreeMap::new(),
            received: vec![Vec::new(); schedule.world.clients.len()],
            shared: schedule.world.lease.is_some(),
            violation: None,
        }
    }

    /// What was found first.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    /// Notes that a promise is broken, unless one was before.
    pub fn blame(&mut self, oracle: Oracle, text: impl fmt::Display) {
        if self.violation.is_none() {
            let text = text.to_string();
            self.violation = Some(Violation { oracle, at: self.now.elapsed, text });
        }
    }

    /// Notes that a promise is broken when it is.
    fn demand(&mut self, oracle: Oracle, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.blame(oracle, text());
        }
    }

    /// A gateway was told an event, and ordered this.
    pub fn batch(&mut self, at: Moment, node: u32, event: &Event, commands: &[Command]) {
        self.now = at;
        self.batches += 1;
        self.latest = self.latest.max(at.wall);
        self.operating = matches!(event, Event::Operator(..));
        self.telling = if let Event::Connection(id, _) = event { Some(*id) } else { None };
        self.own_ttl = None;
        if let Event::Pusher(_, PusherEvent::Requested(request)) = event {
            self.own_ttl = request.ttl;
        }
        self.on_event(node, event);
        for command in commands {
            self.on_command(node, command);
        }
        self.end_of_batch(node);
    }

    /// It is this time.
    pub fn at(&mut self, now: Moment) {
        self.now = now;
    }

    /// The world tells a fact.
    pub fn fact(&mut self, at: Moment, fact: Fact) {
        self.now = at;
        match fact {
            Fact::Sound(node, conn) => self.set_sound(node, conn, true),
            Fact::Ailing(node, conn) => self.set_sound(node, conn, false),
            Fact::Received { client, payload } => self.on_received(client, &payload),
            Fact::Lost(node, span) => {
                let node = self.node(node);
                node.losses += 1;
                node.lost += span;
            }
            Fact::Reloaded { client } => self.on_reloaded(client),
            Fact::Crashed(node) => self.on_crash(node),
            Fact::Kept { key, waiting, spared } => self.on_kept(&key, waiting, spared),
            Fact::Purged(ids) => self.purged.extend(ids),
            Fact::Cleared(ids) => self.on_cleared(&ids),
            Fact::Requeued { ids, expires_at } => self.on_requeued(&ids, expires_at),
            Fact::Recovered(waiting) => {
                for (key, mut ids) in waiting {
                    // What was not promised and is stored all the same may wait for the next client.
                    ids.retain(|id| !self.is_unpromised(*id));
                    self.demand(Oracle::Delivery, ids.is_empty(), || {
                        format!("{} still waits for {key}, which has a sound client", list(&ids))
                    });
                }
            }
        }
    }

    fn on_event(&mut self, node: u32, event: &Event) {
        match event {
            Event::Connection(id, event) => self.on_conn_event(node, *id, event),
            Event::Pusher(id, event) => self.on_pusher_event(node, *id, event),
            Event::Answered(op, answer) => self.on_answer(node, *op, answer),
            Event::ShutdownRequested => self.node(node).stopping = true,
            Event::Operator(request, asked) => {
                self.node(node).requests.insert(*request);
                if let OperatorRequest::RequeueDead { key, .. } = asked {
                    self.on_requeue_asked(key);
                }
            }
            // No second gateway is at work in these worlds.
            Event::Noticed(_) | Event::DeadlineReached => {}
        }
    }

    fn on_pusher_event(&mut self, node: u32, id: PusherId, event: &PusherEvent) {
        let limit = self.config.max_unanswered as usize;
        let state = self.node(node);
        match event {
            PusherEvent::Opened => {
                state.pushers.insert(id, Pusher::default());
            }
            PusherEvent::Closed => {
                state.pushers.remove(&id);
            }
            PusherEvent::LineReceived(_)
            | PusherEvent::Requested(_)
            | PusherEvent::LineTooLong { .. }
            | PusherEvent::Finished { .. } => {
                let pusher = state.pushers.entry(id).or_default();
                let (count, paused) = (pusher.unanswered.len(), pusher.paused);
                self.demand(Oracle::Memory, paused || count < limit, || {
                    format!("{id} has {count} unanswered pushes of {limit}, and is read on")
                });
            }
        }
    }

    fn on_command(&mut self, node: u32, command: &Command) {
        match command {
            Command::Send { conn, payload, .. } => self.on_send(node, *conn, payload),
            Command::Ping { conn, counter } => self.on_ping(node, *conn, *counter),
            Command::Pong { conn, .. } => self.on_pong_sent(node, *conn),
            Command::ReportDrained { conn } => {
                if let Some(conn) = self.node(node).conns.get_mut(conn) {
                    conn.drains.push_back(conn.sent.len());
                }
            }
            Command::Close { conn, close } => self.on_close(node, *conn, *close),
            Command::Reply { pusher, reply } => self.on_reply(node, *pusher, *reply),
            Command::Store { op, request } => self.on_op(node, *op, request),
            Command::Record(record) => self.on_record(node, record),
            Command::Pause { pusher } => self.set_paused(node, *pusher, true),
            Command::Resume { pusher } => self.set_paused(node, *pusher, false),
            Command::Answer { request, answer } => {
                self.on_told(answer);
                let asked = self.node(node).requests.remove(request);
                self.demand(Oracle::Reply, asked, || format!("{request} is answered unasked"));
            }
            Command::Finish { pusher } => {
                let pusher = self.node(node).pushers.get(pusher);
                let left = pusher.map_or(0, |pusher| pusher.unanswered.len());
                self.demand(Oracle::Reply, left == 0, || format!("{left} pushes are unanswered"));
            }
        }
    }

    fn set_paused(&mut self, node: u32, id: PusherId, paused: bool) {
        self.node(node).pushers.entry(id).or_default().paused = paused;
    }

    fn on_record(&mut self, node: u32, record: &Record) {
        match record {
            Record::Connection(id, record) => self.on_conn_record(node, *id, record),
            Record::Push(pusher, record) => self.on_push_record(node, *pusher, record),
            Record::Delivery(_, record) => self.on_delivery_record(node, record),
            Record::Store(op, StoreRecord::TimedOut { .. }) => self.on_timed_out(node, *op),
            Record::Store(_, StoreRecord::DeviceLogTaken { count }) => {
                self.node(node).ledger.pay("taken entries", *count);
            }
            Record::Store(_, StoreRecord::DeadDropped { count }) => {
                self.node(node).ledger.pay("dropped dead letters", *count);
            }
            Record::Store(_, StoreRecord::Failed { .. }) => {
                self.node(node).ledger.pay("failed operations", 1);
            }
            Record::StaleId => self.node(node).ledger.pay("stale ids", 1),
            Record::Store(_, StoreRecord::DeadPurged { count }) => {
                self.node(node).ledger.pay("purged dead letters", *count);
            }
            Record::Store(_, StoreRecord::LeaseLost) => {
                self.node(node).conns.values_mut().for_each(|conn| conn.alone = false);
            }
            Record::Store(_, StoreRecord::Retried { .. } | StoreRecord::LeaseHeld)
            | Record::Late(_) => {}
        }
    }

    fn on_delivery_record(&mut self, node: u32, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::Confirmed { count, .. } => {
                self.node(node).ledger.pay("confirmed messages", u64::from(*count));
            }
            DeliveryRecord::Withdrawn { count } => {
                self.node(node).ledger.pay("withdrawn dead letters", u64::from(*count));
            }
            DeliveryRecord::TryFailed { id, tries } => self.on_failed_try(node, *id, *tries),
            DeliveryRecord::Forgotten { id } => self.on_forgotten(*id),
            DeliveryRecord::Died { .. } => self.node(node).ledger.pay("deaths", 1),
            DeliveryRecord::Written { id, .. } => {
                let content = self.messages.get(id).map(|message| message.content);
                let sent = content.is_some_and(|serial| self.contents[&serial].sent > 0);
                self.demand(Oracle::Records, sent, || format!("{id} was never written"));
            }
            DeliveryRecord::Requeued { .. } => self.node(node).ledger.pay("requeued letters", 1),
            DeliveryRecord::Purged { .. } => self.node(node).ledger.pay("purged messages", 1),
            DeliveryRecord::RemovalsBehind { .. } => {}
        }
    }

    fn end_of_batch(&mut self, node: u32) {
        let state = self.node(node);
        let unpaid = state.ledger.settle();
        let (abandoned, stopping) = (std::mem::take(&mut state.abandoned), state.stopping);
        if let Some(text) = unpaid {
            self.blame(Oracle::Records, text);
        }
        for key in abandoned {
            if stopping {
                // No try is charged: the next run finds the messages in the store.
                for content in self.contents.values_mut().filter(|content| content.key == key) {
                    content.in_window = None;
                }
                continue;
            }
            let left = self.contents.values().find(|content| {
                content.key == key && content.delivered_since().is_some() && content.ids.len() == 1
            });
            if let Some(ids) = left.filter(|_| !self.shared).map(|content| content.ids.clone()) {
                self.blame(
                    Oracle::Conservation,
                    format!("{} was written and left to nobody", list(&ids)),
                );
            }
        }
        self.overlooks_nobody(node);
    }

    /// The process ended: what it had under way is open again.
    fn on_crash(&mut self, node: u32) {
        let state = std::mem::take(self.node(node));
        for id in state.removing {
            if self.nodes.iter().any(|node| node.removing.contains(&id)) {
                continue;
            }
            let message = self.messages.get_mut(&id).filter(|message| !message.reopened);
            if let Some(message) = message {
                // The store may have it still, and then it is delivered once more.
                message.reopened = true;
                let content = self.contents.entry(message.content).or_default();
                content.removed -= 1;
                content.proven -= 1;
            }
        }
        let own = |content: &&mut Content| content.pusher.is_some_and(|(of, _)| of == node);
        for content in self.contents.values_mut().filter(own) {
            content.in_window = None;
        }
        self.devices.crash(node);
        let lost = Node { losses: state.losses, lost: state.lost, ..Node::default() };
        *self.node(node) = lost;
    }

    fn node(&mut self, node: u32) -> &mut Node {
        let index = node as usize;
        if index >= self.nodes.len() {
            self.nodes.resize_with(index + 1, Node::default);
        }
        &mut self.nodes[index]
    }

    /// The place of a key that clients of this world may have.
    fn key_of_first(&self, text: &str) -> Option<u32> {
        let keys = &self.world.keys;
        let index = keys.iter().position(|key| key.first == text)?;
        u32::try_from(index).ok()
    }

    fn key_index(&self, key: &Key) -> Option<u32> {
        let index = self.world.keys.iter().position(|other| other.text == **key)?;
        u32::try_from(index).ok()
    }

    /// The connections of a key.
    fn live(&self, node: u32, key: u32) -> impl Iterator<Item = (&ConnId, &Conn)> {
        let conns = self.nodes.get(node as usize).into_iter().flat_map(|node| &node.conns);
        conns.filter(move |(_, conn)| conn.bound && conn.key == Some(key))
    }

    fn content_of(&mut self, id: MessageId) -> Option<&mut Content> {
        let serial = self.messages.get(&id)?.content;
        self.contents.get_mut(&serial)
    }
}

impl Content {
    /// Since when the one message of this payload is being delivered.
    fn delivered_since(&self) -> Option<u64> {
        self.in_window.filter(|_| self.ids.len() == 1)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.at.as_millis();
        let (secs, millis) = (millis / 1_000, millis % 1_000);
        write!(f, "{:?} at {secs}.{millis:03} s: {}", self.oracle, self.text)
    }
}

/// Messages as a list for people.
fn list(ids: &[MessageId]) -> String {
    let shown: Vec<_> = ids.iter().take(5).map(MessageId::to_string).collect();
    let more = ids.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(" "))
}

/// What the judge needs of a failed try.
fn tried(retries: &[Retry]) -> impl Iterator<Item = (MessageId, u32)> {
    retries.iter().map(|retry| (retry.id, retry.tries))
}

/// The reason of a record that a connection was closed by the core.
fn closing(record: &ConnRecord) -> Option<&'static str> {
    match record {
        ConnRecord::IdleTimedOut { .. } => Some("idle connections"),
        ConnRecord::PongOverdue { .. } => Some("overdue pongs"),
        ConnRecord::BindRefused { .. } => Some("refused bindings"),
        ConnRecord::Received { .. }
        | ConnRecord::HeartbeatReceived { .. }
        | ConnRecord::HeartbeatAnswered { .. }
        | ConnRecord::Bound { .. }
        | ConnRecord::TakenOver { .. }
        | ConnRecord::StandbyTookOver { .. }
        | ConnRecord::TakenElsewhere { .. }
        | ConnRecord::PongUnsupported { .. }
        | ConnRecord::Link { .. }
        | ConnRecord::LogKept { .. }
        | ConnRecord::LogNotKept { .. }
        | ConnRecord::Closed { .. } => None,
    }
}
