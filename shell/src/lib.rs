//! Part of the Steadfast push gateway: sockets, disk, configuration, logs.

pub mod admin;
pub mod cli;
pub mod client;
pub mod codec;
pub mod config;
pub mod journal;
pub mod logs;
pub mod machine;
pub mod pages;
pub mod reactor;
pub mod recording;
mod running;
pub mod store;
