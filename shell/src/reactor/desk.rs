//! Where other threads bring what is to be done on the event loop: pushes by HTTP, operators'
//! requests, questions about the loop itself.
//!
//! Requests wait in a bounded channel; the loop is woken, looks once a turn, and answers each by
//! calling what came with it. A push by HTTP is a back end of its own: it takes a place among the
//! back ends, without a socket, until it has its reply.

use super::Handle;
use super::figures::Figures;
use super::slots::Place;
use super::sockets::Sockets;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use steadfast_core::command::Reply;
use steadfast_core::event::{Event, PushRequest, PusherEvent};
use steadfast_core::id::{PusherId, RequestId};
use steadfast_core::operator::{OperatorAnswer, OperatorRequest};

/// So many requests may wait for the loop.
const WAITING_AT_MOST: usize = 1_024;
/// So many are taken a turn, so that sockets are served in between.
pub(super) const TAKEN_A_TURN: usize = 256;
/// So many may be unanswered; the loop takes no more until there are fewer.
const UNANSWERED_AT_MOST: usize = 10_000;

/// What another thread asks of the loop, and what is to be done with the answer. The answer is given
/// on the event loop: what takes it must not block.
pub enum Request {
    /// Push a message.
    Push(PushRequest, Answer<Reply>),
    /// Do or tell what an operator asks.
    Operator(OperatorRequest, Answer<OperatorAnswer>),
    /// Tell how the loop is doing.
    Figures(Answer<Figures>),
}

/// Takes an answer.
pub type Answer<T> = Box<dyn FnOnce(T) + Send>;

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push(request, _) => f.debug_tuple("Push").field(request).finish(),
            Self::Operator(request, _) => f.debug_tuple("Operator").field(request).finish(),
            Self::Figures(_) => f.write_str("Figures"),
        }
    }
}

/// Brings requests to a running reactor from any thread. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Courier {
    requests: SyncSender<Request>,
    handle: Handle,
}

/// The request was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busy {
    /// Too many requests wait already.
    Full,
    /// The reactor has ended.
    Over,
}

impl Courier {
    /// Hands a request to the loop.
    ///
    /// # Errors
    /// Too many wait, or the loop is over; the request is dropped then, and so is what waits for
    /// its answer.
    pub fn bring(&self, request: Request) -> Result<(), Busy> {
        match self.requests.try_send(request) {
            Ok(()) => {
                self.handle.wake();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(Busy::Full),
            Err(TrySendError::Disconnected(_)) => Err(Busy::Over),
        }
    }
}

/// The loop's side.
#[derive(Debug)]
pub(super) struct Desk {
    requests: Receiver<Request>,
    courier: Courier,
    pushes: BTreeMap<PusherId, Waiting<Reply>>,
    operators: BTreeMap<RequestId, Waiting<OperatorAnswer>>,
    last_request: u64,
}

struct Waiting<T>(Answer<T>);

impl<T> fmt::Debug for Waiting<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiting")
    }
}

/// What a request is for the loop.
#[derive(Debug)]
pub(super) enum Taken {
    /// One event for the machine.
    Event(Event),
    /// A push, from the back end that it takes to be one.
    Push(PusherId, PushRequest),
    /// The loop's own figures are asked for.
    Figures(AnswerFigures),
}

/// Takes the loop's figures.
pub(super) struct AnswerFigures(pub(super) Answer<Figures>);

impl fmt::Debug for AnswerFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerFigures")
    }
}

impl Desk {
    pub(super) fn new(handle: Handle) -> Self {
        let (sender, requests) = sync_channel(WAITING_AT_MOST);
        Self {
            requests,
            courier: Courier { requests: sender, handle },
            pushes: BTreeMap::new(),
            operators: BTreeMap::new(),
            last_request: 0,
        }
    }

    pub(super) fn courier(&self) -> Courier {
        self.courier.clone()
    }

    /// Whether nothing may be taken until something is answered.
    fn is_full(&self) -> bool {
        self.pushes.len() + self.operators.len() >= UNANSWERED_AT_MOST
    }

    /// Sees to it that the loop looks again: there may be more than it took.
    pub(super) fn look_again(&self) {
        self.courier.handle.wake();
    }

    /// The next request.
    pub(super) fn take(&mut self, sockets: &mut Sockets) -> Option<Taken> {
        if self.is_full() {
            return None;
        }
        Some(match self.requests.try_recv().ok()? {
            Request::Push(request, answer) => {
                let (slot, generation) = sockets.pushers.reserve();
                let id = PusherId { slot, generation };
                self.pushes.insert(id, Waiting(answer));
                Taken::Push(id, request)
            }
            Request::Operator(request, answer) => {
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.operators.insert(id, Waiting(answer));
                Taken::Event(Event::Operator(id, request))
            }
            Request::Figures(answer) => Taken::Figures(AnswerFigures(answer)),
        })
    }

    /// Hands on the reply to a push by HTTP; tells whether it was one.
    pub(super) fn reply(&mut self, pusher: PusherId, reply: Reply, sockets: &mut Sockets) -> bool {
        if self.pushes.is_empty() {
            return false;
        }
        let was_full = self.is_full();
        let Some(Waiting(answer)) = self.pushes.remove(&pusher) else { return false };
        if was_full {
            self.look_again();
        }
        answer(reply);
        sockets.pending.push_back(Event::Pusher(pusher, PusherEvent::Closed));
        let place: Place = (pusher.slot, pusher.generation);
        sockets.pushers.release(place);
        true
    }

    /// Hands on what an operator is told.
    pub(super) fn answer(&mut self, request: RequestId, answer: OperatorAnswer) {
        if self.is_full() {
            self.look_again();
        }
        if let Some(Waiting(take)) = self.operators.remove(&request) {
            take(answer);
        }
    }
}
