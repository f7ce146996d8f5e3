//! What clients send: upgrades, messages, pings and pongs, and the answers to them.

use super::Gateway;
use crate::command::{Close, Command, FrameKind};
use crate::config::{Detail, WebActivity};
use crate::connection::{Answer, Connection, Phase};
use crate::dialect::inbound::{self, Echo, Message, MonitorMessage, Standing};
use crate::dialect::{self, answer, url};
use crate::event::{CloseCause, ConnEvent, Protocol};
use crate::id::{ConnId, Key};
use crate::record::{ConnRecord, Dialect, Record};
use bytestring::ByteString;

/// At most this many answers wait for a backlog; then all are given at once.
const MAX_HELD_ANSWERS: usize = 16;

impl Gateway {
    pub(super) fn on_connection(&mut self, id: ConnId, event: ConnEvent) {
        if let ConnEvent::Accepted = event {
            return self.on_accepted(id);
        }
        if self.conn(id).is_none() {
            return self.record(Record::StaleId);
        }
        match event {
            ConnEvent::Accepted => {}
            ConnEvent::Upgraded { target, protocol } => self.on_upgraded(id, &target, protocol),
            ConnEvent::TextReceived(text) => self.on_text(id, &text),
            ConnEvent::BinaryReceived(data) => match ByteString::try_from(data.clone()) {
                Ok(text) => self.on_text(id, &text),
                Err(_) => self.on_binary(id, data),
            },
            ConnEvent::PingReceived(payload) => {
                self.heard_frame(id);
                self.on_ping(id, payload);
            }
            ConnEvent::PongReceived(counter) => {
                self.heard_frame(id);
                self.on_pong(id, counter);
            }
            ConnEvent::Drained => self.on_drained(id),
            ConnEvent::Closed(cause) => return self.on_closed(id, cause),
        }
        self.arm(id);
    }

    fn on_accepted(&mut self, id: ConnId) {
        let slot = id.slot as usize;
        if self.conns.len() <= slot {
            self.conns.resize_with(slot + 1, || None);
        }
        assert!(self.conns[slot].is_none(), "the slot of {id} is in use");
        self.conns[slot] = Some(Connection::new(id, self.now, self.patience()));
        self.open_conns += 1;
        if self.running == super::Running::Stopping {
            self.close(id, Close::GoingAway);
        } else if self.open_conns > self.config.max_connections {
            self.close(id, Close::TooManyConnections);
        } else {
            self.arm(id);
        }
    }

    fn on_upgraded(&mut self, id: ConnId, target: &str, protocol: Protocol) {
        let patience = self.patience();
        let conn = self.conn_mut(id).expect("checked by the caller");
        if !matches!(conn.phase, Phase::Opening) {
            return;
        }
        conn.phase = Phase::Unbound;
        conn.heard_at = patience;
        if protocol == Protocol::Link {
            return self.open_link(id);
        }
        if let Some(key) = url::key(target, self.config.url_key) {
            let message = inbound::read(&key, Standing::Unbound, self.config.dialects);
            let dialect = match message {
                Message::Web => Dialect::Web,
                Message::Office(_) => Dialect::Office,
                Message::Device(_) | Message::Monitor(_) | Message::Other => Dialect::Other,
            };
            self.bind_text(id, &ByteString::from(key.as_str()), dialect, None);
        }
    }

    fn on_binary(&mut self, id: ConnId, data: bytes::Bytes) {
        self.heard_message(id, data.len());
        if self.conn(id).is_some_and(|conn| conn.link.is_some()) {
            return self.refuse_frame(id, "a binary message that is not UTF-8", &data);
        }
        let key = self.key_of(id);
        self.record_conn(id, ConnRecord::Received { key, content: data });
    }

