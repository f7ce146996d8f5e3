//! Peers that say nothing, or not enough: each is let go in time, and no live one is.

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};
use support::daemon::Daemon;
use support::flood::{is_closed_within, rest_until_closed};
use support::frames::{self, Shape};
use support::push_client::PushClient;
use support::unique_key;
use support::ws_client::{Open, WsClient};

const SOON: Duration = Duration::from_secs(5);
/// What a busy machine may add to a deadline.
const SLACK: Duration = Duration::from_secs(1);

fn connect(daemon: &Daemon) -> TcpStream {
    let socket = support::pump::connect(daemon.ws, None);
    socket.expect("the WebSocket port accepts")
}

/// Runs `act`, which is to take `at_least` and hardly longer than `at_most`.
fn assert_takes(at_least: Duration, at_most: Duration, act: impl FnOnce()) {
    let start = Instant::now();
    act();
    let took = start.elapsed();
    assert!(took >= at_least, "after {took:?}, not {at_least:?}");
    assert!(took <= at_most + SLACK, "after {took:?}, not {at_most:?}");
}

#[test]
fn a_half_sent_upgrade_is_closed_in_time() {
    let daemon = Daemon::start(&["--handshake-timeout=1s"]);
    let begun = support::ws_client::upgrade_request(daemon.ws, "/");
    for part in [0, 1, 20, begun.len() - 1] {
        let mut socket = connect(&daemon);
        socket.write_all(&begun[..part]).unwrap();
        assert_takes(Duration::from_millis(900), Duration::from_secs(1), || {
            assert!(is_closed_within(&mut socket, SOON), "open after {part} bytes");
        });
    }
}

#[test]
fn an_upgrade_sent_byte_by_byte_gains_no_time() {
    let daemon = Daemon::start(&["--handshake-timeout=1s"]);
    let mut socket = connect(&daemon);
    let start = Instant::now();
    let begun = support::ws_client::upgrade_request(daemon.ws, "/").into_iter().cycle();
    let is_refused = begun.take(60).any(|byte| {
        let pause = Duration::from_millis(50);
        let is_gone = is_closed_within(&mut socket, pause);
        is_gone || socket.write_all(&[byte]).is_err()
    });
    assert!(is_refused || is_closed_within(&mut socket, Duration::ZERO), "still open");
    assert!(start.elapsed() <= Duration::from_secs(1) + SLACK, "after {:?}", start.elapsed());
}

#[test]
fn what_is_not_an_upgrade_is_answered_with_a_status_and_closed() {
    let daemon = Daemon::start(&["--demo", "off"]);
    let good = String::from_utf8(support::ws_client::upgrade_request(daemon.ws, "/")).unwrap();
    for (request, status) in [
        ("\x16\x03\x01\x02\x00\x01\x00\x01\u{7c}".to_owned(), "400"),
        ("complete nonsense\r\n\r\n".to_owned(), "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "426"),
        (good.replace("13", "12"), "426"),
        (good.replace("Connection: Upgrade\r\n", ""), "400"),
        (good.replace("dGhlIHNhbXBsZSBub25jZQ==", ""), "400"),
        (good.replace("GET", "POST"), "405"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(17 << 10)), "431"),
    ] {
        let mut socket = connect(&daemon);
        // The daemon may have refused before all is sent.
        socket.write_all(request.as_bytes()).ok();
        let answer = rest_until_closed(&mut socket, SOON);
        let answer = answer.unwrap_or_else(|| panic!("open after {request:.40?}"));
        let answer = String::from_utf8_lossy(&answer);
        let head = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&head), "{request:.40?}: {answer}");
    }
    let client = WsClient::bind_digits(daemon.ws, &unique_key());
    assert!(client.fence(SOON));
}

