//! Events and commands as lines for people: the form of snapshots, replays and failure reports.
//!
//! ```text
//!    1.500 > a text "5"
//!          < a text "biubiubiu"
//!          . [heartbeat web send] a
//! ```
//!
//! A line begins with the seconds since the trace began, then `>` for an event, `<` for a command
//! or `.` for a record. Ids are renamed in the order in which they appear: connections `a`, `b`, …,
//! back ends `P1`, …, messages `m1`, …, storage operations `o1`, …. A [verbatim](Trace::verbatim)
//! trace has the ids and times of the log instead.

mod operator;

use crate::command::{Command, FrameKind, Reply};
use crate::event::{CloseCause, ConnEvent, Event, Protocol, PusherEvent};
use crate::id::{ConnId, MessageId, OpId, PusherId};
use crate::record::{ConnRecord, DeliveryRecord, LinkRecord, PushRecord, Record, StoreRecord};
use crate::store::{
    Answer, Appended, ClaimAnswer, ClaimOp, DeviceAnswer, DeviceOp, Manner, Notice, Op, Session,
    SessionOp,
};
use crate::time::Time;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Payloads longer than this many bytes are cut …
const SHOWN_BYTES: usize = 60;
/// … and in a verbatim trace, those longer than this.
const SHOWN_BYTES_VERBATIM: usize = 1_024;

/// A trace being written.
#[derive(Debug, Default)]
pub struct Trace {
    text: String,
    naming: Naming,
    began: Option<Time>,
    last: Option<Time>,
    conns: BTreeMap<ConnId, String>,
    pushers: BTreeMap<PusherId, String>,
    messages: BTreeMap<MessageId, String>,
    ops: BTreeMap<OpId, String>,
    named_ops: u32,
    /// Payloads are shown up to so many bytes, where that is not the usual number.
    shown: Option<usize>,
}

/// What ids and times are shown as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Naming {
    /// Short names in order of appearance, seconds since the trace began.
    #[default]
    Short,
    /// As in the log, so that a trace can be compared with it.
    Verbatim,
}

impl Trace {
    /// An empty trace.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty trace that shows ids and times as the log does, and more of each payload. However
    /// long it gets, it remembers nothing but its text.
    #[must_use]
    pub fn verbatim() -> Self {
        Self { naming: Naming::Verbatim, ..Self::default() }
    }

    /// The same trace, showing payloads up to so many bytes.
    #[must_use]
    pub fn showing(self, bytes: usize) -> Self {
        Self { shown: Some(bytes), ..self }
    }

    /// Takes out what has been written.
    #[must_use]
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// What has been written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Writes a line of the reader's own.
    pub fn note(&mut self, text: &str) {
        let _ = writeln!(self.text, "# {text}");
    }

    /// Writes one event.
    pub fn event(&mut self, now: Time, event: &Event) {
        let began = *self.began.get_or_insert(now);
        let shown = match event {
            Event::Connection(id, event) => {
                let (conn, event) = (self.conn(*id), self.conn_event(event));
                format!("{conn} {event}")
            }
            Event::Pusher(id, event) => {
                let (pusher, event) = (self.pusher(*id), self.pusher_event(event));
                format!("{pusher} {event}")
            }
            Event::Operator(_, asked) => format!("operator {}", self.operator_request(asked)),
            Event::Answered(op, answer) => {
                let answer = self.answer(answer);
                let name = self.ops.remove(op).unwrap_or_else(|| op.to_string());
                format!("store {name} {answer}")
            }
            Event::Noticed(notice) => format!("store told {}", self::notice(notice)),
            Event::DeadlineReached => "deadline".to_owned(),
            Event::ShutdownRequested => "shutdown".to_owned(),
        };
        let at = match self.naming {
            Naming::Verbatim => now.to_string(),
            Naming::Short if self.last == Some(now) => String::new(),
            Naming::Short => {
                let micros = now.since(began).as_micros();
                format!("{}.{:03}", micros / 1_000_000, micros / 1_000 % 1_000)
            }
        };
        self.last = Some(now);
        let width = self.margin();
        let _ = writeln!(self.text, "{at:>width$} > {}", printable(shown));
    }

