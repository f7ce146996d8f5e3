//! The client's half: one session with a gateway that is kept, over connections that come and go.
//!
//! It exists so that every client follows the same rules for reconnecting, for noticing a dead
//! connection, and for having each message exactly once, and so that these rules can be tested
//! without a socket. The JavaScript client (`shell/web/steadfast.js`) is this machine once more,
//! held to it by traces.
//!
//! - Events in: [`LinkEvent`], facts about the channels that its caller holds for it.
//! - Commands out: [`LinkCommand`].
//! - Invariants: the application has a message once, however often it comes; at most one channel is
//!   greeted or welcomed on each endpoint and transport; a retry never comes sooner than its delay,
//!   except the one attempt that a [`Hint`] asks for, which keeps the least delay; the delays start
//!   over only after a welcomed connection has stood for `stable_after`.
//! - Not here: sockets, requests and storage; the legacy text protocol, whose client is in
//!   [`legacy`].

mod attempt;
mod backoff;
mod breaker;
mod chance;
mod config;
mod event;
pub mod legacy;
mod ops;
mod pulse;
mod quality;
mod route;
mod seen;
mod session;
mod spare;
mod state;
mod statistics;

pub use backoff::Delays;
pub use config::{Fallback, LinkConfig, Standby};
pub use event::{ChannelId, Hint, LinkCommand, LinkEvent, Report, Save, Saved, Transport};
pub use ops::Op;
pub use state::LinkState;
pub use statistics::Statistics;

use crate::dialect::link::{Advice, ClientFrame, advice};
use crate::time::Time;
use attempt::Attempts;
use bytestring::ByteString;
use chance::Chance;
use ops::Ops;
use pulse::{Beat, Pulse};
use quality::Quality;
use route::Route;
use seen::Seen;
use spare::Spare;
use statistics::Tally;

/// A session that is kept.
#[derive(Clone, Debug)]
pub struct Link {
    config: LinkConfig,
    state: LinkState,
    chance: Chance,
    /// The channel in use, or the attempt at one.
    main: Option<Channel>,
    channels: u32,
    route: Route,
    attempts: Attempts,
    spare: Spare,
    /// The signs of life of a welcomed WebSocket.
    pulse: Option<Pulse>,
    quality: Quality,
    session: Option<ByteString>,
    seen: Seen,
    ops: Ops,
    tally: Tally,
}

/// One channel.
#[derive(Clone, Debug)]
struct Channel {
    id: ChannelId,
    url: ByteString,
    by: Transport,
    phase: Phase,
}

/// How far a channel has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is being opened.
    Opening,
    /// It is open and says nothing: a standby.
    Silent,
    /// `hello` was sent.
    Greeted,
    /// `welcome` has come.
    Welcomed,
}

impl Link {
    /// A link that is not started. The seed decides its jitter.
    ///
    /// # Panics
    ///
    /// If the settings name no endpoint.
    #[must_use]
    pub fn new(config: LinkConfig, seed: u64) -> Self {
        Self {
            state: LinkState::Disconnected,
            chance: Chance::new(seed),
            main: None,
            channels: 0,
            route: Route::new(&config),
            attempts: Attempts::new(config.delays),
            spare: Spare::new(config.probe_delays),
            pulse: None,
            quality: Quality::default(),
            session: None,
            seen: Seen::new(config.seen_max),
            ops: Ops::new(config.ops_max),
            tally: Tally::default(),
            config,
        }
    }

    /// Takes one event and appends the commands it causes. An event that makes no sense, such as one
    /// about a channel that was given up, causes none.
    pub fn handle(&mut self, now: Time, event: LinkEvent, commands: &mut Vec<LinkCommand>) {
        match event {
            LinkEvent::Restored(saved) => self.restored(saved),
            LinkEvent::Started => self.started(now, commands),
            LinkEvent::Opened(id) if self.is_main(id) => self.main_opened(commands),
            LinkEvent::Opened(id) if self.spare.is(id) => self.spare_opened(commands),
            LinkEvent::Failed(id) if self.is_main(id) => self.lost(now, commands),
            LinkEvent::Failed(id) if self.spare.is(id) => self.spare_lost(now),
            LinkEvent::TextReceived(id, text) if self.is_main(id) => {
                self.text_received(now, &text, commands);
            }
            LinkEvent::TextReceived(id, text) if self.spare.is(id) => {
                self.spare_text_received(now, &text, commands);
            }
            LinkEvent::Closed { channel, code } if self.is_main(channel) => {
                self.closed(now, code, commands);
            }
            LinkEvent::Closed { channel, .. } if self.spare.is(channel) => self.spare_lost(now),
            LinkEvent::Opened(_)
            | LinkEvent::Failed(_)
            | LinkEvent::TextReceived(..)
            | LinkEvent::Closed { .. } => {}
            LinkEvent::OpRequested(patch) => self.op_requested(patch, commands),
            LinkEvent::Hinted(hint) => self.hinted(now, hint, commands),
            LinkEvent::DeadlineReached => self.deadline_reached(now, commands),
            LinkEvent::Stopped => self.stopped(now, commands),
        }
    }

