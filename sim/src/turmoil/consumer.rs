//! The consumer of the device log in a Redis that gateways share: production's, on a machine whose power
//! fails now and then.
//!
//! It works between two steps of the world, and Redis does at once what it asks: what it would wait for
//! there it asks for again. Its power fails before Redis hears it, before it hears Redis, and between
//! what it writes to its file and what is synced.

use super::redis::Machine;
use super::tally::Tally;
use crate::redis::Frames;
use crate::schedule::Delivered;
use bytestring::ByteString;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use redis::{ConnectionLike, RedisResult, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use steadfast_core::store::DeviceEntry;
use steadfast_core::time::Span;
use steadfast_shell::codec::redis::encode::DEVICE_LOG;
use steadfast_shell::device_logs::lists::{Dial, Lists, PROCESSING};
use steadfast_shell::device_logs::{Passed, Sink, pass_on};

/// Its name.
const NAME: &str = "main";

/// How long it waits when there is nothing to do, or when it could not do it.
const REST: Span = Span::from_secs(1);
/// How long its power is away.
const DARK: Span = Span::from_secs(5);
/// How likely its power fails at each moment.
const FAILURE: f64 = 0.05;

/// The consumer, over all of its runs.
#[derive(Debug)]
pub(super) struct Consumer {
    redis: Rc<Machine>,
    power: Rc<Power>,
    lists: Lists<Server>,
    file: File,
    next: Span,
    delivered: Tally,
}

impl Consumer {
    /// One that has not run yet. A frail one's power fails; a hasty one removes entries before they are
    /// synced.
    pub(super) fn new(
        redis: &Rc<Machine>,
        seed: u64,
        is_frail: bool,
        is_hasty: bool,
        delivered: Tally,
    ) -> Self {
        let rng = RefCell::new(ChaCha8Rng::seed_from_u64(seed));
        let power = Rc::new(Power { rng, is_frail, failed: Cell::new(false) });
        let file = File { power: Rc::clone(&power), is_hasty, lines: Vec::new(), synced: 0 };
        let lists = begin(redis, &power);
        Self { redis: Rc::clone(redis), power, lists, file, next: Span::ZERO, delivered }
    }

    /// It is this time.
    pub(super) fn turn(&mut self, now: Span) {
        if now < self.next {
            return;
        }
        let passed = pass_on(&mut self.lists, &mut self.file, |_| ());
        self.next = now + REST;
        if self.power.failed.take() {
            self.file.lines.truncate(self.file.synced);
            self.lists = begin(&self.redis, &self.power);
            self.next = now + DARK;
            self.delivered.count(Delivered::ConsumerFailed);
        } else if passed.is_ok_and(|passed| passed != Passed::default()) {
            self.next = now;
        }
    }

    /// The device log: what is in the file, what is under way, and what still waits. An entry may be in
    /// the file twice, and under way as well: after a failure it was taken again.
    pub(super) fn device_log(&self) -> Vec<DeviceEntry> {
        let mut log = self.file.lines.clone();
        let server = self.redis.server.borrow();
        let under_way = format!("{PROCESSING}{NAME}");
        let in_redis = server.list(&under_way).chain(server.list(DEVICE_LOG));
        log.extend(in_redis.map(|entry| String::from_utf8_lossy(entry).into_owned()));
        let mut seen = BTreeSet::new();
        log.retain(|entry| seen.insert(entry.clone()));
        // The list does not say whose an entry is.
        let entry = |(number, entry): (u64, String)| DeviceEntry {
            number,
            device: ByteString::new(),
            entry: entry.into(),
        };
        (0..).zip(log).map(entry).collect()
    }
}

/// A run of the consumer begins.
fn begin(redis: &Rc<Machine>, power: &Rc<Power>) -> Lists<Server> {
    let server = Server { redis: Rc::clone(redis), power: Rc::clone(power) };
    Lists::new(server, NAME).expect("the name is a word")
}

/// What fails now and then.
#[derive(Debug)]
struct Power {
    rng: RefCell<ChaCha8Rng>,
    is_frail: bool,
    failed: Cell<bool>,
}

impl Power {
    /// A moment passes.
    fn moment(&self) -> io::Result<()> {
        let fails = self.rng.borrow_mut().random_bool(FAILURE) && self.is_frail;
        self.failed.set(fails || self.failed.get());
        if self.failed.get() { Err(io::Error::other("the power failed")) } else { Ok(()) }
    }
}

/// How Redis is reached.
#[derive(Debug)]
struct Server {
    redis: Rc<Machine>,
    power: Rc<Power>,
}

impl Dial for Server {
    type Connection = Line;

    fn name(&self) -> &str {
        "redis"
    }

    fn dial(&self) -> RedisResult<Line> {
        self.power.moment()?;
        let peer = self
            .redis
            .connect()
            .ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Line { peer, redis: Rc::clone(&self.redis), power: Rc::clone(&self.power) })
    }
}

/// A connection to Redis.
#[derive(Debug)]
struct Line {
    peer: u64,
    redis: Rc<Machine>,
    power: Rc<Power>,
}

impl Line {
    fn ask(&self, commands: &[u8]) -> io::Result<Vec<Value>> {
        self.power.moment()?;
        let bytes = self.redis.ask(self.peer, commands)?;
        self.power.moment()?;
        let mut frames = Frames::default();
        frames.put(&bytes);
        Ok(std::iter::from_fn(|| frames.next()).collect())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.redis.server.borrow_mut().disconnect(self.peer);
    }
}

impl ConnectionLike for Line {
    fn req_packed_command(&mut self, command: &[u8]) -> RedisResult<Value> {
        let replies = self.ask(command)?;
        let reply = replies
            .into_iter()
            .next()
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
        reply.extract_error()
    }

    fn req_packed_commands(
        &mut self,
        commands: &[u8],
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        let replies = self.ask(commands)?.into_iter().skip(offset).take(count);
        replies.map(Value::extract_error).collect()
    }

    fn get_db(&self) -> i64 {
        15
    }

    fn check_connection(&mut self) -> bool {
        true
    }

    fn is_open(&self) -> bool {
        true
    }
}

/// The file: its lines, and how many of them are on disk.
#[derive(Debug)]
struct File {
    power: Rc<Power>,
    is_hasty: bool,
    lines: Vec<String>,
    synced: usize,
}

impl Sink for File {
    fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        let moment = || self.power.moment().map_err(|error| error.to_string());
        if self.is_hasty {
            self.synced = self.lines.len();
        }
        moment()?;
        self.lines.extend(String::from_utf8_lossy(lines).lines().map(str::to_owned));
        moment()?;
        if !self.is_hasty {
            self.synced = self.lines.len();
        }
        Ok(())
    }
}
