//! The store in Redis.
//!
//! The event loop hands over what a turn has asked for at once. A thread (`lane`) sends whatever has
//! queued as one pipeline and reads the replies; each operation is one script, and so atomic. Devices
//! and their log have a lane of their own: their keys are read by others, and may be on another server.
//! A third connection (`subscriber`) hears of what other nodes do with this node's keys.
//!
//! `encode`, `decode` and `pipeline` do no I/O.
//!
//! The layout of the keys is described in `docs/storage.md`.

mod connection;
pub mod decode;
pub mod encode;
mod lane;
pub mod pipeline;
mod report;
pub mod scripts;
mod subscriber;

use super::Backend;
use super::handoff::{Handoff, weight};
use super::health::Health;
use crate::journal::Journal;
use crate::reactor::Handle;
use connection::Server;
use encode::Encoder;
use lane::{Lane, Purpose};
use scripts::Clock;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, DeviceOp, Node, Notice, Op};

use subscriber::{Notices, Subscriber};

/// More than this is not queued: further operations fail at once.
const MAX_QUEUED_BYTES: usize = 256 << 20;

/// The database of the devices on the messages' server.
const DEVICE_DATABASE: i64 = 15;

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
    Server::new(url, None, Duration::from_secs(1)).map(drop)
}

/// Whether the URL of a Redis server says which of its databases is meant.
pub(crate) fn names_database(url: &str) -> bool {
    let (scheme, rest) = url.split_once("://").unwrap_or_default();
    if scheme.contains("unix") {
        return rest.contains("?db=") || rest.contains("&db=");
    }
    let place = rest.split(['?', '#']).next().unwrap_or_default();
    place.split_once('/').is_some_and(|(_, database)| !database.is_empty())
}

/// Storage in Redis.
#[derive(Debug)]
pub struct Redis {
    messages: Way,
    devices: Way,
    notices: Arc<Notices>,
    notices_health: Health,
    incarnation: u32,
    refused: Vec<(OpId, Answer)>,
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
        let server = Server::new(url, None, *timeout).map_err(|error| format!("redis {error}"))?;
        let (device_url, database) = match device_url {
            Some(url) => (url, (!names_database(url)).then_some(DEVICE_DATABASE)),
            None => (url, Some(DEVICE_DATABASE)),
        };
        let device_server = Server::new(device_url, database, *timeout)
            .map_err(|error| format!("redis_devices {error}"))?;
        let lane = |server, purpose, journal| {
            Lane::new(server, Encoder::new(prefix, *clock), purpose, *wait_replicas, journal)
        };
        let mut messages = lane(server, Purpose::Messages, journal());
        let mut devices = lane(device_server, Purpose::Devices, journal());
        let incarnation = messages.determine_run(draw);
        devices.set_run(incarnation);
        let server = Server::new(url, None, *timeout).map_err(|error| format!("redis {error}"))?;
        let node = Node { name: node.as_str().into(), incarnation };
        let subscriber = Subscriber::new(server, encode::channel(prefix, &node), journal());
        let (notices, notices_health) = (subscriber.notices(), subscriber.health());
        subscriber.spawn().map_err(|error| format!("cannot start a thread: {error}"))?;
        Ok(Self {
            notices,
            notices_health,
            messages: Way::begin(messages)?,
            devices: Way::begin(devices)?,
            incarnation,
            refused: Vec::new(),
        })
    }

    /// The number of this run of the node: no other has it.
    #[must_use]
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// Shows how the store of messages is doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.messages.health.clone()
    }

    /// Shows how each connection is doing, by what it is for.
    #[must_use]
    pub fn healths(&self) -> Vec<(&'static str, Health)> {
        vec![
            ("messages", self.messages.health.clone()),
            ("devices", self.devices.health.clone()),
            ("notices", self.notices_health.clone()),
        ]
    }
}

impl Backend for Redis {
    fn start(&mut self, handle: Handle) {
        self.messages.handoff.set_handle(handle.clone());
        self.devices.handoff.set_handle(handle.clone());
        self.notices.set_handle(handle);
    }

    fn submit(&mut self, op: OpId, request: Op) {
        if let Op::Device(DeviceOp::Read { .. } | DeviceOp::Drop { .. }) = request {
            let why = "the device log is in Redis and drained there".to_owned();
            self.refused.push((op, Answer::Failed(why)));
            return;
        }
        let way = if let Op::Device(_) = request { &mut self.devices } else { &mut self.messages };
        let bytes = weight(&request);
        if way.health.queued_bytes() + way.bytes + bytes > MAX_QUEUED_BYTES {
            let why = "too much waits for Redis already".to_owned();
            self.refused.push((op, Answer::Failed(why)));
            return;
        }
        way.bytes += bytes;
        // What was confirmed or has failed is only noted; for anything else somebody waits.
        way.is_urgent |= !matches!(request, Op::Remove { .. } | Op::Retry { .. });
        way.submitted.push((op, request));
    }

    fn hand_over(&mut self) {
        for way in [&mut self.messages, &mut self.devices] {
            way.hand_over();
        }
    }

    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>) {
        answers.append(&mut self.refused);
        self.messages.handoff.collect(answers);
        self.devices.handoff.collect(answers);
    }

    fn notices(&mut self, notices: &mut Vec<Notice>) {
        self.notices.take(notices);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.notices.stop();
    }
}

impl Way {
    fn begin(lane: Lane) -> Result<Self, String> {
        let (handoff, health) = (lane.handoff(), lane.health());
        let thread = lane.spawn().map_err(|error| format!("cannot start a thread: {error}"))?;
        let thread = Some(thread);
        Ok(Self { handoff, submitted: Vec::new(), bytes: 0, is_urgent: false, health, thread })
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
