//! The sockets of a simulated gateway: what `shell/src/reactor` does with mio, done with turmoil.
//!
//! The rules are the daemon's: reading is bounded per turn, a socket that ends by the protocol
//! lingers, what waits behind `Pause` is kept, a drain is reported when the outbox has been taken.
//! The contract test holds the two against each other.

use super::slots::{Place, Slots};
use super::tally::Tally;
use super::wire::Wire;
use crate::schedule::Delivered;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use steadfast_core::command::{Close, FrameKind, Reply};
use steadfast_core::event::{CloseCause, ConnEvent, Event, PusherEvent};
use steadfast_core::id::{ConnId, PusherId};
use steadfast_core::time::{Span, Time};
use steadfast_shell::codec::client::ClientCodec;
use steadfast_shell::codec::line::{self, LineCodec};
use steadfast_shell::codec::websocket::Workspace;

/// The most that one socket gives a turn.
const READ: usize = 64 << 10;
/// How long a closed socket may stay to have its last bytes read.
const LINGER: Span = Span::from_secs(2);

/// Bytes on their way to one socket.
#[derive(Debug, Default)]
struct Outbox {
    buffer: Vec<u8>,
    taken: u64,
}

impl Outbox {
    fn end(&self) -> u64 {
        self.taken + self.buffer.len() as u64
    }

    fn flush(&mut self, cx: &Context<'_>, wire: &mut Wire) -> io::Result<()> {
        let written = wire.write(cx, &self.buffer)?;
        self.buffer.drain(..written);
        self.taken += written as u64;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Live,
    /// Our close frame is written or about to be: the peer's is awaited.
    AwaitClose,
    /// Once everything is written, our direction of the stream ends.
    HalfClose,
    /// The end of the peer's direction is awaited.
    HalfClosed,
    /// Once everything is written, the socket goes.
    Drop,
}

#[derive(Debug)]
pub(super) struct Client {
    wire: Wire,
    codec: ClientCodec,
    outbox: Outbox,
    drains: VecDeque<u64>,
    phase: Phase,
    until: Option<Time>,
}

#[derive(Debug)]
pub(super) struct Pusher {
    wire: Wire,
    codec: LineCodec,
    outbox: Outbox,
    /// What was read and has to wait for `Resume`.
    rest: Vec<u8>,
    unanswered: u64,
    paused: bool,
    /// A line was too long: the end comes with the last reply.
    refused: bool,
    eof: bool,
    phase: Phase,
    until: Option<Time>,
}

/// All sockets of one run of a gateway.
#[derive(Debug)]
pub(super) struct Sockets {
    clients: Slots<Client>,
    pushers: Slots<Pusher>,
    /// What the gateway has to be told, in order.
    pub(super) pending: VecDeque<Event>,
    workspace: Workspace,
    max_push_line: usize,
    pub(super) now: Time,
    /// No back end is read any more.
    stopping: bool,
    delivered: Tally,
}

fn conn((slot, generation): Place) -> ConnId {
    ConnId { slot, generation }
}

fn pusher_id((slot, generation): Place) -> PusherId {
    PusherId { slot, generation }
}

/// What reading a socket came to.
#[derive(Debug)]
pub(super) enum Input {
    Bytes(Vec<u8>),
    Nothing,
}

impl Sockets {
    pub(super) fn new(
        run: u32,
        max_message: usize,
        max_push_line: usize,
        now: Time,
        delivered: Tally,
    ) -> Self {
        Self {
            clients: Slots::new(run * 100_000),
            pushers: Slots::new(run * 100_000),
            pending: VecDeque::new(),
            workspace: Workspace::new(max_message),
            max_push_line,
            now,
            stopping: false,
            delivered,
        }
    }

    pub(super) fn accept_client(&mut self, wire: Wire) {
        let place = self.clients.insert(Client {
            wire,
            codec: ClientCodec::default(),
            outbox: Outbox::default(),
            drains: VecDeque::new(),
            phase: Phase::Live,
            until: None,
        });
        self.pending.push_back(Event::Connection(conn(place), ConnEvent::Accepted));
    }

    pub(super) fn accept_pusher(&mut self, wire: Wire) {
        let place = self.pushers.insert(Pusher {
            wire,
            codec: LineCodec::new(self.max_push_line),
            outbox: Outbox::default(),
            rest: Vec::new(),
            unanswered: 0,
            paused: false,
            refused: false,
            eof: false,
            phase: Phase::Live,
            until: None,
        });
        self.pending.push_back(Event::Pusher(pusher_id(place), PusherEvent::Opened));
    }

