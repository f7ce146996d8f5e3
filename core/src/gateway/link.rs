//! The link protocol: the frames of its clients, and what acknowledgements confirm. What has to do
//! with sessions is in `session`.

use super::Gateway;
use super::confirm::transfer;
use crate::command::{Close, Command, FrameKind, LinkClose};
use crate::config::{BindPolicy, Detail};
use crate::connection::Connection;
use crate::dialect::link::{ClientFrame, GatewayFrame};
use crate::id::{ConnId, MessageId};
use crate::mailbox::Standing;
use crate::record::{ConnRecord, Dialect, LinkRecord};
use crate::session::{Acked, Linked, Stage};
use bytes::Bytes;
use bytestring::ByteString;

/// Before the gateway stops, no client is asked to come back sooner than this.
const FIRST_SLOT_MS: u64 = 1_000;

/// How far a connection has come.
enum Place {
    Silent,
    Greeted,
    Live,
}

impl Gateway {
    /// Makes a connection one of the link protocol.
    pub(super) fn open_link(&mut self, id: ConnId) {
        let hello_by = self.patience().after(self.config.handshake_timeout);
        let conn = self.conn_mut(id).expect("checked by the caller");
        conn.link = Some(Box::new(Linked::new(hello_by)));
    }

    /// A message came on a connection of the link protocol.
    pub(super) fn on_link_text(&mut self, id: ConnId, text: &ByteString) {
        let place = match self.conn(id).and_then(Connection::stage) {
            None => return,
            Some(Stage::Silent) => Place::Silent,
            Some(Stage::Greeting(_) | Stage::Welcoming(..)) => Place::Greeted,
            Some(Stage::Live(_)) => Place::Live,
        };
        let frame = match ClientFrame::parse(text) {
            Ok(frame) => frame,
            Err(wrong) => return self.refuse_frame(id, wrong.0, text.as_bytes()),
        };
        self.record_frame(id, &frame, text);
        match (place, frame) {
            (_, ClientFrame::Bye) => self.close(id, Close::Link(LinkClose::Bye)),
            (Place::Silent, ClientFrame::Hello(hello)) => self.on_hello(id, &hello),
            (Place::Silent, _) => {
                self.refuse_frame(id, "the first frame is not `hello`", text.as_bytes());
            }
            (Place::Greeted | Place::Live, ClientFrame::Hello(_)) => {
                self.refuse_frame(id, "a second `hello`", text.as_bytes());
            }
            (_, ClientFrame::Heartbeat { timestamp }) => {
                self.send_frame(id, &GatewayFrame::HeartbeatAck { timestamp });
            }
            (_, ClientFrame::Ping) => self.send_frame(id, &GatewayFrame::Pong),
            (Place::Greeted, ClientFrame::Ack { .. } | ClientFrame::Op { .. }) => {
                self.refuse_frame(id, "a frame before `welcome`", text.as_bytes());
            }
            (Place::Live, ClientFrame::Ack { id: message }) => self.on_ack(id, &message),
            (Place::Live, ClientFrame::Op { n, patch }) => self.on_op(id, n, &patch),
        }
        self.tend_session(id);
    }

    /// Records a frame that came, but no acknowledgement: what that confirms is recorded.
    fn record_frame(&mut self, id: ConnId, frame: &ClientFrame<'_>, text: &ByteString) {
        let heartbeat = match frame {
            ClientFrame::Ack { .. } => return,
            ClientFrame::Heartbeat { .. } | ClientFrame::Ping => true,
            ClientFrame::Hello(_) | ClientFrame::Op { .. } | ClientFrame::Bye => false,
        };
        let (key, content) = (self.key_of(id), text.as_bytes().clone());
        if heartbeat && self.records(Detail::Everything) {
            let dialect = Dialect::Link;
            self.record_conn(id, ConnRecord::HeartbeatReceived { key, dialect, content });
        } else if !heartbeat && self.records(Detail::Outcomes) {
            self.record_conn(id, ConnRecord::Received { key, content });
        }
    }

    /// Ends a connection that sent what is no frame, or not in its place.
    pub(super) fn refuse_frame(&mut self, id: ConnId, reason: &'static str, content: &Bytes) {
        self.record_link(id, LinkRecord::BadFrame { reason, content: content.clone() });
        self.close(id, Close::Link(LinkClose::BadFrame));
    }

    pub(super) fn record_link(&mut self, id: ConnId, record: LinkRecord) {
        let key = self.key_of(id);
        self.record_conn(id, ConnRecord::Link { key, record });
    }

