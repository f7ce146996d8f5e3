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

use crate::play::KEYS;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use steadfast_core::command::{Close, Command, Reply};
use steadfast_core::config::{BindPolicy, Config};
use steadfast_core::event::{ConnEvent, Event};
use steadfast_core::id::{ConnId, Key, MessageId, OpId, PusherId};
use steadfast_core::record::{ConnRecord, DeliveryRecord, PushRecord, Record};
use steadfast_core::store::{Answer, Append, Appended, Op};
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
            | Event::DeadlineReached
            | Event::ShutdownRequested => {}
        }
    }

    fn on_conn_event(&mut self, at: Time, id: ConnId, event: &ConnEvent) {
        if let ConnEvent::Accepted = event {
            self.conns.insert(id, Conn::new(at));
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let digits = conn.key.as_ref().is_some_and(Key::is_digits);
        match event {
            ConnEvent::TextReceived(_) => {
                conn.texts += 1;
                conn.heard_at = at;
            }
            ConnEvent::PongReceived(Some(counter)) => {
                if !digits {
                    conn.heard_at = at;
                }
                let mark = conn.pings[counter];
                self.prove(id, mark);
            }
            ConnEvent::Drained if conn.mute => {
                let mark = conn.drain;
                self.prove(id, mark);
            }
            ConnEvent::Closed(_) => self.gone(id),
            ConnEvent::Upgraded { .. } => conn.heard_at = at,
            ConnEvent::Accepted
            | ConnEvent::BinaryReceived(_)
            | ConnEvent::PingReceived
            | ConnEvent::PongReceived(None)
            | ConnEvent::Drained => {}
        }
    }

    /// A client has all that was written to it before `mark`.
    fn prove(&mut self, id: ConnId, mark: usize) {
        let conn = self.conns.get_mut(&id).expect("it is open");
        for index in conn.proven..mark {
            self.payloads.get_mut(&conn.sent[index]).expect("it was pushed").proven += 1;
        }
        conn.proven = conn.proven.max(mark);
    }

    fn gone(&mut self, id: ConnId) {
        let key = self.conns.remove(&id).and_then(|conn| conn.key);
        if let Some(key) = key
            && self.live(&key).is_empty()
        {
            self.abandoned.push(key);
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
            Command::Pause { .. } | Command::Resume { .. } | Command::Finish { .. } => {}
        }
    }

    fn on_close(&self, at: Time, id: ConnId, close: Close) {
        let silent = at.since(self.conns[&id].heard_at);
        if close == Close::Idle {
            assert!(silent >= self.config.idle_timeout, "{id} was silent for {silent} only");
        }
    }

    /// Where no stall extends patience, every silent connection is closed in time.
    fn overlooks_nobody(&self, now: Time) {
        for (id, conn) in self.conns.iter().filter(|_| !self.stalled) {
            let silent = now.since(conn.heard_at);
            assert!(silent <= self.config.idle_timeout, "{id} is silent for {silent}");
        }
    }

    /// No cross-talk, the order of acceptance, and no more than a window.
    fn on_send(&mut self, id: ConnId, payload: &Bytes) {
        let conn = self.conns.get_mut(&id).expect("an open connection is written to");
        let text = std::str::from_utf8(payload).expect("text is UTF-8");
        let Some(hash) = text.find('#') else {
            conn.answers += 1;
            return;
        };
        let tag = text[..hash].chars().last().and_then(|digit| digit.to_digit(10));
        let meant = KEYS[tag.expect("a payload names its key") as usize];
        let key = conn.key.as_deref().expect("a bound connection is written to");
        assert_eq!(key, meant, "{id} of {key} was written a message of {meant}");
        let number = number(text);
        // With several receivers, what one left unconfirmed comes to the others late.
        if self.config.bind != BindPolicy::All && number.is_some() && !conn.sent.contains(payload) {
            let last = conn.sent.iter().filter_map(number_of).max();
            assert!(number >= last, "{id} was written {number:?} after {last:?}");
        }
        conn.sent.push(payload.clone());
        let in_flight = &conn.sent[conn.proven..];
        let bytes: usize = in_flight.iter().map(Bytes::len).sum();
        if conn.alone {
            let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
            assert!(in_flight.len() <= messages as usize, "{id} has {} in flight", in_flight.len());
            let fits = bytes as u64 <= max_bytes || in_flight.len() == 1;
            assert!(fits, "{id} has {bytes} bytes in flight");
        }
        let payload = self.payloads.get_mut(payload).expect("it was pushed");
        let done = payload.ids.len() == 1 && payload.removed > 0;
        assert!(!done, "{:?} was written to {id} after it was confirmed", payload.ids);
        payload.sent += 1;
        payload.in_window.get_or_insert(self.seen);
    }

    fn on_reply(&mut self, pusher: PusherId, reply: Reply) {
        let waiting = self.replies.get_mut(&pusher).and_then(VecDeque::pop_front);
        let id = waiting.expect("a reply answers a push");
        let message = &self.messages[&id];
        let payload = &self.payloads[&message.payload];
        match (reply, message.fate) {
            (Reply::Ok(named), Fate::Itself) => {
                assert_eq!(named, id, "the reply to {id}");
                assert!(payload.sent > 0, "{id} was answered ok and not written");
                assert!(self.is_safe(id), "{id} was answered ok and is not safe");
            }
            (Reply::Queued(named), Fate::Itself) => {
                assert_eq!(named, id, "the reply to {id}");
                assert!(message.stored, "{id} was answered queued and is not safe");
            }
            (Reply::Ok(named) | Reply::Queued(named), Fate::Another(other)) => {
                assert_eq!(named, other, "the reply to {id}");
                assert!(self.is_safe(other), "{other} stands for {id} and is not safe");
            }
            (Reply::Fail(_), Fate::Failed) => {}
            (reply, fate) => panic!("{id}, which is {fate:?}, was answered {reply:?}"),
        }
        self.message(id).promised = !matches!(reply, Reply::Fail(_));
    }

    fn on_op(&mut self, op: OpId, request: &Op) {
        match request {
            Op::Append(append) => {
                self.appends.insert(op, (append.id, self.seen));
                self.judge_append(append);
            }
            Op::Remove { ids, .. } => {
                for id in ids {
                    self.on_removal(*id);
                }
            }
            Op::Load { .. }
            | Op::Retry { .. }
            | Op::Bury { .. }
            | Op::Expire { .. }
            | Op::Claim(_)
            | Op::Dead(_)
            | Op::Session(_)
            | Op::Device(_) => {}
        }
    }

    fn judge_append(&self, append: &Append) {
        assert_eq!(append.limit, self.config.mailbox_limit, "the limit of {}", append.key);
        if let Some(id) = append.window_end {
            assert!(!self.live(&append.key).is_empty(), "{} has no window", append.key);
            assert!(!self.messages[&id].removed, "{id} is confirmed and in no window");
        }
        if append.merge_within.is_some() {
            assert!(self.live(&append.key).is_empty(), "{} is not offline", append.key);
        }
    }

    fn on_removal(&mut self, id: MessageId) {
        let message = self.messages.get_mut(&id).expect("only messages are removed");
        let payload = self.payloads.get_mut(&message.payload).expect("it was pushed");
        if !std::mem::replace(&mut message.removed, true) {
            payload.removed += 1;
            payload.in_window = None;
        }
        assert!(payload.removed <= payload.proven, "{id} is removed, and no client has it");
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

    fn on_bound(&mut self, id: ConnId, key: &Key) {
        let others = self.live(key);
        for other in &others {
            self.conns.get_mut(other).expect("it is open").alone = false;
        }
        let conn = self.conns.get_mut(&id).expect("an open connection binds");
        conn.key = Some(key.clone());
        conn.alone = others.is_empty();
    }

    fn on_push_record(&mut self, pusher: PusherId, record: &PushRecord) {
        match record {
            PushRecord::Prepared { key, id, content } => {
                let (key, payload) = (key.clone(), content.clone());
                let presence =
                    if self.live(&key).is_empty() { Presence::Absent } else { Presence::Live };
                self.last_push = Some((*id, presence, Presence::Live));
                self.payloads.entry(payload.clone()).or_default().ids.push(*id);
                let fate = Fate::Itself;
                let message =
                    Message { key, payload, fate, stored: false, promised: false, removed: false };
                self.messages.insert(*id, message);
                self.replies.entry(pusher).or_default().push_back(*id);
            }
            PushRecord::Missed { .. } => {
                let (_, _, recorded) = self.last_push.as_mut().expect("a push was read");
                *recorded = Presence::Absent;
            }
            PushRecord::Merged { id, into, .. } => {
                self.message(*id).fate = Fate::Another(*into);
            }
            PushRecord::Duplicate { id, first, .. } => {
                self.message(*id).fate = Fate::Another(*first);
            }
            PushRecord::Failed { id, .. } => self.message(*id).fate = Fate::Failed,
            PushRecord::Ok { .. }
            | PushRecord::Queued { .. }
            | PushRecord::Refused { .. }
            | PushRecord::Unfinished { .. }
            | PushRecord::Paused { .. }
            | PushRecord::Resumed => {}
        }
    }

    /// Nobody is left who could confirm it, and nobody has.
    fn on_failed_try(&mut self, id: MessageId, tries: u32) {
        let message = &self.messages[&id];
        let payload = &self.payloads[&message.payload];
        assert!(tries <= self.config.retry_max, "{id} has failed {tries} tries");
        assert!(payload.sent > 0, "{id} has failed a try and was never written");
        let live = self.live(&message.key);
        if self.config.bind != BindPolicy::All {
            assert!(live.is_empty(), "{id} has failed a try, and {live:?} could take it over");
        }
        if payload.ids.len() == 1 {
            assert_eq!(payload.proven, 0, "{id} has failed a try, and a client has it");
            for conn in live.iter().map(|id| &self.conns[id]) {
                let unproven = &conn.sent[conn.proven..];
                assert!(!unproven.contains(&message.payload), "{id} may still be confirmed");
            }
        }
        self.payload_of_mut(id).in_window = None;
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

/// The number in a payload, by which pushes are in order.
fn number(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once('#')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn number_of(payload: &Bytes) -> Option<u64> {
    number(std::str::from_utf8(payload).ok()?)
}
