//! Carries a plan out.
//!
//! After the last operation everything is mended: links, machines, disks, readers. Then whoever is
//! still waited for comes: for every key and gateway with waiting messages a client that behaves.
//! The world ends when no store holds a waiting message and every line is answered, or fails when
//! that takes too long.

mod rest;

use super::START;
use super::backend::{BackendHost, BackendOp, work};
use super::client::{Surroundings, Whim};
use super::consumer::Consumer;
use super::desk::Brought;
use super::ends::{Breach, Ends};
use super::gateway::{Machine, Parts, serve};
use super::plan::{ClientSetup, Host, Op, OpKind, Plan, Pongs, Setup, Speaks};
use super::redis;
use super::reports::{disk_report, redis_report};
use super::shares::Shares;
use super::site::{Site, SiteOp, live};
use super::tally::Tally;
use super::timeline::{Keep, Kind, Line, Timeline};
use super::translate::translate;
use super::watch::{By, Watch};
use super::wire::Meters;
use crate::oracle::{Oracle, Violation};
use crate::sabotage::Sabotage;
use crate::schedule::{Delivered, Schedule};
use crate::tally;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic;
use std::rc::Rc;
use std::sync::Once;
use std::time::{Duration, UNIX_EPOCH};
use steadfast_core::config::{Config, Sharing};
use steadfast_core::id::Key;
use steadfast_core::time::Span;
use turmoil::{Builder, Sim};

/// The deque of a listener and the segments of a stream; beyond the first turmoil panics.
const CAPACITY: usize = 4096;
/// How long after the last operation everything has to be accounted for.
const LIVENESS: Span = Span::from_secs(120);
/// How long a world at rest is watched on.
const SETTLE: Span = Span::from_secs(2);
/// When, after the mending, clients come for what still waits.
const COLLECT: Span = Span::from_secs(15);

/// What came of a world.
#[derive(Debug)]
pub struct Outcome {
    /// The hash of everything that happened.
    pub hash: u64,
    /// The first promise that was broken.
    pub violation: Option<Violation>,
    /// What occurred.
    pub tally: tally::Tally,
    /// How many events the gateways were told.
    pub events: u64,
    /// How many connections the judges were told to be sound, so that they may not be closed.
    pub vouched: u64,
    /// How long the world existed.
    pub lasted: Span,
    /// How many pushes there were, and how many copies were received.
    pub pushes: (u64, u64),
    /// What happened, if it was to be kept.
    pub lines: Vec<Line>,
}

/// Runs the world of a schedule to its end. Without judges there is only its hash.
#[must_use]
pub fn run(schedule: &Schedule, keep: Keep, judged: bool) -> Outcome {
    run_sabotaged(schedule, keep, judged, None)
}

/// The same with gateways that are broken on purpose.
pub(super) fn run_sabotaged(
    schedule: &Schedule,
    keep: Keep,
    judged: bool,
    sabotage: Option<Sabotage>,
) -> Outcome {
    let by = if judged { By::Oracles(schedule) } else { By::Nobody };
    direct(&translate(schedule), by, keep, sabotage)
}

/// Runs a story: the world as far as its plan goes.
#[must_use]
pub fn tell(plan: &Plan) -> Outcome {
    direct(plan, By::Reader, Keep::Lines, None)
}

fn direct(plan: &Plan, by: By, keep: Keep, sabotage: Option<Sabotage>) -> Outcome {
    let mut director = Director::new(plan, by, keep, sabotage);
    let violation = with_panics_caught(|| director.run(plan));
    director.end(violation)
}

thread_local! {
    /// The first panic in the world that runs on this thread; `None` outside of worlds.
    static PANIC: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Runs the world with a hook that catches panics in its tasks, which turmoil would lose.
fn with_panics_caught(world: impl FnOnce() -> Option<Violation>) -> Option<Violation> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let caught = PANIC.with_borrow_mut(|panics| {
                let Some(panics) = panics else { return false };
                panics.push(info.to_string().replace('\n', " "));
                true
            });
            if !caught {
                default(info);
            }
        }));
    });
    PANIC.set(Some(Vec::new()));
    let found = panic::catch_unwind(panic::AssertUnwindSafe(world));
    let panicked = PANIC.take().unwrap_or_default().into_iter().next();
    let found = match found {
        Ok(found) if panicked.is_none() => return found,
        Ok(found) => found,
        Err(_) => None,
    };
    let at = found.map_or(Span::ZERO, |violation| violation.at);
    let text = panicked.unwrap_or_else(|| "a panic".to_owned());
    Some(Violation { oracle: Oracle::Tables, at, text })
}