    /// Writes the commands of one event.
    pub fn commands(&mut self, commands: &[Command]) {
        for command in commands {
            let (sign, shown) = if let Command::Record(record) = command {
                ('.', self.record(record))
            } else {
                ('<', self.command(command))
            };
            let width = self.margin();
            let _ = writeln!(self.text, "{:>width$} {sign} {}", "", printable(shown));
        }
    }

    /// How wide times are.
    fn margin(&self) -> usize {
        match self.naming {
            Naming::Short => 9,
            Naming::Verbatim => 24,
        }
    }

    /// Bytes as quoted text on one line, cut when they are many.
    fn quote(&self, bytes: &[u8]) -> String {
        let usual = match self.naming {
            Naming::Short => SHOWN_BYTES,
            Naming::Verbatim => SHOWN_BYTES_VERBATIM,
        };
        quote(bytes, self.shown.unwrap_or(usual))
    }

    fn conn(&mut self, id: ConnId) -> String {
        if self.naming == Naming::Verbatim {
            return id.to_string();
        }
        let next = self.conns.len();
        let name = self.conns.entry(id).or_insert_with(|| {
            let letter = char::from(b'a' + u8::try_from(next % 26).unwrap_or(0));
            if next < 26 { letter.to_string() } else { format!("{letter}{}", next / 26) }
        });
        name.clone()
    }

    fn pusher(&mut self, id: PusherId) -> String {
        if self.naming == Naming::Verbatim {
            return id.to_string();
        }
        let next = self.pushers.len() + 1;
        self.pushers.entry(id).or_insert_with(|| format!("P{next}")).clone()
    }

    fn message(&mut self, id: MessageId) -> String {
        if self.naming == Naming::Verbatim {
            return id.to_string();
        }
        let next = self.messages.len() + 1;
        self.messages.entry(id).or_insert_with(|| format!("m{next}")).clone()
    }

    fn new_op(&mut self, id: OpId) -> String {
        if self.naming == Naming::Verbatim {
            return id.to_string();
        }
        self.named_ops += 1;
        let name = format!("o{}", self.named_ops);
        self.ops.insert(id, name.clone());
        name
    }

    fn messages(&mut self, ids: &[MessageId]) -> String {
        let names: Vec<_> = ids.iter().map(|id| self.message(*id)).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
    }

    fn conn_event(&mut self, event: &ConnEvent) -> String {
        match event {
            ConnEvent::Accepted => "accepted".to_owned(),
            ConnEvent::Upgraded { target, protocol: Protocol::Legacy } => {
                format!("upgraded {target}")
            }
            ConnEvent::Upgraded { target, protocol: Protocol::Link } => {
                format!("upgraded {target}, link protocol")
            }
            ConnEvent::TextReceived(text) => format!("text {}", self.quote(text.as_bytes())),
            ConnEvent::BinaryReceived(data) => format!("binary {}", self.quote(data)),
            ConnEvent::PingReceived(_) => "ping".to_owned(),
            ConnEvent::PongReceived(Some(counter)) => format!("pong {counter}"),
            ConnEvent::PongReceived(None) => "pong of no ping".to_owned(),
            ConnEvent::Drained => "drained".to_owned(),
            ConnEvent::Closed(cause) => format!("closed ({})", close_cause(cause)),
        }
    }

    fn pusher_event(&self, event: &PusherEvent) -> String {
        match event {
            PusherEvent::Opened => "opened".to_owned(),
            PusherEvent::LineReceived(line) => format!("line {}", self.quote(line)),
            PusherEvent::LineTooLong { bytes } => format!("line too long, {bytes} bytes"),
            PusherEvent::Requested(request) => {
                let id =
                    request.idempotency.as_deref().map_or(String::new(), |id| format!(", id {id}"));
                format!("requests {} to {}{id}", self.quote(request.data.as_bytes()), request.key)
            }
            PusherEvent::Finished { unfinished: 0 } => "finished".to_owned(),
            PusherEvent::Finished { unfinished } => {
                format!("finished, {unfinished} bytes unfinished")
            }
            PusherEvent::Closed => "closed".to_owned(),
        }
    }

