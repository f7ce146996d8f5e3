//! How keys are spread over a Redis Cluster, and operations that are about all of them.
//!
//! A cluster has 16384 slots, and one script can only use keys of one of them. So everything is kept
//! in [`COUNT`] shards, each of which is in a slot of its own and complete in itself: a key's hash says
//! which one it is in. A single server has one shard. What is about all keys is asked of every shard,
//! and the answers are put together here, behind answers about single keys that were asked later; no
//! I/O.

use siphasher::sip::SipHasher13;
use std::hash::Hasher;
use steadfast_core::store::{
    Answer, ClaimOp, DeadAnswer, DeadOp, ExpiryCursor, Op, QueueAnswer, QueueOp, SessionOp,
};

/// The shards of a cluster; no cluster can use more masters than this.
pub const COUNT: usize = 32;
const SLOTS: u32 = 16_384;

/// A shard's name, and the slot of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// What stands in the braces of its keys.
    pub tag: u32,
    /// The slot that a cluster derives from it.
    pub slot: u16,
}

/// The shards of a cluster, in the order of their slots: spread evenly, for each master has, as a rule,
/// a range of the slots.
#[must_use]
pub fn of_cluster() -> Vec<Shard> {
    let mut shards = vec![None; COUNT];
    let mut tags = 0..;
    while shards.iter().any(Option::is_none) {
        let tag: u32 = tags.next().unwrap_or_default();
        let slot = slot(tag.to_string().as_bytes());
        let place = usize::from(slot) * COUNT / SLOTS as usize;
        shards[place].get_or_insert(Shard { tag, slot });
    }
    shards.into_iter().flatten().collect()
}

/// The only shard of a single server.
#[must_use]
pub fn of_server() -> Vec<Shard> {
    vec![Shard { tag: 0, slot: slot(b"0") }]
}

/// The slot of a hash tag: CRC-16/XMODEM, as the cluster's specification has it.
fn slot(tag: &[u8]) -> u16 {
    let mut crc: u16 = 0;
    for byte in tag {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc % SLOTS as u16
}

/// Where an operation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To this shard.
    One(usize),
    /// To every shard at once.
    All,
    /// To one shard after the other, as long as something is left to do.
    Each,
}

/// Where an operation goes among so many shards.
#[must_use]
pub fn route(op: &Op, count: usize) -> Route {
    if count == 1 {
        return Route::One(0);
    }
    let session = match op {
        Op::Session(SessionOp::Put { session, .. }) => Some(&session.id),
        Op::Session(SessionOp::Get { id, .. }) => Some(id),
        Op::Append(_)
        | Op::Load { .. }
        | Op::Remove { .. }
        | Op::Retry { .. }
        | Op::Bury { .. }
        | Op::Expire { .. }
        | Op::Claim(_)
        | Op::Dead(_)
        | Op::Queue(_)
        | Op::Find { .. }
        | Op::Device(_) => None,
    };
    let name = session.map(|id| &**id.as_bytes());
    if let Some(name) = name.or_else(|| op.key().map(|key| key.as_bytes())) {
        return Route::One(shard_of(name, count));
    }
    if let Op::Dead(DeadOp::Purge { .. } | DeadOp::Trim { .. }) = op {
        return Route::Each;
    }
    Route::All
}

/// The same in every gateway, for good.
fn shard_of(text: &[u8], count: usize) -> usize {
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(text);
    (hasher.finish() % count as u64) as usize
}

/// Answers of several shards to one operation, being put together.
#[derive(Debug)]
pub struct Gathering {
    op: Op,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// So many answers are missing; what the others said.
    All { missing: usize, so_far: Option<Answer> },
    /// The shard that is asked next; so many were dropped so far.
    Each { next: usize, dropped: u64 },
}

/// What follows an answer.
#[derive(Debug, PartialEq)]
pub enum Next {
    /// Others are awaited.
    Wait,
    /// This is to be asked of this shard.
    Ask(usize, Op),
    /// This is the answer.
    Done(Answer),
}

impl Gathering {
    /// For an operation that all of so many shards are asked.
    #[must_use]
    pub fn all(op: Op, count: usize) -> Self {
        Self { op, way: Way::All { missing: count, so_far: None } }
    }

