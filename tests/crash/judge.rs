//! What must be true of everything that happened, whatever was killed in between.
//!
//! - **Nothing promised is lost**: a push answered `ok` or `queued` comes at least once to a
//!   connection bound to its key.
//! - **No cross-talk**: nothing comes that is not, byte for byte, a push to this key.
//! - **Order**: what comes over one connection is in the order in which each publisher pushed it,
//!   and so is what comes for the first time, over all connections of a key. A new connection goes
//!   on behind the last message whose confirmation is on disk: what it repeats comes first, in the
//!   order in which it came before, and nothing is repeated once something new has come. What it
//!   repeats has no gaps, but for messages that were never stored: those answered `ok`, which were
//!   confirmed first, and those without a promise.
//! - **Few duplicates**: no connection gets a message twice, and a new one repeats only what was
//!   unconfirmed, or confirmed and not removed yet, when the one before it ended. Both are bounded
//!   by settings; the bound is given.
//!
//! A push without an answer, or answered `fail`, may come or not.
//!
//! Where a client moves between [gateways](Order::PerPublisher), messages of different publishers have
//! no common order, for one is written before Redis has its place: then only each publisher's is
//! judged, and what is repeated may have gaps. What was answered `fail` has no place at all: a Redis
//! 7.0 that is killed while it writes its file may carry it out as late as at its next start but one.

use super::ledger::{Arrival, Facts, Outcome, Push, PushId};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Which messages of a key have an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// All: one gateway writes and stores them.
    Common,
    /// Those of one publisher.
    PerPublisher,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// What is wrong, a line each.
    pub(crate) findings: Vec<String>,
    pub(crate) totals: Totals,
}

/// How much there was of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) ok: usize,
    pub(crate) queued: usize,
    pub(crate) failed: usize,
    pub(crate) unanswered: usize,
    pub(crate) arrived: usize,
    /// Arrivals of what had arrived before.
    pub(crate) duplicates: usize,
    /// The most that one connection repeated.
    pub(crate) most_repeated: usize,
    /// Arrivals of what was not promised.
    pub(crate) unpromised: usize,
    pub(crate) visits: usize,
    pub(crate) lost: usize,
}

/// Judges; a connection may repeat at most `most_repeated` messages.
pub(crate) fn judge(facts: &Facts, most_repeated: usize, law: Order) -> Verdict {
    let mut verdict = Verdict::default();
    for key in 0..facts.keys.len() {
        let (seen, order, latest) = (HashMap::new(), Vec::new(), HashMap::new());
        Reader { facts, key, most_repeated, law, seen, order, latest }.read(&mut verdict);
    }
    for (publisher, pushes) in facts.pushes.iter().enumerate() {
        for push in pushes {
            *match push.outcome {
                Outcome::Ok => &mut verdict.totals.ok,
                Outcome::Queued => &mut verdict.totals.queued,
                Outcome::Fail => &mut verdict.totals.failed,
                Outcome::Unanswered => &mut verdict.totals.unanswered,
            } += 1;
        }
        report_lost(facts, publisher, &mut verdict);
    }
    verdict
}

/// The promised pushes of one publisher that never came.
fn report_lost(facts: &Facts, publisher: usize, verdict: &mut Verdict) {
    let mut came = vec![false; facts.pushes[publisher].len()];
    for (key, visits) in facts.visits.iter().enumerate() {
        for arrival in visits.iter().flatten() {
            if let Arrival::Push(id) = arrival
                && id.publisher == publisher
                && facts.pushes[publisher].get(id.number).is_some_and(|push| push.key == key)
            {
                came[id.number] = true;
            }
        }
    }
    for (number, push) in facts.pushes[publisher].iter().enumerate() {
        if push.outcome.is_promise() && !came[number] {
            verdict.totals.lost += 1;
            let (key, answer) = (&facts.keys[push.key], push.outcome);
            verdict.findings.push(format!(
                "lost: push {number} of publisher {publisher} to {key}, answered {answer:?}"
            ));
        }
    }
}

/// Reads all that came to one key.
struct Reader<'a> {
    facts: &'a Facts,
    key: usize,
    most_repeated: usize,
    law: Order,
    /// When each message came first: its place among the first arrivals.
    seen: HashMap<PushId, usize>,
    /// The first arrivals.
    order: Vec<PushId>,
    /// The last first arrival from each publisher.
    latest: HashMap<usize, usize>,
}

