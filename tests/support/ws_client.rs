//! A raw WebSocket client: exact frames out, a timed list of events in.
//!
//! It answers every ping and close frame of the server at once, unless it is muted or told never to
//! answer pings. Pings of the server are not events.

use super::frames::{self, Decoder, Frame, Shape};
use super::log::{Log, Timed};
use super::pump::{self, Out, Pump, Sink};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The nonce and its answer are RFC 6455's own example (section 1.3).
const NONCE: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Something a client saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum WsEvent {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// The connection ended. 1006 stands for no close frame.
    Closed {
        by: Side,
        code: u16,
        reason: String,
    },
    /// The answer to the upgrade was not 101; what it was.
    HandshakeFailed(String),
    /// The server broke the protocol.
    Violation(String),
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl WsEvent {
    pub(crate) fn is_data(&self) -> bool {
        matches!(self, Self::Text(_) | Self::Binary(_))
    }
}

/// How to open a connection.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) path: String,
    pub(crate) rcvbuf: Option<usize>,
    pub(crate) early_text: Option<Vec<u8>>,
    pub(crate) pongs: Pongs,
    /// The subprotocol it asks for.
    pub(crate) protocol: Option<&'static str>,
}

/// What a client does about pings of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pongs {
    Prompt,
    Never,
}

impl Default for Open {
    fn default() -> Self {
        Self {
            path: "/".to_owned(),
            rcvbuf: None,
            early_text: None,
            pongs: Pongs::Prompt,
            protocol: None,
        }
    }
}

/// One connection.
pub(crate) struct WsClient {
    pump: Option<Pump>,
    log: Arc<Log<WsEvent>>,
    control: Arc<Mutex<Control>>,
}

#[derive(Default)]
struct Control {
    is_closing: bool,
    answered_code: Option<u16>,
    /// How many pings of the server came since its last message.
    pings_since_data: usize,
    fences: Vec<Vec<u8>>,
}

impl WsClient {
    /// Connects and upgrades. An answer other than 101 is an event, not an error.
    pub(crate) fn open(addr: SocketAddr, how: &Open) -> io::Result<Self> {
        let mut socket = pump::connect(addr, how.rcvbuf)?;
        let mut request = upgrade_request(addr, &how.path);
        if let Some(protocol) = how.protocol {
            let field = format!("Sec-WebSocket-Protocol: {protocol}\r\n\r\n");
            request.truncate(request.len() - 2);
            request.extend(field.into_bytes());
        }
        if let Some(text) = &how.early_text {
            request.extend(frames::encode(Shape::default(), text));
        }
        let log = Arc::new(Log::new());
        let control = Arc::new(Mutex::new(Control::default()));
        let answer = socket.write_all(&request).and_then(|()| read_head(&mut socket));
        let early = match answer.map_err(|error| error.to_string()).and_then(check_answer) {
            Ok(early) => early,
            Err(why) => {
                log.push_last(WsEvent::HandshakeFailed(why));
                return Ok(Self { pump: None, log, control });
            }
        };
        let reader = Reader {
            decoder: Decoder::default(),
            message: None,
            pongs: how.pongs,
            log: Arc::clone(&log),
            control: Arc::clone(&control),
        };
        let pump = Some(Pump::start(socket, early, reader)?);
        Ok(Self { pump, log, control })
    }

    /// Connects, sends `key` as the first message and waits for the answer to it.
    pub(crate) fn bind_digits(addr: SocketAddr, key: &str) -> Self {
        Self::bind_digits_with(addr, key, &Open::default())
    }

    pub(crate) fn bind_digits_with(addr: SocketAddr, key: &str, how: &Open) -> Self {
        let client = Self::open(addr, how).expect("the WebSocket port accepts");
        client.send_text(key.as_bytes());
        assert!(client.wait_data(1, Duration::from_secs(5)), "no answer to the key: {client:?}");
        assert_eq!(client.texts(), ["biubiubiu"]);
        client
    }

    pub(crate) fn send_text(&self, text: &[u8]) -> bool {
        self.send_frame(Shape::default(), text)
    }

    pub(crate) fn send_frame(&self, shape: Shape, payload: &[u8]) -> bool {
        self.send_raw(&frames::encode(shape, payload))
    }

    pub(crate) fn send_raw(&self, bytes: &[u8]) -> bool {
        self.pump.as_ref().is_some_and(|pump| pump.write(bytes))
    }

    /// Sends the first half, pauses, sends the rest.
    pub(crate) fn send_split(&self, bytes: &[u8], pause: Duration) -> bool {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        self.pump.as_ref().is_some_and(|pump| pump.write_parts(&[first, rest], pause))
    }