    /// For one that they are asked in turn, and what the first one is asked.
    #[must_use]
    pub fn each(mut op: Op, count: usize) -> (Self, Op) {
        if let Op::Dead(DeadOp::Trim { keep, .. }) = &mut op {
            // Keys are spread by their hash, and so are the dead letters, more or less.
            *keep = keep.div_ceil(count as u64);
        }
        (Self { op: op.clone(), way: Way::Each { next: 1, dropped: 0 } }, op)
    }

    /// Takes an answer; there are so many shards.
    pub fn add(&mut self, answer: Answer, count: usize) -> Next {
        match &mut self.way {
            Way::All { missing, so_far } => {
                *missing -= 1;
                let both = match so_far.take() {
                    None => answer,
                    Some(other) => join(other, answer),
                };
                if *missing == 0 {
                    return Next::Done(arrange(&self.op, both));
                }
                *so_far = Some(both);
                Next::Wait
            }
            Way::Each { next, dropped } => {
                let Answer::Dead(DeadAnswer::Purged(some)) = answer else {
                    return Next::Done(answer);
                };
                *dropped += some;
                let Op::Dead(DeadOp::Purge { limit, .. } | DeadOp::Trim { limit, .. }) =
                    &mut self.op
                else {
                    unreachable!("the shards are not asked {} in turn", self.op.kind());
                };
                *limit = limit.saturating_sub(u32::try_from(some).unwrap_or(u32::MAX));
                if *limit == 0 || *next == count {
                    return Next::Done(Answer::Dead(DeadAnswer::Purged(*dropped)));
                }
                *next += 1;
                Next::Ask(*next - 1, self.op.clone())
            }
        }
    }
}

/// What two shards said; what failed in one has failed.
fn join(one: Answer, other: Answer) -> Answer {
    match (one, other) {
        (Answer::Failed(why), _) | (_, Answer::Failed(why)) => Answer::Failed(why),
        (Answer::Expired(mut one), Answer::Expired(other)) => {
            one.extend(other);
            Answer::Expired(one)
        }
        (Answer::Dead(DeadAnswer::Listed(mut one)), Answer::Dead(DeadAnswer::Listed(other))) => {
            one.extend(other);
            Answer::Dead(DeadAnswer::Listed(one))
        }
        (Answer::Queue(QueueAnswer::Keys(mut one)), Answer::Queue(QueueAnswer::Keys(other))) => {
            one.extend(other);
            Answer::Queue(QueueAnswer::Keys(one))
        }
        (
            Answer::Queue(QueueAnswer::Totals { waiting, dead }),
            Answer::Queue(QueueAnswer::Totals { waiting: more, dead: others }),
        ) => Answer::Queue(QueueAnswer::Totals { waiting: waiting + more, dead: dead + others }),
        // A lease holds where all shards have it.
        (one, _) => one,
    }
}