/// What is wrong with a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Cut,
    OneWay,
    Held,
}

struct Director {
    setup: Setup,
    sim: Sim<'static>,
    machines: Vec<Rc<Machine>>,
    sites: Vec<Rc<Site>>,
    backends: Vec<Rc<BackendHost>>,
    /// The store that the gateways share.
    redis: Option<Rc<redis::Machine>>,
    /// What takes the device log from it.
    consumer: Option<Consumer>,
    /// All clients, the collectors last: one for every key and gateway.
    clients: Vec<ClientSetup>,
    troubles: BTreeMap<(Host, Host), Trouble>,
    down: BTreeSet<Host>,
    timeline: Timeline,
    delivered: Tally,
    ends: Ends,
    meters: Meters,
    watch: Watch,
    /// Whether everything works, and nobody else judges that: of a world with a shared store.
    clean: bool,
    sabotage: Option<Sabotage>,
}

impl Director {
    fn new(plan: &Plan, by: By, keep: Keep, sabotage: Option<Sabotage>) -> Self {
        let setup = plan.setup.clone();
        let tally = Tally::default();
        let mut director = Self {
            sim: network(plan),
            machines: Vec::new(),
            sites: Vec::new(),
            backends: Vec::new(),
            redis: None,
            consumer: None,
            clients: everybody(&setup),
            troubles: BTreeMap::new(),
            down: BTreeSet::new(),
            timeline: Timeline::new(keep),
            meters: Meters::new(setup.buffer, tally.clone()),
            ends: Ends::new(setup.config.bind),
            watch: Watch::new(by, tally.clone()),
            delivered: tally,
            clean: matches!(by, By::Oracles(schedule) if schedule.is_clean())
                && setup.lease.is_some(),
            sabotage,
            setup,
        };
        if let (By::Oracles(_), Some(lease)) = (by, director.setup.lease) {
            let keys = director.setup.keys.iter().map(|key| Key::new(key.as_str())).collect();
            director.watch.judge_shares(Shares::new(director.ends.clone(), keys, lease));
        }
        if director.setup.lease.is_some() {
            director.add_redis(plan.seed);
        }
        director.add_gateways(plan.seed);
        director.add_sites(plan.seed);
        director.add_backends();
        director
    }

    fn add_redis(&mut self, seed: u64) {
        let slow = self.setup.config.store_timeout.times(2);
        let (meters, delivered) = (self.meters.roomy(), self.delivered.clone());
        let machine = redis::Machine::new(seed, slow, meters, delivered, self.watch.clone());
        let machine = Rc::new(machine);
        let software = Rc::clone(&machine);
        self.sim.host(redis::NAME, move || redis::serve(Rc::clone(&software)));
        let is_hasty = self.sabotage == Some(Sabotage::RemovedBeforeSync);
        let (is_frail, delivered) = (self.setup.is_frail, self.delivered.clone());
        self.consumer = Some(Consumer::new(&machine, !seed, is_frail, is_hasty, delivered));
        self.redis = Some(machine);
    }

    fn add_gateways(&mut self, seed: u64) {
        for index in 0..self.setup.gateways {
            let name = gateway_name(&self.setup, index);
            let sharing =
                self.setup.lease.map(|lease| Sharing { node: name.as_str().into(), lease });
            let parts = Parts {
                index,
                config: Config { sharing, ..self.setup.config.clone() },
                // The number of a run goes into the lower bits: no two gateways ever share a stream.
                seed: seed.wrapping_mul(31) ^ (index as u64) << 40,
                clock: START,
                meters: self.meters.clone(),
                timeline: self.timeline.clone(),
                key: self.narrowed(),
                delivered: self.delivered.clone(),
                ends: self.ends.clone(),
                watch: self.watch.clone(),
                redis: self.redis.is_some().then_some(redis::NAME),
                sabotage: self.sabotage,
            };
            let machine = Rc::new(Machine::new(&name, parts));
            let software = Rc::clone(&machine);
            self.sim.host(name, move || serve(Rc::clone(&software)));
            self.machines.push(machine);
        }
    }

