//! The mailbox of one key, as far as the core holds it: the window of messages that are being
//! delivered, the key's state, and what is known about the rest in the store.
//!
//! Entries are numbered in the order in which they are written; a connection's progress is a number.
//! Every connection of the key is written the entries in this order, so a pong of any of them
//! confirms all entries before its mark.

use crate::config::BindPolicy;
use crate::id::{ConnId, Key, MessageId, OpId};
use crate::pushers::ReplyTo;
use crate::store::Manner;
use crate::time::Time;
use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

/// What the core knows of one key.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Mailbox {
    pub(crate) key: Key,
    pub(crate) policy: BindPolicy,
    pub(crate) state: KeyState,
    /// Which node serves the key, where several share the store.
    pub(crate) claim: Claim,
    /// The open connections, oldest first.
    pub(crate) conns: Vec<ConnId>,
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    base: u64,
    /// Payload bytes of all entries.
    pub(crate) bytes: u64,
    /// Storage operations on this key that are not answered, or wait to be tried again.
    pub(crate) pending: u32,
    /// Confirmed messages that the store has not been seen to forget.
    removals: Vec<Removal>,
    /// How many messages those are, and their bytes.
    pub(crate) removing: u32,
    pub(crate) removing_bytes: u64,
    /// Messages that the store has been told to set aside, and has not been seen to.
    pub(crate) burying: BTreeSet<MessageId>,
    /// Whether a load brought a message that is older than the window: its push had failed, and was
    /// stored all the same, or it was a dead letter. Then the last one of the window is not the newest.
    jumbled: bool,
    /// How many messages the last load may bring.
    pub(crate) loading: u32,
    /// The place in the store's mailbox up to which messages were taken into the window.
    pub(crate) reached: Option<u64>,
    /// The first waiting message may not be written before this.
    pub(crate) resume_at: Time,
    /// The first waiting message, and when it may be written, when the store's time for it is later
    /// than any try can be: the clock went back over a restart.
    pub(crate) hastened: Option<Box<(MessageId, Time)>>,
    /// Whether the last load brought more than there was room for, or what is to be set aside: only
    /// a confirm, another connection or the end of a burial makes another one worth while.
    pub(crate) crowded: bool,
    /// When older connections were last closed for a newer one.
    pub(crate) kicked_at: Option<Time>,
    /// The epoch of a claim that is given up when the store has forgotten what is confirmed, or zero.
    pub(crate) releasing: u64,
}

/// Which node serves a key, as far as this one knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Claim {
    /// This one has not asked for it: no client of it is connected here, or the store is not shared.
    None,
    /// A claim is under way, or waits to be tried again.
    Asked {
        /// How it is claimed.
        manner: Manner,
        /// Who served it before, as far as is known.
        before: Before,
        /// The epoch of this node's last claim, or zero.
        last: u64,
        /// The newest epoch of another node that was heard of meanwhile, or zero.
        heard: u64,
        /// How it is to be claimed once more, as the answer may be older than what came meanwhile.
        again: Option<Manner>,
    },
    /// This one, while its lease holds.
    Held {
        /// The claim's epoch.
        epoch: u64,
        /// The term of the lease under which it was made or found to hold.
        term: u32,
    },
    /// Another one, which took it from this one.
    Lost {
        /// The epoch of this node's last claim.
        last: u64,
        /// When it is asked whether the key is free.
        ask_at: Time,
    },
}

/// Who served a key before it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Before {
    /// Nobody that this node knew of.
    Nobody,
    /// This node, which goes on until it hears otherwise.
    Here {
        /// The term of its claim.
        term: u32,
    },
    /// Another node, which took it from this one.
    Other,
}

impl Claim {
    /// The epoch of this node's last claim, or zero.
    pub(crate) fn epoch(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Held { epoch, .. } => epoch,
            Self::Asked { last, .. } | Self::Lost { last, .. } => last,
        }
    }
}

/// How much of a mailbox the core has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum KeyState {
    /// Nothing is loaded.
    Unknown,
    /// A load is under way (or waits to be tried again).
    Loading(Freshness),
    /// The store holds messages that are not in the window.
    Behind,
    /// Every message is in the window: a push is written at once.
    CaughtUp,
}

/// Whether the answer to a load will still be all there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Freshness {
    /// Nothing was stored since.
    Fresh,
    /// Something was: another load follows.
    Stale,
    /// Tries were charged since: the answer may say too little of them and is not used.
    Outdated,
}

/// One message of the window.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Entry {
    pub(crate) id: MessageId,
    pub(crate) payload: Bytes,
    /// Its place in the store's mailbox, if it came from there.
    pub(crate) position: Option<u64>,
    pub(crate) tries: u32,
    /// When it was last written to a connection; the epoch before it ever was.
    pub(crate) written_at: Time,
    pub(crate) standing: Standing,
    /// The operation that stores it, while that is unanswered.
    pub(crate) op: Option<OpId>,
    /// Whether any connection has confirmed it (matters where it is written to several).
    pub(crate) acked: bool,
    /// Set when the store failed to keep it.
    pub(crate) unstored: Option<Unstored>,
}

