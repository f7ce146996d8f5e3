//! The rules of the Steadfast push gateway.
//!
//! A [`gateway::Gateway`] is told events and answers with commands; a `link::Link` is the client's
//! half under the same contract. There is no I/O here, no clock, no thread and no global
//! randomness: the same configuration, seed and events give the same commands, byte for byte.

#![forbid(unsafe_code)]

pub mod command;
pub mod config;
pub mod dialect;
pub mod event;
pub mod id;
pub mod record;
pub mod store;
pub mod time;
