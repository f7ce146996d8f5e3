//! Random operation sequences, to hold a store against the model with.
//!
//! The world is small on purpose: a few keys, a few ids for each, payloads of three kinds, times
//! that often coincide. So operations meet: ids are appended again while they wait, are dead or are
//! gone, limits are reached, windows and leases end.
//!
//! A sequence keeps what the contract asks of the core: time never goes backward, and an id always
//! comes with the same key. Epochs to release are mostly those that the
//! [model](super::model::Model) gives when a sequence runs from an empty store;
//! [`Judge`](super::judge::Judge) translates them for other stores.

use super::model::Model;
use super::{
    Answer, Append, ClaimAnswer, ClaimOp, DeadCursor, DeadFilter, DeadOp, DeviceOp, ExpiryCursor,
    Idempotency, Manner, Node, Op, Promise, QueueOp, Retry, Session, SessionOp, Target,
};
use crate::id::{ConnId, Key, MessageId};
use crate::record::DeathReason;
use crate::time::{Span, Time};
use bytes::Bytes;
use bytestring::ByteString;
use proptest::collection::{SizeRange, vec};
use proptest::option;
use proptest::prelude::{Just, Strategy, prop_oneof};
use std::collections::BTreeMap;

/// How many keys there are.
const KEYS: u64 = 4;
/// How many message ids there are.
const IDS: u64 = 64;
/// Times in an operation are at most this many microseconds from now.
const SOON: u64 = 12;
/// But leases and idempotency names hold for up to this long, for they are rarer than messages.
const LONG: u64 = 60;

/// Sequences of operations, of these lengths.
pub fn ops(len: impl Into<SizeRange>) -> impl Strategy<Value = Vec<Op>> {
    let pause = prop_oneof![3 => Just(0), 1 => Just(1)];
    vec((pause, op()), len).prop_map(|drafts| {
        let (mut now, mut past) = (SOON, Past::default());
        let settle = |(pause, op)| {
            now += pause;
            past.settle(settle_times(op, now))
        };
        drafts.into_iter().map(settle).collect()
    })
}

/// The same operations for a store that serves one node alone: nothing is claimed.
#[must_use]
pub fn alone(ops: Vec<Op>) -> Vec<Op> {
    let alone = |mut op| {
        match &mut op {
            Op::Claim(_) => return None,
            Op::Append(Append { epoch, .. }) | Op::Retry { epoch, .. } | Op::Bury { epoch, .. } => {
                *epoch = 0;
            }
            Op::Load { .. }
            | Op::Remove { .. }
            | Op::Expire { .. }
            | Op::Dead(_)
            | Op::Queue(_)
            | Op::Find { .. }
            | Op::Session(_)
            | Op::Device(_) => {}
        }
        Some(op)
    };
    ops.into_iter().filter_map(alone).collect()
}

/// Operations that show everything a store holds of such a sequence's messages, sessions, claims and
/// device logs; for the end of a sequence.
#[must_use]
pub fn inventory(now: Time) -> Vec<Op> {
    let keys = || (0..KEYS).map(key_of);
    let loads = keys().map(|key| Op::Load { key, max_messages: u32::MAX, max_bytes: u64::MAX });
    let expire = Op::Expire { now: Time::NEVER, after: None, limit: u32::MAX };
    let list = DeadOp::List { filter: DeadFilter::default(), after: None, limit: u32::MAX };
    let lists = keys().map(|key| {
        let filter = DeadFilter { key: Some(key), ..DeadFilter::default() };
        Op::Dead(DeadOp::List { filter, after: None, limit: u32::MAX })
    });
    let sessions = (0..3).map(move |n| Op::Session(SessionOp::Get { id: text("session", n), now }));
    let claims = keys().map(move |key| {
        let node = Node { name: "last".into(), incarnation: 9 };
        Op::Claim(ClaimOp::Claim { key, node, manner: Manner::Take, now })
    });
    let everything_logged =
        DeviceOp::Read { after: None, max_entries: u32::MAX, max_bytes: u64::MAX };
    let queues = QueueOp::Keys { prefix: ByteString::new(), after: None, limit: u32::MAX };
    loads
        .chain([Op::Dead(list), Op::Queue(queues), Op::Queue(QueueOp::Totals)])
        .chain(lists)
        .chain(sessions)
        .chain(claims)
        .chain([expire, Op::Device(everything_logged)])
        .collect()
}

