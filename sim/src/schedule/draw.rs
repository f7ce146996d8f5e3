//! Drawing a schedule from a seed.

use super::spec::TEXT_KEYS;
use super::{
    Actor, BadLine, Crash, Direction, Family, Intrusion, Op, OpKind, Push, Question, Schedule,
    Speaks, Stream, Tier, Trouble, WorldSpec,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

/// One actor's operations being drawn.
pub(super) struct Draw<'a> {
    pub(super) actor: Actor,
    pub(super) rng: ChaCha8Rng,
    pub(super) families: &'a BTreeSet<Family>,
    pub(super) world: &'a WorldSpec,
    pub(super) ops: Vec<Op>,
}

pub(super) fn schedule(seed: u64, tier: Tier) -> Schedule {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let families = draw_families(&mut rng, tier);
    let mut world = WorldSpec::draw(&mut rng, &families, tier);
    world.add_links(seed, &families);
    world.add_devices(seed, &families);
    let families = draw_sharing(seed, families, &mut world);
    let clients = (0..).map(Actor::Client).take(world.clients.len());
    let back_ends = (0..world.back_ends).map(Actor::BackEnd);
    let gateways = (0..world.gateways).map(Actor::Gateway);
    let others = [Actor::Store, Actor::Clock, Actor::Stranger, Actor::Operator];
    let mut ops = Vec::new();
    for actor in clients.chain(back_ends).chain(gateways).chain(others) {
        let rng = actor.stream(seed, Stream::Schedule);
        let mut draw = Draw { actor, rng, families: &families, world: &world, ops: Vec::new() };
        draw.all();
        if let Actor::BackEnd(index) = actor {
            draw.rng = actor.stream(seed, Stream::Links);
            draw.push_to_links(index);
        }
        draw.rng = actor.stream(seed, Stream::Devices);
        draw.what_devices_bring();
        ops.append(&mut draw.ops);
    }
    if families.contains(&Family::Storm) {
        draw_storms(&mut rng, &world, &mut ops);
    }
    ops.retain(|op| op.at < world.heal_at);
    ops.sort_by_key(|op| (op.at, op.actor));
    Schedule { seed, tier, families, world, ops }
}

/// A quarter of the worlds have no faults; the others have one family to all of them.
fn draw_families(rng: &mut ChaCha8Rng, tier: Tier) -> BTreeSet<Family> {
    if rng.random_bool(0.25) {
        return BTreeSet::new();
    }
    let share = rng.random_range(0.05..0.7);
    let mut families: BTreeSet<_> = Family::ALL
        .into_iter()
        .filter(|family| family.exists_in(tier) && rng.random_bool(share))
        .collect();
    if families.is_empty() {
        families.insert(Family::Reset);
    }
    families
}

/// Half of the worlds with several gateways have one store for all of them. What is drawn for it comes
/// from a stream of its own.
fn draw_sharing(
    seed: u64,
    mut families: BTreeSet<Family>,
    world: &mut WorldSpec,
) -> BTreeSet<Family> {
    let mut rng = Actor::Store.stream(seed, Stream::World);
    if world.gateways == 1 || rng.random_bool(0.5) {
        return families;
    }
    world.lease = Some(rng.random_range(2_000..6_000));
    if !families.is_empty() {
        families.extend(Family::SHARED.into_iter().filter(|_| rng.random_bool(0.4)));
    }
    families
}

/// All clients lose their connections at once, twice.
fn draw_storms(rng: &mut ChaCha8Rng, world: &WorldSpec, ops: &mut Vec<Op>) {
    for _ in 0..2 {
        let at = rng.random_range(5_000_000..world.heal_at);
        let clients = (0..).map(Actor::Client).take(world.clients.len());
        ops.extend(clients.map(|actor| Op { at, actor, kind: OpKind::Reset }));
    }
}

