//! The sockets of a reactor: the tables, and the lists of what is to be done to whom.
//!
//! Nothing here knows the machine. What the sockets have to tell it by themselves waits in
//! `pending`; the reactor hands that on.

use super::clients::Client;
use super::outbox::Pool;
use super::polls::Polls;
use super::pushers::Pusher;
use super::slots::{Place, Slots};
use crate::codec::websocket::Workspace;
use crate::pages::Page;
use mio::event::Event as Ready;
use mio::{Registry, Token};
use std::collections::VecDeque;
use steadfast_core::event::Event;
use steadfast_core::time::{Span, Time};

/// Tokens from here on are not sockets.
const FIRST_SPECIAL: usize = usize::MAX - 2;
/// The token of the waker.
pub(super) const WAKER: Token = Token(FIRST_SPECIAL);
/// The token of the WebSocket listener.
pub(super) const WS: Token = Token(FIRST_SPECIAL + 1);
/// The token of the push listener.
pub(super) const PUSH: Token = Token(FIRST_SPECIAL + 2);

/// How often the lingering of a socket that still takes bytes is extended.
const RENEWALS: u8 = 10;

/// Whose socket a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Pusher,
}

/// The token of a socket: its slot, and one bit for its side.
pub(super) fn token(side: Side, slot: u32) -> Token {
    let side = match side {
        Side::Client => 0,
        Side::Pusher => 1,
    };
    Token((slot as usize) << 1 | side)
}

/// A list of sockets to visit. Each socket carries a flag that keeps it from being listed twice.
pub(super) type List = Vec<Place>;

/// A socket that the machine no longer knows and that may be there a little longer.
#[derive(Debug)]
struct Lingering {
    until: Time,
    side: Side,
    place: Place,
    /// What its outbox had handed over when the wait began.
    taken: u64,
    renewals: u8,
}

/// All sockets but the listeners.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) registry: Registry,
    pub(super) clients: Slots<Client>,
    pub(super) pushers: Slots<Pusher>,
    pub(super) polls: Polls,
    /// What the machine has to be told, in order.
    pub(super) pending: VecDeque<Event>,
    /// To be read in the next reading stage.
    pub(super) readable_clients: List,
    pub(super) readable_pushers: List,
    /// To be written at the end of the turn.
    pub(super) dirty_clients: List,
    pub(super) dirty_pushers: List,
    lingering: VecDeque<Lingering>,
    pub(super) workspace: Workspace,
    pub(super) pool: Pool,
    /// Where codecs write; empty between two calls.
    pub(super) scratch: Vec<u8>,
    pub(super) max_push_line: usize,
    /// What clients that do not upgrade can get.
    pub(super) pages: &'static [Page],
    linger: Span,
    /// The turn's time.
    pub(super) now: Time,
    /// Set once: no line is read any more, and a back end is done when it has its replies.
    pub(super) stopping: bool,
}

impl Sockets {
    pub(super) fn new(
        registry: Registry,
        max_message: usize,
        max_push_line: usize,
        polls: Polls,
        linger: Span,
        now: Time,
    ) -> Self {
        Self {
            registry,
            clients: Slots::default(),
            pushers: Slots::default(),
            polls,
            pending: VecDeque::new(),
            readable_clients: List::new(),
            readable_pushers: List::new(),
            dirty_clients: List::new(),
            dirty_pushers: List::new(),
            lingering: VecDeque::new(),
            workspace: Workspace::new(max_message),
            pool: Pool::default(),
            scratch: Vec::new(),
            max_push_line,
            pages: &[],
            linger,
            now,
            stopping: false,
        }
    }

    /// Notes what epoll says about a socket.
    pub(super) fn ready(&mut self, event: &Ready) {
        let Token(token) = event.token();
        if token >= FIRST_SPECIAL {
            return;
        }
        let readable = event.is_readable() || event.is_read_closed() || event.is_error();
        let writable = event.is_writable() || event.is_error();
        if token & 1 == 0 {
            self.client_ready(token >> 1, readable, writable, event.is_read_closed());
        } else {
            self.pusher_ready(token >> 1, readable, writable, event.is_read_closed());
        }
    }

    /// Whether there is something to do without waiting for epoll.
    pub(super) fn is_busy(&self) -> bool {
        !(self.readable_clients.is_empty()
            && self.readable_pushers.is_empty()
            && self.dirty_clients.is_empty()
            && self.dirty_pushers.is_empty()
            && self.pending.is_empty())
            || self.polls.is_busy()
    }

    /// Whether no socket is left.
    pub(super) fn is_empty(&self) -> bool {
        self.clients.len() == 0 && self.pushers.len() == 0
    }

    /// Gives a socket the linger time from now on.
    pub(super) fn linger(&mut self, side: Side, place: Place, taken: u64) {
        let until = self.now + self.linger;
        self.lingering.push_back(Lingering { until, side, place, taken, renewals: RENEWALS });
    }

    /// When something is to be done whatever the sockets do.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let lingering = self.lingering.front().map(|first| first.until);
        lingering.into_iter().chain(self.polls.next_deadline()).min()
    }

    /// Drops the sockets whose lingering is over, unless their kernels have taken bytes meanwhile.
    pub(super) fn end_lingering(&mut self) {
        while self.lingering.front().is_some_and(|first| first.until <= self.now)
            && let Some(mut first) = self.lingering.pop_front()
        {
            let taken = match first.side {
                Side::Client => self.clients.get_mut(first.place).map(|client| client.taken()),
                Side::Pusher => self.pushers.get_mut(first.place).map(|pusher| pusher.taken()),
            };
            let Some(taken) = taken else { continue };
            if taken > first.taken && first.renewals > 0 {
                first.until = self.now + self.linger;
                first.taken = taken;
                first.renewals -= 1;
                self.lingering.push_back(first);
                continue;
            }
            match first.side {
                Side::Client => drop(self.clients.remove(first.place)),
                Side::Pusher => drop(self.pushers.remove(first.place)),
            }
        }
    }

    /// Writes to every socket that has something to write, once.
    pub(super) fn flush(&mut self) {
        let mut list = std::mem::take(&mut self.dirty_clients);
        for place in list.drain(..) {
            self.flush_client(place);
        }
        restore(&mut self.dirty_clients, list);
        let mut list = std::mem::take(&mut self.dirty_pushers);
        for place in list.drain(..) {
            self.flush_pusher(place);
        }
        restore(&mut self.dirty_pushers, list);
    }
}

/// Puts the memory of an emptied list back behind what has been listed meanwhile.
pub(super) fn restore(list: &mut List, mut emptied: List) {
    debug_assert!(emptied.is_empty());
    emptied.append(list);
    *list = emptied;
}
