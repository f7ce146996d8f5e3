//! The Direct tier: the core and an event heap, and no runtime.
//!
//! A `Run` plays one schedule: clients ([`Link`](steadfast_core::link::legacy::Link) machines behind
//! networks with delays), back ends, the simulated disk, and a gateway that is told in turns what has
//! arrived, in an order drawn by chance, as its event loop would. Everything is judged from outside,
//! and [`Gateway::check`](steadfast_core::gateway::Gateway::check) is called after every event.
//!
//! What is not here: bytes. Codecs, sockets and buffers are the other tier's.

mod agenda;
mod client;
pub(crate) mod hasher;
mod heal;
mod host;
mod links;
mod ops;
mod peers;
mod socket;
mod strangers;

use crate::disk::Disk;
use crate::oracle::{Fact, Judge, Moment, Oracle, Violation};
use crate::sabotage::Sabotage;
use crate::schedule::{Actor, Delivered, Schedule, Stream, Trouble};
use crate::tally::Tally;
use crate::world::START;
use agenda::Agenda;
use client::Client;
use hasher::TraceHasher;
use host::Host;
use peers::{BackEnd, ClientEvent, Wire};
use rand_chacha::ChaCha8Rng;
use socket::Sockets;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::panic::{self, AssertUnwindSafe, catch_unwind};
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::{ConnEvent, Event, PusherEvent};
use steadfast_core::id::{ConnId, Key, OpId, PusherId};
use steadfast_core::link::legacy::LinkCommand;
use steadfast_core::record::Record;
use steadfast_core::store::Answer;
use steadfast_core::time::{Span, Time};
use steadfast_core::trace::Trace;

/// How long the user of a client waits that was told not to come back, in microseconds.
const LINK_RESTART: u64 = 5_000_000;

/// The only gateway of a Direct world.
const NODE: u32 = 0;

/// How closely a run is watched.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Whether the oracles look; without them a run only has its hash.
    pub judged: bool,
    /// Whether commands, records and faults are counted.
    pub tallied: bool,
    /// Whether a trace is written, and of which key alone.
    pub traced: Option<Option<Key>>,
    /// What is broken on purpose.
    pub sabotage: Option<Sabotage>,
}

