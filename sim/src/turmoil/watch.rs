//! Everyone who looks on: the oracles, and the census.

use super::START;
use crate::oracle::{Fact, Inventory, Judge, Moment, Violation};
use crate::schedule::{Family, Schedule};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::time::{Span, Time};

/// What all hosts of a world report to.
#[derive(Clone, Debug)]
pub(super) struct Watch(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// One judge for each gateway, since each has a store of its own. Worlds of a script have no judge
    /// but their reader.
    judges: Vec<Judge>,
    census: BTreeMap<&'static str, u64>,
}

impl Watch {
    pub(super) fn new(schedule: Option<&Schedule>) -> Self {
        let judges =
            schedule.filter(|schedule| is_judged(schedule)).map_or(Vec::new(), |schedule| {
                (0..schedule.world.gateways).map(|_| Judge::new(schedule)).collect()
            });
        Self(Rc::new(RefCell::new(Inner { judges, census: BTreeMap::new() })))
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
        for command in commands {
            *inner.census.entry(name(command)).or_default() += 1;
        }
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

    pub(super) fn census(&self) -> BTreeMap<&'static str, u64> {
        self.0.borrow().census.clone()
    }
}

/// Whether the judge follows everything that can happen. What a run that ended had left open, and what
/// the store does after the gateway has waited for it long enough, it does not; the ends of the wires
/// are judged in every world.
fn is_judged(schedule: &Schedule) -> bool {
    let beyond = [Family::Crash, Family::Bounce, Family::StoreStalled, Family::StoreSlow];
    beyond.iter().all(|family| !schedule.families.contains(family))
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Record(record) => record.tag(),
        Command::Store { request, .. } => request.kind(),
        Command::Send { .. } => "send",
        Command::Ping { .. } => "ping",
        Command::Pong { .. } => "pong",
        Command::ReportDrained { .. } => "report drained",
        Command::Close { .. } => "close",
        Command::Reply { .. } => "reply",
        Command::Pause { .. } => "pause",
        Command::Resume { .. } => "resume",
        Command::Finish { .. } => "finish",
        Command::Answer { .. } => "answer",
    }
}
