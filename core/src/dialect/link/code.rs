//! Close codes, and what each asks of a link client. Those from 4000 on are ours.

/// The client sent something that is no frame, or not in its place.
pub const BAD_FRAME: u16 = 4000;
/// Another connection of the key has taken its place (`bind = kick`).
pub const REPLACED: u16 = 4001;
/// No `hello` came in time.
pub const HELLO_OVERDUE: u16 = 4002;
/// No `ack` came in time.
pub const ACK_OVERDUE: u16 = 4003;
/// An op would have made the context longer than `max_context`.
pub const CONTEXT_TOO_LARGE: u16 = 4004;
/// An op came whose number does not follow the last one's.
pub const OP_OUT_OF_ORDER: u16 = 4005;
/// The store did not read or keep the session.
pub const SESSION_UNAVAILABLE: u16 = 4006;
/// Another connection goes on with the session.
pub const SESSION_MOVED: u16 = 4007;

/// What a client does after a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Connect again, with the usual delay, and resume the session.
    Reconnect,
    /// Connect again, with the usual delay, and without the session: ask for a fresh one.
    StartOver,
    /// Do not connect again until the application asks for it.
    Stop,
}

/// What a client does after a close with this code; `None` when there was no close frame.
#[must_use]
pub fn advice(code: Option<u16>) -> Advice {
    match code {
        // Wished; refused for good; or what the client would send again would be refused again.
        Some(1000 | 1002 | 1003 | 1007..=1010 | BAD_FRAME | REPLACED | CONTEXT_TOO_LARGE) => {
            Advice::Stop
        }
        Some(SESSION_MOVED) => Advice::StartOver,
        Some(_) | None => Advice::Reconnect,
    }
}
