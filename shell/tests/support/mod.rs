//! A reactor in a thread, and the raw sockets that talk to it.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use steadfast_core::command::{Command, FrameKind};
use steadfast_core::event::{ConnEvent, Event};
use steadfast_core::id::{ConnId, MessageId, OpId};
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::Time;
use steadfast_shell::journal::Discard;
use steadfast_shell::machine::Machine;
use steadfast_shell::reactor::{Handle, LocalAddrs, Reactor, ReactorConfig};
use steadfast_shell::store::Backend;

/// No test waits longer than this for anything.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// A message id for replies.
pub const ID: MessageId = MessageId { incarnation: 1, counter: 1 };

/// A machine that is a function; every event is also sent to the test.
struct Script<F> {
    rules: F,
    events: Sender<Event>,
}

impl<F: FnMut(&Event, &mut Vec<Command>) + Send> Machine for Script<F> {
    fn handle(&mut self, _now: Time, event: Event, commands: &mut Vec<Command>) {
        (self.rules)(&event, commands);
        // The test may have ended.
        let _ = self.events.send(event);
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

/// Stores nothing.
pub struct NoStore;

impl Backend for NoStore {
    fn submit(&mut self, _op: OpId, _request: Op) {}

    fn collect(&mut self, _answers: &mut Vec<(OpId, Answer)>) {}
}

/// A running reactor; it is stopped when dropped.
pub struct Server {
    pub addrs: LocalAddrs,
    pub handle: Handle,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

/// A configuration on free ports.
pub fn config() -> ReactorConfig {
    let any = ([127, 0, 0, 1], 0).into();
    ReactorConfig::new(any, Some(any))
}

impl Server {
    /// Starts a reactor whose machine follows `rules`.
    pub fn start<F>(config: &ReactorConfig, rules: F) -> Self
    where
        F: FnMut(&Event, &mut Vec<Command>) + Send + 'static,
    {
        let (sender, events) = channel();
        let machine = Script { rules, events: sender };
        let mut reactor = Reactor::bind(config, machine, NoStore, Discard).unwrap();
        let (addrs, handle) = (reactor.local_addrs(), reactor.handle());
        let thread = std::thread::spawn(move || reactor.run().unwrap());
        Self { addrs, handle, events, thread: Some(thread) }
    }

    /// The next event.
    pub fn event(&self) -> Event {
        self.events.recv_timeout(PATIENCE).expect("an event within patience")
    }

    /// The next event that `pick` makes something of.
    pub fn find<T>(&self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(self.event()) {
                return found;
            }
        }
    }

    /// The next event if there is one already.
    pub fn event_now(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// A socket to the push port.
    pub fn pusher(&self) -> TcpStream {
        patient(TcpStream::connect(self.addrs.push.unwrap()).unwrap())
    }

    /// A socket to the WebSocket port.
    pub fn raw_client(&self) -> TcpStream {
        patient(TcpStream::connect(self.addrs.ws).unwrap())
    }

    /// An upgraded socket.
    pub fn client(&self) -> Client {
        let mut socket = self.raw_client();
        socket.write_all(REQUEST).unwrap();
        let mut client = Client { socket };
        assert!(client.read_head().starts_with("HTTP/1.1 101 "));
        client
    }

    /// Waits for the reactor to end by itself.
    pub fn join(mut self) {
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.handle.shutdown();
        if let Some(thread) = self.thread.take() {
            // A panic of the reactor's thread fails the test, unless it is failing already.
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the reactor panicked");
        }
    }
}

fn patient(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

/// A request that is upgraded.
pub const REQUEST: &[u8] = b"GET /any HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// A client's frame with this first byte.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0xfe);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0xff);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [9, 0x80, 0, 0xff];
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// An upgraded socket, without any protocol of its own.
pub struct Client {
    pub socket: TcpStream,
}

impl Client {
    /// Reads an HTTP head.
    pub fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        String::from_utf8(head).unwrap()
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Reads one frame: its first byte and its payload.
    pub fn frame(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.socket.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.socket.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            127 => {
                let mut length = [0; 8];
                self.socket.read_exact(&mut length).unwrap();
                u64::from_be_bytes(length) as usize
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.socket.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    /// Expects a close frame with this code, and then the end of the stream.
    pub fn expect_close(&mut self, code: u16) {
        let (first, payload) = self.frame();
        assert_eq!((first, &payload[..2]), (0x88, &code.to_be_bytes()[..]));
        expect_end(&mut self.socket);
    }

    /// Ends our direction of the stream.
    pub fn half_close(&mut self) {
        self.socket.shutdown(Shutdown::Write).unwrap();
    }
}

/// Expects the end of the stream with nothing before it.
pub fn expect_end(socket: &mut TcpStream) {
    assert_eq!(socket.read(&mut [0]).unwrap(), 0, "the stream ends");
}

/// The connection of the next `Upgraded` event.
pub fn upgraded(server: &Server) -> ConnId {
    server.find(|event| match event {
        Event::Connection(conn, ConnEvent::Upgraded { .. }) => Some(conn),
        Event::Connection(..)
        | Event::Pusher(..)
        | Event::Operator(..)
        | Event::Noticed(_)
        | Event::Answered(..)
        | Event::DeadlineReached
        | Event::ShutdownRequested => None,
    })
}

/// The rules of an echo.
pub fn echo(event: &Event, commands: &mut Vec<Command>) {
    let Event::Connection(conn, event) = event else { return };
    let (kind, payload) = match event {
        ConnEvent::TextReceived(text) => (FrameKind::Text, text.as_bytes().clone()),
        ConnEvent::BinaryReceived(payload) => (FrameKind::Binary, payload.clone()),
        ConnEvent::PingReceived(payload) => {
            return commands.push(Command::Pong { conn: *conn, payload: payload.clone() });
        }
        ConnEvent::Accepted
        | ConnEvent::Upgraded { .. }
        | ConnEvent::PongReceived(_)
        | ConnEvent::Drained
        | ConnEvent::Closed(_) => return,
    };
    commands.push(Command::Send { conn: *conn, kind, payload });
}