    fn on_text(&mut self, id: ConnId, text: &ByteString) {
        self.heard_message(id, text.len());
        if self.conn(id).is_some_and(|conn| conn.link.is_some()) {
            return self.on_link_text(id, text);
        }
        let trimmed = text.slice_ref(dialect::trim(text));
        let conn = self.conn(id).expect("checked by the caller");
        let dialects = self.config.dialects;
        let (message, bound) = match &conn.phase {
            Phase::Opening | Phase::Closing(..) => return,
            _ if trimmed.is_empty() => return,
            Phase::Unbound => (inbound::read(&trimmed, Standing::Unbound, dialects), None),
            Phase::Bound(binding) => {
                let key = &self.registry.get(binding.mailbox).key;
                let standing = match binding.dialect {
                    Dialect::Device => Standing::Device(key),
                    Dialect::Web
                    | Dialect::Office
                    | Dialect::Monitor
                    | Dialect::Other
                    | Dialect::Link => Standing::Bound(key),
                };
                (inbound::read(&trimmed, standing, dialects), Some(key.clone()))
            }
        };
        self.record_received(id, bound.clone(), &message, &trimmed);
        match message {
            Message::Web => self.on_own_key(id, bound, &trimmed, Dialect::Web, Some(answer::web())),
            Message::Office(Echo::Verbatim) => {
                self.on_own_key(id, bound, &trimmed, Dialect::Office, Some(trimmed.clone()));
            }
            Message::Office(Echo::None) => {
                self.on_own_key(id, bound, &trimmed, Dialect::Office, None);
            }
            Message::Device(device) => self.on_device(id, bound.as_ref(), device),
            Message::Monitor(message) => {
                let answer = match message {
                    MonitorMessage::Heartbeat => answer::heartbeat_ack(self.now),
                    MonitorMessage::Ping => answer::pong(self.now),
                };
                self.answer(id, Answer::Text(Dialect::Monitor, answer));
            }
            Message::Other => self.on_own_key(id, bound, &trimmed, Dialect::Other, None),
        }
    }

    /// A message whose text is the key if it is the first one, and its answer.
    fn on_own_key(
        &mut self,
        id: ConnId,
        bound: Option<Key>,
        text: &ByteString,
        dialect: Dialect,
        answer: Option<ByteString>,
    ) {
        match (bound, answer) {
            (None, answer) => self.bind_text(id, text, dialect, answer),
            (Some(_), Some(answer)) => self.answer(id, Answer::Text(dialect, answer)),
            (Some(_), None) => {}
        }
    }

    fn bind_text(
        &mut self,
        id: ConnId,
        text: &ByteString,
        dialect: Dialect,
        answer: Option<ByteString>,
    ) {
        let refusal = if text.len() > self.config.max_key as usize {
            Close::KeyTooLong
        } else if text.starts_with(dialect::RESERVED_PREFIX)
            && self.config.dialects.speaks(Dialect::Device)
        {
            Close::KeyReserved
        } else {
            return self.bind(id, Key::new(text.clone()), dialect, answer);
        };
        let bytes = text.len() as u64;
        self.record_conn(id, ConnRecord::BindRefused { close: refusal, bytes });
        self.close(id, refusal);
    }

    fn record_received(
        &mut self,
        id: ConnId,
        key: Option<Key>,
        message: &Message<'_>,
        text: &ByteString,
    ) {
        let least = match message {
            Message::Other => Detail::Outcomes,
            Message::Web | Message::Office(_) | Message::Device(_) | Message::Monitor(_) => {
                Detail::Everything
            }
        };
        if !self.records(least) {
            return;
        }
        let content = text.as_bytes().clone();
        let dialect = match message {
            Message::Web => Dialect::Web,
            Message::Office(_) => Dialect::Office,
            Message::Monitor(_) => Dialect::Monitor,
            Message::Device(_) => Dialect::Device,
            Message::Other => {
                return self.record_conn(id, ConnRecord::Received { key, content });
            }
        };
        self.record_conn(id, ConnRecord::HeartbeatReceived { key, dialect, content });
    }

    /// Answers a ping, in its turn among the answers to messages.
    fn on_ping(&mut self, id: ConnId, payload: bytes::Bytes) {
        let conn = self.conn(id).expect("checked by the caller");
        if matches!(conn.phase, Phase::Unbound | Phase::Bound(_)) {
            self.answer(id, Answer::Pong(payload));
        }
    }

