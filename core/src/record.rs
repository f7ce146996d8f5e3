//! What happened, for people: logs, metrics, oracles and snapshots are made from records.
//!
//! Core never logs. Each record carries what a reader of the log line needs: the connection, the
//! key, and the content where there is one.

use crate::command::{Close, FailReason};
use crate::event::CloseCause;
use crate::id::{ConnId, Key, MessageId, OpId, PusherId};
use crate::time::Span;
use bytes::Bytes;
use bytestring::ByteString;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Record {
    /// About a client's connection.
    Connection(ConnId, ConnRecord),
    /// About a push and the back end it came from.
    Push(PusherId, PushRecord),
    /// About a message on its way to a client.
    Delivery(Key, DeliveryRecord),
    /// About the store.
    Store(OpId, StoreRecord),
    /// The caller named something that is no longer there; nothing was done.
    StaleId,
    /// A deadline was served over 1 s late: idle and pong deadlines were extended by this, the time
    /// since the last event. Log: `[stall]`.
    Late(Span),
}

/// A client's dialect, as far as a message or key shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Dialect {
    /// A web page: the key is all digits.
    Web,
    /// An Office add-in: a JSON object with `uid`.
    Office,
    /// A device: a JSON object with `deviceId`.
    Device,
    /// A monitor: JSON heartbeats and pings, never bound.
    Monitor,
    /// Any other text.
    Other,
    /// A client of the link protocol.
    Link,
}

impl Dialect {
    /// The dialect's name in configuration and logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Office => "office",
            Self::Device => "device",
            Self::Monitor => "monitor",
            Self::Other => "other",
            Self::Link => "link",
        }
    }
}

/// What happened on a connection of the link protocol.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum LinkRecord {
    /// The client's `hello` is answered; the connection is bound next. Log: `[session]`.
    Welcomed {
        /// The session it goes on with.
        session: ByteString,
        /// Where that session comes from.
        origin: SessionOrigin,
        /// How many messages of the key died since the session last knew.
        missed: u64,
    },
    /// Ops are applied to the session's context and stored. Log: `[op]`.
    OpsStored {
        /// The last one's number.
        applied: u64,
    },
    /// A message is not acknowledged in time; the connection is closed. Log: `[ack timeout]`.
    AckOverdue {
        /// How many messages are unconfirmed.
        unconfirmed: u32,
    },
    /// An ack names no message that is awaited on the connection. Log: `[ack stray]`.
    AckStray {
        /// The id as it came.
        id: ByteString,
    },
    /// What came is no frame, or not in its place; the connection is closed. Log: `[bad frame]`.
    BadFrame {
        /// What is wrong with it.
        reason: &'static str,
        /// What came.
        content: Bytes,
    },
}

/// Where a session comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SessionOrigin {
    /// It is new; the client asked for none.
    Fresh,
    /// It is the one the client asked for.
    Resumed,
    /// It is new: the one the client asked for is unknown, expired, or another key's.
    Replaced,
}

impl SessionOrigin {
    /// One lower-case word for logs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Resumed => "resumed",
            Self::Replaced => "replaced",
        }
    }
}

impl LinkRecord {
    fn tag(&self) -> &'static str {
        match self {
            Self::Welcomed { .. } => "[session]",
            Self::OpsStored { .. } => "[op]",
            Self::AckOverdue { .. } => "[ack timeout]",
            Self::AckStray { .. } => "[ack stray]",
            Self::BadFrame { .. } => "[bad frame]",
        }
    }
}

