//! What is judged of links: what they order, and what they hand to their applications.

use super::{Judge, Oracle};
use crate::schedule::Push;
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::dialect::link::{Advice, GatewayFrame, advice};
use steadfast_core::id::{MessageId, PusherId};
use steadfast_core::link::{ChannelId, LinkCommand, LinkEvent, LinkState, Report, Save, Transport};
use steadfast_core::store::Session;
use steadfast_core::time::Span;

/// No link retries sooner than this.
const LEAST_DELAY: Span = Span::from_secs(1);

/// One client of the link protocol.
#[derive(Debug, Default)]
pub(super) struct LinkClient {
    /// The channels that it has or opens, and where to.
    live: BTreeMap<ChannelId, (ByteString, Transport)>,
    wait: Wait,
    /// What its application has had.
    had: BTreeSet<MessageId>,
    /// The newest push of each back end that its application has had.
    newest: BTreeMap<(u32, PusherId), u64>,
}

/// When a link may open a channel.
#[derive(Clone, Copy, Debug, Default)]
enum Wait {
    /// It is not started.
    #[default]
    Stopped,
    /// Now: it was started.
    Over,
    /// It has said for how long it waits.
    Until(Span),
    /// It has lost a channel, and has to say for how long it waits.
    Owed,
}

impl Judge {
    /// A link was told an event, and ordered this.
    pub fn link(
        &mut self,
        elapsed: Span,
        client: u32,
        event: &LinkEvent,
        commands: &[LinkCommand],
    ) {
        self.now.elapsed = elapsed;
        let stop = self.on_link_event(client, event);
        for command in commands {
            self.on_link_command(client, stop, command);
        }
        let disconnects = |command: &LinkCommand| {
            matches!(command, LinkCommand::StateChanged { new: LinkState::Disconnected, .. })
        };
        let refused = stop && !matches!(event, LinkEvent::Stopped);
        self.demand(Oracle::Link, !refused || commands.iter().any(disconnects), || {
            format!("client {client} was told not to come back, and goes on: {event:?}")
        });
    }

    /// The process of a client is another one: it has no channels, and its delays start over.
    pub(super) fn on_reloaded(&mut self, client: u32) {
        let client = self.links.entry(client).or_default();
        client.live.clear();
        client.wait = Wait::Stopped;
    }

