//! Storage operations that are not answered: what each was for, and when it counts as failed.

use crate::id::{ConnId, MessageId, OpId, RequestId};
use crate::pushers::ReplyTo;
use crate::record::DeathReason;
use crate::store::{Promise, Retry};
use crate::time::{Span, Time};
use crate::uploads::Upload;
use std::collections::{BTreeMap, VecDeque};

/// What an operation was for.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Pending {
    /// A push is being stored.
    Append(PendingAppend),
    /// A mailbox is being read.
    Load { mailbox: u32, attempt: u32 },
    /// Confirmed messages are being forgotten.
    Remove { mailbox: u32, first: MessageId, attempt: u32 },
    /// Failed tries are being noted.
    Retry { mailbox: u32, retries: Vec<Retry>, attempt: u32 },
    /// Messages are being set aside: of none when what was let wait again meanwhile may be among
    /// them, and the burial is not to be given again.
    Bury {
        mailbox: u32,
        ids: Vec<MessageId>,
        reason: DeathReason,
        at: Time,
        /// The epoch of the claim under which it was last given to the store.
        epoch: u64,
        attempt: u32,
    },
    /// Expired messages are being looked for.
    Expire,
    /// Dead letters are being dropped.
    TrimDead(Excess),
    /// A connection of the link protocol waits for the answer.
    Link { conn: ConnId, asked: LinkAsked },
    /// It is being noted where a device is connected.
    DeviceLink,
    /// A device's upload is being stored.
    DeviceLog(Box<Upload>),
    /// The node's lease is being extended; when that was asked.
    Renew { asked_at: Time },
    /// A key is being claimed.
    Claim { mailbox: u32, attempt: u32 },
    /// A key is being given up.
    Release { mailbox: u32, epoch: u64, attempt: u32 },
    /// An operator waits for the answer.
    Operator { mailbox: Option<u32>, request: RequestId, asked: Asked },
}

/// What has to be known of an operator's request when it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Asked {
    /// Nothing that the answer does not say.
    Plain,
    /// That dead letters are to wait again, whether or not it is known that they do.
    Requeue,
    /// Which message was looked for by its id.
    Find(Option<MessageId>),
}

/// What a connection of the link protocol asks the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum LinkAsked {
    /// How many messages of its key have died.
    Deaths,
    /// For its session.
    Session,
    /// To keep its session.
    Keep,
}

/// Which dead letters are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Excess {
    /// Those that are too old.
    Age,
    /// Those that are too many.
    Number,
}

/// A push that is being stored.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct PendingAppend {
    pub(crate) mailbox: u32,
    pub(crate) id: MessageId,
    /// The number of its entry, if it is in the window.
    pub(crate) entry: Option<u64>,
    /// What the push is answered when it is stored, if its entry has left the window by then.
    pub(crate) promise: Promise,
    /// Taken when a pong answers the push before the store does.
    pub(crate) reply: Option<ReplyTo>,
    /// The epoch of the claim under which it was sent.
    pub(crate) epoch: u64,
}

impl Pending {
    /// The mailbox it is about.
    pub(crate) fn mailbox(&self) -> Option<u32> {
        match self {
            Self::Append(append) => Some(append.mailbox),
            Self::Load { mailbox, .. }
            | Self::Remove { mailbox, .. }
            | Self::Retry { mailbox, .. }
            | Self::Bury { mailbox, .. }
            | Self::Claim { mailbox, .. }
            | Self::Release { mailbox, .. } => Some(*mailbox),
            Self::Operator { mailbox, .. } => *mailbox,
            Self::Expire
            | Self::TrimDead(_)
            | Self::Link { .. }
            | Self::DeviceLink
            | Self::DeviceLog(_)
            | Self::Renew { .. } => None,
        }
    }

    /// The operation's name in logs.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Append(_) => "append",
            Self::Load { .. } => "load",
            Self::Remove { .. } => "remove",
            Self::Retry { .. } => "retry",
            Self::Bury { .. } => "bury",
            Self::Expire => "expire",
            Self::TrimDead(_) => "dead",
            Self::Link { .. } => "session",
            Self::DeviceLink => "device link",
            Self::DeviceLog(_) => "device log",
            Self::Renew { .. } => "renew",
            Self::Claim { .. } => "claim",
            Self::Release { .. } => "release",
            Self::Operator { .. } => "operator",
        }
    }
}