impl Draw<'_> {
    fn all(&mut self) {
        match self.actor {
            Actor::Client(_) => self.client(),
            Actor::BackEnd(_) => self.back_end(),
            Actor::Gateway(_) => self.gateway(),
            Actor::Store => self.store(),
            Actor::Clock => {
                self.some(Family::Leap, 3, |rng| OpKind::Leap(rng.random_range(3_000..40_000)));
            }
            Actor::Stranger => self.strangers(),
            Actor::Operator => self.operator(),
        }
    }

    pub(super) fn push_op(&mut self, at: u64, kind: OpKind) {
        self.ops.push(Op { at, actor: self.actor, kind });
    }

    /// Some time before the world heals.
    pub(super) fn some_time(&mut self) -> u64 {
        self.rng.random_range(3_000_000..self.world.heal_at)
    }

    /// If the family exists, up to `most` operations of it. What is drawn for one family does not
    /// depend on whether another exists.
    fn some(&mut self, family: Family, most: u32, draw: impl Fn(&mut ChaCha8Rng) -> OpKind) {
        let mut own = self.rng.clone();
        own.set_stream(own.get_stream() + ((family as u64 + 1) << 32));
        if !self.families.contains(&family) {
            return;
        }
        for _ in 0..own.random_range(0..=most) {
            let at = own.random_range(3_000_000..self.world.heal_at);
            let kind = draw(&mut own);
            self.push_op(at, kind);
        }
    }

    fn client(&mut self) {
        let late = !self.families.is_empty() && self.rng.random_bool(0.2);
        let latest = if late { 30_000_000 } else { 2_000_000 };
        let at = self.rng.random_range(0..latest);
        self.push_op(at, OpKind::Start);
        let Actor::Client(index) = self.actor else { return };
        if self.world.clients[index as usize].speaks == Speaks::Link {
            for _ in 0..self.rng.random_range(0..12) {
                let at = self.rng.random_range(0..self.world.heal_at);
                self.push_op(at, OpKind::Change);
            }
        } else {
            for _ in 0..self.rng.random_range(0..4) {
                let at = self.some_time();
                let kind = if self.rng.random_bool(0.6) { OpKind::Repeat } else { OpKind::Chat };
                self.push_op(at, kind);
            }
        }
        self.some(Family::Partition, 2, |rng| {
            OpKind::Cut(Direction::Both, rng.random_range(500..25_000))
        });
        self.some(Family::OneWayPartition, 2, |rng| {
            let ways = [Direction::ToGateway, Direction::ToClient];
            OpKind::Cut(ways[rng.random_range(0..2)], rng.random_range(500..25_000))
        });
        self.some(Family::Hold, 2, |rng| OpKind::Hold(rng.random_range(50..6_000)));
        self.some(Family::Vanish, 2, |rng| OpKind::Vanish(rng.random_range(10..8_000)));
        self.some(Family::Leave, 3, |rng| OpKind::Leave(rng.random_range(10..12_000)));
        self.some(Family::Reset, 4, |_| OpKind::Reset);
        self.some(Family::Freeze, 1, |rng| OpKind::Freeze(rng.random_range(500..30_000)));
        self.some(Family::IgnorePings, 2, |rng| OpKind::IgnorePings(rng.random_range(500..20_000)));
        self.some(Family::StrayPong, 6, |rng| OpKind::StrayPong(rng.random_range(0..12)));
        self.some(Family::SlowReader, 2, |rng| OpKind::ReadSlowly(rng.random_range(100..9_000)));
        self.some(Family::Malformed, 1, |_| OpKind::Binary);
        self.some(Family::Move, 3, |rng| OpKind::Move {
            cut: rng.random_range(500..8_000),
            back: rng.random_bool(0.7),
        });
    }

    /// Pushes one by one, and in bursts.
    fn back_end(&mut self) {
        let Actor::BackEnd(index) = self.actor else { return };
        let mut serial = index * 10_000;
        for _ in 0..self.rng.random_range(50..100) {
            let at = self.rng.random_range(500_000..self.world.heal_at);
            let key = self.some_key();
            self.push_one(at, &mut serial, key);
        }
        for _ in 0..self.rng.random_range(1..6) {
            let (start, key) = (self.some_time(), self.some_key());
            for step in 0..self.rng.random_range(3..12) {
                self.push_one(start + step * 150, &mut serial, key);
            }
        }
        if self.families.contains(&Family::Flood) {
            let (start, key) = (self.some_time(), self.some_key());
            for step in 0..self.rng.random_range(30..70) {
                self.push_one(start + step * 1_000, &mut serial, key);
            }
        }
        if self.families.contains(&Family::Duplicates) {
            for _ in 0..2 {
                self.push_while_removing(&mut serial);
            }
            self.request_many(&mut serial, index);
        }
        self.some(Family::Malformed, 4, |rng| {
            let lines = [
                BadLine::Rubbish,
                BadLine::NoKey,
                BadLine::EmptyKey,
                BadLine::LongKey,
                BadLine::TooLong,
            ];
            OpKind::BadLine(lines[rng.random_range(0..lines.len())])
        });
        self.some(Family::BackEndChange, 3, |rng| match rng.random_range(0..3) {
            0 => OpKind::Finish(0),
            1 => OpKind::Finish(rng.random_range(1..100)),
            _ => OpKind::Drop,
        });
    }

    /// Pushes to the keys that only clients of the link protocol have.
    fn push_to_links(&mut self, index: u32) {
        let keys = self.world.link_keys();
        let mut serial = 40_000 + index * 10_000;
        for key in keys {
            for _ in 0..self.rng.random_range(5..20) {
                let at = self.rng.random_range(500_000..self.world.heal_at);
                self.push_one(at, &mut serial, key);
            }
            let start = self.some_time();
            for step in 0..self.rng.random_range(3..12) {
                self.push_one(start + step * 150, &mut serial, key);
            }
        }
    }

    /// The same push again when the first is confirmed, its client gone and its removal not done: the
    /// store fails writes from before the confirmation until just before the second push.
    fn push_while_removing(&mut self, serial: &mut u32) {
        let clients = u32::try_from(self.world.text_clients()).expect("a world has few clients");
        let (at, client) = (self.some_time(), self.rng.random_range(0..clients));
        let key = self.world.clients[client as usize].key;
        *serial += 1;
        let push = Push { key, serial: *serial, padding: 0, poison: false, ttl: None };
        let travel = self.world.clients[client as usize].latency;
        self.push_op(at, OpKind::Push(push));
        let reset_at = at + 60_000 + 8 * travel;
        let full = OpKind::Trouble(Trouble::ReadOnly, (reset_at + 10_000 - at) / 1_000);
        self.ops.push(Op { at: at + 4_000, actor: Actor::Store, kind: full });
        self.ops.push(Op { at: reset_at, actor: Actor::Client(client), kind: OpKind::Reset });
        self.push_op(reset_at + 20_000, OpKind::Push(push));
    }

    /// More pushes under names at once than a window has room for: none is written before it is known
    /// to be no duplicate.
    fn request_many(&mut self, serial: &mut u32, index: u32) {
        let (start, key) = (self.some_time(), self.some_key());
        for step in 0..self.rng.random_range(4..20) {
            *serial += 1;
            let push = Push { key, serial: *serial, padding: 0, poison: false, ttl: None };
            let name = 10_000 * (index + 1) + step;
            self.push_op(start, OpKind::Request(push, Some(name)));
        }
    }

    fn some_key(&mut self) -> u32 {
        self.rng.random_range(0..TEXT_KEYS)
    }

    pub(super) fn push_one(&mut self, at: u64, serial: &mut u32, key: u32) {
        *serial += 1;
        let padding = if self.rng.random_bool(0.1) { self.rng.random_range(1..300) } else { 0 };
        let draws = (self.rng.random_range(0..100), self.rng.random_range(0..4));
        let poison = self.families.contains(&Family::Poison) && draws.0 < 2;
        let mut push = Push { key, serial: *serial, padding, poison, ttl: None };
        if !self.families.contains(&Family::Duplicates) {
            return self.push_op(at, OpKind::Push(push));
        }
        match draws.0 {
            2..15 => {
                self.push_op(at, OpKind::Push(push));
                let later = [1_000, 50_000, 400_000, 3_000_000][draws.1];
                self.push_op(at + later, OpKind::Push(push));
            }
            15..30 => {
                let name = 10 * key + u32::try_from(draws.1).expect("small");
                // One in six has other data under the same name.
                push.serial = 100_000 + 10 * name + u32::from(draws.0 > 27);
                push.padding = 0;
                self.push_op(at, OpKind::Request(push, Some(name)));
            }
            _ => self.push_op(at, OpKind::Push(push)),
        }
    }

    fn store(&mut self) {
        self.some(Family::StoreSlow, 3, |rng| {
            OpKind::Trouble(Trouble::Slow, rng.random_range(500..10_000))
        });
        self.some(Family::StoreFailing, 3, |rng| {
            let kinds = [Trouble::Failing, Trouble::Unclear];
            OpKind::Trouble(kinds[rng.random_range(0..2)], rng.random_range(100..8_000))
        });
        self.some(Family::StoreStalled, 3, |rng| {
            OpKind::Trouble(Trouble::Stalled, rng.random_range(100..8_000))
        });
        self.some(Family::StoreReadOnly, 2, |rng| {
            OpKind::Trouble(Trouble::ReadOnly, rng.random_range(500..8_000))
        });
        self.some(Family::RedisCrash, 2, |rng| OpKind::Crash {
            how: Crash::Process,
            down: rng.random_range(100..5_000),
            back: 0,
        });
        self.some(Family::LostNotices, 8, |_| OpKind::Reset);
    }

    fn gateway(&mut self) {
        let clock_back = self.families.contains(&Family::ClockBack);
        self.some(Family::Crash, 2, move |rng| {
            let ways = [Crash::Process, Crash::Machine];
            let back = rng.random_range(1_000..100_000);
            OpKind::Crash {
                how: ways[rng.random_range(0..2)],
                down: rng.random_range(100..5_000),
                back: if clock_back { back } else { 0 },
            }
        });
        self.some(Family::Bounce, 1, |rng| OpKind::Shutdown(rng.random_range(1_500..5_000)));
        self.some(Family::Stall, 3, |rng| OpKind::Stall(rng.random_range(200..20_000)));
        self.some(Family::RedisPartition, 2, |rng| {
            OpKind::Cut(Direction::Both, rng.random_range(200..12_000))
        });
        self.some(Family::RedisOneWay, 2, |rng| {
            let ways = [Direction::ToGateway, Direction::ToClient];
            OpKind::Cut(ways[rng.random_range(0..2)], rng.random_range(200..12_000))
        });
    }

    fn operator(&mut self) {
        self.some(Family::Operators, 12, |rng| {
            let questions = [
                Question::ShowQueue,
                Question::PurgeQueue,
                Question::ListDead,
                Question::RequeueDead,
                Question::RequeueDead,
                Question::PurgeDead,
            ];
            let question = questions[rng.random_range(0..questions.len())];
            OpKind::Ask(question, rng.random_range(0..TEXT_KEYS))
        });
    }

    fn strangers(&mut self) {
        // Monitors are no fault.
        for _ in 0..self.rng.random_range(1..3) {
            let at = self.some_time();
            self.push_op(at, OpKind::Intrude(Intrusion::Monitor));
        }
        self.some(Family::Malformed, 6, |rng| {
            let kinds = [
                Intrusion::Silence,
                Intrusion::HalfUpgrade,
                Intrusion::BadUpgrade,
                Intrusion::BadFrame,
                Intrusion::NoKey,
                Intrusion::LongKey,
                Intrusion::ReservedKey,
            ];
            OpKind::Intrude(kinds[rng.random_range(0..kinds.len())])
        });
    }
}