/// What happened to one connection.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum ConnRecord {
    /// A message arrived that is no heartbeat. Log: `[recv]`.
    Received {
        /// The connection's key, once it has one.
        key: Option<Key>,
        /// The message.
        content: Bytes,
    },
    /// A heartbeat arrived. Log: `[heartbeat web recv]`, `[heartbeat client recv]`.
    HeartbeatReceived {
        /// The connection's key, once it has one.
        key: Option<Key>,
        /// Which dialect's heartbeat it is.
        dialect: Dialect,
        /// The message.
        content: Bytes,
    },
    /// A heartbeat was answered. Log: `[heartbeat web send]`, `[heartbeat client send]`.
    HeartbeatAnswered {
        /// The connection's key, once it has one.
        key: Option<Key>,
        /// Which dialect's heartbeat it was.
        dialect: Dialect,
        /// The answer.
        content: Bytes,
    },
    /// The connection is bound to a key. Log: `[bind]`.
    Bound {
        /// To which.
        key: Key,
        /// By which dialect.
        dialect: Dialect,
        /// How many older connections of the key are still open.
        others: u32,
    },
    /// The first message cannot be bound; the connection is closed. Log: `[bind refused]`.
    BindRefused {
        /// Why.
        close: Close,
        /// Length of the first message in bytes.
        bytes: u64,
    },
    /// A newer connection took the key over. Log: `[takeover]`.
    TakenOver {
        /// Which key.
        key: Key,
        /// The newer connection.
        by: ConnId,
        /// How many unconfirmed messages were written to the newer one.
        moved: u32,
    },
    /// The newest connection is gone and this older one serves the key again. Log: `[standby]`.
    StandbyTookOver {
        /// Which key.
        key: Key,
        /// How many unconfirmed messages were written to it.
        moved: u32,
    },
    /// A connection on another node took the key over: this one stands by. Log:
    /// `[takeover elsewhere]`.
    TakenElsewhere {
        /// Which key.
        key: Key,
    },
    /// Nothing came for `idle_timeout`; the connection is closed. Log: `[heartbeat timeout]`.
    IdleTimedOut {
        /// The connection's key, once it has one.
        key: Option<Key>,
        /// How long nothing had come.
        silent: Span,
    },
    /// A pong is overdue; the connection is closed. Log: `[pong timeout]`.
    PongOverdue {
        /// The connection's key.
        key: Option<Key>,
        /// How many messages are unconfirmed.
        unconfirmed: u32,
    },
    /// The client never answers pings: from now on its messages count as confirmed when the
    /// socket took them. Log: `[no pong]`.
    PongUnsupported {
        /// The connection's key.
        key: Key,
    },
    /// Something of the link protocol.
    Link {
        /// The connection's key, once it has one.
        key: Option<Key>,
        /// What happened.
        record: LinkRecord,
    },
    /// What a device uploaded is in the device log. Log: `[device log]`.
    LogKept {
        /// The device's key.
        key: Key,
        /// Length of the entry in bytes.
        bytes: u64,
    },
    /// What a device uploaded is not known to be in the device log, and the device is told nothing.
    /// Log: `[device log fail]`.
    LogNotKept {
        /// The device's key.
        key: Key,
        /// The entry.
        content: Bytes,
        /// Why.
        reason: LogFailure,
    },
    /// The connection is gone. Log: `[close]`.
    Closed {
        /// Its key, if it had one.
        key: Option<Key>,
        /// Why, as the caller saw it.
        cause: CloseCause,
        /// The core's own reason, when it closed the connection.
        close: Option<Close>,
        /// What it had carried.
        totals: Box<Totals>,
    },
}

/// Why a device's upload is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LogFailure {
    /// The store has not answered too many earlier ones of the connection.
    TooMany,
    /// The device log holds as much as it may.
    Full,
    /// The store failed or did not answer in time.
    NotStored,
}

impl LogFailure {
    /// One lower-case phrase for logs.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::TooMany => "too many uploads of this connection are unanswered",
            Self::Full => "the device log is full (device_log_limit): drain it, or allow more",
            Self::NotStored => "not stored",
        }
    }
}

/// What one connection carried in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Totals {
    /// How long it lived.
    pub duration: Span,
    /// Messages received.
    pub messages_in: u64,
    /// Bytes of messages received.
    pub bytes_in: u64,
    /// Messages sent, answers included.
    pub messages_out: u64,
    /// Bytes of messages sent, answers included.
    pub bytes_out: u64,
}

