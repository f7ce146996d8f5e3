//! Which keys this node serves, where several nodes share a store.
//!
//! A node claims a key when a client binds it, whoever had it before, and gives it up with its last
//! connection. A claim holds while the node's lease does, and the lease is extended while the store
//! answers. Only for a key that it holds does a node load, write and decide what becomes of messages.
//!
//! A key that another node takes leaves its connections here on standby: nothing more is written to
//! them, what they have not confirmed stays in the store for the other node, and a late confirm still
//! counts. When the other node gives the key up, and every now and then in case it has died, the key
//! is claimed again, but only if it is free: two pages on two nodes do not fight.
//!
//! What the store tells may be lost. When it may have been, every claim is looked after anew, some at
//! a time.

use super::Gateway;
use crate::command::FailReason;
use crate::config::{BindPolicy, Sharing};
use crate::id::{Key, OpId};
use crate::mailbox::{Before, Claim, Freshness, KeyState};
use crate::operations::Pending;
use crate::record::{ConnRecord, Record, StoreRecord};
use crate::sabotage::Sabotage;
use crate::store::{ClaimAnswer, ClaimOp, Manner, Node, Notice, Op};
use crate::time::{Span, Time};

/// A lease is extended so many times while it lasts.
const RENEWALS: u64 = 3;

/// A lost lease is asked for at most this often because other operations succeed.
const HASTE: Span = Span::from_millis(100);

/// When notices were missed, so many mailboxes are looked at every so often.
const LOOKED_AT: u32 = 200;
const LOOK_INTERVAL: Span = Span::from_millis(20);

/// This node's lease.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Lease {
    /// It holds until this time, as far as is known.
    until: Time,
    /// When it was last asked for.
    asked_at: Time,
    /// When it is extended next; `None` before the first event and where nothing is shared.
    renew_at: Option<Time>,
    /// Whether it was seen to hold.
    standing: Standing,
    /// How often it was lost: claims have to be looked after before they count again.
    term: u32,
    /// The mailbox from which on claims are looked after, and when.
    look: Option<(Time, u32)>,
}

/// Whether a lease was seen to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
enum Standing {
    /// Not yet, or not any more.
    #[default]
    Lost,
    /// It was.
    Held,
}

impl Gateway {
    /// Whether this node may write to the key's connections.
    pub(super) fn serves(&self, slot: u32) -> bool {
        if self.config.sharing.is_none() {
            return true;
        }
        let Lease { until, term, .. } = self.lease;
        let held_in = match self.registry.get(slot).claim {
            Claim::Held { term, .. } | Claim::Asked { before: Before::Here { term }, .. } => term,
            Claim::Lost { .. } => return self.sabotaged(Sabotage::ServesTaken),
            Claim::None | Claim::Asked { .. } => return false,
        };
        held_in == term && self.now < until
    }

    /// Whether another node serves the key although connections of it are here.
    pub(super) fn has_lost(&self, slot: u32) -> bool {
        match self.registry.get(slot).claim {
            Claim::Lost { .. } | Claim::Asked { before: Before::Other, .. } => true,
            Claim::None | Claim::Held { .. } | Claim::Asked { .. } => false,
        }
    }

    /// Asks for the lease with the first event.
    pub(super) fn start_lease(&mut self) {
        if self.config.sharing.is_some() && self.lease.renew_at.is_none() {
            self.renew();
        }
    }

    /// Extends the lease, counted from now: the store counts from when it is told, which is later.
    fn renew(&mut self) {
        let Some(sharing) = &self.config.sharing else { return };
        let (node, lease) = (self.node(sharing), sharing.lease);
        let (now, until) = (self.now, self.now + lease);
        self.lease.asked_at = now;
        self.lease.renew_at = Some(now + lease.divided_by(RENEWALS));
        let request = Op::Claim(ClaimOp::Renew { node, now, until });
        self.issue(Pending::Renew { asked_at: now }, request);
    }

    fn node(&self, sharing: &Sharing) -> Node {
        Node { name: sharing.node.clone(), incarnation: self.incarnation }
    }

    /// When something is to be done about the lease or the claims.
    pub(super) fn lease_deadline(&self) -> Option<Time> {
        let renew_at = self.lease.renew_at?;
        let over = Some(self.lease.until).filter(|_| self.lease.standing == Standing::Held);
        let look = self.lease.look.map(|(at, _)| at);
        [Some(renew_at), over, look].into_iter().flatten().min()
    }

