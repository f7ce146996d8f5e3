//! What to do: everything the [`Gateway`](crate::gateway::Gateway) asks of its caller.

use crate::dialect::link::code;
use crate::id::{ConnId, MessageId, OpId, PusherId, RequestId};
use crate::operator::OperatorAnswer;
use crate::record::Record;
use crate::store::Op;
use bytes::Bytes;

/// One order to the caller. The orders of one event form a batch and are carried out in turn.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Command {
    /// Write one message to the client.
    Send {
        /// To whom.
        conn: ConnId,
        /// Text or binary frame.
        kind: FrameKind,
        /// The message; valid UTF-8 when the kind is text.
        payload: Bytes,
    },
    /// Write a ping whose payload is this counter, 8 bytes big-endian, after all that was sent.
    Ping {
        /// To whom.
        conn: ConnId,
        /// Comes back as [`PongReceived`](crate::event::ConnEvent::PongReceived).
        counter: u64,
    },
    /// Write a pong with this payload: a ping's, which is at most 125 bytes.
    Pong {
        /// To whom.
        conn: ConnId,
        /// The ping's payload.
        payload: Bytes,
    },
    /// Tell [`Drained`](crate::event::ConnEvent::Drained) once the socket has taken all that was
    /// written to this connection so far.
    ReportDrained {
        /// Which connection.
        conn: ConnId,
    },
    /// End the connection and answer with [`Closed`](crate::event::ConnEvent::Closed).
    Close {
        /// Which connection.
        conn: ConnId,
        /// The code and reason for the close frame.
        close: Close,
    },
    /// Answer the pusher's oldest unanswered push.
    Reply {
        /// To whom.
        pusher: PusherId,
        /// What became of the push.
        reply: Reply,
    },
    /// Read no more from this pusher until told otherwise.
    Pause {
        /// Which pusher.
        pusher: PusherId,
    },
    /// Read from this pusher again.
    Resume {
        /// Which pusher.
        pusher: PusherId,
    },
    /// Write what is left to write to the pusher, then close it.
    Finish {
        /// Which pusher.
        pusher: PusherId,
    },
    /// Hand the operation to the store, which answers with
    /// [`Answered`](crate::event::Event::Answered). Operations on one key are carried out in
    /// the order they are given.
    Store {
        /// Comes back with the answer.
        op: OpId,
        /// What to do.
        request: Op,
    },
    /// Answer an operator.
    Answer {
        /// What was asked.
        request: RequestId,
        /// What there is to say.
        answer: OperatorAnswer,
    },
    /// Tell people what happened: logs, metrics and test oracles are made from these.
    Record(Record),
}

/// The kind of a WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum FrameKind {
    /// Text: the only kind the gateway writes.
    Text,
    /// Binary: for machines that echo what they are sent.
    Binary,
}

/// Why the core ends a connection. [`code`](Self::code) is what the client sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Close {
    /// Nothing came from the client for `idle_timeout`.
    Idle,
    /// A pong did not come in time.
    PongOverdue,
    /// No upgrade request came within `handshake_timeout`.
    HandshakeOverdue,
    /// The first message is longer than `max_key`.
    KeyTooLong,
    /// The first message spells a key that only another dialect may bind.
    KeyReserved,
    /// A newer connection took the key, and its policy is to close older ones.
    Kicked,
    /// `max_connections` is reached.
    TooManyConnections,
    /// The gateway is stopping.
    GoingAway,
    /// For a reason of the link protocol.
    Link(LinkClose),
}

/// Why the core ends a connection of the link protocol. The codes and what they ask of a client are
/// those of [`code`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LinkClose {
    /// The client said `bye`.
    Bye,
    /// What came is no frame, or not in its place.
    BadFrame,
    /// No `hello` came within `handshake_timeout`.
    HelloOverdue,
    /// No `ack` came within `ack_timeout`.
    AckOverdue,
    /// An op would make the context longer than `max_context`.
    ContextTooLarge,
    /// An op's number does not follow the last one's.
    OpOutOfOrder,
    /// The store did not read or keep the session.
    SessionUnavailable,
    /// Another connection goes on with the session.
    SessionMoved,
}

