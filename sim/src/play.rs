//! Schedules, played on the tier that they are for.

use crate::direct::{self, Outcome, Watch};
use crate::schedule::{Schedule, Tier};
use crate::turmoil;

/// Plays a schedule once. Each sabotage is for one of the tiers.
#[must_use]
pub fn once(schedule: &Schedule, watch: &Watch) -> Outcome {
    match schedule.tier {
        Tier::Direct => direct::play(schedule, watch),
        Tier::Turmoil => turmoil::play(schedule, watch),
    }
}

/// Plays a schedule twice: judged, and once more for the hash alone, which has to be the same.
#[must_use]
pub fn twice(schedule: &Schedule) -> Outcome {
    match schedule.tier {
        Tier::Direct => direct::play_twice(schedule),
        Tier::Turmoil => turmoil::play_twice(schedule),
    }
}