    fn command(&mut self, command: &Command) -> String {
        match command {
            Command::Send { conn, kind, payload } => {
                let kind = match kind {
                    FrameKind::Text => "text",
                    FrameKind::Binary => "binary",
                };
                format!("{} {kind} {}", self.conn(*conn), self.quote(payload))
            }
            Command::Ping { conn, counter } => format!("{} ping {counter}", self.conn(*conn)),
            Command::Pong { conn, .. } => format!("{} pong", self.conn(*conn)),
            Command::Answer { answer, .. } => format!("answer {}", self.operator_answer(answer)),
            Command::ReportDrained { conn } => format!("{} report drained", self.conn(*conn)),
            Command::Close { conn, close } => {
                format!("{} close {} {}", self.conn(*conn), close.code(), close.reason())
            }
            Command::Reply { pusher, reply } => {
                let reply = match reply {
                    Reply::Ok(id) => format!("ok {}", self.message(*id)),
                    Reply::Queued(id) => format!("queued {}", self.message(*id)),
                    Reply::Fail(reason) => format!("fail: {}", reason.text()),
                };
                format!("{} reply {reply}", self.pusher(*pusher))
            }
            Command::Pause { pusher } => format!("{} pause", self.pusher(*pusher)),
            Command::Resume { pusher } => format!("{} resume", self.pusher(*pusher)),
            Command::Finish { pusher } => format!("{} finish", self.pusher(*pusher)),
            Command::Store { op, request } => {
                format!("store {} {}", self.new_op(*op), self.op(request))
            }
            Command::Record(record) => self.record(record),
        }
    }

    fn op(&mut self, op: &Op) -> String {
        match op {
            Op::Append(append) => {
                let id = self.message(append.id);
                let merge = if append.merge_within.is_some() { ", may merge" } else { "" };
                format!("append {id} to {}{merge}", append.key)
            }
            Op::Load { key, max_messages, .. } => format!("load {key}, at most {max_messages}"),
            Op::Remove { key, ids } => format!("remove {} of {key}", self.messages(ids)),
            Op::Retry { key, retries, .. } => {
                let began = self.began.unwrap_or_default();
                let shown: Vec<_> = retries
                    .iter()
                    .map(|retry| {
                        let (id, tries) = (self.message(retry.id), retry.tries);
                        let not_before = match self.naming {
                            Naming::Verbatim => retry.not_before.to_string(),
                            Naming::Short => {
                                let millis = retry.not_before.since(began).as_millis();
                                format!("{}.{:03}", millis / 1_000, millis % 1_000)
                            }
                        };
                        format!("{id} (tries {tries}, not before {not_before})")
                    })
                    .collect();
                format!("retry {} of {key}", shown.join(" "))
            }
            Op::Bury { key, ids, reason, .. } => {
                format!("bury {} of {key} ({})", self.messages(ids), reason.name())
            }
            Op::Expire { .. } => "expire".to_owned(),
            Op::Dead(op) => self.dead_op(op),
            Op::Queue(op) => self.queue_op(op),
            Op::Find { key, target, .. } => format!("find {} of {key}", self.target(target)),
            Op::Session(SessionOp::Get { id, .. }) => format!("get session {id}"),
            Op::Session(SessionOp::Put { session, .. }) => {
                let Session { id, key, context, applied, deaths_seen, .. } = session;
                format!(
                    "keep session {id} of {key}: {context}, applied {applied}, deaths {deaths_seen}"
                )
            }
            Op::Device(op) => self.device_op(op),
            Op::Claim(op) => claim_op(op),
        }
    }

