//! What is judged at the ends of the wires: from what back ends sent and were replied, and what
//! clients received, and from nothing that a gateway says of itself.
//!
//! - No cross-talk: a client receives only what was pushed to its key.
//! - Nothing is invented: what it receives was pushed.
//! - Once: the application of a link has each message once, whichever gateways wrote it.
//! - Order: on one connection, what one back-end connection pushed to the key arrives in that order.
//! - Replies: never more than lines, each one of the three.
//! - Nothing accepted is lost: what was answered `ok` or `queued` was received, or is a dead letter.
//!
//! A key with a client that let a ping go unanswered is excepted from the last: such clients may come
//! to confirm by taking bytes, which promises less.

use super::plan::{ClientSetup, PushLine, Speaks};
use crate::oracle::Oracle;
use crate::schedule::Push;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use steadfast_core::config::BindPolicy;

/// What a push was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Awaited,
    Promised,
    Failed,
    /// The connection was lost before the reply came.
    Unknown,
}

#[derive(Clone, Debug)]
struct Sent {
    key: usize,
    gateway: usize,
    outcome: Outcome,
    /// The back-end connection, and the place in it.
    from: (u64, u64),
}

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Breach {
    /// Which oracle saw it.
    pub(super) oracle: Oracle,
    /// What was missing or wrong.
    pub(super) what: String,
}

/// What is known at the ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Ends(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    connections: u64,
    pushes: BTreeMap<u32, Vec<Sent>>,
    /// What each back-end connection awaits replies for, in order; `None` is no push.
    awaited: BTreeMap<u64, VecDeque<Option<u32>>>,
    sent: BTreeMap<u64, u64>,
    /// What each client connection received, in order.
    received: BTreeMap<u64, Vec<u32>>,
    /// How often each push was received.
    copies: BTreeMap<u32, u64>,
    /// What the application of each link has had.
    had: BTreeSet<(u32, u32)>,
    /// The keys of clients that let a ping go unanswered.
    mute: BTreeSet<usize>,
    breaches: Vec<Breach>,
    policy: Option<BindPolicy>,
}

impl Ends {
    pub(super) fn new(policy: BindPolicy) -> Self {
        let ends = Self::default();
        ends.0.borrow_mut().policy = Some(policy);
        ends
    }

    /// The number of a new connection.
    pub(super) fn new_connection(&self) -> u64 {
        let mut inner = self.0.borrow_mut();
        inner.connections += 1;
        inner.connections
    }

    pub(super) fn fail(&self, oracle: Oracle, what: String) {
        self.0.borrow_mut().breaches.push(Breach { oracle, what });
    }

    pub(super) fn first_breach(&self) -> Option<Breach> {
        self.0.borrow().breaches.first().cloned()
    }

    pub(super) fn pushed(&self, connection: u64, gateway: usize, line: PushLine) {
        let mut inner = self.0.borrow_mut();
        let sent = inner.sent.entry(connection).or_default();
        *sent += 1;
        let from = (connection, *sent);
        let push = Sent { key: line.key, gateway, outcome: Outcome::Awaited, from };
        inner.pushes.entry(line.serial).or_default().push(push);
        inner.awaited.entry(connection).or_default().push_back(Some(line.serial));
    }

    pub(super) fn pushed_nonsense(&self, connection: u64) {
        self.0.borrow_mut().awaited.entry(connection).or_default().push_back(None);
    }

    pub(super) fn replied(&self, connection: u64, reply: &str) {
        let mut inner = self.0.borrow_mut();
        let expected = inner.awaited.get_mut(&connection).and_then(VecDeque::pop_front);
        let outcome = match (reply, expected) {
            (_, None) => {
                drop(inner);
                return self.fail(Oracle::Reply, format!("{reply:?} answers no line"));
            }
            ("ok" | "queued", Some(Some(number))) => (number, Outcome::Promised),
            ("fail", Some(Some(number))) => (number, Outcome::Failed),
            ("fail", Some(None)) => return,
            (_, Some(expected)) => {
                drop(inner);
                return self.fail(Oracle::Reply, format!("{reply:?} to {expected:?}"));
            }
        };
        let (number, outcome) = outcome;
        let pushes = inner.pushes.get_mut(&number);
        let first = pushes.and_then(|pushes| {
            pushes
                .iter_mut()
                .find(|push| push.from.0 == connection && push.outcome == Outcome::Awaited)
        });
        if let Some(push) = first {
            push.outcome = outcome;
        }
    }

    /// The back-end connection is gone: what it awaited is unknown.
    pub(super) fn lost(&self, connection: u64) {
        let mut inner = self.0.borrow_mut();
        inner.awaited.remove(&connection);
        for push in inner.pushes.values_mut().flatten() {
            if push.from.0 == connection && push.outcome == Outcome::Awaited {
                push.outcome = Outcome::Unknown;
            }
        }
    }

    /// How many lines still have no reply.
    pub(super) fn awaited(&self) -> usize {
        self.0.borrow().awaited.values().map(VecDeque::len).sum()
    }

