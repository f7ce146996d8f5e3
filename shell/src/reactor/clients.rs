//! Client sockets.
//!
//! A client is *live* until the machine has been told `Closed`. A socket that ends by the
//! protocol stays a little longer, *ending*: what is left to write is written, and the peer gets
//! the time to read it, since closing a socket with unread input destroys what was sent.
//!
//! Invariants: an idle client owns no memory beyond its entry; the machine is told `Closed` once,
//! and nothing after it.
//!
//! Back-pressure: what the machine writes is bounded by the machine. What a client's own messages
//! make it write is bounded here: a client that lets more than [`MAX_UNREAD`] pile up and has sent
//! as much itself meanwhile is not read until it has taken what waits for it.

use super::outbox::{Flush, Outbox};
use super::slots::Place;
use super::sockets::{Side, Sockets, token};
use crate::codec::client::ClientCodec;
use mio::Interest;
use mio::net::TcpStream;
use std::io::{self, Read};
use std::net::Shutdown;
use steadfast_core::command::{Close, FrameKind};
use steadfast_core::event::{CloseCause, ConnEvent, Event};
use steadfast_core::id::ConnId;

/// See the module's text.
const MAX_UNREAD: usize = 1 << 20;

/// One client's socket.
#[derive(Debug)]
pub(super) struct Client {
    socket: TcpStream,
    codec: ClientCodec,
    pub(super) outbox: Outbox,
    /// What the outbox will have handed over when each `ReportDrained` is due.
    drains: Vec<u64>,
    /// How much has been read since the outbox was last empty.
    read_meanwhile: usize,
    pub(super) phase: Phase,
    flags: Flags,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Live,
    /// It has brought a plain request, which is not answered yet.
    Asking,
    /// Our close frame is written or about to be: the peer's is awaited.
    AwaitClose,
    /// Once everything is written, our direction of the stream ends.
    HalfClose,
    /// The end of the peer's direction is awaited.
    HalfClosed,
    /// Once everything is written, the socket goes.
    Drop,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    /// In the list of those to be read.
    listed: bool,
    /// In the list of those to be written.
    dirty: bool,
    /// The kernel takes no more for now.
    blocked: bool,
    /// There is something to read, but reading waits for the outbox.
    held: bool,
    /// The peer has ended its direction; the end may be behind unread bytes.
    hung_up: bool,
}

fn id((slot, generation): Place) -> ConnId {
    ConnId { slot, generation }
}

fn place(conn: ConnId) -> Place {
    (conn.slot, conn.generation)
}

impl Client {
    /// How many bytes the kernel has taken.
    pub(super) fn taken(&self) -> u64 {
        self.outbox.taken()
    }

    fn is_live(&self) -> bool {
        self.phase == Phase::Live
    }

    /// Whether reading has to wait until the outbox is empty.
    fn is_overfull(&self) -> bool {
        self.outbox.len() > MAX_UNREAD && self.read_meanwhile > MAX_UNREAD
    }
}

