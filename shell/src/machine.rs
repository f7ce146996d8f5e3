//! What the reactor drives: anything that takes events and gives commands.

use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::gateway::Gateway;
use steadfast_core::time::Time;

/// A sans-I/O state machine behind sockets: the gateway, or in examples something simpler.
pub trait Machine: Send {
    /// Takes one event and appends the commands it causes.
    fn handle(&mut self, now: Time, event: Event, commands: &mut Vec<Command>);

    /// When [`Event::DeadlineReached`] is due.
    fn next_deadline(&self) -> Option<Time>;

    /// A turn of the event loop is over. Does nothing unless implemented.
    fn turn_ended(&mut self) {}
}

impl Machine for Gateway {
    fn handle(&mut self, now: Time, event: Event, commands: &mut Vec<Command>) {
        Self::handle(self, now, event, commands);
    }

    fn next_deadline(&self) -> Option<Time> {
        Self::next_deadline(self).map(|(at, _)| at)
    }
}