    fn device_op(&mut self, op: &DeviceOp) -> String {
        match op {
            DeviceOp::Link { device, conn } => {
                format!("link device {device} to {}", self.conn(*conn))
            }
            DeviceOp::Unlink { device, conn } => {
                format!("unlink device {device} from {}", self.conn(*conn))
            }
            DeviceOp::Log { device, entry, .. } => format!("log of device {device} {entry}"),
            DeviceOp::Read { .. } => "read the device log".to_owned(),
            DeviceOp::Drop { through, .. } => format!("drop the device log through {through}"),
        }
    }

    fn answer(&mut self, answer: &Answer) -> String {
        match answer {
            Answer::Appended(Appended::Stored { evicted, .. }) if evicted.is_empty() => {
                "stored".to_owned()
            }
            Answer::Appended(Appended::Stored { evicted, .. }) => {
                format!("stored, evicted {}", self.messages(evicted))
            }
            Answer::Appended(Appended::Elsewhere { evicted, .. }) if evicted.is_empty() => {
                "stored, served elsewhere".to_owned()
            }
            Answer::Appended(Appended::Elsewhere { evicted, .. }) => {
                format!("stored, served elsewhere, evicted {}", self.messages(evicted))
            }
            Answer::Appended(Appended::Merged { into }) => {
                format!("merged into {}", self.message(*into))
            }
            Answer::Appended(Appended::Duplicate { first, .. }) => {
                format!("duplicate of {}", self.message(*first))
            }
            Answer::Appended(Appended::Conflict) => "conflict".to_owned(),
            Answer::Loaded(loaded) => {
                let ids: Vec<_> = loaded.messages.iter().map(|message| message.id).collect();
                format!("loaded {}", self.messages(&ids))
            }
            Answer::Removed { ids, withdrawn: 0 } => format!("removed {}", self.messages(ids)),
            Answer::Removed { ids, withdrawn } => {
                format!("removed {}, {withdrawn} of them dead letters", self.messages(ids))
            }
            Answer::Retried => "noted".to_owned(),
            Answer::Buried(ids) => format!("buried {}", self.messages(ids)),
            Answer::Expired(expired) => {
                let ids: Vec<_> = expired.iter().map(|expired| expired.cursor.id).collect();
                format!("expired {}", self.messages(&ids))
            }
            Answer::Dead(answer) => self.dead_answer(answer),
            Answer::Queue(answer) => self.queue_answer(answer),
            Answer::Found(found) => self.found(found),
            Answer::Failed(error) => format!("failed: {error}"),
            Answer::SessionKept => "kept".to_owned(),
            Answer::SessionFound(None) => "found no session".to_owned(),
            Answer::SessionFound(Some(session)) => {
                format!("found session {}, applied {}", session.id, session.applied)
            }
            Answer::Device(DeviceAnswer::Kept) => "kept".to_owned(),
            Answer::Device(DeviceAnswer::Full) => "full".to_owned(),
            Answer::Device(DeviceAnswer::Entries(entries)) => format!("{} entries", entries.len()),
            Answer::Device(DeviceAnswer::Dropped(count)) => format!("dropped {count}"),
            Answer::Claim(answer) => claim_answer(answer),
        }
    }

    fn record(&mut self, record: &Record) -> String {
        let tag = record.tag();
        let detail = match record {
            Record::Connection(id, record) => {
                let (conn, detail) = (self.conn(*id), self.conn_record(record));
                format!("{conn}{detail}")
            }
            Record::Push(id, record) => {
                let (pusher, detail) = (self.pusher(*id), self.push_record(record));
                format!("{pusher}{detail}")
            }
            Record::Delivery(key, record) => format!("{key}{}", self.delivery_record(record)),
            Record::Store(_, record) => store_record(record),
            Record::StaleId => "an id named nothing".to_owned(),
            Record::Late(span) => format!("lost {span}"),
        };
        format!("{tag} {detail}")
    }

