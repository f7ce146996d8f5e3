//! What happened in a world, line by line, as people read it; and its hash, by which two runs are
//! compared.

use crate::direct::hasher::TraceHasher;
use std::cell::RefCell;
use std::hash::{Hash as _, Hasher as _};
use std::rc::Rc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::time::{Span, Time};

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A remark of the script.
    Note,
    /// Something was done to a machine or to the network.
    World,
    /// What a client or a back end saw or sent.
    Wire,
    /// What a gateway recorded.
    Record,
    /// What a gateway was told and ordered.
    Core,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, since the world began.
    pub at: Span,
    /// What it is about.
    pub kind: Kind,
    /// Which host, client or back end.
    pub who: String,
    /// What happened.
    pub text: String,
}

/// Which lines are kept; the hash is always that of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// None.
    Hash,
    /// Every line.
    Lines,
    /// Those about the key of this place, and about the world.
    OfKey(usize),
}

/// A timeline that all hosts of a world write.
#[derive(Clone, Debug)]
pub(super) struct Timeline(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    hasher: TraceHasher,
    keep: Keep,
    lines: Vec<Line>,
}

impl Timeline {
    pub(super) fn new(keep: Keep) -> Self {
        let hasher = TraceHasher::default();
        Self(Rc::new(RefCell::new(Inner { hasher, keep, lines: Vec::new() })))
    }

    /// What is kept.
    pub(super) fn keep(&self) -> Keep {
        self.0.borrow().keep
    }

    /// Something that concerns everybody.
    pub(super) fn say(&self, at: Span, kind: Kind, who: &str, text: impl Into<String>) {
        let text = text.into();
        self.hash_line(at, who, &text);
        if self.keep() != Keep::Hash {
            self.write(at, kind, who, text);
        }
    }

    /// Something that concerns those who look at this key, or at all of them.
    pub(super) fn say_of(&self, at: Span, who: &str, key: Option<usize>, text: impl Into<String>) {
        let text = text.into();
        self.hash_line(at, who, &text);
        let keep = self.keep();
        if keep == Keep::Lines || key.is_some_and(|key| keep == Keep::OfKey(key)) {
            self.write(at, Kind::Wire, who, text);
        }
    }

    fn hash_line(&self, at: Span, who: &str, text: &str) {
        (at, who, text).hash(&mut self.0.borrow_mut().hasher);
    }

    /// A gateway was told this and ordered that.
    pub(super) fn batch(
        &self,
        at: Span,
        wall: Time,
        who: usize,
        event: &Event,
        commands: &[Command],
    ) {
        (at, wall, who, event, commands).hash(&mut self.0.borrow_mut().hasher);
    }

    /// Keeps a line whose content is hashed already.
    pub(super) fn write(&self, at: Span, kind: Kind, who: &str, text: String) {
        self.0.borrow_mut().lines.push(Line { at, kind, who: who.to_owned(), text });
    }

    pub(super) fn hash(&self) -> u64 {
        self.0.borrow().hasher.finish()
    }

    pub(super) fn take_lines(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.borrow_mut().lines)
    }
}

/// Lines as a table for people. A line at the same time as the one before it does not repeat it.
#[must_use]
pub fn table(lines: &[Line]) -> String {
    let width = lines.iter().map(|line| line.who.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    let mut last = None;
    for line in lines {
        if line.kind == Kind::Note {
            text.push_str(&format!("# {}\n", line.text));
            continue;
        }
        let millis = line.at.as_millis();
        let at = if last == Some(millis) {
            String::new()
        } else {
            format!("{}.{:03}", millis / 1_000, millis % 1_000)
        };
        last = Some(millis);
        text.push_str(&format!("{at:>8}  {:<width$}  {}\n", line.who, line.text));
    }
    text
}
