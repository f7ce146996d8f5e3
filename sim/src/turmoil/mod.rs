//! Whole worlds with real bytes: gateways, clients and back ends on simulated hosts.
//!
//! The core and the codecs are those of production. turmoil carries the bytes: it delays, drops and
//! holds them back, and crashes hosts. [`run`] carries out a [`Schedule`],
//! then mends everything and waits until every promise can be judged; [`tell`] carries out a [`Plan`]
//! that somebody wrote by hand, for its timeline.
//!
//! Gateways have a store each, on a simulated disk, or share a simulated Redis (`redis`, `shared`).
//!
//! Not here: mio, the storage engines and Redis itself, which are tried for real in `tests/`.

mod backend;
mod client;
mod consumer;
mod desk;
mod director;
mod disk;
mod ends;
mod frames;
mod gateway;
mod plan;
mod redis;
mod reports;
mod shared;
mod shares;
mod site;
mod slots;
mod sockets;
mod tally;
mod timeline;
mod translate;
mod watch;
mod wire;

pub use client::Whim;
pub use director::{Outcome, run, tell};
pub use frames::malformed;
pub use plan::{ClientSetup, Host, Op, OpKind, Plan, Pongs, PushLine, Setup, Speaks};
pub use timeline::{Keep, Kind, Line, table};

use crate::direct;
use crate::oracle::{Oracle, Violation};
use crate::schedule::Schedule;
use steadfast_core::time::{Span, Time};

/// Where gateways listen for clients.
const WS_PORT: u16 = 5001;
/// Where gateways listen for back ends.
const PUSH_PORT: u16 = 5002;

/// Every world begins at this time.
pub const START: Time = Time::from_micros(1_800_000_000_000_000);

/// Plays a schedule as closely watched as is asked for.
#[must_use]
pub fn play(schedule: &Schedule, watch: &direct::Watch) -> direct::Outcome {
    let keys = &schedule.world.keys;
    let keep = match &watch.traced {
        None => Keep::Hash,
        Some(None) => Keep::Lines,
        Some(Some(key)) => {
            let place = keys.iter().position(|known| known.text == **key);
            // Nothing is about a key that nobody has.
            Keep::OfKey(place.unwrap_or(usize::MAX))
        }
    };
    let outcome = director::run_sabotaged(schedule, keep, watch.judged, watch.sabotage);
    direct::Outcome {
        violation: outcome.violation,
        hash: outcome.hash,
        events: outcome.events,
        tally: outcome.tally,
        trace: table(&outcome.lines),
    }
}

/// Plays a schedule twice: judged, and once more for the hash alone.
#[must_use]
pub fn play_twice(schedule: &Schedule) -> direct::Outcome {
    let judged = direct::Watch { judged: true, ..direct::Watch::default() };
    let mut outcome = play(schedule, &judged);
    if outcome.violation.is_none() {
        let again = play(schedule, &direct::Watch::default());
        outcome.violation = differs(&outcome, &again);
    }
    outcome
}

/// What is wrong when two runs of a seed are not the same.
fn differs(one: &direct::Outcome, other: &direct::Outcome) -> Option<Violation> {
    let same = (one.hash, one.events) == (other.hash, other.events);
    let text = format!(
        "{} events with hash {:016x}, and then {} with {:016x}",
        one.events, one.hash, other.events, other.hash
    );
    (!same).then_some(Violation { oracle: Oracle::Determinism, at: Span::ZERO, text })
}

/// How long the world has existed, as seen by the host whose turn it is.
fn since_start() -> Span {
    let elapsed = turmoil::sim_elapsed().expect("only hosts ask, in their turn");
    Span::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}