    /// The key that alone is looked at.
    fn narrowed(&self) -> Option<Key> {
        match self.timeline.keep() {
            Keep::OfKey(key) => {
                let text = self.setup.keys.get(key).map_or("", String::as_str);
                Some(Key::new(text))
            }
            Keep::Hash | Keep::Lines => None,
        }
    }

    /// The hosts of the clients, and one more for the collectors.
    fn add_sites(&mut self, seed: u64) {
        let mut names = self.setup.sites.clone();
        names.push("elsewhere".to_owned());
        for (index, name) in names.into_iter().enumerate() {
            let clients = self.clients.iter().cloned().enumerate();
            let here = clients.filter(|(_, client)| client.site == index).collect();
            let site = Rc::new(Site::new(&name, here, self.surroundings(), seed ^ index as u64));
            let software = Rc::clone(&site);
            self.sim.host(name, move || live(Rc::clone(&software)));
            self.sites.push(site);
        }
    }

    fn add_backends(&mut self) {
        for index in 0..self.setup.backends {
            let name = backend_name(&self.setup, index);
            let backend = Rc::new(BackendHost::new(&name, self.surroundings()));
            let software = Rc::clone(&backend);
            self.sim.host(name, move || work(Rc::clone(&software)));
            self.backends.push(backend);
        }
    }

    /// What a host of clients or back ends has around it.
    fn surroundings(&self) -> Surroundings {
        let gateways = 0..self.setup.gateways;
        Surroundings {
            meters: self.meters.clone(),
            chop: super::wire::Chop::default(),
            timeline: self.timeline.clone(),
            delivered: self.delivered.clone(),
            ends: self.ends.clone(),
            watch: self.watch.clone(),
            gateways: gateways.map(|index| gateway_name(&self.setup, index)).collect(),
        }
    }

    fn now(&self) -> Span {
        let elapsed = self.sim.elapsed();
        Span::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
    }

    fn run(&mut self, plan: &Plan) -> Option<Violation> {
        for op in &plan.ops {
            if let Some(violation) = self.run_until(op.at) {
                return Some(violation);
            }
            self.carry_out(op);
        }
        if plan.story {
            return None;
        }
        self.mend_everything();
        self.come_to_rest().or_else(|| {
            self.judge();
            self.broken()
        })
    }

    /// Lets the world go on until nothing is under way any more.
    fn come_to_rest(&mut self) -> Option<Violation> {
        let mended = self.now();
        let mut collected = false;
        let mut expired = false;
        loop {
            if let Some(violation) = self.run_until(self.now() + Span::from_secs(1)) {
                return Some(violation);
            }
            if self.is_at_rest() {
                // Removals and answers that are under way arrive.
                let violation = self.run_until(self.now() + SETTLE);
                if violation.is_some() || self.is_at_rest() {
                    return violation;
                }
            }
            let passed = self.now() - mended;
            if passed >= COLLECT && !collected {
                collected = true;
                if let Some(what) = self.overlooked() {
                    return Some(self.violation(Breach { oracle: Oracle::Delivery, what }));
                }
                self.collect();
            }
            if !expired && self.waits_only_for_nobody() {
                expired = true;
                self.expire();
            }
            if passed >= LIVENESS {
                let what = self.unrest();
                return Some(self.violation(Breach { oracle: Oracle::Delivery, what }));
            }
        }
    }

    /// The first promise that was broken.
    fn broken(&self) -> Option<Violation> {
        if let Some(violation) = self.watch.violation() {
            return Some(violation);
        }
        if let Some(breach) = self.ends.first_breach() {
            return Some(self.violation(breach));
        }
        let panicked =
            PANIC.with_borrow(|panics| panics.as_ref().and_then(|panics| panics.first().cloned()));
        panicked.map(|what| self.violation(Breach { oracle: Oracle::Tables, what }))
    }

