//! Where records go: the seam between the event loop, which must not format or block, and logs,
//! metrics and recordings.

use steadfast_core::record::Record;
use steadfast_core::time::Time;

/// Takes what happened. Called on the event loop: an implementation hands the record on and
/// returns at once.
pub trait Journal: Send {
    /// Takes one record of the given time.
    fn record(&mut self, now: Time, record: Record);
}

/// A journal that keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Discard;

impl Journal for Discard {
    fn record(&mut self, _now: Time, _record: Record) {}
}
