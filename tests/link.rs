//! Clients of the link protocol against the daemon: over WebSocket, and by long-poll on raw sockets.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

mod support;

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use support::daemon::Daemon;
use support::poll_until;
use support::push_client::PushClient;
use support::ws_client::{Open, WsClient};

const SOON: Duration = Duration::from_secs(10);

/// A client over WebSocket.
fn link(daemon: &Daemon) -> WsClient {
    let how = Open { protocol: Some("steadfast.v1"), ..Open::default() };
    WsClient::open(daemon.ws, &how).unwrap()
}

fn send(client: &WsClient, frame: &Value) {
    assert!(client.send_text(frame.to_string().as_bytes()));
}

/// The `index`th frame that came.
fn frame(client: &WsClient, index: usize) -> Value {
    assert!(client.wait_data(index + 1, SOON), "only {:?} came", client.texts());
    serde_json::from_str(&client.texts()[index]).unwrap()
}

fn push(daemon: &Daemon, key: &str, data: &str) -> String {
    let back_end = PushClient::open(daemon.push).unwrap();
    back_end.push(&json!({"uid": key, "Data": data}).to_string()).expect("a reply")
}

/// What a message of [`push`] looks like.
fn message(frame: &Value) -> (&str, String, u64) {
    assert_eq!(frame["type"], "message", "{frame}");
    let data: Value = serde_json::from_str(frame["data"].as_str().unwrap()).unwrap();
    let data = data["Data"].as_str().unwrap().to_owned();
    (frame["id"].as_str().unwrap(), data, frame["tries"].as_u64().unwrap())
}

/// Sends a request; its answer is read later.
fn ask(to: SocketAddr, method: &str, target: &str, fields: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(to).unwrap();
    socket.set_read_timeout(Some(SOON)).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {to}\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).unwrap();
    socket
}

/// The answer: its status, its head, its body.
fn answer(mut socket: TcpStream) -> (u16, String, Value) {
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head.to_owned(), serde_json::from_str(body).unwrap_or(Value::Null))
}

/// A page that polls.
struct Page {
    to: SocketAddr,
    session: String,
    after: String,
}

impl Page {
    fn hello(daemon: &Daemon, key: &str) -> Self {
        let hello = json!({"type": "hello", "key": key}).to_string();
        let (status, _, body) = answer(ask(daemon.ws, "POST", "/poll", "", &hello));
        assert_eq!((status, &body["frames"][0]["type"]), (200, &json!("welcome")), "{body}");
        let session = body["frames"][0]["session"].as_str().unwrap().to_owned();
        Self { to: daemon.ws, session, after: body["after"].as_str().unwrap().to_owned() }
    }

    fn ask(&self, wait_ms: u64) -> TcpStream {
        let Self { to, session, after } = self;
        let target = format!("/poll?session={session}&after={after}&wait={wait_ms}");
        ask(*to, "GET", &target, "", "")
    }

    /// The frames of an answer; the next request says that they have arrived.
    fn take(&mut self, socket: TcpStream) -> Vec<Value> {
        let (status, _, body) = answer(socket);
        assert_eq!(status, 200, "{body}");
        self.after = body["after"].as_str().unwrap().to_owned();
        body["frames"].as_array().unwrap().clone()
    }

    fn poll(&mut self, wait_ms: u64) -> Vec<Value> {
        let socket = self.ask(wait_ms);
        self.take(socket)
    }

    fn bring(&self, body: &Value) -> u16 {
        let target = format!("/poll?session={}", self.session);
        answer(ask(self.to, "POST", &target, "", &body.to_string())).0
    }
}

/// Pushes a message that is safe then. What is in the store may still be loading for a key that was
/// just bound, which queues the message behind it.
fn push_safely(daemon: &Daemon, key: &str, data: &str) {
    let reply = push(daemon, key, data);
    assert!(reply == "ok" || reply == "queued", "{reply}");
}

