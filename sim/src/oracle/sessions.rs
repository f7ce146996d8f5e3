//! What is judged of the gateway's half of the link protocol: frames, acknowledgements, sessions.
//!
//! A session's truth is what its client asked for: the contexts after each of its ops, which the
//! judge makes itself. The gateway may be behind that (a crash loses what was not stored), and then the
//! client asks again; it may never be anywhere else.

use super::{Asked, Conn, Judge, Oracle};
use crate::schedule::Push;
use bytes::Bytes;
use bytestring::ByteString;
use serde_json::Value;
use steadfast_core::command::LinkClose;
use steadfast_core::dialect::link::{ClientFrame, GatewayFrame, Hello, Welcome};
use steadfast_core::id::{ConnId, Key, MessageId};
use steadfast_core::record::LinkRecord;
use steadfast_core::store::{Answer, Session, SessionOp};
use steadfast_core::time::Time;

/// A connection of the link protocol.
#[derive(Debug, Default)]
pub(super) struct LinkConn {
    /// The session that its `hello` named.
    asked: Option<ByteString>,
    /// Whether that was certainly kept when the store was asked for it.
    was_there: bool,
    /// The session that it was welcomed with.
    session: Option<ByteString>,
    /// How many messages of its key had died when it came.
    deaths: Option<u64>,
    /// The messages written to it, beside those in `Conn::sent`.
    ids: Vec<MessageId>,
    /// Whether something came on it that is no frame.
    malformed: bool,
}

/// A session as it has to be.
#[derive(Debug)]
pub(super) struct Truth {
    key: Key,
    /// The contexts after so many ops.
    contexts: Vec<Value>,
    /// The last op that is certainly stored.
    stored: u64,
    /// How many deaths its client was told of, and has shown that it was.
    shown: u64,
    /// How many of those are certainly stored.
    shown_stored: u64,
    /// Until when it is certainly kept.
    kept_until: Time,
    /// The connection that has it.
    holder: Option<(u32, ConnId)>,
}

impl Judge {
    /// A frame came on a connection of the link protocol.
    pub(super) fn on_frame(&mut self, node: u32, id: ConnId, text: &ByteString) {
        let Ok(frame) = ClientFrame::parse(text) else { return self.note_malformed(node, id) };
        self.note_shown(node, id);
        let Some(conn) = self.open_link(node, id) else { return };
        match frame {
            ClientFrame::Hello(hello) => self.on_hello(node, id, &hello),
            ClientFrame::Ack { id: message } => self.on_ack(node, id, &message),
            ClientFrame::Heartbeat { .. } | ClientFrame::Ping => conn.owed += 1,
            ClientFrame::Op { n, patch } => self.on_op_frame(node, id, n, &patch),
            ClientFrame::Bye => {}
        }
    }

    /// A connection of the link protocol that the core has not closed.
    fn open_link(&mut self, node: u32, id: ConnId) -> Option<&mut Conn> {
        let conn = self.node(node).conns.get_mut(&id)?;
        (conn.link.is_some() && !conn.closing).then_some(conn)
    }

    fn link_of(&mut self, node: u32, id: ConnId) -> Option<&mut LinkConn> {
        self.open_link(node, id)?.link.as_deref_mut()
    }

    pub(super) fn note_malformed(&mut self, node: u32, id: ConnId) {
        if let Some(link) = self.link_of(node, id) {
            link.malformed = true;
        }
    }

    fn on_hello(&mut self, node: u32, id: ConnId, hello: &Hello<'_>) {
        let key = self.world.keys.iter().position(|key| *key.text == *hello.key);
        let key = key.and_then(|key| u32::try_from(key).ok());
        let asked = hello.session.as_deref().map(ByteString::from);
        let Some(conn) = self.open_link(node, id) else { return };
        conn.key = key;
        conn.link.as_mut().expect("a link").asked = asked;
    }

