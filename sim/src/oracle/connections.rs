//! What is judged of connections: what they are written, what they prove, how they end.

use super::{Conn, Content, Judge, Oracle, closing};
use crate::schedule::Push;
use bytes::Bytes;
use bytestring::ByteString;
use steadfast_core::command::Close;
use steadfast_core::config::BindPolicy;
use steadfast_core::dialect;
use steadfast_core::event::{ConnEvent, Protocol};
use steadfast_core::id::{ConnId, PusherId};
use steadfast_core::record::ConnRecord;
use steadfast_core::time::Span;

/// A silent connection may be closed so much later than its deadline.
const SLACK: Span = Span::from_millis(100);

/// Silent connections are looked for this often.
const LOOK: Span = Span::from_millis(20);

/// A client of the link protocol may be silent for so many of its heartbeats.
const MISSED: u64 = 3;

/// The core notices a loss of time from this on; shorter ones count against its clients.
const UNNOTICED: Span = Span::from_millis(2_100);

/// How the messages of monitors begin, which never bind.
const MONITOR: &str = r#"{"type":"#;

impl Judge {
    pub(super) fn on_conn_event(&mut self, node: u32, id: ConnId, event: &ConnEvent) {
        let elapsed = self.now.elapsed;
        if let ConnEvent::Accepted = event {
            let state = self.node(node);
            let conn = Conn::new(elapsed, state.losses, state.lost);
            state.conns.insert(id, conn);
            return;
        }
        if !self.node(node).conns.contains_key(&id) {
            return self.node(node).ledger.owe("stale ids", 1);
        }
        match event {
            ConnEvent::TextReceived(text) => {
                self.heard(node, id);
                self.on_text(node, id, text);
            }
            ConnEvent::BinaryReceived(_) => {
                self.heard(node, id);
                self.note_malformed(node, id);
            }
            ConnEvent::PingReceived(_) => {
                self.heard_frame(node, id);
                self.conn(node, id).pings_owed += 1;
            }
            ConnEvent::PongReceived(counter) => {
                self.heard_frame(node, id);
                let conn = self.conn(node, id);
                let counter = counter.filter(|_| conn.link.is_none());
                let mark = counter.and_then(|counter| conn.pings.remove(&counter));
                if let Some(mark) = mark {
                    // Pings of a gateway are answered in order: an earlier one will not be.
                    self.prove(node, id, mark);
                }
            }
            ConnEvent::Drained => {
                let conn = self.conn(node, id);
                let mark = conn.drains.pop_front();
                if let Some(mark) = mark.filter(|_| conn.mute) {
                    self.prove(node, id, mark);
                }
            }
            ConnEvent::Closed(_) => {
                self.node(node).ledger.owe("closed connections", 1);
                self.gone(node, id);
            }
            ConnEvent::Upgraded { protocol, .. } => {
                self.heard(node, id);
                let conn = self.conn(node, id);
                conn.upgraded = true;
                conn.link = (*protocol == Protocol::Link).then(Box::default);
            }
            ConnEvent::Accepted => {}
        }
    }

    fn conn(&mut self, node: u32, id: ConnId) -> &mut Conn {
        self.node(node).conns.get_mut(&id).expect("checked by the caller")
    }

    fn heard(&mut self, node: u32, id: ConnId) {
        let elapsed = self.now.elapsed;
        let (losses, lost) = (self.node(node).losses, self.node(node).lost);
        let conn = self.conn(node, id);
        (conn.heard_at, conn.losses, conn.lost) = (elapsed, losses, lost);
    }

    /// Control frames do not show that a page lives.
    fn heard_frame(&mut self, node: u32, id: ConnId) {
        let conn = self.conn(node, id);
        let key = conn.key.filter(|_| conn.bound);
        let key = key.filter(|_| conn.link.is_none());
        let digits = key.is_some_and(|key| is_digits(&self.world.keys[key as usize].text));
        if !digits {
            self.heard(node, id);
        }
    }

    /// What a client's message is owed.
    fn on_text(&mut self, node: u32, id: ConnId, text: &ByteString) {
        if self.conn(node, id).link.is_some() {
            return self.on_frame(node, id, text);
        }
        let text = dialect::trim(text);
        let upload = self.world.uploaded(text);
        let known = upload.map_or_else(|| self.key_of_first(text), |(key, _)| Some(key));
        let answered = known.is_some_and(|key| self.world.keys[key as usize].answered);
        let conn = self.conn(node, id);
        if !conn.upgraded || text.is_empty() {
            return;
        }
        if text.starts_with(MONITOR) {
            conn.owed += 1;
            return;
        }
        // A page's answer is for its own key; an add-in's echo is for any.
        let own = conn.key.is_none() || conn.key == known || text.starts_with('{');
        conn.owed += u32::from(answered && own);
        let old = if conn.key.is_none() { known } else { conn.key };
        conn.key = old;
        let Some(key) = known.filter(|key| self.world.is_device(*key)) else { return };
        if old.is_some_and(|old| old != key && self.world.is_device(old)) {
            self.on_renamed(node, id, key);
        }
        if let Some((key, entry)) = upload {
            self.on_upload(node, id, key, entry);
        }
    }

