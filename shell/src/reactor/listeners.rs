//! The listening sockets.
//!
//! A bounded number of connections is accepted per loop turn, so that those already there are not
//! kept waiting. When none can be accepted, because `max_backends` are connected or the process has too
//! many files open, the listener rests for [`REST`] instead of trying again at once.

use super::sockets::{PUSH, Sockets, WS};
use crate::journal::{Journal, Trouble};
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use std::io;
use std::net::SocketAddr;
use steadfast_core::time::{Span, Time};

/// Connections accepted per listener and loop turn.
const PER_TURN: usize = 256;
/// The kernel's queue of connections that wait to be accepted; it may allow fewer.
const BACKLOG: i32 = 4096;
/// How long a listener rests when nothing can be accepted.
const REST: Span = Span::from_millis(100);

/// One listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    kind: Kind,
    /// Connections may be waiting.
    ready: bool,
    rests_until: Option<Time>,
}

/// Who connects to a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ws,
    /// So many at most.
    Push {
        most: usize,
    },
}

impl Kind {
    pub(super) fn token(self) -> Token {
        match self {
            Self::Ws => WS,
            Self::Push { .. } => PUSH,
        }
    }

    fn flag(self) -> &'static str {
        match self {
            Self::Ws => "--ws",
            Self::Push { .. } => "--push",
        }
    }
}

impl Listener {
    /// Listens. An error names the address, what is wrong, and the setting to change.
    pub(super) fn bind(kind: Kind, address: SocketAddr, registry: &Registry) -> io::Result<Self> {
        let explain = |error: io::Error| {
            let hints = [
                (io::ErrorKind::AddrInUse, "another process listens there"),
                (io::ErrorKind::AddrNotAvailable, "this machine has no such address"),
                (io::ErrorKind::PermissionDenied, "ports below 1024 need a privilege"),
            ];
            let known = hints.into_iter().find(|(kind, _)| *kind == error.kind());
            let hint = known.map_or("the operating system refused", |(_, hint)| hint);
            let flag = kind.flag();
            let text =
                format!("cannot listen on {address}: {hint} ({error}); choose another with {flag}");
            io::Error::new(error.kind(), text)
        };
        let mut socket = TcpListener::bind(address).map_err(explain)?;
        // Mio's own backlog of 128 is too short for clients that all come back at once.
        rustix::net::listen(&socket, BACKLOG).map_err(|error| explain(error.into()))?;
        registry.register(&mut socket, kind.token(), Interest::READABLE).map_err(explain)?;
        let address = socket.local_addr().map_err(explain)?;
        Ok(Self { socket, address, kind, ready: true, rests_until: None })
    }

    /// The address it listens on, with the real port.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Notes what epoll says.
    pub(super) fn note_ready(&mut self, token: Token) {
        self.ready |= token == self.kind.token();
    }

    /// Whether connections wait that need no further word from epoll.
    pub(super) fn is_busy(&self) -> bool {
        self.ready && self.rests_until.is_none()
    }

    /// When the rest ends.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.rests_until
    }

    /// Accepts what waits, up to the bound.
    pub(super) fn accept(&mut self, sockets: &mut Sockets, journal: &mut impl Journal) {
        if self.rests_until.is_some_and(|until| sockets.now < until) {
            return;
        }
        self.rests_until = None;
        for _ in 0..PER_TURN {
            if !self.ready {
                return;
            }
            if let Err(error) = self.accept_one(sockets) {
                let kind = error.kind();
                if kind == io::ErrorKind::WouldBlock {
                    self.ready = false;
                } else if !is_passing(kind) {
                    self.rests_until = Some(sockets.now + REST);
                    let listener = self.address;
                    journal.trouble(sockets.now, Trouble::AcceptFailed { listener, error });
                    return;
                }
            }
        }
    }

    fn accept_one(&self, sockets: &mut Sockets) -> io::Result<()> {
        if let Kind::Push { most } = self.kind
            && sockets.pushers.len() >= most
        {
            let text = format!("max_backends = {most} are connected; the next ones wait");
            return Err(io::Error::other(text));
        }
        let (socket, _) = self.socket.accept()?;
        match self.kind {
            Kind::Ws => sockets.accept_client(socket),
            Kind::Push { .. } => sockets.accept_pusher(socket),
        }
    }
}

/// Whether the error is about one connection, not about accepting at all.
fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::InvalidInput
    )
}
