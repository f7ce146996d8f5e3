//! The admin port of the real daemon: pushes by HTTP, queues, dead letters, health, metrics.

mod support;

use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use support::daemon::Daemon;
use support::push_client::PushClient;
use support::unique_key;
use support::ws_client::{Open, WsClient};

const SOON: Duration = Duration::from_secs(10);

fn daemon(flags: &[&str]) -> (Daemon, SocketAddr) {
    let all = [&["--admin", "127.0.0.1:0", "--store", "memory"], flags].concat();
    let daemon = Daemon::start(&all);
    let admin = daemon.admin.expect("the ready line names the admin port");
    (daemon, admin)
}

/// Sends a request; the status and the body.
fn http(admin: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(admin).expect("the admin port accepts");
    socket.set_read_timeout(Some(SOON * 4)).expect("a timeout can be set");
    let length = body.len();
    let text = format!(
        "{head} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\nContent-Length: {length}\r\n\
         Content-Type: application/json\r\n\r\n{body}"
    );
    socket.write_all(text.as_bytes()).expect("the request is taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer comes");
    let status = answer[9..12].parse().expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

fn ask(admin: SocketAddr, head: &str, body: &str) -> (u16, Value) {
    let (status, body) = http(admin, head, body);
    let json = serde_json::from_str(&body);
    (status, json.unwrap_or_else(|error| panic!("{head}: {error}: {body}")))
}

fn push(admin: SocketAddr, body: &Value) -> (u16, Value) {
    ask(admin, "POST /push", &body.to_string())
}

/// Asks until the answer is as wanted.
fn eventually(admin: SocketAddr, head: &str, wanted: impl Fn(u16, &Value) -> bool) -> Value {
    let mut last = (0, Value::Null);
    let came = support::poll_until(SOON * 3, || {
        last = ask(admin, head, "");
        wanted(last.0, &last.1)
    });
    assert!(came, "{head} still says {} {}", last.0, last.1);
    last.1
}

#[test]
fn a_push_is_followed_through_its_life() {
    let (daemon, admin) = daemon(&["--canary=0s"]);
    let key = unique_key();
    let message = json!({"key": key, "data": "hello", "id": "order-1", "ttl": "10m"});
    let (status, first) = push(admin, &message);
    assert_eq!((status, &first["status"]), (202, &json!("queued")), "{first}");
    let (status, again) = push(admin, &message);
    assert_eq!((status, &again), (202, &first), "the same id is the same message");
    let (status, other) = push(admin, &json!({"key": key, "data": "other", "id": "order-1"}));
    assert_eq!((status, &other["error"]), (409, &json!("conflict")), "{other}");
    let id = first["id"].as_str().unwrap();
    for name in ["order-1", id] {
        let (status, found) = ask(admin, &format!("GET /messages/{name}?key={key}"), "");
        assert_eq!((status, &found["state"]), (200, &json!("waiting")), "{found}");
    }
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    assert!(client.send_text(key.as_bytes()));
    assert!(client.wait_text(SOON, |text| text == b"hello"), "{:?}", client.texts());
    let confirmed = format!("GET /messages/{id}?key={key}");
    eventually(admin, &confirmed, |_, found| found["state"] == "confirmed");
    let (status, live) = push(admin, &json!({"key": key, "data": {"a": 1}}));
    assert_eq!((status, &live["status"]), (200, &json!("written")), "{live}");
    assert!(client.wait_text(SOON, |text| text == br#"{"a":1}"#), "{:?}", client.texts());
    let (status, none) = ask(admin, &format!("GET /messages/9-9?key={key}"), "");
    assert_eq!((status, &none["error"]), (404, &json!("unknown")));
}

#[test]
fn wrong_requests_are_told_what_is_wrong() {
    let (_daemon, admin) = daemon(&["--canary=0s", "--max-push-line=1KiB"]);
    let long = json!({"key": "5", "data": "d".repeat(2_000)}).to_string();
    let huge = json!({"key": "5", "data": "d".repeat(100_000)}).to_string();
    for (head, body, expected) in [
        ("POST /push", "{", 400),
        ("POST /push", r#"{"key":"5"}"#, 400),
        ("POST /push", r#"{"key":" ","data":""}"#, 400),
        ("POST /push", r#"{"key":"5","data":"","ttl":"soon"}"#, 400),
        ("POST /push", r#"{"key":"5","data":"","idd":"x"}"#, 400),
        ("POST /push", long.as_str(), 413),
        ("POST /push", huge.as_str(), 413),
        ("GET /push", "", 405),
        ("GET /nowhere", "", 404),
        ("GET /messages/1", "", 400),
        ("GET /dead?reason=boredom", "", 400),
        ("DELETE /dead", "", 400),
        ("DELETE /queue?key=5&id=x", "", 400),
    ] {
        let (status, answer) = ask(admin, head, body);
        assert_eq!(status, expected, "{head} {answer}");
        assert!(answer["error"].is_string() && answer["reason"].is_string(), "{head} {answer}");
    }
}

#[test]
fn queues_and_dead_letters_are_listed_requeued_and_purged() {
    let (daemon, admin) = daemon(&["--canary=0s", "--mailbox-limit=2", "--window-messages=2"]);
    let (key, other) = (unique_key(), unique_key());
    for data in ["one", "two", "three"] {
        assert_eq!(push(admin, &json!({"key": key, "data": data})).0, 202);
    }
    push(admin, &json!({"key": other, "data": "four"}));
    let (_, queues) = ask(admin, "GET /queues", "");
    assert_eq!(queues["queues"].as_array().unwrap().len(), 2, "{queues}");
    let (_, queue) = ask(admin, &format!("GET /queue?key={key}"), "");
    assert_eq!(queue["messages"][0]["data"], "two", "{queue}");
    let (_, dead) = ask(admin, &format!("GET /dead?key={key}&reason=limit"), "");
    assert_eq!(dead["dead"][0]["data"], "one", "{dead}");
    let (_, none) = ask(admin, "GET /dead?older_than=1h", "");
    assert_eq!(none["dead"], json!([]));
    let (status, done) = ask(admin, "POST /dead/requeue", &json!({"key": key}).to_string());
    assert_eq!((status, done), (200, json!({"requeued": 1})));
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    assert!(client.send_text(key.as_bytes()));
    assert!(client.wait_text(SOON, |text| text == b"three"), "{:?}", client.texts());
    let texts: Vec<_> = client.texts().into_iter().filter(|text| text != "biubiubiu").collect();
    assert_eq!(texts, ["one", "two", "three"], "in their old order");
    let (_, purged) = ask(admin, &format!("DELETE /queue?key={other}"), "");
    assert_eq!(purged, json!({"purged": 1}));
    for data in ["five", "six", "seven"] {
        push(admin, &json!({"key": other, "data": data}));
    }
    let (_, purged) = ask(admin, "DELETE /dead?all=true", "");
    assert_eq!(purged, json!({"purged": 1}));
    let (_, connections) = ask(admin, "GET /connections", "");
    assert_eq!(connections["connections"][0]["key"], json!(key), "{connections}");
}

#[test]
fn a_token_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "secret\n").unwrap();
    let (_daemon, admin) = daemon(&["--canary=0s", "--admin-token-file", file.to_str().unwrap()]);
    assert_eq!(http(admin, "GET /queues", "").0, 401);
    assert_eq!(http(admin, "GET /healthz", "").0, 200, "health is nobody's secret");
    let mut socket = TcpStream::connect(admin).unwrap();
    let text = "GET /queues HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\
                Authorization: Bearer secret\r\n\r\n";
    socket.write_all(text.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// The canary needs a connection like any client: where there is none to be had, its way is broken.
#[test]
fn health_is_red_while_the_canary_cannot_come_back() {
    let (daemon, admin) = daemon(&["--canary=100ms", "--max-connections=2"]);
    eventually(admin, "GET /healthz", |status, _| status == 200);
    // The canary's messages are delivered to the newest connection of its key: this one.
    let (_, connections) = ask(admin, "GET /connections", "");
    let key = connections["connections"][0]["key"].as_str().unwrap().to_owned();
    assert!(key.starts_with("steadfast-canary:"), "{connections}");
    let mut thief = WsClient::open(daemon.ws, &Open::default()).unwrap();
    assert!(thief.send_text(key.as_bytes()));
    let red = eventually(admin, "GET /healthz", |status, _| status == 503);
    assert!(red["reasons"][0].as_str().unwrap().starts_with("canary: "), "{red}");
    thief.drop_connection();
    eventually(admin, "GET /healthz", |status, _| status == 200);
}

#[test]
fn every_metric_of_the_dashboard_exists() {
    let (daemon, admin) = daemon(&["--canary=100ms"]);
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    assert!(client.send_text(b"7"));
    assert_eq!(
        PushClient::open(daemon.push).unwrap().push(r#"{"uid":"8"}"#).as_deref(),
        Some("queued")
    );
    eventually(admin, "GET /healthz", |status, _| status == 200);
    let (status, metrics) = http(admin, "GET /metrics", "");
    assert_eq!(status, 200, "{metrics}");
    assert!(metrics.contains("\nsteadfast_stored_messages "), "{metrics}");
    assert!(metrics.contains("\nsteadfast_healthy "), "{metrics}");
    let names: Vec<_> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|rest| rest.split(' ').next().unwrap())
        .collect();
    let page = include_str!("../docs/operations.md");
    for name in &names {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/operations.md");
    }
    let dashboard = include_str!("../docs/grafana/steadfast.json");
    serde_json::from_str::<Value>(dashboard).expect("the dashboard is JSON");
    let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let used: Vec<_> = dashboard
        .split(|c| !is_name(c))
        .filter(|word| word.starts_with("steadfast_"))
        .map(|word| {
            word.trim_end_matches("_bucket").trim_end_matches("_sum").trim_end_matches("_count")
        })
        .collect();
    assert!(used.len() > 10, "the dashboard shows metrics");
    for name in used {
        assert!(names.contains(&name), "{name} is in the dashboard and not in /metrics");
    }
}