    /// Sends a ping and waits for its pong: all that was sent before has been read by then.
    pub(crate) fn fence(&self, limit: Duration) -> bool {
        static NEXT: AtomicU64 = AtomicU64::new(0x5eed_f00d_0000_0000);
        let payload = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec();
        self.control().fences.push(payload.clone());
        self.send_frame(Shape::of(frames::PING), &payload);
        self.log.wait(limit, |_| !self.control().fences.contains(&payload))
    }

    /// Sends a close frame, waits for the server's and closes TCP; the code that came back.
    pub(crate) fn close(&mut self, code: u16, limit: Duration) -> u16 {
        self.control().is_closing = true;
        self.send_frame(Shape::of(frames::CLOSE), &code.to_be_bytes());
        self.log.wait_end(limit);
        if let Some(pump) = self.pump.take() {
            pump.close();
        }
        self.control().answered_code.unwrap_or(1006)
    }

    /// Closes TCP with FIN and no close frame.
    pub(crate) fn drop_connection(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.close();
        }
    }

    /// Closes TCP with RST.
    pub(crate) fn abort(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.abort();
        }
    }

    pub(crate) fn mute(&self) {
        if let Some(pump) = &self.pump {
            pump.mute();
        }
    }

    pub(crate) fn unmute(&self) {
        if let Some(pump) = &self.pump {
            pump.unmute();
        }
    }

    pub(crate) fn events(&self) -> Vec<Timed<WsEvent>> {
        self.log.entries()
    }

    /// What was seen after the first `from` events; waits for it until `limit` when there is nothing
    /// yet and there may be more.
    pub(crate) fn events_after(&self, from: usize, limit: Duration) -> Vec<WsEvent> {
        self.log.wait(limit, |entries| entries.len() > from);
        self.log.with(|entries| entries[from..].iter().map(|(_, event)| event.clone()).collect())
    }

    /// Whether no further event will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.log.has_ended()
    }

    /// All text messages so far.
    pub(crate) fn texts(&self) -> Vec<String> {
        let text = |(_, event)| match event {
            WsEvent::Text(bytes) => Some(String::from_utf8(bytes).expect("the reader has checked")),
            WsEvent::Binary(_)
            | WsEvent::Pong(_)
            | WsEvent::Closed { .. }
            | WsEvent::HandshakeFailed(_)
            | WsEvent::Violation(_) => None,
        };
        self.events().into_iter().filter_map(text).collect()
    }

    /// Whether a ping of the server has come, and been answered, after its last message: then that
    /// message is about to be confirmed.
    pub(crate) fn has_answered_a_ping(&self) -> bool {
        self.control().pings_since_data > 0
    }

    /// Waits until `count` data messages have come in total, or the connection is closed.
    pub(crate) fn wait_data(&self, count: usize, limit: Duration) -> bool {
        self.wait_count(count, limit, WsEvent::is_data)
    }

    pub(crate) fn wait_pongs(&self, count: usize, limit: Duration) -> bool {
        self.wait_count(count, limit, |event| matches!(event, WsEvent::Pong(_)))
    }

    /// Waits for a text that `wanted` accepts.
    pub(crate) fn wait_text(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> bool {
        self.wait_count(1, limit, |event| matches!(event, WsEvent::Text(text) if wanted(text)))
    }

    /// Waits for the end of the connection: when, and with which code and reason.
    pub(crate) fn wait_closed(&self, limit: Duration) -> Option<(Instant, u16, String)> {
        self.log.wait_end(limit);
        self.events().into_iter().find_map(|(at, event)| {
            if let WsEvent::Closed { code, reason, .. } = event {
                Some((at, code, reason))
            } else {
                None
            }
        })
    }

    fn wait_count(&self, count: usize, limit: Duration, wanted: impl Fn(&WsEvent) -> bool) -> bool {
        self.log.wait(limit, |entries| {
            entries.iter().filter(|(_, event)| wanted(event)).count() >= count
        })
    }

    fn control(&self) -> std::sync::MutexGuard<'_, Control> {
        self.control.lock().expect("the reader did not panic")
    }
}

impl std::fmt::Debug for WsClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.events().into_iter().map(|(_, event)| event)).finish()
    }
}

/// The upgrade request, as a browser would send it but for the fixed nonce.
pub(crate) fn upgrade_request(addr: SocketAddr, path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {addr}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {NONCE}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    .into_bytes()
}

