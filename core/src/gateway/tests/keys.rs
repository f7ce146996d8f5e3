//! What a key's state becomes of each event, and what is done about it.

use super::{Bench, check};
use crate::command::Command;
use crate::config::Config;
use crate::event::{CloseCause, ConnEvent, PusherEvent};
use crate::id::{Key, MessageId};
use crate::mailbox::{Freshness, KeyState};
use crate::store::{Answer, Appended, Loaded, StoredMessage};
use crate::time::{Span, Time};
use bytes::Bytes;
use std::fmt::Write as _;

const STATES: [KeyState; 6] = [
    KeyState::Unknown,
    KeyState::Loading(Freshness::Fresh),
    KeyState::Loading(Freshness::Stale),
    KeyState::Loading(Freshness::Outdated),
    KeyState::Behind,
    KeyState::CaughtUp,
];

/// One event, if it can happen in the state that was reached.
type Cause = fn(&mut Bench) -> bool;

const EVENTS: [(&str, Cause); 11] = [
    ("a push", |bench| {
        bench.push();
        true
    }),
    ("a push and it is stored", |bench| {
        bench.push();
        bench.answer("append", stored())
    }),
    ("a push and it fails", |bench| {
        bench.push();
        bench.answer("append", Answer::Failed("disk full".to_owned()))
    }),
    ("the load brings all", |bench| bench.answer("load", loaded(&[8], 8))),
    ("the load brings too much", |bench| bench.answer("load", loaded(&[8, 9], 9))),
    ("the load leaves some behind", |bench| bench.answer("load", loaded(&[8], 9))),
    ("the load fails", |bench| bench.answer("load", Answer::Failed("disk full".to_owned()))),
    ("what is written is confirmed", |bench| {
        bench.conn(0, ConnEvent::PongReceived(Some(1)));
        bench.wait(Span::from_millis(50));
        bench.conn(0, ConnEvent::PongReceived(Some(2)));
        bench.commands.iter().any(|command| matches!(command, Command::Ping { .. }))
    }),
    ("what is written is removed", |bench| {
        bench.conn(0, ConnEvent::PongReceived(Some(1)));
        bench.wait(Span::from_millis(50));
        bench.conn(0, ConnEvent::PongReceived(Some(2)));
        bench.commands.clear();
        bench.answer("remove", Answer::Removed { ids: Vec::new(), withdrawn: 0 })
    }),
    ("a connection binds", |bench| {
        bench.bind(1);
        true
    }),
    ("its connection closes", |bench| {
        let is_open = bench.gateway.open_connections() > 0;
        bench.conn(0, ConnEvent::Closed(CloseCause::Eof));
        is_open
    }),
];

#[test]
fn transitions_of_keys() {
    let mut table = String::new();
    for state in STATES {
        let _ = writeln!(table, "{}", shown(Some(state)));
        for (name, cause) in EVENTS {
            let mut bench = reach(state);
            if cause(&mut bench) {
                let after = shown(state_of(&bench));
                let _ = writeln!(table, "    {name} > {after}: {}", bench.shown());
            }
        }
    }
    check("key_transitions", &table);
}

/// A gateway with a window of one message, whose key 5 is in this state.
fn reach(state: KeyState) -> Bench {
    let mut bench = Bench::new(Config { window_messages: 1, ..Config::default() });
    bench.pusher(PusherEvent::Opened);
    if state == KeyState::Unknown {
        // Only what is under way keeps a key without a connection in memory.
        bench.push();
    } else {
        bench.bind(0);
    }
    match state {
        KeyState::Unknown | KeyState::Loading(Freshness::Fresh) => {}
        KeyState::Loading(Freshness::Stale) => {
            bench.push();
            bench.answer("append", stored());
        }
        KeyState::Loading(Freshness::Outdated) => {
            bench.conn(0, ConnEvent::Closed(CloseCause::Eof));
        }
        KeyState::Behind => {
            bench.answer("load", loaded(&[6, 7], 7));
        }
        KeyState::CaughtUp => {
            bench.answer("load", loaded(&[], 0));
        }
    }
    bench.commands.clear();
    assert_eq!(state_of(&bench), Some(state), "the state was reached");
    bench
}

fn state_of(bench: &Bench) -> Option<KeyState> {
    let slot = bench.gateway.registry.find(&Key::new("5"))?;
    Some(bench.gateway.registry.get(slot).state)
}

fn shown(state: Option<KeyState>) -> &'static str {
    match state {
        Some(KeyState::Unknown) => "unknown",
        Some(KeyState::Loading(Freshness::Fresh)) => "loading",
        Some(KeyState::Loading(Freshness::Stale)) => "loading, stale",
        Some(KeyState::Loading(Freshness::Outdated)) => "loading, outdated",
        Some(KeyState::Behind) => "behind",
        Some(KeyState::CaughtUp) => "caught up",
        None => "not in memory",
    }
}

fn stored() -> Answer {
    Answer::Appended(Appended::Stored { position: 9, evicted: Vec::new() })
}

fn loaded(positions: &[u64], tail: u64) -> Answer {
    let messages = positions.iter().map(|&position| StoredMessage {
        id: MessageId { incarnation: 0, counter: position },
        position,
        payload: Bytes::from_static(b"waiting"),
        accepted_at: Time::EPOCH,
        expires_at: Time::NEVER,
        tries: 0,
        not_before: Time::EPOCH,
    });
    let tail = (tail > 0).then_some(tail);
    Answer::Loaded(Loaded { messages: messages.collect(), tail, deaths: 0 })
}