impl Reader<'_> {
    fn read(mut self, verdict: &mut Verdict) {
        let facts = self.facts;
        for (visit, arrivals) in facts.visits[self.key].iter().enumerate() {
            verdict.totals.visits += 1;
            verdict.totals.arrived += arrivals.len();
            let mut so_far = SoFar::default();
            for arrival in arrivals {
                let wrong = match arrival {
                    Arrival::Push(id) => self.read_push(*id, &mut so_far, &mut verdict.totals),
                    Arrival::Foreign(text) => Some(format!("cross-talk: {text:.200}")),
                };
                if let Some(wrong) = wrong {
                    let key = &facts.keys[self.key];
                    let finding = format!("{wrong}, over connection {visit} of {key}");
                    verdict.findings.push(finding);
                }
            }
            let totals = &mut verdict.totals;
            totals.duplicates += so_far.repeated;
            totals.most_repeated = totals.most_repeated.max(so_far.repeated);
            if so_far.repeated > self.most_repeated {
                let (key, most) = (&facts.keys[self.key], self.most_repeated);
                let repeated = so_far.repeated;
                verdict.findings.push(format!(
                    "duplicates: connection {visit} of {key} repeated {repeated}, more than {most}"
                ));
            }
        }
    }

    /// What is wrong with the next arrival.
    fn read_push(&mut self, id: PushId, so_far: &mut SoFar, totals: &mut Totals) -> Option<String> {
        let push = self.push(id)?;
        if push.key != self.key {
            return Some(format!("cross-talk: {id:?} to another key"));
        }
        if !so_far.came.insert(id) {
            return Some(format!("twice: {id:?}"));
        }
        let has_place = self.law == Order::Common || push.outcome != Outcome::Fail;
        let before =
            has_place.then(|| so_far.by_publisher.insert(id.publisher, id.number)).flatten();
        if before.is_some_and(|before| before > id.number) {
            return Some(format!("order: {id:?} ({:?}) after {before:?}", push.outcome));
        }
        if let Some(&place) = self.seen.get(&id) {
            so_far.repeated += 1;
            let last = so_far.last_repeated.replace(place);
            return match last {
                _ if self.law == Order::PerPublisher => None,
                _ if so_far.has_news => Some(format!("order: {id:?} repeated after news")),
                Some(last) if last > place => Some(format!("order: {id:?} repeated too late")),
                Some(last) => self.left_out(last + 1, place),
                None => None,
            };
        }
        let is_first_news = !std::mem::replace(&mut so_far.has_news, true);
        let judges_gaps = is_first_news && self.law == Order::Common;
        let repeated = so_far.last_repeated.filter(|_| judges_gaps);
        let left_out = repeated.and_then(|last| self.left_out(last + 1, self.order.len()));
        self.seen.insert(id, self.order.len());
        self.order.push(id);
        totals.unpromised += usize::from(!push.outcome.is_promise());
        let latest = has_place.then(|| self.latest.insert(id.publisher, id.number)).flatten();
        let late = latest.filter(|&latest| latest > id.number);
        let late = late.map(|latest| {
            format!("order: {id:?} ({:?}) for the first time after {latest}", push.outcome)
        });
        late.or(left_out)
    }

    /// What should have been repeated of these first arrivals, as those around it were.
    fn left_out(&self, from: usize, to: usize) -> Option<String> {
        let queued = |id: &&PushId| self.push(**id).is_some_and(|it| it.outcome == Outcome::Queued);
        let left_out = self.order[from..to].iter().find(queued);
        left_out.map(|id| format!("order: {id:?} left out among what was repeated"))
    }

    fn push(&self, id: PushId) -> Option<Push> {
        let push = self.facts.pushes.get(id.publisher)?.get(id.number);
        Some(*push.expect("a line that was pushed is in the ledger"))
    }
}

