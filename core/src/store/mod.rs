//! Storage as the core sees it: operations out, answers in.
//!
//! The core hands an [`Op`] to its caller with an [`OpId`](crate::id::OpId) and goes on; the answer
//! comes back as an event. Operations that name the same key are carried out and answered in the
//! order they were given; nothing is promised between keys. What every operation means is written once, in
//! [`model::Model`]; every backend is held to it.
//!
//! Times are part of the operations, so that a store needs no clock of its own to be checked.

#[cfg(any(test, feature = "testing"))]
pub mod arbitrary;
#[cfg(any(test, feature = "testing"))]
pub mod judge;
pub mod model;

use crate::id::{ConnId, Key, MessageId};
use crate::record::DeathReason;
use crate::time::{Span, Time};
use bytes::Bytes;
use bytestring::ByteString;

/// One thing for the store to do.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Op {
    /// Keep a message; answered with [`Answer::Appended`]. Idempotent by message id.
    Append(Append),
    /// Read the oldest messages of a mailbox; answered with [`Answer::Loaded`].
    Load {
        /// Whose mailbox.
        key: Key,
        /// At most this many messages.
        max_messages: u32,
        /// No further message once this many payload bytes are read; the first always is.
        max_bytes: u64,
    },
    /// Forget confirmed messages, also those that are dead letters by now; answered with
    /// [`Answer::Removed`]. Ids that are not there are counted, nothing else.
    Remove {
        /// Whose mailbox.
        key: Key,
        /// Which messages.
        ids: Vec<MessageId>,
    },
    /// Note failed tries; answered with [`Answer::Retried`]. Never lowers a message's tries.
    Retry {
        /// Whose mailbox.
        key: Key,
        /// Which messages, and what is known of them now.
        retries: Vec<Retry>,
        /// The epoch of the sender's claim. Nothing is noted when the sender has lost the key.
        epoch: u64,
    },
    /// Turn messages into dead letters; answered with [`Answer::Buried`].
    Bury {
        /// Whose mailbox.
        key: Key,
        /// Which messages. Those that are not waiting are left alone; and for [`DeathReason::Ttl`] those
        /// that do not expire by `at`: since a sweep listed them they were let wait again.
        ids: Vec<MessageId>,
        /// Why.
        reason: DeathReason,
        /// When.
        at: Time,
        /// The epoch of the sender's claim; zero when it has none. Nothing is buried when the sender
        /// has lost the key, or another node has it.
        epoch: u64,
    },
    /// List messages whose time to live is over, oldest expiry first; answered with
    /// [`Answer::Expired`]. Changes nothing: the core buries those that are not being delivered. It
    /// names no key, so answers about the listed ones may have overtaken it.
    Expire {
        /// Messages that expire at this time or before are listed.
        now: Time,
        /// Only those after this place, when a sweep goes on.
        after: Option<ExpiryCursor>,
        /// At most this many.
        limit: u32,
    },
    /// Which node serves a key.
    Claim(ClaimOp),
    /// Dead letters.
    Dead(DeadOp),
    /// Waiting messages as operators see them.
    Queue(QueueOp),
    /// Where a message is; answered with [`Answer::Found`].
    Find {
        /// Whose message.
        key: Key,
        /// Which one.
        target: Target,
        /// The time now; a back end's name whose window ended before it is unknown.
        now: Time,
    },
    /// Sessions of link clients.
    Session(SessionOp),
    /// Devices and their log.
    Device(DeviceOp),
}

/// A message to keep.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Append {
    /// Whose mailbox it joins, at the end.
    pub key: Key,
    /// Its name. Appending an id that waits or is a dead letter changes nothing: its position is
    /// answered again, without the messages it had evicted. A removed id is forgotten.
    pub id: MessageId,
    /// What is written to the client.
    pub payload: Bytes,
    /// When its push was read.
    pub accepted_at: Time,
    /// From when on it may be buried for its age.
    pub expires_at: Time,
    /// What the push will be answered once this is done; kept beside the idempotency id.
    pub promise: Promise,
    /// The back end's own name for the push.
    pub idempotency: Option<Idempotency>,
    /// `Some` when the key has no connection: merge with the last waiting message if its payload is
    /// the same and it was accepted within this span before `accepted_at`.
    pub merge_within: Option<Span>,
    /// How many messages may wait; beyond it the oldest is buried ([`DeathReason::Limit`]).
    pub limit: u32,
    /// The newest message that is being delivered. Messages up to this one do not count as waiting:
    /// they are neither merged with nor buried.
    pub window_end: Option<MessageId>,
    /// So many of the oldest messages may be delivered by the time this is done: a load under way
    /// brings them, or their own appends are under way. They neither count nor are buried.
    pub spare: u32,
    /// The epoch of the sender's claim; zero when it has none. When another node serves the key, the
    /// sender does not know the window: nothing is merged, and the `limit` oldest messages do not
    /// count as waiting, for no window is larger.
    pub epoch: u64,
}

