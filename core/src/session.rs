//! What a connection of the link protocol has beside its binding: its session, and the messages whose
//! acknowledgement it awaits.
//!
//! Acknowledgements come for each message by its id, in any order. The mailbox's window is confirmed
//! from its front, as pongs do it; what is acknowledged out of turn is noted here until its turn has
//! come.

use crate::connection::Patience;
use crate::dialect::link;
use crate::id::{Key, MessageId};
use crate::record::SessionOrigin;
use crate::store::Session;
use crate::time::{Span, Time};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::VecDeque;

/// A connection's part in the link protocol.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Linked {
    pub(crate) stage: Stage,
    /// Messages that were written, oldest first. The first is not acknowledged.
    sent: VecDeque<Sent>,
    /// By when `hello` must have come, or the acknowledgement of the first message.
    due: Patience,
}

/// How far a connection has come.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Stage {
    /// Its `hello` has not come.
    Silent,
    /// The store is asked for what `welcome` says.
    Greeting(Greeting),
    /// The session is being stored; then comes `welcome`.
    Welcoming(Live, SessionOrigin),
    /// It is bound.
    Live(Live),
}

/// What is known until the store has answered.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Greeting {
    pub(crate) key: Key,
    /// The session the client asked for.
    pub(crate) asked: Option<ByteString>,
    /// That session, once it is found.
    pub(crate) found: Option<Session>,
    /// How many messages of the key have died.
    pub(crate) deaths: u64,
    /// How many answers of the store are to come.
    pub(crate) awaited: u8,
}

/// A session in use.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Live {
    /// The session as it is here: the store's, and what has been applied since.
    pub(crate) session: Session,
    /// How many messages of the key had died when it was resumed. The session takes it over once
    /// the client has shown that it was told.
    pub(crate) deaths: u64,
    /// The last op that is stored.
    pub(crate) stored: u64,
    /// When it was last given to the store.
    pub(crate) kept_at: Time,
    pub(crate) keeping: Keeping,
    /// Whether another connection goes on with it.
    pub(crate) moved: bool,
}

/// Whether the store has a session as it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Keeping {
    /// It has.
    Kept,
    /// It has not.
    Changed,
    /// It is being told, up to this op.
    Asked(u64),
    /// It is being told, up to this op, and more has changed since.
    AskedAndChanged(u64),
}

/// A message that was written.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Sent {
    /// Its place in the mailbox.
    number: u64,
    id: MessageId,
    bytes: u64,
    acked: bool,
}

/// What an acknowledgement means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Acked {
    /// Nothing: no such message is awaited.
    Nothing,
    /// The message at this place is acknowledged, and older ones are not.
    Early(u64),
    /// The messages below this place are acknowledged, among them ones of so many bytes that were
    /// not before.
    Below { mark: u64, bytes: u64 },
}

impl Linked {
    /// A connection whose `hello` has to come by then.
    pub(crate) fn new(hello_by: Patience) -> Self {
        Self { stage: Stage::Silent, sent: VecDeque::new(), due: hello_by }
    }

    /// When it is closed unless something comes before.
    pub(crate) fn deadline(&self) -> Option<Patience> {
        match self.stage {
            Stage::Silent => Some(self.due),
            Stage::Greeting(_) | Stage::Welcoming(..) => None,
            Stage::Live(_) => self.sent.front().map(|_| self.due),
        }
    }

    /// The session in use.
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.stage {
            Stage::Live(live) => Some(live),
            Stage::Silent | Stage::Greeting(_) | Stage::Welcoming(..) => None,
        }
    }

    /// The same, to change it.
    pub(crate) fn live_mut(&mut self) -> Option<&mut Live> {
        match &mut self.stage {
            Stage::Live(live) => Some(live),
            Stage::Silent | Stage::Greeting(_) | Stage::Welcoming(..) => None,
        }
    }

    /// Notes that the message at a place is written, and gives its frame. `ack_by` counts if nothing
    /// older is awaited.
    pub(crate) fn write(
        &mut self,
        number: u64,
        id: MessageId,
        payload: &Bytes,
        tries: u32,
        ack_by: Patience,
    ) -> Bytes {
        if self.sent.is_empty() {
            self.due = ack_by;
        }
        let bytes = payload.len() as u64;
        self.sent.push_back(Sent { number, id, bytes, acked: false });
        let mut text = String::new();
        match std::str::from_utf8(payload) {
            Ok(data) => link::write_message(id, data, tries, &mut text),
            // Back ends push UTF-8; another program may have put something else into a shared store.
            Err(_) => link::write_message(id, &String::from_utf8_lossy(payload), tries, &mut text),
        }
        text.into()
    }

    /// Takes an acknowledgement. `patience` is how long the next one may take, from `now` on.
    pub(crate) fn acked(&mut self, id: MessageId, now: Patience, patience: Span) -> Acked {
        let Some(index) = self.sent.iter().position(|sent| sent.id == id) else {
            return Acked::Nothing;
        };
        let sent = &mut self.sent[index];
        if sent.acked {
            return Acked::Nothing;
        }
        sent.acked = true;
        if index > 0 {
            return Acked::Early(sent.number);
        }
        let (mut mark, mut bytes) = (0, 0);
        while let Some(sent) = self.sent.front().filter(|sent| sent.acked) {
            mark = sent.number + 1;
            bytes += sent.bytes;
            self.sent.pop_front();
        }
        self.due = now.after(patience);
        Acked::Below { mark, bytes }
    }

    /// Forgets what was written: the mailbox's window begins anew. What of it waits still is written
    /// again, and its acknowledgement counts then.
    pub(crate) fn restart(&mut self) {
        self.sent.clear();
    }

    /// How many messages await their acknowledgement.
    pub(crate) fn unacknowledged(&self) -> u32 {
        let count = self.sent.iter().filter(|sent| !sent.acked).count();
        u32::try_from(count).expect("a window is smaller than 2^32")
    }

    /// Panics when an invariant is broken: the messages are those of `bytes` bytes, written below
    /// `written_to`.
    pub(crate) fn check(&self, bytes: u64, written_to: u64) {
        let sum: u64 = self.sent.iter().map(|sent| sent.bytes).sum();
        assert_eq!(sum, bytes, "bytes in flight");
        let ascending =
            self.sent.iter().zip(self.sent.iter().skip(1)).all(|(a, b)| a.number < b.number);
        assert!(ascending, "messages are written in order");
        assert!(self.sent.back().is_none_or(|last| last.number < written_to), "none is unwritten");
        assert!(self.sent.front().is_none_or(|first| !first.acked), "the first is awaited");
    }
}

impl Live {
    /// Notes that the session is another now than what the store was given.
    pub(crate) fn change(&mut self) {
        self.keeping = match self.keeping {
            Keeping::Kept | Keeping::Changed => Keeping::Changed,
            Keeping::Asked(applied) | Keeping::AskedAndChanged(applied) => {
                Keeping::AskedAndChanged(applied)
            }
        };
    }

    /// The client has had `welcome`: it knows of every death that the session knew of then.
    pub(crate) fn told(&mut self) {
        if self.session.deaths_seen < self.deaths {
            self.session.deaths_seen = self.deaths;
            self.change();
        }
    }
}
