//! The store in Redis.
//!
//! The event loop hands over what a turn has asked for at once. A thread (`lane`) sends whatever has
//! queued as one pipeline and reads the replies; each operation is one script, and so atomic. Devices
//! and their log have a lane of their own: their keys are read by others, and may be on another server.
//! A third connection (`subscriber`) hears of what other nodes do with this node's keys.
//!
//! In a Redis Cluster there is a lane for each shard: a part of the keys that is in one slot. Where a
//! lane connects to is the business of `place`.
//!
//! What is said to Redis, and what it answers, is [`codec::redis`](crate::codec::redis).

mod connection;
mod lane;
mod place;
mod report;
mod subscriber;

use super::Backend;
use super::handoff::{Handoff, weight};
use super::health::Health;
use crate::codec::redis::encode::{self, Encoder};
use crate::codec::redis::scripts::Clock;
use crate::codec::redis::shards::{self, Gathering, Next, Route, Shard};
use crate::journal::Journal;
use crate::reactor::Handle;
use connection::Server;
use lane::{Lane, Purpose};
use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, DeviceOp, Node, Notice, Op};
use subscriber::{Notices, Subscriber};

/// More than this is not queued: further operations fail at once.
const MAX_QUEUED_BYTES: usize = 256 << 20;
const TOO_MUCH: &str = "too much waits for Redis already";

/// The database of the devices on the messages' server.
pub(crate) const DEVICE_DATABASE: i64 = 15;

/// Which Redis, and how it is used.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where messages are.
    pub url: String,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// Where devices and their log are: database 15 unless the URL names one; when absent that of the
    /// same server.
    pub device_url: Option<String>,
    /// A write counts once so many replicas have it.
    pub wait_replicas: u32,
    /// A reply that takes longer is not waited for.
    pub timeout: Duration,
    /// The node's name, for people.
    pub node: String,
    /// Which clock leases are held against.
    pub clock: Clock,
}

/// Whether a URL is one of a Redis server that can be used.
///
/// # Errors
/// The text says what is wrong with it and goes on after the setting's name.
pub fn check_url(url: &str) -> Result<(), String> {
    Server::new(url, 0, None, Duration::from_secs(1)).map(drop)
}

/// Whether the URL is that of a cluster.
pub(crate) use place::is_cluster;

/// Whether the URL of a Redis server says which of its databases is meant.
pub(crate) fn names_database(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if scheme.contains("unix") {
        return rest.contains("?db=") || rest.contains("&db=");
    }
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    let mut parts = place.split('/').skip(1);
    if scheme.ends_with("+sentinel") {
        // The master's name comes first.
        parts.next();
    }
    parts.next().is_some_and(|database| !database.is_empty())
}

/// Storage in Redis.
#[derive(Debug)]
pub struct Redis {
    /// One for each shard.
    messages: Vec<Way>,
    devices: Option<Way>,
    notices: Arc<Notices>,
    notices_health: Health,
    incarnation: u32,
    /// What several shards are asked.
    gatherings: BTreeMap<OpId, Gathering>,
    /// Answers that are there without a lane, or of which one may be a part of another.
    answered: Vec<(OpId, Answer)>,
}

/// The event loop's end of a lane.
#[derive(Debug)]
struct Way {
    handoff: Arc<Handoff>,
    /// What this turn of the event loop has asked for.
    submitted: Vec<(OpId, Op)>,
    bytes: usize,
    /// Whether somebody waits for one of those.
    is_urgent: bool,
    health: Health,
    thread: Option<JoinHandle<()>>,
}

