//! The store in Redis.
//!
//! The event loop hands over what a turn has asked for at once. A thread (`lane`) sends whatever has
//! queued as one pipeline and reads the replies; each operation is one script, and so atomic. Devices
//! and their log have a lane of their own: their keys are read by others, and may be on another server.
//! A third connection (`subscriber`) hears of what other nodes do with this node's keys.
//!
//! In a Redis Cluster there is a lane for each shard (`shards`): a part of the keys that is in one slot.
//! Where a lane connects to is the business of `place`.
//!
//! `encode`, `decode`, `pipeline` and `shards` do no I/O.
//!
//! The layout of the keys is described in `docs/storage.md`.

#[cfg(feature = "daemon")]
mod backend;
#[cfg(feature = "daemon")]
mod connection;
pub mod decode;
pub mod encode;
#[cfg(feature = "daemon")]
mod lane;
pub mod pipeline;
#[cfg(feature = "daemon")]
mod place;
#[cfg(feature = "daemon")]
mod report;
pub mod scripts;
pub mod shards;
#[cfg(feature = "daemon")]
mod subscriber;

#[cfg(feature = "daemon")]
pub(crate) use backend::names_database;
#[cfg(feature = "daemon")]
pub use backend::{Options, Redis, check_url};
#[cfg(feature = "daemon")]
pub(crate) use place::is_cluster;
