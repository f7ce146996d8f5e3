//! Part of the Steadfast push gateway: sockets, disk, configuration, logs.
//!
//! Without the feature `daemon` this is only what does no I/O, for the simulator: the codecs, and the
//! consumer of the device log.

#[cfg(feature = "daemon")]
pub mod admin;
#[cfg(feature = "daemon")]
pub mod cli;
#[cfg(feature = "daemon")]
pub mod client;
pub mod codec;
#[cfg(feature = "daemon")]
pub mod config;
pub mod device_logs;
#[cfg(feature = "daemon")]
pub mod journal;
#[cfg(feature = "daemon")]
pub mod logs;
#[cfg(feature = "daemon")]
pub mod machine;
pub mod pages;
#[cfg(feature = "daemon")]
pub mod reactor;
#[cfg(feature = "daemon")]
pub mod recording;
#[cfg(feature = "daemon")]
mod running;
#[cfg(feature = "daemon")]
pub mod store;
