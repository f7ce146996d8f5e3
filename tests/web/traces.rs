//! What the Rust link does in random worlds, written down so that the JavaScript one can be held to
//! it: events, commands, deadlines, states, and the random draws.

use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use steadfast_core::id::Key;
use steadfast_core::link::{
    ChannelId, Fallback, Hint, Link, LinkCommand, LinkConfig, LinkEvent, LinkState, Op, Report,
    Save, Saved, Standby, Transport,
};
use steadfast_core::time::{Span, Time};

/// A draw for every delay that a trace can have.
const DRAWS: usize = 400;
const STEPS: usize = 300;
const START_MS: u64 = 1_795_224_000_000;

/// One random world of this seed.
pub(crate) fn trace(seed: u64) -> Value {
    let mut world = World::new(seed);
    let mut steps = Vec::new();
    world.restore(&mut steps);
    for _ in 0..STEPS {
        world.step(&mut steps);
    }
    let mut draws = ChaCha8Rng::seed_from_u64(seed);
    json!({
        "seed": seed,
        "config": world.settings(),
        "draws": (0..DRAWS).map(|_| draws.next_u32()).collect::<Vec<_>>(),
        "steps": steps,
        "statistics": world.statistics(),
    })
}

/// How many commands of each name there are in a trace.
pub(crate) fn names(trace: &Value) -> BTreeSet<String> {
    let steps = trace["steps"].as_array().expect("a trace has steps");
    let commands = steps.iter().flat_map(|step| step["commands"].as_array().expect("commands"));
    let name = |command: &Value| match command[0].as_str().expect("a name") {
        name @ ("report" | "save") => format!("{name} {}", command[1].as_str().expect("a kind")),
        name @ "open" => format!("{name} {}", command[3].as_str().expect("a transport")),
        name @ "state" => format!("{name} {}", command[2].as_str().expect("a state")),
        name => name.to_owned(),
    };
    commands.map(name).collect()
}

