//! One random world: what clients, back ends, the store and the clock do.

use crate::judge::Judge;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use steadfast_core::config::{BindPolicy, Config, Dedup};
use steadfast_core::id::{ConnId, Key, PusherId};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Reads, Store, World};

/// The keys of every world. A payload names its key by the place here.
pub(crate) const KEYS: [&str; 4] = ["1", "22", "text", r#"{"uid":"7","FunctionType":4}"#];

/// One random world and its judge.
pub(crate) struct Play {
    pub(crate) world: World,
    pub(crate) config: Config,
    judge: Judge,
    rng: ChaCha8Rng,
    pushers: Vec<PusherId>,
    pushed: u64,
}

impl Play {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = config(&mut rng);
        let judge = Judge::new(config.clone());
        let mut world = World::new(config.clone());
        let pushers = vec![world.pusher(), world.pusher()];
        Self { world, config, judge, rng, pushers, pushed: 0 }
    }

    pub(crate) fn run(&mut self) {
        for _ in 0..self.rng.random_range(50..300) {
            self.step();
            self.judge.look(&self.world);
        }
        self.heal();
        self.judge.look(&self.world);
        self.judge_end();
    }

    fn step(&mut self) {
        let key = KEYS[self.rng.random_range(0..KEYS.len())];
        match self.rng.random_range(0..100) {
            0..10 => {
                self.world.client(key);
            }
            10..16 => {
                if let Some((id, _)) = self.pick() {
                    self.world.drop_conn(id);
                }
            }
            16..53 => self.push(key),
            53..60 => self.request(key),
            60..68 => {
                if let Some((id, key)) = self.pick() {
                    self.world.text(id, &key);
                }
            }
            68..88 => {
                let millis = self.rng.random_range(1..4_000);
                self.world.wait_ms(millis);
            }
            88..93 => {
                let stores = [
                    Store::Slow,
                    Store::Failing,
                    Store::Dead,
                    Store::Refusing("remove"),
                    Store::Refusing("retry"),
                    Store::Refusing("bury"),
                ];
                self.world.set_store(stores[self.rng.random_range(0..stores.len())]);
            }
            93..95 => {
                self.world.pongs =
                    if self.rng.random_bool(0.5) { Pongs::Prompt } else { Pongs::None };
            }
            95 => {
                let reads = if self.rng.random_bool(0.7) { Reads::Prompt } else { Reads::None };
                self.world.set_reads(reads);
            }
            96 => {
                self.judge.stalled = true;
                self.world.stall(Span::from_secs(self.rng.random_range(1..20)));
            }
            _ => self.world.set_store(Store::Prompt),
        }
    }

    /// An open, bound connection and its key.
    fn pick(&mut self) -> Option<(ConnId, Key)> {
        let open: Vec<_> = self.judge.open().collect();
        let index = self.rng.random_range(0..open.len().max(1));
        open.get(index).cloned()
    }

    fn push(&mut self, key: &str) {
        // One in five repeats the last payload, which may then be merged.
        if self.rng.random_bool(0.8) {
            self.pushed += 1;
        }
        let pusher = self.pushers[self.rng.random_range(0..2)];
        let uid = key.replace('"', "\\\"");
        let line = format!(r#"{{"uid":"{uid}","D":"{}#{}"}}"#, tag(key), self.pushed);
        self.world.line(pusher, &line);
    }

    fn request(&mut self, key: &str) {
        let name = format!("id{}", self.rng.random_range(0..5));
        let pusher = self.pushers[self.rng.random_range(0..2)];
        let again = if self.rng.random_bool(0.1) { "other" } else { "" };
        self.world.request(pusher, key, &format!("{}#{name}{again}", tag(key)), &name);
    }

    /// Everything is mended. In half of the worlds the clients that are still there stay, in the
    /// others every key gets a new one; all send their heartbeat until nothing is left to do.
    fn heal(&mut self) {
        self.world.pongs = Pongs::Prompt;
        self.world.set_reads(Reads::Prompt);
        self.world.set_store(Store::Prompt);
        if self.rng.random_bool(0.5) {
            self.world.wait(Span::from_secs(30));
        }
        self.judge.look(&self.world);
        if self.rng.random_bool(0.5) {
            let open: Vec<_> = self.judge.open().collect();
            for (id, _) in open {
                self.world.drop_conn(id);
            }
        }
        for _ in 0..25 {
            self.judge.look(&self.world);
            for key in KEYS {
                if self.judge.live(&Key::new(key)).is_empty() {
                    self.world.client(key);
                }
            }
            let open: Vec<_> = self.judge.open().collect();
            for (id, key) in open {
                self.world.text(id, &key);
            }
            self.world.wait(Span::from_secs(5));
        }
    }

    /// Every promise is kept: nothing waits any more, and what is not confirmed is a dead letter.
    fn judge_end(&mut self) {
        for key in KEYS {
            let waiting = self.world.model.waiting(&Key::new(key)).count();
            assert_eq!(waiting, 0, "messages wait for {key} although it has a client");
        }
        let dead = self.world.model.dead_letters().map(|letter| letter.message.id).collect();
        self.judge.end(&dead);
    }
}

fn config(rng: &mut ChaCha8Rng) -> Config {
    let bind = match rng.random_range(0..4) {
        0 => BindPolicy::All,
        1 => BindPolicy::Kick,
        _ => BindPolicy::Newest,
    };
    Config {
        bind,
        window_messages: rng.random_range(1..6),
        window_bytes: rng.random_range(60..400),
        mailbox_limit: rng.random_range(6..12),
        ttl: Span::from_secs(rng.random_range(20..90)),
        retry_interval: Span::from_millis(500),
        retry_max: rng.random_range(1..5),
        store_timeout: Span::from_secs(2),
        pong_timeout: Span::from_secs(rng.random_range(1..11)),
        max_unanswered: 4,
        max_removing: rng.random_range(2..8),
        kick_interval: Span::from_secs(5),
        dedup: if rng.random_bool(0.5) { Dedup::On } else { Dedup::Off },
        ..Config::default()
    }
}

/// What marks a payload as one for this key.
fn tag(key: &str) -> usize {
    KEYS.iter().position(|other| *other == key).expect("a known key")
}