/// What a push is answered once its message is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Promise {
    /// It was or will at once be written to a live connection.
    Ok,
    /// It will be written later.
    Queued,
}

/// A back end's own name for a push.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Idempotency {
    /// The name, unique per key.
    pub name: ByteString,
    /// For how long after `accepted_at` a second push under this name is a duplicate.
    pub window: Span,
}

/// A failed try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Retry {
    /// Of which message.
    pub id: MessageId,
    /// How many tries have failed.
    pub tries: u32,
    /// It is not written again before this time.
    pub not_before: Time,
}

/// A place in the order of expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExpiryCursor {
    /// When the message expires.
    pub expires_at: Time,
    /// Which message.
    pub id: MessageId,
}

/// Operations on which node serves a key. A node's claims hold while its lease does.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum ClaimOp {
    /// Extend the node's lease; answered with [`ClaimAnswer::Renewed`].
    Renew {
        /// Which node.
        node: Node,
        /// The time now.
        now: Time,
        /// Until when the lease holds.
        until: Time,
    },
    /// Take the key, also from another node: the newest claim wins. Answered with
    /// [`ClaimAnswer::Claimed`] or [`ClaimAnswer::Taken`]. Another node that had it is
    /// [told](Notice::KeyTaken).
    Claim {
        /// Which key.
        key: Key,
        /// For which node.
        node: Node,
        /// Whether another node's claim stands in the way.
        manner: Manner,
        /// The time now; a holder whose lease ended before it is no holder.
        now: Time,
    },
    /// Give the key up, if the epoch is still the current one; answered with
    /// [`ClaimAnswer::Released`]. The node that had the key before is [told](Notice::KeyFreed).
    Release {
        /// Which key.
        key: Key,
        /// The epoch that [`ClaimAnswer::Claimed`] gave.
        epoch: u64,
    },
}

/// How a key is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Manner {
    /// From whoever has it.
    Take,
    /// Only if no other node has it. A claim that stands keeps its epoch.
    Keep,
}

/// What the store tells a node without having been asked. Notices may be lost, together with
/// everything else that is told until [`Notice::Missed`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Notice {
    /// Another node has stored a message for a key that this node has, or let dead letters of it
    /// wait again.
    MessageStored(Key),
    /// Another node has claimed a key that this node had.
    KeyTaken {
        /// Which key.
        key: Key,
        /// The other node's epoch.
        epoch: u64,
    },
    /// The node that had taken a key from this one has given it up.
    KeyFreed(Key),
    /// Notices may have been lost.
    Missed,
}

/// One run of one node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Node {
    /// The node's configured name.
    pub name: ByteString,
    /// Which run of it.
    pub incarnation: u32,
}

/// Operations on dead letters.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum DeadOp {
    /// List dead letters in order of death; answered with [`DeadAnswer::Listed`].
    List {
        /// Which ones.
        filter: DeadFilter,
        /// Only those after this one.
        after: Option<DeadCursor>,
        /// At most this many.
        limit: u32,
    },
    /// Let dead letters of one key wait again, at their old places, with no tries charged and their
    /// history kept; answered with [`DeadAnswer::Requeued`].
    Requeue {
        /// Whose.
        key: Key,
        /// Which of them; all of the key when empty.
        ids: Vec<MessageId>,
        /// When they expire now.
        expires_at: Time,
    },
    /// Drop dead letters for good; answered with [`DeadAnswer::Purged`].
    Purge {
        /// Which ones.
        filter: DeadFilter,
        /// At most this many.
        limit: u32,
    },
    /// Drop the oldest dead letters while there are more than `keep`; answered with
    /// [`DeadAnswer::Purged`].
    Trim {
        /// How many may stay.
        keep: u64,
        /// At most this many are dropped at once.
        limit: u32,
    },
}

