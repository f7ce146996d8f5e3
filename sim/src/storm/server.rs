//! The server that comes back: refuses while it is down, and then takes clients at its pace.

use super::{Acceptance, Storm};
use steadfast_core::time::{Span, Time};

/// What becomes of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Refused at once.
    Refused,
    /// Accepted; the upgrade is answered at this time.
    Accepted(Time),
}

/// The server, told of attempts in the order in which they reach it.
#[derive(Debug)]
pub(super) struct Server {
    up_at: Time,
    pace: Option<Pace>,
}

/// A queue of attempts that are served one after the other.
#[derive(Debug)]
struct Pace {
    each: Span,
    /// How long the last of a full queue waits.
    full: Span,
    /// When everything that waits will have been served.
    free_at: Time,
}

impl Server {
    pub(super) fn new(storm: &Storm, lost_at: Time) -> Self {
        let up_at = lost_at + storm.outage;
        let pace = match storm.acceptance {
            Acceptance::AllAtOnce => None,
            Acceptance::Paced { per_second, queue } => {
                let each = Span::from_secs(1).divided_by(u64::from(per_second));
                Some(Pace { each, full: each.times(u64::from(queue)), free_at: up_at })
            }
        };
        Self { up_at, pace }
    }

    /// An attempt reaches the server.
    pub(super) fn attempt(&mut self, now: Time) -> Outcome {
        if now < self.up_at {
            return Outcome::Refused;
        }
        let Some(pace) = &mut self.pace else { return Outcome::Accepted(now) };
        if pace.free_at.since(now) >= pace.full {
            return Outcome::Refused;
        }
        pace.free_at = pace.free_at.max(now) + pace.each;
        Outcome::Accepted(pace.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storm::Policy;

    fn server(acceptance: Acceptance) -> Server {
        let outage = Span::from_secs(10);
        let storm = Storm { clients: 1, outage, acceptance, policy: Policy::Fixed, seed: 1 };
        Server::new(&storm, Time::EPOCH)
    }

    fn at(micros: u64) -> Time {
        Time::from_micros(micros)
    }

    #[test]
    fn it_refuses_to_the_end_of_the_outage() {
        let mut server = server(Acceptance::AllAtOnce);
        assert_eq!(server.attempt(at(9_999_999)), Outcome::Refused);
        assert_eq!(server.attempt(at(10_000_000)), Outcome::Accepted(at(10_000_000)));
    }

    #[test]
    fn a_paced_server_serves_in_turn_and_refuses_what_finds_its_queue_full() {
        let mut server = server(Acceptance::Paced { per_second: 1_000, queue: 2 });
        let outcomes = [10_000_000, 10_000_000, 10_000_000, 10_001_000, 20_000_000]
            .map(|micros| server.attempt(at(micros)));
        let accepted = |micros| Outcome::Accepted(at(micros));
        assert_eq!(
            outcomes,
            [
                accepted(10_001_000),
                accepted(10_002_000),
                Outcome::Refused,
                accepted(10_003_000),
                accepted(20_001_000),
            ]
        );
    }
}
