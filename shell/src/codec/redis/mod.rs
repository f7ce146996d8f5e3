//! The store's operations as commands to Redis, and its replies as answers.
//!
//! [`encode`] and [`decode`] are about one operation, [`pipeline`] about all of a round trip; [`scripts`]
//! are what Redis carries out, and [`shards`] the parts of a Redis Cluster.
//!
//! The layout of the keys is described in `docs/storage.md`.

pub mod decode;
pub mod encode;
pub mod pipeline;
pub mod scripts;
pub mod shards;
