//! What a timeline says of stores in trouble.

use crate::schedule::Trouble;

/// What is said of a disk that has this trouble from now on.
pub(super) fn disk_report(trouble: Option<Trouble>) -> &'static str {
    match trouble {
        None => "disk works",
        Some(Trouble::Slow) => "disk is slow",
        Some(Trouble::Failing) => "disk fails everything",
        Some(Trouble::Unclear) => "disk does everything and says that it failed",
        Some(Trouble::Stalled) => "disk hangs",
        Some(Trouble::ReadOnly) => "disk is full",
    }
}

/// What is said of a Redis that has this trouble from now on.
pub(super) fn redis_report(trouble: Option<Trouble>) -> &'static str {
    match trouble {
        None => "works",
        Some(Trouble::Slow) => "is slow",
        Some(Trouble::Failing) => "has no memory left",
        Some(Trouble::Unclear) => "does what it is told and breaks connections before it says so",
        Some(Trouble::Stalled) => "hangs",
        Some(Trouble::ReadOnly) => "has become a replica",
    }
}