    /// A client has all that was written to it before `mark`.
    pub(super) fn prove(&mut self, node: u32, id: ConnId, mark: usize) {
        let conn = self.conn(node, id);
        let (from, mute) = (conn.proven, conn.mute);
        conn.proven = from.max(mark);
        let proven: Vec<_> = conn.sent[from..from.max(mark)].to_vec();
        for (serial, _) in proven {
            let Some(content) = self.contents.get_mut(&serial) else { continue };
            content.proven += 1;
            let received = mute || content.received > 0;
            self.demand(Oracle::Confirmation, received, || {
                format!("{id} has proven to have #{serial}, which no client received")
            });
        }
    }

    fn gone(&mut self, node: u32, id: ConnId) {
        let conn = self.node(node).conns.remove(&id);
        let Some(key) = conn.filter(|conn| conn.bound).and_then(|conn| conn.key) else { return };
        self.device_unbound(node, id, key);
        if self.live(node, key).next().is_none() {
            self.node(node).abandoned.push(key);
        }
    }

    pub(super) fn set_sound(&mut self, node: u32, id: ConnId, sound: bool) {
        if let Some(conn) = self.node(node).conns.get_mut(&id) {
            conn.sound = sound;
        }
    }

    pub(super) fn on_close(&mut self, node: u32, id: ConnId, close: Close) {
        let Some(conn) = self.nodes.get(node as usize).and_then(|node| node.conns.get(&id)) else {
            return self.blame(Oracle::Tables, format!("{id} is closed, and is not open"));
        };
        let (sound, silent) = (conn.sound, self.silence(node, id));
        let idle = self.patience_with(conn);
        match close {
            Close::Idle => {
                self.node(node).ledger.owe("idle connections", 1);
                let early = silent + UNNOTICED.times(self.losses_since(node, id)) < idle;
                self.demand(Oracle::Idleness, !early, || {
                    format!("{id} is closed for idleness after {silent}")
                });
                self.demand(Oracle::Idleness, !sound, || {
                    format!("{id} is closed for idleness, and its client is well")
                });
            }
            Close::PongOverdue => {
                self.node(node).ledger.owe("overdue pongs", 1);
                self.demand(Oracle::Idleness, !sound, || {
                    format!("{id} is closed for its pong, and its client is well")
                });
            }
            Close::KeyTooLong | Close::KeyReserved => {
                self.node(node).ledger.owe("refused bindings", 1);
            }
            Close::HandshakeOverdue => self.demand(Oracle::Idleness, !sound, || {
                format!("{id} is closed for its handshake, and its client is well")
            }),
            Close::Link(close) => self.on_link_closed(node, id, close),
            Close::Kicked | Close::TooManyConnections | Close::GoingAway => {}
        }
        self.demand(Oracle::Clean, !self.clean || !sound, || {
            format!("{id} is closed ({}), and everything works", close.reason())
        });
        self.closed_by_core(node, id);
    }

    /// A connection that the core closed is written nothing more, but its end is still to be told.
    fn closed_by_core(&mut self, node: u32, id: ConnId) {
        let key = {
            let conn = self.conn(node, id);
            conn.owed = conn.answers;
            conn.pings_owed = conn.pongs;
            let key = conn.key.filter(|_| conn.bound);
            (conn.bound, conn.key, conn.upgraded, conn.proven) = (false, None, false, 0);
            conn.sent.clear();
            conn.link = None;
            conn.pings.clear();
            conn.drains.clear();
            key
        };
        self.conn(node, id).closing = true;
        let Some(key) = key else { return };
        self.device_unbound(node, id, key);
        if self.live(node, key).next().is_none() {
            self.node(node).abandoned.push(key);
        }
    }

    /// How long an upgraded connection may be silent.
    fn patience_with(&self, conn: &Conn) -> Span {
        let heartbeat = self.config.link_heartbeat;
        if conn.link.is_some() { heartbeat.times(MISSED) } else { self.config.idle_timeout }
    }

