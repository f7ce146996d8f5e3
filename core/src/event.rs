//! What happened: everything the [`Gateway`](crate::gateway::Gateway) is told.

use crate::id::{ConnId, Key, OpId, PusherId, RequestId};
use crate::operator::OperatorRequest;
use crate::store::{Answer, Notice};
use crate::time::Span;
use bytes::Bytes;
use bytestring::ByteString;

/// One fact, told to the gateway at a given time.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Event {
    /// Something happened on a client's connection.
    Connection(ConnId, ConnEvent),
    /// Something happened on a back end's connection.
    Pusher(PusherId, PusherEvent),
    /// An operator asks for something.
    Operator(RequestId, OperatorRequest),
    /// The store answered the operation.
    Answered(OpId, Answer),
    /// A shared store told what other nodes have done.
    Noticed(Notice),
    /// The time of [`next_deadline`](crate::gateway::Gateway::next_deadline) has come.
    DeadlineReached,
    /// The process was asked to stop: every connection is closed with 1001.
    ShutdownRequested,
}

/// A fact about one client connection. The caller emits `Accepted` first and `Closed` last.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ConnEvent {
    /// A socket was accepted; its upgrade request has not come yet.
    Accepted,
    /// The upgrade to WebSocket succeeded.
    Upgraded {
        /// Path and query as the client sent them.
        target: ByteString,
        /// What the client and the caller have agreed to speak.
        protocol: Protocol,
    },
    /// A whole text message arrived.
    TextReceived(ByteString),
    /// A whole binary message arrived.
    BinaryReceived(Bytes),
    /// A ping with this payload arrived. The gateway answers it with
    /// [`Command::Pong`](crate::command::Command::Pong).
    PingReceived(Bytes),
    /// A pong arrived. `Some` holds the counter when its payload has the form of our own pings.
    PongReceived(Option<u64>),
    /// Everything written so far has been taken by the socket; answers
    /// [`Command::ReportDrained`](crate::command::Command::ReportDrained).
    Drained,
    /// The connection is gone. Nothing more comes from it.
    Closed(CloseCause),
}

/// What is spoken on a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Protocol {
    /// The first message is the key; pongs confirm.
    Legacy,
    /// The [link protocol](crate::dialect::link): frames, sessions, acknowledgements.
    Link,
}

/// Why a connection ended, as the caller saw it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum CloseCause {
    /// The peer sent a close frame, with this code when it gave one.
    PeerClosed(Option<u16>),
    /// The peer ended the TCP stream without a close frame.
    Eof,
    /// The socket failed; the text names the error.
    Failed(String),
    /// The peer broke the WebSocket protocol or a limit of it; the codec has sent this close code.
    ProtocolError {
        /// The close code sent (RFC 6455, section 7.4.1).
        code: u16,
        /// What was wrong.
        reason: String,
    },
    /// The HTTP request could not be upgraded; this status was sent.
    BadUpgrade {
        /// The HTTP status code of the answer.
        status: u16,
        /// What was wrong.
        reason: String,
    },
    /// The client asked for something else than a WebSocket: its socket is no connection of the
    /// gateway's any more. A long-poll is a connection of its own.
    Http,
    /// The core closed it with [`Command::Close`](crate::command::Command::Close).
    Commanded,
}

/// A fact about one back end's connection. The caller emits `Opened` first and `Closed` last.
#[derive(Clone, Debug, PartialEq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum PusherEvent {
    /// A back end connected.
    Opened,
    /// A complete line arrived: without its `\n` and the `\r`s before it, not yet checked in any
    /// way.
    LineReceived(Bytes),
    /// A line grew beyond the limit; the codec reads no further.
    LineTooLong {
        /// How many bytes had arrived.
        bytes: u64,
    },
    /// A push came by HTTP, already parsed.
    Requested(PushRequest),
    /// The back end sends no more. `unfinished` bytes of a last line without `\n` were discarded.
    Finished {
        /// Length of the discarded rest in bytes.
        unfinished: u64,
    },
    /// The connection is gone. What it pushed is carried through all the same.
    Closed,
}

/// A push that was not a line: the HTTP interface's form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct PushRequest {
    /// To whom, not yet trimmed.
    pub key: ByteString,
    /// What is written to the client.
    pub data: ByteString,
    /// The back end's own name for this push: a second push to the key under the same name within
    /// the deduplication window is not stored again.
    pub idempotency: Option<ByteString>,
    /// How long the message may wait; the configured `ttl` when absent.
    pub ttl: Option<Span>,
}

impl PushRequest {
    /// The key as the line protocol would read it.
    #[must_use]
    pub fn trimmed_key(&self) -> Key {
        let trimmed = crate::dialect::trim(&self.key);
        Key::new(self.key.slice_ref(trimmed))
    }
}
