//! Narrows a recording to one key: its pushes, its connections, its messages.

use super::player::Moment;
use std::collections::BTreeSet;
use steadfast_core::command::{Command, Reply};
use steadfast_core::event::Event;
use steadfast_core::id::{ConnId, Key, MessageId};
use steadfast_core::record::{ConnRecord, PushRecord, Record, StoreRecord};
use steadfast_core::store::Op;

/// What belongs to one key.
#[derive(Debug)]
pub struct About {
    key: Key,
    /// The key's messages, as far as a replay has come by them.
    messages: BTreeSet<MessageId>,
}

impl About {
    /// What belongs to this key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self { key, messages: BTreeSet::new() }
    }

    /// The commands that are about the key; `None` when neither they nor the event are.
    pub fn pick(&mut self, moment: &Moment<'_>) -> Option<Vec<Command>> {
        for command in moment.commands {
            self.note(command);
        }
        let names_key = |command: &Command| match command {
            Command::Store { request, .. } => request.key() == Some(&self.key),
            Command::Record(record) => record_key(record) == Some(&self.key),
            Command::Send { .. }
            | Command::Ping { .. }
            | Command::Pong { .. }
            | Command::ReportDrained { .. }
            | Command::Close { .. }
            | Command::Reply { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Finish { .. }
            | Command::Answer { .. } => false,
        };
        let is_mine = match moment.event {
            Event::Connection(..)
            | Event::Answered(..)
            | Event::Operator(..)
            | Event::Noticed(_) => {
                moment.concerned.as_ref() == Some(&self.key)
                    || moment.commands.iter().any(names_key)
            }
            Event::Pusher(..) => moment.commands.iter().any(names_key),
            Event::DeadlineReached | Event::ShutdownRequested => false,
        };
        let picked: Vec<_> = moment
            .commands
            .iter()
            .filter(|command| names_key(command) || self.is_of_key(command, moment, is_mine))
            .cloned()
            .collect();
        (is_mine || !picked.is_empty()).then_some(picked)
    }

    /// Learns the names of the key's messages.
    fn note(&mut self, command: &Command) {
        match command {
            Command::Store { request: Op::Append(append), .. } if append.key == self.key => {
                self.messages.insert(append.id);
            }
            Command::Record(Record::Push(_, record)) if push_key(record) == Some(&self.key) => {
                self.messages.extend(push_message(record));
            }
            Command::Store { .. }
            | Command::Record(_)
            | Command::Send { .. }
            | Command::Ping { .. }
            | Command::Pong { .. }
            | Command::ReportDrained { .. }
            | Command::Close { .. }
            | Command::Reply { .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Finish { .. }
            | Command::Answer { .. } => {}
        }
    }

    /// Whether a command that names no key is about it all the same. `is_mine` says whether the event
    /// is.
    fn is_of_key(&self, command: &Command, moment: &Moment<'_>, is_mine: bool) -> bool {
        match command {
            Command::Send { conn, .. }
            | Command::Ping { conn, .. }
            | Command::Pong { conn, .. }
            | Command::ReportDrained { conn }
            | Command::Close { conn, .. } => self.is_bound(*conn, moment),
            Command::Reply { reply: Reply::Ok(id) | Reply::Queued(id), .. } => {
                self.messages.contains(id)
            }
            Command::Reply { reply: Reply::Fail(_), .. }
            | Command::Pause { .. }
            | Command::Resume { .. }
            | Command::Finish { .. }
            | Command::Answer { .. } => is_mine,
            Command::Record(Record::Connection(conn, _)) => self.is_bound(*conn, moment),
            Command::Record(Record::Push(..)) => is_mine && self.is_unnamed(command),
            Command::Record(
                Record::Delivery(..) | Record::Store(..) | Record::StaleId | Record::Late(_),
            )
            | Command::Store { .. } => false,
        }
    }

    /// Whether a record of a push names neither this key nor another.
    fn is_unnamed(&self, command: &Command) -> bool {
        matches!(command, Command::Record(record) if record_key(record).is_none())
    }

    fn is_bound(&self, conn: ConnId, moment: &Moment<'_>) -> bool {
        let now = moment.gateway.key_of(conn);
        let of_event = match moment.event {
            Event::Connection(id, _) if *id == conn => moment.concerned.as_ref(),
            Event::Connection(..)
            | Event::Pusher(..)
            | Event::Answered(..)
            | Event::Operator(..)
            | Event::Noticed(_)
            | Event::DeadlineReached
            | Event::ShutdownRequested => None,
        };
        now.as_ref().or(of_event) == Some(&self.key)
    }
}

/// The key a record names.
fn record_key(record: &Record) -> Option<&Key> {
    match record {
        Record::Connection(_, record) => match record {
            ConnRecord::Received { key, .. }
            | ConnRecord::HeartbeatReceived { key, .. }
            | ConnRecord::HeartbeatAnswered { key, .. }
            | ConnRecord::IdleTimedOut { key, .. }
            | ConnRecord::PongOverdue { key, .. }
            | ConnRecord::Link { key, .. }
            | ConnRecord::Closed { key, .. } => key.as_ref(),
            ConnRecord::Bound { key, .. }
            | ConnRecord::TakenElsewhere { key }
            | ConnRecord::TakenOver { key, .. }
            | ConnRecord::StandbyTookOver { key, .. }
            | ConnRecord::PongUnsupported { key }
            | ConnRecord::LogKept { key, .. }
            | ConnRecord::LogNotKept { key, .. } => Some(key),
            ConnRecord::BindRefused { .. } => None,
        },
        Record::Push(_, record) => push_key(record),
        Record::Delivery(key, _) => Some(key),
        Record::Store(_, record) => match record {
            StoreRecord::Failed { key, .. }
            | StoreRecord::TimedOut { key, .. }
            | StoreRecord::Retried { key, .. } => key.as_ref(),
            StoreRecord::DeadDropped { .. }
            | StoreRecord::DeadPurged { .. }
            | StoreRecord::DeviceLogTaken { .. }
            | StoreRecord::LeaseLost
            | StoreRecord::LeaseHeld => None,
        },
        Record::StaleId | Record::Late(_) => None,
    }
}

fn push_key(record: &PushRecord) -> Option<&Key> {
    match record {
        PushRecord::Prepared { key, .. }
        | PushRecord::Ok { key, .. }
        | PushRecord::Missed { key, .. }
        | PushRecord::Queued { key, .. }
        | PushRecord::Merged { key, .. }
        | PushRecord::Duplicate { key, .. }
        | PushRecord::Failed { key, .. } => Some(key),
        PushRecord::Refused { .. }
        | PushRecord::Unfinished { .. }
        | PushRecord::Paused { .. }
        | PushRecord::Resumed => None,
    }
}

fn push_message(record: &PushRecord) -> Option<MessageId> {
    match record {
        PushRecord::Prepared { id, .. }
        | PushRecord::Ok { id, .. }
        | PushRecord::Missed { id, .. }
        | PushRecord::Queued { id, .. }
        | PushRecord::Merged { id, .. }
        | PushRecord::Duplicate { id, .. }
        | PushRecord::Failed { id, .. } => Some(*id),
        PushRecord::Refused { .. }
        | PushRecord::Unfinished { .. }
        | PushRecord::Paused { .. }
        | PushRecord::Resumed => None,
    }
}
