//! The event loop over real sockets: order, back-pressure, closing, limits.

mod support;

use bytes::Bytes;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::time::Duration;
use steadfast_core::command::{Close, Command, FailReason, FrameKind, Reply};
use steadfast_core::event::{CloseCause, ConnEvent, Event, PusherEvent};
use steadfast_core::id::ConnId;
use steadfast_shell::journal::Discard;
use steadfast_shell::machine::Machine;
use steadfast_shell::reactor::{Reactor, ReactorConfig};
use support::{Client, ID, Server, config, expect_end, frame, upgraded};

/// Rules that answer each line with `ok` and finish when the back end has.
fn ok_to_all(event: &Event, commands: &mut Vec<Command>) {
    let Event::Pusher(pusher, event) = event else { return };
    match event {
        PusherEvent::LineReceived(_) => {
            commands.push(Command::Reply { pusher: *pusher, reply: Reply::Ok(ID) });
        }
        PusherEvent::Finished { .. } => commands.push(Command::Finish { pusher: *pusher }),
        PusherEvent::Opened
        | PusherEvent::LineTooLong { .. }
        | PusherEvent::Requested(_)
        | PusherEvent::Closed => {}
    }
}

/// Rules that send the client `bytes` of payload when it says anything, then do `then`.
fn when_spoken_to(
    bytes: usize,
    then: impl Fn(ConnId) -> Command + Send + 'static,
) -> impl FnMut(&Event, &mut Vec<Command>) + Send {
    move |event, commands| {
        if let Event::Connection(conn, ConnEvent::PingReceived(payload)) = event {
            commands.push(Command::Pong { conn: *conn, payload: payload.clone() });
        }
        if let Event::Connection(conn, ConnEvent::TextReceived(_)) = event {
            let payload = Bytes::from(vec![b'm'; bytes]);
            commands.push(Command::Send { conn: *conn, kind: FrameKind::Text, payload });
            commands.push(then(*conn));
        }
    }
}

fn line(expected: &[u8]) -> impl Fn(Event) -> Option<()> {
    move |event| match event {
        Event::Pusher(_, PusherEvent::LineReceived(line)) if line == expected => Some(()),
        Event::Connection(..)
        | Event::Pusher(..)
        | Event::Operator(..)
        | Event::Noticed(_)
        | Event::Answered(..)
        | Event::DeadlineReached
        | Event::ShutdownRequested => None,
    }
}

fn closed(cause: CloseCause) -> impl Fn(Event) -> Option<()> {
    move |event| match event {
        Event::Connection(_, ConnEvent::Closed(got)) => {
            assert_eq!(got, cause);
            Some(())
        }
        Event::Connection(..)
        | Event::Pusher(..)
        | Event::Operator(..)
        | Event::Noticed(_)
        | Event::Answered(..)
        | Event::DeadlineReached
        | Event::ShutdownRequested => None,
    }
}

#[test]
fn lines_are_told_and_replies_come_back_after_half_close() {
    let server = Server::start(&config(), ok_to_all);
    let mut pusher = server.pusher();
    pusher.write_all(b"one\ntwo\r\n\nrest").unwrap();
    pusher.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    pusher.read_to_string(&mut replies).unwrap();
    assert_eq!(replies, "ok\nok\nok\n");
    let expected = [
        PusherEvent::Opened,
        PusherEvent::LineReceived(Bytes::from("one")),
        PusherEvent::LineReceived(Bytes::from("two")),
        PusherEvent::LineReceived(Bytes::from("")),
        PusherEvent::Finished { unfinished: 4 },
        PusherEvent::Closed,
    ];
    for expected in expected {
        let Event::Pusher(_, event) = server.event() else { panic!("a pusher's event") };
        assert_eq!(event, expected);
    }
}

#[test]
fn a_line_beyond_the_limit_ends_the_connection_without_a_reply() {
    let server = Server::start(&config(), |event, commands| {
        ok_to_all(event, commands);
        if let Event::Pusher(pusher, PusherEvent::LineTooLong { .. }) = event {
            let reply = Reply::Fail(FailReason::TooLong);
            commands.push(Command::Reply { pusher: *pusher, reply });
        }
    });
    let mut pusher = server.pusher();
    pusher.write_all(b"fine\n").unwrap();
    let chunk = vec![b'x'; 1 << 20];
    // Far more than the limit: the rest is swallowed until the gateway closes, which may show as
    // an error of a write.
    while pusher.write_all(&chunk).is_ok() {}
    let mut replies = Vec::new();
    let ended = pusher.read_to_end(&mut replies);
    assert!(replies == b"ok\n" || ended.is_err(), "{replies:?}");
    let too_long = PusherEvent::LineTooLong { bytes: (10 << 20) + 1 };
    server.find(|event| match event {
        Event::Pusher(_, event) if event == too_long => Some(()),
        Event::Pusher(..)
        | Event::Connection(..)
        | Event::Operator(..)
        | Event::Noticed(_)
        | Event::Answered(..)
        | Event::DeadlineReached
        | Event::ShutdownRequested => None,
    });
}