    fn silence(&self, node: u32, id: ConnId) -> Span {
        self.now.elapsed - self.nodes[node as usize].conns[&id].heard_at
    }

    fn losses_since(&self, node: u32, id: ConnId) -> u64 {
        let node = &self.nodes[node as usize];
        u64::from(node.losses - node.conns[&id].losses)
    }

    /// Every silent connection is closed in time, as far as the process has not lost time since.
    pub(super) fn overlooks_nobody(&mut self, node: u32) {
        let elapsed = self.now.elapsed;
        let (idle, handshake) = (self.config.idle_timeout, self.config.handshake_timeout);
        let link = self.config.link_heartbeat.times(MISSED);
        let state = self.node(node);
        if elapsed < state.looks_at {
            return;
        }
        state.looks_at = elapsed + LOOK;
        let found = state.conns.iter().find(|(_, conn)| {
            let lost =
                (state.lost - conn.lost) + UNNOTICED.times(u64::from(state.losses - conn.losses));
            let patience = if conn.link.is_some() {
                link
            } else if conn.upgraded {
                idle
            } else {
                idle.max(handshake)
            };
            !conn.closing && elapsed - conn.heard_at > patience + lost + SLACK
        });
        if let Some(id) = found.map(|(id, _)| *id) {
            let silent = self.silence(node, id);
            self.blame(Oracle::Idleness, format!("{id} is silent for {silent} and still open"));
        }
    }

    pub(super) fn on_ping(&mut self, node: u32, id: ConnId, counter: u64) {
        let Some(conn) = self.node(node).conns.get_mut(&id) else {
            return self.blame(Oracle::Tables, format!("{id} is pinged, and is not open"));
        };
        let mark = conn.sent.len();
        conn.pings.insert(counter, mark);
    }

    pub(super) fn on_pong_sent(&mut self, node: u32, id: ConnId) {
        let Some(conn) = self.node(node).conns.get_mut(&id) else {
            return self.blame(Oracle::Tables, format!("{id} is ponged, and is not open"));
        };
        conn.pongs += 1;
        let many = conn.pongs > conn.pings_owed;
        self.demand(Oracle::Heartbeat, !many, || format!("{id} has more pongs than it sent pings"));
    }

    /// No cross-talk, the order of acceptance, and no more than a window.
    pub(super) fn on_send(&mut self, node: u32, id: ConnId, payload: &Bytes) {
        let Some(conn) = self.node(node).conns.get_mut(&id).filter(|conn| !conn.closing) else {
            return self.blame(Oracle::Tables, format!("{id} is written to, and is not open"));
        };
        if conn.link.is_some() {
            return self.on_frame_sent(node, id, payload);
        }
        let bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        match Push::serial_of(payload) {
            Some(serial) => self.on_message(node, id, serial, bytes),
            None => self.on_answer_sent(node, id),
        }
    }

    /// The answer to a heartbeat is written.
    pub(super) fn on_answer_sent(&mut self, node: u32, id: ConnId) {
        let conn = self.conn(node, id);
        conn.answers += 1;
        let many = conn.answers > conn.owed;
        self.demand(Oracle::Heartbeat, !many, || format!("{id} has too many answers"));
    }

    /// A message of so many bytes is written.
    pub(super) fn on_message(&mut self, node: u32, id: ConnId, serial: u32, bytes: u32) {
        let conn = self.conn(node, id);
        let key = conn.key.filter(|_| conn.bound);
        let Some(content) = self.contents.get(&serial) else {
            return self.blame(Oracle::CrossTalk, format!("{id} is written #{serial}: no push"));
        };
        let meant = content.key;
        self.demand(Oracle::CrossTalk, key == Some(meant), || {
            format!("{id} of key {key:?} is written #{serial}, which is for key {meant}")
        });
        self.judge_order(node, id, serial);
        let batch = self.batches;
        self.conn(node, id).sent.push((serial, bytes));
        self.judge_window(node, id);
        let content = self.contents.get_mut(&serial).expect("it was pushed");
        content.sent += 1;
        content.in_window.get_or_insert(batch);
        let done = content.ids.len() == 1 && content.removed > 0;
        self.demand(Oracle::Confirmation, self.shared || !done, || {
            format!("#{serial} is written to {id} after it was confirmed")
        });
    }

