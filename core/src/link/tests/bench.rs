//! A link with a clock, a script for what it is told, and a story of what it does.

use super::super::*;
use crate::dialect::link::GatewayFrame;
use crate::id::Key;
use crate::time::Span;
use std::fmt::Write as _;

const START: Time = Time::from_micros(1_000_000_000_000_000);

/// One endpoint, and delays without jitter where stories are told.
pub(super) fn config() -> LinkConfig {
    LinkConfig::new(Key::new("5"), vec!["a".into()])
}

pub(super) fn welcome(session: &str, resumed: bool, applied: u64, endpoints: &[&str]) -> String {
    GatewayFrame::Welcome(crate::dialect::link::Welcome {
        session: session.into(),
        resumed,
        lost: false,
        applied,
        context: "{}".into(),
        heartbeat_ms: 15_000,
        endpoints: endpoints.iter().map(|url| (*url).into()).collect(),
    })
    .encode()
}

pub(super) fn message(id: &str) -> String {
    GatewayFrame::Message { id: id.into(), data: "hello".into(), tries: 0 }.encode()
}

pub(super) struct Bench {
    pub(super) link: Link,
    pub(super) now: Time,
    lines: Vec<String>,
    /// The last channel opened.
    newest: Option<ChannelId>,
}

impl Bench {
    pub(super) fn new(config: LinkConfig) -> Self {
        Self { link: Link::new(config, 7), now: START, lines: Vec::new(), newest: None }
    }

    pub(super) fn in_state(state: LinkState) -> Self {
        let mut bench = Self::new(config());
        bench.play(match state {
            LinkState::Disconnected => "",
            LinkState::Connecting => "start",
            LinkState::Connected => "start; open; welcome s new",
            LinkState::Reconnecting => "start; fail",
            LinkState::Fallback => "start; fail; deadline; fail; deadline; open; welcome s new",
        });
        assert_eq!(bench.link.state(), state);
        bench
    }

    /// Tells the link one fact; gives what it ordered.
    pub(super) fn tell(&mut self, event: LinkEvent) -> Vec<LinkCommand> {
        let mut commands = Vec::new();
        self.link.handle(self.now, event, &mut commands);
        for command in &commands {
            if let LinkCommand::Open { channel, .. } = command {
                self.newest = Some(*channel);
            }
            self.lines.push(format!("  < {}", shown(command)));
        }
        commands
    }

    /// Plays steps that are separated by semicolons.
    pub(super) fn play(&mut self, script: &str) {
        for step in script.split("; ").filter(|step| !step.is_empty()) {
            self.step(step);
        }
    }

    /// Lets deadlines come until the link is in this state.
    pub(super) fn play_until(&mut self, state: &str) {
        for _ in 0..100 {
            if self.link.state().name() == state {
                return;
            }
            self.play("deadline");
        }
        panic!("never {state}: {}", self.story());
    }

    /// Lets this much time pass, and every deadline in it come.
    pub(super) fn wait(&mut self, span: Span) {
        let until = self.now + span;
        while let Some(due) = self.link.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.note("deadline");
            self.tell(LinkEvent::DeadlineReached);
        }
        self.now = until;
    }

    pub(super) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    pub(super) fn story(&self) -> String {
        self.lines.join("\n")
    }

    fn note(&mut self, what: &str) {
        let ms = self.now.since(START).as_millis();
        self.lines.push(format!("{}.{:03} > {what}", ms / 1_000, ms % 1_000));
    }

    fn step(&mut self, step: &str) {
        let (verb, rest) = step.split_once(' ').unwrap_or((step, ""));
        if verb == "after" {
            return self.wait(Span::from_secs(rest.parse().expect("seconds")));
        }
        if verb == "deadline" {
            let due = self.link.next_deadline().unwrap_or(self.now);
            self.now = self.now.max(due);
        }
        self.note(step);
        // What is told of a second channel is told of the newest.
        let (channel, verb, rest) = if verb == "spare" {
            let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            (self.newest, verb, rest)
        } else {
            (self.link.channel(), verb, rest)
        };
        let channel = channel.unwrap_or(ChannelId(0));
        let hint = |hint| LinkEvent::Hinted(hint);
        let text = |text: String| LinkEvent::TextReceived(channel, text.into());
        let event = match verb {
            "start" => LinkEvent::Started,
            "stop" => LinkEvent::Stopped,
            "open" => LinkEvent::Opened(channel),
            "fail" => LinkEvent::Failed(channel),
            "close" => LinkEvent::Closed { channel, code: rest.parse().ok() },
            "deadline" => LinkEvent::DeadlineReached,
            "op" => LinkEvent::OpRequested(rest.into()),
            "online" => hint(Hint::Online),
            "offline" => hint(Hint::Offline),
            "visible" => hint(Hint::Visible),
            "text" => text(rest.to_owned()),
            "message" => text(message(rest)),
            "op_ack" => text(format!("{{\"type\":\"op_ack\",\"n\":{rest}}}")),
            "welcome" => {
                let words: Vec<_> = rest.split(' ').collect();
                let applied = words.get(2).and_then(|word| word.parse().ok());
                let endpoints = if applied.is_none() { &words[2..] } else { &[] };
                let is_resumed = words[1] == "resumed";
                text(welcome(words[0], is_resumed, applied.unwrap_or(0), endpoints))
            }
            other => panic!("no step {other}"),
        };
        self.tell(event);
    }
}

fn shown(command: &LinkCommand) -> String {
    let mut line = String::new();
    let _ = match command {
        LinkCommand::Open { channel, url, by } => write!(line, "open {} {url} {by}", channel.0),
        LinkCommand::Send(channel, text) => {
            // The time on the wire is the bench's own affair.
            let text = text.split(",\"timestamp\"").next().unwrap_or_default();
            write!(line, "send {} {text}", channel.0)
        }
        LinkCommand::Close(channel) => write!(line, "close {}", channel.0),
        LinkCommand::Deliver { id, data, tries } => write!(line, "deliver {id} {data} {tries}"),
        LinkCommand::Save(Save::Session(id)) => write!(line, "save session {id:?}"),
        LinkCommand::Save(Save::Seen(id)) => write!(line, "save seen {id}"),
        LinkCommand::Save(Save::Op(op)) => write!(line, "save op {} {}", op.n, op.patch),
        LinkCommand::Save(Save::OpsDone { through }) => write!(line, "save ops done {through}"),
        LinkCommand::StateChanged { old, new } => write!(line, "{old} -> {new}"),
        LinkCommand::Report(Report::RetryIn(delay)) => write!(line, "retry in {delay}"),
        LinkCommand::Report(report) => write!(line, "{report:?}"),
    };
    line
}
