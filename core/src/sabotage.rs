//! Places where a gateway can be broken on purpose, to see that the simulation notices.
//!
//! Without the feature of this name a gateway cannot be broken, and the places compile to nothing.

use crate::gateway::Gateway;

/// One way to be broken inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// What is stored behind a load under way is not loaded by another.
    AppendForgotten,
    /// A push may merge with a message that is confirmed and not yet removed.
    MergeWhileRemoving,
    /// What is held for the store's answer takes no room in the window.
    HeldNotCounted,
    /// The end of an older connection takes the newer one from the key.
    StaleCloseErases,
    /// What the older connection did not confirm is not written to the newer one.
    TakeoverForgets,
    /// The store is told to forget what is confirmed only once: not again when that fails.
    RemovalGivenUp,
    /// A key that another node has taken is served on.
    ServesTaken,
    /// What was being delivered when another node took the key is delivered on once it is back.
    WindowKept,
    /// What a device uploads is acknowledged, and not stored.
    UploadUnstored,
    /// It is not noted that a device is where an older connection of its is left.
    StandbyUnnoted,
    /// Under the new name of a device pongs count for what it was sent under the old one.
    PongsOutliveName,
}

impl Gateway {
    /// Breaks the gateway.
    #[cfg(feature = "sabotage")]
    pub fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = Some(sabotage);
    }

    /// Whether the gateway is broken in this way.
    #[cfg(feature = "sabotage")]
    pub(crate) fn sabotaged(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    /// Whether the gateway is broken in this way: it is not.
    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(crate) const fn sabotaged(&self, _: Sabotage) -> bool {
        false
    }
}