    pub(super) fn on_lease_due(&mut self) {
        if self.lease.renew_at.is_some_and(|at| at <= self.now) {
            self.renew();
        }
        self.note_lost_lease();
        if let Some((_, from)) = self.lease.look.filter(|(at, _)| *at <= self.now) {
            self.look_after(from);
        }
    }

    fn note_lost_lease(&mut self) {
        if self.lease.standing == Standing::Held && self.lease.until <= self.now {
            self.lease.standing = Standing::Lost;
            self.lease.term += 1;
            self.record_lease(StoreRecord::LeaseLost);
            let slots: Vec<_> = self.registry.iter().map(|(slot, _)| slot).collect();
            slots.into_iter().for_each(|slot| self.fail_unstored(slot));
        }
    }

    /// Answers the pushes of a key that is not served any more and whose answer a pong was to decide:
    /// whoever was not written their messages will not be, and the store may not have them.
    pub(super) fn fail_unstored(&mut self, slot: u32) {
        for (to, id) in self.mailbox(slot).fail_unstored() {
            let key = self.registry.get(slot).key.clone();
            self.reply_failed(to, key, id, FailReason::NotStored);
        }
    }

    /// The store could not be told: it is tried again soon.
    pub(super) fn on_renewal_failed(&mut self) {
        let Some(sharing) = &self.config.sharing else { return };
        let soon = self.now + sharing.lease.divided_by(RENEWALS * RENEWALS);
        self.lease.renew_at = self.lease.renew_at.min(Some(soon));
    }

    /// The store works: a lease that was lost need not wait for its time.
    pub(super) fn hasten_lease(&mut self) {
        if self.lease.standing == Standing::Held {
            return;
        }
        let soon = self.lease.asked_at + HASTE;
        if self.now < soon {
            self.lease.renew_at = self.lease.renew_at.min(Some(soon));
        } else {
            self.renew();
        }
    }

    /// The lease holds, counted from when it was asked for.
    pub(super) fn on_renewed(&mut self, asked_at: Time) {
        self.note_lost_lease();
        let Some(sharing) = &self.config.sharing else { return };
        self.lease.until = self.lease.until.max(asked_at + sharing.lease);
        if self.lease.standing == Standing::Lost && self.now < self.lease.until {
            self.lease.standing = Standing::Held;
            self.record_lease(StoreRecord::LeaseHeld);
            // Others may have taken keys meanwhile, or stored for them without telling anybody.
            self.lease.look = Some((self.now, 0));
        }
    }

    fn record_lease(&mut self, record: StoreRecord) {
        let op = OpId { slot: 0, generation: 0 };
        self.record(Record::Store(op, record));
    }

    /// Looks after some claims, from this mailbox on: asks whether they still hold.
    fn look_after(&mut self, from: u32) {
        let end = self.registry.slots();
        let to = end.min(from.saturating_add(LOOKED_AT));
        for slot in from..to {
            let Some(mailbox) = self.registry.at(slot) else { continue };
            match mailbox.claim {
                Claim::Held { .. } | Claim::Lost { .. } | Claim::Asked { .. } => {
                    self.claim_or_again(slot, Manner::Keep);
                }
                Claim::None => {}
            }
        }
        self.lease.look = (to < end).then_some((self.now + LOOK_INTERVAL, to));
    }

    /// Claims a key for a newer connection.
    pub(super) fn claim_for_newer(&mut self, slot: u32) {
        if self.config.sharing.is_none() {
            return;
        }
        self.claim_or_again(slot, Manner::Take);
    }

    /// Claims a key, and if a claim is under way, once more behind it.
    fn claim_or_again(&mut self, slot: u32, manner: Manner) {
        if let Claim::Asked { again, .. } = &mut self.mailbox(slot).claim {
            if *again != Some(Manner::Take) {
                *again = Some(manner);
            }
        } else {
            self.claim(slot, manner);
        }
    }

    fn claim(&mut self, slot: u32, manner: Manner) {
        let mailbox = self.mailbox(slot);
        let before = match mailbox.claim {
            Claim::None => Before::Nobody,
            Claim::Held { term, .. } => Before::Here { term },
            Claim::Lost { .. } => Before::Other,
            Claim::Asked { before, .. } => before,
        };
        let last = mailbox.epoch();
        mailbox.claim = Claim::Asked { manner, before, last, heard: 0, again: None };
        mailbox.releasing = 0;
        self.arm_mailbox(slot);
        self.issue_again(Pending::Claim { mailbox: slot, attempt: 0 });
    }