impl Watch {
    /// Whether nobody looks, and only the hash is wanted.
    fn is_idle(&self) -> bool {
        !self.judged && !self.tallied && self.traced.is_none()
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The first broken promise.
    pub violation: Option<Violation>,
    /// The hash of everything that the gateway was told and ordered.
    pub hash: u64,
    /// How many events it was told.
    pub events: u64,
    /// What occurred, if it was counted.
    pub tally: Tally,
    /// The trace, if it was written.
    pub trace: String,
}

/// Plays a schedule.
#[must_use]
pub fn play(schedule: &Schedule, watch: &Watch) -> Outcome {
    let mut run = Run::new(schedule, watch.clone());
    let result = catch_unwind(AssertUnwindSafe(|| run.play()));
    if result.is_err() {
        let text = LAST_PANIC.take().unwrap_or_else(|| "a panic".to_owned());
        run.judge.blame(Oracle::Tables, text);
    }
    run.outcome()
}

thread_local! {
    /// What the last panic of this thread said.
    static LAST_PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Panics are findings: from now on they are kept for the one who judges, and not printed.
pub fn keep_panics_quiet() {
    panic::set_hook(Box::new(|info| LAST_PANIC.set(Some(info.to_string().replace('\n', " ")))));
}

/// Plays a schedule twice: judged, and once more for the hash alone.
#[must_use]
pub fn play_twice(schedule: &Schedule) -> Outcome {
    let mut outcome = play(schedule, &Watch { judged: true, ..Watch::default() });
    let again = play(schedule, &Watch::default());
    if outcome.violation.is_none() && (again.hash, again.events) != (outcome.hash, outcome.events) {
        outcome.violation = Some(Violation {
            oracle: Oracle::Determinism,
            at: Span::ZERO,
            text: format!(
                "{} events with hash {:016x}, and then {} with {:016x}",
                outcome.events, outcome.hash, again.events, again.hash
            ),
        });
    }
    outcome
}

/// One world being played.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    schedule: &'a Schedule,
    config: Config,
    watch: Watch,
    now: u64,
    /// How far the wall clock is from where it would be without leaps.
    leapt: i64,
    /// How far it went back over restarts, in milliseconds.
    turned_back: u64,
    agenda: Agenda<Happening>,
    next_op: usize,
    host: Host,
    disk: Disk,
    disk_rng: ChaCha8Rng,
    trouble: Option<(Trouble, u64)>,
    syncing: bool,
    /// When the last answers of the disk arrive.
    answers_at: u64,
    clients: Vec<Client>,
    /// The buffer for what links order.
    link_commands: Vec<LinkCommand>,
    sockets: Sockets,
    back_ends: Vec<BackEnd>,
    wires: BTreeMap<PusherId, Wire>,
    healed: bool,
    /// How often operators asked something.
    asked: u64,
    /// How many connections were reset at this instant.
    resets: (u64, u32),
    judge: Judge,
    trace: Trace,
    hasher: TraceHasher,
    tally: Tally,
    events: u64,
}

/// Something that is still to happen.
#[derive(Debug)]
enum Happening {
    /// Something arrives at the gateway.
    ToGateway(ConnId, ConnEvent),
    /// A line arrives at the gateway.
    FromBackEnd(PusherId, PusherEvent),
    /// Something arrives at a client, on this attempt of its.
    ToClient(u32, u32, ClientEvent),
    /// A client's link has a deadline.
    Wake(u32),
    /// A client asks for a connection.
    Dial(u32, u32),
    /// A client starts.
    Start(u32),
    /// A client stands still no longer.
    Thaw(u32),
    /// A network works again.
    CutEnds(u32, ConnId),
    /// The disk carries out what is queued.
    Sync,
    /// The store's answers are there, for this run of the gateway.
    Answers(u32, Vec<(OpId, Answer)>),
    /// The gateway's process, told to stop, ends; it starts again so much later.
    Exit(u64),
    /// The gateway's process starts.
    Restart,
}

impl<'a> Run<'a> {
    fn new(schedule: &'a Schedule, watch: Watch) -> Self {
        let (seed, world) = (schedule.seed, &schedule.world);
        let mut config = world.settings.config();
        if let Some(sabotage) = watch.sabotage {
            sabotage.settings(&mut config);
        }
        let broken = watch.sabotage.and_then(Sabotage::inside);
        let mut disk = Disk::new(seed);
        if !watch.judged {
            disk.keep_no_facts();
        }
        let host = Host::new(config.clone(), disk.start(), seed, broken);
        let (clients, sabotage) = ((0..).take(world.clients.len()), watch.sabotage);
        Self {
            schedule,
            config,
            watch,
            now: 0,
            leapt: 0,
            turned_back: 0,
            agenda: Agenda::new(),
            next_op: 0,
            host,
            disk,
            disk_rng: Actor::Store.stream(seed, Stream::World),
            trouble: None,
            syncing: false,
            answers_at: 0,
            clients: clients.map(|index| Client::new(seed, index, world, sabotage)).collect(),
            link_commands: Vec::new(),
            sockets: Sockets::default(),
            back_ends: (0..world.back_ends).map(|_| BackEnd::default()).collect(),
            wires: BTreeMap::new(),
            healed: false,
            asked: 0,
            resets: (0, 0),
            judge: Judge::new(schedule),
            trace: Trace::new(),
            hasher: TraceHasher::default(),
            tally: Tally::default(),
            events: 0,
        }
    }

    fn play(&mut self) {
        let heal_at = self.schedule.world.heal_at;
        self.advance(heal_at);
        self.heal();
    }