/// Which dead letters. Every condition that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DeadFilter {
    /// Of this key.
    pub key: Option<Key>,
    /// Dead for this reason.
    pub reason: Option<DeathReason>,
    /// Dead at this time or before.
    pub until: Option<Time>,
    /// This message.
    pub id: Option<MessageId>,
}

/// A place in the order of death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DeadCursor {
    /// When the message died.
    pub at: Time,
    /// Which message.
    pub id: MessageId,
}

/// Operations on waiting messages that serve operators. Whether a message is being delivered is
/// unknown to the store: it waits until it is removed.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum QueueOp {
    /// List the keys for which messages wait, in order of their text; answered with
    /// [`QueueAnswer::Keys`].
    Keys {
        /// Only keys that begin with this text.
        prefix: ByteString,
        /// Only those after this one.
        after: Option<Key>,
        /// At most this many.
        limit: u32,
    },
    /// List the messages that wait for a key, in order of position; answered with
    /// [`QueueAnswer::Messages`].
    Messages {
        /// Whose mailbox.
        key: Key,
        /// Only those behind this position, which an earlier answer named.
        after: Option<u64>,
        /// At most this many messages.
        max_messages: u32,
        /// No further message once this many payload bytes are read; the first always is.
        max_bytes: u64,
    },
    /// Drop waiting messages of a key for good, with what is known of their earlier deaths;
    /// answered with [`QueueAnswer::Purged`].
    Purge {
        /// Whose mailbox.
        key: Key,
        /// Which messages; when empty all of the key, oldest first.
        ids: Vec<MessageId>,
        /// Messages that stay: those being delivered.
        spare: Vec<MessageId>,
        /// At most this many are dropped.
        limit: u32,
    },
    /// Count what is stored; answered with [`QueueAnswer::Totals`].
    Totals,
}

/// How a message to find is named.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Target {
    /// By its id.
    Id(MessageId),
    /// By the back end's own name for its push, as long as the name's window holds.
    Name(ByteString),
}

/// Operations on sessions.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum SessionOp {
    /// Keep a session, replacing the one of the same id unless that has not expired and
    /// [is ahead](Session::is_ahead_of): two nodes may have the same session. Answered with
    /// [`Answer::SessionKept`] in both cases.
    Put {
        /// The session.
        session: Session,
        /// The time now.
        now: Time,
    },
    /// Read a session that has not expired; answered with [`Answer::SessionFound`].
    Get {
        /// Which one.
        id: ByteString,
        /// The time now.
        now: Time,
    },
}

/// What survives a link client's reconnects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Session {
    /// Its name, chosen by the gateway.
    pub id: ByteString,
    /// The key it belongs to.
    pub key: Key,
    /// The client's context: a JSON text.
    pub context: ByteString,
    /// The number of the last operation applied to the context.
    pub applied: u64,
    /// How many messages of the key had died when the session last knew.
    pub deaths_seen: u64,
    /// From when on it is unknown.
    pub expires_at: Time,
}

impl Session {
    /// Whether more was applied to it than to another state of it, or as much and its client was told
    /// of more deaths: ops come in one order only, and nobody is told less.
    #[must_use]
    pub fn is_ahead_of(&self, other: &Self) -> bool {
        (self.applied, self.deaths_seen) > (other.applied, other.deaths_seen)
    }
}

