//! Replays recorded cases against a running daemon and judges what was seen.
//!
//! `tests/vectors/README.md` defines the cases. One module each: [`text`] makes concrete values of
//! placeholders and loops, [`case`] reads the files, [`step`] and [`expect`] the two halves of a
//! case, [`play`] does the steps, [`matcher`] compares, [`report`] tells people.

pub(crate) mod case;
pub(crate) mod expect;
pub(crate) mod json;
pub(crate) mod matcher;
pub(crate) mod play;
pub(crate) mod report;
pub(crate) mod step;
pub(crate) mod text;

/// One independent sequence of events: only the order within it means anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stream {
    /// What a WebSocket client saw.
    Client(String),
    /// What a back end saw.
    Pusher(String),
}

impl std::fmt::Display for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Client(name) => write!(f, "connection {name}"),
            Self::Pusher(name) => write!(f, "push connection {name}"),
        }
    }
}
