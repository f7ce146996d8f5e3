//! What of a trace is about one key.

use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::id::{ConnId, Key};
use steadfast_core::record::{PushRecord, Record, StoreRecord};

/// Whether an event is about a connection of the key.
pub(crate) fn event(event: &Event, of_key: &mut impl FnMut(ConnId) -> bool) -> bool {
    match event {
        Event::Connection(id, _) => of_key(*id),
        Event::ShutdownRequested => true,
        Event::Pusher(..)
        | Event::Answered(..)
        | Event::Noticed(_)
        | Event::Operator(..)
        | Event::DeadlineReached => false,
    }
}

/// Whether a command is about the key.
pub(crate) fn command(
    command: &Command,
    key: &Key,
    of_key: &mut impl FnMut(ConnId) -> bool,
) -> bool {
    match command {
        Command::Send { conn, .. }
        | Command::Ping { conn, .. }
        | Command::Pong { conn, .. }
        | Command::ReportDrained { conn }
        | Command::Close { conn, .. } => of_key(*conn),
        Command::Store { request, .. } => request.key() == Some(key),
        Command::Record(record) => about(record, key, of_key),
        Command::Reply { .. }
        | Command::Pause { .. }
        | Command::Resume { .. }
        | Command::Finish { .. }
        | Command::Answer { .. } => false,
    }
}

fn about(record: &Record, key: &Key, of_key: &mut impl FnMut(ConnId) -> bool) -> bool {
    match record {
        Record::Connection(id, _) => of_key(*id),
        Record::Delivery(other, _) => other == key,
        Record::Push(_, record) => match record {
            PushRecord::Prepared { key: other, .. }
            | PushRecord::Ok { key: other, .. }
            | PushRecord::Missed { key: other, .. }
            | PushRecord::Queued { key: other, .. }
            | PushRecord::Merged { key: other, .. }
            | PushRecord::Duplicate { key: other, .. }
            | PushRecord::Failed { key: other, .. } => other == key,
            PushRecord::Refused { .. }
            | PushRecord::Unfinished { .. }
            | PushRecord::Paused { .. }
            | PushRecord::Resumed => false,
        },
        Record::Store(_, record) => match record {
            StoreRecord::Failed { key: other, .. }
            | StoreRecord::TimedOut { key: other, .. }
            | StoreRecord::Retried { key: other, .. } => other.as_ref() == Some(key),
            StoreRecord::DeadDropped { .. }
            | StoreRecord::DeadPurged { .. }
            | StoreRecord::DeviceLogTaken { .. }
            | StoreRecord::LeaseLost
            | StoreRecord::LeaseHeld => false,
        },
        Record::StaleId => false,
        Record::Late(_) => true,
    }
}
