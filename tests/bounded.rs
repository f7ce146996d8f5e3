//! Peers that take without giving or give without end: each is bounded, and nobody else notices.
//!
//! Memory is judged by the most the daemon ever held, against what it held when it was ready.

mod support;

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;
use support::daemon::Daemon;
use support::flood::{Flood, flood, is_closed_within};
use support::frames::{self, Shape};
use support::push_client::PushClient;
use support::unique_key;
use support::ws_client::{Open, WsClient};

const MIB: u64 = 1 << 20;
/// How long a socket may take nothing before it counts as not read any more.
const PATIENCE: Duration = Duration::from_secs(1);
const SOON: Duration = Duration::from_secs(5);

/// A client and a back end that do as they should, beside the peer under test.
struct Bystander {
    key: String,
    client: WsClient,
    pusher: PushClient,
    pushed: usize,
}

impl Bystander {
    fn new(daemon: &Daemon) -> Self {
        let key = unique_key();
        let client = WsClient::bind_digits(daemon.ws, &key);
        let pusher = PushClient::open(daemon.push).expect("the push port accepts");
        Self { key, client, pusher, pushed: 0 }
    }

    /// A push is answered and arrives, and a heartbeat is answered.
    fn assert_served(&mut self) {
        self.pushed += 1;
        let line = format!(r#"{{"uid":"{}","n":{}}}"#, self.key, self.pushed);
        assert_eq!(self.pusher.push(&line).as_deref(), Some("ok"));
        let has_come = self.client.wait_text(SOON, |text| text == line.as_bytes());
        assert!(has_come, "{line} did not come: {:?}", self.client);
        let before = self.client.texts().len();
        self.client.send_text(self.key.as_bytes());
        assert!(self.client.wait_data(before + 1, SOON), "no heartbeat: {:?}", self.client);
    }
}

/// Runs `body` against a fresh daemon, which may hold at most `more_mib` more than when it started.
fn with_bounded_daemon(flags: &[&str], more_mib: u64, body: impl FnOnce(&Daemon)) {
    // A bystander that is a page has to stay while it is not looked at.
    let flags = [&["--idle-timeout=1h"], flags].concat();
    let mut daemon = Daemon::start(&flags);
    let before = daemon.resident_kib();
    body(&daemon);
    let held = (daemon.peak_kib().saturating_sub(before)) / 1024;
    assert!(held <= more_mib, "the daemon held {held} MiB more than at its start");
    assert!(daemon.is_running(), "the daemon is gone; output:\n{}", daemon.output());
}

/// Pushes `line` without reading a reply until the daemon reads no further; then reads all replies.
fn check_unread_replies(line: &str, reply: &str) {
    with_bounded_daemon(&[], 64, |daemon| {
        let mut bystander = Bystander::new(daemon);
        let mut socket =
            support::pump::connect(daemon.push, Some(4096)).expect("the push port accepts");
        let chunk = format!("{line}\n").repeat(1000);
        let outcome = flood(&socket, chunk.as_bytes(), 256 * MIB, PATIENCE);
        let Flood::Blocked(sent) = outcome else {
            panic!("the daemon was to stop reading, but: {outcome:?}");
        };
        bystander.assert_served();
        let lines = sent / (line.len() as u64 + 1);
        read_replies(&mut socket, reply, lines);
        bystander.assert_served();
    });
}

/// Reads so many replies, all the same.
fn read_replies(socket: &mut TcpStream, reply: &str, count: u64) {
    let expected = format!("{reply}\n").repeat(1000);
    let limit = Some(Duration::from_secs(30));
    socket.set_read_timeout(limit).expect("a socket takes a timeout");
    let mut left = usize::try_from(count).expect("not that many") * (reply.len() + 1);
    let mut buffer = vec![0; expected.len()];
    while left > 0 {
        let part = left.min(buffer.len());
        socket.read_exact(&mut buffer[..part]).expect("every push is answered");
        assert!(buffer[..part] == expected.as_bytes()[..part], "a reply is not {reply}");
        left -= part;
    }
}

#[test]
fn a_pusher_that_never_reads_refusals_is_read_no_further() {
    check_unread_replies("this is no JSON line", "fail");
}

#[test]
fn a_pusher_that_never_reads_its_replies_is_read_no_further() {
    let line = format!(r#"{{"uid":"{}"}}"#, unique_key());
    check_unread_replies(&line, "queued");
}

#[test]
fn a_client_that_never_reads_holds_its_window_and_no_more() {
    // 128 MiB are pushed. What may be kept is 10 + 100 + 100 messages of 16 KiB, some dead letters
    // until the next sweep, and what the store may buffer and cache.
    let flags = [
        "--window-messages=10",
        "--mailbox-limit=100",
        "--dead-limit=100",
        // However long the pushes take.
        "--pong-timeout=1h",
    ];
    with_bounded_daemon(&flags, 96, |daemon| {
        let mut bystander = Bystander::new(daemon);
        let key = unique_key();
        let how = Open { rcvbuf: Some(4096), ..Open::default() };
        let client = WsClient::bind_digits_with(daemon.ws, &key, &how);
        client.mute();
        let pusher = PushClient::open(daemon.push).unwrap();
        let filler = "d".repeat(16 << 10);
        for n in 1..=8000 {
            let reply = pusher.push(&format!(r#"{{"uid":"{key}","n":{n},"D":"{filler}"}}"#));
            let reply = reply.unwrap_or_else(|| panic!("no reply to push {n}"));
            assert!(reply == "ok" || reply == "queued", "push {n}: {reply}");
            if n % 100 == 0 {
                bystander.assert_served();
            }
        }
        client.unmute();
        let is_last =
            |text: &[u8]| text.starts_with(format!(r#"{{"uid":"{key}","n":8000,"#).as_bytes());
        assert!(client.wait_text(Duration::from_secs(20), is_last), "the last push did not come");
        let numbers = numbers(&client);
        assert!(numbers.is_sorted_by(|one, next| one < next), "out of order: {numbers:?}");
        assert!(numbers.ends_with(&(7901..=8000).collect::<Vec<_>>()), "lost: {numbers:?}");
        bystander.assert_served();
    });
}

/// The `n` of every push that the client got.
fn numbers(client: &WsClient) -> Vec<u32> {
    let number = |text: String| {
        let rest = text.split_once(r#""n":"#)?.1;
        rest.split_once(',')?.0.parse().ok()
    };
    client.texts().into_iter().filter_map(number).collect()
}

#[test]
fn a_hundred_megabyte_line_ends_its_connection() {
    with_bounded_daemon(&[], 48, |daemon| {
        let mut bystander = Bystander::new(daemon);
        let mut socket = support::pump::connect(daemon.push, None).unwrap();
        let chunk = [b'x'; 64 << 10];
        let outcome = flood(&socket, &chunk, 100_000_000, Duration::from_secs(10));
        // What comes after the end of the other direction may be taken for a while, and discarded.
        assert!(!matches!(outcome, Flood::Blocked(_)), "{outcome:?}");
        assert!(is_closed_within(&mut socket, SOON), "the connection stays open");
        let is_refused =
            || matches!(flood(&socket, &chunk, 64 << 10, Duration::ZERO), Flood::Closed(_));
        assert!(support::poll_until(2 * SOON, is_refused), "the socket is read for ever");
        bystander.assert_served();
    });
}

#[test]
fn a_hundred_half_lines_of_a_megabyte_are_dropped_with_their_connections() {
    with_bounded_daemon(&[], 256, |daemon| {
        let mut bystander = Bystander::new(daemon);
        let half = vec![b'x'; 1 << 20];
        let sockets: Vec<_> = (0..100)
            .map(|_| {
                let socket = support::pump::connect(daemon.push, None).unwrap();
                let outcome = flood(&socket, &half, MIB, Duration::from_secs(10));
                assert_eq!(outcome, Flood::Written(MIB));
                socket
            })
            .collect();
        bystander.assert_served();
        drop(sockets);
        bystander.assert_served();
    });
}

/// Sends what begins a message that is too long; the close code that comes back.
fn close_code_after(send: impl FnOnce(&WsClient)) -> u16 {
    let mut code = None;
    with_bounded_daemon(&[], 64, |daemon| {
        let mut bystander = Bystander::new(daemon);
        let client = WsClient::bind_digits(daemon.ws, &unique_key());
        send(&client);
        code = client.wait_closed(SOON).map(|(_, code, _)| code);
        bystander.assert_served();
    });
    code.expect("the connection ends")
}

#[test]
fn an_eleven_megabyte_message_closes_with_1009() {
    let payload = vec![b'x'; 11 << 20];
    let code = close_code_after(|client| {
        client.send_frame(Shape::default(), &payload);
    });
    assert_eq!(code, 1009);
}

#[test]
fn the_header_of_an_eleven_megabyte_message_is_enough_to_close() {
    for length in [(10 << 20) + 1, 11 << 20, 1 << 62] {
        let code = close_code_after(|client| {
            client.send_raw(&frames::header(Shape::default(), length));
        });
        assert_eq!(code, 1009, "after the header of {length} bytes");
    }
}

#[test]
fn fragments_count_together() {
    let half = vec![b'x'; 6 << 20];
    let code = close_code_after(|client| {
        client.send_frame(Shape { is_final: false, ..Shape::default() }, &half);
        client.send_frame(Shape::of(frames::CONTINUATION), &half);
    });
    assert_eq!(code, 1009);
}

#[test]
fn a_message_of_exactly_the_limit_is_taken() {
    with_bounded_daemon(&[], 64, |daemon| {
        let key = unique_key();
        let client = WsClient::bind_digits(daemon.ws, &key);
        client.send_frame(Shape::default(), &vec![b'x'; 10 << 20]);
        client.send_text(key.as_bytes());
        assert!(client.wait_data(2, SOON), "{client:?}");
    });
}

#[test]
fn a_key_is_at_most_4096_bytes_long() {
    let daemon = Daemon::start(&[]);
    let pusher = PushClient::open(daemon.push).unwrap();
    let longest = format!("k{}", "x".repeat(4095));
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    client.send_text(longest.as_bytes());
    assert!(client.fence(SOON));
    let line = format!(r#"{{"uid":"{longest}"}}"#);
    assert_eq!(pusher.push(&line).as_deref(), Some("ok"));
    assert!(client.wait_text(SOON, |text| text == line.as_bytes()));

    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    client.send_text(format!("{longest}x").as_bytes());
    let (_, code, reason) = client.wait_closed(SOON).expect("the connection ends");
    assert_eq!((code, reason.as_str()), (1009, "key too long"));
    assert_eq!(pusher.push(&format!(r#"{{"uid":"{longest}x"}}"#)).as_deref(), Some("fail"));
}

#[test]
fn connections_beyond_the_limit_are_refused_and_room_is_found_again() {
    let daemon = Daemon::start(&["--max-connections=2"]);
    let mut first = WsClient::bind_digits(daemon.ws, &unique_key());
    let second = WsClient::bind_digits(daemon.ws, &unique_key());
    let is_refused = || {
        WsClient::open(daemon.ws, &Open::default())
            .is_ok_and(|client| client.wait_closed(Duration::ZERO).is_some() || !client.fence(SOON))
    };
    assert!(is_refused());
    assert_eq!(first.close(1000, SOON), 1000);
    let has_room = || {
        let client = WsClient::open(daemon.ws, &Open::default());
        client.is_ok_and(|client| client.fence(SOON))
    };
    assert!(support::poll_until(SOON, has_room), "no room after a connection has gone");
    assert!(second.fence(SOON));
}
