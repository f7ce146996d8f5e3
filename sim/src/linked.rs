//! The machines that clients of a world run on, and what applications of links keep.

use bytestring::ByteString;
use std::cell::RefCell;
use std::rc::Rc;
use steadfast_core::event::Protocol;
use steadfast_core::link::legacy::{self, LinkEvent as TextEvent};
use steadfast_core::link::{ChannelId, Link, LinkConfig, LinkEvent, LinkState, Save, Saved};
use steadfast_core::time::Time;

/// The machine that a client runs on.
#[derive(Debug)]
pub(crate) enum Peer {
    /// It speaks text, as clients always have.
    Text(Box<legacy::Link>),
    /// It speaks the link protocol.
    Link(Box<Linked>),
}

impl Peer {
    /// When its next deadline is.
    pub(crate) fn next_deadline(&self) -> Option<Time> {
        match self {
            Self::Text(link) => link.next_deadline(),
            Self::Link(linked) => linked.link.next_deadline(),
        }
    }

    /// Whether it is connected.
    pub(crate) fn is_connected(&self) -> bool {
        match self {
            Self::Text(link) => link.state() == legacy::LinkState::Connected,
            Self::Link(linked) => linked.link.state() == LinkState::Connected,
        }
    }

    /// What it asks for when it connects.
    pub(crate) fn protocol(&self) -> Protocol {
        match self {
            Self::Text(_) => Protocol::Legacy,
            Self::Link(_) => Protocol::Link,
        }
    }

    /// Its link, if it speaks the link protocol.
    pub(crate) fn linked(&mut self) -> Option<&mut Linked> {
        match self {
            Self::Text(_) => None,
            Self::Link(linked) => Some(linked),
        }
    }
}

/// The storage of an application: it outlives the process.
pub(crate) type Storage = Rc<RefCell<Saved>>;

/// A link, and the storage of its application.
#[derive(Debug)]
pub(crate) struct Linked {
    pub(crate) link: Link,
    pub(crate) saved: Storage,
    config: LinkConfig,
    /// The channel that was opened last.
    channel: ChannelId,
    seed: u64,
    /// How often the application was started with nothing but its storage.
    page: u32,
    /// Whether its process is gone: only its storage is left.
    gone: bool,
    /// How many ops it asked for.
    ops: u64,
}

impl Linked {
    pub(crate) fn new(config: LinkConfig, seed: u64, saved: Storage) -> Self {
        Self {
            link: Link::new(config.clone(), seed),
            saved,
            config,
            channel: ChannelId(0),
            seed,
            page: 0,
            gone: false,
            ops: 0,
        }
    }

    /// Its process ends without a word: what is not in its storage is lost.
    pub(crate) fn lose_process(&mut self) {
        self.gone = true;
    }

    /// A process that was gone begins anew, and this is what it is told of its storage.
    pub(crate) fn begin_again(&mut self) -> Option<LinkEvent> {
        if !std::mem::take(&mut self.gone) {
            return None;
        }
        self.page += 1;
        self.link = Link::new(self.config.clone(), self.seed ^ (u64::from(self.page) << 48));
        Some(LinkEvent::Restored(self.saved.borrow().clone()))
    }

    pub(crate) fn opens(&mut self, channel: ChannelId) {
        self.channel = channel;
    }

    /// What a link is told where a client of the other kind is told this.
    pub(crate) fn event(&self, event: TextEvent) -> Option<LinkEvent> {
        let channel = self.channel;
        Some(match event {
            TextEvent::Started => LinkEvent::Started,
            TextEvent::Opened => LinkEvent::Opened(channel),
            TextEvent::Failed => LinkEvent::Failed(channel),
            TextEvent::TextReceived(text) => LinkEvent::TextReceived(channel, text),
            TextEvent::Closed => LinkEvent::Closed { channel, code: None },
            TextEvent::DeadlineReached => LinkEvent::DeadlineReached,
            TextEvent::Stopped => LinkEvent::Stopped,
            TextEvent::PongReceived | TextEvent::RetryAdvised(_) => return None,
        })
    }

    /// The connection, or the attempt at one, has ended with this code.
    pub(crate) fn ended(&self, code: Option<u16>) -> LinkEvent {
        let channel = self.channel;
        if self.link.state() == LinkState::Connecting && code.is_none() {
            LinkEvent::Failed(channel)
        } else {
            LinkEvent::Closed { channel, code }
        }
    }

    /// The application changes its session's context, unless its process is gone.
    pub(crate) fn change(&mut self) -> Option<LinkEvent> {
        if self.gone {
            return None;
        }
        self.ops += 1;
        let n = self.ops;
        // What one op sets the next ones set again, or take away: none can be done twice unnoticed.
        let patch = match n % 5 {
            0 => format!(r#"{{"n":{n},"x{}":null}}"#, n % 3),
            part => format!(r#"{{"n":{n},"x{}":{{"of":{part}}}}}"#, n % 3),
        };
        Some(LinkEvent::OpRequested(patch.into()))
    }

    /// An acknowledgement that nobody waits for: of nothing, or once more.
    pub(crate) fn stray_ack(&self, number: u64) -> Option<ByteString> {
        if number.is_multiple_of(3) {
            return None;
        }
        let seen = self.saved.borrow().seen.last().cloned();
        let id = seen.filter(|_| number % 3 == 1).unwrap_or_else(|| "1-999999".into());
        Some(format!(r#"{{"type":"ack","id":"{id}"}}"#).into())
    }

    /// Writes to the storage.
    pub(crate) fn save(&self, save: Save) {
        self.saved.borrow_mut().apply(save);
    }
}
