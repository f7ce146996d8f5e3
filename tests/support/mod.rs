//! What the end-to-end tests share: the daemon under test, and raw clients that can misbehave.
//!
//! Everything here works on real sockets and a real process. Nothing waits for a fixed time:
//! every wait is for something that can be seen, and has a deadline.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

pub(crate) mod daemon;
pub(crate) mod flood;
pub(crate) mod frames;
pub(crate) mod log;
pub(crate) mod pump;
pub(crate) mod push_client;
pub(crate) mod ws_client;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Looks every few milliseconds until `seen` says yes; `false` when it has not by `limit`.
pub(crate) fn poll_until(limit: Duration, mut seen: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if seen() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        pause(Duration::from_millis(5));
    }
}

/// Lets time pass. Only for what is itself about time: the pauses that a recorded case asks for,
/// and looking again after a while. A test that waits for something uses [`poll_until`].
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A number of nine digits, without a leading zero, that nothing else in this process uses.
pub(crate) fn unique_key() -> String {
    // Started from the clock, so that two runs against one daemon do not meet either.
    static NEXT: LazyLock<AtomicU64> = LazyLock::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = since_epoch.expect("the clock is past 1970").as_secs();
        AtomicU64::new(100_000_000 + seconds * 1_000 % 800_000_000)
    });
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
}