/// The latest time that an operation names as its own.
#[must_use]
pub fn time_of(op: &Op) -> Option<Time> {
    match op {
        Op::Append(append) => Some(append.accepted_at),
        Op::Bury { at, .. } => Some(*at),
        Op::Expire { now, .. } => Some(*now),
        Op::Claim(ClaimOp::Renew { now, .. } | ClaimOp::Claim { now, .. }) => Some(*now),
        Op::Session(SessionOp::Get { now, .. } | SessionOp::Put { now, .. })
        | Op::Find { now, .. } => Some(*now),
        Op::Load { .. }
        | Op::Remove { .. }
        | Op::Retry { .. }
        | Op::Claim(ClaimOp::Release { .. })
        | Op::Dead(_)
        | Op::Queue(_)
        | Op::Device(_) => None,
    }
}

/// One operation whose times count from the moment it is given.
fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => append().prop_map(Op::Append),
        3 => (key(), 0..6_u32, 0..12_u64).prop_map(|(key, max_messages, max_bytes)| {
            Op::Load { key, max_messages, max_bytes }
        }),
        4 => ids_of_key().prop_map(|(key, ids)| Op::Remove { key, ids }),
        3 => retries(),
        3 => (ids_of_key(), reason(), claim_ago()).prop_map(|((key, ids), reason, epoch)| {
            Op::Bury { key, ids, reason, at: Time::EPOCH, epoch }
        }),
        3 => (option::of((soon(), id())), 0..8_u32).prop_map(|(after, limit)| {
            let after = after.map(|(expires_at, id)| ExpiryCursor { expires_at, id });
            Op::Expire { now: Time::EPOCH, after, limit }
        }),
        4 => claim().prop_map(Op::Claim),
        5 => dead().prop_map(Op::Dead),
        4 => queue().prop_map(Op::Queue),
        3 => find(),
        2 => session().prop_map(Op::Session),
        3 => device().prop_map(Op::Device),
    ]
}

fn append() -> impl Strategy<Value = Append> {
    let promise = prop_oneof![Just(Promise::Ok), Just(Promise::Queued)];
    let name = (0..2_u64, 0..LONG).prop_map(|(name, window)| Idempotency {
        name: text("name", name),
        window: Span::from_micros(window),
    });
    let idempotency = option::weighted(0.4, name);
    let merge_within = option::of((0..SOON).prop_map(Span::from_micros));
    let spare = prop_oneof![4 => Just(0), 1 => 0..4_u32, 1 => Just(u32::MAX)];
    let window = (option::weighted(0.3, id()), spare);
    let names = (promise, idempotency);
    let plain = (id(), payload(), soon(), names, merge_within, 0..6_u32, window);
    (plain, claim_ago()).prop_map(|(plain, epoch)| {
        let (id, payload, expires_at, names, merge_within, limit, window) = plain;
        let (promise, idempotency) = names;
        Append {
            key: home(id),
            id,
            payload,
            accepted_at: Time::EPOCH,
            expires_at,
            promise,
            idempotency,
            merge_within,
            limit,
            window_end: window.0,
            spare: window.1,
            epoch,
        }
    })
}

/// How many claims of the key ago an epoch was current, as a rule none; or more than there can be.
fn claim_ago() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 1 => Just(1), 2 => Just(u64::MAX)]
}

fn retries() -> impl Strategy<Value = Op> {
    let draft = (ids_of_key(), 0..5_u32, soon(), claim_ago());
    draft.prop_map(|((key, ids), tries, not_before, epoch)| {
        let retries = ids.into_iter().map(|id| Retry { id, tries, not_before }).collect();
        Op::Retry { key, retries, epoch }
    })
}

