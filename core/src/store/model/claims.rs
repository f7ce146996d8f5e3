//! Which node serves a key.
//!
//! A claim names a node, and holds while the node's lease does: a node that dies loses all its keys
//! at once without anybody naming them. Epochs come from one counter for all keys, so that they
//! grow for each key without anything being remembered of keys that were released.

use crate::id::Key;
use crate::store::{ClaimAnswer, ClaimOp, Manner, Node, Notice};
use crate::time::Time;
use std::collections::BTreeMap;

/// The claims of all nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    leases: BTreeMap<Node, Time>,
    claims: BTreeMap<Key, Claim>,
    last_epoch: u64,
    /// What leases are held against, if not against the times that the operations tell.
    clock: Option<Time>,
    /// What nodes are to be told.
    notices: Vec<(Node, Notice)>,
}

/// Who claimed a key last.
#[derive(Clone, Debug)]
struct Claim {
    node: Node,
    epoch: u64,
    /// The node that it was taken from.
    before: Option<Node>,
}

impl Claims {
    /// Leases are held against this time from now on.
    pub(super) fn set_clock(&mut self, now: Time) {
        self.clock = Some(now);
    }

    /// The time that leases are held against, when an operation tells this one.
    fn clock(&self, told: Time) -> Time {
        self.clock.unwrap_or(told)
    }

    /// Carries the operation out.
    pub(super) fn apply(&mut self, op: ClaimOp) -> ClaimAnswer {
        match op {
            ClaimOp::Renew { node, now, until } => {
                self.renew(node, now, until);
                ClaimAnswer::Renewed
            }
            ClaimOp::Claim { key, node, manner, now } => self.claim(key, node, manner, now),
            ClaimOp::Release { key, epoch } => ClaimAnswer::Released(self.release(&key, epoch)),
        }
    }

    /// The node that holds a key: its claim is the newest and its lease ends after `now`.
    pub(super) fn holder(&self, key: &Key, now: Time) -> Option<&Node> {
        let (claim, now) = (self.claims.get(key)?, self.clock(now));
        self.leases.get(&claim.node).filter(|until| **until > now).map(|_| &claim.node)
    }

    /// The node that serves the key, unless the sender's claim, with this epoch, is the current one.
    pub(super) fn other(&self, key: &Key, epoch: u64, now: Time) -> Option<&Node> {
        self.holder(key, now).filter(|_| self.epoch(key) != epoch)
    }

    /// Whether the sender may decide what becomes of the key's messages: its claim is the current
    /// one, or it has none and nobody serves the key.
    pub(super) fn admits(&self, key: &Key, epoch: u64, now: Time) -> bool {
        match epoch {
            0 => self.holder(key, now).is_none(),
            _ => self.epoch(key) == epoch,
        }
    }

    /// The epoch of the claim that stands, whether or not its node lives; zero when there is none.
    pub(super) fn epoch(&self, key: &Key) -> u64 {
        self.claims.get(key).map_or(0, |claim| claim.epoch)
    }

    /// Tells whoever claimed the key last that messages wait, unless it is the sender, whose claim has
    /// this epoch. It may serve the key although its lease is over here.
    pub(super) fn wake(&mut self, key: &Key, epoch: u64) {
        if let Some(claim) = self.claims.get(key).filter(|claim| claim.epoch != epoch) {
            self.tell(claim.node.clone(), Notice::MessageStored(key.clone()));
        }
    }

    /// Notes what a node is to be told.
    pub(super) fn tell(&mut self, node: Node, notice: Notice) {
        self.notices.push((node, notice));
    }

    /// Takes what nodes are to be told.
    pub(super) fn take_notices(&mut self) -> Vec<(Node, Notice)> {
        std::mem::take(&mut self.notices)
    }

    /// Panics when an invariant is broken. Walks everything.
    pub(super) fn check(&self) {
        let newest = self.claims.values().map(|claim| claim.epoch).max().unwrap_or(0);
        assert!(newest <= self.last_epoch, "epochs come from the counter");
    }

    /// Extends a lease; one that already holds for longer is left as it is. Leases that are over
    /// are dropped: nobody can tell them from leases that never were.
    fn renew(&mut self, node: Node, told: Time, until: Time) {
        let now = self.clock(told);
        let until = now + until.since(told);
        self.leases.retain(|_, until| *until > now);
        let lease = self.leases.entry(node).or_insert(until);
        *lease = until.max(*lease);
    }

    /// Takes a key. A claim needs no lease, but holds nothing without one.
    fn claim(&mut self, key: Key, node: Node, manner: Manner, now: Time) -> ClaimAnswer {
        let is_taken = self.holder(&key, now).is_some_and(|holder| *holder != node);
        let claim = self.claims.get(&key);
        let is_own = claim.is_some_and(|claim| claim.node == node);
        let previous = claim.map_or(0, |claim| claim.epoch);
        if manner == Manner::Keep && is_taken {
            return ClaimAnswer::Taken;
        }
        if manner == Manner::Keep && is_own {
            return ClaimAnswer::Claimed { epoch: previous, previous };
        }
        self.last_epoch += 1;
        let epoch = self.last_epoch;
        let before = match claim {
            Some(claim) if is_own => claim.before.clone(),
            Some(claim) => Some(claim.node.clone()),
            None => None,
        };
        if let Some(before) = before.clone().filter(|_| !is_own) {
            self.tell(before, Notice::KeyTaken { key: key.clone(), epoch });
        }
        self.claims.insert(key, Claim { node, epoch, before });
        ClaimAnswer::Claimed { epoch, previous }
    }

    /// Gives a key up, also when the lease is over; says whether the epoch was the current one.
    fn release(&mut self, key: &Key, epoch: u64) -> bool {
        let current = self.claims.get(key).is_some_and(|claim| claim.epoch == epoch);
        if current && let Some(Claim { before: Some(before), .. }) = self.claims.remove(key) {
            self.tell(before, Notice::KeyFreed(key.clone()));
        }
        current
    }
}