#[test]
fn garbage_after_the_upgrade_closes_with_the_right_code() {
    let daemon = Daemon::start(&[]);
    let fragment = Shape { is_final: false, ..Shape::default() };
    let cases: [(&str, Vec<u8>, u16); 8] = [
        ("unmasked", frames::encode(Shape { is_masked: false, ..Shape::default() }, b"x"), 1002),
        ("reserved opcode", frames::encode(Shape::of(3), b"x"), 1002),
        ("reserved bit", frames::encode(Shape { rsv: 4, ..Shape::default() }, b"x"), 1002),
        ("fragmented ping", frames::encode(Shape { opcode: frames::PING, ..fragment }, b""), 1002),
        ("long ping", frames::encode(Shape::of(frames::PING), &[b'x'; 126]), 1002),
        ("lone continuation", frames::encode(Shape::of(frames::CONTINUATION), b"x"), 1002),
        ("text that is not UTF-8", frames::encode(Shape::default(), b"\xff"), 1007),
        ("a close code of 1", frames::encode(Shape::of(frames::CLOSE), &[0, 1]), 1002),
    ];
    for (what, bytes, expected) in cases {
        let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
        client.send_raw(&bytes);
        let closed = client.wait_closed(SOON);
        let (_, code, _) = closed.unwrap_or_else(|| panic!("open after: {what}"));
        assert_eq!(code, expected, "{what}");
    }
}

#[test]
fn a_silent_page_is_closed_although_its_stack_answers_pings() {
    let daemon = Daemon::start(&["--idle-timeout=2s"]);
    let client = WsClient::bind_digits(daemon.ws, &unique_key());
    let ping = Shape::of(frames::PING);
    assert_takes(Duration::from_millis(1900), Duration::from_secs(3), || {
        client.send_frame(ping, b"stack");
        let closed = client.wait_closed(SOON);
        assert_eq!(closed.map(|(_, code, reason)| (code, reason)), Some((1001, "idle".to_owned())));
    });
}

#[test]
fn other_clients_are_kept_while_they_answer_pings_and_closed_when_they_do_not() {
    let daemon = Daemon::start(&["--idle-timeout=2s"]);
    let pusher = PushClient::open(daemon.push).unwrap();
    let live_key = format!("live{}", unique_key());
    let dead_key = format!("dead{}", unique_key());
    let open = |key: &str| {
        let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
        client.send_text(key.as_bytes());
        assert!(client.fence(SOON));
        client
    };
    let (live, dead) = (open(&live_key), open(&dead_key));
    let unbound = WsClient::open(daemon.ws, &Open::default()).unwrap();
    dead.mute();
    // Whether the muted one is still bound shows in what pushes to it are answered.
    let line = format!(r#"{{"uid":"{dead_key}","probe":true}}"#);
    let is_gone = || pusher.push(&line).as_deref() == Some("queued");
    assert!(support::poll_until(Duration::from_secs(8), is_gone), "the muted client stays bound");
    dead.unmute();
    assert!(dead.wait_closed(SOON).is_some());
    for client in [&live, &unbound] {
        assert!(client.fence(SOON), "a live client was closed: {client:?}");
    }
    assert_eq!(pusher.push(&format!(r#"{{"uid":"{live_key}"}}"#)).as_deref(), Some("ok"));
}

#[test]
fn a_push_into_a_dead_connection_reaches_the_next_one() {
    let daemon = Daemon::start(&["--pong-timeout=1s", "--idle-timeout=30s"]);
    let pusher = PushClient::open(daemon.push).unwrap();
    let key = unique_key();
    let first = WsClient::bind_digits(daemon.ws, &key);
    assert_eq!(pusher.push(&format!(r#"{{"uid":"{key}","n":0}}"#)).as_deref(), Some("ok"));
    assert!(first.wait_data(2, SOON));
    let is_confirmed = || first.has_answered_a_ping() && first.fence(SOON);
    assert!(support::poll_until(SOON, is_confirmed), "no ping came after the push");
    first.mute();
    let line = format!(r#"{{"uid":"{key}","n":1}}"#);
    assert_eq!(pusher.push(&line).as_deref(), Some("ok"));
    // The pong is overdue after a second; the first connection is closed and the key free.
    let probe = format!(r#"{{"uid":"{key}","probe":true}}"#);
    let is_gone = || pusher.push(&probe).as_deref() == Some("queued");
    assert!(support::poll_until(SOON, is_gone), "the pong was never overdue");
    let second = WsClient::open(daemon.ws, &Open::default()).unwrap();
    second.send_text(key.as_bytes());
    assert!(second.wait_text(SOON, |text| text == line.as_bytes()), "{second:?}");
    assert!(second.wait_text(SOON, |text| text == b"biubiubiu"), "{second:?}");
    assert!(second.texts().iter().all(|text| !text.contains(r#""n":0"#)), "{second:?}");
}
