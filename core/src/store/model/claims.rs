//! Which node serves a key.
//!
//! A claim names a node, and holds while the node's lease does: a node that dies loses all its keys
//! at once without anybody naming them. Epochs come from one counter for all keys, so that they
//! grow for each key without anything being remembered of keys that were released.

use crate::id::Key;
use crate::store::{ClaimAnswer, ClaimOp, Node};
use crate::time::Time;
use std::collections::BTreeMap;

/// The claims of all nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    leases: BTreeMap<Node, Time>,
    claims: BTreeMap<Key, Claim>,
    last_epoch: u64,
}

/// Who claimed a key last.
#[derive(Clone, Debug)]
struct Claim {
    node: Node,
    epoch: u64,
}

impl Claims {
    /// Carries the operation out.
    pub(super) fn apply(&mut self, op: ClaimOp) -> ClaimAnswer {
        match op {
            ClaimOp::Renew { node, now, until } => {
                self.renew(node, now, until);
                ClaimAnswer::Renewed
            }
            ClaimOp::Claim { key, node, now } => self.claim(key, node, now),
            ClaimOp::Release { key, epoch } => ClaimAnswer::Released(self.release(&key, epoch)),
        }
    }

    /// The node that holds a key: its claim is the newest and its lease ends after `now`.
    pub(super) fn holder(&self, key: &Key, now: Time) -> Option<&Node> {
        let claim = self.claims.get(key)?;
        self.leases.get(&claim.node).filter(|until| **until > now).map(|_| &claim.node)
    }

    /// Panics when an invariant is broken. Walks everything.
    pub(super) fn check(&self) {
        let newest = self.claims.values().map(|claim| claim.epoch).max().unwrap_or(0);
        assert!(newest <= self.last_epoch, "epochs come from the counter");
    }

    /// Extends a lease; one that already holds for longer is left as it is. Leases that are over
    /// are dropped: nobody can tell them from leases that never were.
    fn renew(&mut self, node: Node, now: Time, until: Time) {
        self.leases.retain(|_, until| *until > now);
        let lease = self.leases.entry(node).or_insert(until);
        *lease = until.max(*lease);
    }

    /// Takes a key from whoever has it. A claim needs no lease, but holds nothing without one.
    fn claim(&mut self, key: Key, node: Node, now: Time) -> ClaimAnswer {
        let before = self.holder(&key, now).filter(|holder| **holder != node).cloned();
        self.last_epoch += 1;
        let epoch = self.last_epoch;
        self.claims.insert(key, Claim { node, epoch });
        ClaimAnswer::Claimed { epoch, before }
    }

    /// Gives a key up, also when the lease is over; says whether the epoch was the current one.
    fn release(&mut self, key: &Key, epoch: u64) -> bool {
        let current = self.claims.get(key).is_some_and(|claim| claim.epoch == epoch);
        if current {
            self.claims.remove(key);
        }
        current
    }
}