    fn violation(&self, breach: Breach) -> Violation {
        Violation { oracle: breach.oracle, at: self.now(), text: breach.what }
    }

    /// Lets the world go on until then.
    fn run_until(&mut self, at: Span) -> Option<Violation> {
        while self.now().as_micros() + 500 < at.as_micros() {
            if let Err(error) = self.sim.step() {
                let breach = Breach { oracle: Oracle::Tables, what: error.to_string() };
                return Some(self.violation(breach));
            }
            let now = self.now();
            if let Some(consumer) = &mut self.consumer {
                consumer.turn(now);
            }
            if let Some(violation) = self.broken() {
                return Some(violation);
            }
        }
        None
    }

    fn end(self, violation: Option<Violation>) -> Outcome {
        Outcome {
            hash: self.timeline.hash(),
            violation,
            tally: self.delivered.counts(),
            events: self.watch.events(),
            vouched: self.watch.vouched(),
            lasted: self.now(),
            pushes: self.ends.totals(),
            lines: self.timeline.take_lines(),
        }
    }

    // What happens.

    fn carry_out(&mut self, op: &Op) {
        match &op.kind {
            OpKind::Note(text) => self.timeline.say(self.now(), Kind::Note, "", text.as_str()),
            OpKind::Client(client, whim) => self.client(*client, whim.clone()),
            OpKind::Stranger { site, gateway, bytes, stays } => {
                let (gateway, bytes, stays) = (*gateway, bytes.clone(), *stays);
                self.sites[*site].order(SiteOp::Stranger { gateway, bytes, stays });
            }
            OpKind::Push { backend, gateway, lines } => {
                let lines = lines.clone();
                self.backends[*backend].order(BackendOp::Push { gateway: *gateway, lines });
            }
            OpKind::Raw { backend, gateway, bytes, replies } => {
                let (gateway, bytes, replies) = (*gateway, bytes.clone(), *replies);
                self.backends[*backend].order(BackendOp::Raw { gateway, bytes, replies });
            }
            OpKind::HangUp { backend, gateway } => {
                self.backends[*backend].order(BackendOp::HangUp { gateway: *gateway });
            }
            OpKind::Request { gateway, line, request } => {
                self.bring(*gateway, Brought::Push(line.clone(), request.clone()));
            }
            OpKind::Ask(gateway, question) => {
                self.bring(*gateway, Brought::Question(question.clone()));
            }
            OpKind::Cut(a, b) => self.trouble(*a, *b, Trouble::Cut),
            OpKind::CutOneWay(from, to) => self.trouble(*from, *to, Trouble::OneWay),
            OpKind::Hold(a, b) => self.trouble(*a, *b, Trouble::Held),
            OpKind::Mend(a, b) => self.mend(*a, *b),
            OpKind::Vanish(host) => self.vanish(*host),
            OpKind::Crash(gateway) => self.crash(Host::Gateway(*gateway)),
            OpKind::Restart { host, set_back } => self.restart(*host, *set_back),
            OpKind::Stall(gateway, span) => {
                self.world(&self.name(Host::Gateway(*gateway)), format!("does not run for {span}"));
                self.machines[*gateway].stall(self.now(), *span);
            }
            OpKind::Leap(gateway, span) => {
                self.world(&self.name(Host::Gateway(*gateway)), format!("clock leaps by {span}"));
                self.machines[*gateway].leap(self.now(), *span);
            }
            OpKind::Disk(gateway, trouble) => {
                let name = self.name(Host::Gateway(*gateway));
                self.world(&name, disk_report(*trouble));
                self.machines[*gateway].drive.borrow_mut().set_trouble(*trouble);
                self.machines[*gateway].wake();
            }
            OpKind::Redis(trouble) => {
                self.world(redis::NAME, redis_report(*trouble));
                self.redis().set_trouble(*trouble);
            }
            OpKind::CrashRedis => self.crash(Host::Redis),
            OpKind::ResetNotices => {
                self.world(redis::NAME, "resets the connections on which it tells notices");
                self.redis().reset_subscribers();
            }
            OpKind::Stop(gateway) => self.stop(*gateway),
            OpKind::Chop(host, on) => {
                let how = if *on { "byte by byte" } else { "whole" };
                self.world(&self.name(*host), format!("writes go out {how}"));
                match host {
                    Host::Gateway(index) => self.machines[*index].chop.set(*on),
                    Host::Site(index) => self.sites[*index].around.chop.set(*on),
                    Host::Backend(index) => self.backends[*index].around.chop.set(*on),
                    Host::Redis => self.redis().chop.set(*on),
                }
            }
        }
    }