/// What the push of a message is to be told that the store may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Unstored {
    /// A pong decides.
    Unanswered(ReplyTo),
    /// It was told that it failed.
    Failed,
}

/// Confirmed messages that one operation removes from the store.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Removal {
    ids: Vec<MessageId>,
    bytes: u64,
}

/// What may be done with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) enum Standing {
    /// It is written when its turn comes.
    Ready,
    /// It is not written before the store has answered: it may be a duplicate.
    Held,
    /// It is skipped.
    Void,
}

impl Entry {
    /// Whether it was written to any connection.
    pub(crate) fn was_written(&self) -> bool {
        self.written_at != Time::EPOCH
    }
}

impl Mailbox {
    pub(crate) fn new(key: Key, policy: BindPolicy) -> Self {
        Self {
            key,
            policy,
            state: KeyState::Unknown,
            claim: Claim::None,
            conns: Vec::new(),
            entries: VecDeque::new(),
            base: 0,
            bytes: 0,
            pending: 0,
            removals: Vec::new(),
            removing: 0,
            removing_bytes: 0,
            burying: BTreeSet::new(),
            jumbled: false,
            loading: 0,
            reached: None,
            resume_at: Time::EPOCH,
            hastened: None,
            crowded: false,
            kicked_at: None,
            releasing: 0,
        }
    }

    /// The epoch of this node's claim, which may stand although it is not needed any more, or zero.
    pub(crate) fn epoch(&self) -> u64 {
        self.claim.epoch().max(self.releasing)
    }

    /// Whether the store may still have what it was told to remove or to set aside.
    pub(crate) fn is_clearing(&self) -> bool {
        self.removing > 0 || !self.burying.is_empty()
    }

    /// Whether nothing needs this mailbox in memory.
    pub(crate) fn is_disposable(&self) -> bool {
        self.conns.is_empty() && self.pending == 0 && self.entries.is_empty()
    }

