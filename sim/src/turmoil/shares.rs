//! What is judged of gateways that share a store: that only the one that holds a key decides about it.
//!
//! Told what the store has carried out, in its order and by its clock, and what each gateway writes.
//! Claims and leases are kept once more here, from the answers alone.
//!
//! - A gateway whose lease is over by the store's clock writes no push.
//! - A gateway writes no push for a key that another living one took so long ago that it must know.
//! - Nothing is buried by who has lost the key.
//! - What is removed was received.
//! - What was removed before a gateway's claim is not written under that claim.
//!
//! A key with a client that let a ping go unanswered is excepted from what depends on pongs; so is what
//! was pushed more than once from the last.

#![expect(clippy::wildcard_enum_match_arm, reason = "each match picks out what it is about")]

use super::ends::Ends;
use crate::oracle::Oracle;
use crate::schedule::Push;
use bytes::Bytes;
use std::collections::BTreeMap;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::id::{Key, MessageId, OpId};
use steadfast_core::store::{Answer, ClaimAnswer, ClaimOp, Node, Op};
use steadfast_core::time::Span;

/// A gateway that was not told of a claim finds out within this time and the length of a lease.
const UNTOLD: Span = Span::from_secs(10);

/// What is known of a store that is shared, and of who shares it.
#[derive(Debug)]
pub(super) struct Shares {
    ends: Ends,
    keys: Vec<Key>,
    lease: Span,
    /// Until when each node's lease holds.
    leases: BTreeMap<Node, Span>,
    /// The claim that stands of each key.
    claims: BTreeMap<Key, Claim>,
    /// The epoch of each node's claim of each key, and when it was told that it has the key, which it
    /// had not.
    claimed: BTreeMap<(Node, Key), (u64, Span)>,
    /// What each gateway has claimed and was not answered.
    claiming: BTreeMap<(usize, OpId), Key>,
    /// The run of each gateway.
    nodes: BTreeMap<usize, Node>,
    /// The pushes by their messages.
    pushes: BTreeMap<MessageId, u32>,
    /// When pushes were removed.
    removed: BTreeMap<u32, Span>,
}

/// A claim that stands.
#[derive(Clone, Debug)]
struct Claim {
    node: Node,
    epoch: u64,
    since: Span,
}