    /// Lets everything happen up to this time, and then it is this time. Stops at a violation. What
    /// is due at one instant: operations first, then what was noted, then the gateway's turn.
    fn advance(&mut self, until: u64) {
        while self.judge.violation().is_none() {
            let op_at = self.schedule.ops.get(self.next_op).map_or(u64::MAX, |op| op.at);
            let next_at = self.agenda.next_at().unwrap_or(u64::MAX);
            let turn_at = self.host.turn_at.unwrap_or(u64::MAX);
            let at = op_at.min(next_at).min(turn_at);
            if at > until {
                break;
            }
            self.now = self.now.max(at);
            if op_at == at {
                self.next_op += 1;
                self.perform(self.next_op - 1);
            } else if next_at == at {
                let (_, what) = self.agenda.pop().expect("it is there");
                self.happen(what);
            } else {
                self.turn();
            }
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, what: Happening) {
        match what {
            Happening::ToGateway(id, event) => self.arrive_at_gateway(id, event),
            Happening::FromBackEnd(id, event) => self.arrive_from_back_end(id, event),
            Happening::ToClient(client, attempt, event) => {
                self.arrive_at_client(client, attempt, event);
            }
            Happening::Wake(client) => self.wake(client),
            Happening::Dial(client, attempt) => self.accept(client, attempt),
            Happening::Start(client) => self.start(client),
            Happening::Thaw(client) => self.thaw(client),
            Happening::CutEnds(client, id) => self.end_cut(client, id),
            Happening::Sync => self.sync(),
            Happening::Answers(run, answers) => self.arrive_from_store(run, answers),
            Happening::Exit(down) => self.exit(down),
            Happening::Restart => self.restart(),
        }
    }

    fn note(&mut self, after: u64, what: Happening) {
        self.agenda.note(self.now + after, what);
    }

    /// What the gateway's clock shows.
    fn wall(&self) -> Time {
        let micros = START.as_micros() + self.now;
        Time::from_micros(micros.checked_add_signed(self.leapt).expect("a wall clock after 1970"))
    }

    /// The time as clients see it: their clocks do not leap.
    fn client_time(&self) -> Time {
        Time::from_micros(self.now)
    }

    fn moment(&self) -> Moment {
        Moment { elapsed: Span::from_micros(self.now), wall: self.wall() }
    }

    /// Tells the judge a fact.
    fn fact(&mut self, fact: Fact) {
        if self.watch.judged {
            self.judge.fact(self.moment(), fact);
        }
    }

    /// A fault took effect.
    fn deliver(&mut self, fault: Delivered) {
        if self.watch.tallied {
            self.tally.delivered(fault);
        }
    }

    /// A line of the world's own in the trace.
    fn remark(&mut self, text: &str) {
        if self.watch.traced.is_some() {
            let millis = self.now / 1_000;
            self.trace.note(&format!("{}.{:03} {text}", millis / 1_000, millis % 1_000));
        }
    }

    /// Tells the gateway an event, and does what it orders.
    fn tell(&mut self, event: Event) {
        let wall = self.wall();
        self.events += 1;
        let mut commands = std::mem::take(&mut self.host.commands);
        let Some(gateway) = &mut self.host.gateway else { return };
        (wall, &event).hash(&mut self.hasher);
        let ended =
            if let Event::Connection(id, ConnEvent::Closed(_)) = &event { Some(*id) } else { None };
        if let Some(sabotage) = self.watch.sabotage {
            let told = self.host.tamper.event(sabotage, &event);
            gateway.handle(wall, told, &mut commands);
            for event in self.host.tamper.commands(sabotage, &mut commands) {
                gateway.handle(wall, event, &mut commands);
            }
            self.look_at(&event, &commands);
        } else if self.watch.is_idle() {
            gateway.handle(wall, event, &mut commands);
        } else {
            gateway.handle(wall, event.clone(), &mut commands);
            self.look_at(&event, &commands);
        }
        commands.hash(&mut self.hasher);
        for command in &mut commands {
            if let Command::Record(record) = command {
                self.heed(record);
            } else {
                self.obey(std::mem::replace(command, Command::Record(Record::StaleId)));
            }
        }
        commands.clear();
        self.host.commands = commands;
        if let Some(id) = ended {
            self.sockets.free(id);
        }
    }

    /// Judges, counts and writes down what was told and ordered.
    fn look_at(&mut self, event: &Event, commands: &[Command]) {
        if self.watch.traced.is_some() {
            self.write_trace(event, commands);
        }
        if self.watch.judged {
            if let Some(gateway) = &self.host.gateway {
                gateway.check();
            }
            self.judge.batch(self.moment(), NODE, event, commands);
        }
        if self.watch.tallied {
            self.tally.batch(event, commands);
        }
    }

    fn write_trace(&mut self, event: &Event, commands: &[Command]) {
        let at = Time::from_micros(START.as_micros() + self.now);
        let Some(Some(key)) = &self.watch.traced else {
            self.trace.event(at, event);
            return self.trace.commands(commands);
        };
        let sockets = &mut self.sockets;
        let (clients, keys) = (&self.schedule.world.clients, &self.schedule.world.keys);
        let mut of_key = |id: ConnId| {
            let client = sockets.get(id).and_then(|socket| socket.client);
            client.is_some_and(|client| keys[clients[client as usize].key as usize].text == **key)
        };
        let commands: Vec<_> = commands
            .iter()
            .filter(|command| crate::narrow::command(command, key, &mut of_key))
            .cloned()
            .collect();
        if !commands.is_empty() || crate::narrow::event(event, &mut of_key) {
            self.trace.event(at, event);
            self.trace.commands(&commands);
        }
    }

    fn outcome(self) -> Outcome {
        Outcome {
            violation: self.judge.violation().cloned(),
            hash: self.hasher.finish(),
            events: self.events,
            tally: self.tally,
            trace: self.trace.text().to_owned(),
        }
    }
}