    /// When [`LinkEvent::DeadlineReached`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let pulse = self.pulse.as_ref().map(Pulse::due);
        [self.attempts.due(), self.spare.due(), pulse].into_iter().flatten().min()
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// The channel in use, or the attempt at one.
    #[must_use]
    pub fn channel(&self) -> Option<ChannelId> {
        self.main.as_ref().map(|main| main.id)
    }

    /// The figures until now.
    #[must_use]
    pub fn statistics(&self, now: Time) -> Statistics {
        let (rtt_ms, quality) = (self.quality.rtt_ms(), self.quality.value());
        Statistics { rtt_ms, quality, ..self.tally.figures(now) }
    }

    fn deadline_reached(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let Some(due) = self.next_deadline().filter(|due| *due <= now) else { return };
        if now.since(due) >= self.config.wake_after {
            self.hinted(now, Hint::Woke, commands);
        }
        self.pulse_deadline(now, commands);
        self.attempt_deadline(now, commands);
        self.spare_deadline(now, commands);
    }

    fn pulse_deadline(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let Some(pulse) = &mut self.pulse else { return };
        let mut beats = Vec::new();
        if pulse.due() <= now {
            pulse.tick(now, &mut self.quality, &mut beats);
        }
        for beat in beats {
            match beat {
                Beat::Heartbeat => {
                    let timestamp = Some(now.as_micros() / 1_000);
                    self.send(&ClientFrame::Heartbeat { timestamp }, commands);
                }
                Beat::Ping => self.send(&ClientFrame::Ping, commands),
                Beat::Suspect => commands.push(LinkCommand::Report(Report::Suspect)),
                Beat::Dead => self.abandon(now, commands),
            }
        }
    }

    /// Something was noticed that the connection or the delay should not outlast.
    fn hinted(&mut self, now: Time, hint: Hint, commands: &mut Vec<LinkCommand>) {
        if hint == Hint::Online {
            self.route.network_changed();
        }
        let within = self.config.probe_timeout;
        if let Some(pulse) = &mut self.pulse {
            if pulse.doubt(now, within) {
                self.send(&ClientFrame::Ping, commands);
            }
        } else if hint != Hint::Offline {
            self.attempts.prompt(now);
            self.spare.prompt(now);
        }
    }

    /// The main channel has ended.
    fn closed(&mut self, now: Time, code: Option<u16>, commands: &mut Vec<LinkCommand>) {
        match (advice(code), code) {
            (Advice::Stop, Some(code)) => {
                self.main = None;
                self.disconnect(now, commands);
                commands.push(LinkCommand::Report(Report::Refused { code }));
                return;
            }
            // It is our own second channel that has taken the session.
            (Advice::StartOver, _) if self.spare.is_greeted() => {}
            (Advice::StartOver, _) => self.begin_session(None, commands),
            (Advice::Stop | Advice::Reconnect, _) => {}
        }
        self.lost(now, commands);
    }

    fn stopped(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if self.state == LinkState::Disconnected {
            return;
        }
        if self.state.is_live() {
            self.send(&ClientFrame::Bye, commands);
        }
        self.disconnect(now, commands);
    }

    /// Lets go of everything.
    fn disconnect(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if let Some(main) = self.main.take() {
            commands.push(LinkCommand::Close(main.id));
        }
        if let Some(second) = self.spare.take() {
            self.drop_spare(&second, commands);
        }
        if self.attempts.take_retry() {
            self.tally.failed += 1;
        }
        self.pulse = None;
        self.attempts.clear();
        if self.state.is_live() {
            self.tally.disconnected(now);
        }
        self.tally.stopped(now);
        self.enter(LinkState::Disconnected, commands);
    }

    /// Gives the main channel up.
    fn abandon(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if let Some(main) = &self.main {
            commands.push(LinkCommand::Close(main.id));
        }
        self.lost(now, commands);
    }

    fn is_main(&self, id: ChannelId) -> bool {
        self.main.as_ref().is_some_and(|main| main.id == id)
    }

    fn open(&mut self, url: ByteString, by: Transport, commands: &mut Vec<LinkCommand>) -> Channel {
        self.channels += 1;
        let id = ChannelId(self.channels);
        commands.push(LinkCommand::Open { channel: id, url: url.clone(), by });
        Channel { id, url, by, phase: Phase::Opening }
    }

    /// Sends a frame on the main channel.
    fn send(&self, frame: &ClientFrame<'_>, commands: &mut Vec<LinkCommand>) {
        if let Some(main) = &self.main {
            commands.push(LinkCommand::Send(main.id, frame.encode().into()));
        }
    }

    fn enter(&mut self, new: LinkState, commands: &mut Vec<LinkCommand>) {
        let old = std::mem::replace(&mut self.state, new);
        if old != new {
            commands.push(LinkCommand::StateChanged { old, new });
        }
    }
}

#[cfg(test)]
mod tests;