impl Shares {
    pub(super) fn new(ends: Ends, keys: Vec<Key>, lease: Span) -> Self {
        Self {
            ends,
            keys,
            lease,
            leases: BTreeMap::new(),
            claims: BTreeMap::new(),
            claimed: BTreeMap::new(),
            claiming: BTreeMap::new(),
            nodes: BTreeMap::new(),
            pushes: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    fn demand(&self, oracle: Oracle, holds: bool, text: impl FnOnce() -> String) {
        if !holds {
            self.ends.fail(oracle, text());
        }
    }

    fn lives(&self, node: &Node, at: Span) -> bool {
        self.leases.get(node).is_some_and(|until| *until > at)
    }

    /// The store has carried this out, and will answer this.
    pub(super) fn carried_out(&mut self, at: Span, op: &Op, answer: &Answer) {
        match (op, answer) {
            (Op::Append(append), _) => {
                if let Some(push) = Push::serial_of(&append.payload) {
                    self.pushes.insert(append.id, push);
                }
            }
            (Op::Claim(op), Answer::Claim(answer)) => self.claim(at, op, answer),
            (Op::Bury { key, epoch, .. }, Answer::Buried(ids)) => {
                let claim = self.claims.get(key);
                let admitted = match (epoch, claim) {
                    (0, claim) => claim.is_none_or(|claim| !self.lives(&claim.node, at)),
                    (epoch, claim) => claim.is_some_and(|claim| claim.epoch == *epoch),
                };
                self.demand(Oracle::Claims, admitted || ids.is_empty(), || {
                    format!("under claim {epoch} {ids:?} of {key} are buried, and {claim:?} stands")
                });
            }
            (Op::Remove { key, ids }, Answer::Removed { .. }) => self.remove(at, key, ids),
            _ => {}
        }
    }

    fn claim(&mut self, at: Span, op: &ClaimOp, answer: &ClaimAnswer) {
        match (op, answer) {
            (ClaimOp::Renew { node, now, until }, _) => {
                let lease = self.leases.entry(node.clone()).or_default();
                *lease = (at + until.since(*now)).max(*lease);
            }
            (ClaimOp::Claim { key, node, .. }, ClaimAnswer::Claimed { epoch, previous }) => {
                if epoch != previous {
                    let claim = Claim { node: node.clone(), epoch: *epoch, since: at };
                    self.claims.insert(key.clone(), claim);
                }
            }
            (ClaimOp::Release { key, epoch }, _) => {
                if self.claims.get(key).is_some_and(|claim| claim.epoch == *epoch) {
                    self.claims.remove(key);
                }
            }
            (ClaimOp::Claim { .. }, _) => {}
        }
    }

    fn remove(&mut self, at: Span, key: &Key, ids: &[MessageId]) {
        for id in ids {
            let Some(push) = self.pushes.get(id).copied() else { continue };
            let excused = self.ends.may_be_confirmed(push);
            self.demand(Oracle::Confirmation, excused, || {
                format!("{id} (#{push}) of {key} is removed, and no client received it")
            });
            self.removed.entry(push).or_insert(at);
        }
    }

    /// A gateway was told this and ordered that.
    pub(super) fn batch(&mut self, at: Span, gateway: usize, event: &Event, commands: &[Command]) {
        if let Event::Answered(op, answer) = event {
            let key = self.claiming.remove(&(gateway, *op));
            if let (Some(key), Some(node), Answer::Claim(ClaimAnswer::Claimed { epoch, previous })) =
                (key, self.nodes.get(&gateway), answer)
                && epoch != previous
            {
                let claimed = self.claimed.entry((node.clone(), key)).or_insert((*epoch, at));
                // It goes on with what it knows where nobody else had the key meanwhile.
                let since = if claimed.0 == *previous { claimed.1 } else { at };
                *claimed = (*epoch, since);
            }
        }
        commands.iter().for_each(|command| self.ordered(at, gateway, command));
    }

    fn ordered(&mut self, at: Span, gateway: usize, command: &Command) {
        match command {
            Command::Store { op, request: Op::Claim(ClaimOp::Claim { key, .. }) } => {
                self.claiming.insert((gateway, *op), key.clone());
            }
            Command::Store { request: Op::Claim(ClaimOp::Release { key, .. }), .. } => {
                if let Some(node) = self.nodes.get(&gateway) {
                    self.claimed.remove(&(node.clone(), key.clone()));
                }
            }
            Command::Store { request: Op::Claim(ClaimOp::Renew { node, .. }), .. } => {
                self.nodes.insert(gateway, node.clone());
            }
            Command::Send { payload, .. } => self.written(at, gateway, payload),
            _ => {}
        }
    }

    /// A gateway writes this to a client.
    fn written(&self, at: Span, gateway: usize, payload: &Bytes) {
        let (Some(push), Some(node)) = (Push::serial_of(payload), self.nodes.get(&gateway)) else {
            return;
        };
        let Some(key) = self.ends.key_of(push).map(|key| &self.keys[key]) else { return };
        self.demand(Oracle::Claims, self.lives(node, at), || {
            format!("gateway{} writes #{push} to {key} after its lease was over", gateway + 1)
        });
        if let Some(claim) = self.claims.get(key)
            && claim.node != *node
            && self.lives(&claim.node, at)
        {
            let late = at > claim.since + self.lease + UNTOLD;
            self.demand(Oracle::Claims, !late, || {
                let (since, other) = (claim.since, &claim.node.name);
                format!(
                    "gateway{} writes #{push} to {key}, which {other} took at {since}",
                    gateway + 1
                )
            });
        }
        let claimed = self.claimed.get(&(node.clone(), key.clone()));
        let removed = self.removed.get(&push).filter(|_| self.ends.is_single(push));
        if let (Some((_, claimed)), Some(removed)) = (claimed, removed) {
            self.demand(Oracle::Confirmation, removed >= claimed, || {
                format!(
                    "gateway{} writes #{push} to {key} under its claim of {claimed}, and it was \
                     removed at {removed}",
                    gateway + 1
                )
            });
        }
    }
}
