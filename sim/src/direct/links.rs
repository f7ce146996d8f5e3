//! Clients of the link protocol: what their links order, and what their applications do.

use super::{Happening, LINK_RESTART, Run};
use crate::linked::{Linked, Peer};
use crate::oracle::Fact;
use crate::schedule::{Delivered, Push};
use bytes::Bytes;
use bytestring::ByteString;
use steadfast_core::event::{CloseCause, ConnEvent};
use steadfast_core::link::legacy::LinkEvent as TextEvent;
use steadfast_core::link::{LinkCommand, LinkEvent, LinkState, Report};

impl Run<'_> {
    fn linked(&mut self, index: u32) -> Option<&mut Linked> {
        self.clients[index as usize].peer.linked()
    }

    /// The client's process ends without a word: what is not in its storage is lost.
    pub(super) fn lose_process(&mut self, index: u32) {
        if let Some(linked) = self.linked(index) {
            linked.lose_process();
        }
    }

    /// A process that was gone begins anew, with what storage holds.
    pub(super) fn load_page(&mut self, index: u32) {
        if let Some(restored) = self.linked(index).and_then(Linked::begin_again) {
            self.fact(Fact::Reloaded { client: index });
            self.tell_link(index, restored);
        }
    }

    /// Tells a client of the link protocol what one of the other kind would be told.
    pub(super) fn tell_link_of(&mut self, index: u32, event: TextEvent) {
        if let Some(event) = self.linked(index).and_then(|linked| linked.event(event)) {
            self.tell_link(index, event);
        }
    }

    /// The connection has ended, with this code.
    pub(super) fn close_link(&mut self, index: u32, code: Option<u16>) {
        if let Some(event) = self.linked(index).map(|linked| linked.ended(code)) {
            self.tell_link(index, event);
        }
    }

    /// The application changes its session's context, if it runs.
    pub(super) fn change_context(&mut self, index: u32) {
        if self.clients[index as usize].frozen_until > self.now {
            return;
        }
        if let Some(event) = self.linked(index).and_then(Linked::change) {
            self.tell_link(index, event);
        }
    }

    fn tell_link(&mut self, index: u32, event: LinkEvent) {
        let now = self.client_time();
        let mut commands = Vec::new();
        let Some(linked) = self.linked(index) else { return };
        linked.link.handle(now, event.clone(), &mut commands);
        if self.watch.judged {
            self.judge.link(self.moment().elapsed, index, &event, &commands);
        }
        if self.watch.tallied {
            self.tally.link(&event, &commands);
        }
        for command in commands {
            if !self.obey_link(index, command) {
                break;
            }
        }
        self.set_alarm(index);
    }

    /// Does what a link orders. Says whether its process is still there.
    fn obey_link(&mut self, index: u32, command: LinkCommand) -> bool {
        match command {
            LinkCommand::Open { channel, .. } => {
                if let Some(linked) = self.linked(index) {
                    linked.opens(channel);
                }
                self.dial(index);
            }
            LinkCommand::Send(_, text) => self.send_up(index, ConnEvent::TextReceived(text)),
            LinkCommand::Close(_) => {
                let cause = CloseCause::PeerClosed(Some(1_000));
                self.send_up(index, ConnEvent::Closed(cause));
                self.forget_socket(index);
            }
            LinkCommand::Deliver { data, .. } => return self.hand_over(index, &data),
            LinkCommand::Save(save) => {
                if let Some(linked) = self.linked(index) {
                    linked.save(save);
                }
            }
            LinkCommand::Report(Report::Refused { .. }) => {
                // Its user tries again.
                self.clients[index as usize].started = false;
                self.note(LINK_RESTART, Happening::Start(index));
            }
            LinkCommand::StateChanged { .. } | LinkCommand::Report(_) => {}
        }
        true
    }

    /// A message reaches the application.
    fn hand_over(&mut self, index: u32, data: &ByteString) -> bool {
        let payload = Bytes::copy_from_slice(data.as_bytes());
        let poisoned = Push::is_poison(&payload) && !self.healed;
        self.fact(Fact::Received { client: index, payload });
        if poisoned {
            self.deliver(Delivered::Poisoned);
            self.lose_process(index);
            self.reset(index);
            self.load_page(index);
            self.tell_link(index, LinkEvent::Started);
        }
        !poisoned
    }

    /// Whether every link that is connected, or tries to be, knows that what it asked for is done.
    pub(super) fn has_confirmed_ops(&self) -> bool {
        self.clients.iter().all(|client| {
            let Peer::Link(linked) = &client.peer else { return true };
            linked.link.state() == LinkState::Disconnected || linked.saved.borrow().ops.is_empty()
        })
    }

    /// Once everything works a session has all that was asked for.
    pub(super) fn judge_links(&mut self) {
        let now = self.wall();
        for (client, index) in (0..).zip(0..self.clients.len()) {
            let Peer::Link(linked) = &self.clients[index].peer else { continue };
            if linked.link.state() != LinkState::Connected {
                continue;
            }
            let saved = linked.saved.borrow();
            let session = saved.session.clone();
            let kept = session.and_then(|id| self.disk.session(id, now));
            self.judge.link_at_rest(client, saved.ops.len(), saved.last_op, kept.as_ref());
        }
    }
}
