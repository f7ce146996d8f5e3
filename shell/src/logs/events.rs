//! Records as `tracing` events: a tag operators search for, and fields in a fixed order.
//!
//! Every event has `time` (microseconds since the epoch) and `tag` first, then `connId`, `uid`,
//! `content` where there are such, then the outcome.

use super::line::Short;
use crate::journal::Trouble;
use steadfast_core::command::Close;
use steadfast_core::event::CloseCause;
use steadfast_core::id::{ConnId, Key, PusherId};
use steadfast_core::record::{
    ConnRecord, DeliveryRecord, Dialect, PushRecord, Record, StoreRecord, Totals,
};
use steadfast_core::time::Time;

/// Declares one event; the level has to be that of [`level::of`](super::level::of).
macro_rules! emit {
    ($level:ident $target:ident $time:ident $tag:expr $(, $($fields:tt)+)?) => {
        tracing::event!(
            target: concat!("steadfast::", stringify!($target)),
            tracing::Level::$level,
            time = $time.as_micros(),
            tag = $tag
            $(, $($fields)+)?
        )
    };
}

/// Hands the record to `tracing`.
pub fn emit(time: Time, record: &Record) {
    match record {
        Record::Connection(conn, record) => connection(time, *conn, record),
        Record::Push(pusher, record) => push(time, *pusher, record),
        Record::Delivery(key, record) => delivery(time, key, record),
        Record::Store(_, record) => store(time, record),
        Record::StaleId => emit!(DEBUG gateway time "stale id"),
        Record::Late(late) => emit!(WARN gateway time "late", late_ms = late.as_millis()),
    }
}

/// Hands a trouble of the event loop to `tracing`.
pub fn emit_trouble(time: Time, trouble: &Trouble) {
    match trouble {
        Trouble::AcceptFailed { listener, error } => emit!(ERROR gateway time "accept fail",
            listener = listener.to_string().as_str(), error = error.to_string().as_str()),
    }
}

/// Tells that records were lost before they could be logged.
pub(super) fn dropped(time: Time, count: u64) {
    emit!(ERROR logs time "log drop", count);
}

fn uid(key: Option<&Key>) -> Option<&str> {
    key.map(|key| &**key)
}

fn connection(time: Time, conn: ConnId, record: &ConnRecord) {
    let id = Short::conn(conn);
    let id = id.as_str();
    match record {
        ConnRecord::Received { key, content } => emit!(INFO connection time "recv",
            connId = id, uid = uid(key.as_ref()), content = &content[..]),
        ConnRecord::HeartbeatReceived { key, dialect, content } => {
            let tag = match dialect {
                Dialect::Web => "heartbeat web recv",
                Dialect::Office | Dialect::Device | Dialect::Monitor | Dialect::Other => {
                    "heartbeat client recv"
                }
            };
            emit!(DEBUG connection time tag,
                connId = id, uid = uid(key.as_ref()), content = &content[..]);
        }
        ConnRecord::HeartbeatAnswered { key, dialect, content } => {
            let tag = match dialect {
                Dialect::Web => "heartbeat web send",
                Dialect::Office | Dialect::Device | Dialect::Monitor | Dialect::Other => {
                    "heartbeat client send"
                }
            };
            emit!(DEBUG connection time tag,
                connId = id, uid = uid(key.as_ref()), content = &content[..]);
        }
        ConnRecord::Bound { key, dialect, others } => emit!(INFO connection time "bind",
            connId = id, uid = &**key, dialect = dialect.name(), others),
        ConnRecord::BindRefused { close, bytes } => emit!(WARN connection time "bind refused",
            connId = id, bytes, code = close.code(), reason = close.reason()),
        ConnRecord::TakenOver { key, by, moved } => emit!(INFO connection time "takeover",
            connId = id, uid = &**key, by = Short::conn(*by).as_str(), moved),
        ConnRecord::StandbyTookOver { key, moved } => emit!(INFO connection time "standby",
            connId = id, uid = &**key, moved),
        ConnRecord::IdleTimedOut { key, silent } => emit!(INFO connection time "heartbeat timeout",
            connId = id, uid = uid(key.as_ref()), silent_ms = silent.as_millis()),
        ConnRecord::PongOverdue { key, unconfirmed } => emit!(INFO connection time "pong timeout",
            connId = id, uid = uid(key.as_ref()), unconfirmed),
        ConnRecord::PongUnsupported { key } => emit!(INFO connection time "no pong",
            connId = id, uid = &**key),
        ConnRecord::Closed { key, cause, close, totals } => {
            closed(time, id, key.as_ref(), cause, *close, totals);
        }
    }
}

