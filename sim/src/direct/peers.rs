//! Clients and back ends: what they send, what reaches them, and what their networks do to it.

use super::socket::Socket;
use super::{Happening, NODE, Run};
use crate::linked::Peer;
use crate::oracle::Fact;
use crate::schedule::{Delivered, Pongs, Push};
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::VecDeque;
use steadfast_core::event::{CloseCause, ConnEvent, Event, Protocol, PusherEvent};
use steadfast_core::id::{ConnId, PusherId};
use steadfast_core::link::legacy::{LinkCommand, LinkEvent, LinkState};

/// Something that reaches a client.
#[derive(Clone, Debug)]
pub(super) enum ClientEvent {
    /// The upgrade succeeded.
    Opened,
    /// A message.
    Text(Bytes),
    /// A ping of the gateway's.
    Ping(u64),
    /// A pong of the gateway's.
    Pong,
    /// The connection has ended, with this code if a close frame came.
    Closed(Option<u16>),
    /// Nobody listens there.
    Refused,
}

/// One back end.
#[derive(Debug, Default)]
pub(super) struct BackEnd {
    /// The connection that it sends on.
    pub(super) id: Option<PusherId>,
    /// How many connections it had.
    count: u32,
    /// When the last line it sent arrives.
    pub(super) last: u64,
}

/// A back end's connection, as the gateway reads from it.
#[derive(Debug, Default)]
pub(super) struct Wire {
    pub(super) paused: bool,
    /// What was sent and not read.
    pub(super) backlog: VecDeque<PusherEvent>,
}

impl Wire {
    /// Whether what was sent is told, when the gateway takes no lines or does: the end always is.
    pub(super) fn is_read(&self, deaf: bool) -> bool {
        !self.paused && (!deaf || matches!(self.backlog.front(), Some(PusherEvent::Closed)))
    }

    /// Whether what has just come is told at once, since nothing waits before it.
    pub(super) fn is_read_up_to(&self, last: &PusherEvent, deaf: bool) -> bool {
        let told = !deaf || matches!(last, PusherEvent::Closed);
        told && !self.paused && self.backlog.is_empty()
    }
}