#[test]
fn a_session_survives_the_connection_and_the_process() {
    let data = tempfile::tempdir().unwrap();
    let flags = ["--data", data.path().to_str().unwrap()];
    let daemon = Daemon::start(&flags);
    let mut client = link(&daemon);
    send(&client, &json!({"type": "hello", "key": "7"}));
    let welcome = frame(&client, 0);
    assert_eq!((&welcome["resumed"], &welcome["context"]), (&json!(false), &json!({})));
    push_safely(&daemon, "7", "one");
    assert_eq!(message(&frame(&client, 1)).1, "one");
    send(&client, &json!({"type": "op", "n": 1, "patch": {"page": 3}}));
    assert_eq!(frame(&client, 2), json!({"type": "op_ack", "n": 1}));
    client.abort();
    daemon.crash();

    let daemon = Daemon::start(&flags);
    let client = link(&daemon);
    send(&client, &json!({"type": "hello", "key": "7", "session": welcome["session"]}));
    let again = frame(&client, 0);
    assert_eq!(
        (&again["session"], &again["resumed"], &again["lost"], &again["applied"]),
        (&welcome["session"], &json!(true), &json!(false), &json!(1))
    );
    assert_eq!(again["context"], json!({"page": 3}));
    let redelivered = frame(&client, 1);
    assert_eq!(message(&redelivered).1, "one");
    send(&client, &json!({"type": "ack", "id": redelivered["id"]}));
    send(&client, &json!({"type": "op", "n": 1, "patch": {"page": 9}}));
    assert_eq!(frame(&client, 2), json!({"type": "op_ack", "n": 1}));
    send(&client, &json!({"type": "bye"}));
    let (_, code, reason) = client.wait_closed(SOON).expect("an end");
    assert_eq!((code, reason.as_str()), (1000, "bye"));

    let legacy = WsClient::bind_digits(daemon.ws, "7");
    assert_eq!(legacy.texts(), ["biubiubiu"], "nothing is left of the message");
}

#[test]
fn a_stop_gives_each_client_a_slot() {
    let mut daemon = Daemon::start(&[]);
    let client = link(&daemon);
    send(&client, &json!({"type": "hello", "key": "7"}));
    frame(&client, 0);
    let page = Page::hello(&daemon, "8");
    let waiting = page.ask(10_000);
    // Only a request that waits is answered by the stop.
    assert!(poll_until(SOON, || push(&daemon, "7", "x") == "ok"));
    daemon.sigterm();
    let frames = [frame(&client, 1), frame(&client, 2)];
    let retry = frames.iter().find(|frame| frame["type"] == "retry").expect("a slot");
    assert!(retry["after_ms"].as_u64().unwrap() >= 1_000, "{retry}");
    assert_eq!(client.wait_closed(SOON).expect("an end").1, 1001);
    let (status, _, body) = answer(waiting);
    assert_eq!(status, 200, "{body}");
    let kinds: Vec<_> =
        body["frames"].as_array().unwrap().iter().map(|frame| &frame["type"]).collect();
    assert_eq!(kinds, ["retry", "error"]);
    assert!(daemon.wait(SOON).expect("it ends").success());
}

#[test]
fn a_page_polls() {
    let daemon = Daemon::start(&[]);
    let mut page = Page::hello(&daemon, "7");
    push_safely(&daemon, "7", "one");
    let frames = page.poll(10_000);
    assert_eq!(message(&frames[0]).1, "one");
    // A request that waits is answered as soon as there is something.
    let waiting = page.ask(10_000);
    assert_eq!(push(&daemon, "7", "two"), "ok");
    let frames = page.take(waiting);
    assert_eq!((frames.len(), message(&frames[0]).1), (1, "two".to_owned()));
    // Ops and acks are brought by requests of their own, alone or together.
    let ack = json!({"type": "ack", "id": frames[0]["id"]});
    let op = json!({"type": "op", "n": 1, "patch": {"page": 3}});
    assert_eq!(page.bring(&json!([ack, op])), 200);
    assert_eq!(page.bring(&json!({"type": "ping"})), 200);
    let mut kinds = Vec::new();
    assert!(poll_until(SOON, || {
        kinds.extend(page.poll(100).into_iter().map(|frame| frame["type"].clone()));
        kinds.len() >= 2
    }));
    kinds.sort_by_key(Value::to_string);
    assert_eq!(kinds, ["op_ack", "pong"]);
    assert_eq!(page.poll(0), [Value::Null; 0]);
    let legacy = WsClient::bind_digits(daemon.ws, "7");
    assert_eq!(legacy.texts(), ["biubiubiu"], "both messages are confirmed");
}

