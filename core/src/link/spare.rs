//! The second channel: in the fallback a WebSocket that looks for a way back, beside a WebSocket a
//! standby at another endpoint.

use super::backoff::{Backoff, Delays};
use super::{Channel, ChannelId, Link, LinkCommand, LinkState, Phase, Standby, Transport};
use crate::dialect::link::GatewayFrame;
use crate::time::{Span, Time};

/// The second channel and its times.
#[derive(Clone, Debug)]
pub(super) struct Spare {
    channel: Option<Channel>,
    backoff: Backoff,
    least_delay: Span,
    longest_delay: Span,
    /// When the next one is opened.
    open_at: Option<Time>,
    /// By when it must have got somewhere.
    done_by: Option<Time>,
    lost_at: Time,
}

impl Spare {
    pub(super) fn new(delays: Delays) -> Self {
        Self {
            channel: None,
            backoff: Backoff::new(Delays { max_attempts: None, ..delays }),
            least_delay: delays.min,
            longest_delay: delays.max,
            open_at: None,
            done_by: None,
            lost_at: Time::EPOCH,
        }
    }

    pub(super) fn due(&self) -> Option<Time> {
        [self.open_at, self.done_by].into_iter().flatten().min()
    }

    pub(super) fn is(&self, id: ChannelId) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.id == id)
    }

    pub(super) fn is_greeted(&self) -> bool {
        self.channel.as_ref().is_some_and(|channel| channel.phase == Phase::Greeted)
    }

    /// Takes it out of its place, and stops looking for another.
    pub(super) fn take(&mut self) -> Option<Channel> {
        self.open_at = None;
        self.done_by = None;
        self.channel.take()
    }

    /// The next one is opened at once, if that is not too soon after the last.
    pub(super) fn prompt(&mut self, now: Time) {
        if let Some(at) = &mut self.open_at {
            *at = (*at).min(now.max(self.lost_at + self.least_delay));
        }
    }
}

impl Link {
    /// In the fallback: WebSockets are tried from time to time.
    pub(super) fn look_for_a_way_back(&mut self, now: Time) {
        self.spare.backoff.reset();
        self.open_spare_later(now);
    }

    /// The connection stands: a second one may stand by.
    pub(super) fn stand_by(&mut self, now: Time) {
        if self.state == LinkState::Connected && self.config.standby == Standby::Warm {
            self.spare.backoff.reset();
            self.spare.open_at = Some(now);
        }
    }

    pub(super) fn spare_opened(&mut self, commands: &mut Vec<LinkCommand>) {
        let hello = self.hello();
        let Some(channel) = &mut self.spare.channel else { return };
        if channel.phase != Phase::Opening {
            return;
        }
        if self.state == LinkState::Fallback {
            channel.phase = Phase::Greeted;
            commands.push(LinkCommand::Send(channel.id, hello));
        } else {
            channel.phase = Phase::Silent;
            self.spare.done_by = None;
            self.spare.backoff.reset();
        }
    }

    /// A way back is found when the second channel is welcomed.
    pub(super) fn spare_text_received(
        &mut self,
        now: Time,
        text: &str,
        commands: &mut Vec<LinkCommand>,
    ) {
        if let Ok(GatewayFrame::Welcome(_)) = GatewayFrame::parse(text)
            && self.spare.is_greeted()
        {
            let second = self.spare.take();
            if let Some(poll) = std::mem::replace(&mut self.main, second) {
                commands.push(LinkCommand::Close(poll.id));
            }
            self.attempts.succeeded_beside();
            self.text_received(now, text, commands);
        }
    }

    /// Lets go of a second channel that is of no use any more.
    pub(super) fn drop_spare(&mut self, channel: &Channel, commands: &mut Vec<LinkCommand>) {
        if self.state == LinkState::Fallback {
            self.tally.failed += 1;
        }
        commands.push(LinkCommand::Close(channel.id));
    }

    pub(super) fn spare_lost(&mut self, now: Time) {
        self.spare.channel = None;
        self.spare.done_by = None;
        self.spare.lost_at = now;
        if self.state == LinkState::Fallback {
            self.tally.failed += 1;
        }
        self.open_spare_later(now);
    }

    pub(super) fn spare_deadline(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_due(self.spare.done_by) {
            commands.extend(self.spare.take().map(|channel| LinkCommand::Close(channel.id)));
            self.spare_lost(now);
        }
        if is_due(self.spare.open_at) {
            self.spare.open_at = None;
            self.open_spare(now, commands);
        }
    }

    fn open_spare(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let main = self.main.as_ref().expect("a second channel stands beside a first");
        let url = match self.state {
            LinkState::Fallback => Some(main.url.clone()),
            LinkState::Disconnected
            | LinkState::Connecting
            | LinkState::Connected
            | LinkState::Reconnecting => self.route.other(now, &main.url),
        };
        let Some(url) = url else {
            // Whatever the gateway names later is looked at then.
            self.spare.open_at = Some(now + self.spare.longest_delay);
            return;
        };
        if self.state == LinkState::Fallback {
            self.tally.total += 1;
        }
        self.spare.done_by = Some(now + self.config.open_timeout);
        self.spare.channel = Some(self.open(url, Transport::WebSocket, commands));
    }

    fn open_spare_later(&mut self, now: Time) {
        let bounds = self.spare.backoff.next_bounds();
        let (shortest, longest) = bounds.expect("a second channel has no last attempt");
        self.spare.open_at = Some(now + self.chance.between(shortest, longest));
    }
}