fn closed(
    time: Time,
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
        (None, CloseCause::Commanded) => (None, "closed by the gateway"),
    };
    emit!(INFO connection time "close",
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

fn push(time: Time, pusher: PusherId, record: &PushRecord) {
    let name = Short::pusher(pusher);
    let conn = name.as_str();
    match record {
        PushRecord::Prepared { key, id, content } => emit!(INFO push time "push prepare",
            connId = conn, uid = &**key, content = &content[..],
            id = Short::message(*id).as_str()),
        PushRecord::Ok { key, id } => emit!(INFO push time "push ok",
            connId = conn, uid = &**key, id = Short::message(*id).as_str()),
        PushRecord::Missed { key, id, similar } => {
            let hint = similar.as_ref().map(|_| "a live key is equal as JSON but not as text");
            emit!(INFO push time "push miss",
                connId = conn, uid = &**key, id = Short::message(*id).as_str(), hint,
                similar = uid(similar.as_ref()));
        }
        PushRecord::Queued { key, id } => emit!(INFO push time "push queued",
            connId = conn, uid = &**key, id = Short::message(*id).as_str()),
        PushRecord::Merged { key, id, into } => emit!(INFO push time "push merged",
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            into = Short::message(*into).as_str()),
        PushRecord::Duplicate { key, id, first } => emit!(INFO push time "push duplicate",
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            first = Short::message(*first).as_str()),
        PushRecord::Failed { key, id, reason } => emit!(ERROR push time "push send exception",
            connId = conn, uid = &**key, id = Short::message(*id).as_str(),
            reason = reason.text()),
        PushRecord::Refused { reason, content } => emit!(WARN push time "push refused",
            connId = conn, content = &content[..], reason = reason.text()),
        PushRecord::Unfinished { bytes } => emit!(WARN push time "push unfinished",
            connId = conn, bytes,
            hint = "the line did not end with a newline and was discarded"),
        PushRecord::Paused { unanswered } => emit!(WARN push time "push pause",
            connId = conn, unanswered),
        PushRecord::Resumed => emit!(INFO push time "push resume", connId = conn),
    }
}

fn delivery(time: Time, key: &Key, record: &DeliveryRecord) {
    let uid = &**key;
    match record {
        DeliveryRecord::Written { id, conn, tries } => emit!(INFO delivery time "retry ok",
            connId = Short::conn(*conn).as_str(), uid, id = Short::message(*id).as_str(), tries),
        DeliveryRecord::Confirmed { conn, first, last, count } => {
            emit!(DEBUG delivery time "confirm",
                connId = Short::conn(*conn).as_str(), uid, first = Short::message(*first).as_str(),
                last = Short::message(*last).as_str(), count);
        }
        DeliveryRecord::TryFailed { id, tries } => emit!(WARN delivery time "retry fail",
            uid, id = Short::message(*id).as_str(), tries),
        DeliveryRecord::Died { id, reason } => emit!(WARN delivery time "retry drop",
            uid, id = Short::message(*id).as_str(), reason = reason.name()),
        DeliveryRecord::Withdrawn { count } => {
            emit!(INFO delivery time "dead withdrawn", uid, count);
        }
        DeliveryRecord::Forgotten { id } => emit!(WARN delivery time "forgotten",
            uid, id = Short::message(*id).as_str()),
        DeliveryRecord::RemovalsBehind { count } => {
            emit!(WARN delivery time "remove backlog", uid, count);
        }
    }
}

fn store(time: Time, record: &StoreRecord) {
    match record {
        StoreRecord::Failed { kind, key, error } => emit!(ERROR store time "store fail",
            uid = uid(key.as_ref()), op = *kind, error = error.as_str()),
        StoreRecord::TimedOut { kind, key } => emit!(ERROR store time "store timeout",
            uid = uid(key.as_ref()), op = *kind),
        StoreRecord::Retried { kind, key, attempt } => emit!(WARN store time "store retry",
            uid = uid(key.as_ref()), op = *kind, attempt),
        StoreRecord::DeadDropped { count } => emit!(WARN store time "dead drop", count),
    }
}
