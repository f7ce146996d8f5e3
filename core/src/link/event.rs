//! What a link is told, and what it orders.

use super::{LinkState, Op};
use crate::time::Span;
use bytestring::ByteString;
use std::fmt;

#[cfg(doc)]
use super::Link;

/// One channel to a gateway, from its [`Open`](LinkCommand::Open) on. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u32);

/// What a channel is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// A WebSocket with the subprotocol `steadfast.v1`.
    WebSocket,
    /// Long-polls: `hello` by `POST /poll`, then `GET /poll` again and again.
    LongPoll,
}

/// What an earlier run of the same client left in its storage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// The session.
    pub session: Option<ByteString>,
    /// The ids of messages that the application has had, in order.
    pub seen: Vec<ByteString>,
    /// The number of the last op, and of the last confirmed one if that is greater.
    pub last_op: u64,
    /// Ops that were not confirmed, in order.
    pub ops: Vec<Op>,
}

/// A fact that the link is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// What storage held, before [`Started`](Self::Started).
    Restored(Saved),
    /// The application wants to be connected.
    Started,
    /// The channel that was asked for is open.
    Opened(ChannelId),
    /// The channel that was asked for could not be opened.
    Failed(ChannelId),
    /// A text arrived: a frame of the gateway.
    TextReceived(ChannelId, ByteString),
    /// The open channel has ended. Not told after [`LinkCommand::Close`].
    Closed {
        /// Which one.
        channel: ChannelId,
        /// The close code, if a close frame came.
        code: Option<u16>,
    },
    /// The application changes the session's context, by a JSON Merge Patch: a JSON text.
    OpRequested(ByteString),
    /// Something about the network or the machine was noticed.
    Hinted(Hint),
    /// The time of [`Link::next_deadline`] has come.
    DeadlineReached,
    /// The application wants to be disconnected.
    Stopped,
}

/// What was noticed from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The machine has a network again.
    Online,
    /// The machine has lost its network, or believes so.
    Offline,
    /// The user looks at the page again.
    Visible,
    /// The machine has slept.
    Woke,
}

/// An order to the link's caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Open a channel, and tell [`Opened`](LinkEvent::Opened) or [`Failed`](LinkEvent::Failed).
    Open {
        /// Its name from now on.
        channel: ChannelId,
        /// To which endpoint.
        url: ByteString,
        /// By what.
        by: Transport,
    },
    /// Send a text: a frame of the client.
    Send(ChannelId, ByteString),
    /// End the channel, or the attempt at one; nothing more is told about it.
    Close(ChannelId),
    /// Hand a message to the application.
    Deliver {
        /// Its id.
        id: ByteString,
        /// What was pushed.
        data: ByteString,
        /// How many deliveries of it have failed before.
        tries: u32,
    },
    /// Write something to storage, before the next command is carried out.
    Save(Save),
    /// Tell the application that the state is another now.
    StateChanged {
        /// What it was.
        old: LinkState,
        /// What it is.
        new: LinkState,
    },
    /// Tell the application something else.
    Report(Report),
}

/// A change of what is stored; [`Saved`] is the sum of all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Save {
    /// Another session, or none: ops and their numbers go with the old one. Those that still wait
    /// follow.
    Session(Option<ByteString>),
    /// The application is about to have this message.
    Seen(ByteString),
    /// This op waits.
    Op(Op),
    /// The ops up to this number no longer wait.
    OpsDone {
        /// The number of the last of them.
        through: u64,
    },
}

impl Saved {
    /// Adds a change, for whoever keeps a link's storage.
    pub fn apply(&mut self, save: Save) {
        match save {
            Save::Session(session) => {
                let seen = std::mem::take(&mut self.seen);
                *self = Self { session, seen, ..Self::default() };
            }
            Save::Seen(id) => self.seen.push(id),
            Save::Op(op) => {
                self.last_op = op.n;
                self.ops.push(op);
            }
            Save::OpsDone { through } => {
                self.ops.retain(|op| op.n > through);
                self.last_op = self.last_op.max(through);
            }
        }
    }
}

/// What the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The gateway has welcomed the link.
    Welcomed {
        /// Whether its session goes on.
        resumed: bool,
        /// Whether messages were set aside while it was away.
        lost: bool,
        /// The session's context: a JSON text.
        context: ByteString,
    },
    /// The ops up to this number are applied and stored.
    OpsConfirmed {
        /// The last one's number.
        through: u64,
    },
    /// Too many ops wait: the last one asked for was not taken.
    OpRefused,
    /// A heartbeat was missed.
    Suspect,
    /// The gateway says what is wrong.
    GatewayError {
        /// The close code.
        code: u16,
        /// The reason.
        reason: ByteString,
    },
    /// The gateway closed with a code that says not to come back; the link is disconnected.
    Refused {
        /// The close code.
        code: u16,
    },
    /// Enough attempts have failed; the link is disconnected.
    GaveUp,
    /// The delay until the next attempt.
    RetryIn(Span),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "ws",
            Self::LongPoll => "poll",
        })
    }
}