    /// Answers a client: at once, or after the messages that were waiting at bind and the answers
    /// held back for them.
    pub(super) fn answer(&mut self, id: ConnId, answer: Answer) {
        let conn = self.conn_mut(id).expect("an answer goes to an open connection");
        let Some(backlog) = conn.binding_mut().and_then(|binding| binding.backlog.as_mut()) else {
            return self.send_answer(id, answer);
        };
        backlog.answers.push_back(answer);
        if backlog.answers.len() > MAX_HELD_ANSWERS {
            self.release_answers(id);
        }
    }

    /// Gives all answers that were held back.
    pub(super) fn release_answers(&mut self, id: ConnId) {
        let conn = self.conn_mut(id).expect("answers go to an open connection");
        let Some(backlog) = conn.binding_mut().and_then(|binding| binding.backlog.take()) else {
            return;
        };
        for answer in backlog.answers {
            self.send_answer(id, answer);
        }
    }

    fn send_answer(&mut self, id: ConnId, answer: Answer) {
        let (dialect, content) = match answer {
            Answer::Text(dialect, text) => (dialect, text.into_bytes()),
            Answer::Pong(payload) => return self.emit(Command::Pong { conn: id, payload }),
        };
        self.conn_mut(id).expect("an answer goes to an open connection").count_out(content.len());
        let payload = content.clone();
        self.emit(Command::Send { conn: id, kind: FrameKind::Text, payload });
        if self.records(Detail::Everything) {
            let key = self.key_of(id);
            self.record_conn(id, ConnRecord::HeartbeatAnswered { key, dialect, content });
        }
    }

    /// Notes a message as a sign of life.
    fn heard_message(&mut self, id: ConnId, bytes: usize) {
        let patience = self.patience();
        let conn = self.conn_mut(id).expect("checked by the caller");
        conn.totals.messages_in += 1;
        conn.totals.bytes_in += bytes as u64;
        conn.heard_at = patience;
        conn.idle_pinged = false;
        if let Some(outstanding) = &mut conn.pings.outstanding {
            outstanding.heard = true;
        }
    }

    /// Notes a control frame as a sign of life, where it counts as one.
    fn heard_frame(&mut self, id: ConnId) {
        if self.config.web_activity == WebActivity::Message && self.is_web(id) {
            return;
        }
        let patience = self.patience();
        let conn = self.conn_mut(id).expect("checked by the caller");
        conn.heard_at = patience;
        conn.idle_pinged = false;
    }

    /// Whether the connection's key is all digits, so that only messages keep it open.
    pub(super) fn is_web(&self, id: ConnId) -> bool {
        self.conn(id).and_then(Connection::binding).is_some_and(|binding| binding.digits)
    }

    fn on_closed(&mut self, id: ConnId, cause: CloseCause) {
        let key = self.key_of(id);
        self.unbind(id);
        let mut conn = self.conns[id.slot as usize].take().expect("checked by the caller");
        self.timers.disarm(crate::timers::Owner::Connection(id.slot), &mut conn.armed);
        self.open_conns -= 1;
        conn.totals.duration = self.now.since(conn.opened_at);
        let close = match conn.phase {
            Phase::Closing(close, _) => Some(close),
            Phase::Opening | Phase::Unbound | Phase::Bound(_) => None,
        };
        let totals = Box::new(conn.totals);
        self.record_conn(id, ConnRecord::Closed { key, cause, close, totals });
    }

    /// Ends a connection: what it had is given to others at once, and nothing more comes from it.
    pub(super) fn close(&mut self, id: ConnId, close: Close) {
        let Some(conn) = self.conn(id) else { return };
        if matches!(conn.phase, Phase::Closing(..)) {
            return;
        }
        let key = self.key_of(id);
        self.explain_close(id, close);
        self.emit(Command::Close { conn: id, close });
        self.unbind(id);
        let conn = self.conn_mut(id).expect("it was there");
        conn.phase = Phase::Closing(close, key);
        conn.pings.outstanding = None;
        conn.link = None;
        let mut armed = conn.armed;
        self.timers.disarm(crate::timers::Owner::Connection(id.slot), &mut armed);
        self.conn_mut(id).expect("it was there").armed = armed;
    }
}
