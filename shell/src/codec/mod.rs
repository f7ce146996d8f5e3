//! The bytes of every protocol the gateway speaks: bytes in, events out; commands in, bytes out.
//!
//! A codec has no socket, no clock and no thread. The caller hands it the bytes as they come and a
//! buffer to append to, and pulls one event at a time, so that what an event causes can be written
//! before the next one is looked at. The same codecs serve mio in production and the simulation.
//!
//! - [`client`]: one client connection from its HTTP request to its close frame.
//! - [`upgrade`]: the HTTP request that becomes a WebSocket.
//! - [`http`]: the requests and answers of plain HTTP on the clients' port.
//! - [`poll`]: a long-poll session's frames on their way.
//! - [`websocket`]: the frames a client sends.
//! - [`frame`]: frame headers, and every frame the gateway writes.
//! - [`line`](mod@line): the push port's lines and replies.
//! - [`redis`]: what a store in Redis is told and answers.
//!
//! Invariant: what comes out depends on the bytes alone, never on how they were split.

pub mod client;
pub mod frame;
pub mod http;
pub mod line;
pub mod poll;
pub mod redis;
pub mod upgrade;
pub mod websocket;

mod utf8;
