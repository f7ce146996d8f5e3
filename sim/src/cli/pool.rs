//! Seeds on all cores, with a progress bar.

use indicatif::{ProgressBar, ProgressStyle};
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;

/// Works on every seed and hands the results to `take` as they come, until it has had enough.
pub(super) fn each<T: Send>(
    seeds: Range<u64>,
    jobs: usize,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(u64, T) -> ControlFlow<()>,
) {
    let bar = ProgressBar::new(seeds.end - seeds.start);
    bar.set_style(style());
    let (next, enough) = (AtomicU64::new(seeds.start), AtomicBool::new(false));
    let (sender, results) = mpsc::sync_channel(jobs * 16);
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next, enough, work) = (sender.clone(), &next, &enough, &work);
            scope.spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || sender.send((seed, work(seed))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for (seed, result) in &results {
            bar.inc(1);
            if !enough.load(Ordering::Relaxed) && take(seed, result).is_break() {
                enough.store(true, Ordering::Relaxed);
            }
        }
    });
    bar.finish_and_clear();
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{wide_bar} {pos}/{len} seeds, {per_sec}, {eta} left")
        .expect("the template is right")
}
