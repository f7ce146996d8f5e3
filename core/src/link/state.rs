//! The states of a link.

use std::fmt;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// Not started, stopped, or given up.
    Disconnected,
    /// An attempt is being made: the connection is being opened, or its `welcome` is awaited.
    Connecting,
    /// Welcomed on a WebSocket.
    Connected,
    /// The connection was lost or could not be had; another attempt follows after a delay.
    Reconnecting,
    /// Welcomed on a long-poll, because WebSockets do not get through.
    Fallback,
}

impl LinkState {
    /// The state's name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Fallback => "fallback",
        }
    }

    /// Whether messages can come.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Connected | Self::Fallback)
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
