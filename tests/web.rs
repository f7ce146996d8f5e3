//! The JavaScript client: held to the Rust one, as ECMAScript 5, and in size.
//!
//! The scripts in `shell/web/test/` run in Node; what they need is installed by `npm ci` there, which
//! `tests/run` does.

#[path = "web/traces.rs"]
mod traces;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

/// How many worlds the two machines have to agree on.
const WORLDS: u64 = 100;

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
fn node(script: &str, input: &str) -> Output {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/shell/web");
    let mut child = Command::new("node")
        .arg(script)
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

fn assert_passes(script: &str, input: &str) {
    let output = node(script, input);
    let (told, errors) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed:\n{told}{errors}");
}

#[test]
fn both_machines_do_the_same() {
    let seed = 1;
    let traces: Vec<_> = (seed..seed + WORLDS).map(traces::trace).collect();
    let names: BTreeSet<_> = traces.iter().flat_map(traces::names).collect();
    let expected: BTreeSet<_> = COMMANDS.map(str::to_owned).into();
    assert_eq!(names, expected, "the worlds have to show everything");
    let lines: Vec<_> = traces.iter().map(ToString::to_string).collect();
    assert_passes("test/traces.js", &lines.join("\n"));
}