/// What happened to one push, or to the back end it came from.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum PushRecord {
    /// A push was read and is about to be carried out. Log: `[push prepare]`.
    Prepared {
        /// To whom.
        key: Key,
        /// The message's name from now on.
        id: MessageId,
        /// What will be written to the client.
        content: Bytes,
    },
    /// Written to a live connection and safe. Log: `[push ok]`.
    Ok {
        /// To whom.
        key: Key,
        /// The message.
        id: MessageId,
    },
    /// No connection is bound to the key. Log: `[push miss]`.
    Missed {
        /// To whom.
        key: Key,
        /// The message.
        id: MessageId,
        /// A live key that is equal as JSON but not as text: the commonest mistake.
        similar: Option<Key>,
    },
    /// Safe, and written later. Log: `[push queued]`.
    Queued {
        /// To whom.
        key: Key,
        /// The message.
        id: MessageId,
    },
    /// Equal to the last waiting message of the key and merged with it. Log: `[push merged]`.
    Merged {
        /// To whom.
        key: Key,
        /// The push's own name, which is not used further.
        id: MessageId,
        /// The message that stands for both.
        into: MessageId,
    },
    /// Its idempotency id was seen before; nothing was stored. Log: `[push duplicate]`.
    Duplicate {
        /// To whom.
        key: Key,
        /// The push's own name, which is not used further.
        id: MessageId,
        /// The message of the first push.
        first: MessageId,
    },
    /// Read, but not promised. Log: `[push send exception]`.
    Failed {
        /// To whom.
        key: Key,
        /// The message.
        id: MessageId,
        /// Why.
        reason: FailReason,
    },
    /// Not understood, so not accepted. Log: `[push refused]`.
    Refused {
        /// Why.
        reason: FailReason,
        /// The line as it came.
        content: Bytes,
    },
    /// The back end ended in the middle of a line: a client that forgets the newline. Log:
    /// `[push unfinished]`.
    Unfinished {
        /// Length of the discarded rest in bytes.
        bytes: u64,
    },
    /// Too many pushes of this back end are unanswered; it is not read for now. Log:
    /// `[push pause]`.
    Paused {
        /// How many are unanswered.
        unanswered: u32,
    },
    /// The back end is read again. Log: `[push resume]`.
    Resumed,
}

/// What happened to messages on their way.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum DeliveryRecord {
    /// A message that had waited was written to a connection. Log: `[retry ok]`.
    Written {
        /// Which message.
        id: MessageId,
        /// To which connection.
        conn: ConnId,
        /// How many tries failed before.
        tries: u32,
    },
    /// Messages were confirmed. Log: `[confirm]`.
    Confirmed {
        /// By which connection.
        conn: ConnId,
        /// The first of them.
        first: MessageId,
        /// The last of them.
        last: MessageId,
        /// How many.
        count: u32,
    },
    /// A written message was not confirmed; it waits for the next connection. Log:
    /// `[retry fail]`.
    TryFailed {
        /// Which message.
        id: MessageId,
        /// How many tries have failed now.
        tries: u32,
    },
    /// A message was set aside. Log: `[retry drop]`.
    Died {
        /// Which message.
        id: MessageId,
        /// Why.
        reason: DeathReason,
    },
    /// A message confirmed after it had been set aside; its dead letter was withdrawn. Log:
    /// `[dead withdrawn]`.
    Withdrawn {
        /// How many messages.
        count: u32,
    },
    /// A message whose push was answered `fail` is no longer kept. Log: `[forgotten]`.
    Forgotten {
        /// Which message.
        id: MessageId,
    },
    /// A dead letter waits again. Log: `[dead requeue]`.
    Requeued {
        /// Which message.
        id: MessageId,
    },
    /// An operator dropped a waiting message. Log: `[queue purge]`.
    Purged {
        /// Which message.
        id: MessageId,
    },
    /// So many confirmed messages await their removal from the store that the key is not written
    /// to for now. Log: `[remove backlog]`.
    RemovalsBehind {
        /// How many.
        count: u32,
    },
}

/// Why a message was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DeathReason {
    /// It was written `retry_max` times and never confirmed.
    Tries,
    /// It waited for longer than its time to live.
    Ttl,
    /// Its mailbox held more than `mailbox_limit` waiting messages.
    Limit,
}

impl DeathReason {
    /// The reason's name in logs and listings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tries => "tries",
            Self::Ttl => "ttl",
            Self::Limit => "limit",
        }
    }
}

