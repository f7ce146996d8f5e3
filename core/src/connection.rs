//! One client connection: opening → unbound → bound to a key → closed.
//!
//! Patience is kept in a clock of its own: [`Patience`] subtracts the time that the process lost, so
//! that a stalled process does not count its own absence against its clients.

use crate::command::Close;
use crate::id::ConnId;
use crate::record::{Dialect, Totals};
use crate::session::{Linked, Stage};
use crate::time::{Span, Time};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::VecDeque;

/// An instant on the clock that stands still while the process is stalled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Patience(pub(crate) Time);

/// One client socket.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Connection {
    pub(crate) id: ConnId,
    pub(crate) phase: Phase,
    pub(crate) opened_at: Time,
    /// The last sign of life, of the kind that counts for this connection.
    pub(crate) heard_at: Patience,
    /// Whether a ping asks for a sign of life since `heard_at`.
    pub(crate) idle_pinged: bool,
    pub(crate) pings: Pings,
    /// Set on a connection of the link protocol.
    pub(crate) link: Option<Box<Linked>>,
    pub(crate) totals: Totals,
    /// When the connection's timer fires, which may be before its deadline.
    pub(crate) armed: Time,
}

/// Where a connection is in its life.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Phase {
    /// Its upgrade request has not come.
    Opening,
    /// It has sent no first message.
    Unbound,
    /// It is addressed by a key.
    Bound(Binding),
    /// The core closed it and waits for the caller to say that it is gone.
    Closing(Close, Option<crate::id::Key>),
}

/// A connection's place at its mailbox.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Binding {
    /// The mailbox's slot.
    pub(crate) mailbox: u32,
    pub(crate) dialect: Dialect,
    /// Whether the key is all digits, and messages are what shows that the page lives.
    pub(crate) digits: bool,
    /// Entries from this number on are meant for this connection.
    pub(crate) joined: u64,
    /// Entries below this number and from `joined` on were written to it.
    pub(crate) written_to: u64,
    /// Entries below this number are confirmed by it.
    pub(crate) acked_to: u64,
    /// Bytes written to it and not confirmed by it.
    pub(crate) bytes_in_flight: u64,
    /// How many messages may be in flight: starts at one after a failed try and doubles.
    pub(crate) allowance: u32,
    /// When the oldest message was written that no ping covers yet.
    pub(crate) uncovered_since: Time,
    /// Answers that wait for the messages that were waiting at bind.
    pub(crate) backlog: Option<Box<Backlog>>,
}

/// Answers held back until the messages that were waiting at bind are written.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Backlog {
    pub(crate) until: Until,
    pub(crate) answers: VecDeque<Answer>,
    /// When something last moved; the answers wait no longer than a second after it.
    pub(crate) progress_at: Time,
}

/// What a client is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Answer {
    /// To a message.
    Text(Dialect, ByteString),
    /// To a ping with this payload.
    Pong(Bytes),
}

/// What ends a [`Backlog`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Until {
    /// So many loads have to be answered before the last waiting message is known.
    Loads(u32),
    /// The message at this place in the mailbox is written.
    Position(Option<u64>),
}

/// The pings of one connection.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Pings {
    /// The payload of the last one.
    pub(crate) counter: u64,
    pub(crate) outstanding: Option<Outstanding>,
    pub(crate) sent_at: Time,
    pub(crate) speech: Speech,
}

/// A ping that has not been answered.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Outstanding {
    /// Its pong confirms the entries below this number …
    pub(crate) mark: u64,
    /// … which are this many bytes.
    pub(crate) bytes: u64,
    /// Its pong is overdue after this.
    pub(crate) deadline: Patience,
    /// Whether a message of the client arrived since.
    pub(crate) heard: bool,
    /// Whether all that was written before it is known to have left.
    pub(crate) drained: bool,
}

/// Whether a client answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Speech {
    /// It has not answered any, and has let this many go by.
    Unproven(u8),
    /// It has answered one.
    Pongs,
    /// It never does: what its socket takes counts as confirmed.
    Mute(Drain),
}

/// How far a mute connection's socket has taken what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Drain {
    /// Nothing is awaited.
    Idle,
    /// The caller will tell when this is taken.
    Asked(Awaited),
    /// The caller will tell when something was taken that was meant for another key, at the latest
    /// at this time.
    Stale(Patience),
}

/// What a mute connection's socket is to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Awaited {
    /// The entries below this number …
    pub(crate) mark: u64,
    /// … which are this many bytes.
    pub(crate) bytes: u64,
    /// A socket that has not taken them by then is read no more.
    pub(crate) deadline: Patience,
}

impl Default for Speech {
    fn default() -> Self {
        Self::Unproven(0)
    }
}

/// How many unanswered pings show that a client does not speak pong.
pub(crate) const MUTE_AFTER: u8 = 3;

impl Connection {
    pub(crate) fn new(id: ConnId, now: Time, patience: Patience) -> Self {
        Self {
            id,
            phase: Phase::Opening,
            opened_at: now,
            heard_at: patience,
            idle_pinged: false,
            pings: Pings::default(),
            link: None,
            totals: Totals::default(),
            armed: Time::NEVER,
        }
    }

    /// How far it has come in the link protocol, if it speaks that and is open.
    pub(crate) fn stage(&self) -> Option<&Stage> {
        Some(&self.link.as_ref()?.stage)
    }