    /// The same by connection, for people.
    pub(super) fn awaited_text(&self) -> String {
        let inner = self.0.borrow();
        let awaited = inner.awaited.iter().filter(|(_, lines)| !lines.is_empty());
        let lines: Vec<_> = awaited.map(|(conn, lines)| format!("{lines:?} on {conn}")).collect();
        lines.join(", ")
    }

    /// A client received a message. It may be meant for another device that the client is taken for.
    pub(super) fn received(
        &self,
        client: &ClientSetup,
        poses: &BTreeSet<usize>,
        connection: u64,
        text: &str,
    ) {
        let Some(number) = Push::serial_of(text.as_bytes()) else { return };
        let mut inner = self.0.borrow_mut();
        *inner.copies.entry(number).or_default() += 1;
        let Some(pushes) = inner.pushes.get(&number) else {
            drop(inner);
            return self.fail(Oracle::CrossTalk, format!("{text} was never pushed"));
        };
        let key = pushes[0].key;
        if client.key != Some(key) && !poses.contains(&key) {
            drop(inner);
            let what = format!("{} received {text}, which is for key {key}", client.name);
            return self.fail(Oracle::CrossTalk, what);
        }
        // A push that was repeated, or failed, has no one place in the order.
        let push = match &pushes[..] {
            [push] if push.outcome != Outcome::Failed => push.clone(),
            _ => return,
        };
        let again = client.speaks == Speaks::Link && !inner.had.insert((client.number, number));
        let earlier = inner.received.entry(connection).or_default();
        let repeated = earlier.contains(&number);
        if !repeated {
            earlier.push(number);
        }
        let earlier = earlier.clone();
        let after = earlier.iter().rev().skip(1).find_map(|other| {
            let others = inner.pushes.get(other)?;
            let [other_push] = &others[..] else { return None };
            let overtaken = other_push.from.0 == push.from.0
                && other_push.from.1 > push.from.1
                && other_push.gateway == push.gateway
                && other_push.key == push.key
                && other_push.outcome != Outcome::Failed;
            overtaken.then_some(*other)
        });
        // With several receivers, what one left unconfirmed comes to the others late.
        let ordered = inner.policy != Some(BindPolicy::All);
        drop(inner);
        if again {
            let what = format!("{} has push {number} for the second time", client.name);
            self.fail(Oracle::Once, what);
        }
        if let Some(other) = after
            && !repeated
            && ordered
        {
            let what = format!("{} received push {number} after push {other}", client.name);
            self.fail(Oracle::Order, what);
        }
    }

    /// The key of a push.
    pub(super) fn key_of(&self, push: u32) -> Option<usize> {
        self.0.borrow().pushes.get(&push).map(|pushes| pushes[0].key)
    }

    /// Whether a push was sent once only.
    pub(super) fn is_single(&self, push: u32) -> bool {
        self.0.borrow().pushes.get(&push).is_some_and(|pushes| pushes.len() == 1)
    }

    /// Whether a push was received, or is for a key with a client that let a ping go unanswered.
    pub(super) fn may_be_confirmed(&self, push: u32) -> bool {
        let inner = self.0.borrow();
        let key = inner.pushes.get(&push).map(|pushes| pushes[0].key);
        inner.copies.contains_key(&push) || key.is_some_and(|key| inner.mute.contains(&key))
    }

    /// A client let a ping go unanswered.
    pub(super) fn ignored_ping(&self, client: &ClientSetup, poses: &BTreeSet<usize>) {
        self.0.borrow_mut().mute.extend(client.key.iter().chain(poses));
    }

    /// Judges what was promised, once nothing is under way any more. `dead` holds the pushes that
    /// are dead letters.
    pub(super) fn judge(&self, dead: &BTreeSet<u32>) {
        let inner = self.0.borrow();
        let mut lost = Vec::new();
        for (number, pushes) in &inner.pushes {
            let promised = pushes.iter().find(|push| push.outcome == Outcome::Promised);
            let Some(push) = promised else { continue };
            let accounted = inner.copies.contains_key(number) || dead.contains(number);
            if !accounted && !inner.mute.contains(&push.key) {
                lost.push(format!(
                    "push {number} for key {} at gateway {}",
                    push.key, push.gateway
                ));
            }
        }
        let awaited: usize = inner.awaited.values().map(VecDeque::len).sum();
        drop(inner);
        for what in lost {
            let what = format!("{what} was promised, and is neither received nor a dead letter");
            self.fail(Oracle::Conservation, what);
        }
        if awaited > 0 {
            self.fail(Oracle::Reply, format!("{awaited} lines were never answered"));
        }
    }

    /// How many pushes there were, and how many copies were received.
    pub(super) fn totals(&self) -> (u64, u64) {
        let inner = self.0.borrow();
        let pushes = inner.pushes.values().map(|pushes| pushes.len() as u64).sum();
        (pushes, inner.copies.values().sum())
    }
}