/// Operations on devices. Those on the log are in the order they were given.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum DeviceOp {
    /// Note where a device is connected; answered with [`DeviceAnswer::Kept`].
    Link {
        /// The device's id.
        device: ByteString,
        /// Its connection.
        conn: ConnId,
    },
    /// Forget where a device is connected, unless it is elsewhere by now; answered with
    /// [`DeviceAnswer::Kept`].
    Unlink {
        /// The device's id.
        device: ByteString,
        /// Its last connection.
        conn: ConnId,
    },
    /// Append to the device log; answered with [`DeviceAnswer::Kept`] or [`DeviceAnswer::Full`].
    Log {
        /// The device's id.
        device: ByteString,
        /// A JSON text.
        entry: ByteString,
        /// How many bytes of ids and entries the log may hold with this one. A store whose log others
        /// drain has limits of its own.
        limit: u64,
    },
    /// Read the log, oldest entry first; answered with [`DeviceAnswer::Entries`]. Changes nothing.
    Read {
        /// Only entries behind this number, which an earlier answer named.
        after: Option<u64>,
        /// At most this many.
        max_entries: u32,
        /// No further entry once so many bytes of entries are read; the first always is.
        max_bytes: u64,
    },
    /// Drop what has been taken from the log; answered with [`DeviceAnswer::Dropped`].
    Drop {
        /// The entries up to this number.
        through: u64,
        /// At most this many, oldest first.
        limit: u32,
    },
}

/// What the store says to a [`DeviceOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DeviceAnswer {
    /// It is noted, or in the log.
    Kept,
    /// The log may not grow by that entry; nothing was done.
    Full,
    /// Entries of the log, oldest first.
    Entries(Vec<DeviceEntry>),
    /// How many entries were dropped.
    Dropped(u64),
}

/// One entry of the device log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DeviceEntry {
    /// Its place: larger than that of any earlier entry.
    pub number: u64,
    /// The device's id.
    pub device: ByteString,
    /// A JSON text.
    pub entry: ByteString,
}

impl DeviceEntry {
    /// What an entry counts for in the log.
    #[must_use]
    pub fn bytes(device: &str, entry: &str) -> u64 {
        (device.len() + entry.len()) as u64
    }
}

/// What the store says to an [`Op`].
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Answer {
    /// To [`Op::Append`].
    Appended(Appended),
    /// To [`Op::Load`].
    Loaded(Loaded),
    /// To [`Op::Remove`].
    Removed {
        /// The list that was given, for reuse.
        ids: Vec<MessageId>,
        /// How many of them had been dead letters.
        withdrawn: u32,
    },
    /// To [`Op::Retry`].
    Retried,
    /// To [`Op::Bury`]: the messages that are dead letters now.
    Buried(Vec<MessageId>),
    /// To [`Op::Expire`]: oldest first.
    Expired(Vec<Expired>),
    /// To [`Op::Claim`].
    Claim(ClaimAnswer),
    /// To [`Op::Dead`].
    Dead(DeadAnswer),
    /// To [`Op::Queue`].
    Queue(QueueAnswer),
    /// To [`Op::Find`].
    Found(Box<Found>),
    /// To [`SessionOp::Put`].
    SessionKept,
    /// To [`SessionOp::Get`].
    SessionFound(Option<Session>),
    /// To [`Op::Device`].
    Device(DeviceAnswer),
    /// To any operation: it did not happen, or it is not known to have happened. The text names the
    /// error.
    Failed(String),
}

/// What became of a message to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Appended {
    /// It is kept.
    Stored {
        /// Its place in the mailbox: larger than those before it.
        position: u64,
        /// The messages buried to make room ([`DeathReason::Limit`]).
        evicted: Vec<MessageId>,
    },
    /// It is kept, and the other node that serves the key is [told](Notice::MessageStored).
    Elsewhere {
        /// Its place in the mailbox.
        position: u64,
        /// The messages buried to make room.
        evicted: Vec<MessageId>,
    },
    /// The last waiting message is the same and stands for both.
    Merged {
        /// That message.
        into: MessageId,
    },
    /// The idempotency id was seen before, with the same payload.
    Duplicate {
        /// The first push's message.
        first: MessageId,
        /// What the first push was answered.
        promise: Promise,
    },
    /// The idempotency id was seen before, with another payload.
    Conflict,
}

/// The oldest messages of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Loaded {
    /// In order of position.
    pub messages: Vec<StoredMessage>,
    /// The position of the mailbox's last message; `None` when it is empty.
    pub tail: Option<u64>,
    /// How many messages of the key ever died. Never falls, so that a session which remembers an
    /// older count ([`Session::deaths_seen`]) knows that it missed something.
    pub deaths: u64,
}

