//! Tests that need what only a namespace of their own allows: mounts, links.
//!
//! Such a test runs itself once more in fresh namespaces, where it is root. Whatever it mounts or
//! cuts there is gone with its last process, however it ends.

use std::process::Command;

/// Says so inside.
const INSIDE: &str = "CRASH_TEST_IN_NAMESPACE";

/// Whether the test is where it wants to be. Otherwise it has been run there by now, and the caller
/// returns; fails when it failed there. `namespaces` are flags of `unshare`.
pub(crate) fn enter(test: &str, namespaces: &[&str]) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--pid", "--fork", "--kill-child"]).args(namespaces);
        command
    };
    let probe = unshare().arg("true").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        // A machine that runs everything has to allow it; others need not.
        assert!(std::env::var_os("CI").is_none(), "unshare of {namespaces:?} is not permitted");
        eprintln!("{test}: not run, unshare of {namespaces:?} is not permitted here");
        return false;
    }
    let this = std::env::current_exe().expect("a test knows its program");
    let run = unshare().arg(this).args([test, "--exact", "--nocapture"]).env(INSIDE, "1").output();
    let run = run.expect("unshare ran a moment ago");
    let output = [run.stdout, run.stderr].concat();
    let output = String::from_utf8_lossy(&output);
    assert!(run.status.success() && output.contains("1 passed"), "{output}");
    false
}
