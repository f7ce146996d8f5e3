//! Back ends and their unanswered pushes: every push gets one reply, in the order of the pushes,
//! whatever order their outcomes come in.

use crate::command::Reply;
use crate::id::PusherId;
use std::collections::VecDeque;

/// All back-end connections.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Pushers {
    slots: Vec<Option<Pusher>>,
}

/// One back-end connection.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Pusher {
    pub(crate) id: PusherId,
    /// Unanswered pushes, oldest first.
    waiting: VecDeque<Waiting>,
    /// The number of the oldest unanswered push.
    base: u64,
    /// Bytes of the unanswered pushes.
    pub(crate) bytes: u64,
    pub(crate) reading: Reading,
}

/// Whether a back end is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Reading {
    /// It is.
    On,
    /// Not now: too many of its pushes are unanswered.
    Paused,
    /// It sends no more, and is closed when all its pushes are answered.
    Finished,
    /// They are, and the caller was told to close it.
    Over,
}

/// An unanswered push.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Waiting {
    bytes: u32,
    reply: Option<Reply>,
}

/// Where the reply to one push goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct ReplyTo {
    pub(crate) pusher: PusherId,
    number: u64,
}

impl Pushers {
    /// Takes a new connection.
    pub(crate) fn open(&mut self, id: PusherId) {
        let slot = id.slot as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        assert!(self.slots[slot].is_none(), "the slot of {id} is in use");
        self.slots[slot] =
            Some(Pusher { id, waiting: VecDeque::new(), base: 0, bytes: 0, reading: Reading::On });
    }

    /// The connection of this id, if it is still there.
    pub(crate) fn get_mut(&mut self, id: PusherId) -> Option<&mut Pusher> {
        self.slots.get_mut(id.slot as usize)?.as_mut().filter(|pusher| pusher.id == id)
    }

    /// Forgets a connection; replies to it go nowhere from now on.
    pub(crate) fn close(&mut self, id: PusherId) -> bool {
        if self.get_mut(id).is_none() {
            return false;
        }
        self.slots[id.slot as usize] = None;
        true
    }

    /// All connections, in order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pusher> {
        self.slots.iter().flatten()
    }
}

impl Pusher {
    /// Notes that the back end is to be read no further.
    pub(crate) fn finish(&mut self) {
        match self.reading {
            Reading::On | Reading::Paused => self.reading = Reading::Finished,
            Reading::Finished | Reading::Over => {}
        }
    }

    /// Counts a push that has been read.
    pub(crate) fn take(&mut self, bytes: usize) -> ReplyTo {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.bytes += u64::from(bytes);
        self.waiting.push_back(Waiting { bytes, reply: None });
        ReplyTo { pusher: self.id, number: self.base + self.waiting.len() as u64 - 1 }
    }

    /// How many pushes are unanswered.
    pub(crate) fn unanswered(&self) -> usize {
        self.waiting.len()
    }

    /// Notes the outcome of a push.
    pub(crate) fn settle(&mut self, to: ReplyTo, reply: Reply) {
        let index = usize::try_from(to.number - self.base).expect("fewer than 2^32 pushes wait");
        let waiting = &mut self.waiting[index];
        assert!(waiting.reply.is_none(), "a push is answered once");
        waiting.reply = Some(reply);
    }

    /// The next reply that may be written.
    pub(crate) fn next_reply(&mut self) -> Option<Reply> {
        let reply = self.waiting.front()?.reply?;
        let waiting = self.waiting.pop_front().expect("the queue has a front");
        self.base += 1;
        self.bytes -= u64::from(waiting.bytes);
        Some(reply)
    }

    /// Verifies what is kept twice.
    pub(crate) fn check(&self) {
        let bytes: u64 = self.waiting.iter().map(|waiting| u64::from(waiting.bytes)).sum();
        assert_eq!(self.bytes, bytes, "unanswered bytes of {}", self.id);
        let ready = self.waiting.front().is_some_and(|waiting| waiting.reply.is_some());
        assert!(!ready, "a reply of {} is held back for no reason", self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::FailReason;
    use crate::id::MessageId;

    #[test]
    fn replies_keep_the_order_of_the_pushes() {
        let id = PusherId { slot: 0, generation: 0 };
        let mut pushers = Pushers::default();
        pushers.open(id);
        let pusher = pushers.get_mut(id).unwrap();
        let (first, second) = (pusher.take(10), pusher.take(20));
        let message = MessageId { incarnation: 1, counter: 1 };
        pusher.settle(second, Reply::Ok(message));
        assert_eq!(pusher.next_reply(), None);
        pusher.settle(first, Reply::Fail(FailReason::NoKey));
        assert_eq!(pusher.next_reply(), Some(Reply::Fail(FailReason::NoKey)));
        assert_eq!(pusher.next_reply(), Some(Reply::Ok(message)));
        assert_eq!((pusher.next_reply(), pusher.unanswered(), pusher.bytes), (None, 0, 0));
    }

    #[test]
    fn a_stale_id_names_nothing() {
        let old = PusherId { slot: 0, generation: 0 };
        let new = PusherId { slot: 0, generation: 1 };
        let mut pushers = Pushers::default();
        pushers.open(old);
        assert!(pushers.close(old));
        pushers.open(new);
        assert!(pushers.get_mut(old).is_none());
        assert!(!pushers.close(old));
    }
}
