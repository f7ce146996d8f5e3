//! The event loop's end of a recording.

use super::format::{self, Digest};
use super::queue::{Closing, Going, Queue};
use crate::machine::Machine;
use serde::Serialize;
use std::mem;
use std::sync::Arc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::time::Time;

/// Events are handed over before the turn ends once they have so many bytes.
const HAND_OVER_AT: usize = 1 << 20;

/// A machine whose events are recorded, as long as that goes well.
#[derive(Debug)]
pub struct Recorder<M> {
    machine: M,
    tape: Option<Tape>,
}

impl<M> Recorder<M> {
    /// A machine that is not recorded, until [`Recording::attach`](super::Recording::attach).
    pub fn off(machine: M) -> Self {
        Self { machine, tape: None }
    }

    pub(super) fn put_in(&mut self, tape: Tape) {
        self.tape = Some(tape);
    }

    /// Whether a further segment could begin now.
    #[cfg(test)]
    pub(super) fn takes_state(&self) -> bool {
        self.tape.as_ref().is_none_or(|tape| tape.queue.takes_state())
    }

    /// Whether it is still recorded.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.tape.is_some()
    }
}

impl<M: Machine + Serialize> Machine for Recorder<M> {
    fn handle(&mut self, now: Time, event: Event, commands: &mut Vec<Command>) {
        let Some(tape) = &mut self.tape else {
            return self.machine.handle(now, event, commands);
        };
        tape.event(now, &event);
        let before = commands.len();
        self.machine.handle(now, event, commands);
        tape.commands(&commands[before..]);
        if tape.events.len() >= HAND_OVER_AT {
            self.hand_over();
        }
    }

    fn next_deadline(&self) -> Option<Time> {
        self.machine.next_deadline()
    }

    fn turn_ended(&mut self) {
        self.machine.turn_ended();
        self.hand_over();
    }
}

impl<M: Serialize> Recorder<M> {
    /// Hands the events to the thread, and the machine's state when the segment is full.
    fn hand_over(&mut self) {
        let Some(tape) = &mut self.tape else { return };
        match tape.hand_over() {
            Going::On if tape.needs_state() => tape.state(&self.machine),
            Going::On => {}
            Going::Over => self.tape = None,
        }
    }
}

/// Where events are gathered before they are handed over.
#[derive(Debug)]
pub(super) struct Tape {
    queue: Arc<Queue>,
    _closing: Closing,
    /// A further segment begins after so many bytes.
    segment: u64,
    /// How many the one being written has.
    written: u64,
    /// The time of the last event in this segment.
    last: Time,
    events: Vec<u8>,
    count: u64,
    scratch: Vec<u8>,
}

impl Tape {
    pub(super) fn new(queue: Arc<Queue>, segment: u64) -> Self {
        Self {
            _closing: Closing(Arc::clone(&queue)),
            queue,
            segment,
            written: 0,
            last: Time::EPOCH,
            events: Vec::new(),
            count: 0,
            scratch: Vec::new(),
        }
    }

    fn event(&mut self, now: Time, event: &Event) {
        format::write_event(now.since(self.last), event, &mut self.events);
        self.last = now;
        self.count += 1;
    }

    fn commands(&mut self, commands: &[Command]) {
        let digest = Digest::of(commands, &mut self.scratch);
        format::write_digest(digest, &mut self.events);
        if self.scratch.capacity() > HAND_OVER_AT {
            self.scratch = Vec::new();
        }
    }

    fn hand_over(&mut self) -> Going {
        if self.count == 0 {
            return Going::On;
        }
        self.written += self.events.len() as u64;
        let count = mem::take(&mut self.count);
        self.queue.hand_over(&mut self.events, count, self.last)
    }

    /// Whether a further segment is due, and can begin.
    fn needs_state(&self) -> bool {
        self.written >= self.segment && self.queue.takes_state()
    }

    /// Begins a further segment with this state.
    fn state(&mut self, machine: &impl Serialize) {
        let mut state = Vec::new();
        format::write(machine, &mut state);
        self.queue.hand_over_state(state);
        self.written = 0;
        self.last = Time::EPOCH;
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        self.hand_over();
    }
}