    /// Whoever sends a frame after `welcome` was told what it says.
    fn note_shown(&mut self, node: u32, id: ConnId) {
        let Some(link) = self.link_of(node, id) else { return };
        let (Some(session), Some(deaths)) = (link.session.clone(), link.deaths) else { return };
        if let Some(truth) = self.sessions.get_mut(&session)
            && truth.holder == Some((node, id))
        {
            truth.shown = truth.shown.max(deaths);
        }
    }

    /// An acknowledgement proves that the application has the message: nothing else does.
    fn on_ack(&mut self, node: u32, id: ConnId, message: &str) {
        let Some(message) = MessageId::parse(message) else { return };
        let Some(conn) = self.open_link(node, id) else { return };
        let proven = conn.proven;
        let link = conn.link.as_mut().expect("a link");
        let Some(place) = link.ids[proven..].iter().position(|other| *other == message) else {
            return;
        };
        link.ids[proven..=proven + place].rotate_right(1);
        conn.sent[proven..=proven + place].rotate_right(1);
        self.prove(node, id, proven + 1);
    }

    /// The next op of a session is one more context.
    fn on_op_frame(&mut self, node: u32, id: ConnId, n: u64, patch: &str) {
        let Some(session) = self.link_of(node, id).and_then(|link| link.session.clone()) else {
            return;
        };
        let (Some(truth), Ok(patch)) =
            (self.sessions.get_mut(&session), serde_json::from_str(patch))
        else {
            return;
        };
        if n == truth.contexts.len() as u64 {
            let mut context = truth.contexts.last().expect("it began with one").clone();
            merge(&mut context, &patch);
            truth.contexts.push(context);
        }
    }

    /// What the core has the store do about sessions.
    pub(super) fn on_session_op(&mut self, node: u32, request: &SessionOp) -> Asked {
        match request {
            SessionOp::Get { id, .. } => {
                let latest = self.latest;
                let truth = self.sessions.get_mut(id);
                let is_there = truth.is_some_and(|truth| {
                    truth.holder = None;
                    truth.kept_until > latest
                });
                if let Some(link) = self.telling.and_then(|id| self.link_of(node, id)) {
                    link.was_there = is_there;
                }
                self.telling.map_or(Asked::Other, Asked::Greeting)
            }
            SessionOp::Put { session, .. } => {
                self.begin_truth(node, session);
                self.judge_kept(session);
                let truth = self.sessions.get_mut(&session.id).expect("it has begun");
                truth.kept_until = truth.kept_until.min(session.expires_at);
                let (told, shown) = (session.deaths_seen, truth.shown);
                self.demand(Oracle::Session, told <= shown, || {
                    format!("{} is kept as told of {told} deaths, and {shown} were", session.id)
                });
                Asked::Keep(Box::new(session.clone()))
            }
        }
    }

    fn begin_truth(&mut self, node: u32, session: &Session) {
        if self.sessions.contains_key(&session.id) {
            return;
        }
        let deaths = self.telling.and_then(|id| self.link_of(node, id)?.deaths);
        let fresh = session.applied == 0 && deaths == Some(session.deaths_seen);
        self.demand(Oracle::Session, fresh, || {
            format!("{} is new, and begins as {session:?}", session.id)
        });
        let truth = Truth {
            key: session.key.clone(),
            contexts: vec![Value::Object(serde_json::Map::new())],
            stored: 0,
            shown: session.deaths_seen,
            shown_stored: 0,
            kept_until: session.expires_at,
            holder: None,
        };
        self.sessions.insert(session.id.clone(), truth);
    }

    /// A session is what its ops made of it, each once and in order.
    pub(super) fn judge_kept(&mut self, session: &Session) {
        let wrong = self.wrong_context(&session.id, session.applied, &session.context);
        let key = self.sessions.get(&session.id).map(|truth| &truth.key);
        let moved = key.is_some_and(|key| *key != session.key);
        self.demand(Oracle::Session, !moved, || {
            format!("{} is kept for {}, and is another key's", session.id, session.key)
        });
        if let Some(text) = wrong {
            self.blame(Oracle::Session, text);
        }
    }

