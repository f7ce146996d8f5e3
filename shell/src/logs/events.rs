//! Records as `tracing` events: a tag operators search for, and fields in a fixed order.
//!
//! The tag is the record's own ([`Record::tag`]); the level of each event has to be the one that
//! [`level::of`](super::level::of) gives for the record. Every event has `time` (microseconds since
//! the epoch) and `tag` first, then `connId`, `uid`,
//! `content` where there are such, then the outcome.

use super::line::Short;
use crate::journal::Trouble;
use steadfast_core::command::Close;
use steadfast_core::event::CloseCause;
use steadfast_core::id::{ConnId, Key, PusherId};
use steadfast_core::record::{
    ConnRecord, DeliveryRecord, LinkRecord, PushRecord, Record, StoreRecord, Totals,
};
use steadfast_core::time::Time;

/// Declares one event.
macro_rules! emit {
    ($level:ident $target:ident $head:ident $(, $($fields:tt)+)?) => {
        tracing::event!(
            target: concat!("steadfast::", stringify!($target)),
            tracing::Level::$level,
            time = $head.time.as_micros(),
            tag = $head.tag
            $(, $($fields)+)?
        )
    };
}

/// What every event begins with.
#[derive(Clone, Copy)]
struct Head {
    time: Time,
    tag: &'static str,
}

/// Hands the record to `tracing`.
pub fn emit(time: Time, record: &Record) {
    let head = Head { time, tag: record.tag() };
    match record {
        Record::Connection(conn, record) => connection(head, *conn, record),
        Record::Push(pusher, record) => push(head, *pusher, record),
        Record::Delivery(key, record) => delivery(head, key, record),
        Record::Store(_, record) => store(head, record),
        Record::StaleId => emit!(DEBUG gateway head),
        Record::Late(late) => emit!(WARN gateway head, late_ms = late.as_millis()),
    }
}

/// Hands a trouble around the gateway to `tracing`.
pub fn emit_trouble(time: Time, trouble: &Trouble) {
    let head = Head { time, tag: trouble.tag() };
    match trouble {
        Trouble::AcceptFailed { listener, error } => emit!(ERROR gateway head,
            listener = listener.to_string().as_str(), error = error.to_string().as_str()),
        Trouble::RecordingStopped { file, error } => emit!(ERROR gateway head,
            file = file.display().to_string().as_str(), error = error.as_str()),
        Trouble::StoreFailing { why } => emit!(ERROR store head, error = why.as_str()),
        Trouble::StoreWorks { what } => emit!(WARN store head, what = what.as_str()),
        Trouble::StoreDoubtful { why } => emit!(WARN store head, why = why.as_str()),
    }
}

/// Tells that records were lost before they could be logged.
pub(super) fn dropped(time: Time, count: u64) {
    let head = Head { time, tag: "[log drop]" };
    emit!(ERROR logs head, count);
}

fn uid(key: Option<&Key>) -> Option<&str> {
    key.map(|key| &**key)
}

fn connection(head: Head, conn: ConnId, record: &ConnRecord) {
    let id = Short::conn(conn);
    let id = id.as_str();
    match record {
        ConnRecord::Received { key, content } => emit!(INFO connection head,
            connId = id, uid = uid(key.as_ref()), content = &content[..]),
        ConnRecord::HeartbeatReceived { key, content, dialect: _ }
        | ConnRecord::HeartbeatAnswered { key, content, dialect: _ } => {
            emit!(DEBUG connection head,
                connId = id, uid = uid(key.as_ref()), content = &content[..]);
        }
        ConnRecord::Bound { key, dialect, others } => emit!(INFO connection head,
            connId = id, uid = &**key, dialect = dialect.name(), others),
        ConnRecord::BindRefused { close, bytes } => emit!(WARN connection head,
            connId = id, bytes, code = close.code(), reason = close.reason()),
        ConnRecord::TakenOver { key, by, moved } => emit!(INFO connection head,
            connId = id, uid = &**key, by = Short::conn(*by).as_str(), moved),
        ConnRecord::StandbyTookOver { key, moved } => emit!(INFO connection head,
            connId = id, uid = &**key, moved),
        ConnRecord::TakenElsewhere { key } => emit!(INFO connection head,
            connId = id, uid = &**key),
        ConnRecord::IdleTimedOut { key, silent } => emit!(INFO connection head,
            connId = id, uid = uid(key.as_ref()), silent_ms = silent.as_millis()),
        ConnRecord::PongOverdue { key, unconfirmed } => emit!(INFO connection head,
            connId = id, uid = uid(key.as_ref()), unconfirmed),
        ConnRecord::PongUnsupported { key } => emit!(INFO connection head,
            connId = id, uid = &**key),
        ConnRecord::Link { key, record } => link(head, id, key.as_ref(), record),
        ConnRecord::LogKept { key, bytes } => emit!(INFO connection head,
            connId = id, uid = &**key, bytes),
        ConnRecord::LogNotKept { key, content, reason } => emit!(ERROR connection head,
            connId = id, uid = &**key, content = &content[..], reason = reason.text()),
        ConnRecord::Closed { key, cause, close, totals } => {
            closed(head, id, key.as_ref(), cause, *close, totals);
        }
    }
}

fn link(head: Head, id: &str, key: Option<&Key>, record: &LinkRecord) {
    match record {
        LinkRecord::Welcomed { session, origin, missed } => emit!(INFO connection head,
            connId = id, uid = uid(key), session = &**session, origin = origin.name(), missed),
        LinkRecord::OpsStored { applied } => emit!(DEBUG connection head,
            connId = id, uid = uid(key), applied),
        LinkRecord::AckOverdue { unconfirmed } => emit!(INFO connection head,
            connId = id, uid = uid(key), unconfirmed),
        LinkRecord::AckStray { id: message } => emit!(DEBUG connection head,
            connId = id, uid = uid(key), content = message.as_bytes().as_ref()),
        LinkRecord::BadFrame { reason, content } => emit!(WARN connection head,
            connId = id, uid = uid(key), content = &content[..], reason),
    }
}