    /// A back end without a socket: it takes a place among the others until it has its reply.
    pub(super) fn reserve_pusher(&mut self) -> PusherId {
        pusher_id(self.pushers.reserve())
    }

    /// A back end without a socket has its reply.
    pub(super) fn release_pusher(&mut self, id: PusherId) {
        self.pending.push_back(Event::Pusher(id, PusherEvent::Closed));
        self.pushers.release((id.slot, id.generation));
    }

    pub(super) fn client_places(&self) -> Vec<Place> {
        self.clients.places()
    }

    pub(super) fn pusher_places(&self) -> Vec<Place> {
        self.pushers.places()
    }

    /// From where a client has connected.
    pub(super) fn peer(&mut self, id: ConnId) -> Option<SocketAddr> {
        self.clients.get_mut((id.slot, id.generation)).map(|client| client.wire.peer)
    }

    pub(super) fn is_live(&mut self, id: ConnId) -> bool {
        let client = self.clients.get_mut((id.slot, id.generation));
        client.is_some_and(|client| client.phase == Phase::Live)
    }

    // Clients.

    /// Reads a client once.
    pub(super) fn receive_client(&mut self, cx: &mut Context<'_>, place: Place) -> Input {
        let Some(client) = self.clients.get_mut(place) else { return Input::Nothing };
        match receive(cx, &mut client.wire) {
            Received::Bytes(bytes) => return Input::Bytes(bytes),
            Received::Nothing => {}
            Received::Eof => self.client_eof(place),
            Received::Failed(error) => {
                self.delivered.count(Delivered::ResetByPeer);
                self.fail_client(place, &error);
            }
        }
        Input::Nothing
    }

    /// The next event in what was read from the client.
    pub(super) fn next_client_event(&mut self, place: Place, input: &mut &[u8]) -> Option<Event> {
        let client = self.clients.get_mut(place)?;
        let event = client.codec.next(&mut self.workspace, input, &mut client.outbox.buffer)?;
        if client.phase != Phase::Live {
            client.phase = Phase::Drop;
            return None;
        }
        if matches!(event, ConnEvent::Closed(_)) {
            client.phase = Phase::HalfClose;
            client.until = Some(self.now + LINGER);
        }
        Some(Event::Connection(conn(place), event))
    }

    fn live_client(&mut self, id: ConnId) -> Option<&mut Client> {
        let client = self.clients.get_mut((id.slot, id.generation))?;
        (client.phase == Phase::Live).then_some(client)
    }

    pub(super) fn send(&mut self, id: ConnId, kind: FrameKind, payload: &[u8]) {
        if let Some(client) = self.live_client(id) {
            client.codec.send(&mut client.outbox.buffer, kind, payload);
        }
    }

    pub(super) fn ping(&mut self, id: ConnId, counter: u64) {
        if let Some(client) = self.live_client(id) {
            client.codec.ping(&mut client.outbox.buffer, counter);
        }
    }

    pub(super) fn pong(&mut self, id: ConnId, payload: &[u8]) {
        if let Some(client) = self.live_client(id) {
            client.codec.pong(&mut client.outbox.buffer, payload);
        }
    }

    pub(super) fn report_drained(&mut self, id: ConnId) {
        let Some(client) = self.live_client(id) else { return };
        if client.outbox.buffer.is_empty() {
            self.pending.push_back(Event::Connection(id, ConnEvent::Drained));
        } else {
            let end = client.outbox.end();
            client.drains.push_back(end);
        }
    }

    /// Closes at the gateway's command.
    pub(super) fn close(&mut self, cx: &Context<'_>, id: ConnId, close: Close) {
        let now = self.now;
        let Some(client) = self.live_client(id) else { return };
        let was_open = client.codec.is_open();
        if close.is_forced() {
            if client.outbox.buffer.is_empty() {
                client.codec.close(&mut client.outbox.buffer, close);
                // What is not taken now is lost: that is what forced means.
                let _ = client.outbox.flush(cx, &mut client.wire);
            }
            self.clients.remove((id.slot, id.generation));
        } else {
            client.codec.close(&mut client.outbox.buffer, close);
            client.phase = if was_open { Phase::AwaitClose } else { Phase::HalfClose };
            client.until = Some(now + LINGER);
        }
        let closed = ConnEvent::Closed(CloseCause::Commanded);
        self.pending.push_back(Event::Connection(id, closed));
    }

