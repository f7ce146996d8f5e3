//! Clients of the link protocol: what their links order, and what their applications do.

use super::super::frames::Opcode;
use super::{Client, State};
use crate::linked::Linked;
use crate::oracle::Fact;
use crate::schedule::{Delivered, Push};
use steadfast_core::link::legacy::LinkEvent as TextEvent;
use steadfast_core::link::{LinkCommand, LinkEvent, Report};
use steadfast_core::time::{Span, Time};

/// How long the user of a client waits that was told not to come back.
const RESTART: Span = Span::from_secs(5);

impl Client {
    /// Its user wants it to be connected.
    pub(super) fn start(&mut self, now: Time) {
        self.restarts_at = None;
        if let Some(restored) = self.peer.linked().and_then(Linked::begin_again) {
            let fact = Fact::Reloaded { client: self.setup.number };
            self.around.watch.fact(now.since(Time::EPOCH), None, self.gateway, fact);
            self.tell_link(now, restored);
        }
        self.tell(now, TextEvent::Started);
    }

    /// Its process ends without a word: what is not in its storage is lost.
    pub(super) fn lose_process(&mut self) {
        if let Some(linked) = self.peer.linked() {
            linked.lose_process();
        }
    }

    /// The application changes its session's context, if it runs.
    pub(super) fn change(&mut self, now: Time) {
        if let Some(event) = self.peer.linked().and_then(Linked::change) {
            self.tell_link(now, event);
        }
    }

    /// Tells a link what a client of the other kind would be told.
    pub(super) fn tell_link_of(&mut self, now: Time, event: TextEvent) {
        if let Some(event) = self.peer.linked().and_then(|linked| linked.event(event)) {
            self.tell_link(now, event);
        }
    }

    pub(super) fn tell_link(&mut self, now: Time, event: LinkEvent) {
        let mut commands = Vec::new();
        let Some(linked) = self.peer.linked() else { return };
        linked.link.handle(now, event.clone(), &mut commands);
        let (elapsed, number) = (now.since(Time::EPOCH), self.setup.number);
        self.around.watch.link(elapsed, self.gateway, number, &event, &commands);
        for command in commands {
            if !self.obey(now, command) {
                return;
            }
        }
    }

    /// Does what the link orders. Says whether its process is still there.
    fn obey(&mut self, now: Time, command: LinkCommand) -> bool {
        match command {
            LinkCommand::Open { channel, .. } => {
                if let Some(linked) = self.peer.linked() {
                    linked.opens(channel);
                }
                self.dial();
            }
            LinkCommand::Send(_, text) => self.send_text(now, &text),
            LinkCommand::Close(_) => {
                self.ail(now);
                self.send(Opcode::Close, &1000_u16.to_be_bytes());
                self.flush_once();
                self.state = State::Away;
            }
            LinkCommand::Deliver { data, .. } => return self.hand_over(now, &data),
            LinkCommand::Save(save) => {
                if let Some(linked) = self.peer.linked() {
                    linked.save(save);
                }
            }
            LinkCommand::Report(Report::Refused { .. }) => self.restarts_at = Some(now + RESTART),
            LinkCommand::StateChanged { .. } | LinkCommand::Report(_) => {}
        }
        true
    }

    /// A message reaches the application.
    fn hand_over(&mut self, now: Time, data: &str) -> bool {
        let State::Open(socket) = &self.state else { return true };
        let (number, gateway) = (socket.number, socket.gateway);
        let payload = bytes::Bytes::copy_from_slice(data.as_bytes());
        let poisoned = Push::is_poison(&payload);
        let fact = Fact::Received { client: self.setup.number, payload };
        self.around.watch.fact(now.since(Time::EPOCH), None, gateway, fact);
        self.around.ends.received(&self.setup, &self.poses, number, data);
        if poisoned {
            self.around.delivered.count(Delivered::Poisoned);
            self.lose_process();
            self.lose(now, "dies of it");
            self.start(now);
        }
        !poisoned
    }
}
