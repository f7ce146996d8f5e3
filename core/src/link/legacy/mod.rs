//! The client of the legacy text protocol: a connection that is kept open, or opened again, for one
//! key, which is the first message on it.
//!
//! It exists so that the clients of the simulation and `steadfast listen` behave as the existing
//! ones should: they reconnect with the delays of every link, and notice a dead connection.
//!
//! - Events in: [`LinkEvent`], facts about the one connection that its caller holds for it.
//! - Commands out: [`LinkCommand`].
//! - Invariants: there is at most one connection; a retry never comes sooner than its delay; the
//!   delays start over only after a connection has stood for `stable_after`.
//! - Not here: the link protocol, whose client is [`link::Link`](crate::link::Link).

mod heartbeat;
mod state;

pub use state::LinkState;

use super::backoff::{Backoff, Delays};
use crate::id::Key;
use crate::time::{Span, Time};
use bytestring::ByteString;
use heartbeat::{Heartbeat, Tick};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The settings of one link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// The key to bind: the first message on every connection.
    pub key: Key,
    /// How often a heartbeat is sent. Default 5 s: legacy gateways cut a silent all-digit key after
    /// 12 s.
    pub heartbeat_interval: Span,
    /// After this many unanswered heartbeats in a row the connection is opened anew. Default 2.
    pub missed_max: u32,
    /// A connection has to open within this time. Default 10 s.
    pub open_timeout: Span,
    /// The delay before the first retry, and the least before any. Default 1 s.
    pub delay_min: Span,
    /// The longest delay, before its jitter. Default 30 s.
    pub delay_max: Span,
    /// Each delay is this many times the one before, up to the longest. Default 2.
    pub delay_factor: u32,
    /// How far a delay is spread to either side, in percent of itself. Default 30.
    pub jitter_percent: u32,
    /// The longest delay that a gateway may ask for; a longer one counts as this. Default 1 h.
    pub slot_max: Span,
    /// The delays start over once a connection has stood for this long. Default 5 s.
    pub stable_after: Span,
    /// How many retries in a row may fail before the link gives up. Default: any number.
    pub max_attempts: Option<u32>,
}

impl LinkConfig {
    /// The defaults, for this key.
    #[must_use]
    pub fn new(key: Key) -> Self {
        Self {
            key,
            heartbeat_interval: Span::from_secs(5),
            missed_max: 2,
            open_timeout: Span::from_secs(10),
            delay_min: Span::from_secs(1),
            delay_max: Span::from_secs(30),
            delay_factor: 2,
            jitter_percent: 30,
            slot_max: Span::from_secs(3600),
            stable_after: Span::from_secs(5),
            max_attempts: None,
        }
    }

    fn delays(&self) -> Delays {
        Delays {
            min: self.delay_min,
            max: self.delay_max,
            factor: self.delay_factor,
            jitter_percent: self.jitter_percent,
            max_attempts: self.max_attempts,
        }
    }
}

/// A fact that the link is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The application wants to be connected.
    Started,
    /// The connection that was asked for is open: the WebSocket upgrade succeeded.
    Opened,
    /// A text message arrived.
    TextReceived(ByteString),
    /// A pong arrived.
    PongReceived,
    /// The gateway is about to end the connection and asks for the next attempt after this time,
    /// a slot that it gives to this client alone. Instead of the next delay, once.
    RetryAdvised(Span),
    /// The open connection has ended. Not told after [`LinkCommand::Disconnect`].
    Closed,
    /// The connection that was asked for could not be opened.
    Failed,
    /// The time of [`Link::next_deadline`] has come.
    DeadlineReached,
    /// The application wants to be disconnected.
    Stopped,
}

/// An order to the link's caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkCommand {
    /// Open a connection, and tell [`Opened`](LinkEvent::Opened) or [`Failed`](LinkEvent::Failed).
    Connect,
    /// Send a text message: the key, or a heartbeat.
    Send(ByteString),
    /// Send a WebSocket ping.
    Ping,
    /// Hand a message to the application.
    Deliver(ByteString),
    /// End the connection, or the attempt at one; nothing more is told about it.
    Disconnect,
    /// Tell the application that the state is another now.
    StateChanged {
        /// What it was.
        old: LinkState,
        /// What it is.
        new: LinkState,
    },
    /// Tell the application that no further retry is made.
    GaveUp,
}

/// A connection that is kept.
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    state: LinkState,
    /// When the state's own deadline is: the attempt's or the delay's end.
    due: Option<Time>,
    /// When the connection will have stood for long enough.
    stable_at: Option<Time>,
    /// When the gateway asked the next attempt to be made.
    slot: Option<Time>,
    heartbeat: Heartbeat,
    backoff: Backoff,
    rng: ChaCha8Rng,
}

