//! The daemon on a Redis that comes and goes.

#[path = "../shell/tests/redis_store/server.rs"]
mod server;
mod support;

use server::{PATIENCE, RedisServer};
use support::daemon::{Daemon, Source};
use support::push_client::PushClient;
use support::ws_client::{Open, WsClient};
use support::{poll_until, unique_key};

fn push_of(key: &str, text: &str) -> String {
    format!("{{\"uid\":\"{key}\",\"msg\":\"{text}\"}}")
}

fn has_logged(daemon: &Daemon, words: &str) -> bool {
    let lines = || daemon.lines(Source::Stdout);
    poll_until(PATIENCE, || lines().iter().any(|line| line.contains(words)))
}

#[test]
fn what_was_answered_outlives_the_daemon_and_redis() {
    let mut redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let url = redis.url();
    let flags = ["--redis", &url];
    let mut daemon = Daemon::start(&flags);
    let pusher = PushClient::open(daemon.push).unwrap();
    let key = unique_key();
    let lines: Vec<_> = (0..20).map(|n| push_of(&key, &format!("m{n}"))).collect();
    for line in &lines {
        assert_eq!(pusher.push(line).as_deref(), Some("queued"));
    }
    daemon.kill();
    redis.kill();
    redis.run();
    let daemon = Daemon::start(&flags);
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    client.send_text(key.as_bytes());
    let all = || lines.iter().all(|line| client.texts().contains(line));
    assert!(poll_until(PATIENCE, all), "{:?}\n{}", client.texts(), daemon.output());
    let mut texts = client.texts();
    texts.retain(|text| lines.contains(text));
    assert_eq!(texts, lines, "each once and in order");
}

#[test]
fn without_redis_only_what_is_confirmed_is_promised() {
    let mut redis = RedisServer::prepare(&["--appendonly", "yes"]);
    let daemon = Daemon::start(&["--redis", &redis.url()]);
    assert!(has_logged(&daemon, "[store failing]"), "{}", daemon.output());
    let pusher = PushClient::open(daemon.push).unwrap();
    let offline = push_of(&unique_key(), "offline");
    assert_eq!(pusher.push(&offline).as_deref(), Some("fail"));
    redis.run();
    assert!(has_logged(&daemon, "[store works]"), "{}", daemon.output());
    let key = unique_key();
    let client = WsClient::bind_digits(daemon.ws, &key);
    assert_eq!(pusher.push(&push_of(&key, "before")).as_deref(), Some("ok"));
    assert_eq!(pusher.push(&offline).as_deref(), Some("queued"));
    redis.kill();
    // The client is caught up and answers pings: that is as good as a store.
    assert_eq!(pusher.push(&push_of(&key, "meanwhile")).as_deref(), Some("ok"));
    assert_eq!(pusher.push(&offline).as_deref(), Some("fail"));
    redis.run();
    let is_back = || pusher.push(&push_of(&key, "after")).as_deref() == Some("ok");
    assert!(poll_until(PATIENCE, is_back), "{}", daemon.output());
    assert!(client.texts().contains(&push_of(&key, "meanwhile")));
}

#[test]
fn a_url_that_is_none_is_refused_at_the_start() {
    let output = std::process::Command::new(support::daemon::binary())
        .args(["check", "--redis", "localhost:6379"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is no URL of a Redis server"), "{text}");
}