    fn wrong_context(&self, id: &str, applied: u64, context: &str) -> Option<String> {
        let Some(truth) = self.sessions.get(id) else { return Some(format!("{id} never began")) };
        let index = usize::try_from(applied).unwrap_or(usize::MAX);
        let Some(expect) = truth.contexts.get(index) else {
            return Some(format!("{id} has {applied} ops, and so many were never asked for"));
        };
        let same = serde_json::from_str::<Value>(context).is_ok_and(|context| context == *expect);
        (!same).then(|| format!("{id} is {context} after {applied} ops, and not {expect}"))
    }

    /// The store has answered what concerns sessions.
    pub(super) fn on_session_answer(&mut self, node: u32, asked: &Asked, answer: &Answer) {
        if let Asked::Greeting(id) = asked {
            self.telling = Some(*id);
        }
        match (asked, answer) {
            (Asked::Keep(session), Answer::SessionKept) => {
                let truth = self.sessions.get_mut(&session.id).expect("it was asked about");
                truth.stored = truth.stored.max(session.applied);
                truth.shown_stored = truth.shown_stored.max(session.deaths_seen);
                truth.kept_until = session.expires_at;
            }
            (Asked::Greeting(id), Answer::Loaded(loaded)) => {
                if let Some(link) = self.link_of(node, *id) {
                    link.deaths = Some(loaded.deaths);
                }
            }
            _ => {}
        }
    }

    /// A frame is written to a connection of the link protocol.
    pub(super) fn on_frame_sent(&mut self, node: u32, id: ConnId, payload: &Bytes) {
        let text = String::from_utf8_lossy(payload);
        let Ok(frame) = GatewayFrame::parse(&text) else {
            return self.blame(Oracle::Protocol, format!("{id} is written {text}: no frame"));
        };
        let Some(conn) = self.open_link(node, id) else { return };
        let link = conn.link.as_mut().expect("a link");
        let session = link.session.clone();
        match frame {
            GatewayFrame::Welcome(welcome) => self.on_welcome(node, id, &welcome),
            GatewayFrame::Message { id: message, data, tries } => {
                let Some(message) = MessageId::parse(&message).filter(|_| session.is_some()) else {
                    return self.blame(Oracle::Protocol, format!("{id} is written {text}"));
                };
                link.ids.push(message);
                let known = self.messages.get(&message).map(|it| (it.content, it.tries));
                let serial = Push::serial_of(data.as_bytes());
                let holds = known
                    .is_some_and(|(content, failed)| Some(content) == serial && tries <= failed);
                self.demand(Oracle::Protocol, holds, || {
                    format!("{id} is written {text}, and the message is {known:?}")
                });
                let bytes = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.on_message(node, id, serial.unwrap_or(0), bytes);
            }
            GatewayFrame::HeartbeatAck { .. } | GatewayFrame::Pong => self.on_answer_sent(node, id),
            GatewayFrame::OpAck { n } => {
                let truth = session.and_then(|session| self.sessions.get(&session));
                let stored = truth.map_or(0, |truth| truth.stored);
                self.demand(Oracle::Session, n <= stored, || {
                    format!("{id} is told that op {n} is kept, and {stored} are")
                });
            }
            GatewayFrame::Retry { .. } => {
                let stopping = self.node(node).stopping;
                self.demand(Oracle::Protocol, stopping, || format!("{id} is sent away: {text}"));
            }
            GatewayFrame::Error { .. } => {}
        }
    }

