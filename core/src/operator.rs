//! What operators ask and are told: queues, dead letters, messages, connections.

use crate::id::{ConnId, Key, MessageId};
use crate::record::{Dialect, Totals};
use crate::store::{DeadCursor, DeadFilter, DeadLetter, DeviceEntry, Queue, StoredMessage, Target};
use crate::time::{Span, Time};
use bytestring::ByteString;

/// One question or order of an operator's. Each gets one
/// [`OperatorAnswer`] under the same [`RequestId`](crate::id::RequestId).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OperatorRequest {
    /// For which keys messages wait; answered with [`OperatorAnswer::Queues`].
    ListQueues {
        /// Only keys that begin with this text.
        prefix: ByteString,
        /// Only those after this one.
        after: Option<Key>,
        /// At most this many.
        limit: u32,
    },
    /// Which messages wait for a key; answered with [`OperatorAnswer::Queue`].
    ShowQueue {
        /// Which key.
        key: Key,
        /// Only those behind this position.
        after: Option<u64>,
        /// At most this many.
        limit: u32,
    },
    /// Drop messages that wait for a key and are not being delivered; answered with
    /// [`OperatorAnswer::Dropped`].
    PurgeQueue {
        /// Which key.
        key: Key,
        /// Which messages; all when empty.
        ids: Vec<MessageId>,
        /// At most this many.
        limit: u32,
    },
    /// Which dead letters there are; answered with [`OperatorAnswer::Dead`].
    ListDead {
        /// Which ones.
        filter: DeadFilter,
        /// Only those after this one.
        after: Option<DeadCursor>,
        /// At most this many.
        limit: u32,
    },
    /// Let dead letters of a key wait again; answered with [`OperatorAnswer::Requeued`].
    RequeueDead {
        /// Which key.
        key: Key,
        /// Which messages; all when empty.
        ids: Vec<MessageId>,
    },
    /// Drop dead letters; answered with [`OperatorAnswer::Dropped`].
    PurgeDead {
        /// Which ones.
        filter: DeadFilter,
        /// At most this many.
        limit: u32,
    },
    /// Where a message is; answered with [`OperatorAnswer::Found`].
    FindMessage {
        /// Whose message.
        key: Key,
        /// Which one.
        target: Target,
    },
    /// Who is connected, in order of slots; answered with [`OperatorAnswer::Connections`].
    ListConnections {
        /// Only connections of this key.
        key: Option<Key>,
        /// Only those behind this slot.
        after: Option<u32>,
        /// At most this many.
        limit: u32,
    },
    /// How much the gateway holds and has done; answered with [`OperatorAnswer::Counts`].
    Count,
    /// How much the store holds; answered with [`OperatorAnswer::Totals`].
    CountStored,
    /// The device log, oldest entry first; answered with [`OperatorAnswer::DeviceLog`].
    ReadDeviceLog {
        /// Only entries behind this number.
        after: Option<u64>,
        /// At most this many.
        limit: u32,
    },
    /// Drop entries of the device log that are kept elsewhere now; answered with
    /// [`OperatorAnswer::Dropped`].
    DropDeviceLog {
        /// Those up to this number.
        through: u64,
        /// At most this many.
        limit: u32,
    },
}

impl OperatorRequest {
    /// The key it is about, if it is about one.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Self::ShowQueue { key, .. }
            | Self::PurgeQueue { key, .. }
            | Self::RequeueDead { key, .. }
            | Self::FindMessage { key, .. } => Some(key),
            Self::ListDead { filter, .. } | Self::PurgeDead { filter, .. } => filter.key.as_ref(),
            Self::ListConnections { key, .. } => key.as_ref(),
            Self::ListQueues { .. }
            | Self::Count
            | Self::CountStored
            | Self::ReadDeviceLog { .. }
            | Self::DropDeviceLog { .. } => None,
        }
    }
}

/// What an operator is told.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum OperatorAnswer {
    /// In order of key.
    Queues(Vec<Queue>),
    /// In order of position.
    Queue(Vec<(StoredMessage, Stage)>),
    /// How many messages were dropped.
    Dropped(u64),
    /// In order of death.
    Dead(Vec<DeadLetter>),
    /// The messages that wait again.
    Requeued(Vec<MessageId>),
    /// Where a message is.
    Found(Box<Fate>),
    /// In order of slots.
    Connections(Vec<ConnectionView>),
    /// What the gateway holds and has done.
    Counts(Counts),
    /// What the store holds.
    Totals {
        /// Messages that wait, those being delivered included.
        waiting: u64,
        /// Dead letters.
        dead: u64,
    },
    /// Entries of the device log, oldest first.
    DeviceLog(Vec<DeviceEntry>),
    /// It was not done, or it is not known whether it was. The text says why.
    Failed(String),
}

/// How far the delivery of a stored message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Stage {
    /// It waits.
    Waiting,
    /// It was written to a connection that has not confirmed it.
    Written,
    /// It is confirmed, and the store is about to forget it.
    Confirmed,
}

/// Where a message is in its life.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Fate {
    /// The store has it, and delivery is as far as that.
    Stored(StoredMessage, Stage),
    /// It was written to a connection, and the store does not have it (yet).
    Written(MessageId),
    /// It was confirmed.
    Confirmed(MessageId),
    /// It is a dead letter.
    Dead(DeadLetter),
    /// It was dropped by an operator.
    Purged(MessageId),
    /// The gateway knew it, and it is no longer stored: confirmed, or dropped.
    Gone(MessageId),
    /// Nothing is known of it: confirmed or dropped long ago, or there never was such a message.
    Unknown,
}

/// One client connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct ConnectionView {
    /// Its name.
    pub id: ConnId,
    /// Its key, once it has one.
    pub key: Option<Key>,
    /// The dialect by which it is bound.
    pub dialect: Option<Dialect>,
    /// When it was opened.
    pub opened_at: Time,
    /// For how long nothing has come that counts as a sign of life.
    pub silent: Span,
    /// How many messages it has not confirmed.
    pub unconfirmed: u64,
    /// What it has carried so far; the duration is not kept up.
    pub totals: Totals,
}

/// What the gateway holds and has done since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Counts {
    /// Open connections.
    pub connections: u64,
    /// Keys in memory: bound, or with operations under way.
    pub keys: u64,
    /// Storage operations that are not answered.
    pub operations: u64,
    /// Messages confirmed.
    pub confirmed: u64,
    /// Acknowledgements of link clients that were awaited.
    pub acknowledged: u64,
    /// Time lost to stalls.
    pub lost: Span,
}
