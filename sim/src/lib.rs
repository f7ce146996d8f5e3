//! Worlds around the gateway: clients, back ends, a store and a clock, all made from a seed or a
//! script, and nothing real.
//!
//! The core is driven directly, event by event; the store is the reference model. `tests/` holds the
//! random worlds that judge the promises and the stories that show each rule.

#![forbid(unsafe_code)]

pub mod direct;
pub mod disk;
mod linked;
mod narrow;
pub mod oracle;
pub mod play;
pub mod redis;
pub mod sabotage;
pub mod schedule;
pub mod shrink;
pub mod storm;
pub mod tally;
pub mod turmoil;
pub mod world;
