//! One client: its socket, its framing, and the production machine that decides what it does.

use super::Outcome;
use super::backend::{key, number};
use bytestring::ByteString;
use mio::net::TcpStream;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use steadfast_core::dialect::link::SUBPROTOCOL;
use steadfast_core::id::Key;
use steadfast_core::link::{self, ChannelId, Fallback, LinkState, Report, legacy};
use steadfast_core::time::Time;

/// Which protocol is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Link,
    Legacy,
}

/// So many clients share a source address, so that ports do not run out.
const CLIENTS_PER_ADDRESS: u32 = 2_000;

/// Every frame of a client is masked; with what does not matter here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// One client.
pub(crate) struct Client {
    number: u32,
    machine: Machine,
    to: SocketAddr,
    pub(crate) connection: Option<Connection>,
    /// Whether it is welcomed, or by the text protocol connected.
    pub(crate) is_live: bool,
    /// The numbers of the messages it has had, in order.
    pub(crate) received: Vec<u32>,
    /// When the last of them came.
    pub(crate) received_at: Time,
    /// The delay that ran last.
    pub(crate) delay: f64,
    pub(crate) resumed: u32,
    pub(crate) fresh: u32,
    pub(crate) lost: u32,
    /// Frames on their way out.
    out: Vec<u8>,
    link_commands: Vec<link::LinkCommand>,
    legacy_commands: Vec<legacy::LinkCommand>,
}

#[expect(clippy::large_enum_variant, reason = "one of each client, of which all are of a kind")]
enum Machine {
    Link(link::Link),
    Legacy(legacy::Link),
}

/// A socket, from its connecting on.
pub(crate) struct Connection {
    channel: ChannelId,
    pub(crate) stream: TcpStream,
    /// Whether the event loop knows it.
    pub(crate) is_registered: bool,
    phase: Phase,
    input: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Upgrading,
    Open,
}

/// What a client's machine is told.
enum Fact {
    Opened,
    Text(ByteString),
    Pong,
    /// With the close code, if there was one.
    Ended(Option<u16>),
}

