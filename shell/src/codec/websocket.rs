//! The frames a client sends, made into messages by tungstenite.
//!
//! Tungstenite unmasks, joins fragments and checks UTF-8. This module cuts the bytes
//! into frames first, for what tungstenite leaves open:
//!
//! - a frame that is wrong is refused at the byte that shows it, also when its length is not in the
//!   shortest form, and text at the first byte that cannot be UTF-8;
//! - memory is taken for what has arrived, not for what a header announces;
//! - control frames are read here: pings are left to the machine, which answers them in their turn, and
//!   close frames may carry the codes registered today;
//! - a connection between two messages owns no memory at all: since a context has no state there,
//!   all connections of a thread share the one in their [`Workspace`].
//!
//! Not here: what goes out, except the answers to close frames; see [`frame`].

use super::frame::{self, Begun, Header, MAX_CONTROL, MAX_HEADER, Opcode, Violation};
use super::utf8::Utf8Check;
use bytes::Bytes;
use bytestring::ByteString;
use std::io::{self, Read, Write};
use steadfast_core::event::{CloseCause, ConnEvent};
use tungstenite::protocol::{Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Message};

/// Messages up to this length are copied out of tungstenite's buffer, so that they do not keep it
/// alive; a longer one takes the buffer with it.
const COPY: usize = 16 << 10;

/// How much tungstenite reads at a time. It fills this many bytes with zeros before each read, so
/// that more costs time with the short frames that are the rule.
const READ: usize = 1 << 10;

/// What the WebSockets of one thread share.
#[derive(Debug)]
pub struct Workspace {
    context: WebSocketContext,
    config: WebSocketConfig,
    max_message: usize,
}

impl Workspace {
    /// A workspace for connections whose messages have at most `max_message` bytes.
    #[must_use]
    pub fn new(max_message: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_message_size(Some(max_message))
            .max_frame_size(Some(max_message.max(MAX_CONTROL)));
        Self { context: WebSocketContext::new(Role::Server, Some(config)), config, max_message }
    }

    fn new_context(&self) -> WebSocketContext {
        WebSocketContext::new(Role::Server, Some(self.config))
    }
}

/// The receiving half of one WebSocket.
#[derive(Debug, Default)]
pub struct WebSocketCodec {
    /// A frame of which the rest has not come.
    partial: Option<Box<Partial>>,
    /// A message of which the last frame has not come.
    message: Option<Box<Fragmented>>,
    ended: bool,
}

#[derive(Debug)]
struct Partial {
    bytes: Vec<u8>,
    header: Option<Header>,
    /// The check of a text payload, and how much of the payload it has seen.
    check: Utf8Check,
    checked: usize,
}

#[derive(Debug)]
struct Fragmented {
    context: WebSocketContext,
    is_text: bool,
    length: usize,
    check: Utf8Check,
}

