//! The states of a link.

use std::fmt;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkState {
    /// Not started, stopped, or given up.
    Disconnected,
    /// A connection is being opened.
    Connecting,
    /// The connection is open.
    Connected,
    /// The connection was lost or could not be opened; another attempt follows after a delay.
    Reconnecting,
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
        }
    }
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
