//! One client connection, from its HTTP request to its close frame.
//!
//! Bytes in give [`ConnEvent`]s out; the caller adds `Accepted`, and `Closed` where the socket ends
//! without the protocol's doing.

use super::frame;
use super::http::Request;
use super::upgrade::{self, Outcome, Refusal, UpgradeCodec};
use super::websocket::{WebSocketCodec, Workspace};
use crate::pages::Page;
use steadfast_core::command::{Close, FrameKind};
use steadfast_core::event::{CloseCause, ConnEvent};

/// The state of one client's protocol.
#[derive(Debug)]
pub struct ClientCodec {
    state: State,
}

#[derive(Debug)]
enum State {
    /// The HTTP request is not complete.
    Opening(UpgradeCodec),
    /// A WebSocket in use.
    Open(WebSocketCodec),
    /// A WebSocket on which we have sent a close frame.
    Closing(WebSocketCodec),
    /// A plain HTTP request came, which is over for the gateway. What comes after is swallowed.
    Requested(Option<Box<Request>>),
    /// Over. What comes is swallowed.
    Closed,
}

impl Default for ClientCodec {
    fn default() -> Self {
        Self { state: State::Opening(UpgradeCodec::default()) }
    }
}

impl ClientCodec {
    /// One that serves these pages to those who do not upgrade.
    #[must_use]
    pub fn serving(pages: &'static [Page]) -> Self {
        Self { state: State::Opening(UpgradeCodec::serving(pages)) }
    }

    /// The next event in `input`, which is advanced past it; `None` once all of it is taken.
    /// Answers that the protocol itself demands are appended to `out`.
    ///
    /// `Closed` is the last event. After [`close`](Self::close) it is the only one, and says that
    /// the peer has closed too.
    pub fn next(
        &mut self,
        workspace: &mut Workspace,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ConnEvent> {
        match &mut self.state {
            State::Opening(codec) => match codec.next(input, out) {
                Ok(None) => None,
                Ok(Some(Outcome::Requested(request))) => {
                    self.state = State::Requested(Some(request));
                    Some(ConnEvent::Closed(CloseCause::Http))
                }
                Ok(Some(Outcome::Served)) => {
                    self.state = State::Requested(None);
                    Some(ConnEvent::Closed(CloseCause::Http))
                }
                Ok(Some(Outcome::Upgraded(target, protocol))) => {
                    self.state = State::Open(WebSocketCodec::default());
                    Some(ConnEvent::Upgraded { target, protocol })
                }
                Err(Refusal { status, reason }) => {
                    self.state = State::Closed;
                    let reason = reason.into_owned();
                    Some(ConnEvent::Closed(CloseCause::BadUpgrade { status, reason }))
                }
            },
            State::Open(codec) => codec.next(workspace, input, out),
            State::Closing(codec) => loop {
                let mut unsent = Vec::new();
                match codec.next(workspace, input, &mut unsent) {
                    None => return None,
                    Some(event @ ConnEvent::Closed(_)) => return Some(event),
                    Some(
                        ConnEvent::Accepted
                        | ConnEvent::Upgraded { .. }
                        | ConnEvent::TextReceived(_)
                        | ConnEvent::BinaryReceived(_)
                        | ConnEvent::PingReceived(_)
                        | ConnEvent::PongReceived(_)
                        | ConnEvent::Drained,
                    ) => {}
                }
            },
            State::Requested(_) | State::Closed => {
                *input = &[];
                None
            }
        }
    }

    /// The plain HTTP request that came instead of an upgrade, once.
    pub fn take_request(&mut self) -> Option<Box<Request>> {
        match &mut self.state {
            State::Requested(request) => request.take(),
            State::Opening(_) | State::Open(_) | State::Closing(_) | State::Closed => None,
        }
    }

    /// Whether messages and pings can be sent: not before the upgrade, nor after a close frame.
    #[must_use]
    pub fn is_open(&self) -> bool {
        match &self.state {
            State::Open(codec) => !codec.has_ended(),
            State::Opening(_) | State::Closing(_) | State::Requested(_) | State::Closed => false,
        }
    }

    /// Appends a message.
    pub fn send(&self, out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
        if self.is_open() {
            frame::put_message(out, kind, payload);
        }
    }

    /// Appends a ping that carries `counter`.
    pub fn ping(&self, out: &mut Vec<u8>, counter: u64) {
        if self.is_open() {
            frame::put_ping(out, counter);
        }
    }

    /// Appends the answer to a ping.
    pub fn pong(&self, out: &mut Vec<u8>, payload: &[u8]) {
        if self.is_open() {
            frame::put_pong(out, payload);
        }
    }

    /// Ends the protocol from our side: a close frame, or before the upgrade an HTTP error.
    pub fn close(&mut self, out: &mut Vec<u8>, close: Close) {
        let was_open = self.is_open();
        self.state = match std::mem::replace(&mut self.state, State::Closed) {
            State::Opening(_) => {
                upgrade::put_refusal(out, &refusal(close));
                State::Closed
            }
            State::Open(codec) if was_open => {
                frame::put_close(out, Some(close.code()), close.reason());
                State::Closing(codec)
            }
            state @ State::Closing(_) => state,
            State::Open(_) | State::Requested(_) | State::Closed => State::Closed,
        };
    }
}

/// What a request that is still incomplete is answered when the core gives the connection up.
fn refusal(close: Close) -> Refusal {
    let status = match close {
        Close::HandshakeOverdue | Close::Idle | Close::PongOverdue => 408,
        Close::KeyTooLong | Close::KeyReserved | Close::Link(_) => 400,
        Close::Kicked | Close::TooManyConnections | Close::GoingAway => 503,
    };
    Refusal { status, reason: close.reason().into() }
}
