//! What the daemon keeps on disk: over crashes, without room, and for itself alone.

mod support;

use std::path::Path;
use std::time::Duration;
use support::daemon::{Daemon, Process, Source, exit_code};
use support::push_client::PushClient;
use support::ws_client::{Open, WsClient};
use support::{poll_until, unique_key};

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);

/// Starts a daemon that keeps its messages in this directory.
fn start(data: &Path) -> Daemon {
    Daemon::start(&["--data", data.to_str().expect("temporary directories have plain names")])
}

fn line(key: &str, number: usize) -> String {
    format!(r#"{{"uid":"{key}","n":{number}}}"#)
}

/// What a client of this key gets, once the last of these has come.
fn receive(daemon: &Daemon, key: &str, expected: &[String]) -> Vec<String> {
    let client = WsClient::open(daemon.ws, &Open::default()).expect("the daemon listens");
    client.send_text(key.as_bytes());
    let last = expected.last().expect("something is expected").clone();
    let came = client.wait_text(SOON, |text| text == last.as_bytes());
    assert!(came, "{last} did not come; output:\n{}", daemon.output());
    let texts = client.texts();
    texts.into_iter().filter(|text| text.contains("\"uid\"")).collect()
}

#[test]
fn what_was_queued_is_delivered_after_crashes_in_order() {
    let data = tempfile::tempdir().unwrap();
    let key = unique_key();
    let mut expected = Vec::new();
    for round in 0..4 {
        let daemon = start(data.path());
        let pusher = PushClient::open(daemon.push).unwrap();
        for number in 0..50 {
            let line = line(&key, round * 50 + number);
            assert_eq!(pusher.push(&line).as_deref(), Some("queued"));
            expected.push(line);
        }
        daemon.crash();
    }
    let daemon = start(data.path());
    assert_eq!(receive(&daemon, &key, &expected), expected);
}

#[test]
fn without_room_pushes_fail_until_there_is_some() {
    let data = tempfile::tempdir().unwrap();
    let key = unique_key();
    let daemon = start(data.path());
    let pusher = PushClient::open(daemon.push).unwrap();
    let mut expected = Vec::new();
    let mut number = 0;
    let mut push = |until: &str| {
        let is_reached = poll_until(SOON, || {
            number += 1;
            let line = line(&key, number);
            let reply = pusher.push(&line).expect("every push is answered");
            if reply == "queued" {
                expected.push(line);
            }
            reply == until
        });
        assert!(is_reached, "no push was answered {until}; output:\n{}", daemon.output());
    };
    for _ in 0..10 {
        push("queued");
    }
    daemon.limit_files(Some(16));
    for _ in 0..3 {
        push("fail");
    }
    daemon.limit_files(None);
    for _ in 0..10 {
        push("queued");
    }
    daemon.crash();
    let daemon = start(data.path());
    let mut received = receive(&daemon, &key, &expected);
    // What was answered `fail` may still arrive.
    received.retain(|line| expected.contains(line));
    assert_eq!(received, expected);
}

#[test]
fn a_directory_serves_one_daemon() {
    let data = tempfile::tempdir().unwrap();
    let daemon = start(data.path());
    let path = data.path().to_str().unwrap();
    let mut second =
        Process::spawn(&["serve", "--ws", "127.0.0.1:0", "--push", "127.0.0.1:0", "--data", path]);
    let status = second.wait(SOON).expect("it ends by itself");
    assert_eq!(exit_code(status), 1);
    let errors = second.lines(Source::Stderr);
    let errors: Vec<_> = errors.iter().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains(path) && errors[0].contains("another process has it open"));
    assert_eq!(
        PushClient::open(daemon.push).unwrap().push(&line("1", 1)).as_deref(),
        Some("queued")
    );
}