fn claim() -> impl Strategy<Value = ClaimOp> {
    let now = Time::EPOCH;
    prop_oneof![
        (node(), 0..LONG).prop_map(move |(node, until)| {
            ClaimOp::Renew { node, now, until: Time::from_micros(until) }
        }),
        (key(), node(), prop_oneof![Just(Manner::Take), Just(Manner::Keep)])
            .prop_map(move |(key, node, manner)| ClaimOp::Claim { key, node, manner, now }),
        (key(), claim_ago()).prop_map(|(key, epoch)| ClaimOp::Release { key, epoch }),
    ]
}

fn dead() -> impl Strategy<Value = DeadOp> {
    prop_oneof![
        (filter(), option::of((soon(), id())), 0..8_u32).prop_map(|(filter, after, limit)| {
            let after = after.map(|(at, id)| DeadCursor { at, id });
            DeadOp::List { filter, after, limit }
        }),
        (ids_of_key(), soon())
            .prop_map(|((key, ids), expires_at)| { DeadOp::Requeue { key, ids, expires_at } }),
        (filter(), 0..3_u32).prop_map(|(filter, limit)| DeadOp::Purge { filter, limit }),
        (0..30_u64, 0..4_u32).prop_map(|(keep, limit)| DeadOp::Trim { keep, limit }),
    ]
}

fn queue() -> impl Strategy<Value = QueueOp> {
    let prefix = prop_oneof![
        Just(ByteString::new()),
        Just("key".into()),
        Just("key-1".into()),
        Just("other".into())
    ];
    prop_oneof![
        (prefix, option::of(key()), 0..KEYS as u32)
            .prop_map(|(prefix, after, limit)| QueueOp::Keys { prefix, after, limit }),
        (key(), option::of(0..IDS), 0..6_u32, 0..12_u64).prop_map(
            |(key, after, max_messages, max_bytes)| QueueOp::Messages {
                key,
                after,
                max_messages,
                max_bytes
            }
        ),
        (ids_of_key(), vec(id(), 0..IDS as usize), 0..4_u32)
            .prop_map(|((key, ids), spare, limit)| QueueOp::Purge { key, ids, spare, limit }),
        Just(QueueOp::Totals),
    ]
}

fn find() -> impl Strategy<Value = Op> {
    let own = id().prop_map(|id| (home(id), Target::Id(id)));
    let stray = (key(), id()).prop_map(|(key, id)| (key, Target::Id(id)));
    let named = (key(), 0..2_u64).prop_map(|(key, n)| (key, Target::Name(text("name", n))));
    prop_oneof![3 => own, 1 => stray, 3 => named].prop_map(|(key, target)| Op::Find {
        key,
        target,
        now: Time::EPOCH,
    })
}

fn session() -> impl Strategy<Value = SessionOp> {
    let put = (0..3_u64, key(), 0..3_u64, soon()).prop_map(|(id, key, n, expires_at)| Session {
        id: text("session", id),
        key,
        context: text("context", n),
        applied: n,
        deaths_seen: n,
        expires_at,
    });
    prop_oneof![
        put.prop_map(|session| SessionOp::Put { session, now: Time::EPOCH }),
        (0..3_u64).prop_map(|id| SessionOp::Get { id: text("session", id), now: Time::EPOCH }),
    ]
}

fn device() -> impl Strategy<Value = DeviceOp> {
    let parts = || {
        let conn = (0..3_u32).prop_map(|n| ConnId { slot: n, generation: n });
        ((0..3_u64).prop_map(|n| text("device", n)), conn)
    };
    let entry = (0..3_u64).prop_map(|n| text("entry", n));
    let limit = prop_oneof![1 => Just(60), 3 => Just(u64::MAX)];
    prop_oneof![
        2 => parts().prop_map(|(device, conn)| DeviceOp::Link { device, conn }),
        1 => parts().prop_map(|(device, conn)| DeviceOp::Unlink { device, conn }),
        4 => (parts(), entry, limit)
            .prop_map(|((device, _), entry, limit)| DeviceOp::Log { device, entry, limit }),
        2 => (option::of(0..12_u64), 0..6_u32, 0..40_u64).prop_map(
            |(after, max_entries, max_bytes)| DeviceOp::Read { after, max_entries, max_bytes }
        ),
        1 => (0..12_u64, 0..4_u32)
            .prop_map(|(through, limit)| DeviceOp::Drop { through, limit }),
    ]
}