/// What one connection has got.
#[derive(Default)]
struct SoFar {
    came: HashSet<PushId>,
    /// The last one from each publisher.
    by_publisher: HashMap<usize, usize>,
    repeated: usize,
    /// The place of the last repeated one among the first arrivals.
    last_repeated: Option<usize>,
    has_news: bool,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ok, queued, failed, unanswered, .. } = self;
        let Self { arrived, visits, duplicates, most_repeated, unpromised, lost, .. } = self;
        write!(
            f,
            "answered {}: {ok} ok, {queued} queued, {failed} fail; unanswered {unanswered}; arrived \
             {arrived} over {visits} connections, {unpromised} unpromised; duplicates {duplicates}, \
             at most {most_repeated} on a connection; lost {lost}",
            ok + queued + failed
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two keys, a and b, and the pushes of one publisher: 0, 1, 2, 3 to a (answered ok, but for 2:
    /// queued), 4 to b (unanswered), 5 to b (queued).
    fn check(visits_of_a: &[&[usize]], visits_of_b: &[&[usize]], expect: &[&str]) {
        check_by(Order::Common, visits_of_a, visits_of_b, expect);
    }

    fn check_by(law: Order, visits_of_a: &[&[usize]], visits_of_b: &[&[usize]], expect: &[&str]) {
        let push = |key, outcome| Push { key, outcome, has_arrived: false };
        let a = push(0, Outcome::Ok);
        let (unanswered, queued) = (push(1, Outcome::Unanswered), push(1, Outcome::Queued));
        let failed = push(0, Outcome::Fail);
        let of = |visits: &[&[usize]]| {
            let arrival = |&number: &usize| Arrival::Push(PushId { publisher: 0, number });
            visits.iter().map(|visit| visit.iter().map(arrival).collect()).collect()
        };
        let facts = Facts {
            keys: vec!["a".to_owned(), "b".to_owned()],
            pushes: vec![vec![a, a, push(0, Outcome::Queued), a, unanswered, queued, failed]],
            visits: vec![of(visits_of_a), of(visits_of_b)],
        };
        let verdict = judge(&facts, 2, law);
        let starts = |(found, expected): (&String, &&str)| found.starts_with(expected);
        let is_as_expected = verdict.findings.len() == expect.len()
            && verdict.findings.iter().zip(expect).all(starts);
        assert!(is_as_expected, "{visits_of_a:?} {visits_of_b:?}: {:#?}", verdict.findings);
    }

    #[test]
    fn what_may_happen_is_found_good() {
        check(&[&[0, 1, 2, 3]], &[&[5]], &[]);
        check(&[&[0, 1, 2, 3]], &[&[4, 5]], &[]);
        check(&[&[0, 1, 2], &[0, 2], &[3]], &[&[5]], &[]);
        check(&[&[0, 1], &[2, 3], &[2, 3]], &[&[4, 5], &[5]], &[]);
        check(&[&[0, 1, 2], &[1, 2, 3], &[], &[3]], &[&[4], &[5]], &[]);
    }

    #[test]
    fn what_may_not_happen_is_found() {
        check(&[&[0, 1, 2]], &[&[5]], &["lost: push 3"]);
        check(&[&[0, 1, 3]], &[&[5]], &["lost: push 2"]);
        check(&[&[0, 1, 2, 3]], &[&[4]], &["lost: push 5"]);
        check(&[&[0, 1, 2, 3, 5]], &[], &["cross-talk", "lost: push 5"]);
        check(&[&[0, 2, 1, 3]], &[&[5]], &["order"]);
        check(&[&[0, 1, 2, 2, 3]], &[&[5]], &["twice"]);
        check(&[&[0, 1, 3], &[2]], &[&[5]], &["order"]);
        check(&[&[0, 1, 3], &[2, 3]], &[&[5]], &["order", "order"]);
        check(&[&[0, 1], &[2, 3], &[1, 3]], &[&[5]], &["order"]);
        check(&[&[0, 1, 2], &[1, 3]], &[&[5]], &["order"]);
        check(&[&[0, 1], &[2, 3], &[1, 2, 3]], &[&[5]], &["duplicates"]);
        check(&[&[], &[0, 1, 2, 3]], &[&[5], &[4]], &["order"]);
        check(&[&[0, 1, 2, 6, 3]], &[&[5]], &["order"]);
    }

    #[test]
    fn between_gateways_only_the_order_of_each_publisher_counts() {
        let check = |visits: &[&[usize]], expect: &[&str]| {
            check_by(Order::PerPublisher, visits, &[&[5]], expect);
        };
        check(&[&[0, 1, 2], &[0, 2], &[3]], &[]);
        check(&[&[0, 1, 2, 3], &[1, 3]], &[]);
        check(&[&[0, 2], &[1, 3]], &["order"]);
        check(&[&[0, 1], &[2, 3], &[3, 1]], &["order"]);
        check(&[&[0, 1, 2], &[1, 2, 3], &[1, 2, 3]], &["duplicates"]);
        check(&[&[0, 1, 2, 6, 3]], &[]);
        check(&[&[6, 0, 6, 1, 2, 3]], &["twice"]);
    }
}