#[test]
fn no_line_comes_between_pause_and_resume() {
    let mut paused = None;
    let server = Server::start(&config(), move |event, commands| {
        let Event::Pusher(pusher, PusherEvent::LineReceived(line)) = event else { return };
        commands.push(Command::Reply { pusher: *pusher, reply: Reply::Ok(ID) });
        match &line[..] {
            b"pause" => {
                paused = Some(*pusher);
                commands.push(Command::Pause { pusher: *pusher });
            }
            b"resume" => {
                commands.push(Command::Resume { pusher: paused.expect("paused before") });
            }
            _ => {}
        }
    });
    let (mut one, mut other) = (server.pusher(), server.pusher());
    one.write_all(b"pause\nafter\npause\nagain\n").unwrap();
    let mut reply = [0; 3];
    one.read_exact(&mut reply).unwrap();
    one.write_all(b"late\n").unwrap();
    for _ in 0..2 {
        other.write_all(b"resume\n").unwrap();
        other.read_exact(&mut reply).unwrap();
    }
    let mut replies = [0; 12];
    one.read_exact(&mut replies).unwrap();
    let mut lines = Vec::new();
    while lines.len() < 7 {
        if let Event::Pusher(_, PusherEvent::LineReceived(line)) = server.event() {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }
    let expected = ["pause", "resume", "after", "pause", "resume", "again", "late"];
    assert_eq!(lines, expected);
}

#[test]
fn a_back_end_that_reads_no_replies_is_read_no_further() {
    let server = Server::start(&config(), |event, commands| {
        if let Event::Pusher(pusher, PusherEvent::LineReceived(_)) = event {
            commands.push(Command::Reply { pusher: *pusher, reply: Reply::Queued(ID) });
        } else {
            ok_to_all(event, commands);
        }
    });
    let mut pusher = server.pusher();
    // A write that makes no progress for so long is stuck, since nothing is read any more. Were it
    // only slow, the replies would be complete all the same.
    pusher.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let line = b"a line\r\n";
    let lines = line.repeat(8 << 10);
    let mut sent = 0;
    let stuck = loop {
        match pusher.write(&lines[sent % line.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(error) => break error,
        }
        assert!(sent < 64 << 20, "reading never stopped");
    };
    assert_eq!(stuck.kind(), io::ErrorKind::WouldBlock);
    pusher.shutdown(Shutdown::Write).unwrap();
    let mut replies = Vec::new();
    pusher.read_to_end(&mut replies).unwrap();
    assert_eq!(replies.len(), "queued\n".len() * (sent / line.len()));
}

#[test]
fn a_drained_report_waits_for_the_kernel() {
    let size = 32 << 20;
    let server =
        Server::start(&config(), when_spoken_to(size, |conn| Command::ReportDrained { conn }));
    let mut client = server.client();
    client.send(&frame(0x81, b"go"));
    let mut other = server.client();
    other.send(&frame(0x89, b"fence"));
    assert_eq!(other.frame(), (0x8a, b"fence".to_vec()));
    while let Some(event) = server.event_now() {
        assert!(!matches!(event, Event::Connection(_, ConnEvent::Drained)), "nobody has read yet");
    }
    assert_eq!(client.frame().1.len(), size);
    server.find(|event| matches!(event, Event::Connection(_, ConnEvent::Drained)).then_some(()));
}

#[test]
fn back_ends_beyond_the_limit_wait() {
    let mut config = config();
    config.max_backends = 1;
    let server = Server::start(&config, ok_to_all);
    let mut first = server.pusher();
    first.write_all(b"first\n").unwrap();
    server.find(line(b"first"));
    let mut second = server.pusher();
    second.write_all(b"second\n").unwrap();
    drop(first);
    let mut closed = false;
    server.find(|event| {
        closed |= matches!(event, Event::Pusher(_, PusherEvent::Closed));
        line(b"second")(event)
    });
    assert!(closed, "the second was accepted beside the first");
}

#[test]
fn a_graceful_close_writes_everything_first() {
    let size = 16 << 20;
    let close = |conn| Command::Close { conn, close: Close::KeyReserved };
    let server = Server::start(&config(), when_spoken_to(size, close));
    let mut client = server.client();
    client.send(&frame(0x81, b"go"));
    server.find(closed(CloseCause::Commanded));
    assert_eq!(client.frame().1.len(), size);
    let (first, payload) = client.frame();
    assert_eq!((first, &payload[..]), (0x88, &b"\x03\xf0key reserved"[..]));
    client.send(&frame(0x88, &1008_u16.to_be_bytes()));
    expect_end(&mut client.socket);
}

#[test]
fn a_forced_close_does_not_wait() {
    let size = 64 << 20;
    let close = |conn| Command::Close { conn, close: Close::Idle };
    let server = Server::start(&config(), when_spoken_to(size, close));
    let mut client = server.client();
    client.send(&frame(0x81, b"go"));
    server.find(closed(CloseCause::Commanded));
    let mut rest = Vec::new();
    // What was under way may arrive; then the stream ends or is reset.
    let _ = client.socket.read_to_end(&mut rest);
    assert!(rest.len() < size);

    let server = Server::start(&config(), |event, commands| {
        if let Event::Connection(conn, ConnEvent::TextReceived(_)) = event {
            commands.push(Command::Close { conn: *conn, close: Close::Idle });
        }
    });
    let mut client = server.client();
    client.send(&frame(0x81, b"go"));
    client.expect_close(1001);
}

#[test]
fn nothing_is_told_after_a_commanded_close() {
    let close = |conn| Command::Close { conn, close: Close::Kicked };
    let server = Server::start(&config(), when_spoken_to(1, close));
    let mut client = server.client();
    client.send(&[frame(0x81, b"go"), frame(0x81, b"more"), frame(0x89, b"")].concat());
    server.find(closed(CloseCause::Commanded));
    assert_eq!(client.frame().0, 0x81);
    assert_eq!(client.frame().0, 0x88);
    client.send(&frame(0x88, &4001_u16.to_be_bytes()));
    expect_end(&mut client.socket);
    assert_eq!(server.event_now(), None);
}

#[test]
fn a_half_sent_request_is_given_up_with_a_status() {
    for (close, status) in [(Close::HandshakeOverdue, 408), (Close::TooManyConnections, 503)] {
        let server = Server::start(&config(), move |event, commands| {
            if let Event::Connection(conn, ConnEvent::Accepted) = event {
                commands.push(Command::Close { conn: *conn, close });
            }
        });
        let mut socket = server.raw_client();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        server.find(closed(CloseCause::Commanded));
    }
}

#[test]
fn a_slot_used_again_has_another_generation() {
    let server = Server::start(&config(), |_, _| {});
    let mut seen = Vec::new();
    for _ in 0..3 {
        let client = server.client();
        seen.push(upgraded(&server));
        drop(client);
        server.find(closed(CloseCause::Eof));
    }
    let expected = [0, 1, 2].map(|generation| ConnId { slot: 0, generation });
    assert_eq!(seen, expected);
}

#[test]
fn a_shutdown_tells_everybody() {
    let mut open = Vec::new();
    let server = Server::start(&config(), move |event, commands| {
        ok_to_all(event, commands);
        if let Event::Connection(conn, ConnEvent::Upgraded { .. }) = event {
            open.push(*conn);
        }
        if *event == Event::ShutdownRequested {
            let close = |conn| Command::Close { conn, close: Close::GoingAway };
            commands.extend(open.iter().copied().map(close));
        }
    });
    let (mut client, mut pusher) = (server.client(), server.pusher());
    pusher.write_all(b"line\n").unwrap();
    let mut reply = [0; 3];
    pusher.read_exact(&mut reply).unwrap();
    upgraded(&server);
    server.handle.shutdown();
    let (first, payload) = client.frame();
    assert_eq!((first, &payload[..2]), (0x88, &1001_u16.to_be_bytes()[..]));
    client.send(&frame(0x88, &payload[..2]));
    expect_end(&mut client.socket);
    expect_end(&mut pusher);
    drop(pusher);
    server.join();
}

#[test]
fn a_shutdown_does_not_wait_for_ever() {
    let mut config = config();
    config.shutdown_timeout = Duration::from_millis(50);
    let server = Server::start(&config, |_, _| {});
    let _client: Client = server.client();
    server.handle.shutdown();
    server.join();
}

struct Idle;

impl Machine for Idle {
    fn handle(
        &mut self,
        _now: steadfast_core::time::Time,
        _event: Event,
        _commands: &mut Vec<Command>,
    ) {
    }

    fn next_deadline(&self) -> Option<steadfast_core::time::Time> {
        None
    }
}

#[test]
fn an_address_in_use_is_named_with_its_flag() {
    let server = Server::start(&config(), |_, _| {});
    let any = ([127, 0, 0, 1], 0).into();
    let taken = server.addrs.push.unwrap();
    let config = ReactorConfig::new(any, Some(taken));
    let error = Reactor::bind(&config, Idle, support::NoStore, Discard).err().unwrap();
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&taken.to_string()) && text.contains("--push"), "{text}");
}
