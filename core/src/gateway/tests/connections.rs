//! What a connection's phase becomes of each event, and what is done about it.

use super::{Bench, check};
use crate::config::Config;
use crate::connection::Phase;
use crate::event::{CloseCause, ConnEvent, Event, Protocol};
use crate::store::{Answer, Loaded};
use crate::time::Span;
use bytes::Bytes;
use std::fmt::Write as _;

const PHASES: [&str; 4] = ["opening", "unbound", "bound", "closing"];

/// One event.
type Cause = fn(&mut Bench);

const EVENTS: [(&str, Cause); 14] = [
    ("upgraded", |bench| {
        bench.conn(0, ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy })
    }),
    ("an empty message", |bench| text(bench, " ")),
    ("its key", |bench| text(bench, "5")),
    ("a key too long", |bench| text(bench, "12345678901")),
    ("a reserved key", |bench| text(bench, "device:1")),
    ("a monitor's ping", |bench| text(bench, r#"{"type":"ping"}"#)),
    ("no text", |bench| bench.conn(0, ConnEvent::BinaryReceived(Bytes::from_static(b"\xff")))),
    ("a ping", |bench| bench.conn(0, ConnEvent::PingReceived(Bytes::new()))),
    ("the first pong", |bench| bench.conn(0, ConnEvent::PongReceived(Some(1)))),
    ("drained", |bench| bench.conn(0, ConnEvent::Drained)),
    ("6 s of silence", |bench| silence(bench, 6)),
    ("12 s of silence", |bench| {
        silence(bench, 6);
        silence(bench, 6);
    }),
    ("closed", |bench| bench.conn(0, ConnEvent::Closed(CloseCause::Eof))),
    ("shutdown", |bench| bench.tell(Event::ShutdownRequested)),
];

#[test]
fn transitions_of_connections() {
    let mut table = String::new();
    for phase in PHASES {
        let _ = writeln!(table, "{phase}");
        for (name, cause) in EVENTS {
            let mut bench = reach(phase);
            cause(&mut bench);
            let _ = writeln!(table, "    {name} > {}: {}", phase_of(&bench), bench.shown());
        }
    }
    check("connection_transitions", &table);
}

/// A gateway with one connection in this phase.
fn reach(phase: &str) -> Bench {
    let mut bench = Bench::new(Config { max_key: 10, ..Config::default() });
    bench.conn(0, ConnEvent::Accepted);
    if phase != "opening" {
        bench.conn(0, ConnEvent::Upgraded { target: "/".into(), protocol: Protocol::Legacy });
    }
    if phase == "bound" {
        text(&mut bench, "5");
        let nothing = Loaded { messages: Vec::new(), tail: None, deaths: 0 };
        bench.answer("load", Answer::Loaded(nothing));
        bench.conn(0, ConnEvent::PongReceived(Some(1)));
    }
    if phase == "closing" {
        text(&mut bench, "12345678901");
    }
    bench.commands.clear();
    assert_eq!(phase_of(&bench), phase, "the phase was reached");
    bench
}

fn phase_of(bench: &Bench) -> &'static str {
    match bench.gateway.conns[0].as_ref().map(|conn| &conn.phase) {
        Some(Phase::Opening) => "opening",
        Some(Phase::Unbound) => "unbound",
        Some(Phase::Bound(_)) => "bound",
        Some(Phase::Closing(..)) => "closing",
        None => "gone",
    }
}

fn text(bench: &mut Bench, text: &str) {
    bench.conn(0, ConnEvent::TextReceived(text.into()));
}

/// Lets so much time pass in steps in which no deadline is served late.
fn silence(bench: &mut Bench, secs: u64) {
    for _ in 0..secs {
        bench.wait(Span::from_secs(1));
    }
}