impl Sockets {
    /// Takes in a new client.
    pub(super) fn accept_client(&mut self, mut socket: TcpStream) -> io::Result<()> {
        // Without it a small answer waits for the acknowledgement of the one before it.
        socket.set_nodelay(true)?;
        let (slot, _) = self.clients.next_place();
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut socket, token(Side::Client, slot), interest)?;
        let place = self.clients.insert(Client {
            socket,
            codec: ClientCodec::serving(self.pages),
            outbox: Outbox::default(),
            drains: Vec::new(),
            read_meanwhile: 0,
            phase: Phase::Live,
            flags: Flags::default(),
        });
        self.pending.push_back(Event::Connection(id(place), ConnEvent::Accepted));
        Ok(())
    }

    /// Notes what epoll says about a client.
    pub(super) fn client_ready(
        &mut self,
        slot: usize,
        readable: bool,
        writable: bool,
        hung_up: bool,
    ) {
        let Some((generation, client)) = self.clients.in_slot(slot) else { return };
        let place = (slot as u32, generation);
        client.flags.hung_up |= hung_up;
        if readable && !client.flags.listed {
            client.flags.listed = true;
            self.readable_clients.push(place);
        }
        if writable && client.flags.blocked {
            client.flags.blocked = false;
            if !client.flags.dirty {
                client.flags.dirty = true;
                self.dirty_clients.push(place);
            }
        }
    }

    /// Reads a listed client once. Returns how many bytes are in `buffer`.
    pub(super) fn receive_client(&mut self, place: Place, buffer: &mut [u8]) -> Option<usize> {
        let client = self.clients.get_mut(place)?;
        client.flags.listed = false;
        if client.is_overfull() {
            client.flags.held = true;
            return None;
        }
        match client.socket.read(buffer) {
            Ok(0) => {
                self.client_eof(place);
                None
            }
            Ok(bytes) => {
                client.read_meanwhile += bytes;
                // A short read has emptied the kernel's buffer, unless the end is there as well.
                if bytes == buffer.len() || client.flags.hung_up {
                    client.flags.listed = true;
                    self.readable_clients.push(place);
                }
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                client.flags.listed = true;
                self.readable_clients.push(place);
                None
            }
            Err(error) => {
                self.fail_client(place, &error);
                None
            }
        }
    }

    /// The next event in what was read from the client.
    pub(super) fn next_client_event(&mut self, place: Place, input: &mut &[u8]) -> Option<Event> {
        let client = self.clients.get_mut(place)?;
        let event = client.codec.next(&mut self.workspace, input, &mut self.scratch);
        if !self.scratch.is_empty() {
            client.outbox.buffer(&mut self.pool).append(&mut self.scratch);
            self.client_dirty(place);
        }
        let event = event?;
        let client = self.clients.get_mut(place)?;
        if !client.is_live() {
            // All that a codec still reports by then is the peer's close frame, or that the peer
            // broke the protocol instead of sending one: in both cases there is no more to wait
            // for.
            client.phase = Phase::Drop;
            self.client_dirty(place);
            return None;
        }
        if matches!(event, ConnEvent::Closed(_)) {
            if let Some(request) = client.codec.take_request() {
                client.phase = Phase::Asking;
                self.on_request(place, &request);
            } else {
                client.phase = Phase::HalfClose;
                let taken = client.taken();
                self.linger(Side::Client, place, taken);
                self.client_dirty(place);
            }
        }
        Some(Event::Connection(id(place), event))
    }

    /// Appends a message.
    #[inline]
    pub(super) fn send(&mut self, conn: ConnId, kind: FrameKind, payload: &[u8]) {
        let Some(client) = self.clients.get_mut(place(conn)) else {
            return self.send_poll(place(conn), payload);
        };
        if client.is_live() {
            client.codec.send(client.outbox.buffer(&mut self.pool), kind, payload);
            self.client_dirty(place(conn));
        }
    }

    /// Appends a ping.
    #[inline]
    pub(super) fn ping(&mut self, conn: ConnId, counter: u64) {
        if let Some(client) = self.clients.get_mut(place(conn))
            && client.is_live()
        {
            client.codec.ping(client.outbox.buffer(&mut self.pool), counter);
            self.client_dirty(place(conn));
        }
    }

    /// Appends the answer to a ping.
    pub(super) fn pong(&mut self, conn: ConnId, payload: &[u8]) {
        if let Some(client) = self.clients.get_mut(place(conn))
            && client.is_live()
        {
            client.codec.pong(client.outbox.buffer(&mut self.pool), payload);
            self.client_dirty(place(conn));
        }
    }

    /// Will report when all that waits now has been taken.
    pub(super) fn report_drained(&mut self, conn: ConnId) {
        let Some(client) = self.clients.get_mut(place(conn)) else { return };
        if !client.is_live() {
            return;
        }
        if client.outbox.is_empty() {
            self.pending.push_back(Event::Connection(conn, ConnEvent::Drained));
        } else {
            client.drains.push(client.outbox.end());
        }
    }

    /// Closes at the machine's command.
    pub(super) fn close(&mut self, conn: ConnId, close: Close) {
        let place = place(conn);
        let Some(client) = self.clients.get_mut(place) else {
            return self.close_poll(place, close);
        };
        if !client.is_live() {
            return;
        }
        let was_open = client.codec.is_open();
        let closed = ConnEvent::Closed(CloseCause::Commanded);
        self.pending.push_back(Event::Connection(conn, closed));
        if close.is_forced() {
            if !client.flags.blocked {
                client.codec.close(client.outbox.buffer(&mut self.pool), close);
                // What the kernel does not take now is lost: that is what forced means.
                let _ = client.outbox.flush(&mut client.socket, &mut self.pool);
            }
            self.clients.remove(place);
            return;
        }
        client.codec.close(client.outbox.buffer(&mut self.pool), close);
        client.phase = if was_open { Phase::AwaitClose } else { Phase::HalfClose };
        let taken = client.taken();
        self.linger(Side::Client, place, taken);
        self.client_dirty(place);
    }

    /// Whether the machine may still be told of the connection.
    pub(super) fn is_live(&mut self, conn: ConnId) -> bool {
        self.clients.get_mut(place(conn)).is_some_and(|client| client.is_live())
    }

    /// Has the client written at the end of the turn.
    #[inline]
    pub(super) fn client_dirty(&mut self, place: Place) {
        if let Some(client) = self.clients.get_mut(place)
            && !client.flags.dirty
            && !client.flags.blocked
        {
            client.flags.dirty = true;
            self.dirty_clients.push(place);
        }
    }

    /// The peer has ended its direction of the stream.
    fn client_eof(&mut self, place: Place) {
        let Some(client) = self.clients.get_mut(place) else { return };
        match client.phase {
            Phase::Live => {
                let closed = ConnEvent::Closed(CloseCause::Eof);
                self.pending.push_back(Event::Connection(id(place), closed));
                self.clients.remove(place);
            }
            Phase::HalfClosed | Phase::Asking => drop(self.clients.remove(place)),
            Phase::AwaitClose | Phase::HalfClose | Phase::Drop => {
                client.phase = Phase::Drop;
                self.client_dirty(place);
            }
        }
    }

    /// The socket is broken.
    fn fail_client(&mut self, place: Place, error: &io::Error) {
        if let Some(client) = self.clients.remove(place)
            && client.is_live()
        {
            let closed = ConnEvent::Closed(CloseCause::Failed(error.to_string()));
            self.pending.push_back(Event::Connection(id(place), closed));
        }
    }

    /// Writes what waits, in one call.
    pub(super) fn flush_client(&mut self, place: Place) {
        let Some(client) = self.clients.get_mut(place) else { return };
        client.flags.dirty = false;
        let flush = client.outbox.flush(&mut client.socket, &mut self.pool);
        if !client.drains.is_empty() {
            report_drains(client, place, &mut self.pending);
        }
        match flush {
            Flush::Done => {}
            Flush::Blocked => {
                client.flags.blocked = true;
                return;
            }
            Flush::Failed(error) => return self.fail_client(place, &error),
        }
        client.read_meanwhile = 0;
        if client.flags.held {
            client.flags.held = false;
            client.flags.listed = true;
            self.readable_clients.push(place);
        }
        match client.phase {
            Phase::Live | Phase::Asking | Phase::AwaitClose | Phase::HalfClosed => {}
            Phase::HalfClose => {
                client.phase = Phase::HalfClosed;
                if client.socket.shutdown(Shutdown::Write).is_err() {
                    self.clients.remove(place);
                }
            }
            Phase::Drop => drop(self.clients.remove(place)),
        }
    }
}

/// Reports what is due by what the outbox has handed over.
fn report_drains(
    client: &mut Client,
    place: Place,
    pending: &mut std::collections::VecDeque<Event>,
) {
    let taken = client.outbox.taken();
    let due = client.drains.partition_point(|&at| at <= taken);
    for _ in client.drains.drain(..due) {
        pending.push_back(Event::Connection(id(place), ConnEvent::Drained));
    }
    if client.drains.is_empty() {
        client.drains = Vec::new();
    }
}
