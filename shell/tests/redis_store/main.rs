//! The store in Redis, on real redis-servers that the tests start.

mod equivalence;
mod misbehaviour;
mod server;
mod store;
