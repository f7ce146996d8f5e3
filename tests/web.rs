//! The JavaScript client: held to the Rust one, and in a real browser.
//!
//! The scripts in `shell/web/test/` run in Node, and need Debian's chromium and what `npm ci` installs
//! in `shell/web/`; `tests/run` sees to both.

#[path = "web/traces.rs"]
mod traces;

use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// How many worlds the two machines have to agree on in Node, and how many in the browser.
const WORLDS: u64 = 100;
const WORLDS_IN_BROWSER: u64 = 10;

/// What the worlds must have had together, or they show too little.
const COMMANDS: [&str; 22] = [
    "close",
    "deliver",
    "open poll",
    "open ws",
    "report gatewayError",
    "report gaveUp",
    "report opRefused",
    "report opsConfirmed",
    "report refused",
    "report retryIn",
    "report suspect",
    "report welcomed",
    "save op",
    "save opsDone",
    "save seen",
    "save session",
    "send",
    "state connected",
    "state connecting",
    "state disconnected",
    "state fallback",
    "state reconnecting",
];

/// Runs a script of `shell/web/` in Node.
fn node(script: &str, arguments: &[&str], input: &str) -> Output {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/shell/web");
    let mut child = Command::new("node")
        .arg(script)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("node runs; Debian's package is nodejs");
    let mut stdin = child.stdin.take().expect("it is piped");
    // A script that fails early closes its input.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("node ends")
}

fn assert_passes(script: &str, arguments: &[&str], input: &str) {
    let output = node(script, arguments, input);
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed:\n{told}{errors}");
}

fn lines(traces: &[Value]) -> String {
    traces.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn both_machines_do_the_same() {
    let traces: Vec<_> = (1..=WORLDS).map(traces::trace).collect();
    let names: BTreeSet<_> = traces.iter().flat_map(traces::names).collect();
    let expected: BTreeSet<_> = COMMANDS.map(str::to_owned).into();
    assert_eq!(names, expected, "the worlds have to show everything");
    assert_passes("test/traces.js", &[], &lines(&traces));
}

/// Two pages with the client and one of the old kind: messages, a killed daemon, a reload, a network
/// that goes, WebSockets that are blocked.
#[test]
fn pages_get_everything_once() {
    let traces: Vec<_> = (1..=WORLDS_IN_BROWSER).map(|seed| traces::trace(1_000 + seed)).collect();
    assert_passes("test/browser.js", &[env!("CARGO_BIN_EXE_steadfast")], &lines(&traces));
}
