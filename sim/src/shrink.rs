//! Delta debugging: the part of a schedule that still fails, from which nothing more can be left out.

use crate::schedule::{Op, Schedule};

/// A part of the schedule's operations that still fails. Since every actor has random streams of its
/// own, what is left out changes nothing for the others.
pub fn shrink(schedule: &Schedule, fails: impl Fn(&Schedule) -> bool) -> Schedule {
    let part = |ops: Vec<Op>| Schedule { ops, ..schedule.clone() };
    let mut ops = schedule.ops.clone();
    let mut chunk = ops.len().div_ceil(2);
    loop {
        let before = ops.len();
        let mut start = 0;
        while start < ops.len() {
            let end = (start + chunk).min(ops.len());
            let mut rest = ops.clone();
            rest.drain(start..end);
            if fails(&part(rest.clone())) {
                ops = rest;
            } else {
                start = end;
            }
        }
        if chunk == 1 && ops.len() == before {
            return part(ops);
        }
        chunk = chunk.div_ceil(2).min(ops.len().max(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Tier;

    #[test]
    fn only_what_is_needed_stays() {
        let schedule = Schedule::draw(1, Tier::Direct);
        let needed = [schedule.ops[7].clone(), schedule.ops[200].clone()];
        let small = shrink(&schedule, |part| needed.iter().all(|op| part.ops.contains(op)));
        assert_eq!(small.ops, needed);
    }
}