impl Redis {
    /// Starts the threads, after one attempt to connect. Whether that succeeded or not, connecting is
    /// tried from then on by itself. `journal` gives places to tell troubles; `draw` is only asked when
    /// Redis cannot count this run.
    ///
    /// # Errors
    /// A URL cannot be understood, or a thread not be started.
    pub fn open(
        options: &Options,
        mut journal: impl FnMut() -> Box<dyn Journal>,
        draw: impl FnOnce() -> (u32, u64),
    ) -> Result<Self, String> {
        let Options { url, prefix, device_url, wait_replicas, timeout, node, clock } = options;
        let shards = if is_cluster(url) { shards::of_cluster() } else { shards::of_server() };
        let server = |shard: &Shard| {
            Server::new(url, shard.slot, None, *timeout).map_err(|error| format!("redis {error}"))
        };
        let mut lane = |server, tag, purpose| {
            let encoder = Encoder::of_shard(prefix, tag, *clock);
            Lane::new(server, encoder, purpose, *wait_replicas, journal())
        };
        let messages: Result<Vec<_>, String> =
            shards.iter().map(|it| Ok(lane(server(it)?, it.tag, Purpose::Messages))).collect();
        let mut messages = messages?;
        let devices = match device_url {
            Some(url) => Some((url, (!names_database(url)).then_some(DEVICE_DATABASE))),
            None => (!is_cluster(url)).then_some((url, Some(DEVICE_DATABASE))),
        };
        let devices = devices.map(|(url, database)| {
            let server = Server::new(url, 0, database, *timeout);
            let server = server.map_err(|error| format!("redis_devices {error}"))?;
            Ok::<_, String>(lane(server, 0, Purpose::Devices))
        });
        let mut devices = devices.transpose()?;
        let run = messages[0].determine_run(draw);
        messages[1..].iter_mut().chain(&mut devices).for_each(|it| it.set_run(run));
        std::thread::scope(|scope| {
            for lane in &mut messages[1..] {
                let thread = std::thread::Builder::new().name("redis".to_owned());
                // What is not connected yet will be by its own thread.
                thread.spawn_scoped(scope, || lane.connect()).ok();
            }
        });
        let node = Node { name: node.as_str().into(), incarnation: run.number };
        let channel = encode::channel(prefix, &node);
        let subscriber = Subscriber::new(server(&shards[0])?, channel, journal());
        let (notices, notices_health) = (subscriber.notices(), subscriber.health());
        messages.iter_mut().for_each(|lane| lane.doubt_claims(Arc::clone(&notices)));
        subscriber.spawn().map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            notices,
            notices_health,
            messages: messages.into_iter().map(Way::begin).collect::<Result<_, _>>()?,
            devices: devices.map(Way::begin).transpose()?,
            incarnation: run.number,
            gatherings: BTreeMap::new(),
            answered: Vec::new(),
        })
    }

    /// The number of this run of the node: no other has it.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Shows how the store of messages is doing; of several shards, the first.
    #[must_use]
    pub fn health(&self) -> Health {
        self.messages[0].health.clone()
    }

    /// Shows how each connection is doing, by what it is for.
    #[must_use]
    pub fn healths(&self) -> Vec<(String, Health)> {
        let number = |shard: usize| match self.messages.len() {
            1 => "messages".to_owned(),
            _ => format!("messages {shard}"),
        };
        let messages = self.messages.iter().enumerate();
        let messages = messages.map(|(shard, way)| (number(shard), way.health.clone()));
        let devices = self.devices.iter().map(|way| ("devices".to_owned(), way.health.clone()));
        let notices = ("notices".to_owned(), self.notices_health.clone());
        messages.chain(devices).chain([notices]).collect()
    }

    /// Hands an operation to a lane, unless too much waits already.
    fn ask_shard(&mut self, shard: usize, op: OpId, request: Op) {
        let queued = |way: &Way| way.health.queued_bytes() + way.bytes;
        let queued: usize = self.messages.iter().map(queued).sum();
        if queued + weight(&request) > MAX_QUEUED_BYTES {
            self.answered.push((op, Answer::Failed(TOO_MUCH.to_owned())));
        } else {
            self.messages[shard].submit(op, request);
        }
    }

    fn ask_device(&mut self, op: OpId, request: DeviceOp) {
        let why = match (&mut self.devices, &request) {
            (_, DeviceOp::Read { .. } | DeviceOp::Drop { .. }) => {
                "the device log is in Redis and drained there"
            }
            (None, _) => "devices need redis_devices, a single server, where redis is a cluster",
            (Some(way), _) => {
                let request = Op::Device(request);
                if way.health.queued_bytes() + way.bytes + weight(&request) <= MAX_QUEUED_BYTES {
                    return way.submit(op, request);
                }
                TOO_MUCH
            }
        };
        self.answered.push((op, Answer::Failed(why.to_owned())));
    }

    /// Takes an answer of a shard; gives what is the answer to the operation, if that is one.
    fn gather(&mut self, op: OpId, answer: Answer) -> Option<Answer> {
        let Some(gathering) = self.gatherings.get_mut(&op) else { return Some(answer) };
        match gathering.add(answer, self.messages.len()) {
            Next::Wait => None,
            Next::Ask(shard, request) => {
                self.messages[shard].submit(op, request);
                self.messages[shard].hand_over();
                None
            }
            Next::Done(answer) => {
                self.gatherings.remove(&op);
                Some(answer)
            }
        }
    }
}

