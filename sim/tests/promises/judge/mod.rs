//! What must hold in every world, judged from outside: from what the gateway was told and what it
//! ordered, and from nothing it says of itself except the names of messages.
//!
//! - No cross-talk, and per key the order of acceptance on every connection.
//! - A message is removed from the store only when a client has proven that it has it.
//! - What was confirmed is not written again.
//! - A try is charged only when nobody is left to confirm, and then to everything written.
//! - A push misses exactly when its key has no connection.
//! - Replies come in order; `ok` says written and safe, `queued` says safe.
//! - A connection that has its key to itself holds at most one window.
//! - Nothing in a window is evicted.
//! - Silence, and nothing else, is called idleness, and none is overlooked.
//! - In the end every message that was promised is confirmed or a dead letter, not both.

mod connections;
mod messages;

use crate::play::KEYS;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::Event;
use steadfast_core::id::{ConnId, Key, MessageId, OpId, PusherId};
use steadfast_core::record::{ConnRecord, DeliveryRecord, Record};
use steadfast_core::store::{Answer, Appended};
use steadfast_core::time::Time;
use steadfast_sim::world::{Step, World};

/// What the oracles remember of a world.
pub(crate) struct Judge {
    config: Config,
    /// Whether the process was ever stalled: then patience is extended.
    pub(crate) stalled: bool,
    /// How many steps of the history were seen.
    seen: usize,
    conns: BTreeMap<ConnId, Conn>,
    messages: BTreeMap<MessageId, Message>,
    payloads: BTreeMap<Bytes, Payload>,
    /// Appends, and when they were given.
    appends: BTreeMap<OpId, (MessageId, usize)>,
    replies: BTreeMap<PusherId, VecDeque<MessageId>>,
    /// The push read last: its key had no connection, and its miss was recorded.
    last_push: Option<(MessageId, Presence, Presence)>,
    /// Keys that just lost their last connection.
    abandoned: Vec<Key>,
}

/// Whether a key has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Live,
    Absent,
}

/// An open connection.
struct Conn {
    key: Option<Key>,
    /// Whether no other connection ever shared its key with it.
    alone: bool,
    /// The messages written to it, and up to which it has proven to have them.
    sent: Vec<Bytes>,
    proven: usize,
    /// How many were written before a ping, and before it was asked for its drain.
    pings: BTreeMap<u64, usize>,
    drain: usize,
    mute: bool,
    heard_at: Time,
    texts: u32,
    answers: u32,
}

/// A push, and what became of it.
struct Message {
    key: Key,
    payload: Bytes,
    fate: Fate,
    stored: bool,
    promised: bool,
    removed: bool,
}

/// What a push was made into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Itself,
    Another(MessageId),
    Failed,
}

/// All messages of one payload.
#[derive(Default)]
struct Payload {
    ids: Vec<MessageId>,
    sent: u32,
    proven: u32,
    removed: u32,
    /// Since when it is being delivered: written, and neither confirmed nor failed.
    in_window: Option<usize>,
}