struct World {
    link: Link,
    config: LinkConfig,
    rng: ChaCha8Rng,
    now_ms: u64,
    /// Those that were opened and have not ended.
    channels: BTreeSet<ChannelId>,
    applied: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let endpoints = ["wss://a/", "wss://b/", "wss://c/"].into_iter().map(Into::into);
        let endpoints = endpoints.take(rng.random_range(1..=3)).collect();
        let mut config = LinkConfig::new(Key::new("键 \"5\""), endpoints);
        config.token = rng.random_bool(0.3).then(|| "a.b.c".into());
        config.fallback = if rng.random_bool(0.8) { Fallback::Allowed } else { Fallback::Never };
        config.standby = if rng.random_bool(0.4) { Standby::Warm } else { Standby::Off };
        config.delays.max_attempts = rng.random_bool(0.2).then_some(6);
        config.delays.min = Span::from_millis(rng.random_range(300..1_500));
        config.probe_delays.min = config.delays.min;
        config.seen_max = rng.random_range(3..10);
        config.ops_max = rng.random_range(2..10);
        let link = Link::new(config.clone(), seed);
        let channels = BTreeSet::new();
        Self { link, config, rng, now_ms: START_MS, channels, applied: 0 }
    }

    /// The settings, as the JavaScript client names them.
    fn settings(&self) -> Value {
        let config = &self.config;
        json!({
            "key": &**config.key.text(),
            "token": config.token.as_deref(),
            "urls": config.endpoints.iter().map(|url| &**url).collect::<Vec<_>>(),
            "fallback": config.fallback == Fallback::Allowed,
            "standby": config.standby == Standby::Warm,
            "delayMin": config.delays.min.as_millis(),
            "delayMax": config.delays.max.as_millis(),
            "probeDelayMax": config.probe_delays.max.as_millis(),
            "delayFactor": config.delays.factor,
            "jitterPercent": config.delays.jitter_percent,
            "maxAttempts": config.delays.max_attempts,
            "openTimeout": config.open_timeout.as_millis(),
            "stableAfter": config.stable_after.as_millis(),
            "slotMax": config.slot_max.as_millis(),
            "heartbeatInterval": config.heartbeat_interval.as_millis(),
            "heartbeatTimeout": config.heartbeat_timeout.as_millis(),
            "missedMax": config.missed_max,
            "healthInterval": config.health_interval.as_millis(),
            "idlePing": config.idle_ping.as_millis(),
            "idleMax": config.idle_max.as_millis(),
            "probeTimeout": config.probe_timeout.as_millis(),
            "wakeAfter": config.wake_after.as_millis(),
            "breakerFailures": config.breaker_failures,
            "breakerPause": config.breaker_pause.as_millis(),
            "seenMax": config.seen_max,
            "opsMax": config.ops_max,
        })
    }

    fn restore(&mut self, steps: &mut Vec<Value>) {
        if self.rng.random_bool(0.5) {
            return;
        }
        let ops = [Op { n: 4, patch: "{\"x\":1}".into() }, Op { n: 5, patch: "null".into() }];
        let saved = Saved {
            session: self.rng.random_bool(0.7).then(|| "s0".into()),
            seen: vec!["1-1".into(), "1-2".into()],
            last_op: 5,
            ops: ops.to_vec(),
        };
        self.applied = 4;
        self.tell(LinkEvent::Restored(saved), steps);
    }

    fn step(&mut self, steps: &mut Vec<Value>) {
        let wait_ms = match self.rng.random_range(0..20) {
            0 => self.rng.random_range(0..200_000),
            1..5 => self.rng.random_range(0..20_000),
            _ => self.rng.random_range(0..900),
        };
        self.now_ms += wait_ms;
        let event = match self.link.state() {
            LinkState::Disconnected => LinkEvent::Started,
            LinkState::Connecting
            | LinkState::Connected
            | LinkState::Reconnecting
            | LinkState::Fallback => self.any_event(),
        };
        self.tell(event, steps);
    }

    fn any_event(&mut self) -> LinkEvent {
        let nth = self.rng.random_range(0..self.channels.len().max(1));
        let channel = self.channels.iter().nth(nth).copied().unwrap_or(ChannelId(1));
        match self.rng.random_range(0..100) {
            0..25 => self.deadline(),
            25..40 => LinkEvent::Opened(channel),
            40..60 => LinkEvent::TextReceived(channel, self.any_text().into()),
            60..74 => LinkEvent::TextReceived(channel, self.welcome().into()),
            74..80 => LinkEvent::Failed(channel),
            80..88 => {
                let codes = [None, Some(1001), Some(1012), Some(4003), Some(4007), Some(1008)];
                let code = codes[self.rng.random_range(0..codes.len())];
                LinkEvent::Closed { channel, code }
            }
            88..93 => {
                let patches = ["{\"a\":{\"b\":null}}", "\"ö\"", "[1,2]", "7"];
                LinkEvent::OpRequested(patches[self.rng.random_range(0..4)].into())
            }
            93..99 => {
                let hints = [Hint::Online, Hint::Offline, Hint::Visible, Hint::Woke];
                LinkEvent::Hinted(hints[self.rng.random_range(0..4)])
            }
            _ => LinkEvent::Stopped,
        }
    }

    fn deadline(&mut self) -> LinkEvent {
        let due = self.link.next_deadline().expect("a started link has one");
        self.now_ms = self.now_ms.max(due.as_micros() / 1_000);
        LinkEvent::DeadlineReached
    }

    fn any_text(&mut self) -> String {
        let (id, tries) = (self.rng.random_range(1..30), self.rng.random_range(0..3));
        let texts = [
            json!({"type": "message", "id": format!("1-{id}"), "data": "x".repeat(id * 7), "tries": tries}),
            json!({"type": "message", "id": format!("键\"{id}"), "data": "消息 \u{1F600} é\n", "tries": 0}),
            json!({"type": "heartbeat_ack", "timestamp": self.now_ms}),
            json!({"type": "pong", "new": [1]}),
            json!({"type": "op_ack", "n": self.rng.random_range(1..9)}),
            json!({"type": "retry", "after_ms": self.rng.random_range(0..40_000)}),
            json!({"type": "error", "code": 4003, "reason": "ack overdue"}),
            json!({"type": "message", "id": 5, "data": "x", "tries": 0}),
            json!({"type": "unknown"}),
            json!([]),
        ];
        let at = match self.rng.random_range(0..20) {
            at @ 10.. => at % 5,
            at => at,
        };
        texts[at].to_string()
    }

    fn welcome(&mut self) -> String {
        let resumed = self.rng.random_bool(0.6);
        self.applied = if resumed { self.applied + self.rng.random_range(0..2) } else { 0 };
        let heartbeat_ms = [500, 5_000, 15_000, 40_000][self.rng.random_range(0..4)];
        let mut welcome = json!({
            "type": "welcome",
            "session": format!("s{}", self.rng.random_range(0..100)),
            "resumed": resumed,
            "lost": self.rng.random_bool(0.1),
            "applied": self.applied,
            "context": {"page": 1, "list": [null, "é"]},
            "heartbeat_ms": heartbeat_ms,
        });
        if self.rng.random_bool(0.2) {
            welcome["endpoints"] = json!(["wss://b/", "wss://d/"]);
        }
        welcome.to_string()
    }

    fn tell(&mut self, event: LinkEvent, steps: &mut Vec<Value>) {
        let now = Time::from_micros(self.now_ms * 1_000);
        let written = event_json(&event);
        if let LinkEvent::Failed(channel) | LinkEvent::Closed { channel, .. } = &event {
            self.channels.remove(channel);
        }
        let mut commands = Vec::new();
        self.link.handle(now, event, &mut commands);
        for command in &commands {
            match command {
                LinkCommand::Open { channel, .. } => drop(self.channels.insert(*channel)),
                LinkCommand::Close(channel) => drop(self.channels.remove(channel)),
                LinkCommand::Send(..)
                | LinkCommand::Deliver { .. }
                | LinkCommand::Save(_)
                | LinkCommand::StateChanged { .. }
                | LinkCommand::Report(_) => {}
            }
        }
        steps.push(json!({
            "at": self.now_ms,
            "event": written,
            "commands": commands.iter().map(command_json).collect::<Vec<_>>(),
            "deadline": self.link.next_deadline().map(|due| due.as_micros() / 1_000),
            "state": self.link.state().name(),
        }));
    }

    fn statistics(&self) -> Value {
        let figures = self.link.statistics(Time::from_micros(self.now_ms * 1_000));
        let ms = |at: Option<Time>| at.map(|at| at.as_micros() / 1_000);
        json!({
            "reconnectsTotal": figures.reconnects_total,
            "reconnectsSuccessful": figures.reconnects_successful,
            "reconnectsFailed": figures.reconnects_failed,
            "lastConnectedAt": ms(figures.last_connected_at),
            "lastDisconnectedAt": ms(figures.last_disconnected_at),
            "downtimeMs": figures.downtime.as_millis(),
            "availabilityPercent": figures.availability_percent,
            "messages": figures.messages,
            "duplicates": figures.duplicates,
            "rttMs": figures.rtt_ms,
            "quality": figures.quality,
        })
    }
}