    /// Sends a frame that is no message.
    pub(super) fn send_frame(&mut self, id: ConnId, frame: &GatewayFrame<'_>) {
        let content = Bytes::from(frame.encode());
        self.conn_mut(id).expect("a frame goes to an open connection").count_out(content.len());
        let payload = content.clone();
        self.emit(Command::Send { conn: id, kind: FrameKind::Text, payload });
        let is_answer = matches!(frame, GatewayFrame::HeartbeatAck { .. } | GatewayFrame::Pong);
        if is_answer && self.records(Detail::Everything) {
            let (key, dialect) = (self.key_of(id), Dialect::Link);
            self.record_conn(id, ConnRecord::HeartbeatAnswered { key, dialect, content });
        }
    }

    /// The application of a client has a message.
    fn on_ack(&mut self, id: ConnId, text: &str) {
        let (patience, ack_timeout) = (self.patience(), self.config.ack_timeout);
        let conn = self.conn_mut(id).expect("checked by the caller");
        let in_flight = conn.binding().map_or(0, |binding| binding.bytes_in_flight);
        let link = conn.link.as_mut().expect("checked by the caller");
        let acked = MessageId::parse(text).map_or(Acked::Nothing, |message| {
            link.acked(message, patience, ack_timeout + transfer(in_flight))
        });
        self.acknowledged += u64::from(acked != Acked::Nothing);
        match acked {
            Acked::Nothing => {
                if self.records(Detail::Everything) {
                    self.record_link(id, LinkRecord::AckStray { id: text.into() });
                }
            }
            Acked::Early(number) => self.confirm_early(id, number),
            Acked::Below { mark, bytes } => {
                if let Some(binding) = self.conn_mut(id).and_then(Connection::binding_mut) {
                    binding.bytes_in_flight -= bytes;
                }
                self.confirm(id, mark, 0);
            }
        }
    }

    /// A message is confirmed before older ones are. Where it goes to one connection only, it leaves
    /// the window; where it goes to all, it stays for the others.
    fn confirm_early(&mut self, id: ConnId, number: u64) {
        let Some(slot) = self.conn(id).and_then(Connection::binding).map(|b| b.mailbox) else {
            return;
        };
        let mailbox = self.mailbox(slot);
        let Some(entry) = mailbox.entry_mut(number) else { return };
        if entry.standing != Standing::Ready {
            return;
        }
        if mailbox.policy == BindPolicy::All {
            mailbox.entry_mut(number).expect("it is there").acked = true;
            return;
        }
        let entry = mailbox.take_out(number).expect("it is there");
        let mut ids = self.spare_ids();
        ids.push(entry.id);
        self.promise_kept(slot, &entry);
        self.forget_confirmed(slot, id, ids, entry.payload.len() as u64);
        self.mailbox(slot).pop_void();
        self.pump(slot);
    }

    /// Nothing more is awaited: no `hello` came, or no acknowledgement.
    pub(super) fn on_link_overdue(&mut self, id: ConnId) {
        let conn = self.conn(id).expect("checked by the caller");
        let Some(link) = &conn.link else { return };
        match link.stage {
            Stage::Silent => self.close(id, Close::Link(LinkClose::HelloOverdue)),
            Stage::Greeting(_) | Stage::Welcoming(..) => {}
            Stage::Live(_) => {
                let unconfirmed = link.unacknowledged();
                self.record_link(id, LinkRecord::AckOverdue { unconfirmed });
                self.close(id, Close::Link(LinkClose::AckOverdue));
            }
        }
    }

    /// Tells a client of the link protocol why it is closed next, unless it is plain or there may be
    /// no room for it.
    pub(super) fn explain_close(&mut self, id: ConnId, close: Close) {
        let is_link = self.conn(id).is_some_and(|conn| conn.link.is_some());
        let silent = close == Close::GoingAway || close == Close::Link(LinkClose::Bye);
        if is_link && !silent && !close.is_forced() {
            let (code, reason) = (close.code(), close.reason().into());
            self.send_frame(id, &GatewayFrame::Error { code, reason });
        }
    }

    /// Tells every client of the link protocol when to come back: each at another time.
    pub(super) fn give_slots(&mut self) {
        let rate = u64::from(self.config.reconnect_rate.max(1));
        let mut given = 0;
        for slot in 0..self.conns.len() {
            let Some(conn) = self.conns[slot].as_ref().filter(|conn| conn.stage().is_some()) else {
                continue;
            };
            let after_ms = FIRST_SLOT_MS + given * 1_000 / rate;
            given += 1;
            let id = conn.id;
            self.send_frame(id, &GatewayFrame::Retry { after_ms });
        }
    }
}
