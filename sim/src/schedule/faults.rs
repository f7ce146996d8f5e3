//! The faults there are: families to draw from, and those that were actually delivered.

use super::Tier;
use serde::{Deserialize, Serialize};

/// A kind of fault that may exist in a world. Each seed draws which of them do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Family {
    /// Networks lose everything, both ways.
    Partition,
    /// Networks lose everything, one way.
    OneWayPartition,
    /// Networks hold everything back for a while.
    Hold,
    /// Clients lose power and come back while their old socket is half-open.
    Vanish,
    /// Clients close and come back.
    Leave,
    /// Connections are reset.
    Reset,
    /// Clients stand still.
    Freeze,
    /// Clients let pings go unanswered, now and then or always.
    IgnorePings,
    /// Clients send pongs that answer no ping.
    StrayPong,
    /// Clients' sockets take nothing for a while.
    SlowReader,
    /// Messages that end the client that reads them.
    Poison,
    /// All clients lose their connections at once.
    Storm,
    /// Half-done upgrades, malformed frames and lines.
    Malformed,
    /// Back ends that end and begin anew.
    BackEndChange,
    /// Equal pushes and pushes under a name.
    Duplicates,
    /// More pushes to a key than may wait.
    Flood,
    /// The store is slow.
    StoreSlow,
    /// The store fails.
    StoreFailing,
    /// The store stands still.
    StoreStalled,
    /// The store's disk is full.
    StoreReadOnly,
    /// The gateway crashes and starts again from what was synced.
    Crash,
    /// The wall clock goes backward over a restart.
    ClockBack,
    /// The gateway is stopped and starts again.
    Bounce,
    /// The gateway's process stands still.
    Stall,
    /// The wall clock leaps forward.
    Leap,
    /// Writes are chopped to single bytes.
    Chop,
    /// Operators drop what waits, and let the dead wait again.
    Operators,
    /// Gateways are cut off from the Redis that they share.
    RedisPartition,
    /// The same, one way.
    RedisOneWay,
    /// The Redis that gateways share crashes and starts again.
    RedisCrash,
    /// The connections break on which Redis tells gateways what others did.
    LostNotices,
    /// Clients are cut off from one gateway and come to another, which the first is not told: its
    /// sockets stay half-open.
    Move,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::Partition,
        Self::OneWayPartition,
        Self::Hold,
        Self::Vanish,
        Self::Leave,
        Self::Reset,
        Self::Freeze,
        Self::IgnorePings,
        Self::StrayPong,
        Self::SlowReader,
        Self::Poison,
        Self::Storm,
        Self::Malformed,
        Self::BackEndChange,
        Self::Duplicates,
        Self::Flood,
        Self::StoreSlow,
        Self::StoreFailing,
        Self::StoreStalled,
        Self::StoreReadOnly,
        Self::Crash,
        Self::ClockBack,
        Self::Bounce,
        Self::Stall,
        Self::Leap,
        Self::Chop,
        Self::Operators,
        Self::RedisPartition,
        Self::RedisOneWay,
        Self::RedisCrash,
        Self::LostNotices,
        Self::Move,
    ];

    /// Those of worlds in which gateways share a Redis, and of no others.
    pub const SHARED: [Self; 5] =
        [Self::RedisPartition, Self::RedisOneWay, Self::RedisCrash, Self::LostNotices, Self::Move];

    /// Whether every world of this tier can have it.
    #[must_use]
    pub fn exists_in(self, tier: Tier) -> bool {
        (self != Self::Chop || tier == Tier::Turmoil)
            && (self != Self::Operators || tier == Tier::Direct)
            && !Self::SHARED.contains(&self)
    }
}

/// A fault that took effect, as a world reports it: not one that was merely planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivered {
    /// Bytes between a connected client and its gateway were lost, both ways.
    Partitioned,
    /// Bytes of one direction only were lost.
    PartitionedOneWay,
    /// Bytes were held back and delivered later.
    Held,
    /// A client lost its power while connected.
    Vanished,
    /// A client closed cleanly.
    Left,
    /// A connection was reset.
    ResetByPeer,
    /// A connected client stood still.
    Froze,
    /// A ping went unanswered by a client that lives.
    PingIgnored,
    /// A pong arrived that answers no ping.
    StrayPonged,
    /// A socket took no more bytes for a while.
    ReadSlowly,
    /// A message ended its reader.
    Poisoned,
    /// At least four clients lost their connections at once.
    Stormed,
    /// A socket did not become a WebSocket.
    UpgradeFailed,
    /// A client broke the protocol.
    FrameMalformed,
    /// A back end's line was no push.
    LineMalformed,
    /// A back end ended in the middle of a line.
    LineUnfinished,
    /// A connection took the key of one that was half-open.
    TakeoverOfHalfOpen,
    /// A connection's end was told after its key had a newer one.
    StaleClose,
    /// The store answered late.
    StoreWasSlow,
    /// The store failed an operation.
    StoreFailed,
    /// The store did what it said had failed.
    StoreWasUnclear,
    /// An operation was unanswered for longer than the gateway waits.
    StoreTimedOut,
    /// The store failed writes and answered reads.
    StoreWasReadOnly,
    /// The process ended without warning, and its sockets with it.
    ProcessCrashed,
    /// The machine ended without warning.
    MachineCrashed,
    /// Operations that were not synced were lost in a crash.
    UnsyncedLost,
    /// Operations that were not answered survived a crash.
    UnansweredKept,
    /// The wall clock was earlier after a restart.
    ClockWentBack,
    /// The gateway stopped as it was told to.
    Stopped,
    /// The gateway's process stood still for more than a second.
    Stalled,
    /// The wall clock leapt forward.
    Leapt,
    /// Events that arrived together were told in another order.
    Reordered,
    /// A write was chopped.
    Chopped,
    /// Bytes between a gateway and its Redis were lost, both ways.
    RedisCutOff,
    /// Bytes of one direction only were lost.
    RedisCutOffOneWay,
    /// Redis ended without warning.
    RedisCrashed,
    /// Redis was asked while it still read its data.
    RedisWasLoading,
    /// A connection on which Redis tells what other gateways did was reset.
    NoticesReset,
    /// A device called itself by the name of another.
    Posed,
    /// The power of the device log's consumer failed.
    ConsumerFailed,
}

impl Delivered {
    /// All of them.
    pub const ALL: [Self; 40] = [
        Self::Partitioned,
        Self::PartitionedOneWay,
        Self::Held,
        Self::Vanished,
        Self::Left,
        Self::ResetByPeer,
        Self::Froze,
        Self::PingIgnored,
        Self::StrayPonged,
        Self::ReadSlowly,
        Self::Poisoned,
        Self::Stormed,
        Self::UpgradeFailed,
        Self::FrameMalformed,
        Self::LineMalformed,
        Self::LineUnfinished,
        Self::TakeoverOfHalfOpen,
        Self::StaleClose,
        Self::StoreWasSlow,
        Self::StoreFailed,
        Self::StoreWasUnclear,
        Self::StoreTimedOut,
        Self::StoreWasReadOnly,
        Self::ProcessCrashed,
        Self::MachineCrashed,
        Self::UnsyncedLost,
        Self::UnansweredKept,
        Self::ClockWentBack,
        Self::Stopped,
        Self::Stalled,
        Self::Leapt,
        Self::Reordered,
        Self::Chopped,
        Self::RedisCutOff,
        Self::RedisCutOffOneWay,
        Self::RedisCrashed,
        Self::RedisWasLoading,
        Self::NoticesReset,
        Self::Posed,
        Self::ConsumerFailed,
    ];
}
