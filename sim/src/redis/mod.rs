//! A Redis server without I/O: bytes of commands in, bytes of replies out.
//!
//! It knows the commands that the gateway's adapter sends (`steadfast_shell::codec::redis`), and no
//! Lua: each script is known by its hash, its arguments are read back as the operation that they were
//! written from, and the reference model carries that out. So what is tried with it is the adapter's
//! encoding, decoding and pipelining and what gateways make of a shared store; whether the scripts do
//! what the model does is for the tests with real servers.
//!
//! Like a server that syncs its append-only file before it replies: what was answered survives a
//! crash, what was not answered may or may not.

mod frame;
mod lists;
mod reply;
mod request;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use frame::Frames;
pub use server::{Refusal, Server};