fn closed(
    head: Head,
    id: &str,
    key: Option<&Key>,
    cause: &CloseCause,
    close: Option<Close>,
    totals: &Totals,
) {
    let (code, reason): (Option<u16>, &str) = match (close, cause) {
        (Some(close), _) => (Some(close.code()), close.reason()),
        (None, CloseCause::PeerClosed(code)) => (*code, "closed by the client"),
        (None, CloseCause::Eof) => (None, "ended without a close frame"),
        (None, CloseCause::Failed(error)) => (None, error),
        (None, CloseCause::ProtocolError { code, reason }) => (Some(*code), reason),
        (None, CloseCause::BadUpgrade { status, reason }) => (Some(*status), reason),
        (None, CloseCause::Http) => (None, "a plain HTTP request"),
        (None, CloseCause::Commanded) => (None, "closed by the gateway"),
    };
    emit!(INFO connection head,
        connId = id,
        uid = uid(key),
        duration_ms = totals.duration.as_millis(),
        messages_in = totals.messages_in,
        bytes_in = totals.bytes_in,
        messages_out = totals.messages_out,
        bytes_out = totals.bytes_out,
        code,
        reason);
}

fn push(head: Head, pusher: PusherId, record: &PushRecord) {
    let name = Short::pusher(pusher);
    let conn = name.as_str();
    match record {
        PushRecord::Prepared { key, id, content } => emit!(INFO push head,
            connId = conn, uid = &**key, content = &content[..],
            id = Short::message(*id).as_str()),
        PushRecord::Ok { key, id } => emit!(INFO push head,
            connId = conn, uid = &**key, id = Short::message(*id).as_str()),
        PushRecord::Missed { key, id, similar } => {
            let hint = similar.as_ref().map(|_| "a live key is equal as JSON but not as text");
            emit!(INFO push head,
                connId = conn, uid = &**key, id = Short::message(*id).as_str(), hint,
                similar = uid(similar.as_ref()));
        }
        PushRecord::Queued { key, id } => emit!(INFO push head,
            connId = conn, uid = &**key, id = Short::message(*id).as_str()),
        PushRecord::Merged { key, id, into } => emit!(INFO push head,
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            into = Short::message(*into).as_str()),
        PushRecord::Duplicate { key, id, first } => emit!(INFO push head,
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            first = Short::message(*first).as_str()),
        PushRecord::Failed { key, id, reason } => emit!(ERROR push head,
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            reason = reason.text()),
        PushRecord::Refused { reason, content } => emit!(WARN push head,
            connId = conn, content = &content[..], reason = reason.text()),
        PushRecord::Unfinished { bytes } => emit!(WARN push head,
            connId = conn, bytes,
            hint = "the line did not end with a newline and was discarded"),
        PushRecord::Paused { unanswered } => emit!(WARN push head,
            connId = conn, unanswered),
        PushRecord::Resumed => emit!(INFO push head, connId = conn),
    }
}

fn delivery(head: Head, key: &Key, record: &DeliveryRecord) {
    let uid = &**key;
    match record {
        DeliveryRecord::Written { id, conn, tries } => emit!(INFO delivery head,
            connId = Short::conn(*conn).as_str(), uid, id = Short::message(*id).as_str(), tries),
        DeliveryRecord::Confirmed { conn, first, last, count } => {
            emit!(DEBUG delivery head,
                connId = Short::conn(*conn).as_str(), uid, first = Short::message(*first).as_str(),
                last = Short::message(*last).as_str(), count);
        }
        DeliveryRecord::TryFailed { id, tries } => emit!(WARN delivery head,
            uid, id = Short::message(*id).as_str(), tries),
        DeliveryRecord::Died { id, reason } => emit!(WARN delivery head,
            uid, id = Short::message(*id).as_str(), reason = reason.name()),
        DeliveryRecord::Withdrawn { count } => {
            emit!(INFO delivery head, uid, count);
        }
        DeliveryRecord::Forgotten { id } => emit!(WARN delivery head,
            uid, id = Short::message(*id).as_str()),
        DeliveryRecord::Requeued { id } => emit!(INFO delivery head,
            uid, id = Short::message(*id).as_str()),
        DeliveryRecord::Purged { id } => emit!(WARN delivery head,
            uid, id = Short::message(*id).as_str()),
        DeliveryRecord::RemovalsBehind { count } => {
            emit!(WARN delivery head, uid, count);
        }
    }
}

fn store(head: Head, record: &StoreRecord) {
    match record {
        StoreRecord::Failed { kind, key, error } => emit!(ERROR store head,
            uid = uid(key.as_ref()), op = *kind, error = error.as_str()),
        StoreRecord::TimedOut { kind, key } => emit!(ERROR store head,
            uid = uid(key.as_ref()), op = *kind),
        StoreRecord::Retried { kind, key, attempt } => emit!(WARN store head,
            uid = uid(key.as_ref()), op = *kind, attempt),
        StoreRecord::DeadDropped { count } | StoreRecord::DeadPurged { count } => {
            emit!(WARN store head, count)
        }
        StoreRecord::DeviceLogTaken { count } => emit!(INFO store head, count),
        StoreRecord::LeaseLost => emit!(ERROR store head),
        StoreRecord::LeaseHeld => emit!(INFO store head),
    }
}
