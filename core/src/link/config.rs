//! The settings of a link.

use super::Delays;
use crate::dialect::link::REMEMBERED_IDS;
use crate::id::Key;
use crate::time::Span;
use bytestring::ByteString;

/// The settings of one link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfig {
    /// The key to bind.
    pub key: Key,
    /// What proves that the client may have this key, where the gateway asks for proof.
    pub token: Option<ByteString>,
    /// Where gateways are, as the caller understands it; at least one. The gateway may name others.
    pub endpoints: Vec<ByteString>,
    /// Whether long-poll is an option.
    pub fallback: Fallback,
    /// Whether a second endpoint is kept open.
    pub standby: Standby,
    /// The delays between attempts.
    pub delays: Delays,
    /// The delays between probes for a way back from the fallback, and between attempts at a
    /// standby. Default 1 s doubling to 60 s.
    pub probe_delays: Delays,
    /// A connection has to open, and be welcomed, within this time. Default 10 s.
    pub open_timeout: Span,
    /// The delays start over once a welcomed connection has stood for this long. Default 5 s.
    pub stable_after: Span,
    /// The longest delay that a gateway may ask for; a longer one counts as this. Default 1 h.
    pub slot_max: Span,
    /// How often a heartbeat is sent, unless the gateway wants it more often. Default 15 s.
    pub heartbeat_interval: Span,
    /// How long a heartbeat's answer is waited for. Default 10 s.
    pub heartbeat_timeout: Span,
    /// After this many missed heartbeats in a row the connection is opened anew. Default 2.
    pub missed_max: u32,
    /// How often the connection's health is looked at. Default 5 s.
    pub health_interval: Span,
    /// After this long a silence the gateway is asked. Default 60 s.
    pub idle_ping: Span,
    /// After this long a silence the connection is opened anew. Default 120 s.
    pub idle_max: Span,
    /// How long a doubtful connection has for a sign of life. Default 3 s.
    pub probe_timeout: Span,
    /// A deadline that is served this late means that the process slept. Default 10 s.
    pub wake_after: Span,
    /// So many failures in a row open an endpoint's circuit breaker. Default 5.
    pub breaker_failures: u32,
    /// How long an open circuit breaker keeps attempts away. Default 30 s.
    pub breaker_pause: Span,
    /// How many message ids are remembered. Default 4,096.
    pub seen_max: usize,
    /// How many ops may wait for the gateway; further ones are refused. Default 1,000.
    pub ops_max: usize,
}

/// Whether long-poll is an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// When no endpoint can be reached by WebSocket.
    Allowed,
    /// WebSocket only.
    Never,
}

/// Whether a second connection, to another endpoint, stands by for the loss of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standby {
    /// None.
    Off,
    /// An open WebSocket that says nothing until it is needed. A gateway closes it after its
    /// deadline for `hello`, and it is opened again.
    Warm,
}

impl LinkConfig {
    /// The defaults, for this key and these endpoints.
    #[must_use]
    pub fn new(key: Key, endpoints: Vec<ByteString>) -> Self {
        let delays = Delays::default();
        Self {
            key,
            token: None,
            endpoints,
            fallback: Fallback::Allowed,
            standby: Standby::Off,
            delays,
            probe_delays: Delays { max: Span::from_secs(60), ..delays },
            open_timeout: Span::from_secs(10),
            stable_after: Span::from_secs(5),
            slot_max: Span::from_secs(3_600),
            heartbeat_interval: Span::from_secs(15),
            heartbeat_timeout: Span::from_secs(10),
            missed_max: 2,
            health_interval: Span::from_secs(5),
            idle_ping: Span::from_secs(60),
            idle_max: Span::from_secs(120),
            probe_timeout: Span::from_secs(3),
            wake_after: Span::from_secs(10),
            breaker_failures: 5,
            breaker_pause: Span::from_secs(30),
            seen_max: REMEMBERED_IDS,
            ops_max: 1_000,
        }
    }
}
