//! Snapshots of what only the core can see: the transition tables of its two state machines and
//! the sizes of what it keeps per connection and per message.

mod connections;
mod keys;
mod sizes;

use super::Gateway;
use crate::command::{Command, Reply};
use crate::config::Config;
use crate::event::{ConnEvent, Event, Protocol, PusherEvent};
use crate::id::{ConnId, OpId, PusherId};
use crate::record::Record;
use crate::store::{Answer, Op};
use crate::time::{Span, Time};
use bytes::Bytes;

/// A gateway whose store answers what and when the test says.
struct Bench {
    gateway: Gateway,
    now: Time,
    /// Operations that are not answered.
    ops: Vec<(OpId, Op)>,
    /// The commands so far, until they are cleared.
    commands: Vec<Command>,
}

impl Bench {
    fn new(config: Config) -> Self {
        let now = Time::from_micros(1_800_000_000_000_000);
        Self { gateway: Gateway::new(config, 1, 7), now, ops: Vec::new(), commands: Vec::new() }
    }

    fn tell(&mut self, event: Event) {
        let before = self.commands.len();
        self.gateway.handle(self.now, event, &mut self.commands);
        self.gateway.check();
        for command in &self.commands[before..] {
            if let Command::Store { op, request } = command {
                self.ops.push((*op, request.clone()));
            }
        }
    }

    /// Lets time pass, and tells what is due at its end.
    fn wait(&mut self, span: Span) {
        self.now += span;
        self.tell(Event::DeadlineReached);
    }

    fn conn(&mut self, slot: u32, event: ConnEvent) {
        self.tell(Event::Connection(ConnId { slot, generation: 0 }, event));
    }

    fn pusher(&mut self, event: PusherEvent) {
        self.tell(Event::Pusher(PusherId { slot: 0, generation: 0 }, event));
    }

    /// A client connects and binds to key 5.
    fn bind(&mut self, slot: u32) {
        self.conn(slot, ConnEvent::Accepted);
        self.conn(slot, ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy });
        self.conn(slot, ConnEvent::TextReceived("5".into()));
    }

    fn push(&mut self) {
        let line = Bytes::from_static(br#"{"uid":"5","Data":"hello"}"#);
        self.pusher(PusherEvent::LineReceived(line));
    }

    /// Answers the oldest operation of this kind; whether there was one.
    fn answer(&mut self, kind: &str, answer: Answer) -> bool {
        let index = self.ops.iter().position(|(_, op)| op.kind() == kind);
        let Some(index) = index else { return false };
        let (op, _) = self.ops.remove(index);
        self.tell(Event::Answered(op, answer));
        true
    }

    /// The commands in words.
    fn shown(&self) -> String {
        let shown: Vec<_> = self.commands.iter().filter_map(shown).collect();
        if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }
    }
}

/// A command in words. Records are left out, but for those that stand for nothing done.
fn shown(command: &Command) -> Option<String> {
    Some(match command {
        Command::Send { .. } => "send".to_owned(),
        Command::Ping { .. } => "ping".to_owned(),
        Command::Pong { .. } => "pong".to_owned(),
        Command::ReportDrained { .. } => "report drained".to_owned(),
        Command::Close { close, .. } => format!("close {}", close.code()),
        Command::Reply { reply: Reply::Ok(_), .. } => "reply ok".to_owned(),
        Command::Reply { reply: Reply::Queued(_), .. } => "reply queued".to_owned(),
        Command::Reply { reply: Reply::Fail(_), .. } => "reply fail".to_owned(),
        Command::Store { request, .. } => request.kind().to_owned(),
        Command::Record(Record::StaleId) => "a stale id".to_owned(),
        Command::Record(_) => return None,
        Command::Pause { .. } => "pause".to_owned(),
        Command::Resume { .. } => "resume".to_owned(),
        Command::Finish { .. } => "finish".to_owned(),
        Command::Answer { .. } => "answer".to_owned(),
    })
}

/// Compares with `snapshots/<name>.snap`.
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