    /// The operation that claims a key. When it has waited to be tried again, what came meanwhile need
    /// not be asked behind it; and it takes nothing from anybody if nobody is left here.
    pub(super) fn claim_op(&mut self, slot: u32) -> ClaimOp {
        let mailbox = self.registry.get_mut(slot);
        let Claim::Asked { manner, again, .. } = &mut mailbox.claim else {
            unreachable!("{} is not asked for", mailbox.key);
        };
        if mailbox.conns.is_empty() {
            *manner = Manner::Keep;
        } else if *again == Some(Manner::Take) {
            *manner = Manner::Take;
        }
        *again = None;
        let manner = *manner;
        let mailbox = self.registry.get(slot);
        let sharing = self.config.sharing.as_ref().expect("keys of a shared store are claimed");
        let node = self.node(sharing);
        ClaimOp::Claim { key: mailbox.key.clone(), node, manner, now: self.now }
    }

    /// What became of a claim.
    pub(super) fn on_claimed(&mut self, slot: u32, answer: ClaimAnswer) {
        let term = self.lease.term;
        let mailbox = self.registry.get_mut(slot);
        let Claim::Asked { manner, before, last, heard, again } = mailbox.claim else {
            panic!("{} was claimed although nobody asked for it", mailbox.key);
        };
        match answer {
            ClaimAnswer::Claimed { epoch, previous } => {
                mailbox.claim = Claim::Held { epoch, term };
                if mailbox.conns.is_empty() {
                    return self.release_key(slot);
                }
                if previous != last && !self.sabotaged(Sabotage::WindowKept) {
                    self.forget_what_was_held(slot);
                }
                self.mailbox(slot).fall_behind();
                if heard > epoch {
                    self.stand_by_or_ask(slot, epoch, before, again);
                } else {
                    if before == Before::Other && manner == Manner::Keep {
                        self.record_standby(slot);
                    }
                    again.into_iter().for_each(|manner| self.claim(slot, manner));
                }
            }
            ClaimAnswer::Taken if mailbox.conns.is_empty() => mailbox.claim = Claim::None,
            ClaimAnswer::Taken => self.stand_by_or_ask(slot, last, before, again),
            ClaimAnswer::Renewed | ClaimAnswer::Released(_) => {
                panic!("the store answered a claim with {answer:?}")
            }
        }
        self.pump(slot);
        self.arm_mailbox(slot);
    }

    /// Another node has the key, as far as a claim's answer tells; what came meanwhile may say otherwise.
    fn stand_by_or_ask(&mut self, slot: u32, last: u64, before: Before, again: Option<Manner>) {
        if again == Some(Manner::Take) {
            // It is for a newer connection, which does not stand by first.
            self.mailbox(slot).claim = Claim::Lost { last, ask_at: self.now };
            self.fail_unstored(slot);
        } else {
            self.stand_by(slot, last, before);
        }
        if let Some(manner) = again.filter(|_| !self.registry.get(slot).conns.is_empty()) {
            self.claim(slot, manner);
        }
    }

    /// Another node had the key since this one last did: what of the window is still unconfirmed only
    /// the store knows.
    fn forget_what_was_held(&mut self, slot: u32) {
        self.forget_window(slot);
        let mailbox = self.mailbox(slot);
        mailbox.state = match mailbox.state {
            KeyState::Loading(_) => KeyState::Loading(Freshness::Outdated),
            KeyState::Unknown | KeyState::Behind | KeyState::CaughtUp => KeyState::Behind,
        };
        mailbox.resume_at = Time::EPOCH;
        mailbox.reached = None;
        mailbox.crowded = false;
    }

    /// Another node has the key: if this one thought that it had it, its connections stand by.
    pub(super) fn lose_key(&mut self, slot: u32) {
        let mailbox = self.mailbox(slot);
        match &mut mailbox.claim {
            Claim::Held { epoch, .. } => {
                let epoch = *epoch;
                self.stand_by(slot, epoch, Before::Nobody);
            }
            Claim::Asked { before: before @ Before::Here { .. }, .. } => {
                *before = Before::Other;
                // The last connection may have gone since it was asked for: then nothing is served.
                if !mailbox.conns.is_empty() {
                    self.stop_serving(slot);
                }
            }
            Claim::None | Claim::Asked { .. } | Claim::Lost { .. } => {}
        }
    }