    fn client_eof(&mut self, place: Place) {
        let Some(client) = self.clients.get_mut(place) else { return };
        match client.phase {
            Phase::Live => {
                let closed = ConnEvent::Closed(CloseCause::Eof);
                self.pending.push_back(Event::Connection(conn(place), closed));
                self.clients.remove(place);
            }
            Phase::HalfClosed => drop(self.clients.remove(place)),
            Phase::AwaitClose | Phase::HalfClose | Phase::Drop => client.phase = Phase::Drop,
        }
    }

    fn fail_client(&mut self, place: Place, error: &io::Error) {
        if let Some(client) = self.clients.remove(place)
            && client.phase == Phase::Live
        {
            let closed = ConnEvent::Closed(CloseCause::Failed(error.to_string()));
            self.pending.push_back(Event::Connection(conn(place), closed));
        }
    }

    fn flush_client(&mut self, cx: &mut Context<'_>, place: Place) {
        let Some(client) = self.clients.get_mut(place) else { return };
        let flushed = client.outbox.flush(cx, &mut client.wire);
        while client.drains.front().is_some_and(|at| *at <= client.outbox.taken) {
            client.drains.pop_front();
            self.pending.push_back(Event::Connection(conn(place), ConnEvent::Drained));
        }
        if let Err(error) = flushed {
            return self.fail_client(place, &error);
        }
        if !client.outbox.buffer.is_empty() {
            return;
        }
        match client.phase {
            Phase::Live | Phase::AwaitClose | Phase::HalfClosed => {}
            Phase::HalfClose => {
                client.phase = Phase::HalfClosed;
                if client.wire.end(cx).is_err() {
                    self.clients.remove(place);
                }
            }
            Phase::Drop => drop(self.clients.remove(place)),
        }
    }

    // Back ends.

    /// Reads a back end once; what waited for `Resume` comes first.
    pub(super) fn receive_pusher(&mut self, cx: &mut Context<'_>, place: Place) -> Input {
        let Some(pusher) = self.pushers.get_mut(place) else { return Input::Nothing };
        if pusher.phase == Phase::Live && (pusher.paused || self.stopping) {
            return Input::Nothing;
        }
        if !pusher.rest.is_empty() {
            return Input::Bytes(std::mem::take(&mut pusher.rest));
        }
        if pusher.eof {
            return Input::Nothing;
        }
        match receive(cx, &mut pusher.wire) {
            Received::Bytes(bytes) => return Input::Bytes(bytes),
            Received::Nothing => {}
            Received::Eof => self.pusher_eof(place),
            Received::Failed(_) => self.drop_pusher(place),
        }
        Input::Nothing
    }

    /// The next event in what was read from the back end; `None` too when it may not be looked at.
    pub(super) fn next_pusher_event(&mut self, place: Place, input: &mut &[u8]) -> Option<Event> {
        let pusher = self.pushers.get_mut(place)?;
        let is_deaf = pusher.paused || pusher.refused || self.stopping;
        if pusher.phase != Phase::Live || is_deaf {
            return None;
        }
        let event = pusher.codec.next(input)?;
        if matches!(event, PusherEvent::LineTooLong { .. }) {
            pusher.refused = true;
            self.end_if_answered(place);
        } else {
            pusher.unanswered += 1;
        }
        Some(Event::Pusher(pusher_id(place), event))
    }

    /// Keeps what could not be looked at because the gateway said `Pause` in its middle.
    pub(super) fn keep_rest(&mut self, place: Place, rest: &[u8]) {
        if let Some(pusher) = self.pushers.get_mut(place)
            && pusher.phase == Phase::Live
            && !pusher.refused
        {
            pusher.rest = rest.to_vec();
        }
    }

    pub(super) fn reply(&mut self, id: PusherId, reply: Reply) {
        let place = (id.slot, id.generation);
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if pusher.phase != Phase::Live || pusher.unanswered == 0 {
            return;
        }
        pusher.unanswered -= 1;
        line::put_reply(&mut pusher.outbox.buffer, reply);
        self.end_if_answered(place);
    }

    /// Reads no back end any more, and ends each as soon as it has all its replies.
    pub(super) fn stop_pushers(&mut self) {
        self.stopping = true;
        for place in self.pusher_places() {
            self.end_if_answered(place);
        }
    }

    fn end_if_answered(&mut self, place: Place) {
        if let Some(pusher) = self.pushers.get_mut(place)
            && (pusher.refused || self.stopping)
            && pusher.unanswered == 0
        {
            self.finish(pusher_id(place));
        }
    }

