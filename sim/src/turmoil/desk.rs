//! What is brought to a gateway past its sockets: pushes by HTTP, and what operators ask for.
//!
//! In the daemon other threads bring both to the loop, which gives each push a back end of its own.
//! HTTP itself is not simulated.

use super::ends::Ends;
use super::plan::PushLine;
use std::collections::{BTreeMap, VecDeque};
use steadfast_core::command::Reply;
use steadfast_core::event::{Event, PushRequest, PusherEvent};
use steadfast_core::id::{PusherId, RequestId};
use steadfast_core::operator::{OperatorAnswer, OperatorRequest};

/// What is brought.
#[derive(Clone, Debug)]
pub(super) enum Brought {
    /// A push.
    Push(PushLine, PushRequest),
    /// Something that an operator asks for.
    Question(OperatorRequest),
}

/// What waits for the loop, and for its answers.
#[derive(Debug, Default)]
pub(super) struct Desk {
    waiting: VecDeque<Brought>,
    /// The pushes that are not answered, and the connections by which the ends know them.
    pushes: BTreeMap<PusherId, u64>,
    /// How much was asked so far.
    asked: u64,
}

impl Desk {
    pub(super) fn bring(&mut self, brought: Brought) {
        self.waiting.push_back(brought);
    }

    /// What the gateway is told of the next thing that was brought. A push takes a back end.
    pub(super) fn take(
        &mut self,
        gateway: usize,
        ends: &Ends,
        back_end: impl FnOnce() -> PusherId,
    ) -> Option<Vec<Event>> {
        Some(match self.waiting.pop_front()? {
            Brought::Push(line, request) => {
                let id = back_end();
                let connection = ends.new_connection();
                ends.pushed(connection, gateway, line);
                self.pushes.insert(id, connection);
                let requested = PusherEvent::Requested(request);
                vec![Event::Pusher(id, PusherEvent::Opened), Event::Pusher(id, requested)]
            }
            Brought::Question(request) => {
                self.asked += 1;
                vec![Event::Operator(RequestId(self.asked), request)]
            }
        })
    }

    /// Hands on the reply to a push by HTTP, whose back end is gone then; tells whether it was one.
    pub(super) fn reply(&mut self, id: PusherId, reply: Reply, ends: &Ends) -> bool {
        let Some(connection) = self.pushes.remove(&id) else { return false };
        let text = match reply {
            Reply::Ok(_) => "ok",
            Reply::Queued(_) => "queued",
            Reply::Fail(_) => "fail",
        };
        ends.replied(connection, text);
        true
    }

    /// An operator is told something. Who takes the device log has what is told of it dropped.
    pub(super) fn tell(&mut self, answer: &OperatorAnswer) {
        if let OperatorAnswer::DeviceLog(entries) = answer
            && let Some(last) = entries.last()
        {
            let drop = OperatorRequest::DropDeviceLog { through: last.number, limit: 1_000 };
            self.bring(Brought::Question(drop));
        }
    }

    /// The process has ended: nobody is answered.
    pub(super) fn crash(&mut self, ends: &Ends) {
        self.waiting.clear();
        for connection in std::mem::take(&mut self.pushes).into_values() {
            ends.lost(connection);
        }
    }
}