    /// Lets the key's connections stand by for another node.
    fn stand_by(&mut self, slot: u32, last: u64, before: Before) {
        let lease = self.config.sharing.as_ref().map(|sharing| sharing.lease);
        let ask_at = self.now + lease.expect("keys of a shared store are lost");
        self.mailbox(slot).claim = Claim::Lost { last, ask_at };
        self.arm_mailbox(slot);
        if before != Before::Other {
            self.stop_serving(slot);
        }
    }

    /// What is unconfirmed is another node's to deliver.
    fn stop_serving(&mut self, slot: u32) {
        let mailbox = self.mailbox(slot);
        mailbox.state = match mailbox.state {
            KeyState::Loading(_) => KeyState::Loading(Freshness::Outdated),
            KeyState::Unknown | KeyState::Behind | KeyState::CaughtUp => KeyState::Behind,
        };
        let (key, policy, newest) = (mailbox.key.clone(), mailbox.policy, mailbox.newest());
        if let Some(id) = newest {
            self.record_conn(id, ConnRecord::TakenElsewhere { key });
        }
        self.fail_unstored(slot);
        if policy == BindPolicy::Kick {
            self.kick_others(slot, None);
        }
    }

    /// The connections that stood by serve the key again.
    fn record_standby(&mut self, slot: u32) {
        let mailbox = self.registry.get(slot);
        let key = mailbox.key.clone();
        if let Some(id) = mailbox.newest() {
            self.record_conn(id, ConnRecord::StandbyTookOver { key, moved: 0 });
        }
    }

    /// Gives a key up: its last connection here is gone. As long as the claim stands nobody merges a push
    /// with a message that is confirmed and not removed yet.
    pub(super) fn release_key(&mut self, slot: u32) {
        match self.registry.get(slot).claim {
            Claim::Held { epoch, .. } => {
                let mailbox = self.mailbox(slot);
                mailbox.claim = Claim::None;
                mailbox.releasing = epoch;
                self.release_when_cleared(slot);
            }
            Claim::Lost { .. } => self.mailbox(slot).claim = Claim::None,
            // When it is answered there will be nobody to hold it for.
            Claim::None | Claim::Asked { .. } => {}
        }
    }

    /// Gives up a claim that nobody needs, unless the store may still have what it was told to remove.
    pub(super) fn release_when_cleared(&mut self, slot: u32) {
        let mailbox = self.mailbox(slot);
        if mailbox.releasing > 0 && !mailbox.is_clearing() {
            let epoch = std::mem::take(&mut mailbox.releasing);
            self.issue_again(Pending::Release { mailbox: slot, epoch, attempt: 0 });
        }
    }

    /// Asks whether a lost key is free, when it is time.
    pub(super) fn ask_whether_free(&mut self, slot: u32) {
        if let Claim::Lost { ask_at, .. } = self.registry.get(slot).claim
            && ask_at <= self.now
        {
            self.claim(slot, Manner::Keep);
        }
    }

    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::MessageStored(key) => {
                let Some(slot) = self.noticed(&key) else { return };
                self.mailbox(slot).fall_behind();
                self.pump(slot);
            }
            Notice::KeyTaken { key, epoch } => {
                let Some(slot) = self.registry.find(&key) else { return };
                let mailbox = self.mailbox(slot);
                if let Claim::Asked { heard, .. } = &mut mailbox.claim {
                    *heard = epoch.max(*heard);
                }
                if mailbox.claim.epoch() < epoch && !mailbox.conns.is_empty() {
                    self.lose_key(slot);
                }
            }
            Notice::KeyFreed(key) => {
                let Some(slot) = self.noticed(&key) else { return };
                // Who has it may be told so of what it had before.
                self.claim_or_again(slot, Manner::Keep);
            }
            Notice::Missed => self.lease.look = Some((self.now, 0)),
        }
    }

    /// The mailbox that a notice is about, if any connection here has the key.
    fn noticed(&self, key: &Key) -> Option<u32> {
        let slot = self.registry.find(key)?;
        Some(slot).filter(|slot| !self.registry.get(*slot).conns.is_empty())
    }
}