    /// The connection's place at its mailbox, if it is bound.
    pub(crate) fn binding(&self) -> Option<&Binding> {
        match &self.phase {
            Phase::Bound(binding) => Some(binding),
            Phase::Opening | Phase::Unbound | Phase::Closing(..) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn binding_mut(&mut self) -> Option<&mut Binding> {
        match &mut self.phase {
            Phase::Bound(binding) => Some(binding),
            Phase::Opening | Phase::Unbound | Phase::Closing(..) => None,
        }
    }

    /// Counts one message sent.
    pub(crate) fn count_out(&mut self, bytes: usize) {
        self.totals.messages_out += 1;
        self.totals.bytes_out += bytes as u64;
    }
}

impl Binding {
    pub(crate) fn new(mailbox: u32, dialect: Dialect, digits: bool, joined: u64) -> Self {
        Self {
            mailbox,
            dialect,
            digits,
            joined,
            written_to: joined,
            acked_to: joined,
            bytes_in_flight: 0,
            allowance: u32::MAX,
            uncovered_since: Time::NEVER,
            backlog: None,
        }
    }

    /// Messages written to this connection and not confirmed by it.
    pub(crate) fn in_flight(&self) -> u64 {
        self.written_to - self.acked_to
    }

    /// Whether a further message of `bytes` may be written.
    pub(crate) fn has_room(&self, bytes: u64, max_messages: u32, max_bytes: u64) -> bool {
        self.in_flight() < u64::from(self.allowance.min(max_messages))
            && (self.bytes_in_flight == 0 || self.bytes_in_flight + bytes <= max_bytes)
    }

    /// Whether at least half of the window is free, which is when it pays to load.
    pub(crate) fn is_half_empty(&self, max_messages: u32, max_bytes: u64) -> bool {
        self.in_flight() * 2 <= u64::from(self.allowance.min(max_messages))
            && (self.bytes_in_flight == 0 || self.bytes_in_flight * 2 <= max_bytes)
    }

    /// Takes the confirmation of the entries below `mark`, which are `bytes`.
    pub(crate) fn acknowledge(&mut self, mark: u64, bytes: u64) {
        debug_assert!(mark <= self.written_to, "confirmed {mark} of {}", self.written_to);
        if mark <= self.acked_to {
            return;
        }
        self.acked_to = mark;
        self.bytes_in_flight -= bytes;
        self.allowance = self.allowance.saturating_mul(2);
    }

    /// Passes over the entries below `number`, which are not written to this connection.
    pub(crate) fn skip_to(&mut self, number: u64) {
        if number <= self.written_to {
            return;
        }
        if self.in_flight() == 0 {
            self.acked_to = number;
        }
        self.written_to = number;
    }

    /// Forgets what is in flight: the entries below `number` have left the window.
    pub(crate) fn restart(&mut self, number: u64) {
        self.written_to = number;
        self.acked_to = number;
        self.bytes_in_flight = 0;
        self.uncovered_since = Time::NEVER;
    }

    /// Notes that the answers held back may wait another second.
    pub(crate) fn progress(&mut self, now: Time) {
        if let Some(backlog) = &mut self.backlog {
            backlog.progress_at = now;
        }
    }
}

impl Pings {
    /// Counts a ping that covers the entries below `mark`, which are `bytes`.
    pub(crate) fn sent(&mut self, now: Time, mark: u64, bytes: u64, deadline: Patience) -> u64 {
        debug_assert!(self.outstanding.is_none(), "at most one ping is outstanding");
        self.counter += 1;
        self.sent_at = now;
        self.outstanding =
            Some(Outstanding { mark, bytes, deadline, heard: false, drained: false });
        self.counter
    }

    /// Forgets what is awaited: from now on the connection has another key, or none.
    pub(crate) fn forget(&mut self) {
        self.outstanding = None;
        if let Speech::Mute(drain) = &mut self.speech
            && let Drain::Asked(awaited) = drain
        {
            *drain = Drain::Stale(awaited.deadline);
        }
    }

    /// What was written is not awaited any more, but an answer is.
    pub(crate) fn disclaim(&mut self) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.bytes = 0;
        }
        if let Speech::Mute(Drain::Asked(awaited)) = &mut self.speech {
            awaited.bytes = 0;
        }
    }

    /// When the client must have shown at the latest that it has what was written: by a pong, or a
    /// mute one by a socket that takes it.
    pub(crate) fn deadline(&self) -> Option<Patience> {
        match self.speech {
            Speech::Mute(Drain::Idle) => None,
            Speech::Mute(Drain::Asked(awaited)) => Some(awaited.deadline),
            Speech::Mute(Drain::Stale(deadline)) => Some(deadline),
            Speech::Unproven(_) | Speech::Pongs => Some(self.outstanding?.deadline),
        }
    }

    /// Takes a pong: the ping it answers, if that is the outstanding one.
    pub(crate) fn answered(&mut self, counter: Option<u64>) -> Option<Outstanding> {
        if counter != Some(self.counter) {
            return None;
        }
        let answered = self.outstanding.take()?;
        self.speech = Speech::Pongs;
        Some(answered)
    }
}

impl Patience {
    /// This long after.
    pub(crate) fn after(self, span: Span) -> Self {
        Self(self.0 + span)
    }
}