    pub(super) fn pause(&mut self, id: PusherId, paused: bool) {
        if let Some(pusher) = self.pushers.get_mut((id.slot, id.generation)) {
            pusher.paused = paused;
        }
    }

    /// Closes once everything is written.
    pub(super) fn finish(&mut self, id: PusherId) {
        let now = self.now;
        let Some(pusher) = self.pushers.get_mut((id.slot, id.generation)) else { return };
        if pusher.phase == Phase::Live {
            pusher.phase = Phase::HalfClose;
            pusher.rest = Vec::new();
            pusher.until = Some(now + LINGER);
            self.pending.push_back(Event::Pusher(id, PusherEvent::Closed));
        }
    }

    fn drop_pusher(&mut self, place: Place) {
        if let Some(pusher) = self.pushers.remove(place)
            && pusher.phase == Phase::Live
        {
            self.pending.push_back(Event::Pusher(pusher_id(place), PusherEvent::Closed));
        }
    }

    fn pusher_eof(&mut self, place: Place) {
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        pusher.eof = true;
        match pusher.phase {
            Phase::Live if !pusher.refused => {
                let finished = PusherEvent::Finished { unfinished: pusher.codec.unfinished() };
                self.pending.push_back(Event::Pusher(pusher_id(place), finished));
            }
            Phase::HalfClosed => drop(self.pushers.remove(place)),
            Phase::Live | Phase::AwaitClose | Phase::HalfClose | Phase::Drop => {}
        }
    }

    fn flush_pusher(&mut self, cx: &mut Context<'_>, place: Place) {
        let Some(pusher) = self.pushers.get_mut(place) else { return };
        if pusher.outbox.flush(cx, &mut pusher.wire).is_err() {
            // What the back end had sent before is still read, until its end is seen.
            pusher.outbox = Outbox::default();
            if pusher.eof || pusher.phase != Phase::Live {
                self.drop_pusher(place);
            }
            return;
        }
        if pusher.phase == Phase::HalfClose && pusher.outbox.buffer.is_empty() {
            pusher.phase = Phase::HalfClosed;
            if pusher.eof || pusher.wire.end(cx).is_err() {
                self.pushers.remove(place);
            }
        }
    }

    // All.

    /// Writes to every socket that has something to write.
    pub(super) fn flush(&mut self, cx: &mut Context<'_>) {
        for place in self.clients.places() {
            self.flush_client(cx, place);
        }
        for place in self.pushers.places() {
            self.flush_pusher(cx, place);
        }
    }

    /// Drops the sockets whose time to linger is over.
    pub(super) fn end_lingering(&mut self) {
        let now = self.now;
        for place in self.clients.places() {
            let client = self.clients.get_mut(place);
            if client.is_some_and(|client| client.until.is_some_and(|until| until <= now)) {
                self.clients.remove(place);
            }
        }
        for place in self.pushers.places() {
            let pusher = self.pushers.get_mut(place);
            if pusher.is_some_and(|pusher| pusher.until.is_some_and(|until| until <= now)) {
                self.pushers.remove(place);
            }
        }
    }

    /// When the first lingering ends.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        let clients = self.clients.iter().filter_map(|client| client.until);
        clients.chain(self.pushers.iter().filter_map(|pusher| pusher.until)).min()
    }
}

enum Received {
    Bytes(Vec<u8>),
    Eof,
    Failed(io::Error),
    Nothing,
}

/// Reads what has arrived, up to a bound. An end that is behind bytes is seen the next time.
fn receive(cx: &mut Context<'_>, wire: &mut Wire) -> Received {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4 << 10];
    loop {
        match wire.poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(0)) if bytes.is_empty() => return Received::Eof,
            Poll::Ready(Err(error)) if bytes.is_empty() => return Received::Failed(error),
            Poll::Ready(Ok(0) | Err(_)) => {
                // Neither goes away by being seen.
                cx.waker().wake_by_ref();
                return Received::Bytes(bytes);
            }
            Poll::Ready(Ok(size)) => {
                bytes.extend_from_slice(&buffer[..size]);
                if bytes.len() >= READ {
                    cx.waker().wake_by_ref();
                    return Received::Bytes(bytes);
                }
            }
            Poll::Pending if bytes.is_empty() => return Received::Nothing,
            Poll::Pending => return Received::Bytes(bytes),
        }
    }
}