fn event_json(event: &LinkEvent) -> Value {
    match event {
        LinkEvent::Restored(saved) => json!(["restored", {
            "session": saved.session.as_deref(),
            "seen": saved.seen.iter().map(|id| &**id).collect::<Vec<_>>(),
            "lastOp": saved.last_op,
            "ops": saved.ops.iter().map(|op| &*op.patch).collect::<Vec<_>>(),
        }]),
        LinkEvent::Started => json!(["started"]),
        LinkEvent::Opened(channel) => json!(["opened", channel.0]),
        LinkEvent::Failed(channel) => json!(["failed", channel.0]),
        LinkEvent::TextReceived(channel, text) => json!(["text", channel.0, &**text]),
        LinkEvent::Closed { channel, code } => json!(["closed", channel.0, code]),
        LinkEvent::OpRequested(patch) => json!(["op", &**patch]),
        LinkEvent::Hinted(hint) => json!([
            "hint",
            match hint {
                Hint::Online => "online",
                Hint::Offline => "offline",
                Hint::Visible => "visible",
                Hint::Woke => "woke",
            }
        ]),
        LinkEvent::DeadlineReached => json!(["deadline"]),
        LinkEvent::Stopped => json!(["stopped"]),
    }
}

fn command_json(command: &LinkCommand) -> Value {
    match command {
        LinkCommand::Open { channel, url, by } => {
            let by = match by {
                Transport::WebSocket => "ws",
                Transport::LongPoll => "poll",
            };
            json!(["open", channel.0, &**url, by])
        }
        LinkCommand::Send(channel, text) => json!(["send", channel.0, &**text]),
        LinkCommand::Close(channel) => json!(["close", channel.0]),
        LinkCommand::Deliver { id, data, tries } => json!(["deliver", &**id, &**data, tries]),
        LinkCommand::Save(Save::Session(id)) => json!(["save", "session", id.as_deref()]),
        LinkCommand::Save(Save::Seen(id)) => json!(["save", "seen", &**id]),
        LinkCommand::Save(Save::Op(op)) => json!(["save", "op", op.n, &*op.patch]),
        LinkCommand::Save(Save::OpsDone { through }) => json!(["save", "opsDone", through]),
        LinkCommand::StateChanged { old, new } => json!(["state", old.name(), new.name()]),
        LinkCommand::Report(report) => report_json(report),
    }
}

fn report_json(report: &Report) -> Value {
    match report {
        Report::Welcomed { resumed, lost, context } => {
            let context: Value = serde_json::from_str(context).expect("a context is JSON");
            json!(["report", "welcomed", resumed, lost, context])
        }
        Report::OpsConfirmed { through } => json!(["report", "opsConfirmed", through]),
        Report::OpRefused => json!(["report", "opRefused"]),
        Report::Suspect => json!(["report", "suspect"]),
        Report::GatewayError { code, reason } => json!(["report", "gatewayError", code, &**reason]),
        Report::Refused { code } => json!(["report", "refused", code]),
        Report::GaveUp => json!(["report", "gaveUp"]),
        Report::RetryIn(delay) => json!(["report", "retryIn", delay.as_millis()]),
    }
}
