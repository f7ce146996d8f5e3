//! Compares what was seen with what was expected.
//!
//! A stream is matched like a regular expression: the set of places that the seen events may have
//! been consumed up to is carried from item to item, so a choice taken early (an optional event, a
//! repeat) never hides a match. A stream must be consumed to its end.

use super::Stream;
use super::expect::{Expectation, Item, Repeating, Seen, Want};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Something seen, and when, counted from the start of the case.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) seen: Seen,
}

/// All that was seen in one run of a case.
#[derive(Default)]
pub(crate) struct Run {
    pub(crate) streams: BTreeMap<Stream, Vec<Moment>>,
    /// When each step of the case's list was completed.
    pub(crate) finished: Vec<Option<Duration>>,
}

/// Where a stream departs from what was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) stream: Stream,
    /// The first expected item that could not be satisfied; behind the last one when something
    /// unexpected followed.
    pub(crate) item: usize,
    /// The first event that could not be explained; behind the last one when one is missing.
    pub(crate) event: usize,
}

/// Judges every stream that was expected or seen.
pub(crate) fn judge(expectation: &Expectation, run: &Run) -> Result<(), Vec<Mismatch>> {
    let streams: BTreeSet<_> = expectation.streams.keys().chain(run.streams.keys()).collect();
    let mut mismatches = Vec::new();
    for stream in streams {
        let items = expectation.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let seen = run.streams.get(stream).map_or(&[][..], Vec::as_slice);
        if let Err((item, event)) = match_stream(items, &View { seen, finished: &run.finished }) {
            mismatches.push(Mismatch { stream: stream.clone(), item, event });
        }
    }
    if mismatches.is_empty() { Ok(()) } else { Err(mismatches) }
}

struct View<'a> {
    seen: &'a [Moment],
    finished: &'a [Option<Duration>],
}

impl View<'_> {
    /// Whether the event at this place is the wanted one, in time.
    fn fits(&self, place: usize, want: &Want) -> bool {
        let Some(moment) = self.seen.get(place) else { return false };
        want.pattern.matches(&moment.seen) && self.is_in_time(moment.at, want)
    }

    fn is_in_time(&self, at: Duration, want: &Want) -> bool {
        let Some(window) = &want.window else { return true };
        let Some(Some(start)) = self.finished.get(window.after_step) else { return false };
        at >= *start + window.earliest && at <= *start + window.latest
    }
}

fn match_stream(items: &[Item], view: &View<'_>) -> Result<(), (usize, usize)> {
    let mut places = BTreeSet::from([0]);
    for (index, item) in items.iter().enumerate() {
        let next: BTreeSet<_> =
            places.iter().flat_map(|&place| places_after(item, place, view)).collect();
        if next.is_empty() {
            return Err((index, furthest(&places)));
        }
        places = next;
    }
    if places.contains(&view.seen.len()) {
        return Ok(());
    }
    Err((items.len(), furthest(&places)))
}

fn furthest(places: &BTreeSet<usize>) -> usize {
    *places.last().expect("a failed match keeps the places before it")
}

/// Where the events may go on after this item, when it begins at `place`.
fn places_after(item: &Item, place: usize, view: &View<'_>) -> Vec<usize> {
    match item {
        Item::One(want) if view.fits(place, want) => vec![place + 1],
        Item::One(_) => Vec::new(),
        Item::Optional(want) if view.fits(place, want) => vec![place, place + 1],
        Item::Optional(_) => vec![place],
        Item::Unordered(wants) => {
            let mut left: Vec<_> = wants.iter().collect();
            if is_permutation(&mut left, place, view) {
                vec![place + wants.len()]
            } else {
                Vec::new()
            }
        }
        Item::Repeating(group) => places_after_group(group, place, view),
    }
}

fn is_permutation(left: &mut Vec<&Want>, place: usize, view: &View<'_>) -> bool {
    if left.is_empty() {
        return true;
    }
    for index in 0..left.len() {
        if view.fits(place, left[index]) {
            let taken = left.swap_remove(index);
            if is_permutation(left, place + 1, view) {
                return true;
            }
            left.push(taken);
        }
    }
    false
}

/// How much of a group has been seen: how many of the ordered members, and which of the others.
type Progress = (usize, BTreeSet<usize>);

fn places_after_group(group: &Repeating, start: usize, view: &View<'_>) -> Vec<usize> {
    let is_complete = |(ordered, once): &Progress| {
        *ordered == group.at_least_once.len() && once.len() == group.once.len()
    };
    let mut states = BTreeSet::from([(0, BTreeSet::new())]);
    let mut ends = Vec::new();
    for place in start..=view.seen.len() {
        if states.iter().any(is_complete) {
            ends.push(place);
        }
        states = states.iter().flat_map(|state| progress_by(group, state, place, view)).collect();
    }
    ends
}

/// What the event at this place can mean to the group.
fn progress_by(
    group: &Repeating,
    state: &Progress,
    place: usize,
    view: &View<'_>,
) -> Vec<Progress> {
    let (ordered, once) = state;
    let mut next = Vec::new();
    if group.at_least_once.get(*ordered).is_some_and(|want| view.fits(place, want)) {
        next.push((ordered + 1, once.clone()));
    }
    let mut repeats = group.at_least_once[..*ordered].iter().chain(&group.maybe);
    if repeats.any(|want| view.fits(place, want)) {
        next.push(state.clone());
    }
    for (index, want) in group.once.iter().enumerate() {
        if !once.contains(&index) && view.fits(place, want) {
            let mut once = once.clone();
            once.insert(index);
            next.push((*ordered, once));
        }
    }
    next
}

#[cfg(test)]
#[path = "matcher_tests.rs"]
mod tests;
