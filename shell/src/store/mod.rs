//! The storage backends, and the seam between them and the event loop.

pub mod embedded;
mod handoff;
pub mod health;
pub mod memory;
pub mod redis;

use crate::reactor::Handle;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Notice, Op};

/// A store as the event loop sees it. No method blocks.
pub trait Backend: Send {
    /// Tells how to wake the event loop. Called once, before any operation. Does nothing unless
    /// implemented: a backend without a thread of its own has its answers ready when asked.
    fn start(&mut self, _handle: Handle) {}

    /// Hands over an operation. Those of one key are carried out in the order they are submitted.
    fn submit(&mut self, op: OpId, request: Op);

    /// Everything that a turn of the event loop asked for has been submitted. Does nothing unless
    /// implemented: for a backend that hands operations on together.
    fn hand_over(&mut self) {}

    /// Appends the answers that have come since the last call. A backend with a thread of its own
    /// wakes the event loop when there are some.
    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>);

    /// Appends what a shared store has told of other nodes since the last call. Does nothing unless
    /// implemented: most stores are not shared. A backend with a thread of its own wakes the event
    /// loop when there is something.
    fn notices(&mut self, _notices: &mut Vec<Notice>) {}
}