fn filter() -> impl Strategy<Value = DeadFilter> {
    let id = option::weighted(0.2, id());
    (option::of(key()), option::of(reason()), option::of(soon()), id)
        .prop_map(|(key, reason, until, id)| DeadFilter { key, reason, until, id })
}

/// A key and some ids, most of them its own; the same one perhaps twice.
fn ids_of_key() -> impl Strategy<Value = (Key, Vec<MessageId>)> {
    (0..KEYS, vec((0..IDS, 0..16_u32), 0..6)).prop_map(|(key, drafts)| {
        let ids = drafts.into_iter().map(|(counter, stray)| {
            // A multiple of the number of keys, and then the number of the key.
            let own = counter - counter % KEYS + key;
            id_of(if stray == 0 { counter } else { own })
        });
        (key_of(key), ids.collect())
    })
}

fn node() -> impl Strategy<Value = Node> {
    (0..2_u64, 1..3_u32)
        .prop_map(|(name, incarnation)| Node { name: text("node", name), incarnation })
}

fn reason() -> impl Strategy<Value = DeathReason> {
    prop_oneof![Just(DeathReason::Tries), Just(DeathReason::Ttl), Just(DeathReason::Limit)]
}

fn payload() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        4 => Just(Bytes::from_static(b"one")),
        1 => Just(Bytes::from_static(b"two")),
        1 => Just(Bytes::new()),
    ]
}

fn soon() -> impl Strategy<Value = Time> {
    (0..SOON).prop_map(Time::from_micros)
}

fn key() -> impl Strategy<Value = Key> {
    (0..KEYS).prop_map(key_of)
}

fn id() -> impl Strategy<Value = MessageId> {
    (0..IDS).prop_map(id_of)
}

fn key_of(number: u64) -> Key {
    Key::new(text("key", number))
}

/// Ids come from two runs, so that their order is not the order of their numbers.
fn id_of(number: u64) -> MessageId {
    let incarnation = if number.is_multiple_of(3) { 2 } else { 1 };
    MessageId { incarnation, counter: number }
}

/// The one key that an id is used with.
fn home(id: MessageId) -> Key {
    key_of(id.counter % KEYS)
}

fn text(kind: &str, number: u64) -> ByteString {
    format!("{kind}-{number}").into()
}

/// Makes the times of an operation count from the epoch: own times are now, times to come are that
/// much later, places in an order that much earlier.
fn settle_times(op: Op, now: u64) -> Op {
    let later = |time: Time| Time::from_micros(now + time.as_micros());
    let earlier = |time: Time| Time::from_micros(now.saturating_sub(time.as_micros()));
    let now = Time::from_micros(now);
    match op {
        Op::Append(append) => {
            let expires_at = later(append.expires_at);
            Op::Append(Append { accepted_at: now, expires_at, ..append })
        }
        Op::Retry { key, mut retries, epoch } => {
            for retry in &mut retries {
                retry.not_before = later(retry.not_before);
            }
            Op::Retry { key, retries, epoch }
        }
        Op::Bury { key, ids, reason, at: _, epoch } => {
            Op::Bury { key, ids, reason, at: now, epoch }
        }
        Op::Expire { now: _, after, limit } => {
            let after = after.map(|it| ExpiryCursor { expires_at: earlier(it.expires_at), ..it });
            Op::Expire { now, after, limit }
        }
        Op::Claim(op) => Op::Claim(match op {
            ClaimOp::Renew { node, now: _, until } => {
                ClaimOp::Renew { node, now, until: later(until) }
            }
            ClaimOp::Claim { key, node, manner, now: _ } => {
                ClaimOp::Claim { key, node, manner, now }
            }
            ClaimOp::Release { key, epoch } => ClaimOp::Release { key, epoch },
        }),
        Op::Dead(op) => Op::Dead(settle_dead(op, later, earlier)),
        Op::Session(SessionOp::Put { session, now: _ }) => {
            let expires_at = later(session.expires_at);
            Op::Session(SessionOp::Put { session: Session { expires_at, ..session }, now })
        }
        Op::Session(SessionOp::Get { id, now: _ }) => Op::Session(SessionOp::Get { id, now }),
        Op::Find { key, target, now: _ } => Op::Find { key, target, now },
        Op::Load { .. } | Op::Remove { .. } | Op::Queue(_) | Op::Device(_) => op,
    }
}