impl LinkClose {
    /// The close code.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Bye => 1000,
            Self::BadFrame => code::BAD_FRAME,
            Self::HelloOverdue => code::HELLO_OVERDUE,
            Self::AckOverdue => code::ACK_OVERDUE,
            Self::ContextTooLarge => code::CONTEXT_TOO_LARGE,
            Self::OpOutOfOrder => code::OP_OUT_OF_ORDER,
            Self::SessionUnavailable => code::SESSION_UNAVAILABLE,
            Self::SessionMoved => code::SESSION_MOVED,
        }
    }

    /// The reason text.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Bye => "bye",
            Self::BadFrame => "bad frame",
            Self::HelloOverdue => "hello overdue",
            Self::AckOverdue => "ack overdue",
            Self::ContextTooLarge => "context too large",
            Self::OpOutOfOrder => "op out of order",
            Self::SessionUnavailable => "session unavailable",
            Self::SessionMoved => "session moved",
        }
    }
}

impl Close {
    /// The close code written to the client (RFC 6455, section 7.4; 4000 and up are ours).
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Idle | Self::PongOverdue | Self::HandshakeOverdue | Self::GoingAway => 1001,
            Self::KeyReserved => 1008,
            Self::KeyTooLong => 1009,
            Self::TooManyConnections => 1013,
            Self::Kicked => code::REPLACED,
            Self::Link(close) => close.code(),
        }
    }

    /// The reason text written to the client beside the code.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::PongOverdue => "pong overdue",
            Self::HandshakeOverdue => "handshake overdue",
            Self::KeyTooLong => "key too long",
            Self::KeyReserved => "key reserved",
            Self::Kicked => "replaced by a newer connection",
            Self::TooManyConnections => "too many connections",
            Self::GoingAway => "going away",
            Self::Link(close) => close.reason(),
        }
    }

    /// Whether the caller may first write out what is buffered. A forced close writes the close
    /// frame only when nothing is in its way.
    #[must_use]
    pub fn is_forced(self) -> bool {
        match self {
            Self::Idle | Self::PongOverdue | Self::HandshakeOverdue => true,
            Self::Link(close) => close == LinkClose::AckOverdue,
            Self::KeyTooLong
            | Self::KeyReserved
            | Self::Kicked
            | Self::TooManyConnections
            | Self::GoingAway => false,
        }
    }
}

/// The answer to one push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Reply {
    /// A live connection was written to and the message is safe. `ok` on the line protocol.
    Ok(MessageId),
    /// The message is safe and will be written later. `queued` on the line protocol.
    Queued(MessageId),
    /// Not promised. `fail` on the line protocol.
    Fail(FailReason),
}

/// Why a push was not promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum FailReason {
    /// The line is not UTF-8, not JSON, or not a JSON object.
    NotAnObject,
    /// There is no `uid`, or it is neither a string nor an integer.
    NoKey,
    /// The key is empty after trimming.
    EmptyKey,
    /// The key is longer than `max_key`.
    KeyTooLong,
    /// The line or the data is longer than `max_push_line`.
    TooLong,
    /// The idempotency id was used for this key with other data.
    Conflict,
    /// The store failed or did not answer in time, and no pong confirmed the message.
    NotStored,
    /// The gateway is stopping.
    Stopping,
}

impl FailReason {
    /// One lower-case phrase for logs and HTTP answers.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::NotAnObject => "not a JSON object",
            Self::NoKey => "uid is missing or neither a string nor an integer",
            Self::EmptyKey => "uid is empty",
            Self::KeyTooLong => "uid is longer than max_key",
            Self::TooLong => "longer than max_push_line",
            Self::Conflict => "other data was pushed under this id",
            Self::NotStored => "not stored",
            Self::Stopping => "the gateway is stopping",
        }
    }
}