/// Puts what all shards said in order, and leaves as much as was asked for.
fn arrange(op: &Op, mut answer: Answer) -> Answer {
    match (op, &mut answer) {
        (Op::Expire { limit, .. }, Answer::Expired(expired)) => {
            expired.sort_unstable_by_key(|it| {
                let ExpiryCursor { expires_at, id } = it.cursor;
                (expires_at, id)
            });
            expired.truncate(*limit as usize);
        }
        (Op::Dead(DeadOp::List { limit, .. }), Answer::Dead(DeadAnswer::Listed(letters))) => {
            letters.sort_by_key(|letter| (letter.at, letter.message.id));
            letters.truncate(*limit as usize);
        }
        (Op::Queue(QueueOp::Keys { limit, .. }), Answer::Queue(QueueAnswer::Keys(queues))) => {
            queues.sort_by(|one, other| one.key.cmp(&other.key));
            queues.truncate(*limit as usize);
        }
        _ => debug_assert!(
            matches!(op, Op::Claim(ClaimOp::Renew { .. }) | Op::Queue(QueueOp::Totals))
                || matches!(answer, Answer::Failed(_)),
            "{} is asked of one shard",
            op.kind()
        ),
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::id::{Key, MessageId};
    use steadfast_core::store::{ClaimAnswer, DeadFilter, Expired, Node, Queue};
    use steadfast_core::time::Time;

    #[test]
    fn shards_are_spread_over_all_slots() {
        let shards = of_cluster();
        let places: Vec<_> = shards.iter().map(|it| usize::from(it.slot) / 512).collect();
        assert_eq!(places, (0..COUNT).collect::<Vec<_>>());
        // From the cluster's specification.
        assert_eq!(slot(b"123456789"), 0x31c3);
        let keys = (0..32_000).map(|n| shard_of(format!("key {n}").as_bytes(), COUNT));
        let mut counts = [0; COUNT];
        keys.for_each(|shard| counts[shard] += 1);
        assert!(counts.iter().all(|count| (850..1_150).contains(count)), "{counts:?}");
        assert_eq!(shard_of(b"a", COUNT), 19, "it must never change");
    }

    fn ask_all(op: &Op, answers: Vec<Answer>) -> Answer {
        let count = answers.len();
        assert_eq!(route(op, count), Route::All);
        let mut gathering = Gathering::all(op.clone(), count);
        let mut last = Next::Wait;
        for answer in answers {
            assert_eq!(last, Next::Wait);
            last = gathering.add(answer, count);
        }
        let Next::Done(answer) = last else { panic!("{last:?}") };
        answer
    }

    #[test]
    fn what_all_shards_say_is_put_together() {
        let expired = |micros| {
            let id = MessageId { incarnation: 1, counter: micros };
            let cursor = ExpiryCursor { expires_at: Time::from_micros(micros), id };
            Expired { key: Key::new("k"), cursor }
        };
        let op = Op::Expire { now: Time::from_micros(9), after: None, limit: 3 };
        let parts = [[1, 5].map(expired), [2, 3].map(expired)];
        let all = ask_all(&op, parts.map(|part| Answer::Expired(part.into())).into());
        assert_eq!(all, Answer::Expired([1, 2, 3].map(expired).into()));
        let queue = |key: &'static str| Queue {
            key: Key::new(key),
            messages: 1,
            bytes: 1,
            oldest: Time::EPOCH,
        };
        let op = Op::Queue(QueueOp::Keys { prefix: "".into(), after: None, limit: 2 });
        let keys = |it: &[&'static str]| {
            Answer::Queue(QueueAnswer::Keys(it.iter().map(|key| queue(key)).collect()))
        };
        assert_eq!(ask_all(&op, vec![keys(&["b", "c"]), keys(&["a"])]), keys(&["a", "b"]));
        let totals = |waiting, dead| Answer::Queue(QueueAnswer::Totals { waiting, dead });
        let op = Op::Queue(QueueOp::Totals);
        assert_eq!(ask_all(&op, vec![totals(1, 2), totals(3, 4)]), totals(4, 6));
        let node = Node { name: "n".into(), incarnation: 1 };
        let renew = ClaimOp::Renew { node, now: Time::EPOCH, until: Time::from_micros(1) };
        let renewed = || Answer::Claim(ClaimAnswer::Renewed);
        assert_eq!(ask_all(&Op::Claim(renew.clone()), vec![renewed(), renewed()]), renewed());
        let failed = Answer::Failed("no".to_owned());
        let answers = vec![renewed(), failed.clone(), renewed()];
        assert_eq!(ask_all(&Op::Claim(renew), answers), failed);
    }

    #[test]
    fn what_is_dropped_is_bounded_over_all_shards() {
        let purged = |count| Answer::Dead(DeadAnswer::Purged(count));
        let purge = |limit| Op::Dead(DeadOp::Purge { filter: DeadFilter::default(), limit });
        assert_eq!(route(&purge(5), 3), Route::Each);
        let (mut gathering, first) = Gathering::each(purge(5), 3);
        assert_eq!(first, purge(5));
        assert_eq!(gathering.add(purged(2), 3), Next::Ask(1, purge(3)));
        assert_eq!(gathering.add(purged(0), 3), Next::Ask(2, purge(3)));
        assert_eq!(gathering.add(purged(1), 3), Next::Done(purged(3)));
        let (mut gathering, _) = Gathering::each(purge(2), 3);
        assert_eq!(gathering.add(purged(2), 3), Next::Done(purged(2)));
        let trim = |keep, limit| Op::Dead(DeadOp::Trim { keep, limit });
        let (mut gathering, first) = Gathering::each(trim(10, 5), 3);
        assert_eq!(first, trim(4, 5));
        assert_eq!(gathering.add(purged(1), 3), Next::Ask(1, trim(4, 4)));
    }
}
