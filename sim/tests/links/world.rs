//! One world: links behind a network, a gateway on the reference model, a back end, and trouble.

use bytestring::ByteString;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::command::{Command, Reply};
use steadfast_core::config::Config;
use steadfast_core::dialect::json;
use steadfast_core::event::{CloseCause, ConnEvent, Event, Protocol, PusherEvent};
use steadfast_core::gateway::Gateway;
use steadfast_core::id::{ConnId, Key, OpId, PusherId};
use steadfast_core::link::{
    ChannelId, Fallback, Link, LinkCommand, LinkConfig, LinkEvent, Report, Save, Saved,
};
use steadfast_core::record::Record;
use steadfast_core::store::model::Model;
use steadfast_core::store::{Answer, Op, Session, SessionOp};
use steadfast_core::time::{Span, Time};
use steadfast_core::trace::Trace;

const START: Time = Time::from_micros(1_800_000_000_000_000);
const CLIENTS: usize = 3;
/// Trouble lasts so long …
const TROUBLE_SECS: u64 = 120;
/// … and then everything works for so long: longer than any delay of a link or a gateway.
const PEACE_SECS: u64 = 300;

/// Something that will happen.
#[derive(Debug)]
enum Coming {
    /// The gateway hears of a connection.
    ToGateway(usize, ConnEvent),
    /// A link hears of a channel.
    ToLink(usize, LinkEvent),
    /// The store comes to an operation.
    Store(OpId, Op),
    Push(usize),
    Op(usize),
    Break(usize),
    Reload(usize),
    Restart,
}

/// A client: a link, its storage, and what its application had.
struct Client {
    link: Link,
    /// How often the page was loaded: channels of earlier ones are nobody's.
    page: u32,
    saved: Saved,
    delivered: Vec<u64>,
    /// What the context will be.
    context: String,
    ops: u64,
    confirmed_ops: u64,
    welcomed: bool,
}

/// A connection between a client's channel and the gateway.
struct Wire {
    client: usize,
    page: u32,
    channel: ChannelId,
    id: ConnId,
    /// Of which run of the gateway.
    run: u32,
    /// Whether the gateway, and the link, still have it.
    ends: [bool; 2],
    /// Whether nothing gets through any more.
    broken: bool,
    /// When the last thing arrives that is under way to the gateway, and to the link.
    last: [Time; 2],
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pushed {
    Unknown,
    Promised,
}

pub(crate) struct World {
    rng: ChaCha8Rng,
    now: Time,
    gateway: Gateway,
    run: u32,
    model: Model,
    clients: Vec<Client>,
    wires: Vec<Wire>,
    agenda: BTreeMap<(Time, u64), (u32, Coming)>,
    order: u64,
    store_at: Time,
    pusher: PusherId,
    /// By client and number.
    pushes: BTreeMap<(usize, u64), Pushed>,
    unanswered: Vec<(usize, u64)>,
    trace: Trace,
    census: BTreeMap<&'static str, u64>,
}

fn key(client: usize) -> String {
    format!("{}", client + 5)
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let clients = (0..CLIENTS).map(|index| Client {
            link: link(index, rng.random()),
            page: 0,
            saved: Saved::default(),
            delivered: Vec::new(),
            context: "{}".to_owned(),
            ops: 0,
            confirmed_ops: 0,
            welcomed: false,
        });
        let clients = clients.collect();
        Self {
            rng,
            now: START,
            gateway: gateway(1, seed),
            run: 1,
            model: Model::new(seed),
            clients,
            wires: Vec::new(),
            agenda: BTreeMap::new(),
            order: 0,
            store_at: START,
            pusher: PusherId { slot: 0, generation: 0 },
            pushes: BTreeMap::new(),
            unanswered: Vec::new(),
            trace: Trace::new().showing(200),
            census: BTreeMap::new(),
        }
    }

    pub(crate) fn trace(&self) -> &str {
        self.trace.text()
    }