    fn conn_record(&mut self, record: &ConnRecord) -> String {
        match record {
            ConnRecord::Received { .. }
            | ConnRecord::HeartbeatReceived { .. }
            | ConnRecord::HeartbeatAnswered { .. } => String::new(),
            ConnRecord::Bound { key, dialect, others } => {
                let others =
                    if *others == 0 { String::new() } else { format!(", beside {others}") };
                format!(" to {key} as {}{others}", dialect.name())
            }
            ConnRecord::BindRefused { close, .. } => format!(", {}", close.reason()),
            ConnRecord::TakenOver { by, moved, .. } => {
                format!(" by {}, {moved} moved", self.conn(*by))
            }
            ConnRecord::TakenElsewhere { key } => format!(" {key}"),
            ConnRecord::StandbyTookOver { key, moved } => format!(" serves {key}, {moved} moved"),
            ConnRecord::IdleTimedOut { silent, .. } => format!(", silent for {silent}"),
            ConnRecord::PongOverdue { unconfirmed, .. } => format!(", {unconfirmed} unconfirmed"),
            ConnRecord::PongUnsupported { key } => format!(" of {key}"),
            ConnRecord::Link { record, .. } => link_record(record),
            ConnRecord::LogKept { key, bytes } => format!(" of {key}, {bytes} bytes"),
            ConnRecord::LogNotKept { key, reason, .. } => format!(" of {key}, {}", reason.text()),
            ConnRecord::Closed { totals, .. } => format!(
                " after {}, {} in, {} out",
                totals.duration, totals.messages_in, totals.messages_out
            ),
        }
    }

    fn push_record(&mut self, record: &PushRecord) -> String {
        match record {
            PushRecord::Prepared { key, id, .. }
            | PushRecord::Ok { key, id }
            | PushRecord::Queued { key, id }
            | PushRecord::Missed { key, id, similar: None } => {
                format!(" {} to {key}", self.message(*id))
            }
            PushRecord::Missed { key, id, similar: Some(similar) } => {
                format!(" {} to {key}, but {similar} is live", self.message(*id))
            }
            PushRecord::Merged { id, into, .. } => {
                format!(" {} into {}", self.message(*id), self.message(*into))
            }
            PushRecord::Duplicate { id, first, .. } => {
                format!(" {} of {}", self.message(*id), self.message(*first))
            }
            PushRecord::Failed { key, id, reason } => {
                format!(" {} to {key}: {}", self.message(*id), reason.text())
            }
            PushRecord::Refused { reason, .. } => format!(", {}", reason.text()),
            PushRecord::Unfinished { bytes } => format!(", {bytes} bytes discarded"),
            PushRecord::Paused { unanswered } => format!(", {unanswered} unanswered"),
            PushRecord::Resumed => String::new(),
        }
    }

    fn delivery_record(&mut self, record: &DeliveryRecord) -> String {
        match record {
            DeliveryRecord::Written { id, conn, tries } => {
                let (id, conn) = (self.message(*id), self.conn(*conn));
                let tries = if *tries == 0 { String::new() } else { format!(", tries {tries}") };
                format!(" {id} on {conn}{tries}")
            }
            DeliveryRecord::Confirmed { conn, first, last, count } => {
                let (conn, first) = (self.conn(*conn), self.message(*first));
                if *count == 1 {
                    return format!(" {first} by {conn}");
                }
                format!(" {count} messages, {first} to {}, by {conn}", self.message(*last))
            }
            DeliveryRecord::TryFailed { id, tries } => {
                format!(" {}, tries {tries}", self.message(*id))
            }
            DeliveryRecord::Died { id, reason } => {
                format!(" {}: {}", self.message(*id), reason.name())
            }
            DeliveryRecord::Withdrawn { count } | DeliveryRecord::RemovalsBehind { count } => {
                format!(", {count} messages")
            }
            DeliveryRecord::Forgotten { id }
            | DeliveryRecord::Requeued { id }
            | DeliveryRecord::Purged { id } => format!(" {}", self.message(*id)),
        }
    }
}