    /// The number of the first entry.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// The number the next entry will have.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The entries, oldest first.
    pub(crate) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter()
    }

    /// The entry of this number, if it is still there.
    pub(crate) fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// The same, to change it.
    pub(crate) fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// Adds a message at the end of the window and tells its number.
    pub(crate) fn push(&mut self, entry: Entry) -> u64 {
        self.bytes += entry.payload.len() as u64;
        let late = self.entries.back().is_some_and(|last| entry.id < last.id);
        self.jumbled = !self.entries.is_empty() && (self.jumbled || late);
        self.entries.push_back(entry);
        self.end() - 1
    }

    /// Takes the first message out of the window.
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front()?;
        self.base += 1;
        self.bytes -= entry.payload.len() as u64;
        Some(entry)
    }

    /// Gives the window's memory back: an idle connection owns none.
    pub(crate) fn rest(&mut self) {
        if self.entries.is_empty() && self.removals.is_empty() {
            self.entries = VecDeque::new();
            self.removals = Vec::new();
        }
    }

    /// Makes an entry one that is skipped.
    pub(crate) fn void(&mut self, number: u64) {
        let Some(entry) = self.entry_mut(number) else { return };
        entry.standing = Standing::Void;
        entry.op = None;
        let payload = std::mem::take(&mut entry.payload);
        self.bytes -= payload.len() as u64;
    }

    /// Takes a message out of the middle of the window; its place is skipped from now on.
    pub(crate) fn take_out(&mut self, number: u64) -> Option<Entry> {
        let entry = self.entry_mut(number)?;
        let void = Entry {
            id: entry.id,
            payload: Bytes::new(),
            position: None,
            tries: 0,
            written_at: Time::EPOCH,
            standing: Standing::Void,
            op: None,
            acked: false,
            unstored: None,
        };
        let entry = std::mem::replace(entry, void);
        self.bytes -= entry.payload.len() as u64;
        Some(entry)
    }

    /// The first entry from `number` on that is not void.
    pub(crate) fn after_voids(&self, mut number: u64) -> u64 {
        while self.entry(number).is_some_and(|entry| entry.standing == Standing::Void) {
            number += 1;
        }
        number
    }

    /// Drops the entries that are skipped, up to the first that is not.
    pub(crate) fn pop_void(&mut self) {
        while self.entries.front().is_some_and(|first| first.standing == Standing::Void) {
            self.pop();
        }
    }

    /// Takes the pushes whose answer a pong was to decide, with their messages: they have failed.
    pub(crate) fn fail_unstored(&mut self) -> Vec<(ReplyTo, MessageId)> {
        let mut failed = Vec::new();
        for entry in &mut self.entries {
            if let Some(Unstored::Unanswered(to)) = entry.unstored {
                entry.unstored = Some(Unstored::Failed);
                failed.push((to, entry.id));
            }
        }
        failed
    }

    /// The connection that messages are written to first: the newest.
    pub(crate) fn newest(&self) -> Option<ConnId> {
        self.conns.last().copied()
    }

    /// The connections that messages are written to.
    pub(crate) fn receivers(&self) -> &[ConnId] {
        match self.policy {
            BindPolicy::All => &self.conns,
            BindPolicy::Newest | BindPolicy::Kick => {
                &self.conns[self.conns.len().saturating_sub(1)..]
            }
        }
    }

    /// The newest message of the window but `id`, for the store to leave the window alone. One that is
    /// held is stored before `id`, unless it is a duplicate, which the store does not know: then
    /// [`spare`](Self::spare) has to do. That alone would not, where the store has messages before
    /// the window whose pushes failed.
    pub(crate) fn window_end(&self, id: MessageId) -> Option<MessageId> {
        let mut stored = self.entries.iter().rev().filter(|entry| {
            entry.id != id && entry.standing != Standing::Void && entry.unstored.is_none()
        });
        let newest = match self.policy {
            BindPolicy::Newest | BindPolicy::Kick if !self.jumbled => stored.next(),
            // With several receivers, what failed a try is written again behind messages that are
            // newer.
            BindPolicy::Newest | BindPolicy::Kick | BindPolicy::All => {
                stored.max_by_key(|entry| entry.id)
            }
        };
        newest.map(|entry| entry.id)
    }

    /// How many of the first messages in the store are, or will be, in the window by the time that
    /// it stores `id`, as far as naming the newest does not tell: that one may not be stored after
    /// all, others are held, and a load under way brings more.
    pub(crate) fn spare(&self, id: MessageId) -> u32 {
        let others = self.entries.iter().rev().filter(|entry| entry.id != id);
        let mut others = others.skip_while(|entry| entry.standing == Standing::Void);
        let last = others.next();
        let unsure =
            last.is_some_and(|last| self.jumbled || last.op.is_some() || last.unstored.is_some());
        // The store may not have done yet what it was told to remove and to set aside.
        let window = self.entries.len() + self.removing as usize + self.burying.len();
        let window = if unsure { window } else { 0 };
        let loaded = match self.state {
            KeyState::Loading(Freshness::Fresh | Freshness::Stale) => self.loading,
            KeyState::Loading(Freshness::Outdated)
            | KeyState::Unknown
            | KeyState::Behind
            | KeyState::CaughtUp => 0,
        };
        loaded.max(u32::try_from(window).unwrap_or(u32::MAX))
    }

    /// Notes that confirmed messages are being removed from the store.
    pub(crate) fn add_removal(&mut self, ids: Vec<MessageId>, bytes: u64) {
        self.removing += u32::try_from(ids.len()).expect("a window is smaller than 2^32");
        self.removing_bytes += bytes;
        self.removals.push(Removal { ids, bytes });
    }

    /// The messages of the removal that begins with `first`.
    pub(crate) fn removal(&self, first: MessageId) -> &[MessageId] {
        let removal = self.removals.iter().find(|removal| removal.ids[0] == first);
        &removal.expect("a removal under way is known").ids
    }

    /// The store has forgotten the messages of the removal that begins with `first`.
    pub(crate) fn end_removal(&mut self, first: MessageId) -> Vec<MessageId> {
        let index = self.removals.iter().position(|removal| removal.ids[0] == first);
        let removal = self.removals.remove(index.expect("a removal under way is known"));
        self.removing -= u32::try_from(removal.ids.len()).expect("a window is smaller than 2^32");
        self.removing_bytes -= removal.bytes;
        removal.ids
    }

    /// The ids of all messages that are being removed.
    pub(crate) fn removed_ids(&self) -> impl Iterator<Item = MessageId> {
        self.removals.iter().flat_map(|removal| removal.ids.iter().copied())
    }

    /// How many messages are being removed, counted one removal after the other.
    pub(crate) fn removed_count(&self) -> usize {
        self.removals.iter().map(|removal| removal.ids.len()).sum()
    }

    /// The ids in the window, to leave out of what a load returns. A void entry's message is not
    /// being delivered: when the store has it after all, a load brings it.
    pub(crate) fn ids(&self) -> BTreeSet<MessageId> {
        let delivered = self.entries.iter().filter(|entry| entry.standing != Standing::Void);
        delivered.map(|entry| entry.id).collect()
    }

    /// Whether the message is in the window or being removed.
    pub(crate) fn knows(&self, id: MessageId) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.id == id && entry.standing != Standing::Void)
            || self.removed_ids().any(|removed| removed == id)
    }

    /// Notes that the store has, or will have, a message that is not in the window.
    pub(crate) fn fall_behind(&mut self) {
        self.state = match self.state {
            KeyState::Unknown => KeyState::Unknown,
            KeyState::Loading(Freshness::Outdated) => KeyState::Loading(Freshness::Outdated),
            KeyState::Loading(_) => KeyState::Loading(Freshness::Stale),
            KeyState::Behind | KeyState::CaughtUp => KeyState::Behind,
        };
    }

    /// Notes that the answer to a load under way will not know what was charged since.
    pub(crate) fn outdate_load(&mut self) {
        if let KeyState::Loading(freshness) = &mut self.state {
            *freshness = Freshness::Outdated;
        }
    }
}
