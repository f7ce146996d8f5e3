//! Random worlds: whatever clients, back ends, the store and the clock do, the promises hold.
//!
//! Each world is made from a seed. A failure names it; `SEED=<n> cargo test -p steadfast-sim --test
//! promises` runs that world alone and prints its trace.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use steadfast_core::command::{Command, Reply};
use steadfast_core::config::{BindPolicy, Config, Dedup};
use steadfast_core::id::{ConnId, Key, MessageId, PusherId};
use steadfast_core::record::{ConnRecord, DeliveryRecord, PushRecord, Record};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Store, World};

const KEYS: [&str; 4] = ["1", "22", "text", r#"{"uid":"7","FunctionType":4}"#];

/// How many worlds one run of the test makes; `SEEDS` overrides it.
const WORLDS: u64 = 400;

#[test]
fn promises_hold_in_random_worlds() {
    let one: Option<u64> = std::env::var("SEED").ok().map(|seed| seed.parse().expect("a number"));
    let worlds = std::env::var("SEEDS").map_or(WORLDS, |seeds| seeds.parse().expect("a number"));
    let seeds = one.map_or(0..worlds, |seed| seed..seed + 1);
    for seed in seeds {
        let mut play = Play::new(seed);
        let result = catch_unwind(AssertUnwindSafe(|| play.run()));
        if one.is_some() {
            println!("{}", play.world.trace.text());
        }
        if let Err(panic) = result {
            eprintln!("seed {seed} failed; to see it alone:");
            eprintln!("  SEED={seed} cargo test -p steadfast-sim --test promises -- --nocapture");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The same world twice gives the same trace, also in another process: the expected hash was
/// computed by an earlier one.
#[test]
fn a_seed_decides_everything() {
    let hash = |seed| {
        let mut play = Play::new(seed);
        play.run();
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
        play.world.trace.text().hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash(3), hash(3));
    let hashes = format!("{:016x}\n{:016x}\n{:016x}", hash(1), hash(2), hash(3));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("trace_hashes", hashes));
}

/// One random world and what its oracles remember.
struct Play {
    world: World,
    rng: ChaCha8Rng,
    policy: BindPolicy,
    open: Vec<ConnId>,
    pushers: Vec<PusherId>,
    pushed: u64,
    /// How many commands the oracles have seen.
    seen: usize,
    bound: BTreeMap<ConnId, Key>,
    /// What each connection was written, to judge order.
    written: BTreeMap<ConnId, Vec<u64>>,
    promised: BTreeSet<MessageId>,
    settled: BTreeSet<MessageId>,
    prepared: BTreeMap<MessageId, u64>,
    order: Vec<MessageId>,
    merged: BTreeMap<MessageId, MessageId>,
    failed: BTreeSet<MessageId>,
    replies: u64,
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let policy = match rng.random_range(0..4) {
            0 => BindPolicy::All,
            1 => BindPolicy::Kick,
            _ => BindPolicy::Newest,
        };
        let config = Config {
            bind: policy,
            window_messages: rng.random_range(1..6),
            window_bytes: rng.random_range(60..400),
            mailbox_limit: rng.random_range(6..12),
            ttl: Span::from_secs(rng.random_range(20..90)),
            retry_interval: Span::from_millis(500),
            retry_max: rng.random_range(1..5),
            store_timeout: Span::from_secs(2),
            max_unanswered: 4,
            max_removing: rng.random_range(2..8),
            kick_interval: Span::from_secs(5),
            dedup: if rng.random_bool(0.5) { Dedup::On } else { Dedup::Off },
            ..Config::default()
        };
        let mut world = World::new(config);
        let pushers = vec![world.pusher(), world.pusher()];
        Self {
            world,
            rng,
            policy,
            open: Vec::new(),
            pushers,
            pushed: 0,
            seen: 0,
            bound: BTreeMap::new(),
            written: BTreeMap::new(),
            promised: BTreeSet::new(),
            settled: BTreeSet::new(),
            prepared: BTreeMap::new(),
            order: Vec::new(),
            merged: BTreeMap::new(),
            failed: BTreeSet::new(),
            replies: 0,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.random_range(50..300) {
            self.step();
            self.judge();
        }
        self.heal();
        self.judge();
        self.judge_end();
    }

    fn step(&mut self) {
        let key = KEYS[self.rng.random_range(0..KEYS.len())];
        match self.rng.random_range(0..100) {
            0..10 => {
                let id = self.world.client(key);
                self.open.push(id);
            }
            10..16 => {
                if let Some(id) = self.pick() {
                    self.world.drop_conn(id);
                }
            }
            16..55 => self.push(key),
            55..60 => {
                let name = format!("id{}", self.rng.random_range(0..5));
                let data = format!("{}#{name}", self.tag(key));
                let pusher = self.pushers[self.rng.random_range(0..2)];
                self.world.request(pusher, key, &data, &name);
            }
            60..66 => {
                if let Some(id) = self.pick() {
                    self.world.text(id, key);
                }
            }
            66..88 => {
                let millis = self.rng.random_range(1..4_000);
                self.world.wait_ms(millis);
            }
            88..93 => {
                let store = [Store::Prompt, Store::Slow, Store::Failing, Store::Dead];
                let store = store[self.rng.random_range(0..store.len())];
                self.world.set_store(store);
            }
            93..96 => {
                self.world.pongs =
                    if self.rng.random_bool(0.5) { Pongs::Prompt } else { Pongs::None };
            }
            96 => self.world.stall(Span::from_secs(self.rng.random_range(1..20))),
            _ => self.world.set_store(Store::Prompt),
        }
    }

    /// An open connection; those that the gateway closed are sorted out here.
    fn pick(&mut self) -> Option<ConnId> {
        self.judge();
        let index = self.rng.random_range(0..self.open.len().max(1));
        self.open.get(index).copied()
    }

    /// What marks a payload as one for this key.
    fn tag(&self, key: &str) -> usize {
        KEYS.iter().position(|other| *other == key).expect("a known key")
    }

    fn push(&mut self, key: &str) {
        self.pushed += 1;
        // One in five repeats the last payload, which may then be merged.
        if self.rng.random_bool(0.2) {
            self.pushed -= 1;
        }
        let pusher = self.pushers[self.rng.random_range(0..2)];
        let uid = key.replace('"', "\\\"");
        let line = format!(r#"{{"uid":"{uid}","D":"{}#{}"}}"#, self.tag(key), self.pushed);
        self.world.line(pusher, &line);
    }

    /// Everything is mended, and every key gets a client that reads and answers.
    fn heal(&mut self) {
        self.world.pongs = Pongs::Prompt;
        self.world.set_store(Store::Prompt);
        self.world.wait(Span::from_secs(30));
        self.judge();
        for id in std::mem::take(&mut self.open) {
            self.world.drop_conn(id);
        }
        let fresh: Vec<_> = KEYS.iter().map(|key| self.world.client(key)).collect();
        for _ in 0..30 {
            for (id, key) in fresh.iter().zip(KEYS) {
                self.world.text(*id, key);
            }
            self.world.wait(Span::from_secs(5));
        }
    }

    /// Looks at the commands given since last time.
    fn judge(&mut self) {
        for index in self.seen..self.world.commands.len() {
            let (_, command) = self.world.commands[index].clone();
            match command {
                Command::Send { conn, payload, .. } => self.judge_send(conn, &payload),
                Command::Reply { reply, .. } => {
                    self.replies += 1;
                    match reply {
                        Reply::Ok(id) | Reply::Queued(id) => {
                            self.promised.insert(id);
                        }
                        Reply::Fail(_) => {}
                    }
                }
                Command::Record(record) => self.judge_record(record),
                Command::Close { conn, .. } => self.open.retain(|open| *open != conn),
                _ => {}
            }
        }
        self.seen = self.world.commands.len();
    }

    fn judge_record(&mut self, record: Record) {
        match record {
            Record::Connection(id, ConnRecord::Bound { key, .. }) => {
                self.bound.insert(id, key);
            }
            Record::Connection(id, ConnRecord::Closed { .. }) => {
                self.open.retain(|open| *open != id);
            }
            Record::Push(_, PushRecord::Prepared { id, .. }) => {
                self.prepared.insert(id, self.order.len() as u64);
                self.order.push(id);
            }
            Record::Push(_, PushRecord::Merged { id, into, .. }) => {
                self.merged.insert(id, into);
            }
            Record::Push(_, PushRecord::Failed { id, .. }) => {
                self.failed.insert(id);
            }
            Record::Delivery(_, DeliveryRecord::Confirmed { first, last, .. }) => {
                assert!(
                    self.prepared.contains_key(&first),
                    "{first} was confirmed, never accepted"
                );
                assert!(self.prepared.contains_key(&last), "{last} was confirmed, never accepted");
            }
            _ => {}
        }
    }

    /// No cross-talk, and per key the order of acceptance on every connection.
    fn judge_send(&mut self, conn: ConnId, payload: &[u8]) {
        let text = std::str::from_utf8(payload).expect("text is UTF-8");
        let Some(hash) = text.find('#') else { return };
        let tag: usize = text[..hash].chars().last().and_then(|c| c.to_digit(10)).unwrap() as usize;
        let key = &self.bound[&conn];
        assert_eq!(&**key, KEYS[tag], "{conn} of {key} was written a message of {}", KEYS[tag]);
        let digits: String = text[hash + 1..].chars().take_while(char::is_ascii_digit).collect();
        let Ok(number) = digits.parse::<u64>() else { return };
        let written = self.written.entry(conn).or_default();
        // With several receivers, what one left unconfirmed comes to the others late.
        if self.policy != BindPolicy::All && !written.contains(&number) {
            let last = written.iter().max().copied().unwrap_or(0);
            assert!(number >= last, "{conn} was written {number} after {last}");
        }
        written.push(number);
    }

    /// Every promise is kept: nothing waits any more, and what is not confirmed is a dead letter.
    fn judge_end(&mut self) {
        for key in KEYS {
            let waiting = self.world.model.waiting(&Key::new(key)).count();
            assert_eq!(waiting, 0, "messages wait for {key} although it has a client");
        }
        assert_eq!(self.replies, self.order.len() as u64, "pushes and replies");
        let confirmed = self.confirmed();
        let dead: BTreeSet<_> =
            self.world.model.dead_letters().map(|letter| letter.message.id).collect();
        for id in &self.promised {
            assert!(
                confirmed.contains(id) || dead.contains(id),
                "{id} was promised, and is neither confirmed nor a dead letter"
            );
        }
        for id in &self.order {
            let known = self.promised.contains(id)
                || self.failed.contains(id)
                || self.merged.contains_key(id)
                || !self.settled.contains(id);
            assert!(known, "{id} was accepted and forgotten");
        }
    }

    /// Which messages the store was told to forget.
    fn confirmed(&self) -> BTreeSet<MessageId> {
        let ops = self.world.commands.iter().filter_map(|(_, command)| match command {
            Command::Store { request, .. } => Some(request),
            _ => None,
        });
        ops.filter_map(|op| match op {
            steadfast_core::store::Op::Remove { ids, .. } => Some(ids),
            _ => None,
        })
        .flatten()
        .copied()
        .collect()
    }
}