impl Client {
    pub(crate) fn new(kind: Kind, client: u32, to: SocketAddr) -> Self {
        let seed = u64::from(client);
        let key = Key::new(key(client));
        let machine = match kind {
            Kind::Link => {
                let mut config = link::LinkConfig::new(key, vec![to.to_string().into()]);
                config.fallback = Fallback::Never;
                Machine::Link(link::Link::new(config, seed))
            }
            Kind::Legacy => Machine::Legacy(legacy::Link::new(legacy::LinkConfig::new(key), seed)),
        };
        Self {
            number: client,
            machine,
            to,
            connection: None,
            is_live: false,
            received: Vec::new(),
            received_at: Time::EPOCH,
            delay: 0.0,
            resumed: 0,
            fresh: 0,
            lost: 0,
            out: Vec::new(),
            link_commands: Vec::new(),
            legacy_commands: Vec::new(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Time {
        let due = match &self.machine {
            Machine::Link(link) => link.next_deadline(),
            Machine::Legacy(link) => link.next_deadline(),
        };
        due.unwrap_or(Time::NEVER)
    }

    pub(crate) fn start(&mut self, now: Time) -> Outcome {
        match &self.machine {
            Machine::Link(_) => self.link_event(now, link::LinkEvent::Started),
            Machine::Legacy(_) => self.legacy_event(now, legacy::LinkEvent::Started),
        }
    }

    pub(crate) fn deadline(&mut self, now: Time) -> Outcome {
        match &self.machine {
            Machine::Link(_) => self.link_event(now, link::LinkEvent::DeadlineReached),
            Machine::Legacy(_) => self.legacy_event(now, legacy::LinkEvent::DeadlineReached),
        }?;
        self.flush(now)
    }

    /// Its network is gone.
    pub(crate) fn drop_connection(&mut self, now: Time) -> Outcome {
        self.tell(now, Fact::Ended(None))
    }

    /// Something can be read or written.
    pub(crate) fn ready(&mut self, now: Time, buffer: &mut [u8]) -> Outcome {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        if connection.phase == Phase::Connecting {
            if let Ok(Some(_)) | Err(_) = connection.stream.take_error() {
                return self.tell(now, Fact::Ended(None));
            }
            if connection.stream.peer_addr().is_err() {
                return Ok(());
            }
            connection.phase = Phase::Upgrading;
            let subprotocol = match self.machine {
                Machine::Link(_) => format!("Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"),
                Machine::Legacy(_) => String::new(),
            };
            let request = format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                 {subprotocol}\r\n",
                self.to
            );
            self.out.extend_from_slice(request.as_bytes());
        }
        self.read(now, buffer)?;
        self.flush(now)
    }

    fn read(&mut self, now: Time, buffer: &mut [u8]) -> Outcome {
        while let Some(connection) = &mut self.connection {
            match connection.stream.read(buffer) {
                Ok(0) => return self.tell(now, Fact::Ended(None)),
                Ok(count) => {
                    connection.input.extend_from_slice(&buffer[..count]);
                    self.take_input(now)?;
                    if count < buffer.len() {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return self.tell(now, Fact::Ended(None)),
            }
        }
        Ok(())
    }

    /// Takes the response and all whole frames out of what has come.
    fn take_input(&mut self, now: Time) -> Outcome {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut input = std::mem::take(&mut connection.input);
        let mut used = 0;
        if connection.phase == Phase::Upgrading {
            let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") else {
                connection.input = input;
                return Ok(());
            };
            if !input.starts_with(b"HTTP/1.1 101") {
                return self.tell(now, Fact::Ended(None));
            }
            connection.phase = Phase::Open;
            used = end + 4;
            self.tell(now, Fact::Opened)?;
        }
        let channel = self.connection.as_ref().map(|connection| connection.channel);
        while let Some((opcode, start, end)) = next_frame(&input[used..]) {
            let payload = &input[used + start..used + end];
            let fact = match opcode {
                TEXT => Some(Fact::Text(ByteString::try_from(payload)?)),
                CLOSE => {
                    Some(Fact::Ended(payload.first_chunk().map(|code| u16::from_be_bytes(*code))))
                }
                PONG => Some(Fact::Pong),
                PING => {
                    put_frame(&mut self.out, PONG, payload);
                    None
                }
                other => return Err(format!("a frame with opcode {other}").into()),
            };
            used += end;
            if let Some(fact) = fact {
                self.tell(now, fact)?;
            }
            if self.connection.as_ref().map(|connection| connection.channel) != channel {
                return Ok(());
            }
        }
        if let Some(connection) = &mut self.connection {
            input.drain(..used);
            connection.input = input;
        }
        Ok(())
    }

    /// Writes what is on its way out; what the socket does not take waits for its next event.
    fn flush(&mut self, now: Time) -> Outcome {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        while connection.phase != Phase::Connecting && !self.out.is_empty() {
            match connection.stream.write(&self.out) {
                Ok(count) => drop(self.out.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => return self.tell(now, Fact::Ended(None)),
            }
        }
        Ok(())
    }

    fn tell(&mut self, now: Time, fact: Fact) -> Outcome {
        let Some(connection) = &self.connection else { return Ok(()) };
        let (channel, was_open) = (connection.channel, connection.phase == Phase::Open);
        if matches!(fact, Fact::Ended(_)) {
            self.connection = None;
            self.out.clear();
        }
        match (&self.machine, fact) {
            (Machine::Link(_), Fact::Opened) => {
                self.link_event(now, link::LinkEvent::Opened(channel))
            }
            (Machine::Link(_), Fact::Text(text)) => {
                self.link_event(now, link::LinkEvent::TextReceived(channel, text))
            }
            (Machine::Link(_), Fact::Ended(code)) if was_open => {
                self.link_event(now, link::LinkEvent::Closed { channel, code })
            }
            (Machine::Link(_), Fact::Ended(_)) => {
                self.link_event(now, link::LinkEvent::Failed(channel))
            }
            (Machine::Link(_), Fact::Pong) => Ok(()),
            (Machine::Legacy(_), Fact::Opened) => self.legacy_event(now, legacy::LinkEvent::Opened),
            (Machine::Legacy(_), Fact::Text(text)) => {
                self.legacy_event(now, legacy::LinkEvent::TextReceived(text))
            }
            (Machine::Legacy(_), Fact::Pong) => {
                self.legacy_event(now, legacy::LinkEvent::PongReceived)
            }
            (Machine::Legacy(_), Fact::Ended(_)) if was_open => {
                self.legacy_event(now, legacy::LinkEvent::Closed)
            }
            (Machine::Legacy(_), Fact::Ended(_)) => {
                self.legacy_event(now, legacy::LinkEvent::Failed)
            }
        }
    }

    fn link_event(&mut self, now: Time, event: link::LinkEvent) -> Outcome {
        let Machine::Link(link) = &mut self.machine else { return Ok(()) };
        let mut commands = std::mem::take(&mut self.link_commands);
        link.handle(now, event, &mut commands);
        for command in commands.drain(..) {
            match command {
                link::LinkCommand::Open { channel, .. } => self.open(channel)?,
                link::LinkCommand::Send(_, text) => put_frame(&mut self.out, TEXT, text.as_bytes()),
                link::LinkCommand::Close(_) => self.close(),
                link::LinkCommand::Deliver { data, .. } => self.deliver(now, &data)?,
                link::LinkCommand::StateChanged { new, .. } => {
                    self.is_live = new == LinkState::Connected;
                }
                link::LinkCommand::Save(_) => {}
                link::LinkCommand::Report(report) => self.reported(&report)?,
            }
        }
        self.link_commands = commands;
        Ok(())
    }

    fn reported(&mut self, report: &Report) -> Outcome {
        match report {
            Report::Welcomed { resumed, lost, .. } => {
                self.resumed += u32::from(*resumed);
                self.fresh += u32::from(!resumed);
                self.lost += u32::from(*lost);
            }
            Report::RetryIn(delay) => self.delay = delay.as_micros() as f64 / 1e6,
            Report::Refused { code } => {
                return Err(format!("client {} is refused: {code}", self.number).into());
            }
            Report::OpsConfirmed { .. }
            | Report::OpRefused
            | Report::Suspect
            | Report::GatewayError { .. }
            | Report::GaveUp => {}
        }
        Ok(())
    }

    fn legacy_event(&mut self, now: Time, event: legacy::LinkEvent) -> Outcome {
        let Machine::Legacy(link) = &mut self.machine else { return Ok(()) };
        let mut commands = std::mem::take(&mut self.legacy_commands);
        link.handle(now, event, &mut commands);
        for command in commands.drain(..) {
            match command {
                legacy::LinkCommand::Connect => self.open(ChannelId(0))?,
                legacy::LinkCommand::Send(text) => {
                    put_frame(&mut self.out, TEXT, text.as_bytes());
                }
                legacy::LinkCommand::Ping => put_frame(&mut self.out, PING, &[]),
                legacy::LinkCommand::Deliver(text) => self.deliver(now, &text)?,
                legacy::LinkCommand::Disconnect => self.close(),
                legacy::LinkCommand::StateChanged { new, .. } => {
                    self.is_live = new == legacy::LinkState::Connected;
                }
                legacy::LinkCommand::GaveUp => return Err("a client gave up".into()),
            }
        }
        self.legacy_commands = commands;
        Ok(())
    }

    fn deliver(&mut self, now: Time, data: &str) -> Outcome {
        let number = number(data).ok_or_else(|| format!("not one of our messages: {data}"))?;
        if self.received.last().is_some_and(|last| number <= *last) {
            return Err(format!("client {} had message {number} before", self.number).into());
        }
        self.received.push(number);
        self.received_at = now;
        Ok(())
    }

    fn close(&mut self) {
        self.connection = None;
        self.out.clear();
    }

    fn open(&mut self, channel: ChannelId) -> Outcome {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let last = 1 + self.number / CLIENTS_PER_ADDRESS;
        let from = Ipv4Addr::new(127, 0, 0, u8::try_from(last)?);
        bind(&socket, &SocketAddr::from((from, 0)))?;
        match connect(&socket, &self.to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return Err(format!("connect: {error}").into()),
        }
        let stream = TcpStream::from_std(socket.into());
        stream.set_nodelay(true)?;
        let (phase, input) = (Phase::Connecting, Vec::new());
        self.connection = Some(Connection { channel, stream, is_registered: false, phase, input });
        Ok(())
    }
}

/// The first whole frame of a server: its opcode, and where its payload is.
fn next_frame(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (start, length) = match second & 0x7f {
        126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
        short => (2, u64::from(short)),
    };
    let end = start + usize::try_from(length).ok()?;
    (bytes.len() >= end).then_some((first & 0x0f, start, end))
}

/// Appends a masked frame.
fn put_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => out.push(0x80 | length as u8),
        Ok(length) => {
            out.push(0x80 | 126);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&MASK);
    out.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}
