//! The reconnect storm: a crowd of production [`Link`]s loses its server at one moment.
//!
//! It exists to measure what the clients' delays do for a server that comes back: how many
//! connection attempts reach it in each tenth of a second. The same machine as in the client runs
//! here, `core`'s [`Link`]; the policies that it is compared with are settings of it.
//!
//! - In: a [`Storm`], which says everything, the seed included.
//! - Out: a [`Curve`], the same one in every run of the same storm.
//! - Each client has a round trip of its own, 10 ms to 100 ms, for the whole storm. Without that
//!   every client of a fixed interval would come in the same microsecond for ever.
//! - Not here: sockets, packets and their repetition, TLS, and what an attempt costs the server
//!   besides its place in the queue.

mod crowd;
mod curve;
mod plot;
mod server;
mod table;

pub use crowd::{Progress, run};
pub use curve::Curve;
pub use plot::plot;
pub use table::{Row, table};

use std::fmt;
use steadfast_core::id::Key;
use steadfast_core::link::legacy::LinkConfig;
use steadfast_core::time::Span;
use table::grouped;

#[cfg(doc)]
use steadfast_core::link::legacy::Link;

/// One storm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storm {
    /// How many clients lose their server.
    pub clients: u32,
    /// How long every attempt is refused, from the moment of the loss.
    pub outage: Span,
    /// How the server takes clients once it is up again.
    pub acceptance: Acceptance,
    /// How the clients come back.
    pub policy: Policy,
    /// Decides the round trips and the jitter.
    pub seed: u64,
}

/// How a server takes the attempts that reach it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Each at once.
    AllAtOnce,
    /// One after the other from a queue; what finds the queue full is refused.
    Paced {
        /// How many a second.
        per_second: u32,
        /// How many can wait.
        queue: u32,
    },
}

/// How the clients come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Every second.
    Fixed,
    /// After 1 s, 2 s, 4 s … 30 s.
    Doubling,
    /// The same, each delay spread by ±30 %: the default of every link.
    Jitter,
    /// The server says goodbye and gives each client a slot of its own, from 1 s on; from the second
    /// attempt on as [`Jitter`](Self::Jitter).
    Slots {
        /// How many slots a second.
        per_second: u32,
    },
}

impl Storm {
    /// The storms of the documentation: each outage, each way to accept, each policy. All rates go
    /// with the number of clients, or a larger crowd would be another experiment.
    #[must_use]
    pub fn all(clients: u32, seed: u64) -> Vec<Self> {
        let per_second = (clients / 10).max(1);
        let paced = Acceptance::Paced { per_second, queue: (clients / 25).max(1) };
        let policies =
            [Policy::Fixed, Policy::Doubling, Policy::Jitter, Policy::Slots { per_second }];
        let mut storms = Vec::new();
        for acceptance in [Acceptance::AllAtOnce, paced] {
            for outage in [0, 10, 60].map(Span::from_secs) {
                storms.extend(policies.map(|policy| Self {
                    clients,
                    outage,
                    acceptance,
                    policy,
                    seed,
                }));
            }
        }
        storms
    }
}

impl Policy {
    /// The settings of a link that follows it.
    fn config(self, key: Key) -> LinkConfig {
        let production = LinkConfig::new(key);
        match self {
            Self::Fixed => LinkConfig { delay_factor: 1, jitter_percent: 0, ..production },
            Self::Doubling => LinkConfig { jitter_percent: 0, ..production },
            Self::Jitter | Self::Slots { .. } => production,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fixed => "fixed",
            Self::Doubling => "doubling",
            Self::Jitter => "doubling, jitter",
            Self::Slots { .. } => "slots",
        })
    }
}

impl fmt::Display for Acceptance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllAtOnce => f.write_str("at once"),
            Self::Paced { per_second, .. } => write!(f, "{}/s", grouped(*per_second)),
        }
    }
}

#[cfg(test)]
mod tests;