fn link_record(record: &LinkRecord) -> String {
    match record {
        LinkRecord::Welcomed { session, origin, missed } => {
            let missed = if *missed == 0 { String::new() } else { format!(", {missed} missed") };
            format!(" {session}, {}{missed}", origin.name())
        }
        LinkRecord::OpsStored { applied } => format!(", up to {applied}"),
        LinkRecord::AckOverdue { unconfirmed } => format!(", {unconfirmed} unconfirmed"),
        LinkRecord::AckStray { id } => format!(", {id}"),
        LinkRecord::BadFrame { reason, .. } => format!(", {reason}"),
    }
}

fn close_cause(cause: &CloseCause) -> String {
    match cause {
        CloseCause::PeerClosed(Some(code)) => format!("by the client, {code}"),
        CloseCause::PeerClosed(None) => "by the client".to_owned(),
        CloseCause::Eof => "end of stream".to_owned(),
        CloseCause::Failed(error) => error.clone(),
        CloseCause::ProtocolError { code, reason } => format!("{code} {reason}"),
        CloseCause::BadUpgrade { status, reason } => format!("HTTP {status} {reason}"),
        CloseCause::Http => "plain HTTP".to_owned(),
        CloseCause::Commanded => "as told".to_owned(),
    }
}

fn claim_op(op: &ClaimOp) -> String {
    match op {
        ClaimOp::Renew { node, now, until } => {
            format!(
                "renew the lease of {}/{} for {}",
                node.name,
                node.incarnation,
                until.since(*now)
            )
        }
        ClaimOp::Claim { key, node, manner: Manner::Take, .. } => {
            format!("claim {key} for {}/{}", node.name, node.incarnation)
        }
        ClaimOp::Claim { key, node, manner: Manner::Keep, .. } => {
            format!("claim {key} for {}/{}, if it is free", node.name, node.incarnation)
        }
        ClaimOp::Release { key, epoch } => format!("release {key}, epoch {epoch}"),
    }
}

fn claim_answer(answer: &ClaimAnswer) -> String {
    match answer {
        ClaimAnswer::Renewed => "renewed".to_owned(),
        ClaimAnswer::Claimed { epoch, previous } => {
            format!("claimed, epoch {epoch} after {previous}")
        }
        ClaimAnswer::Taken => "taken".to_owned(),
        ClaimAnswer::Released(true) => "released".to_owned(),
        ClaimAnswer::Released(false) => "was released or lost before".to_owned(),
    }
}

fn notice(notice: &Notice) -> String {
    match notice {
        Notice::MessageStored(key) => format!("that a message waits for {key}"),
        Notice::KeyTaken { key, epoch } => format!("that {key} is taken, epoch {epoch}"),
        Notice::KeyFreed(key) => format!("that {key} is free"),
        Notice::Missed => "that notices may have been missed".to_owned(),
    }
}

fn store_record(record: &StoreRecord) -> String {
    let on = |key: &Option<crate::id::Key>| {
        key.as_ref().map_or(String::new(), |key| format!(" on {key}"))
    };
    match record {
        StoreRecord::Failed { kind, key, error } => format!("{kind}{}: {error}", on(key)),
        StoreRecord::TimedOut { kind, key } => format!("{kind}{}", on(key)),
        StoreRecord::Retried { kind, key, attempt } => {
            format!("{kind}{}, attempt {attempt}", on(key))
        }
        StoreRecord::DeadDropped { count } | StoreRecord::DeadPurged { count } => {
            format!("{count} dead letters")
        }
        StoreRecord::DeviceLogTaken { count } => format!("{count} entries"),
        StoreRecord::LeaseLost => "no key is served".to_owned(),
        StoreRecord::LeaseHeld => "keys may be served".to_owned(),
    }
}

/// The same on one line, without anything that a terminal would obey: keys and payloads come from
/// outside.
fn printable(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// Bytes as quoted text, cut when there are more than so many.
fn quote(bytes: &[u8], limit: usize) -> String {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(limit)]);
    if bytes.len() > limit {
        return format!("\"{shown}…\" ({} bytes)", bytes.len());
    }
    format!("\"{shown}\"")
}