impl Link {
    /// A link that is not started. The seed decides its jitter.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        let heartbeat = Heartbeat::new(&config);
        let backoff = Backoff::new(config.delays());
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let state = LinkState::Disconnected;
        Self { config, state, due: None, stable_at: None, slot: None, heartbeat, backoff, rng }
    }

    /// Takes one event and appends the commands it causes. An event that makes no sense in the
    /// state, such as one about a connection that was just given up, causes none.
    pub fn handle(&mut self, now: Time, event: LinkEvent, commands: &mut Vec<LinkCommand>) {
        match event {
            LinkEvent::Started if self.state == LinkState::Disconnected => {
                self.backoff.reset();
                self.connect(now, commands);
            }
            LinkEvent::Opened if self.state == LinkState::Connecting => self.opened(now, commands),
            LinkEvent::Closed if self.state == LinkState::Connected => self.retry(now, commands),
            LinkEvent::Failed if self.state == LinkState::Connecting => self.retry(now, commands),
            LinkEvent::TextReceived(text) if self.state == LinkState::Connected => {
                if let Some(text) = self.heartbeat.text_received(text) {
                    commands.push(LinkCommand::Deliver(text));
                }
            }
            LinkEvent::PongReceived => self.heartbeat.pong_received(),
            LinkEvent::RetryAdvised(after) if self.state == LinkState::Connected => {
                self.slot = Some(now + after.min(self.config.slot_max));
            }
            LinkEvent::DeadlineReached => self.deadline_reached(now, commands),
            LinkEvent::Stopped => self.stop(commands),
            LinkEvent::Started
            | LinkEvent::Opened
            | LinkEvent::Closed
            | LinkEvent::Failed
            | LinkEvent::TextReceived(_)
            | LinkEvent::RetryAdvised(_) => {}
        }
    }

    /// When [`LinkEvent::DeadlineReached`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        [self.due, self.stable_at, self.heartbeat.due()].into_iter().flatten().min()
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    fn connect(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        self.enter(LinkState::Connecting, commands);
        self.due = Some(now + self.config.open_timeout);
        commands.push(LinkCommand::Connect);
    }

    fn opened(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        self.enter(LinkState::Connected, commands);
        self.stable_at = Some(now + self.config.stable_after);
        self.heartbeat.start(now);
        commands.push(LinkCommand::Send(self.config.key.text().clone()));
    }

    /// The connection is gone: waits for the next attempt, or gives up.
    fn retry(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if let Some((shortest, longest)) = self.backoff.next_bounds() {
            let delay = self.rng.random_range(shortest.as_micros()..=longest.as_micros());
            let delay = Span::from_micros(delay);
            // A slot that has passed says nothing any more.
            let slot = self.slot.filter(|slot| *slot > now);
            self.enter(LinkState::Reconnecting, commands);
            // A slot is no way around the least delay.
            self.due = Some(slot.map_or(now + delay, |at| at.max(now + self.config.delay_min)));
        } else {
            self.enter(LinkState::Disconnected, commands);
            commands.push(LinkCommand::GaveUp);
        }
    }

    fn deadline_reached(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let is_due = self.due.is_some_and(|due| due <= now);
        match self.state {
            LinkState::Disconnected => {}
            LinkState::Reconnecting if is_due => self.connect(now, commands),
            LinkState::Connecting if is_due => {
                commands.push(LinkCommand::Disconnect);
                self.retry(now, commands);
            }
            LinkState::Reconnecting | LinkState::Connecting => {}
            LinkState::Connected => self.connection_deadline(now, commands),
        }
    }

    fn connection_deadline(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if self.stable_at.is_some_and(|at| at <= now) {
            self.stable_at = None;
            self.backoff.reset();
        }
        match self.heartbeat.tick(now) {
            Tick::NotDue => {}
            Tick::SendKey => commands.push(LinkCommand::Send(self.config.key.text().clone())),
            Tick::Ping => commands.push(LinkCommand::Ping),
            Tick::Dead => {
                commands.push(LinkCommand::Disconnect);
                self.retry(now, commands);
            }
        }
    }

    fn stop(&mut self, commands: &mut Vec<LinkCommand>) {
        match self.state {
            LinkState::Disconnected => return,
            LinkState::Connecting | LinkState::Connected => commands.push(LinkCommand::Disconnect),
            LinkState::Reconnecting => {}
        }
        self.enter(LinkState::Disconnected, commands);
    }

    /// Changes the state; nothing of the old one is due any more.
    fn enter(&mut self, new: LinkState, commands: &mut Vec<LinkCommand>) {
        let old = std::mem::replace(&mut self.state, new);
        self.due = None;
        self.stable_at = None;
        self.slot = None;
        self.heartbeat.stop();
        commands.push(LinkCommand::StateChanged { old, new });
    }
}

#[cfg(test)]
mod tests;