#[test]
fn a_lost_answer_loses_nothing() {
    let daemon = Daemon::start(&[]);
    let mut page = Page::hello(&daemon, "7");
    let waiting = page.ask(10_000);
    waiting.shutdown(Shutdown::Both).unwrap();
    drop(waiting);
    push_safely(&daemon, "7", "one");
    let first = page.after.clone();
    assert_eq!(message(&page.poll(10_000)[0]).1, "one");
    // The page has not seen that answer: it names the one before.
    page.after = first;
    let frames = page.poll(10_000);
    assert_eq!((frames.len(), message(&frames[0]).1), (1, "one".to_owned()));
    assert_eq!(page.poll(0), [Value::Null; 0]);
}

#[test]
fn two_pages_of_a_key_confirm_for_themselves() {
    let daemon = Daemon::start(&["--bind", "all"]);
    let (mut one, mut other) = (Page::hello(&daemon, "7"), Page::hello(&daemon, "7"));
    assert_ne!(one.session, other.session);
    let before = other.after.clone();
    push_safely(&daemon, "7", "both");
    assert_eq!(message(&one.poll(10_000)[0]).1, "both");
    assert_eq!(message(&other.poll(10_000)[0]).1, "both");
    // One says that it has the message; the other has not.
    assert_eq!(one.poll(0), [Value::Null; 0]);
    other.after = before;
    assert_eq!(message(&other.poll(0)[0]).1, "both");
    assert_eq!(other.poll(0), [Value::Null; 0]);
}

#[test]
fn a_page_that_is_gone_is_no_connection() {
    let daemon = Daemon::start(&["--poll-wait", "1s"]);
    let mut page = Page::hello(&daemon, "7");
    let began = Instant::now();
    assert_eq!(page.poll(60_000), [Value::Null; 0]);
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(900), "answered after {waited:?}");
    push_safely(&daemon, "7", "one");
    assert!(poll_until(SOON, || page.bring(&json!([])) == 404));
    assert!(began.elapsed() >= waited + Duration::from_millis(1_900), "over too soon");
    let legacy = WsClient::open(daemon.ws, &Open::default()).unwrap();
    assert!(legacy.send_text(b"7"));
    assert!(legacy.wait_data(1, SOON), "nothing came");
    assert!(legacy.texts()[0].contains("one"), "{:?}", legacy.texts());
}

#[test]
fn what_is_wrong_is_answered() {
    let daemon = Daemon::start(&["--poll-origins", "https://app.example"]);
    let page = Page::hello(&daemon, "7");
    let body = |request: TcpStream| answer(request).2;
    let refused = body(ask(daemon.ws, "POST", "/poll", "", "5"));
    assert_eq!(refused["frames"], json!([{"type": "error", "code": 4000, "reason": "bad frame"}]));
    for (method, target, fields, text, status) in [
        ("GET", "/poll", "", "", 400),
        ("GET", "/poll?session=5e", "", "", 404),
        ("POST", "/poll?session=5e", "", "[]", 404),
        ("PUT", "/poll", "", "", 405),
        ("GET", "/other", "", "", 426),
        ("OPTIONS", "/poll", "Origin: https://other.example\r\n", "", 403),
        ("GET", "/poll?session=5e", "Origin: null\r\n", "", 403),
        ("OPTIONS", "/poll", "Origin: https://app.example\r\n", "", 204),
    ] {
        let (got, head, _) = answer(ask(daemon.ws, method, target, fields, text));
        assert_eq!(got, status, "{method} {target} {fields}: {head}");
        let allowed = head.contains("Access-Control-Allow-Origin: https://app.example\r\n");
        assert_eq!(allowed, fields.contains("app"), "{head}");
    }
    assert_eq!(page.bring(&json!([5])), 400);
    // The frame is wrong, and the session ends.
    assert_eq!(page.bring(&json!({"type": "welcome"})), 200);
    let mut page = page;
    let frames = page.poll(10_000);
    assert_eq!(frames, [json!({"type": "error", "code": 4000, "reason": "bad frame"})]);
    assert_eq!(answer(page.ask(0)).0, 404);
}