impl Judge {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            stalled: false,
            seen: 0,
            conns: BTreeMap::new(),
            messages: BTreeMap::new(),
            payloads: BTreeMap::new(),
            appends: BTreeMap::new(),
            replies: BTreeMap::new(),
            last_push: None,
            abandoned: Vec::new(),
        }
    }

    /// The open, bound connections and their keys.
    pub(crate) fn open(&self) -> impl Iterator<Item = (ConnId, Key)> {
        self.conns.iter().filter_map(|(id, conn)| Some((*id, conn.key.clone()?)))
    }

    /// The connections of a key.
    pub(crate) fn live(&self, key: &Key) -> Vec<ConnId> {
        self.open().filter(|(_, other)| other == key).map(|(id, _)| id).collect()
    }

    /// Looks at what happened since last time.
    pub(crate) fn look(&mut self, world: &World) {
        for (at, step) in &world.history[self.seen..] {
            self.seen += 1;
            match step {
                Step::Told(event) => {
                    self.end_of_batch();
                    self.on_event(*at, event);
                }
                Step::Gave(command) => self.on_command(*at, command),
            }
        }
        self.end_of_batch();
        self.overlooks_nobody(world.now);
        // What is being delivered does not count, and neither does what only awaits its removal.
        let config = &self.config;
        let uncounted = 4 * config.window_messages + config.max_removing + config.window_messages;
        let most = (config.mailbox_limit + uncounted) as usize;
        for key in KEYS.map(Key::new) {
            let waiting = world.model.waiting(&key).count();
            assert!(waiting <= most, "{waiting} messages wait for {key}");
        }
    }

    fn on_event(&mut self, at: Time, event: &Event) {
        match event {
            Event::Connection(id, event) => self.on_conn_event(at, *id, event),
            Event::Answered(op, Answer::Appended(appended)) => {
                let Some((id, given)) = self.appends.remove(op) else { return };
                if let Appended::Stored { evicted, .. } = appended {
                    self.message(id).stored = true;
                    for id in evicted {
                        let since = self.payload_of(*id).delivered_since();
                        // What timed out and is stored all the same is not known to be.
                        let spared =
                            since.is_none_or(|since| since > given) || !self.messages[id].promised;
                        assert!(spared, "{id} was evicted from a window");
                    }
                }
            }
            Event::Answered(..)
            | Event::Pusher(..)
            | Event::Noticed(_)
            | Event::Operator(..)
            | Event::DeadlineReached
            | Event::ShutdownRequested => {}
        }
    }

    fn on_command(&mut self, at: Time, command: &Command) {
        match command {
            Command::Send { conn, payload, .. } => self.on_send(*conn, payload),
            Command::Ping { conn, counter } => {
                let conn = self.conns.get_mut(conn).expect("an open connection is pinged");
                conn.pings.insert(*counter, conn.sent.len());
            }
            Command::ReportDrained { conn } => {
                let conn = self.conns.get_mut(conn).expect("an open connection is asked");
                conn.drain = conn.sent.len();
            }
            Command::Close { conn, close } => {
                self.on_close(at, *conn, *close);
                self.gone(*conn);
            }
            Command::Reply { pusher, reply } => self.on_reply(*pusher, *reply),
            Command::Store { op, request } => self.on_op(*op, request),
            Command::Record(record) => self.on_record(record),
            Command::Pong { .. }
            | Command::Pause { .. }
            | Command::Answer { .. }
            | Command::Resume { .. }
            | Command::Finish { .. } => {}
        }
    }

    fn on_record(&mut self, record: &Record) {
        match record {
            Record::Connection(id, ConnRecord::Bound { key, .. }) => self.on_bound(*id, key),
            Record::Connection(id, ConnRecord::PongUnsupported { .. }) => {
                self.conns.get_mut(id).expect("it is open").mute = true;
            }
            Record::Push(pusher, record) => self.on_push_record(*pusher, record),
            Record::Delivery(_, DeliveryRecord::TryFailed { id, tries }) => {
                self.on_failed_try(*id, *tries);
            }
            Record::Delivery(_, DeliveryRecord::Forgotten { id }) => {
                self.payload_of_mut(*id).in_window = None;
            }
            Record::Connection(..)
            | Record::Delivery(..)
            | Record::Store(..)
            | Record::StaleId
            | Record::Late(_) => {}
        }
    }

    fn end_of_batch(&mut self) {
        if let Some((id, presence, recorded)) = self.last_push.take() {
            assert_eq!(presence, recorded, "whether the key of {id} has a connection");
        }
        for key in std::mem::take(&mut self.abandoned) {
            for message in self.messages.values().filter(|message| message.key == key) {
                let payload = &self.payloads[&message.payload];
                let left = payload.delivered_since().is_some();
                assert!(!left, "{:?} was written and left to nobody", payload.ids);
            }
        }
    }

    /// Every push was answered; what was promised is confirmed or dead, and nothing is both.
    pub(crate) fn end(&self, dead: &BTreeSet<MessageId>) {
        for (pusher, waiting) in &self.replies {
            assert!(waiting.is_empty(), "{pusher} waits for {waiting:?}");
        }
        for (id, message) in &self.messages {
            let dead = dead.contains(id);
            assert!(!(dead && message.removed), "{id} is confirmed and a dead letter");
            match message.fate {
                Fate::Itself => assert!(
                    dead || message.removed,
                    "{id} was promised, and is neither confirmed nor a dead letter"
                ),
                Fate::Another(other) => {
                    assert!(!dead && !message.removed, "{id} is {other} and itself");
                }
                // Its storage may have had an unclear end.
                Fate::Failed => {}
            }
        }
        for (id, conn) in &self.conns {
            let answered = conn.key.as_deref() != Some("text");
            let expect = if answered { conn.texts } else { 0 };
            assert_eq!(conn.answers, expect, "the heartbeats of {id} are answered");
        }
    }

    /// Whether the store has it or a client.
    fn is_safe(&self, id: MessageId) -> bool {
        self.messages[&id].stored || self.payload_of(id).proven > 0
    }

    fn message(&mut self, id: MessageId) -> &mut Message {
        self.messages.get_mut(&id).expect("it was pushed")
    }

    fn payload_of(&self, id: MessageId) -> &Payload {
        &self.payloads[&self.messages[&id].payload]
    }

    fn payload_of_mut(&mut self, id: MessageId) -> &mut Payload {
        let payload = &self.messages[&id].payload;
        self.payloads.get_mut(payload).expect("it was pushed")
    }
}

impl Payload {
    /// Since when the one message of this payload is being delivered.
    fn delivered_since(&self) -> Option<usize> {
        self.in_window.filter(|_| self.ids.len() == 1)
    }
}

impl Conn {
    fn new(now: Time) -> Self {
        Self {
            key: None,
            alone: true,
            sent: Vec::new(),
            proven: 0,
            pings: BTreeMap::new(),
            drain: 0,
            mute: false,
            heard_at: now,
            texts: 0,
            answers: 0,
        }
    }
}
