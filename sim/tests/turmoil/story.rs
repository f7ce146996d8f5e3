//! How stories are told: a plan, step by step, and its timeline as a snapshot.

use steadfast_core::config::Config;
use steadfast_core::time::Span;
use steadfast_sim::turmoil::{
    ClientSetup, Host, Kind, Op, OpKind, Plan, Pongs, PushLine, Setup, Speaks, Whim, table, tell,
};

/// The one gateway of a story.
pub(crate) const GATEWAY: Host = Host::Gateway(0);

/// A world lives until its last operation, which is this remark.
const END: &str = "The end.";

/// A story being written.
pub(crate) struct Story {
    name: &'static str,
    plan: Plan,
    now_ms: u64,
    pushed: u32,
}

impl Story {
    /// A gateway, a back end, and nobody yet.
    pub(crate) fn new(name: &'static str) -> Self {
        let setup = Setup {
            gateways: 1,
            lease: None,
            sites: Vec::new(),
            clients: Vec::new(),
            keys: Vec::new(),
            backends: 1,
            config: Config { confirm_delay: Span::from_millis(50), ..Config::default() },
            buffer: 64 << 10,
            latency_ms: (20, 20),
            step_ms: 10,
            is_frail: false,
        };
        let plan = Plan { seed: 1, setup, ops: Vec::new(), story: true };
        Self { name, plan, now_ms: 0, pushed: 0 }
    }

    /// Two gateways that share a Redis, a back end, and nobody yet.
    pub(crate) fn shared(name: &'static str) -> Self {
        let mut story = Self::new(name);
        story.plan.setup.gateways = 2;
        story.plan.setup.lease = Some(Span::from_secs(4));
        story
    }

    /// The client connects to this gateway.
    pub(crate) fn at(&mut self, client: usize, gateway: usize) {
        self.plan.setup.clients[client].gateway = gateway;
    }

    /// Other settings than the defaults.
    pub(crate) fn config(&mut self) -> &mut Config {
        &mut self.plan.setup.config
    }

    /// How many bytes a stream holds.
    pub(crate) fn buffer(&mut self, bytes: usize) {
        self.plan.setup.buffer = bytes;
    }

    /// A client with this key, on a host of its own.
    pub(crate) fn client(&mut self, name: &str, key: &str) -> usize {
        let setup = &mut self.plan.setup;
        let place = setup.keys.iter().position(|other| other == key);
        let place = place.unwrap_or_else(|| {
            setup.keys.push(key.to_owned());
            setup.keys.len() - 1
        });
        setup.sites.push(format!("{name}-network"));
        setup.clients.push(ClientSetup {
            number: setup.clients.len() as u32,
            name: name.to_owned(),
            site: setup.sites.len() - 1,
            first: key.to_owned(),
            key: Some(place),
            gateway: 0,
            pongs: Pongs::Prompt,
            speaks: Speaks::Text,
            heartbeat: Span::from_secs(5),
        });
        setup.clients.len() - 1
    }

    /// The client never answers pings.
    pub(crate) fn mute(&mut self, client: usize) {
        self.plan.setup.clients[client].pongs = Pongs::Never;
    }

    /// Lets time pass.
    pub(crate) fn wait(&mut self, millis: u64) -> &mut Self {
        self.now_ms += millis;
        self
    }

    pub(crate) fn op(&mut self, kind: OpKind) -> &mut Self {
        self.plan.ops.push(Op { at: Span::from_millis(self.now_ms), kind });
        self
    }

    pub(crate) fn note(&mut self, text: &str) -> &mut Self {
        self.op(OpKind::Note(text.to_owned()))
    }

    pub(crate) fn whim(&mut self, client: usize, whim: Whim) -> &mut Self {
        self.op(OpKind::Client(client, whim))
    }

    /// The back end pushes this to the first key, one line after the other in one write.
    pub(crate) fn push(&mut self, words: &[&str]) -> &mut Self {
        self.push_to(0, words)
    }

    /// The same to this gateway.
    pub(crate) fn push_to(&mut self, gateway: usize, words: &[&str]) -> &mut Self {
        let key = self.plan.setup.keys[0].clone();
        let lines = words.iter().map(|word| {
            self.pushed += 1;
            let serial = self.pushed;
            let text = format!(r##"{{"uid":"{key}","Data":"#{serial} {word}"}}"##);
            PushLine { key: 0, serial, text }
        });
        let lines = lines.collect();
        self.op(OpKind::Push { backend: 0, gateway, lines })
    }

    /// The back end pushes a message that kills its reader.
    pub(crate) fn push_poison(&mut self) -> &mut Self {
        let key = self.plan.setup.keys[0].clone();
        self.pushed += 1;
        let serial = self.pushed;
        let text = format!(r##"{{"uid":"{key}","Data":"#{serial}","Poison":true}}"##);
        let lines = vec![PushLine { key: 0, serial, text }];
        self.op(OpKind::Push { backend: 0, gateway: 0, lines })
    }

    /// The back end sends bytes that are no push.
    pub(crate) fn raw(&mut self, bytes: &[u8], replies: usize) -> &mut Self {
        self.op(OpKind::Raw { backend: 0, gateway: 0, bytes: bytes.to_vec(), replies })
    }

    /// Runs the story and compares what a reader sees with `snapshots/<name>.snap`: what happens to
    /// machines and networks, what is sent and received, and what the gateway records. Heartbeats,
    /// leases that are asked for in vain, and what the store is told are left out.
    pub(crate) fn tell(&mut self, until_ms: u64) {
        self.wait(until_ms).note(END);
        let outcome = tell(&self.plan);
        assert_eq!(outcome.violation, None);
        let mut lines = outcome.lines;
        lines.retain(|line| match line.kind {
            Kind::Core => false,
            Kind::Record => {
                let dull = ["[heartbeat", "[push prepare]", "[store fail] renew"];
                !dull.iter().any(|dull| line.text.starts_with(dull))
            }
            Kind::Note | Kind::World | Kind::Wire => {
                !line.text.contains("biubiubiu") && line.text != END
            }
        });
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(self.name, table(&lines)));
    }
}
