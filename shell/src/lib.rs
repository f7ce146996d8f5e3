//! Part of the Steadfast push gateway: sockets, disk, configuration, logs.

pub mod codec;
pub mod journal;
pub mod machine;
pub mod reactor;
pub mod store;
