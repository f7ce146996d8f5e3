//! Where records go: the seam between the event loop, which must not format or block, and logs,
//! metrics and recordings.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use steadfast_core::record::Record;
use steadfast_core::time::Time;

/// Takes what happened. Called on the event loop: an implementation hands the record on and
/// returns at once.
pub trait Journal: Send {
    /// Takes one record of the given time.
    fn record(&mut self, now: Time, record: Record);

    /// Takes one trouble of the event loop itself. Does nothing unless implemented.
    fn trouble(&mut self, _now: Time, _trouble: Trouble) {}

    /// A turn of the event loop is over: what was gathered during it can be handed on at once.
    fn turn_ended(&mut self) {}
}

/// What goes wrong around the gateway and is no connection's doing.
#[derive(Debug)]
pub enum Trouble {
    /// No connection can be accepted, as a rule because the process has too many files open. The
    /// listener rests for a moment, then tries again.
    AcceptFailed {
        /// Where the connection was for.
        listener: SocketAddr,
        /// What the operating system said.
        error: io::Error,
    },
    /// What the gateway is told is recorded no longer; the gateway goes on.
    RecordingStopped {
        /// The segment that was being written.
        file: PathBuf,
        /// Why.
        error: String,
    },
    /// The store cannot be reached or takes no writes; it is tried again. Told when it begins, when the
    /// reason changes, and once a minute.
    StoreFailing {
        /// What is wrong, where, and what to do.
        why: String,
    },
    /// The store works again.
    StoreWorks {
        /// Which one, and how long it had failed.
        what: String,
    },
    /// The store works, but may lose what it was given.
    StoreDoubtful {
        /// Why, and what to do.
        why: String,
    },
}

impl Trouble {
    /// The word in brackets by which operators search for troubles of this kind.
    #[must_use]
    pub fn tag(&self) -> &'static str {
        match self {
            Self::AcceptFailed { .. } => "[accept fail]",
            Self::RecordingStopped { .. } => "[record stop]",
            Self::StoreFailing { .. } => "[store failing]",
            Self::StoreWorks { .. } => "[store works]",
            Self::StoreDoubtful { .. } => "[store doubtful]",
        }
    }
}

/// A journal that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Journal for Discard {
    fn record(&mut self, _now: Time, _record: Record) {}
}
