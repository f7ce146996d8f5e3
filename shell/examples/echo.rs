//! The gateway's event loop and codecs around a machine that sends every message back: something to
//! point a WebSocket conformance suite at.
//!
//! `cargo run --release --example echo -- --ws 127.0.0.1:9001`

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use steadfast_core::command::{Command, FrameKind};
use steadfast_core::event::{ConnEvent, Event};
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::Time;
use steadfast_shell::journal::Discard;
use steadfast_shell::machine::Machine;
use steadfast_shell::reactor::{Reactor, ReactorConfig};
use steadfast_shell::store::Backend;

/// The longest message that is echoed.
const MAX_MESSAGE: usize = 32 << 20;

/// Sends every text and binary message back, and answers pings.
struct Echo;

impl Machine for Echo {
    fn handle(&mut self, _now: Time, event: Event, commands: &mut Vec<Command>) {
        let Event::Connection(conn, event) = event else { return };
        let (kind, payload) = match event {
            ConnEvent::TextReceived(text) => (FrameKind::Text, text.into_bytes()),
            ConnEvent::BinaryReceived(payload) => (FrameKind::Binary, payload),
            ConnEvent::PingReceived(payload) => {
                return commands.push(Command::Pong { conn, payload });
            }
            ConnEvent::Accepted
            | ConnEvent::Upgraded { .. }
            | ConnEvent::PongReceived(_)
            | ConnEvent::Drained
            | ConnEvent::Closed(_) => return,
        };
        commands.push(Command::Send { conn, kind, payload });
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

/// An echo stores nothing.
struct NoStore;

impl Backend for NoStore {
    fn submit(&mut self, _op: OpId, _request: Op) {}

    fn collect(&mut self, _answers: &mut Vec<(OpId, Answer)>) {}
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let ws: SocketAddr = match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
        (None, None, None) => ([127, 0, 0, 1], 9001).into(),
        (Some("--ws"), Some(address), None) => {
            address.parse().map_err(|error| format!("--ws {address}: {error}"))?
        }
        _ => return Err("usage: echo [--ws ADDRESS:PORT]".into()),
    };
    let mut config = ReactorConfig::new(ws, None);
    config.max_message = MAX_MESSAGE;
    let mut reactor = Reactor::bind(&config, Echo, NoStore, Discard)?;
    let mut out = std::io::stdout();
    writeln!(out, "echo listens on ws://{}", reactor.local_addrs().ws)?;
    out.flush()?;
    Ok(reactor.run()?)
}