fn settle_dead(op: DeadOp, later: impl Fn(Time) -> Time, earlier: impl Fn(Time) -> Time) -> DeadOp {
    let settle = |filter: DeadFilter| DeadFilter { until: filter.until.map(&earlier), ..filter };
    match op {
        DeadOp::List { filter, after, limit } => {
            let after = after.map(|it| DeadCursor { at: earlier(it.at), ..it });
            DeadOp::List { filter: settle(filter), after, limit }
        }
        DeadOp::Requeue { key, ids, expires_at } => {
            DeadOp::Requeue { key, ids, expires_at: later(expires_at) }
        }
        DeadOp::Purge { filter, limit } => DeadOp::Purge { filter: settle(filter), limit },
        DeadOp::Trim { keep, limit } => DeadOp::Trim { keep, limit },
    }
}

/// What earlier operations named that later ones can name again.
#[derive(Default)]
struct Past {
    /// What the model knows of the claims so far: it gives the epochs.
    claims: Model,
    /// The epochs that it gave for each key.
    epochs: BTreeMap<Key, Vec<u64>>,
    expiries: Vec<ExpiryCursor>,
    deaths: Vec<DeadCursor>,
}

impl Past {
    /// Takes note of an operation; puts a given epoch into a release, and for half of the
    /// places behind which to list one that some message had.
    fn settle(&mut self, mut op: Op) -> Op {
        match &mut op {
            Op::Append(append) => {
                let Append { expires_at, id, .. } = *append;
                self.expiries.push(ExpiryCursor { expires_at, id });
                append.epoch = self.epoch(&append.key, append.epoch);
            }
            Op::Retry { key, epoch, .. } => *epoch = self.epoch(key, *epoch),
            Op::Bury { key, ids, at, epoch, .. } => {
                *epoch = self.epoch(key, *epoch);
                self.deaths.extend(ids.iter().map(|id| DeadCursor { at: *at, id: *id }));
            }
            Op::Expire { after: Some(after), .. } => {
                *after = recent(&self.expiries, after.id).unwrap_or(*after);
            }
            Op::Dead(DeadOp::List { after: Some(after), .. }) => {
                *after = recent(&self.deaths, after.id).unwrap_or(*after);
            }
            Op::Claim(claim) => {
                if let ClaimOp::Release { key, epoch } = claim {
                    *epoch = self.epoch(key, *epoch);
                }
                let answer = self.claims.apply(Op::Claim(claim.clone()));
                if let ClaimOp::Claim { key, .. } = claim
                    && let Answer::Claim(ClaimAnswer::Claimed { epoch, .. }) = answer
                {
                    self.epochs.entry(key.clone()).or_default().push(epoch);
                }
            }
            Op::Load { .. }
            | Op::Remove { .. }
            | Op::Expire { after: None, .. }
            | Op::Dead(_)
            | Op::Queue(_)
            | Op::Find { .. }
            | Op::Session(_)
            | Op::Device(_) => {}
        }
        op
    }

    /// The epoch that was current so many claims of the key ago, or zero.
    fn epoch(&self, key: &Key, ago: u64) -> u64 {
        let ago = usize::try_from(ago).unwrap_or(usize::MAX);
        let given = self.epochs.get(key).map(Vec::as_slice).unwrap_or_default();
        given.iter().rev().nth(ago).copied().unwrap_or(0)
    }
}

/// One of the last places, for every other id.
fn recent<T: Copy>(places: &[T], id: MessageId) -> Option<T> {
    let ago = usize::try_from(id.counter / 2).unwrap_or(usize::MAX);
    if id.counter.is_multiple_of(2) { places.iter().rev().nth(ago % 16).copied() } else { None }
}
