//! Whole worlds with real bytes: gateways, clients and back ends on simulated hosts.
//!
//! The core and the codecs are those of production. turmoil carries the bytes: it delays, drops and
//! holds them back, and crashes hosts. [`run`] carries out a [`Schedule`](crate::schedule::Schedule),
//! then mends everything and waits until every promise can be judged; [`tell`] carries out a [`Plan`]
//! that somebody wrote by hand, for its timeline.
//!
//! Not here: mio and the storage backends, which are tried for real in `tests/`.

mod backend;
mod client;
mod director;
mod disk;
mod ends;
mod frames;
mod gateway;
mod plan;
mod site;
mod slots;
mod sockets;
mod tally;
mod timeline;
mod translate;
mod watch;
mod wire;

pub use client::Whim;
pub use director::{Failure, Outcome, run, tell};
pub use ends::Breach;
pub use plan::{ClientSetup, Host, Op, OpKind, Plan, Pongs, PushLine, Setup};
pub use timeline::{Keep, Kind, Line, table};

use steadfast_core::time::{Span, Time};

/// Where gateways listen for clients.
const WS_PORT: u16 = 5001;
/// Where gateways listen for back ends.
const PUSH_PORT: u16 = 5002;

/// Every world begins at this time.
pub const START: Time = Time::from_micros(1_800_000_000_000_000);

/// How long the world has existed, as seen by the host whose turn it is.
fn since_start() -> Span {
    let elapsed = turmoil::sim_elapsed().expect("only hosts ask, in their turn");
    Span::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}
