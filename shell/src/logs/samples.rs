//! One record of every kind, for tests: with its tag and what follows the tag in a line of text.

use bytes::Bytes;
use steadfast_core::command::{Close, FailReason};
use steadfast_core::event::CloseCause;
use steadfast_core::id::{ConnId, Key, MessageId, OpId, PusherId};
use steadfast_core::record::{
    ConnRecord, DeathReason, DeliveryRecord, Dialect, LinkRecord, LogFailure, PushRecord, Record,
    SessionOrigin, StoreRecord, Totals,
};
use steadfast_core::time::Span;

/// A record, its tag, and the rest of its line.
pub(super) type Sample = (Record, &'static str, &'static str);

pub(super) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    samples.extend(connections());
    samples.extend(links());
    samples.extend(devices());
    samples.extend(closes());
    samples.extend(pushes());
    samples.extend(deliveries());
    samples.extend(stores());
    samples
}

fn key() -> Key {
    Key::new("5")
}

fn message(counter: u64) -> MessageId {
    MessageId { incarnation: 1, counter }
}

fn content(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn conn(record: ConnRecord) -> Record {
    Record::Connection(ConnId { slot: 3, generation: 1 }, record)
}

fn push(record: PushRecord) -> Record {
    Record::Push(PusherId { slot: 0, generation: 2 }, record)
}

fn delivery(record: DeliveryRecord) -> Record {
    Record::Delivery(key(), record)
}

fn connections() -> Vec<Sample> {
    let by = ConnId { slot: 4, generation: 0 };
    let beat = |dialect, text| ConnRecord::HeartbeatReceived {
        key: Some(key()),
        dialect,
        content: content(text),
    };
    let answer = |dialect, text| ConnRecord::HeartbeatAnswered {
        key: None,
        dialect,
        content: content(text),
    };
    let bound = ConnRecord::Bound { key: key(), dialect: Dialect::Web, others: 1 };
    vec![
        (
            conn(ConnRecord::Received { key: Some(key()), content: content("a b") }),
            "recv",
            " connId=c3.1 uid=5 content=a b",
        ),
        (conn(beat(Dialect::Web, "5")), "heartbeat web recv", " connId=c3.1 uid=5 content=5"),
        (
            conn(beat(Dialect::Office, "{}")),
            "heartbeat client recv",
            " connId=c3.1 uid=5 content={}",
        ),
        (
            conn(answer(Dialect::Web, "biubiubiu")),
            "heartbeat web send",
            " connId=c3.1 content=biubiubiu",
        ),
        (conn(answer(Dialect::Monitor, "{}")), "heartbeat client send", " connId=c3.1 content={}"),
        (conn(bound), "bind", " connId=c3.1 uid=5 dialect=web others=1"),
        (
            conn(ConnRecord::BindRefused { close: Close::KeyTooLong, bytes: 5_000 }),
            "bind refused",
            " connId=c3.1 bytes=5000 code=1009 reason=\"key too long\"",
        ),
        (
            conn(ConnRecord::TakenOver { key: key(), by, moved: 2 }),
            "takeover",
            " connId=c3.1 uid=5 by=c4.0 moved=2",
        ),
        (
            conn(ConnRecord::StandbyTookOver { key: key(), moved: 2 }),
            "standby",
            " connId=c3.1 uid=5 moved=2",
        ),
        (
            conn(ConnRecord::TakenElsewhere { key: key() }),
            "takeover elsewhere",
            " connId=c3.1 uid=5",
        ),
        (
            conn(ConnRecord::IdleTimedOut { key: Some(key()), silent: Span::from_secs(12) }),
            "heartbeat timeout",
            " connId=c3.1 uid=5 silent_ms=12000",
        ),
        (
            conn(ConnRecord::PongOverdue { key: Some(key()), unconfirmed: 3 }),
            "pong timeout",
            " connId=c3.1 uid=5 unconfirmed=3",
        ),
        (conn(ConnRecord::PongUnsupported { key: key() }), "no pong", " connId=c3.1 uid=5"),
    ]
}

fn links() -> Vec<Sample> {
    let link = |record| conn(ConnRecord::Link { key: Some(key()), record });
    let (session, origin) = ("5e".into(), SessionOrigin::Resumed);
    vec![
        (
            link(LinkRecord::Welcomed { session, origin, missed: 2 }),
            "session",
            " connId=c3.1 uid=5 session=5e origin=resumed missed=2",
        ),
        (link(LinkRecord::OpsStored { applied: 7 }), "op", " connId=c3.1 uid=5 applied=7"),
        (
            link(LinkRecord::AckOverdue { unconfirmed: 3 }),
            "ack timeout",
            " connId=c3.1 uid=5 unconfirmed=3",
        ),
        (
            link(LinkRecord::AckStray { id: "1-9".into() }),
            "ack stray",
            " connId=c3.1 uid=5 content=1-9",
        ),
        (
            link(LinkRecord::BadFrame { reason: "not a JSON object", content: content("7") }),
            "bad frame",
            " connId=c3.1 uid=5 content=7 reason=\"not a JSON object\"",
        ),
    ]
}

fn devices() -> Vec<Sample> {
    vec![
        (
            conn(ConnRecord::LogKept { key: key(), bytes: 9 }),
            "device log",
            " connId=c3.1 uid=5 bytes=9",
        ),
        (
            conn(ConnRecord::LogNotKept {
                key: key(),
                content: content("[1]"),
                reason: LogFailure::NotStored,
            }),
            "device log fail",
            " connId=c3.1 uid=5 content=[1] reason=\"not stored\"",
        ),
    ]
}

fn closes() -> Vec<Sample> {
    let totals = Box::new(Totals {
        duration: Span::from_millis(1_500),
        messages_in: 1,
        bytes_in: 2,
        messages_out: 3,
        bytes_out: 4,
    });
    let closed = |cause, close| {
        conn(ConnRecord::Closed { key: Some(key()), cause, close, totals: totals.clone() })
    };
    let reason = "bad opcode".to_owned();
    vec![
        (
            closed(CloseCause::Commanded, Some(Close::Idle)),
            "close",
            " connId=c3.1 uid=5 duration_ms=1500 messages_in=1 bytes_in=2 messages_out=3 \
             bytes_out=4 code=1001 reason=idle",
        ),
        (
            closed(CloseCause::Eof, None),
            "close",
            " connId=c3.1 uid=5 duration_ms=1500 messages_in=1 bytes_in=2 messages_out=3 \
             bytes_out=4 reason=\"ended without a close frame\"",
        ),
        (
            closed(CloseCause::ProtocolError { code: 1002, reason }, None),
            "close",
            " connId=c3.1 uid=5 duration_ms=1500 messages_in=1 bytes_in=2 messages_out=3 \
             bytes_out=4 code=1002 reason=\"bad opcode\"",
        ),
        (
            closed(CloseCause::PeerClosed(Some(1000)), None),
            "close",
            " connId=c3.1 uid=5 duration_ms=1500 messages_in=1 bytes_in=2 messages_out=3 \
             bytes_out=4 code=1000 reason=\"closed by the client\"",
        ),
    ]
}

fn pushes() -> Vec<Sample> {
    let (key, id) = (key(), message(7));
    let missed = |similar| PushRecord::Missed { key: Key::new("5"), id, similar };
    vec![
        (
            push(PushRecord::Prepared { key: key.clone(), id, content: content("{\"uid\":5}") }),
            "push prepare",
            " connId=p0.2 uid=5 content={\"uid\":5} id=1-7",
        ),
        (push(PushRecord::Ok { key: key.clone(), id }), "push ok", " connId=p0.2 uid=5 id=1-7"),
        (push(missed(None)), "push miss", " connId=p0.2 uid=5 id=1-7"),
        (
            push(missed(Some(Key::new("{\"a\": 1}")))),
            "push miss",
            " connId=p0.2 uid=5 id=1-7 hint=\"a live key is equal as JSON but not as text\" \
             similar={\"a\": 1}",
        ),
        (
            push(PushRecord::Queued { key: key.clone(), id }),
            "push queued",
            " connId=p0.2 uid=5 id=1-7",
        ),
        (
            push(PushRecord::Merged { key: key.clone(), id, into: message(6) }),
            "push merged",
            " connId=p0.2 uid=5 id=1-7 into=1-6",
        ),
        (
            push(PushRecord::Duplicate { key: key.clone(), id, first: message(6) }),
            "push duplicate",
            " connId=p0.2 uid=5 id=1-7 first=1-6",
        ),
        (
            push(PushRecord::Failed { key, id, reason: FailReason::NotStored }),
            "push send exception",
            " connId=p0.2 uid=5 id=1-7 reason=\"not stored\"",
        ),
        (
            push(PushRecord::Refused {
                reason: FailReason::NotAnObject,
                content: Bytes::from_static(b"x\xFF"),
            }),
            "push refused",
            " connId=p0.2 content=x\\xFF reason=\"not a JSON object\"",
        ),
        (
            push(PushRecord::Unfinished { bytes: 9 }),
            "push unfinished",
            " connId=p0.2 bytes=9 hint=\"the line did not end with a newline and was discarded\"",
        ),
        (
            push(PushRecord::Paused { unanswered: 10_000 }),
            "push pause",
            " connId=p0.2 unanswered=10000",
        ),
        (push(PushRecord::Resumed), "push resume", " connId=p0.2"),
    ]
}

fn deliveries() -> Vec<Sample> {
    let (id, conn) = (message(7), ConnId { slot: 3, generation: 1 });
    vec![
        (
            delivery(DeliveryRecord::Written { id, conn, tries: 1 }),
            "retry ok",
            " connId=c3.1 uid=5 id=1-7 tries=1",
        ),
        (
            delivery(DeliveryRecord::Confirmed { conn, first: id, last: message(9), count: 3 }),
            "confirm",
            " connId=c3.1 uid=5 first=1-7 last=1-9 count=3",
        ),
        (
            delivery(DeliveryRecord::TryFailed { id, tries: 2 }),
            "retry fail",
            " uid=5 id=1-7 tries=2",
        ),
        (
            delivery(DeliveryRecord::Died { id, reason: DeathReason::Ttl }),
            "retry drop",
            " uid=5 id=1-7 reason=ttl",
        ),
        (delivery(DeliveryRecord::Withdrawn { count: 1 }), "dead withdrawn", " uid=5 count=1"),
        (delivery(DeliveryRecord::Forgotten { id }), "forgotten", " uid=5 id=1-7"),
        (delivery(DeliveryRecord::Requeued { id }), "dead requeue", " uid=5 id=1-7"),
        (delivery(DeliveryRecord::Purged { id }), "queue purge", " uid=5 id=1-7"),
        (
            delivery(DeliveryRecord::RemovalsBehind { count: 10_000 }),
            "remove backlog",
            " uid=5 count=10000",
        ),
    ]
}

fn stores() -> Vec<Sample> {
    let store = |record| Record::Store(OpId { slot: 1, generation: 1 }, record);
    let (kind, error) = ("append", "disk full".to_owned());
    vec![
        (
            store(StoreRecord::Failed { kind, key: Some(key()), error }),
            "store fail",
            " uid=5 op=append error=\"disk full\"",
        ),
        (
            store(StoreRecord::TimedOut { kind, key: Some(key()) }),
            "store timeout",
            " uid=5 op=append",
        ),
        (
            store(StoreRecord::Retried { kind: "load", key: None, attempt: 2 }),
            "store retry",
            " op=load attempt=2",
        ),
        (store(StoreRecord::DeadDropped { count: 5 }), "dead drop", " count=5"),
        (store(StoreRecord::DeadPurged { count: 5 }), "dead purge", " count=5"),
        (store(StoreRecord::DeviceLogTaken { count: 5 }), "device log taken", " count=5"),
        (store(StoreRecord::LeaseLost), "lease lost", ""),
        (store(StoreRecord::LeaseHeld), "lease held", ""),
        (Record::StaleId, "stale id", ""),
        (Record::Late(Span::from_millis(1_500)), "stall", " late_ms=1500"),
    ]
}