    /// A gateway is asked to stop, if it is there.
    fn stop(&self, gateway: usize) {
        if !self.down.contains(&Host::Gateway(gateway)) {
            self.delivered.count(Delivered::Stopped);
            self.world(&self.name(Host::Gateway(gateway)), "is asked to stop");
            self.machines[gateway].stopping.set(true);
            self.machines[gateway].wake();
        }
    }

    /// Brings something to a gateway past its sockets, if it is there.
    fn bring(&self, gateway: usize, brought: Brought) {
        if !self.down.contains(&Host::Gateway(gateway)) {
            self.machines[gateway].desk.borrow_mut().bring(brought);
            self.machines[gateway].wake();
        }
    }

    fn world(&self, who: &str, what: impl Into<String>) {
        self.timeline.say(self.now(), Kind::World, who, what);
    }

    fn client(&self, client: usize, whim: Whim) {
        let site = self.clients[client].site;
        self.sites[site].order(SiteOp::Client(client, whim));
    }

    fn name(&self, host: Host) -> String {
        match host {
            Host::Gateway(index) => gateway_name(&self.setup, index),
            Host::Site(index) => self.sites[index].name.clone(),
            Host::Backend(index) => self.backends[index].name.clone(),
            Host::Redis => redis::NAME.to_owned(),
        }
    }

    fn redis(&self) -> &redis::Machine {
        self.redis.as_ref().expect("only what there is has troubles")
    }

    fn everyone_but(&self, host: Host) -> Vec<Host> {
        let gateways = (0..self.machines.len()).map(Host::Gateway);
        let sites = (0..self.sites.len()).map(Host::Site);
        let backends = (0..self.backends.len()).map(Host::Backend);
        let redis = self.redis.iter().map(|_| Host::Redis);
        let everyone = gateways.chain(sites).chain(backends).chain(redis);
        everyone.filter(|other| *other != host).collect()
    }

    fn trouble(&mut self, a: Host, b: Host, trouble: Trouble) {
        if self.down.contains(&a) || self.down.contains(&b) {
            return;
        }
        self.mend(a, b);
        let (from, to) = (self.name(a), self.name(b));
        let of_redis = a == Host::Redis || b == Host::Redis;
        let (fault, what) = match trouble {
            Trouble::Cut => {
                self.sim.partition(from.as_str(), to.as_str());
                let plain = if of_redis { Delivered::RedisCutOff } else { Delivered::Partitioned };
                (plain, "is cut off from")
            }
            Trouble::OneWay => {
                self.sim.partition_oneway(from.as_str(), to.as_str());
                let redis = Delivered::RedisCutOffOneWay;
                let plain = if of_redis { redis } else { Delivered::PartitionedOneWay };
                (plain, "does not get through to")
            }
            Trouble::Held => {
                self.sim.hold(from.as_str(), to.as_str());
                (Delivered::Held, "is held up on its way to and from")
            }
        };
        self.tell_wires(a, b, trouble, Some(fault));
        self.world(&from, format!("{what} {to}"));
        self.troubles.insert((a, b), trouble);
    }

    fn mend(&mut self, a: Host, b: Host) {
        for (from, to) in [(a, b), (b, a)] {
            let Some(trouble) = self.troubles.remove(&(from, to)) else { continue };
            self.tell_wires(from, to, trouble, None);
            let (from, to) = (self.name(from), self.name(to));
            match trouble {
                Trouble::Cut => self.sim.repair(from.as_str(), to.as_str()),
                Trouble::OneWay => self.sim.repair_oneway(from.as_str(), to.as_str()),
                Trouble::Held => self.sim.release(from.as_str(), to.as_str()),
            }
            self.world(&from, format!("reaches {to} again"));
        }
    }

