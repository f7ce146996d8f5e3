//! What the operations of a schedule do.

#![allow(clippy::wildcard_enum_match_arm, reason = "each match picks out what it is about")]

use super::{Happening, Run};
use crate::schedule::{Actor, BadLine, Delivered, Direction, OpKind, Question};
use bytes::Bytes;
use steadfast_core::event::{CloseCause, ConnEvent, Event, PusherEvent};
use steadfast_core::id::{ConnId, RequestId};
use steadfast_core::link::legacy::LinkEvent;
use steadfast_core::operator::{OperatorAnswer, OperatorRequest};

impl Run<'_> {
    /// Does what the schedule says.
    pub(super) fn perform(&mut self, index: usize) {
        let op = self.schedule.ops[index].clone();
        let traced = self.watch.traced.is_some();
        if traced && !matches!(op.kind, OpKind::Push(_) | OpKind::Request(..)) {
            self.remark(&format!("{:?}: {:?}", op.actor, op.kind));
        }
        match op.actor {
            Actor::Client(client) => self.perform_client(client, op.kind),
            Actor::BackEnd(back_end) => self.perform_back_end(back_end, op.kind),
            Actor::Gateway(_) | Actor::Store | Actor::Clock | Actor::Stranger | Actor::Operator => {
                self.perform_other(op.kind)
            }
        }
    }

    fn perform_client(&mut self, index: u32, kind: OpKind) {
        let now = self.now;
        let until = |millis: u64| now + millis * 1_000;
        match kind {
            OpKind::Start => self.start(index),
            OpKind::Leave(millis) => self.leave(index, millis),
            OpKind::Vanish(millis) => self.vanish(index, millis),
            OpKind::Reset => {
                if self.clients[index as usize].socket.is_some() {
                    self.note_storm();
                }
                self.reset(index);
            }
            OpKind::Freeze(millis) => {
                self.ail(index);
                if self.clients[index as usize].socket.is_some() {
                    self.deliver(Delivered::Froze);
                }
                self.clients[index as usize].frozen_until = until(millis);
                self.note(millis * 1_000, Happening::Thaw(index));
            }
            OpKind::IgnorePings(millis) => {
                self.ail(index);
                self.clients[index as usize].ignores_until = until(millis);
            }
            OpKind::ReadSlowly(millis) => {
                self.ail(index);
                self.clients[index as usize].slow_until = until(millis);
            }
            OpKind::Cut(direction, millis) => self.cut(index, direction, millis),
            OpKind::Hold(millis) => {
                self.ail(index);
                self.clients[index as usize].held_until = until(millis);
            }
            OpKind::StrayPong(number) => self.stray_pong(index, number),
            OpKind::Repeat => {
                let first = self.schedule.world.link(index).key.text().clone();
                self.say(index, ConnEvent::TextReceived(first));
            }
            OpKind::Change => self.change_context(index),
            OpKind::Upload(number) => {
                let text = self.schedule.world.upload(index, number);
                self.say(index, ConnEvent::TextReceived(text.into()));
            }
            OpKind::Pose(key) => {
                let first = self.schedule.world.keys[key as usize].first.as_str();
                if self.clients[index as usize].peer.is_connected() {
                    self.deliver(Delivered::Posed);
                }
                self.say(index, ConnEvent::TextReceived(first.into()));
            }
            OpKind::Chat => self.say(index, ConnEvent::TextReceived("how are you?".into())),
            OpKind::Binary => {
                let data = Bytes::from_static(&[0xff, 0xfe, 0x00]);
                self.say(index, ConnEvent::BinaryReceived(data));
            }
            other => unreachable!("{other:?} is nothing that a client does"),
        }
    }

    fn note_storm(&mut self) {
        if self.resets.0 != self.now {
            self.resets = (self.now, 0);
        }
        self.resets.1 += 1;
        if self.resets.1 == 4 {
            self.deliver(Delivered::Stormed);
        }
    }

    /// The client's application says something beside its heartbeats, when it is connected.
    fn say(&mut self, index: u32, event: ConnEvent) {
        let client = &self.clients[index as usize];
        if client.peer.is_connected() && client.frozen_until <= self.now {
            self.send_up(index, event);
        }
    }

    fn stray_pong(&mut self, index: u32, number: u64) {
        let answered = self.clients[index as usize].answered;
        let counter = match number % 3 {
            0 => None,
            // One that it has answered already.
            1 => Some(answered.saturating_sub(number % 2)),
            _ => Some(answered + 1_000 + number),
        };
        self.deliver(Delivered::StrayPonged);
        let linked = self.clients[index as usize].peer.linked();
        if let Some(ack) = linked.and_then(|linked| linked.stray_ack(number)) {
            return self.say(index, ConnEvent::TextReceived(ack));
        }
        self.say(index, ConnEvent::PongReceived(counter));
    }

    fn leave(&mut self, index: u32, millis: u64) {
        if self.clients[index as usize].socket.is_some() {
            self.deliver(Delivered::Left);
        }
        self.link(index, LinkEvent::Stopped);
        self.start_later(index, millis);
    }

    fn start_later(&mut self, index: u32, millis: u64) {
        self.clients[index as usize].started = false;
        self.note(millis * 1_000, Happening::Start(index));
    }

    /// Its machine is off, and the gateway hears nothing of it.
    fn vanish(&mut self, index: u32, millis: u64) {
        let id = self.clients[index as usize].socket;
        if let Some(socket) = id.and_then(|id| self.sockets.get(id)) {
            socket.severed_up = true;
            socket.severed_down = true;
            socket.half_open = true;
            self.deliver(Delivered::Vanished);
        }
        self.lose_process(index);
        self.link(index, LinkEvent::Stopped);
        self.start_later(index, millis);
    }

    /// Its network loses everything: the connection does not survive that.
    fn cut(&mut self, index: u32, direction: Direction, millis: u64) {
        self.ail(index);
        let until = self.now + millis * 1_000;
        let client = &mut self.clients[index as usize];
        let (up, down) = match direction {
            Direction::Both => (true, true),
            Direction::ToGateway => (true, false),
            Direction::ToClient => (false, true),
        };
        if up {
            client.cut_up_until = until;
        }
        if down {
            client.cut_down_until = until;
        }
        let Some(id) = client.socket else { return };
        if let Some(socket) = self.sockets.get(id) {
            socket.severed_up |= up;
            socket.severed_down |= down;
        }
        self.note(millis * 1_000, Happening::CutEnds(index, id));
    }

    /// A network works again; what was lost of a connection ends it.
    pub(super) fn end_cut(&mut self, index: u32, id: ConnId) {
        if self.sockets.get(id).is_some_and(|socket| socket.open && socket.is_severed()) {
            self.end_connection(index, id);
        }
    }

    /// Both ends of a connection are told that it is reset.
    pub(super) fn end_connection(&mut self, index: u32, id: ConnId) {
        self.reset_at_gateway(id);
        if self.clients[index as usize].socket == Some(id) {
            self.forget_socket(index);
            self.lose_connection(index, None);
        }
    }

    /// The client goes on, and reads what has come meanwhile.
    pub(super) fn thaw(&mut self, index: u32) {
        if self.clients[index as usize].frozen_until > self.now {
            return;
        }
        let unread = std::mem::take(&mut self.clients[index as usize].unread);
        for (attempt, event) in unread {
            self.arrive_at_client(index, attempt, event);
        }
        self.link(index, LinkEvent::DeadlineReached);
    }

    fn perform_back_end(&mut self, index: u32, kind: OpKind) {
        match kind {
            OpKind::Push(push) => {
                let line = Bytes::from(push.payload(&self.schedule.world));
                self.send_line(index, PusherEvent::LineReceived(line));
            }
            OpKind::Request(push, name) => {
                let request = push.request(name, &self.schedule.world);
                self.send_line(index, PusherEvent::Requested(request));
            }
            OpKind::BadLine(line) => {
                self.deliver(Delivered::LineMalformed);
                let text = match line {
                    BadLine::Rubbish => "{rubbish".to_owned(),
                    BadLine::NoKey => r#"{"Data":1}"#.to_owned(),
                    BadLine::EmptyKey => r#"{"uid":" "}"#.to_owned(),
                    BadLine::LongKey => format!(r#"{{"uid":"{}"}}"#, "k".repeat(300)),
                    BadLine::TooLong => {
                        let bytes = self.config.max_push_line + 1;
                        return self.end_back_end(index, PusherEvent::LineTooLong { bytes });
                    }
                };
                self.send_line(index, PusherEvent::LineReceived(text.into()));
            }
            OpKind::Finish(unfinished) => {
                if unfinished > 0 {
                    self.deliver(Delivered::LineUnfinished);
                }
                self.end_back_end(index, PusherEvent::Finished { unfinished });
            }
            OpKind::Drop => self.end_back_end(index, PusherEvent::Closed),
            other => unreachable!("{other:?} is nothing that a back end does"),
        }
    }

    /// The back end sends no more on this connection; it opens another for what comes next.
    fn end_back_end(&mut self, index: u32, event: PusherEvent) {
        if self.back_ends[index as usize].id.is_some() {
            self.send_line(index, event);
        }
    }

    fn perform_other(&mut self, kind: OpKind) {
        match kind {
            OpKind::Trouble(trouble, millis) => {
                self.trouble = Some((trouble, self.now + millis * 1_000));
            }
            OpKind::Stall(millis) => self.stall(millis),
            OpKind::Crash { how, down, back } => self.crash(how, down, back),
            OpKind::Shutdown(down) => self.shutdown(down),
            OpKind::Leap(millis) => self.leap(millis),
            OpKind::Intrude(intrusion) => self.intrude(intrusion),
            OpKind::Ask(question, key) => self.ask(question, key),
            other => unreachable!("{other:?} is nothing that happens to a gateway"),
        }
    }

    /// An operator asks something, if there is somebody to ask.
    fn ask(&mut self, question: Question, key: u32) {
        if !self.host.is_open() {
            return;
        }
        let key = &self.schedule.world.keys[key as usize].text;
        self.request_of_operator(question.asked(key));
    }

    fn request_of_operator(&mut self, request: OperatorRequest) {
        self.asked += 1;
        self.arrive(Event::Operator(RequestId(self.asked), request));
    }

    /// An operator is told something. Who takes the device log has what is told of it drops it.
    pub(super) fn tell_operator(&mut self, answer: &OperatorAnswer) {
        if let OperatorAnswer::DeviceLog(entries) = answer
            && let Some(last) = entries.last()
        {
            let drop = OperatorRequest::DropDeviceLog { through: last.number, limit: 1_000 };
            self.request_of_operator(drop);
        }
    }

    /// A connection that is no client's.
    pub(super) fn close_stranger(&mut self, id: ConnId, after: u64, why: CloseCause) {
        self.note(after, Happening::ToGateway(id, ConnEvent::Closed(why)));
    }
}
