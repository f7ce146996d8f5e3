//! What a schedule means in a world of hosts.
//!
//! Clients live on three hosts, so that what happens to one's network happens to its neighbours'.
//! Where each gateway has a store of its own, a key is pushed to at its own gateway, and in worlds with
//! faults now and then at another. Where gateways share a Redis, pushes and clients go to any of them. A
//! client that was away comes back to the next gateway.
//!
//! Pushes by HTTP and operators' questions reach a gateway as its loop is told them: HTTP itself is
//! not simulated.

#![expect(clippy::wildcard_enum_match_arm, reason = "each actor has operations of its own")]

use super::client::Whim;
use super::frames::{self, Opcode, REQUEST};
use super::plan::{self, ClientSetup, Host, Plan, PushLine, Setup};
use crate::schedule::{
    Actor, BadLine, Crash, Direction, Family, Intrusion, Op, OpKind, Push, Schedule, Speaks, Stream,
};
use rand::RngExt as _;
use steadfast_core::time::Span;

/// The hosts that clients live on.
const SITES: [&str; 3] = ["office", "home", "mobile"];
/// How fine the network's time is, in milliseconds. A world's cost is its number of steps.
const STEPS: [u64; 4] = [15, 20, 30, 40];
/// After how long a client that is cut off from one gateway tries another, in milliseconds.
const NOTICE: u64 = 200;
/// How long a gateway has from being asked to stop until its process ends.
const STOPPING: u64 = 1_200;
/// Redis, and the gateways' connections to it, are there after this time if nothing is in their way.
/// Where everything works they are waited for.
const REDIS_STARTS: Span = Span::from_secs(3);

/// The plan of a schedule.
pub(super) fn translate(schedule: &Schedule) -> Plan {
    let setup = setup(schedule);
    let is_awaited = schedule.is_clean() && setup.lease.is_some();
    let delay = if is_awaited { REDIS_STARTS } else { Span::ZERO };
    let mut writer = Writer { schedule, setup: &setup, delay, ops: Vec::new() };
    if schedule.families.contains(&Family::Chop) {
        writer.add(0, plan::OpKind::Chop(Host::Gateway(0), true));
        writer.add(0, plan::OpKind::Chop(Host::Site(0), true));
    }
    let mut homes: Vec<_> = setup.clients.iter().map(|client| client.gateway).collect();
    for op in &schedule.ops {
        writer.write(op, &mut homes);
    }
    let mut ops = writer.ops;
    ops.sort_by_key(|op| op.at);
    Plan { seed: schedule.seed, setup, ops, story: false }
}

fn setup(schedule: &Schedule) -> Setup {
    let world = &schedule.world;
    let gateways = world.gateways as usize;
    let clients = world.clients.iter().enumerate().map(|(number, client)| ClientSetup {
        number: number as u32,
        name: format!("client{number}"),
        site: number % SITES.len(),
        first: world.keys[client.key as usize].first.clone(),
        key: Some(client.key as usize),
        gateway: match world.lease {
            // Clients of one key, and what is pushed to it, are anywhere.
            Some(_) => number % gateways,
            None => client.key as usize % gateways,
        },
        pongs: client.pongs,
        speaks: client.speaks,
        heartbeat: Span::from_millis(world.settings.idle_timeout / 3),
    });
    let mut rng = Actor::Clock.stream(schedule.seed, Stream::World);
    let least = rng.random_range(1..8);
    let most = least + rng.random_range(1..50);
    let slow = world.settings.window_bytes.max(200);
    Setup {
        gateways,
        lease: world.lease.map(Span::from_millis),
        sites: SITES.map(str::to_owned).to_vec(),
        clients: clients.collect(),
        keys: world.keys.iter().map(|key| key.text.clone()).collect(),
        backends: world.back_ends as usize,
        config: steadfast_core::config::Config {
            max_push_line: 2_000,
            max_message: 16 << 10,
            ..world.settings.config()
        },
        buffer: if schedule.is_clean() { 64 << 10 } else { slow as usize },
        latency_ms: (least, most),
        step_ms: STEPS[rng.random_range(0..STEPS.len())],
        is_frail: !schedule.is_clean(),
    }
}

struct Writer<'a> {
    schedule: &'a Schedule,
    setup: &'a Setup,
    /// The world begins so much earlier than what the schedule says.
    delay: Span,
    ops: Vec<plan::Op>,
}

