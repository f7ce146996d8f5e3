//! The rules of the Steadfast push gateway.
//!
//! A [`gateway::Gateway`] is told events and answers with commands; a [`link::Link`] is the client's
//! half under the same contract. There is no I/O here, no clock, no thread and no global
//! randomness: the same configuration, seed and events give the same commands, byte for byte.

#![forbid(unsafe_code)]

mod backoff;
pub mod command;
pub mod config;
mod connection;
pub mod dialect;
pub mod event;
mod fates;
pub mod gateway;
pub mod id;
pub mod link;
mod lookup;
mod mailbox;
mod operations;
pub mod operator;
mod pushers;
pub mod record;
mod registry;
pub mod sabotage;
mod session;
pub mod store;
pub mod time;
mod timers;
pub mod trace;
mod uploads;
