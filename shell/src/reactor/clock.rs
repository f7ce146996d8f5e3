//! The time: the wall clock at the start, and from then on what the monotonic clock adds to it. It
//! never goes backward, whatever is done to the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use steadfast_core::time::{Span, Time};

/// A clock that tells [`Time`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    wall: Time,
    start: Instant,
}

impl Clock {
    /// Starts at the wall clock's time.
    pub(super) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { wall: Time::EPOCH + span(wall), start: Instant::now() }
    }

    /// The time now.
    pub(super) fn now(&self) -> Time {
        self.wall + span(self.start.elapsed())
    }
}

/// The same length of time in the core's type.
pub(super) fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}