impl Run<'_> {
    /// The back end sends something, on a connection that it opens when it has none.
    pub(super) fn send_line(&mut self, index: u32, event: PusherEvent) {
        if !self.host.is_open() {
            return;
        }
        let back_ends = self.schedule.world.back_ends;
        let back_end = &mut self.back_ends[index as usize];
        let at = (self.now + 300).max(back_end.last);
        back_end.last = at;
        let last_words = match event {
            PusherEvent::Closed
            | PusherEvent::Finished { .. }
            | PusherEvent::LineTooLong { .. } => true,
            PusherEvent::Opened | PusherEvent::LineReceived(_) | PusherEvent::Requested(_) => false,
        };
        let id = back_end.id.unwrap_or_else(|| {
            let id = PusherId { slot: index + back_ends * back_end.count, generation: 0 };
            back_end.count += 1;
            self.wires.insert(id, Wire::default());
            self.agenda.note(at, Happening::FromBackEnd(id, PusherEvent::Opened));
            id
        });
        back_end.id = Some(id).filter(|_| !last_words);
        self.agenda.note(at, Happening::FromBackEnd(id, event));
    }

    pub(super) fn arrive_from_back_end(&mut self, id: PusherId, event: PusherEvent) {
        if self.wires.contains_key(&id) {
            self.arrive(Event::Pusher(id, event));
        }
    }

    /// A client starts: what it was before is forgotten.
    pub(super) fn start(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if !std::mem::replace(&mut client.started, true) {
            self.load_page(index);
            self.link(index, LinkEvent::Started);
        }
    }

    /// Tells a client's link something, and does what it orders.
    pub(super) fn link(&mut self, index: u32, event: LinkEvent) {
        let now = self.client_time();
        let Peer::Text(link) = &mut self.clients[index as usize].peer else {
            return self.tell_link_of(index, event);
        };
        let mut commands = std::mem::take(&mut self.link_commands);
        link.handle(now, event, &mut commands);
        for command in commands.drain(..) {
            match command {
                LinkCommand::Connect => self.dial(index),
                LinkCommand::Send(text) => self.send_up(index, ConnEvent::TextReceived(text)),
                LinkCommand::Ping => {
                    self.send_up(index, ConnEvent::PingReceived(Self::own_ping()));
                }
                LinkCommand::Disconnect => {
                    let cause = CloseCause::PeerClosed(Some(1_000));
                    self.send_up(index, ConnEvent::Closed(cause));
                    self.forget_socket(index);
                }
                LinkCommand::Deliver(_)
                | LinkCommand::StateChanged { .. }
                | LinkCommand::GaveUp => {}
            }
        }
        self.link_commands = commands;
        self.set_alarm(index);
    }

    /// The client asks for a connection.
    pub(super) fn dial(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        client.attempt += 1;
        client.socket = None;
        let (attempt, travel) = (client.attempt, client.travel());
        self.note(travel, Happening::Dial(index, attempt));
    }

    /// The client goes on without this connection, which the gateway may still have.
    pub(super) fn forget_socket(&mut self, index: u32) {
        self.ail(index);
        let client = &mut self.clients[index as usize];
        client.attempt += 1;
        client.answered = 0;
        if let Some(id) = client.socket.take()
            && let Some(socket) = self.sockets.get(id)
        {
            socket.half_open = true;
        }
    }

    pub(super) fn set_alarm(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        let Some(at) = client.peer.next_deadline().map(|at| at.as_micros()) else { return };
        let at = at.max(self.now);
        if client.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            client.wakes_at = Some(at);
            self.agenda.note(at, Happening::Wake(index));
        }
    }

    pub(super) fn wake(&mut self, index: u32) {
        let client = &mut self.clients[index as usize];
        if client.wakes_at != Some(self.now) {
            return;
        }
        client.wakes_at = None;
        if client.frozen_until > self.now {
            return;
        }
        if client.peer.next_deadline().is_some_and(|at| at.as_micros() <= self.now) {
            self.link(index, LinkEvent::DeadlineReached);
        } else {
            self.set_alarm(index);
        }
    }

    /// A client's request for a connection reaches the machine of the gateway, or does not.
    pub(super) fn accept(&mut self, index: u32, attempt: u32) {
        let client = &mut self.clients[index as usize];
        if client.attempt != attempt || client.cut_up_until.max(client.cut_down_until) > self.now {
            return;
        }
        if !self.host.is_open() {
            return self.reach_client(index, attempt, ClientEvent::Refused);
        }
        let (well, protocol) = (client.is_well(self.now), client.peer.protocol());
        let id = self.sockets.open(Some(index));
        self.clients[index as usize].socket = Some(id);
        self.arrive(Event::Connection(id, ConnEvent::Accepted));
        let upgraded = ConnEvent::Upgraded { target: "/".into(), protocol };
        self.arrive(Event::Connection(id, upgraded));
        if !well {
            self.ail(index);
        }
    }

    /// The judge is told what to think of a connection, as soon as the gateway has it.
    pub(super) fn vouch(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.get(id) else { return };
        if socket.client.is_some() && !socket.ailing && !socket.half_open {
            self.fact(Fact::Sound(NODE, id));
        }
    }

    /// Something goes wrong with the client's connection.
    pub(super) fn ail(&mut self, index: u32) {
        let Some(id) = self.clients[index as usize].socket else { return };
        if let Some(socket) = self.sockets.get(id) {
            socket.ailing = true;
            self.fact(Fact::Ailing(NODE, id));
        }
    }

    /// The client sends something on its connection.
    pub(super) fn send_up(&mut self, index: u32, event: ConnEvent) {
        let now = self.now;
        let client = &mut self.clients[index as usize];
        let Some(id) = client.socket else { return };
        let travel = client.travel();
        let held = client.held_until;
        let Some(socket) = self.sockets.get(id).filter(|socket| socket.open) else { return };
        let at = (now + travel).max(socket.last_up).max(held);
        socket.last_up = at;
        self.agenda.note(at, Happening::ToGateway(id, event));
    }

    pub(super) fn arrive_at_gateway(&mut self, id: ConnId, event: ConnEvent) {
        let Some(socket) = self.sockets.get(id).filter(|socket| socket.open) else { return };
        let reset = matches!(&event, ConnEvent::Closed(CloseCause::Failed(_)));
        if socket.severed_up && !reset && !matches!(event, ConnEvent::Drained) {
            return self.note_loss(id);
        }
        self.arrive(Event::Connection(id, event));
    }

    /// Something was lost on its way.
    fn note_loss(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.get(id) else { return };
        let one_way = socket.severed_up != socket.severed_down;
        if !socket.half_open {
            self.deliver(if one_way {
                Delivered::PartitionedOneWay
            } else {
                Delivered::Partitioned
            });
        }
    }

    /// The gateway sends something on a connection.
    pub(super) fn send_down(&mut self, id: ConnId, event: ClientEvent) {
        let Some(&mut Socket { client: Some(index), half_open, severed_down, .. }) =
            self.sockets.get(id)
        else {
            return;
        };
        let client = &self.clients[index as usize];
        if half_open {
            // A machine that is up again knows nothing of the connection, and says so.
            if client.started && client.cut_down_until <= self.now {
                self.reset_at_gateway(id);
            }
            return;
        }
        if severed_down {
            return self.note_loss(id);
        }
        if client.socket == Some(id) {
            let attempt = client.attempt;
            self.reach_client(index, attempt, event);
        }
    }

    /// The gateway is told that a connection was reset.
    pub(super) fn reset_at_gateway(&mut self, id: ConnId) {
        let cause = CloseCause::Failed("connection reset by peer".to_owned());
        self.note(500, Happening::ToGateway(id, ConnEvent::Closed(cause)));
    }

    pub(super) fn reach_client(&mut self, index: u32, attempt: u32, event: ClientEvent) {
        let now = self.now;
        let client = &mut self.clients[index as usize];
        let (travel, held, slow) = (client.travel(), client.held_until, client.slow_until);
        let mut at = (now + travel).max(held).max(slow);
        if let Some(socket) = client.socket.and_then(|id| self.sockets.get(id)) {
            at = at.max(socket.last_down);
            socket.last_down = at;
        }
        if held > now {
            self.deliver(Delivered::Held);
        }
        self.agenda.note(at, Happening::ToClient(index, attempt, event));
    }

    pub(super) fn arrive_at_client(&mut self, index: u32, attempt: u32, event: ClientEvent) {
        let client = &mut self.clients[index as usize];
        if client.attempt != attempt {
            return;
        }
        if client.frozen_until > self.now {
            return client.unread.push_back((attempt, event));
        }
        let severed = client.socket.and_then(|id| self.sockets.get(id));
        if severed.is_some_and(|socket| socket.severed_down)
            && !matches!(event, ClientEvent::Closed(_))
        {
            return;
        }
        match event {
            ClientEvent::Opened => self.link(index, LinkEvent::Opened),
            ClientEvent::Refused => self.link(index, LinkEvent::Failed),
            ClientEvent::Pong => self.link(index, LinkEvent::PongReceived),
            ClientEvent::Closed(code) => {
                self.forget_socket(index);
                self.lose_connection(index, code);
            }
            ClientEvent::Ping(counter) => self.answer_ping(index, counter),
            ClientEvent::Text(payload) => self.read(index, payload),
        }
    }

    /// Tells the link that its connection is gone, open or not yet.
    pub(super) fn lose_connection(&mut self, index: u32, code: Option<u16>) {
        let Peer::Text(link) = &self.clients[index as usize].peer else {
            return self.close_link(index, code);
        };
        let event = match link.state() {
            LinkState::Connecting => LinkEvent::Failed,
            LinkState::Connected | LinkState::Disconnected | LinkState::Reconnecting => {
                LinkEvent::Closed
            }
        };
        self.link(index, event);
    }

    fn answer_ping(&mut self, index: u32, counter: u64) {
        let client = &mut self.clients[index as usize];
        if client.pongs == Pongs::Never || client.ignores_until > self.now {
            return self.deliver(Delivered::PingIgnored);
        }
        client.answered = counter;
        self.send_up(index, ConnEvent::PongReceived(Some(counter)));
    }

    /// A message reaches the client's stack, and then its application.
    fn read(&mut self, index: u32, payload: Bytes) {
        if self.clients[index as usize].peer.protocol() == Protocol::Link {
            let text = ByteString::try_from(payload).expect("text is UTF-8");
            return self.link(index, LinkEvent::TextReceived(text));
        }
        if Push::is_poison(&payload) && !self.healed {
            self.fact(Fact::Received { client: index, payload });
            self.deliver(Delivered::Poisoned);
            return self.reset(index);
        }
        let text = ByteString::try_from(payload.clone()).expect("text is UTF-8");
        self.fact(Fact::Received { client: index, payload });
        self.link(index, LinkEvent::TextReceived(text));
    }

    /// The connection is reset, as both sides see.
    pub(super) fn reset(&mut self, index: u32) {
        let Some(id) = self.clients[index as usize].socket else { return };
        self.deliver(Delivered::ResetByPeer);
        self.forget_socket(index);
        self.reset_at_gateway(id);
        self.lose_connection(index, None);
    }
}