    /// What is sent between the two suffers a fault, or none any more.
    fn tell_wires(&self, from: Host, to: Host, trouble: Trouble, fault: Option<Delivered>) {
        let (from, to) = (self.sim.lookup(self.name(from)), self.sim.lookup(self.name(to)));
        for host in [from, to] {
            match fault {
                Some(_) => self.watch.network_ails(self.now(), host),
                None => self.watch.network_recovers(host),
            }
        }
        self.meters.set_trouble(from, to, fault);
        if trouble != Trouble::OneWay {
            self.meters.set_trouble(to, from, fault);
        }
    }

    fn vanish(&mut self, host: Host) {
        if self.down.contains(&host) {
            return;
        }
        for other in self.everyone_but(host) {
            self.mend(host, other);
            let (from, to) = (self.name(host), self.name(other));
            self.sim.partition(from.as_str(), to.as_str());
        }
        self.meters.power_cut.set(true);
        self.delivered.count(Delivered::MachineCrashed);
        self.go_down(host, "loses its power");
        self.meters.power_cut.set(false);
    }

    fn crash(&mut self, host: Host) {
        if !self.down.contains(&host) {
            if host != Host::Redis {
                self.delivered.count(Delivered::ProcessCrashed);
            }
            self.go_down(host, "crashes");
        }
    }

    fn go_down(&mut self, host: Host, what: &str) {
        let name = self.name(host);
        self.world(&name, what);
        self.down.insert(host);
        self.sim.crash(name.as_str());
        match host {
            Host::Gateway(index) => self.machines[index].crash(self.now()),
            Host::Redis => self.redis().crash(self.now()),
            Host::Site(_) | Host::Backend(_) => {}
        }
    }

    fn restart(&mut self, host: Host, set_back: Span) {
        if !self.down.remove(&host) {
            return;
        }
        let name = self.name(host);
        for other in self.everyone_but(host) {
            if !self.down.contains(&other) && !self.troubles.contains_key(&(host, other)) {
                self.sim.repair(name.as_str(), self.name(other).as_str());
            }
        }
        if let Host::Gateway(index) = host
            && set_back > Span::ZERO
        {
            self.machines[index].set_back(set_back);
        }
        self.world(&name, "starts again");
        self.sim.bounce(name.as_str());
    }
}

/// The network of a world, without hosts.
fn network(plan: &Plan) -> Sim<'static> {
    let (least, most) = plan.setup.latency_ms;
    Builder::new()
        .rng_seed(plan.seed)
        .epoch(UNIX_EPOCH + Duration::from_micros(START.as_micros()))
        .simulation_duration(Duration::from_secs(100_000))
        .tick_duration(Duration::from_millis(plan.setup.step_ms))
        .tcp_capacity(CAPACITY)
        .min_message_latency(Duration::from_millis(least))
        .max_message_latency(Duration::from_millis(most))
        .build()
}

fn gateway_name(setup: &Setup, index: usize) -> String {
    if setup.gateways == 1 { "gateway".to_owned() } else { format!("gateway{}", index + 1) }
}

fn backend_name(setup: &Setup, index: usize) -> String {
    if setup.backends == 1 { "backend".to_owned() } else { format!("backend{}", index + 1) }
}

/// The clients of the setup, and the collectors: one for every gateway and key that has a client, who
/// live elsewhere.
fn everybody(setup: &Setup) -> Vec<ClientSetup> {
    let mut clients = setup.clients.clone();
    for (key, _) in setup.keys.iter().enumerate() {
        let Some(first) = setup.clients.iter().find(|client| client.key == Some(key)) else {
            continue;
        };
        for gateway in 0..setup.gateways {
            clients.push(ClientSetup {
                name: format!("collector{key}.{gateway}"),
                site: setup.sites.len(),
                gateway,
                pongs: Pongs::Prompt,
                speaks: Speaks::Text,
                ..first.clone()
            });
        }
    }
    clients
}