    /// Whether the event says that the link is to stop.
    fn on_link_event(&mut self, client: u32, event: &LinkEvent) -> bool {
        let link = self.links.entry(client).or_default();
        match event {
            LinkEvent::Started => {
                if let Wait::Stopped = link.wait {
                    link.wait = Wait::Over;
                }
                false
            }
            LinkEvent::Stopped => true,
            LinkEvent::Failed(channel) => link.lost(*channel, false),
            LinkEvent::Closed { channel, code } => {
                link.lost(*channel, advice(*code) == Advice::Stop)
            }
            LinkEvent::TextReceived(channel, text) if link.live.contains_key(channel) => {
                let error = text.starts_with(r#"{"type":"error""#);
                let code = error.then(|| GatewayFrame::parse(text)).and_then(Result::ok);
                matches!(code, Some(GatewayFrame::Error { code, .. })
                    if advice(Some(code)) == Advice::Stop)
            }
            LinkEvent::TextReceived(..)
            | LinkEvent::Restored(_)
            | LinkEvent::Opened(_)
            | LinkEvent::OpRequested(_)
            | LinkEvent::Hinted(_)
            | LinkEvent::DeadlineReached => false,
        }
    }

    fn on_link_command(&mut self, client: u32, stop: bool, command: &LinkCommand) {
        match command {
            LinkCommand::Open { channel, url, by } => self.on_open(client, *channel, url, *by),
            LinkCommand::Close(channel) => {
                let link = self.links.entry(client).or_default();
                link.lost(*channel, stop);
            }
            LinkCommand::Send(channel, text) => {
                let link = &self.links[&client];
                let live = link.live.contains_key(channel);
                let acked = acknowledged(text);
                let had = acked.is_none_or(|id| link.had.contains(&id));
                self.demand(Oracle::Link, live, || {
                    format!("client {client} writes to {channel:?}, which it does not have")
                });
                self.demand(Oracle::Confirmation, had, || {
                    format!("client {client} acknowledges what its application never had: {text}")
                });
            }
            LinkCommand::Deliver { id, data, .. } => self.on_deliver(client, id, data),
            LinkCommand::StateChanged { new: LinkState::Disconnected, .. } => {
                self.links.entry(client).or_default().wait = Wait::Stopped;
                self.demand(Oracle::Link, stop, || {
                    format!("client {client} gives up, and nobody told it to")
                });
            }
            LinkCommand::Report(Report::RetryIn(delay)) => {
                let until = self.now.elapsed + *delay;
                self.links.entry(client).or_default().wait = Wait::Until(until);
                self.demand(Oracle::Link, *delay >= LEAST_DELAY, || {
                    format!("client {client} comes back after {delay}")
                });
            }
            LinkCommand::Report(Report::OpRefused | Report::GaveUp) => {
                self.blame(Oracle::Link, format!("client {client} has no reason for {command:?}"));
            }
            LinkCommand::Report(
                Report::Welcomed { .. }
                | Report::OpsConfirmed { .. }
                | Report::Suspect
                | Report::GatewayError { .. }
                | Report::Refused { .. },
            )
            | LinkCommand::Save(
                Save::Session(_) | Save::Seen(_) | Save::Op(_) | Save::OpsDone { .. },
            )
            | LinkCommand::StateChanged { .. } => {}
        }
    }

    /// Never two live channels to one endpoint, and none sooner than the delay that was stated.
    fn on_open(&mut self, client: u32, channel: ChannelId, url: &ByteString, by: Transport) {
        let elapsed = self.now.elapsed;
        let link = self.links.entry(client).or_default();
        let early = match link.wait {
            Wait::Over => None,
            Wait::Until(until) if elapsed >= until => None,
            Wait::Until(until) => Some(format!("{} too soon", until - elapsed)),
            Wait::Stopped => Some("and is not started".to_owned()),
            Wait::Owed => Some("and has said no delay".to_owned()),
        };
        link.wait = Wait::Owed;
        let other = link.live.iter().find(|(_, to)| **to == (url.clone(), by)).map(|(id, _)| *id);
        link.live.insert(channel, (url.clone(), by));
        if let Some(other) = other {
            let text = format!("client {client} opens {channel:?} beside {other:?} to {url}");
            self.blame(Oracle::Link, text);
        }
        if let Some(early) = early {
            self.blame(Oracle::Link, format!("client {client} opens {channel:?} {early}"));
        }
    }

    /// An application has each message once, in order, and none that is another key's.
    fn on_deliver(&mut self, client: u32, id: &str, data: &ByteString) {
        let known = MessageId::parse(id).and_then(|id| Some((id, self.messages.get(&id)?)));
        let Some((id, message)) = known else {
            return self.blame(Oracle::CrossTalk, format!("client {client} has {id}: no message"));
        };
        let (meant, serial) = (message.key, message.content);
        let key = self.world.clients[client as usize].key;
        self.demand(Oracle::CrossTalk, key == meant, || {
            format!("client {client} of key {key} has {id}, which is for key {meant}")
        });
        let same = Push::serial_of(data.as_bytes()) == Some(serial);
        self.demand(Oracle::Protocol, same, || format!("client {client} has {id} as {data}"));
        let content = &self.contents[&serial];
        let place = self.place(content);
        let link = self.links.entry(client).or_default();
        let twice = !link.had.insert(id);
        let late = place.is_some_and(|(pusher, order)| {
            let newest = link.newest.entry(pusher).or_default();
            let late = *newest > order;
            *newest = order.max(*newest);
            late
        });
        self.demand(Oracle::Once, !twice, || {
            format!("client {client} has {id} (#{serial}) for the second time")
        });
        self.demand(Oracle::Order, !late, || {
            format!("client {client} has #{serial} after one that was pushed later")
        });
    }

    /// Everything works, and this is what a link and the store have in the end.
    pub fn link_at_rest(
        &mut self,
        client: u32,
        waiting: usize,
        last_op: u64,
        kept: Option<&Session>,
    ) {
        self.demand(Oracle::Session, waiting == 0, || {
            format!("client {client} has {waiting} ops that were never confirmed")
        });
        // One that has expired is in use, and kept anew with its client's next frame.
        let Some(session) = kept else { return };
        let applied = session.applied;
        self.demand(Oracle::Session, applied == last_op, || {
            format!("client {client} has asked for {last_op} ops, and its session has {applied}")
        });
        self.judge_kept(session);
    }
}

impl LinkClient {
    /// A channel is gone. Gives back whether that is for good, if it was there.
    fn lost(&mut self, channel: ChannelId, stop: bool) -> bool {
        if self.live.remove(&channel).is_none() {
            return false;
        }
        self.wait = Wait::Owed;
        stop
    }
}

/// Which message a frame of a client acknowledges.
fn acknowledged(text: &str) -> Option<MessageId> {
    let rest = text.strip_prefix(r#"{"type":"ack","id":""#)?;
    MessageId::parse(rest.strip_suffix(r#""}"#)?)
}
