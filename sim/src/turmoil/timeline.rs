//! What happened in a world, line by line, as people read it; and its hash, by which two runs are
//! compared.

use siphasher::sip::SipHasher13;
use std::cell::RefCell;
use std::hash::Hasher as _;
use std::rc::Rc;
use steadfast_core::time::Span;

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

/// Whether lines are kept or only hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only the hash.
    Hash,
    /// Every line.
    Lines,
}

/// A timeline that all hosts of a world write.
#[derive(Clone, Debug)]
pub(super) struct Timeline(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    hasher: SipHasher13,
    keep: Keep,
    lines: Vec<Line>,
}

impl Timeline {
    pub(super) fn new(keep: Keep) -> Self {
        let hasher = SipHasher13::new_with_keys(3, 5);
        Self(Rc::new(RefCell::new(Inner { hasher, keep, lines: Vec::new() })))
    }

    pub(super) fn say(&self, at: Span, kind: Kind, who: &str, text: impl Into<String>) {
        let mut inner = self.0.borrow_mut();
        let text = text.into();
        inner.hasher.write_u64(at.as_micros());
        inner.hasher.write(who.as_bytes());
        inner.hasher.write(text.as_bytes());
        if inner.keep == Keep::Lines {
            inner.lines.push(Line { at, kind, who: who.to_owned(), text });
        }
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
