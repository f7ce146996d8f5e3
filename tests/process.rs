//! The process: how it starts, how it refuses to, and how it stops.

mod support;

use std::process::Command;
use std::time::{Duration, Instant};
use support::daemon::{Daemon, Process, Source, binary, exit_code};
use support::push_client::PushClient;
use support::unique_key;
use support::ws_client::{Open, WsClient};

const SOON: Duration = Duration::from_secs(5);

/// The process has to end by itself, not with 0, and with one line on standard error that has all
/// of these words.
fn assert_refuses(mut process: Process, words: &[&str]) {
    let Some(status) = process.wait(SOON) else {
        panic!("still running; output:\n{}", process.output());
    };
    assert_ne!(exit_code(status), 0, "output:\n{}", process.output());
    let lines = process.lines(Source::Stderr);
    let errors: Vec<_> = lines.iter().filter(|line| !line.starts_with("warning: ")).collect();
    assert_eq!(errors.len(), 1, "not one line: {lines:?}");
    for word in words {
        assert!(errors[0].contains(word), "{word} is not named: {}", errors[0]);
    }
    let is_ready = process.lines(Source::Stdout).iter().any(|line| line.contains("ready"));
    assert!(!is_ready, "it said that it was ready; output:\n{}", process.output());
}

#[test]
fn a_port_in_use_is_named() {
    let daemon = Daemon::start(&[]);
    let (ws, push) = (daemon.ws.to_string(), daemon.push.to_string());
    let process = Process::spawn(&["serve", "--ws", &ws, "--push", "127.0.0.1:0"]);
    assert_refuses(process, &[&ws]);
    let process = Process::spawn(&["serve", "--ws", "127.0.0.1:0", "--push", &push]);
    assert_refuses(process, &[&push]);
}

#[test]
fn an_unknown_key_in_the_configuration_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("steadfast.toml");
    std::fs::write(&path, "idel_timeout = \"12s\"\n").unwrap();
    let path = path.to_str().unwrap();
    for command in ["serve", "check"] {
        let process = Process::spawn(&[command, "--config", path]);
        assert_refuses(process, &["idel_timeout", path]);
    }
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let process = Process::spawn(&["serve", "--config", "/nonexistent/steadfast.toml"]);
    assert_refuses(process, &["/nonexistent/steadfast.toml"]);
}

#[test]
fn an_open_push_port_has_to_be_asked_for() {
    let process = Process::spawn(&["serve", "--ws", "127.0.0.1:0", "--push", "0.0.0.0:0"]);
    assert_refuses(process, &["push"]);
}

#[test]
fn too_few_file_descriptors_are_named() {
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 300 && exec "$0" "$@""#]).arg(binary());
    command.args(["serve", "--ws", "127.0.0.1:0", "--push", "127.0.0.1:0"]);
    command.args(["--max-connections", "5000"]);
    assert_refuses(Process::spawn_command(command), &["max_connections", "5000", "300"]);
}

#[test]
fn a_stop_tells_every_client_and_ends_with_0() {
    let mut daemon = Daemon::start(&[]);
    let clients: Vec<_> =
        (0..20).map(|_| WsClient::bind_digits(daemon.ws, &unique_key())).collect();
    let unbound = WsClient::open(daemon.ws, &Open::default()).unwrap();
    let pusher = PushClient::open(daemon.push).unwrap();
    assert_eq!(pusher.push("{}").as_deref(), Some("fail"));
    daemon.sigterm();
    for client in clients.iter().chain([&unbound]) {
        let closed = client.wait_closed(SOON).map(|(_, code, reason)| (code, reason));
        assert_eq!(closed, Some((1001, "going away".to_owned())));
    }
    assert!(pusher.wait_closed(SOON), "the push connection stays open");
    let status = daemon.wait(SOON).expect("it ends");
    assert_eq!(exit_code(status), 0, "output:\n{}", daemon.output());
    assert!(WsClient::open(daemon.ws, &Open::default()).is_err(), "somebody still listens");
}

#[test]
fn what_is_answered_before_a_stop_holds() {
    let mut daemon = Daemon::start(&[]);
    let key = unique_key();
    let client = WsClient::bind_digits(daemon.ws, &key);
    let pusher = PushClient::open(daemon.push).unwrap();
    let lines: String = (0..500).map(|n| format!("{{\"uid\":\"{key}\",\"n\":{n}}}\n")).collect();
    pusher.send(lines.as_bytes());
    // The first reply shows that the daemon is at them.
    assert!(pusher.wait_replies(1, SOON));
    daemon.sigterm();
    assert!(pusher.wait_closed(SOON), "the push connection stays open");
    assert_eq!(exit_code(daemon.wait(SOON).expect("it ends")), 0);
    let replies = pusher.replies();
    let promised = replies.iter().filter(|reply| *reply == "ok" || *reply == "queued").count();
    let refused = replies.iter().filter(|reply| *reply == "fail").count();
    assert_eq!(promised + refused, replies.len(), "{replies:?}");
    // What was answered ok has been written before the close frame.
    let arrived = client.texts().len() - 1;
    let ok = replies.iter().filter(|reply| *reply == "ok").count();
    assert!(arrived >= ok, "{ok} were answered ok, {arrived} arrived");
}

/// A daemon that cannot stop at once: a client of it reads nothing, and a lot is on the way to it.
fn reluctant_daemon(shutdown_timeout: &str) -> (Daemon, WsClient) {
    let daemon = Daemon::start(&["--shutdown-timeout", shutdown_timeout, "--pong-timeout=60s"]);
    let key = unique_key();
    let how = Open { rcvbuf: Some(4096), ..Open::default() };
    let client = WsClient::bind_digits_with(daemon.ws, &key, &how);
    client.mute();
    let pusher = PushClient::open(daemon.push).expect("the push port accepts");
    let line = format!(r#"{{"uid":"{key}","D":"{}"}}"#, "d".repeat(8 << 20));
    assert_eq!(pusher.push(&line).as_deref(), Some("ok"));
    (daemon, client)
}

#[test]
fn a_client_that_reads_nothing_delays_a_stop_by_its_bound_only() {
    let (mut daemon, _client) = reluctant_daemon("2s");
    let start = Instant::now();
    daemon.sigterm();
    let status = daemon.wait(SOON).expect("it ends within its bound");
    assert_eq!(exit_code(status), 0);
    assert!(start.elapsed() < Duration::from_secs(4), "after {:?}", start.elapsed());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut daemon, _client) = reluctant_daemon("60s");
    daemon.sigterm();
    assert!(daemon.wait(Duration::from_millis(500)).is_none(), "it did not wait for its client");
    daemon.sigterm();
    let status = daemon.wait(Duration::from_secs(2)).expect("the second signal ends it");
    assert_eq!(exit_code(status), 143);
}