/// All operations under way.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Operations {
    slots: Vec<(u32, Option<Pending>)>,
    free: Vec<u32>,
    /// In the order they were given, with the time they count as failed.
    deadlines: VecDeque<(Time, OpId)>,
    /// Operations that failed and wait to be given again, by time and order.
    parked: BTreeMap<(Time, u64), Pending>,
    parked_count: u64,
    /// Where each mailbox's failed tries are parked.
    parked_retries: BTreeMap<u32, (Time, u64)>,
}

impl Operations {
    /// Names a new operation.
    pub(crate) fn issue(&mut self, pending: Pending, now: Time, timeout: Span) -> OpId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 operations")
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(pending);
        let id = OpId { slot, generation: *generation };
        self.deadlines.push_back((now + timeout, id));
        id
    }

    /// Ends an operation: what it was for, or nothing when it had ended before.
    pub(crate) fn finish(&mut self, id: OpId) -> Option<Pending> {
        let (generation, place) = self.slots.get_mut(id.slot as usize)?;
        if *generation != id.generation {
            return None;
        }
        let pending = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(id.slot);
        while let Some(&(_, first)) = self.deadlines.front()
            && self.get(first).is_none()
        {
            self.deadlines.pop_front();
        }
        Some(pending)
    }

    /// How many operations are under way.
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// An operation under way.
    pub(crate) fn get(&self, id: OpId) -> Option<&Pending> {
        let (generation, place) = self.slots.get(id.slot as usize)?;
        place.as_ref().filter(|_| *generation == id.generation)
    }

    /// The same, to change it.
    pub(crate) fn get_mut(&mut self, id: OpId) -> Option<&mut Pending> {
        let (generation, place) = self.slots.get_mut(id.slot as usize)?;
        place.as_mut().filter(|_| *generation == id.generation)
    }

    /// The operation that counts as failed first.
    pub(crate) fn first_timeout(&self) -> Option<(Time, OpId)> {
        self.deadlines.front().copied()
    }

    /// Keeps a failed operation to be given again at `at`.
    pub(crate) fn park(&mut self, at: Time, pending: Pending) {
        self.parked_count += 1;
        let place = (at, self.parked_count);
        if let Pending::Retry { mailbox, .. } = &pending {
            self.parked_retries.insert(*mailbox, place);
        }
        self.parked.insert(place, pending);
    }

    /// Adds failed tries to those of the mailbox that are parked: while the store fails there is one
    /// operation for them, however often the client comes back. Returns whether there was one.
    pub(crate) fn join_parked(&mut self, mailbox: u32, retries: &[Retry]) -> bool {
        let place = self.parked_retries.get(&mailbox);
        let parked = place.and_then(|place| self.parked.get_mut(place));
        let Some(Pending::Retry { retries: parked, .. }) = parked else { return false };
        let mut by_id: BTreeMap<_, _> = parked.iter().map(|retry| (retry.id, *retry)).collect();
        for retry in retries {
            let known = by_id.entry(retry.id).or_insert(*retry);
            if retry.tries >= known.tries {
                *known = *retry;
            }
        }
        *parked = by_id.into_values().collect();
        true
    }

    /// Lets no burial of the mailbox be given again: how many were parked, and of which messages all
    /// of them are. Those under way go on, and are of no message any more.
    pub(crate) fn drop_burials(&mut self, mailbox: u32) -> (u32, Vec<MessageId>) {
        let (mut count, mut dropped) = (0, Vec::new());
        let mut is_burial = |pending: &mut Pending| {
            let Pending::Bury { mailbox: of, ids, .. } = pending else { return false };
            if *of != mailbox {
                return false;
            }
            dropped.append(ids);
            true
        };
        for pending in self.slots.iter_mut().filter_map(|(_, pending)| pending.as_mut()) {
            is_burial(pending);
        }
        self.parked.retain(|_, pending| {
            let goes = is_burial(pending);
            count += u32::from(goes);
            !goes
        });
        (count, dropped)
    }

    /// When the first parked operation is to be given again.
    pub(crate) fn first_parked(&self) -> Option<Time> {
        self.parked.first_key_value().map(|(&(at, _), _)| at)
    }

    /// Takes a parked operation whose time has come.
    pub(crate) fn unpark(&mut self, now: Time) -> Option<Pending> {
        let first = self.parked.first_entry().filter(|first| first.key().0 <= now)?;
        let pending = first.remove();
        if let Pending::Retry { mailbox, .. } = &pending {
            self.parked_retries.remove(mailbox);
        }
        Some(pending)
    }

    /// All operations, under way and parked.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Pending> {
        self.slots.iter().filter_map(|(_, pending)| pending.as_ref()).chain(self.parked.values())
    }
}