impl WebSocketCodec {
    /// The next event in `input`, which is advanced past it; `None` once all of it is taken. Close
    /// frames are appended to `out`.
    ///
    /// [`ConnEvent::Closed`] is the last event: what follows is swallowed.
    pub fn next(
        &mut self,
        workspace: &mut Workspace,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Option<ConnEvent> {
        while !self.ended && !input.is_empty() {
            match self.step(workspace, input, out) {
                Ok(None) => {}
                Ok(Some(event)) => return Some(event),
                Err(violation) => {
                    frame::put_close(out, Some(violation.code), violation.reason);
                    self.end();
                    let Violation { code, reason } = violation;
                    let reason = reason.to_owned();
                    let cause = CloseCause::ProtocolError { code, reason };
                    *input = &[];
                    return Some(ConnEvent::Closed(cause));
                }
            }
        }
        if self.ended {
            *input = &[];
        }
        None
    }

    /// Whether the close frame has been answered or the protocol broken.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes no more frames and frees what was kept of them.
    fn end(&mut self) {
        *self = Self { partial: None, message: None, ended: true };
    }

    fn begun(&self) -> Begun {
        self.message.as_ref().map_or(Begun::Nothing, |message| Begun::Message(message.length))
    }

    /// Takes one frame, or all there is of it.
    fn step(
        &mut self,
        workspace: &mut Workspace,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ConnEvent>, Violation> {
        if let Some(partial) = self.partial.take() {
            return self.go_on(partial, workspace, input, out);
        }
        let header = Header::parse(input, self.begun(), workspace.max_message)?;
        if let Some(header) = header
            && let Some((whole, rest)) = input.split_at_checked(header.frame())
        {
            *input = rest;
            return self.frame(header, whole, None, workspace, out);
        }
        let check = self.message.as_ref().map_or_else(Utf8Check::default, |message| message.check);
        let bytes = input.to_vec();
        *input = &[];
        let mut partial = Box::new(Partial { bytes, header, check, checked: 0 });
        self.check_text(&mut partial)?;
        self.partial = Some(partial);
        Ok(None)
    }

    /// Takes more of a frame whose beginning was kept.
    fn go_on(
        &mut self,
        mut partial: Box<Partial>,
        workspace: &mut Workspace,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ConnEvent>, Violation> {
        while partial.header.is_none()
            && let Some((&byte, rest)) = input.split_first()
        {
            debug_assert!(partial.bytes.len() < MAX_HEADER);
            partial.bytes.push(byte);
            *input = rest;
            partial.header = Header::parse(&partial.bytes, self.begun(), workspace.max_message)?;
        }
        let Some(header) = partial.header else {
            self.partial = Some(partial);
            return Ok(None);
        };
        let missing = header.frame() - partial.bytes.len();
        let (part, rest) = input.split_at(missing.min(input.len()));
        partial.bytes.extend_from_slice(part);
        *input = rest;
        self.check_text(&mut partial)?;
        if part.len() < missing {
            self.partial = Some(partial);
            return Ok(None);
        }
        self.frame(header, &partial.bytes, Some(partial.check), workspace, out)
    }

    /// Checks the text that a partial frame has gained.
    fn check_text(&self, partial: &mut Partial) -> Result<(), Violation> {
        let Some(header) = partial.header else { return Ok(()) };
        if self.carries_text(header) {
            let payload = &partial.bytes[header.size..];
            check_masked(&mut partial.check, header.mask, payload, partial.checked)?;
            partial.checked = payload.len();
        }
        Ok(())
    }

    fn carries_text(&self, header: Header) -> bool {
        match header.opcode {
            Opcode::Text => true,
            Opcode::Continuation => self.message.as_ref().is_some_and(|message| message.is_text),
            Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => false,
        }
    }

    /// Carries out one whole frame. `checked` is where its text check stands, when it has one.
    fn frame(
        &mut self,
        header: Header,
        bytes: &[u8],
        checked: Option<Utf8Check>,
        workspace: &mut Workspace,
        out: &mut Vec<u8>,
    ) -> Result<Option<ConnEvent>, Violation> {
        match header.opcode {
            Opcode::Ping => Ok(Some(ConnEvent::PingReceived(unmask(header, bytes)))),
            Opcode::Pong => Ok(Some(ConnEvent::PongReceived(read_counter(header, bytes)))),
            Opcode::Close => {
                let code = read_close(header, bytes)?;
                frame::put_close(out, code, "");
                self.end();
                Ok(Some(ConnEvent::Closed(CloseCause::PeerClosed(code))))
            }
            Opcode::Text | Opcode::Binary if header.is_final => workspace.read(bytes),
            Opcode::Text | Opcode::Binary => {
                let message = Fragmented {
                    context: workspace.new_context(),
                    is_text: header.opcode == Opcode::Text,
                    length: 0,
                    check: Utf8Check::default(),
                };
                self.fragment(Box::new(message), header, bytes, checked)
            }
            Opcode::Continuation => {
                let message = self.message.take();
                let message = message.expect("the header was checked against the message begun");
                self.fragment(message, header, bytes, checked)
            }
        }
    }

    /// Adds one frame to a message of several.
    fn fragment(
        &mut self,
        mut message: Box<Fragmented>,
        header: Header,
        bytes: &[u8],
        checked: Option<Utf8Check>,
    ) -> Result<Option<ConnEvent>, Violation> {
        if message.is_text {
            match checked {
                Some(check) => message.check = check,
                None => {
                    check_masked(&mut message.check, header.mask, &bytes[header.size..], 0)?;
                }
            }
        }
        message.length += header.payload;
        let event = read(&mut message.context, bytes)?;
        if !header.is_final {
            self.message = Some(message);
        }
        Ok(event)
    }
}

impl Workspace {
    /// Reads one frame that stands for itself.
    fn read(&mut self, frame: &[u8]) -> Result<Option<ConnEvent>, Violation> {
        let event = read(&mut self.context, frame);
        if frame.len() > COPY || event.is_err() {
            // The context's buffer may be part of the message, or its state unclear.
            self.context = self.new_context();
        }
        event
    }
}

/// The counter in a pong to one of our pings. Every message of a quiet connection brings a pong, so
/// it is not sent the long way: that takes ten times as many instructions.
fn read_counter(header: Header, frame: &[u8]) -> Option<u64> {
    let mut payload: [u8; 8] = frame[header.size..].try_into().ok()?;
    for (byte, mask) in payload.iter_mut().zip(header.mask.into_iter().cycle()) {
        *byte ^= mask;
    }
    Some(u64::from_be_bytes(payload))
}

/// The payload of a control frame.
fn unmask(header: Header, frame: &[u8]) -> Bytes {
    let masked = frame[header.size..].iter().zip(header.mask.into_iter().cycle());
    masked.map(|(byte, mask)| byte ^ mask).collect()
}

/// Has tungstenite read exactly one data frame.
fn read(context: &mut WebSocketContext, frame: &[u8]) -> Result<Option<ConnEvent>, Violation> {
    match context.read(&mut Memory { input: frame }) {
        Ok(Message::Text(text)) if text.len() <= COPY => {
            Ok(Some(ConnEvent::TextReceived(ByteString::from(text.as_str()))))
        }
        Ok(Message::Text(text)) => {
            let text = ByteString::try_from(Bytes::from(text)).map_err(|_| Violation::NOT_UTF8)?;
            Ok(Some(ConnEvent::TextReceived(text)))
        }
        Ok(Message::Binary(bytes)) => Ok(Some(ConnEvent::BinaryReceived(own(bytes)))),
        Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
            unreachable!("control frames are read here, and raw frames are never read")
        }
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(violation(&error)),
    }
}

fn own(bytes: Bytes) -> Bytes {
    if bytes.len() <= COPY { Bytes::copy_from_slice(&bytes) } else { bytes }
}

/// What a refusal by tungstenite means on the wire.
fn violation(error: &Error) -> Violation {
    if matches!(error, Error::Utf8(_)) {
        return Violation::NOT_UTF8;
    }
    if matches!(error, Error::Capacity(_)) {
        return Violation::TOO_BIG;
    }
    Violation::protocol("frame is not allowed here")
}

/// Checks a text payload from `from` on.
fn check_masked(
    check: &mut Utf8Check,
    mask: [u8; 4],
    payload: &[u8],
    from: usize,
) -> Result<(), Violation> {
    let mut clear = [0; 1 << 10];
    let mut at = from;
    for part in payload[from..].chunks(clear.len()) {
        for (index, (clear, masked)) in clear.iter_mut().zip(part).enumerate() {
            *clear = masked ^ mask[(at + index) % 4];
        }
        if !check.push(&clear[..part.len()]) {
            return Err(Violation::NOT_UTF8);
        }
        at += part.len();
    }
    Ok(())
}

/// The code of a close frame, `None` when the frame is empty.
fn read_close(header: Header, bytes: &[u8]) -> Result<Option<u16>, Violation> {
    let payload = unmask(header, bytes);
    let (code, reason) = match &*payload {
        [] => return Ok(None),
        [_] => return Err(Violation::protocol("close frame with half a code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !may_be_sent(code) {
        return Err(Violation::protocol("close code may not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation::NOT_UTF8);
    }
    Ok(Some(code))
}

/// Whether a close frame may carry the code: those registered by IANA for use on the wire, and the
/// ranges for libraries and applications (RFC 6455, section 7.4).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A stream in memory, as tungstenite wants to see one.
struct Memory<'a> {
    input: &'a [u8],
}

impl Read for Memory<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Memory<'_> {
    /// Never called: only control frames are answered.
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