    pub(crate) fn census(&self) -> &BTreeMap<&'static str, u64> {
        &self.census
    }

    pub(crate) fn run(&mut self) {
        self.tell(Event::Pusher(self.pusher, PusherEvent::Opened));
        for client in 0..CLIENTS {
            self.tell_link(client, LinkEvent::Started);
        }
        self.plan();
        let end = START + Span::from_secs(TROUBLE_SECS + PEACE_SECS);
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.judge();
    }

    /// Draws what the world's people and its bad luck will do.
    fn plan(&mut self) {
        for client in 0..CLIENTS {
            for _ in 0..40 {
                self.at_random(Coming::Push(client));
            }
            for _ in 0..12 {
                self.at_random(Coming::Op(client));
            }
            for _ in 0..self.rng.random_range(0..8) {
                self.at_random(Coming::Break(client));
            }
            for _ in 0..self.rng.random_range(0..3) {
                self.at_random(Coming::Reload(client));
            }
        }
        for _ in 0..self.rng.random_range(0..3) {
            self.at_random(Coming::Restart);
        }
    }

    fn at_random(&mut self, coming: Coming) {
        let at = START + Span::from_millis(self.rng.random_range(0..TROUBLE_SECS * 1_000));
        self.at(at, coming);
    }

    fn at(&mut self, at: Time, coming: Coming) {
        self.order += 1;
        self.agenda.insert((at, self.order), (self.run, coming));
    }

    fn is_troubled(&self) -> bool {
        self.now < START + Span::from_secs(TROUBLE_SECS)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.is_troubled() && self.rng.random_range(0..100) < percent
    }

    fn count(&mut self, name: &'static str) {
        *self.census.entry(name).or_default() += 1;
    }

    fn next(&self) -> Option<Time> {
        let links = self.clients.iter().filter_map(|client| client.link.next_deadline());
        let gateway = self.gateway.next_deadline().map(|(at, _)| at);
        links.chain(gateway).chain(self.agenda.keys().next().map(|(at, _)| *at)).min()
    }

    /// Does the first thing that is due.
    fn step(&mut self) {
        if let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let (run, coming) = entry.remove();
            return self.happen(run, coming);
        }
        let due = |at: Option<Time>| at.is_some_and(|at| at <= self.now);
        if due(self.gateway.next_deadline().map(|(at, _)| at)) {
            return self.tell(Event::DeadlineReached);
        }
        for client in 0..CLIENTS {
            if self.clients[client].link.next_deadline().is_some_and(|at| at <= self.now) {
                self.tell_link(client, LinkEvent::DeadlineReached);
            }
        }
    }

    fn happen(&mut self, run: u32, coming: Coming) {
        match coming {
            Coming::ToGateway(wire, event) => {
                let Wire { id, run, ends, .. } = self.wires[wire];
                let is_first = matches!(event, ConnEvent::Accepted);
                if run == self.run && (ends[0] || is_first) {
                    self.wires[wire].ends[0] = !matches!(event, ConnEvent::Closed(_));
                    self.tell(Event::Connection(id, event));
                }
            }
            Coming::ToLink(wire, event) => {
                let Wire { client, page, ends, .. } = self.wires[wire];
                if page == self.clients[client].page && ends[1] {
                    if matches!(event, LinkEvent::Closed { .. } | LinkEvent::Failed(_)) {
                        self.wires[wire].ends[1] = false;
                    }
                    self.tell_link(client, event);
                }
            }
            Coming::Store(op, request) if run == self.run => self.store(op, request),
            Coming::Store(..) => {}
            Coming::Push(client) => self.push(client),
            Coming::Op(client) => {
                let each = &mut self.clients[client];
                each.ops += 1;
                let patch = format!(r#"{{"n":{},"x{}":{}}}"#, each.ops, each.ops % 4, each.ops);
                each.context = json::merge_patch(&each.context, &patch).expect("both are JSON");
                self.tell_link(client, LinkEvent::OpRequested(patch.into()));
            }
            Coming::Break(client) => self.break_wires(client),
            Coming::Reload(client) => self.reload(client),
            Coming::Restart => self.restart(),
        }
    }

    fn push(&mut self, client: usize) {
        let n = self.pushes.len() as u64 + 1;
        self.pushes.insert((client, n), Pushed::Unknown);
        self.unanswered.push((client, n));
        let line = format!(r#"{{"uid":"{}","Data":{n}}}"#, key(client));
        self.tell(Event::Pusher(self.pusher, PusherEvent::LineReceived(line.into())));
    }

    /// The network of a client breaks: neither side, one or both hear of it.
    fn break_wires(&mut self, client: usize) {
        for wire in 0..self.wires.len() {
            let broken = &mut self.wires[wire];
            if broken.client != client || broken.broken || broken.ends == [false; 2] {
                continue;
            }
            broken.broken = true;
            let channel = broken.channel;
            self.count("connection broken");
            let heard = self.rng.random_range(0..4);
            if heard & 1 == 0 {
                let later = self.now + Span::from_millis(self.rng.random_range(0..3_000));
                self.at(later, Coming::ToGateway(wire, ConnEvent::Closed(CloseCause::Eof)));
            }
            if heard & 2 == 0 {
                let later = self.now + Span::from_millis(self.rng.random_range(0..3_000));
                self.at(later, Coming::ToLink(wire, LinkEvent::Closed { channel, code: None }));
            }
            if heard == 3 {
                self.count("half open");
            }
        }
    }

    /// A page is loaded anew: only its storage is left.
    fn reload(&mut self, client: usize) {
        self.count("page reloaded");
        self.break_wires(client);
        let seed = self.rng.random();
        let each = &mut self.clients[client];
        each.page += 1;
        each.link = link(client, seed);
        let saved = each.saved.clone();
        self.tell_link(client, LinkEvent::Restored(saved));
        self.tell_link(client, LinkEvent::Started);
    }

    /// The gateway crashes and is there again: what the store has not come to is lost.
    fn restart(&mut self) {
        self.count("gateway restarted");
        self.trace.note("the gateway restarts");
        self.run += 1;
        self.gateway = gateway(self.run, self.rng.random());
        self.store_at = self.now;
        self.unanswered.clear();
        for wire in 0..self.wires.len() {
            self.wires[wire].ends[0] = false;
            let channel = self.wires[wire].channel;
            if self.wires[wire].ends[1] && !self.wires[wire].broken {
                self.wires[wire].broken = true;
                let later = self.now + Span::from_millis(self.rng.random_range(0..1_000));
                self.at(later, Coming::ToLink(wire, LinkEvent::Closed { channel, code: None }));
            }
        }
        // What was planned for people goes on; what was under way to the old run does not count.
        self.tell(Event::Pusher(self.pusher, PusherEvent::Opened));
    }

    /// The store carries an operation out, or not, and answers.
    fn store(&mut self, op: OpId, request: Op) {
        let answer = if self.chance(2) {
            self.count("store failed");
            if self.chance(30) {
                // It was carried out, and nobody knows.
                self.model.apply(request);
            }
            Answer::Failed("the disk is full".to_owned())
        } else {
            self.model.apply(request)
        };
        self.model.check();
        self.tell(Event::Answered(op, answer));
    }

    fn tell(&mut self, event: Event) {
        let mut commands = Vec::new();
        self.trace.event(self.now, &event);
        self.gateway.handle(self.now, event, &mut commands);
        self.gateway.check();
        self.trace.commands(&commands);
        for command in commands {
            self.obey(command);
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Store { op, request } => {
                let slow = if self.chance(5) { 2_000 } else { 5 };
                let delay = Span::from_millis(self.rng.random_range(0..slow));
                self.store_at = self.store_at.max(self.now + delay);
                self.at(self.store_at, Coming::Store(op, request));
            }
            Command::Send { conn, payload, .. } => {
                let wire = self.wire(conn);
                let channel = self.wires[wire].channel;
                let text = ByteString::try_from(payload).expect("frames are text");
                if text.contains("\"tries\":") && !text.contains("\"tries\":0}") {
                    self.count("written again");
                }
                self.carry(wire, 1, Coming::ToLink(wire, LinkEvent::TextReceived(channel, text)));
            }
            Command::Close { conn, close } => {
                if close.code() == 4007 {
                    self.count("close 4007");
                }
                let wire = self.wire(conn);
                let (channel, code) = (self.wires[wire].channel, Some(close.code()));
                self.carry(wire, 1, Coming::ToLink(wire, LinkEvent::Closed { channel, code }));
                let closed = ConnEvent::Closed(CloseCause::Commanded);
                self.at(self.now, Coming::ToGateway(wire, closed));
            }
            Command::Reply { reply, .. } => {
                let push = self.unanswered.remove(0);
                match reply {
                    Reply::Ok(_) | Reply::Queued(_) => {
                        self.count("accepted");
                        self.pushes.insert(push, Pushed::Promised);
                    }
                    Reply::Fail(_) => {}
                }
            }
            Command::Record(record) => self.note_record(&record),
            Command::Ping { .. }
            | Command::Pong { .. }
            | Command::ReportDrained { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Finish { .. }
            | Command::Answer { .. } => {}
        }
    }

    fn note_record(&mut self, record: &Record) {
        let tag = record.tag();
        assert_ne!(tag, "[retry drop]", "no message has a reason to die");
        assert_ne!(tag, "[bad frame]", "links send frames only");
        self.count(tag);
    }

    /// Where a connection of the gateway leads.
    fn wire(&self, conn: ConnId) -> usize {
        let run = self.run;
        let found = self.wires.iter().position(|wire| wire.id == conn && wire.run == run);
        found.expect("the gateway knows open connections only")
    }

    /// Lets something travel along a wire, behind what travels there already.
    fn carry(&mut self, wire: usize, direction: usize, coming: Coming) {
        if self.wires[wire].broken {
            return;
        }
        let slow = if self.chance(3) { 1_500 } else { 20 };
        let arrives = self.now + Span::from_millis(self.rng.random_range(0..slow));
        let arrives = arrives.max(self.wires[wire].last[direction]);
        self.wires[wire].last[direction] = arrives;
        self.at(arrives, coming);
    }

    fn tell_link(&mut self, client: usize, event: LinkEvent) {
        let mut commands = Vec::new();
        if let LinkEvent::TextReceived(_, text) = &event
            && text.contains("\"type\":\"message\"")
        {
            self.count("message dropped as seen");
        }
        self.clients[client].link.handle(self.now, event, &mut commands);
        for command in commands {
            self.obey_link(client, command);
        }
    }

    fn obey_link(&mut self, client: usize, command: LinkCommand) {
        match command {
            LinkCommand::Open { channel, .. } => self.open(client, channel),
            LinkCommand::Send(channel, text) => {
                if let Some(wire) = self.wire_of(client, channel) {
                    self.carry(wire, 0, Coming::ToGateway(wire, ConnEvent::TextReceived(text)));
                }
            }
            LinkCommand::Close(channel) => {
                if let Some(wire) = self.wire_of(client, channel) {
                    self.wires[wire].ends[1] = false;
                    let closed = ConnEvent::Closed(CloseCause::Eof);
                    self.carry(wire, 0, Coming::ToGateway(wire, closed));
                }
            }
            LinkCommand::Deliver { data, .. } => {
                let n = data.rsplit_once(':').expect("a push").1.trim_end_matches('}');
                let n = n.parse().expect("a number");
                self.count("delivered");
                // It was counted as it came.
                *self.census.get_mut("message dropped as seen").expect("it came") -= 1;
                let each = &mut self.clients[client];
                assert!(self.pushes.contains_key(&(client, n)), "{n} is not for {}", key(client));
                let last = each.delivered.last().copied().unwrap_or(0);
                assert!(last < n, "{n} came after {last}: twice, or out of order");
                each.delivered.push(n);
            }
            LinkCommand::Save(save) => self.save(client, save),
            LinkCommand::Report(report) => self.report(client, &report),
            LinkCommand::StateChanged { .. } => {}
        }
    }

    fn open(&mut self, client: usize, channel: ChannelId) {
        let wire = self.wires.len();
        let id = ConnId { slot: u32::try_from(wire).expect("few"), generation: 0 };
        self.wires.push(Wire {
            client,
            page: self.clients[client].page,
            channel,
            id,
            run: self.run,
            ends: [false, true],
            broken: false,
            last: [self.now; 2],
        });
        if self.chance(15) {
            self.count("open failed");
            return self.carry(wire, 1, Coming::ToLink(wire, LinkEvent::Failed(channel)));
        }
        self.carry(wire, 0, Coming::ToGateway(wire, ConnEvent::Accepted));
        let upgraded = ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Link };
        self.carry(wire, 0, Coming::ToGateway(wire, upgraded));
        self.wires[wire].last[1] = self.wires[wire].last[0];
        self.carry(wire, 1, Coming::ToLink(wire, LinkEvent::Opened(channel)));
    }

    fn wire_of(&self, client: usize, channel: ChannelId) -> Option<usize> {
        let page = self.clients[client].page;
        let mut wires = self.wires.iter();
        wires.position(|it| it.client == client && it.page == page && it.channel == channel)
    }

    fn save(&mut self, client: usize, save: Save) {
        self.clients[client].saved.apply(save);
    }

    fn report(&mut self, client: usize, report: &Report) {
        match report {
            Report::Welcomed { resumed, lost, .. } => {
                assert!(!lost, "nothing died");
                let each = &mut self.clients[client];
                assert!(*resumed || !each.welcomed, "the session of {} is lost", key(client));
                each.welcomed = true;
                if *resumed {
                    self.count("resumed");
                }
            }
            Report::OpsConfirmed { through } => {
                self.clients[client].confirmed_ops = *through;
                self.count("op confirmed");
            }
            Report::OpRefused | Report::GaveUp | Report::Refused { .. } => {
                panic!("{} has no reason for {report:?}", key(client));
            }
            Report::Suspect | Report::GatewayError { .. } | Report::RetryIn(_) => {}
        }
    }

    /// After a long peace everything that was promised has been kept.
    fn judge(&mut self) {
        for client in 0..CLIENTS {
            let each = &self.clients[client];
            let delivered: BTreeSet<_> = each.delivered.iter().copied().collect();
            for ((_, n), _) in
                self.pushes.iter().filter(|((of, _), it)| *of == client && **it == Pushed::Promised)
            {
                assert!(
                    delivered.contains(n),
                    "{n} was promised to {} and never came",
                    key(client)
                );
            }
            let id = each.saved.session.clone().expect("it was welcomed");
            let get = Op::Session(SessionOp::Get { id, now: self.now });
            let Answer::SessionFound(Some(session)) = self.model.apply(get) else {
                panic!("the session of {} is not stored", key(client));
            };
            let Session { context, applied, .. } = session;
            assert_eq!((applied, each.confirmed_ops), (each.ops, each.ops), "{}", key(client));
            assert_eq!(&*context, each.context, "the context of {}", key(client));
            assert_eq!(self.model.waiting(&Key::new(key(client))).count(), 0, "nothing waits");
        }
        let tables = self.gateway.tables();
        assert_eq!((tables.connections, tables.window), (CLIENTS, 0), "one connection each");
    }
}

fn link(client: usize, seed: u64) -> Link {
    let config = LinkConfig::new(Key::new(key(client)), vec!["a".into()]);
    Link::new(LinkConfig { fallback: Fallback::Never, ..config }, seed)
}

fn gateway(run: u32, seed: u64) -> Gateway {
    // Messages do not die in these worlds; that sessions hear of it is a story of its own.
    let config =
        Config { retry_max: u32::MAX, retry_interval: Span::from_millis(100), ..Config::default() };
    Gateway::new(config, run, seed)
}