    /// A session that is there is resumed, one that is not is new, and losses are told.
    fn on_welcome(&mut self, node: u32, id: ConnId, welcome: &Welcome<'_>) {
        let latest = self.latest;
        let Some(conn) = self.open_link(node, id) else { return };
        let key = conn.key;
        let link = conn.link.as_mut().expect("a link");
        let (asked, deaths) = (link.asked.clone(), link.deaths.unwrap_or(0));
        let was_there = link.was_there;
        let session = ByteString::from(&*welcome.session);
        let again = link.session.replace(session.clone()).is_some();
        let own = key.and_then(|key| self.world.keys.get(key as usize)).map(|key| &key.text);
        let living = asked.as_ref().is_some_and(|asked| {
            let truth = self.sessions.get(asked);
            truth
                .is_some_and(|it| own.is_some_and(|own| **own == *it.key) && it.kept_until > latest)
        });
        let named = asked.as_deref() == Some(&*welcome.session);
        let Some(truth) = self.sessions.get_mut(&session) else {
            return self.blame(Oracle::Session, format!("{id} is given {session}, never kept"));
        };
        truth.holder = Some((node, id));
        let foreign = own.is_none_or(|own| **own != *truth.key);
        let (shown, shown_stored, stored) = (truth.shown, truth.shown_stored, truth.stored);
        let wrong = if again {
            Some("is welcomed twice".to_owned())
        } else if foreign || welcome.resumed != named {
            Some(format!("asks for {asked:?} and is given another's"))
        } else if was_there && living && !welcome.resumed {
            Some(format!("asks for {asked:?}, which is there, and is given a new one"))
        } else if welcome.resumed && welcome.applied < stored {
            Some(format!("has {} ops, and {stored} were kept", welcome.applied))
        } else if !welcome.resumed && welcome.applied > 0 {
            Some("has a new session with ops".to_owned())
        } else if deaths > shown && !welcome.lost {
            Some(format!("is not told of its losses: {deaths}, and {shown} were known"))
        } else if deaths <= shown_stored && welcome.lost {
            Some(format!("is told of losses, and none was since {shown_stored}"))
        } else {
            self.wrong_context(&session, welcome.applied, &welcome.context)
        };
        if let Some(text) = wrong {
            self.blame(Oracle::Session, format!("{id} {text}: {welcome:?}"));
        }
    }

    pub(super) fn on_link_closed(&mut self, node: u32, id: ConnId, close: LinkClose) {
        let Some(conn) = self.node(node).conns.get(&id) else { return };
        let (sound, link) = (conn.sound, conn.link.as_deref());
        let malformed = link.is_none_or(|link| link.malformed);
        match close {
            LinkClose::BadFrame => {
                self.node(node).ledger.owe("bad frames", 1);
                self.demand(Oracle::Protocol, malformed, || {
                    format!("{id} is closed for a bad frame, and sent none")
                });
            }
            LinkClose::AckOverdue => {
                self.node(node).ledger.owe("overdue acks", 1);
                self.demand(Oracle::Idleness, !sound, || {
                    format!("{id} is closed for its ack, and its client is well")
                });
            }
            LinkClose::HelloOverdue => self.demand(Oracle::Idleness, !sound, || {
                format!("{id} is closed for its hello, and its client is well")
            }),
            LinkClose::ContextTooLarge | LinkClose::OpOutOfOrder => {
                self.blame(Oracle::Session, format!("{id} is closed: {close:?}"));
            }
            LinkClose::Bye | LinkClose::SessionUnavailable | LinkClose::SessionMoved => {}
        }
    }

    pub(super) fn on_link_record(&mut self, node: u32, record: &LinkRecord) {
        let ledger = &mut self.node(node).ledger;
        match record {
            LinkRecord::AckOverdue { .. } => ledger.pay("overdue acks", 1),
            LinkRecord::BadFrame { .. } => ledger.pay("bad frames", 1),
            LinkRecord::Welcomed { .. }
            | LinkRecord::OpsStored { .. }
            | LinkRecord::AckStray { .. } => {}
        }
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(members) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let object = target.as_object_mut().expect("it is one now");
    for (name, value) in members {
        if value.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}