/// A message as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct StoredMessage {
    /// Its name.
    pub id: MessageId,
    /// Its place in the mailbox.
    pub position: u64,
    /// What is written to the client.
    pub payload: Bytes,
    /// When its push was read.
    pub accepted_at: Time,
    /// From when on it may be buried for its age.
    pub expires_at: Time,
    /// How many tries have failed.
    pub tries: u32,
    /// It is not written again before this time.
    pub not_before: Time,
}

/// A message whose time to live is over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Expired {
    /// Whose mailbox it is in.
    pub key: Key,
    /// Its place in the order of expiry, and its name.
    pub cursor: ExpiryCursor,
}

/// What the store says to a [`ClaimOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ClaimAnswer {
    /// The lease is extended.
    Renewed,
    /// The key is claimed.
    Claimed {
        /// Grows with every claim of the key; that of a claim that stood stays.
        epoch: u64,
        /// The epoch of the claim that stood until now, whoever's it was; zero when there was none.
        previous: u64,
    },
    /// Another node has the key.
    Taken,
    /// Whether the epoch was still the current one.
    Released(bool),
}

/// What the store says to a [`DeadOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DeadAnswer {
    /// In order of death.
    Listed(Vec<DeadLetter>),
    /// The messages that wait again.
    Requeued(Vec<MessageId>),
    /// How many were dropped.
    Purged(u64),
}

/// A message set aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct DeadLetter {
    /// Whose it was.
    pub key: Key,
    /// The message as it was.
    pub message: StoredMessage,
    /// When it died.
    pub at: Time,
    /// Why.
    pub reason: DeathReason,
    /// Its earlier deaths, oldest first: each ended with a requeue.
    pub history: Vec<(Time, DeathReason)>,
}

/// What the store says to a [`QueueOp`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum QueueAnswer {
    /// In order of text.
    Keys(Vec<Queue>),
    /// In order of position.
    Messages(Vec<StoredMessage>),
    /// The messages that are dropped, in the order in which they were given or waited.
    Purged(Vec<MessageId>),
    /// What is stored.
    Totals {
        /// Messages that wait.
        waiting: u64,
        /// Dead letters.
        dead: u64,
    },
}

/// What waits for one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Queue {
    /// Which key.
    pub key: Key,
    /// How many messages.
    pub messages: u64,
    /// Their payloads' bytes.
    pub bytes: u64,
    /// When the first of them was accepted.
    pub oldest: Time,
}

/// Where a message is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Found {
    /// It waits.
    Waiting(StoredMessage),
    /// It is a dead letter.
    Dead(DeadLetter),
    /// The back end's name for it is known, but it is no longer stored: removed or purged.
    Gone(MessageId),
    /// It is not stored, or it is of another key.
    Unknown,
}

impl Op {
    /// The operation's name in logs.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Load { .. } => "load",
            Self::Remove { .. } => "remove",
            Self::Retry { .. } => "retry",
            Self::Bury { .. } => "bury",
            Self::Expire { .. } => "expire",
            Self::Claim(_) => "claim",
            Self::Dead(_) => "dead",
            Self::Queue(_) => "queue",
            Self::Find { .. } => "find",
            Self::Session(_) => "session",
            Self::Device(_) => "device",
        }
    }

    /// The key it names, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::Append(append) => Some(&append.key),
            Self::Load { key, .. }
            | Self::Remove { key, .. }
            | Self::Retry { key, .. }
            | Self::Bury { key, .. }
            | Self::Find { key, .. }
            | Self::Claim(ClaimOp::Claim { key, .. } | ClaimOp::Release { key, .. })
            | Self::Dead(DeadOp::Requeue { key, .. })
            | Self::Queue(QueueOp::Messages { key, .. } | QueueOp::Purge { key, .. }) => Some(key),
            Self::Dead(DeadOp::List { filter, .. } | DeadOp::Purge { filter, .. }) => {
                filter.key.as_ref()
            }
            Self::Session(SessionOp::Put { session, .. }) => Some(&session.key),
            Self::Expire { .. }
            | Self::Claim(ClaimOp::Renew { .. })
            | Self::Dead(DeadOp::Trim { .. })
            | Self::Queue(QueueOp::Keys { .. } | QueueOp::Totals)
            | Self::Session(SessionOp::Get { .. })
            | Self::Device(_) => None,
        }
    }
}
