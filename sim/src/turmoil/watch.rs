//! Everyone who looks on: the oracles, and the census.

use super::START;
use super::tally::Tally;
use crate::oracle::{Fact, Inventory, Judge, Moment, Violation};
use crate::schedule::Schedule;
use std::cell::RefCell;
use std::rc::Rc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::time::{Span, Time};

/// Who judges a world.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// The oracles, by the schedule that is carried out.
    Oracles(&'a Schedule),
    /// Whoever reads its timeline.
    Reader,
    /// Nobody: only its hash is wanted.
    Nobody,
}

/// What all hosts of a world report to.
#[derive(Clone, Debug)]
pub(super) struct Watch(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// One judge for each gateway, since each has a store of its own. Worlds of a script have no judge
    /// but their reader.
    judges: Vec<Judge>,
    /// Whether the core's tables are checked after every event.
    checked: bool,
    tally: Tally,
    events: u64,
}

impl Watch {
    pub(super) fn new(by: By, tally: Tally) -> Self {
        let (judges, checked) = match by {
            By::Oracles(schedule) => {
                let judges = (0..schedule.world.gateways).map(|_| Judge::new(schedule));
                (judges.collect(), true)
            }
            By::Reader => (Vec::new(), true),
            By::Nobody => (Vec::new(), false),
        };
        Self(Rc::new(RefCell::new(Inner { judges, checked, tally, events: 0 })))
    }

    /// Whether the core's tables are to be checked after every event.
    pub(super) fn is_checked(&self) -> bool {
        self.0.borrow().checked
    }

    /// A gateway was told this and ordered that.
    pub(super) fn batch(
        &self,
        at: Span,
        wall: Time,
        gateway: usize,
        event: &Event,
        commands: &[Command],
    ) {
        let mut inner = self.0.borrow_mut();
        inner.events += 1;
        inner.tally.batch(event, commands);
        if let Some(judge) = inner.judges.get_mut(gateway) {
            judge.batch(Moment { elapsed: at, wall }, gateway as u32, event, commands);
        }
    }

    /// The world tells a fact about a gateway. Only those of its own have its clock.
    pub(super) fn fact(&self, at: Span, wall: Option<Time>, gateway: usize, fact: Fact) {
        if let Some(judge) = self.0.borrow_mut().judges.get_mut(gateway) {
            judge.fact(Moment { elapsed: at, wall: wall.unwrap_or(START + at) }, fact);
        }
    }

    /// What was found first.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.0.borrow().judges.iter().find_map(|judge| judge.violation().cloned())
    }

    /// The world is over, and this is what a gateway's store holds.
    pub(super) fn end(&self, gateway: usize, inventory: &Inventory) {
        if let Some(judge) = self.0.borrow_mut().judges.get_mut(gateway) {
            judge.end(inventory);
        }
    }

    /// How many events the gateways were told.
    pub(super) fn events(&self) -> u64 {
        self.0.borrow().events
    }
}