impl Writer<'_> {
    /// Adds what happens at this time, in milliseconds.
    fn add(&mut self, at: u64, kind: plan::OpKind) {
        self.ops.push(plan::Op { at: self.delay + Span::from_millis(at), kind });
    }

    fn whim(&mut self, at: u64, client: usize, whim: Whim) {
        self.add(at, plan::OpKind::Client(client, whim));
    }

    fn write(&mut self, op: &Op, homes: &mut [usize]) {
        let at = op.at / 1_000;
        match op.actor {
            Actor::Client(client) => self.client(at, client as usize, &op.kind, homes),
            Actor::BackEnd(backend) => self.backend(at, backend as usize, &op.kind),
            Actor::Gateway(gateway) => self.gateway(at, gateway as usize, &op.kind),
            Actor::Store | Actor::Clock => self.everywhere(at, &op.kind),
            Actor::Stranger => self.stranger(at, &op.kind),
            Actor::Operator => self.operator(at, &op.kind),
        }
    }

    fn client(&mut self, at: u64, client: usize, kind: &OpKind, homes: &mut [usize]) {
        match kind {
            OpKind::Start => self.whim(at, client, Whim::Start),
            OpKind::Leave(away) | OpKind::Vanish(away) => {
                let leaves = matches!(kind, OpKind::Leave(_));
                self.whim(at, client, if leaves { Whim::Leave } else { Whim::Vanish });
                // A session is one store's, and so are the names of messages.
                let is_text = self.setup.clients[client].speaks == Speaks::Text;
                if is_text || self.setup.lease.is_some() {
                    homes[client] = (homes[client] + 1) % self.setup.gateways;
                }
                self.whim(at + away, client, Whim::Roam(homes[client]));
                self.whim(at + away, client, Whim::Start);
            }
            OpKind::Reset => {
                self.whim(at, client, Whim::Reset);
                self.whim(at, client, Whim::Say);
            }
            OpKind::Freeze(span) => {
                self.whim(at, client, Whim::Freeze(Span::from_millis(*span)));
            }
            OpKind::IgnorePings(span) => {
                self.whim(at, client, Whim::IgnorePings(Span::from_millis(*span)));
            }
            OpKind::ReadSlowly(span) => {
                self.whim(at, client, Whim::StopReading);
                self.whim(at + span, client, Whim::Read);
            }
            OpKind::Cut(direction, span) => self.network(at, *span, client, Some(*direction)),
            OpKind::Move { cut, back } => {
                let here = homes[client];
                let next = (here + 1) % self.setup.gateways;
                let (site, gateway) =
                    (Host::Site(self.setup.clients[client].site), Host::Gateway(here));
                self.add(at, plan::OpKind::Cut(site, gateway));
                self.go(at + NOTICE, client, next);
                self.add(at + cut, plan::OpKind::Mend(site, gateway));
                if *back {
                    self.go(at + cut + NOTICE, client, here);
                } else {
                    homes[client] = next;
                }
            }
            OpKind::Hold(span) => self.network(at, *span, client, None),
            // One that answers a ping of the gateway would be a lie, and not a stray.
            OpKind::StrayPong(counter) => {
                self.whim(at, client, Whim::StrayPong(counter + 1_000_000));
            }
            OpKind::Repeat => self.whim(at, client, Whim::Say),
            OpKind::Upload(number) => {
                let text = self.schedule.world.upload(client as u32, *number);
                self.whim(at, client, Whim::Text(text));
            }
            OpKind::Pose(key) => {
                let first = self.schedule.world.keys[*key as usize].first.clone();
                self.whim(at, client, Whim::Pose(*key as usize, first));
            }
            OpKind::Chat => self.whim(at, client, Whim::Text("chat".to_owned())),
            OpKind::Change => self.whim(at, client, Whim::Change),
            OpKind::Binary => self.whim(at, client, Whim::Binary),
            other => unreachable!("no client does {other:?}"),
        }
    }

    /// A client leaves the gateway it is at and goes to another.
    fn go(&mut self, at: u64, client: usize, gateway: usize) {
        for whim in [Whim::Leave, Whim::Roam(gateway), Whim::Start] {
            self.whim(at, client, whim);
        }
    }

    /// The network of a client's host is cut or holds back.
    fn network(&mut self, at: u64, span: u64, client: usize, direction: Option<Direction>) {
        let site = Host::Site(self.setup.clients[client].site);
        for gateway in (0..self.setup.gateways).map(Host::Gateway) {
            let (from, to) = match direction {
                Some(Direction::ToClient) => (gateway, site),
                Some(Direction::Both | Direction::ToGateway) | None => (site, gateway),
            };
            let kind = match direction {
                Some(Direction::Both) => plan::OpKind::Cut(from, to),
                Some(Direction::ToGateway | Direction::ToClient) => {
                    plan::OpKind::CutOneWay(from, to)
                }
                None => plan::OpKind::Hold(from, to),
            };
            self.add(at, kind);
            self.add(at + span, plan::OpKind::Mend(from, to));
        }
    }

    /// Where a push to this key goes.
    fn home(&self, key: u32, serial: u32) -> usize {
        if self.setup.lease.is_some() {
            return serial as usize % self.setup.gateways;
        }
        let linked = self.schedule.world.link_keys().contains(&key);
        let astray = !self.schedule.is_clean() && !linked && serial.is_multiple_of(6);
        (key as usize + usize::from(astray)) % self.setup.gateways
    }

    fn backend(&mut self, at: u64, backend: usize, kind: &OpKind) {
        let anywhere = at as usize % self.setup.gateways;
        let hang_up = plan::OpKind::HangUp { backend, gateway: anywhere };
        match kind {
            OpKind::Request(push, name) => {
                let gateway = self.home(push.key, push.serial);
                let line = line(*push, self.schedule);
                let request = push.request(*name, &self.schedule.world);
                self.add(at, plan::OpKind::Request { gateway, line, request });
            }
            OpKind::Push(push) => {
                let gateway = self.home(push.key, push.serial);
                let lines = vec![line(*push, self.schedule)];
                self.add(at, plan::OpKind::Push { backend, gateway, lines });
            }
            OpKind::BadLine(bad) => {
                let (bytes, replies) = bad_line(*bad, &self.setup.config);
                self.add(at, plan::OpKind::Raw { backend, gateway: anywhere, bytes, replies });
                if *bad == BadLine::TooLong {
                    self.add(at, hang_up);
                }
            }
            OpKind::Finish(unfinished) => {
                if *unfinished > 0 {
                    let bytes = vec![b'{'; usize::try_from(*unfinished).unwrap_or(1)];
                    let gateway = anywhere;
                    self.add(at, plan::OpKind::Raw { backend, gateway, bytes, replies: 0 });
                }
                self.add(at, hang_up);
            }
            OpKind::Drop => self.add(at, hang_up),
            other => unreachable!("no back end does {other:?}"),
        }
    }

    fn gateway(&mut self, at: u64, gateway: usize, kind: &OpKind) {
        let host = Host::Gateway(gateway);
        match kind {
            OpKind::Stall(span) => {
                self.add(at, plan::OpKind::Stall(gateway, Span::from_millis(*span)));
            }
            OpKind::Crash { how, down, back } => {
                self.add(
                    at,
                    match how {
                        Crash::Process => plan::OpKind::Crash(gateway),
                        Crash::Machine => plan::OpKind::Vanish(host),
                    },
                );
                let set_back = Span::from_millis(*back);
                self.add(at + down, plan::OpKind::Restart { host, set_back });
            }
            OpKind::Shutdown(down) => {
                self.add(at, plan::OpKind::Stop(gateway));
                self.add(at + STOPPING, plan::OpKind::Crash(gateway));
                let again = plan::OpKind::Restart { host, set_back: Span::ZERO };
                self.add(at + STOPPING.max(*down) + 20, again);
            }
            OpKind::Cut(direction, span) => {
                let kind = match direction {
                    Direction::Both => plan::OpKind::Cut(host, Host::Redis),
                    Direction::ToGateway => plan::OpKind::CutOneWay(Host::Redis, host),
                    Direction::ToClient => plan::OpKind::CutOneWay(host, Host::Redis),
                };
                let mended = plan::OpKind::Mend(host, Host::Redis);
                self.add(at, kind);
                self.add(at + span, mended);
            }
            other => unreachable!("no gateway does {other:?}"),
        }
    }

    /// What happens to the store that all gateways share; whether it was that.
    fn redis(&mut self, at: u64, kind: &OpKind) -> bool {
        match kind {
            OpKind::Trouble(trouble, span) if self.setup.lease.is_some() => {
                self.add(at, plan::OpKind::Redis(Some(*trouble)));
                self.add(at + span, plan::OpKind::Redis(None));
            }
            OpKind::Crash { down, .. } => {
                self.add(at, plan::OpKind::CrashRedis);
                let again = plan::OpKind::Restart { host: Host::Redis, set_back: Span::ZERO };
                self.add(at + down, again);
            }
            OpKind::Reset => self.add(at, plan::OpKind::ResetNotices),
            _ => return false,
        }
        true
    }

    fn everywhere(&mut self, at: u64, kind: &OpKind) {
        if self.redis(at, kind) {
            return;
        }
        for gateway in 0..self.setup.gateways {
            match kind {
                OpKind::Trouble(trouble, span) => {
                    self.add(at, plan::OpKind::Disk(gateway, Some(*trouble)));
                    self.add(at + span, plan::OpKind::Disk(gateway, None));
                }
                OpKind::Leap(span) => {
                    self.add(at, plan::OpKind::Leap(gateway, Span::from_millis(*span)));
                }
                other => unreachable!("neither store nor clock do {other:?}"),
            }
        }
    }

    /// Operators ask each gateway that has a store of its own. The device log in Redis is taken past the
    /// gateways.
    fn operator(&mut self, at: u64, kind: &OpKind) {
        let OpKind::Ask(question, key) = kind else { unreachable!("no operator does {kind:?}") };
        if self.setup.lease.is_some() {
            return;
        }
        for gateway in 0..self.setup.gateways {
            let asked = question.asked(&self.schedule.world.keys[*key as usize].text);
            self.add(at, plan::OpKind::Ask(gateway, asked));
        }
    }

    fn stranger(&mut self, at: u64, kind: &OpKind) {
        let OpKind::Intrude(intrusion) = kind else { unreachable!("no stranger does {kind:?}") };
        let mut bytes = match intrusion {
            Intrusion::Silence => Vec::new(),
            Intrusion::HalfUpgrade => REQUEST.as_bytes()[..60].to_vec(),
            Intrusion::BadUpgrade => b"POST / HTTP/1.1\r\n\r\n".to_vec(),
            Intrusion::BadFrame
            | Intrusion::NoKey
            | Intrusion::LongKey
            | Intrusion::ReservedKey
            | Intrusion::Monitor => REQUEST.as_bytes().to_vec(),
        };
        let text = match intrusion {
            Intrusion::BadFrame => {
                bytes.extend_from_slice(frames::malformed(at as u8));
                None
            }
            Intrusion::LongKey => Some("k".repeat(self.setup.config.max_key as usize + 1)),
            Intrusion::ReservedKey => Some("device:d1".to_owned()),
            Intrusion::Monitor => Some(r#"{"type":"heartbeat"}"#.to_owned()),
            Intrusion::Silence
            | Intrusion::HalfUpgrade
            | Intrusion::BadUpgrade
            | Intrusion::NoKey => None,
        };
        if let Some(text) = text {
            frames::put(&mut bytes, Opcode::Text, text.as_bytes(), [7, 1, 3, 5]);
        }
        let (site, gateway) = (at as usize % SITES.len(), at as usize % self.setup.gateways);
        let stays = Span::from_millis(2_000 + at % 4_000);
        self.add(at, plan::OpKind::Stranger { site, gateway, bytes, stays });
    }
}

fn line(push: Push, schedule: &Schedule) -> PushLine {
    let text = push.payload(&schedule.world);
    PushLine { key: push.key as usize, serial: push.serial, text }
}

/// A line that is no push, and how many replies it gets.
fn bad_line(bad: BadLine, config: &steadfast_core::config::Config) -> (Vec<u8>, usize) {
    let (text, replies) = match bad {
        BadLine::Rubbish => ("rubbish".to_owned(), 1),
        BadLine::NoKey => (r#"{"Data":1}"#.to_owned(), 1),
        BadLine::EmptyKey => (r#"{"uid":" "}"#.to_owned(), 1),
        BadLine::LongKey => {
            (format!(r#"{{"uid":"{}"}}"#, "k".repeat(config.max_key as usize + 1)), 1)
        }
        BadLine::TooLong => ("x".repeat(config.max_push_line as usize + 1), 0),
    };
    (format!("{text}\n").into_bytes(), replies)
}
