//! What occurs in a world, for the census.

use crate::schedule::Delivered;
use crate::tally;
use std::cell::RefCell;
use std::rc::Rc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::link::{LinkCommand, LinkEvent};
use steadfast_core::time::{Span, Time};

/// Clients that lose their connections within this time lose them at once.
const AT_ONCE: Span = Span::from_millis(200);

/// So many of them are a storm.
const STORM: u32 = 4;

/// A count that all hosts of a world share.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    tally: tally::Tally,
    /// Since when clients have lost their connections, and how many did.
    losses: (Time, u32),
}

impl Tally {
    /// A fault took effect.
    pub(super) fn count(&self, fault: Delivered) {
        self.0.borrow_mut().tally.delivered(fault);
    }

    /// A client has lost its connection.
    pub(super) fn lost_connection(&self, now: Time) {
        let mut inner = self.0.borrow_mut();
        let (since, count) = inner.losses;
        inner.losses = if now > since + AT_ONCE { (now, 1) } else { (since, count + 1) };
        if inner.losses.1 == STORM {
            inner.tally.delivered(Delivered::Stormed);
        }
    }

    /// A link was told this and ordered that.
    pub(super) fn link(&self, event: &LinkEvent, commands: &[LinkCommand]) {
        self.0.borrow_mut().tally.link(event, commands);
    }

    /// A gateway was told this and ordered that.
    pub(super) fn batch(&self, event: &Event, commands: &[Command]) {
        self.0.borrow_mut().tally.batch(event, commands);
    }

    pub(super) fn counts(&self) -> tally::Tally {
        self.0.borrow().tally.clone()
    }
}