/// Reads to the end of the response's head, at most 5 s long.
fn read_head(socket: &mut std::net::TcpStream) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut buffer)? {
            0 => break,
            bytes => head.extend_from_slice(&buffer[..bytes]),
        }
    }
    Ok(head)
}

/// What follows a right answer, or what is wrong with it.
fn check_answer(answer: Vec<u8>) -> Result<Vec<u8>, String> {
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let Some(end) = end else {
        return Err(format!("no whole response: {:?}", String::from_utf8_lossy(&answer)));
    };
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let is_accepted = head.lines().filter_map(|line| line.split_once(':')).any(|(name, value)| {
        name.eq_ignore_ascii_case("sec-websocket-accept") && value.trim() == ACCEPT
    });
    if !head.starts_with("HTTP/1.1 101 ") || !is_accepted {
        return Err(head);
    }
    Ok(answer[end + 4..].to_vec())
}

/// The reading side.
struct Reader {
    decoder: Decoder,
    message: Option<(u8, Vec<u8>)>,
    pongs: Pongs,
    log: Arc<Log<WsEvent>>,
    control: Arc<Mutex<Control>>,
}

impl Sink for Reader {
    fn received(&mut self, bytes: &[u8], out: &Out<'_>) {
        if self.log.has_ended() {
            return;
        }
        self.decoder.feed(bytes);
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => self.take(frame, out),
                Ok(None) => return,
                Err(what) => return self.log.push_last(WsEvent::Violation(what)),
            }
        }
    }

    fn ended(&mut self) {
        if self.control().is_closing {
            self.log.end();
        } else {
            let reason = String::new();
            self.log.push_last(WsEvent::Closed { by: Side::Server, code: 1006, reason });
        }
    }
}

impl Reader {
    fn take(&mut self, frame: Frame, out: &Out<'_>) {
        let Frame { opcode, is_final, payload } = frame;
        if opcode >= frames::CLOSE && (!is_final || payload.len() > 125) {
            return self.log.push_last(WsEvent::Violation("an overlong control frame".to_owned()));
        }
        match opcode {
            frames::PING if self.pongs == Pongs::Never => {}
            frames::PING => {
                self.control().pings_since_data += 1;
                out.write(&frames::encode(Shape::of(frames::PONG), &payload));
            }
            frames::PONG => self.take_pong(payload),
            frames::CLOSE => self.take_close(&payload, out),
            frames::CONTINUATION | frames::TEXT | frames::BINARY => {
                self.take_data(opcode, is_final, payload);
            }
            other => self.log.push_last(WsEvent::Violation(format!("opcode {other}"))),
        }
    }

    fn take_pong(&self, payload: Vec<u8>) {
        let mut control = self.control();
        let fence = control.fences.iter().position(|fence| *fence == payload);
        if let Some(fence) = fence {
            control.fences.swap_remove(fence);
        }
        drop(control);
        match fence {
            Some(_) => self.log.nudge(),
            None => self.log.push(WsEvent::Pong(payload)),
        }
    }

    fn take_close(&self, payload: &[u8], out: &Out<'_>) {
        let code =
            if let [high, low, ..] = *payload { u16::from_be_bytes([high, low]) } else { 1005 };
        let reason = String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned();
        let mut control = self.control();
        control.answered_code = Some(code);
        let is_answer = control.is_closing;
        drop(control);
        if is_answer {
            self.log.end();
        } else {
            out.write(&frames::encode(Shape::of(frames::CLOSE), payload));
            self.log.push_last(WsEvent::Closed { by: Side::Server, code, reason });
        }
    }

    fn take_data(&mut self, opcode: u8, is_final: bool, payload: Vec<u8>) {
        let is_start = opcode != frames::CONTINUATION;
        if is_start == self.message.is_some() {
            let what = "fragments out of order".to_owned();
            return self.log.push_last(WsEvent::Violation(what));
        }
        self.control().pings_since_data = 0;
        let (opcode, mut message) = self.message.take().unwrap_or((opcode, Vec::new()));
        message.extend_from_slice(&payload);
        if !is_final {
            self.message = Some((opcode, message));
        } else if opcode == frames::BINARY {
            self.log.push(WsEvent::Binary(message));
        } else if std::str::from_utf8(&message).is_ok() {
            self.log.push(WsEvent::Text(message));
        } else {
            self.log.push_last(WsEvent::Violation("text that is not UTF-8".to_owned()));
        }
    }

    fn control(&self) -> std::sync::MutexGuard<'_, Control> {
        self.control.lock().expect("the test did not panic here")
    }
}
