//! How a link comes to a welcomed channel: attempts, their deadlines, and the delays between them.

use super::backoff::{Backoff, Delays};
use super::{Channel, Link, LinkCommand, LinkState, Phase, Report, Transport};
use crate::time::{Span, Time};

/// The times of the attempts at a main channel.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    backoff: Backoff,
    least_delay: Span,
    /// By when the attempt must be welcomed.
    welcome_by: Option<Time>,
    /// When the welcomed connection will have stood for long enough.
    stable_at: Option<Time>,
    /// When the next attempt is made.
    retry_at: Option<Time>,
    /// Whether the gateway has given that time: then hints do not change it.
    is_slot: bool,
    /// When the gateway asked the next attempt to be made.
    slot: Option<Time>,
    /// When the last channel was lost.
    lost_at: Time,
    /// Whether the attempt is a retry.
    is_retry: bool,
}

impl Attempts {
    pub(super) fn new(delays: Delays) -> Self {
        Self {
            backoff: Backoff::new(delays),
            least_delay: delays.min,
            welcome_by: None,
            stable_at: None,
            retry_at: None,
            is_slot: false,
            slot: None,
            lost_at: Time::EPOCH,
            is_retry: false,
        }
    }

    pub(super) fn due(&self) -> Option<Time> {
        [self.welcome_by, self.stable_at, self.retry_at].into_iter().flatten().min()
    }

    /// Nothing is due any more.
    pub(super) fn clear(&mut self) {
        self.welcome_by = None;
        self.stable_at = None;
        self.retry_at = None;
        self.slot = None;
    }

    /// A second channel that was tried for is welcomed in place of the main one.
    pub(super) fn succeeded_beside(&mut self) {
        self.is_retry = true;
    }

    /// Whether the attempt that ends now was a retry.
    pub(super) fn take_retry(&mut self) -> bool {
        std::mem::take(&mut self.is_retry)
    }

    /// The next attempt is made at once, if that is not too soon after the last.
    pub(super) fn prompt(&mut self, now: Time) {
        if let Some(at) = &mut self.retry_at
            && !self.is_slot
        {
            *at = (*at).min(now.max(self.lost_at + self.least_delay));
        }
    }
}

impl Link {
    pub(super) fn started(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        if self.state == LinkState::Disconnected {
            self.tally.started(now);
            self.attempts.backoff.reset();
            self.route.network_changed();
            self.attempt(now, false, commands);
        }
    }

    pub(super) fn main_opened(&mut self, commands: &mut Vec<LinkCommand>) {
        if self.main.as_ref().is_some_and(|main| main.phase == Phase::Opening) {
            self.greet(commands);
        }
    }

    /// The main channel was welcomed.
    pub(super) fn attempt_succeeded(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let main = self.main.as_mut().expect("only the main channel is welcomed");
        main.phase = Phase::Welcomed;
        let state = match main.by {
            Transport::WebSocket => LinkState::Connected,
            Transport::LongPoll => LinkState::Fallback,
        };
        self.attempts.clear();
        self.attempts.stable_at = Some(now + self.config.stable_after);
        if self.attempts.take_retry() {
            self.tally.successful += 1;
        }
        self.tally.connected(now);
        self.enter(state, commands);
        if state == LinkState::Fallback {
            self.look_for_a_way_back(now);
        }
    }

    /// The main channel is gone: the second takes its place, or the next attempt follows.
    pub(super) fn lost(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let Some(main) = self.main.take() else { return };
        let was_live = self.state.is_live();
        if was_live {
            self.tally.disconnected(now);
        }
        if self.attempts.take_retry() {
            self.tally.failed += 1;
        }
        if !was_live || self.attempts.stable_at.is_some() {
            self.route.failed(now, &main.url, main.by, self.quality.attempts());
        }
        self.pulse = None;
        let slot = self.attempts.slot;
        self.attempts.clear();
        self.attempts.lost_at = now;
        match self.spare.take() {
            Some(second) if second.phase != Phase::Opening => self.promote(now, second, commands),
            unfit => {
                if let Some(unfit) = unfit {
                    self.drop_spare(&unfit, commands);
                }
                self.retry(now, slot, commands);
            }
        }
    }

    pub(super) fn attempt_deadline(&mut self, now: Time, commands: &mut Vec<LinkCommand>) {
        let is_due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if is_due(self.attempts.stable_at) {
            self.attempts.stable_at = None;
            self.attempts.backoff.reset();
            let main = self.main.as_ref().expect("a stable connection is there");
            self.route.stood(&main.url, main.by);
            self.stand_by(now);
        }
        if is_due(self.attempts.welcome_by) {
            self.abandon(now, commands);
        }
        if is_due(self.attempts.retry_at) {
            self.attempt(now, true, commands);
        }
    }

    /// The gateway asks for the next attempt after this time, a slot that it gives to this client
    /// alone.
    pub(super) fn retry_advised(&mut self, now: Time, after: Span) {
        self.attempts.slot = Some(now + after.min(self.config.slot_max));
    }

    /// Says `hello` on the main channel.
    fn greet(&mut self, commands: &mut Vec<LinkCommand>) {
        if let Some(main) = &mut self.main {
            main.phase = Phase::Greeted;
            let hello = LinkCommand::Send(main.id, self.hello());
            commands.push(hello);
        }
    }

    fn attempt(&mut self, now: Time, is_retry: bool, commands: &mut Vec<LinkCommand>) {
        let Some((url, by)) = self.route.next(now) else {
            // A hint wanted an attempt that every breaker refuses.
            self.attempts.retry_at = self.route.opens_at();
            return;
        };
        self.attempts.is_retry = is_retry;
        self.tally.total += u32::from(is_retry);
        self.attempts.retry_at = None;
        self.attempts.welcome_by = Some(now + self.config.open_timeout);
        self.enter(LinkState::Connecting, commands);
        self.main = Some(self.open(url, by, commands));
    }

    /// The second channel becomes the main one, and is welcomed if it was greeted.
    fn promote(&mut self, now: Time, second: Channel, commands: &mut Vec<LinkCommand>) {
        let is_silent = second.phase == Phase::Silent;
        self.main = Some(second);
        if is_silent {
            self.tally.total += 1;
        }
        self.attempts.is_retry = true;
        self.attempts.welcome_by = Some(now + self.config.open_timeout);
        self.enter(LinkState::Connecting, commands);
        if is_silent {
            self.greet(commands);
        }
    }

    /// Waits for the next attempt, or gives up.
    fn retry(&mut self, now: Time, slot: Option<Time>, commands: &mut Vec<LinkCommand>) {
        let Some((shortest, longest)) = self.attempts.backoff.next_bounds() else {
            self.disconnect(now, commands);
            return commands.push(LinkCommand::Report(Report::GaveUp));
        };
        let delay = self.chance.between(shortest, longest);
        // A slot that has passed says nothing any more; a slot is no way around the least delay.
        let slot = slot.filter(|slot| *slot > now);
        let at = slot.map_or(now + delay, |at| at.max(now + self.attempts.least_delay));
        let at = self.route.opens_at().map_or(at, |opens_at| at.max(opens_at));
        self.attempts.retry_at = Some(at);
        self.attempts.is_slot = slot.is_some();
        self.enter(LinkState::Reconnecting, commands);
        commands.push(LinkCommand::Report(Report::RetryIn(at.since(now))));
    }
}