/// What happened between core and store.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum StoreRecord {
    /// The operation failed; the text names the error. Log: `[store fail]`.
    Failed {
        /// Which kind of operation.
        kind: &'static str,
        /// The key it was about, if any.
        key: Option<Key>,
        /// What the store said.
        error: String,
    },
    /// No answer came within `store_timeout`. Log: `[store timeout]`.
    TimedOut {
        /// Which kind of operation.
        kind: &'static str,
        /// The key it was about, if any.
        key: Option<Key>,
    },
    /// A failed operation that must succeed is tried again. Log: `[store retry]`.
    Retried {
        /// Which kind of operation.
        kind: &'static str,
        /// The key it was about, if any.
        key: Option<Key>,
        /// The how-manieth time it is tried.
        attempt: u32,
    },
    /// An operator dropped dead letters. Log: `[dead purge]`.
    DeadPurged {
        /// How many.
        count: u64,
    },
    /// Dead letters were dropped because of `dead_keep` or `dead_limit`. Log: `[dead drop]`.
    DeadDropped {
        /// How many.
        count: u64,
    },
    /// Entries of the device log were taken, by whoever drains it. Log: `[device log taken]`.
    DeviceLogTaken {
        /// How many.
        count: u64,
    },
    /// The store could not be reached for a whole lease: nothing is written to connections until it
    /// can, for other nodes may have taken the keys. Log: `[lease lost]`.
    LeaseLost,
    /// The lease holds, for the first time or again. Log: `[lease held]`.
    LeaseHeld,
}

impl Record {
    /// The word in brackets by which operators search for records of this kind.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::Connection(_, record) => record.tag(),
            Self::Push(_, record) => record.tag(),
            Self::Delivery(_, record) => record.tag(),
            Self::Store(_, record) => record.tag(),
            Self::StaleId => "[stale id]",
            Self::Late(_) => "[stall]",
        }
    }
}

impl ConnRecord {
    fn tag(&self) -> &'static str {
        match self {
            Self::Received { .. } => "[recv]",
            Self::HeartbeatReceived { dialect: Dialect::Web, .. } => "[heartbeat web recv]",
            Self::HeartbeatReceived { .. } => "[heartbeat client recv]",
            Self::HeartbeatAnswered { dialect: Dialect::Web, .. } => "[heartbeat web send]",
            Self::HeartbeatAnswered { .. } => "[heartbeat client send]",
            Self::Bound { .. } => "[bind]",
            Self::BindRefused { .. } => "[bind refused]",
            Self::TakenOver { .. } => "[takeover]",
            Self::StandbyTookOver { .. } => "[standby]",
            Self::TakenElsewhere { .. } => "[takeover elsewhere]",
            Self::IdleTimedOut { .. } => "[heartbeat timeout]",
            Self::PongOverdue { .. } => "[pong timeout]",
            Self::PongUnsupported { .. } => "[no pong]",
            Self::Link { record, .. } => record.tag(),
            Self::LogKept { .. } => "[device log]",
            Self::LogNotKept { .. } => "[device log fail]",
            Self::Closed { .. } => "[close]",
        }
    }
}

impl PushRecord {
    fn tag(&self) -> &'static str {
        match self {
            Self::Prepared { .. } => "[push prepare]",
            Self::Ok { .. } => "[push ok]",
            Self::Missed { .. } => "[push miss]",
            Self::Queued { .. } => "[push queued]",
            Self::Merged { .. } => "[push merged]",
            Self::Duplicate { .. } => "[push duplicate]",
            Self::Failed { .. } => "[push send exception]",
            Self::Refused { .. } => "[push refused]",
            Self::Unfinished { .. } => "[push unfinished]",
            Self::Paused { .. } => "[push pause]",
            Self::Resumed => "[push resume]",
        }
    }
}

impl DeliveryRecord {
    fn tag(&self) -> &'static str {
        match self {
            Self::Written { .. } => "[retry ok]",
            Self::Confirmed { .. } => "[confirm]",
            Self::TryFailed { .. } => "[retry fail]",
            Self::Died { .. } => "[retry drop]",
            Self::Withdrawn { .. } => "[dead withdrawn]",
            Self::Forgotten { .. } => "[forgotten]",
            Self::Requeued { .. } => "[dead requeue]",
            Self::Purged { .. } => "[queue purge]",
            Self::RemovalsBehind { .. } => "[remove backlog]",
        }
    }
}

impl StoreRecord {
    fn tag(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "[store fail]",
            Self::TimedOut { .. } => "[store timeout]",
            Self::Retried { .. } => "[store retry]",
            Self::DeadDropped { .. } => "[dead drop]",
            Self::DeadPurged { .. } => "[dead purge]",
            Self::DeviceLogTaken { .. } => "[device log taken]",
            Self::LeaseLost => "[lease lost]",
            Self::LeaseHeld => "[lease held]",
        }
    }
}
