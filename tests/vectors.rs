//! Replays the recorded cases of `tests/vectors/` against the real daemon.
//!
//! `VECTOR=group/name cargo test --test vectors` runs one case, `VECTOR=group` one file.

mod replay;
mod support;

use replay::case::{Case, load_all};
use replay::matcher::judge;
use replay::play::{Server, play};
use replay::report;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use support::daemon::Daemon;

/// How many cases run at a time, beside those that mostly wait.
const AT_A_TIME: usize = 8;

#[test]
fn every_vector_holds() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut cases = load_all(&directory).expect("every case can be understood");
    let chosen = std::env::var("VECTOR").ok();
    if let Some(chosen) = &chosen {
        cases.retain(|case| case.name == *chosen || case.name.starts_with(&format!("{chosen}/")));
    } else {
        assert_eq!(cases.len(), 277, "cases were added or removed: correct this number");
    }
    assert!(!cases.is_empty(), "no case is called {chosen:?}");

    let start = Instant::now();
    let mut daemon = Daemon::start(&[]);
    let server = Server { ws: daemon.ws, push: daemon.push };
    let failures = run_all(&cases, server);
    assert!(daemon.is_running(), "the daemon is gone; output:\n{}", daemon.output());
    eprintln!("{} cases in {:.1} s", cases.len(), start.elapsed().as_secs_f64());
    if failures.is_empty() {
        return;
    }
    for (_, story) in &failures {
        eprintln!("{story}");
    }
    eprintln!("last output of the daemon:\n{}", daemon.output());
    let names: Vec<_> = failures.iter().map(|(name, _)| format!("  {name}\n")).collect();
    panic!("{} of {} cases failed:\n{}", failures.len(), cases.len(), names.concat());
}

/// Runs every case: first the heavy ones, each alone, then all others, those that mostly wait from
/// the start and the rest eight at a time. Names and stories of those that failed.
fn run_all(cases: &[Case], server: Server) -> Vec<(String, String)> {
    let failures = Mutex::new(Vec::new());
    let run = |case: &Case| {
        let verdict = run_one(case, server);
        if let Err(story) = verdict {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            failures.push((case.name.clone(), story));
        }
    };
    cases.iter().filter(|case| case.is_heavy).for_each(run);
    let others = cases.iter().filter(|case| !case.is_heavy);
    let (long, short): (Vec<_>, Vec<_>) = others.partition(|case| case.is_long);
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for case in long {
            scope.spawn(|| run(case));
        }
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                while let Some(case) = short.get(next.fetch_add(1, Ordering::Relaxed)) {
                    run(case);
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    failures
}

fn run_one(case: &Case, server: Server) -> Result<(), String> {
    let run = play(case, server).map_err(|why| report::breakdown(case, &why))?;
    let mut verdicts = Vec::new();
    for expectation in &case.accepted {
        match judge(expectation, &run) {
            Ok(()) => return Ok(()),
            Err(mismatches) => verdicts.push(mismatches),
        }
    }
    Err(report::failure(case, &run, &verdicts))
}
