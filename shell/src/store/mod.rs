//! The storage backends, and the seam between them and the event loop.

use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Op};

/// A store as the event loop sees it. Neither method blocks.
pub trait Backend: Send {
    /// Hands over an operation. Those of one key are carried out in the order they are submitted.
    fn submit(&mut self, op: OpId, request: Op);

    /// Appends the answers that have come since the last call. A backend with a thread of its own
    /// wakes the event loop when there are some.
    fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>);
}