    /// Whose push a payload was and as the how-manieth of all, if it must come in that order. With
    /// several receivers, what one left unconfirmed comes to the others late; what was pushed twice
    /// has two places; and what is to be a dead letter waits again, behind what is newer, when the
    /// gateway dies before the store has made it one.
    pub(super) fn place(&self, content: &Content) -> Option<((u32, PusherId), u64)> {
        let failed = content.ids.iter().any(|id| self.messages[id].failed);
        let again = content.ids.len() != 1 || content.requeued || content.set_aside || failed;
        let ordered = self.config.bind != BindPolicy::All && !again;
        content.pusher.filter(|_| ordered).map(|pusher| (pusher, content.order))
    }

    /// Per back end in the order of acceptance.
    fn judge_order(&mut self, node: u32, id: ConnId, serial: u32) {
        let Some((pusher, order)) = self.place(&self.contents[&serial]) else { return };
        let conn = self.conn(node, id);
        if conn.sent.iter().any(|(other, _)| *other == serial) {
            return;
        }
        let newest = conn.newest.entry(pusher).or_default();
        let late = *newest > order;
        *newest = order.max(*newest);
        self.demand(Oracle::Order, !late, || {
            format!("{id} is written #{serial} after one that was pushed later")
        });
    }

    fn judge_window(&mut self, node: u32, id: ConnId) {
        let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
        let conn = self.conn(node, id);
        if !conn.alone {
            return;
        }
        let in_flight = &conn.sent[conn.proven..];
        let count = in_flight.len();
        let bytes: u64 = in_flight.iter().map(|(_, bytes)| u64::from(*bytes)).sum();
        self.demand(Oracle::Memory, count <= messages as usize, || {
            format!("{id} has {count} messages in flight, and its window is {messages}")
        });
        self.demand(Oracle::Memory, bytes <= max_bytes || count == 1, || {
            format!("{id} has {bytes} bytes in flight, and its window is {max_bytes}")
        });
    }

    pub(super) fn on_conn_record(&mut self, node: u32, id: ConnId, record: &ConnRecord) {
        if let Some(name) = closing(record) {
            self.node(node).ledger.pay(name, 1);
        }
        match record {
            ConnRecord::Bound { key, others, .. } => {
                let claimed = self.key_index(key);
                let sent = self.node(node).conns.get(&id).and_then(|conn| conn.key);
                self.demand(Oracle::CrossTalk, claimed == sent, || {
                    format!("{id} is bound to {key}, and its first message was key {sent:?}")
                });
                if let Some(key) = claimed {
                    self.on_bound(node, id, key, *others);
                }
            }
            ConnRecord::PongUnsupported { .. } => {
                if let Some(conn) = self.node(node).conns.get_mut(&id) {
                    conn.mute = true;
                }
            }
            ConnRecord::TakenElsewhere { .. } => {
                if let Some(conn) = self.node(node).conns.get_mut(&id) {
                    conn.alone = false;
                }
            }
            ConnRecord::Closed { .. } => self.node(node).ledger.pay("closed connections", 1),
            ConnRecord::Received { .. }
            | ConnRecord::HeartbeatReceived { .. }
            | ConnRecord::HeartbeatAnswered { .. }
            | ConnRecord::BindRefused { .. }
            | ConnRecord::TakenOver { .. }
            | ConnRecord::StandbyTookOver { .. }
            | ConnRecord::IdleTimedOut { .. }
            | ConnRecord::PongOverdue { .. } => {}
            ConnRecord::LogKept { .. } => self.node(node).ledger.pay("kept uploads", 1),
            ConnRecord::LogNotKept { reason, .. } => self.on_unkept(node, id, *reason),
            ConnRecord::Link { record, .. } => self.on_link_record(node, record),
        }
    }

    fn on_bound(&mut self, node: u32, id: ConnId, key: u32, others: u32) {
        let live: Vec<_> = self.live(node, key).map(|(id, _)| *id).collect();
        self.demand(Oracle::Records, live.len() == others as usize, || {
            format!("{id} is bound beside {others}, and there are {}", live.len())
        });
        for other in &live {
            self.conn(node, *other).alone = false;
        }
        let conn = self.conn(node, id);
        conn.bound = true;
        conn.alone = live.is_empty();
        self.device_bound(node, id, key);
    }
}

impl Conn {
    fn new(now: Span, losses: u32, lost: Span) -> Self {
        Self {
            key: None,
            bound: false,
            closing: false,
            upgraded: false,
            sound: false,
            alone: true,
            sent: Vec::new(),
            proven: 0,
            newest: std::collections::BTreeMap::new(),
            pings: std::collections::BTreeMap::new(),
            drains: std::collections::VecDeque::new(),
            mute: false,
            heard_at: now,
            losses,
            lost,
            owed: 0,
            answers: 0,
            pings_owed: 0,
            pongs: 0,
            link: None,
        }
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}