impl Backend for Redis {
    fn start(&mut self, handle: Handle) {
        for way in self.messages.iter().chain(&self.devices) {
            way.handoff.set_handle(handle.clone());
        }
        self.notices.set_handle(handle);
    }

    fn submit(&mut self, op: OpId, request: Op) {
        if let Op::Device(request) = request {
            return self.ask_device(op, request);
        }
        let count = self.messages.len();
        match shards::route(&request, count) {
            Route::One(shard) => self.ask_shard(shard, op, request),
            Route::All => {
                for shard in 0..count {
                    self.ask_shard(shard, op, request.clone());
                }
                self.gatherings.insert(op, Gathering::all(request, count));
            }
            Route::Each => {
                let (gathering, first) = Gathering::each(request, count);
                self.gatherings.insert(op, gathering);
                self.ask_shard(0, op, first);
            }
        }
    }

    fn hand_over(&mut self) {
        for way in self.messages.iter_mut().chain(&mut self.devices) {
            way.hand_over();
        }
    }

    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>) {
        if let Some(devices) = &self.devices {
            devices.handoff.collect(answers);
        }
        if let [messages] = &self.messages[..] {
            messages.handoff.collect(answers);
        }
        for way in &self.messages {
            way.handoff.collect(&mut self.answered);
        }
        let mut answered = mem::take(&mut self.answered);
        for (op, answer) in answered.drain(..) {
            answers.extend(self.gather(op, answer).map(|answer| (op, answer)));
        }
        self.answered = answered;
    }

    fn notices(&mut self, notices: &mut Vec<Notice>) {
        self.notices.take(notices);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.notices.stop();
        // All of them at once; each is waited for when its way is dropped.
        for way in self.messages.iter_mut().chain(&mut self.devices) {
            way.hand_over();
            way.handoff.stop();
        }
    }
}

impl Way {
    fn begin(lane: Lane) -> Result<Self, String> {
        let (handoff, health) = (lane.handoff(), lane.health());
        let thread = lane.spawn().map_err(|error| format!("cannot start a thread: {error}"))?;
        let thread = Some(thread);
        Ok(Self { handoff, submitted: Vec::new(), bytes: 0, is_urgent: false, health, thread })
    }

    fn submit(&mut self, op: OpId, request: Op) {
        self.bytes += weight(&request);
        // What was confirmed or has failed is only noted; for anything else somebody waits.
        self.is_urgent |= !matches!(request, Op::Remove { .. } | Op::Retry { .. });
        self.submitted.push((op, request));
    }

    fn hand_over(&mut self) {
        if !self.submitted.is_empty() {
            let bytes = mem::take(&mut self.bytes);
            self.health.queues(self.submitted.len(), bytes);
            self.handoff.put(&mut self.submitted, bytes, mem::take(&mut self.is_urgent));
        }
    }
}

/// Carries out what was handed over before it ends.
impl Drop for Way {
    fn drop(&mut self) {
        self.hand_over();
        self.handoff.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}
