//! WebSocket frames: the header of what comes in, and all of what goes out.
//!
//! Frames that go out are written by hand: a server's frames are not masked, so a frame is its
//! payload behind two, four or ten bytes. Headers that come in are judged here as early as their
//! bytes allow, so that nothing of a frame that is wrong from its first byte is ever kept.
//!
//! Not here: payloads, which [`websocket`](super::websocket) handles.

use steadfast_core::command::FrameKind;

/// The longest header: two bytes, an eight-byte length, a four-byte mask.
pub const MAX_HEADER: usize = 14;
/// The longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next part of a message.
    Continuation,
    /// A text message or its first part.
    Text,
    /// A binary message or its first part.
    Binary,
    /// The end of the connection.
    Close,
    /// To be answered with a pong.
    Ping,
    /// The answer to a ping.
    Pong,
}

impl Opcode {
    /// The opcode of a frame's first byte; `None` for those that RFC 6455 reserves.
    #[must_use]
    pub fn from_first_byte(byte: u8) -> Option<Self> {
        match byte & OPCODE {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    fn is_control(self) -> bool {
        match self {
            Self::Close | Self::Ping | Self::Pong => true,
            Self::Continuation | Self::Text | Self::Binary => false,
        }
    }
}

/// A breach of the protocol by the peer, and the close code it earns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The close code (RFC 6455, section 7.4.1).
    pub code: u16,
    /// What was wrong; short enough for a close frame.
    pub reason: &'static str,
}

impl Violation {
    /// A frame that RFC 6455 does not allow: 1002.
    #[must_use]
    pub const fn protocol(reason: &'static str) -> Self {
        Self { code: 1002, reason }
    }

    /// Text that is not UTF-8: 1007.
    pub const NOT_UTF8: Self = Self { code: 1007, reason: "text is not valid UTF-8" };
    /// A message beyond the limit: 1009.
    pub const TOO_BIG: Self = Self { code: 1009, reason: "message is longer than the limit" };
}

/// The header of a client's frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the frame ends its message.
    pub is_final: bool,
    /// What the frame is.
    pub opcode: Opcode,
    /// Length of the header itself in bytes.
    pub size: usize,
    /// Length of the payload in bytes.
    pub payload: usize,
    /// What the payload is XORed with.
    pub mask: [u8; 4],
}

/// The message that a frame may continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// There is none.
    Nothing,
    /// A message of which this many bytes have come.
    Message(usize),
}

impl Header {
    /// Length of the whole frame in bytes.
    #[must_use]
    pub fn frame(&self) -> usize {
        self.size + self.payload
    }

    /// Reads the header at the start of `bytes`; `None` when more bytes are needed.
    ///
    /// # Errors
    /// What the frame does wrong, found at the first byte that shows it. `begun` is the message
    /// under way and `max_message` the length that it may reach.
    pub fn parse(
        bytes: &[u8],
        begun: Begun,
        max_message: usize,
    ) -> Result<Option<Self>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let opcode = check_first(first, begun)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::protocol("frame is not masked"));
        }
        let short = second & !MASKED;
        if opcode.is_control() && usize::from(short) > MAX_CONTROL {
            return Err(Violation::protocol("control frame is longer than 125 bytes"));
        }
        let Some((payload, size)) = read_length(bytes, short)? else { return Ok(None) };
        let so_far = match begun {
            Begun::Message(bytes) if !opcode.is_control() => bytes,
            Begun::Message(_) | Begun::Nothing => 0,
        };
        if !opcode.is_control() && payload > max_message.saturating_sub(so_far) as u64 {
            return Err(Violation::TOO_BIG);
        }
        let Some(&mask) = bytes.get(size..).and_then(<[u8]>::first_chunk::<4>) else {
            return Ok(None);
        };
        let is_final = first & FIN != 0;
        Ok(Some(Self { is_final, opcode, size: size + 4, payload: payload as usize, mask }))
    }
}

/// Judges a frame by its first byte.
fn check_first(first: u8, begun: Begun) -> Result<Opcode, Violation> {
    if first & RESERVED_BITS != 0 {
        return Err(Violation::protocol("reserved bit is set"));
    }
    let Some(opcode) = Opcode::from_first_byte(first) else {
        return Err(Violation::protocol("reserved opcode"));
    };
    if opcode.is_control() {
        if first & FIN == 0 {
            return Err(Violation::protocol("control frame is fragmented"));
        }
        return Ok(opcode);
    }
    match (opcode == Opcode::Continuation, begun) {
        (true, Begun::Nothing) => Err(Violation::protocol("continuation of no message")),
        (false, Begun::Message(_)) => Err(Violation::protocol("message begins inside another")),
        (true, Begun::Message(_)) | (false, Begun::Nothing) => Ok(opcode),
    }
}

/// The payload's length and where it ends in the header; `None` when more bytes are needed.
fn read_length(bytes: &[u8], short: u8) -> Result<Option<(u64, usize)>, Violation> {
    let (payload, size, least) = match short {
        126 => match bytes[2..].first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4, 126),
            None => return Ok(None),
        },
        127 => match bytes[2..].first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 10, 1 << 16),
            None => return Ok(None),
        },
        _ => (u64::from(short), 2, 0),
    };
    if payload < least || payload >> 63 != 0 {
        return Err(Violation::protocol("frame length is not in its shortest form"));
    }
    Ok(Some((payload, size)))
}

/// Appends one whole message.
pub fn put_message(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) {
    let opcode = match kind {
        FrameKind::Text => Opcode::Text,
        FrameKind::Binary => Opcode::Binary,
    };
    put(out, opcode, payload);
}

/// Appends a ping with `counter` as its payload, 8 bytes big-endian.
pub fn put_ping(out: &mut Vec<u8>, counter: u64) {
    put(out, Opcode::Ping, &counter.to_be_bytes());
}

/// Appends a pong with a ping's payload, which is at most 125 bytes.
pub fn put_pong(out: &mut Vec<u8>, payload: &[u8]) {
    put(out, Opcode::Pong, payload);
}

/// Appends a close frame; without a code it is empty. Of the reason at most 123 bytes are written.
pub fn put_close(out: &mut Vec<u8>, code: Option<u16>, reason: &str) {
    let Some(code) = code else { return put(out, Opcode::Close, &[]) };
    let fits = |&end: &usize| end <= MAX_CONTROL - 2;
    let ends = reason.char_indices().map(|(at, char)| at + char.len_utf8());
    let reason = &reason.as_bytes()[..ends.take_while(fits).last().unwrap_or(0)];
    let mut payload = [0; MAX_CONTROL];
    payload[..2].copy_from_slice(&code.to_be_bytes());
    payload[2..2 + reason.len()].copy_from_slice(reason);
    put(out, Opcode::Close, &payload[..2 + reason.len()]);
}

/// Appends one unmasked, unfragmented frame.
fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let mut header = [0; 10];
    header[0] = FIN | opcode.byte();
    let size = match payload.len() {
        length @ 0..=125 => {
            header[1] = length as u8;
            2
        }
        length @ 126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(length as u16).to_be_bytes());
            4
        }
        length => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(length as u64).to_be_bytes());
            10
        }
    };
    out.reserve(size + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8], begun: Begun) -> Result<Option<Header>, Violation> {
        Header::parse(bytes, begun, 1000)
    }

    #[test]
    fn a_wrong_header_is_refused_at_its_first_wrong_byte() {
        let begun = Begun::Message(990);
        for (bytes, begun, code) in [
            (&[0xc1][..], Begun::Nothing, 1002),
            (&[0x83], Begun::Nothing, 1002),
            (&[0x8b], Begun::Nothing, 1002),
            (&[0x09], Begun::Nothing, 1002),
            (&[0x80], Begun::Nothing, 1002),
            (&[0x81], begun, 1002),
            (&[0x81, 0x05], Begun::Nothing, 1002),
            (&[0x89, 0xfe], Begun::Nothing, 1002),
            (&[0x81, 0xfe, 0, 125], Begun::Nothing, 1002),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Begun::Nothing, 1002),
            (&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0xff, 0xff], Begun::Nothing, 1002),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], Begun::Nothing, 1009),
            (&[0x82, 0xfe, 0x03, 0xe9], Begun::Nothing, 1009),
            (&[0x80, 0x80 | 11], begun, 1009),
        ] {
            let got = parse(bytes, begun).map_err(|violation| violation.code);
            assert_eq!(got, Err(code), "{bytes:x?}");
            let shorter = &bytes[..bytes.len() - 1];
            assert_eq!(parse(shorter, begun), Ok(None), "{shorter:x?} is right so far");
        }
    }

    #[test]
    fn a_header_needs_its_mask() {
        let bytes = [0x80, 0x8a, 1, 2, 3, 4];
        for len in 0..6 {
            assert_eq!(parse(&bytes[..len], Begun::Message(990)), Ok(None));
        }
        let header = Header {
            is_final: true,
            opcode: Opcode::Continuation,
            size: 6,
            payload: 10,
            mask: [1, 2, 3, 4],
        };
        assert_eq!(parse(&bytes, Begun::Message(990)), Ok(Some(header)));
        assert_eq!(header.frame(), 16);
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character() {
        let mut out = Vec::new();
        put_close(&mut out, Some(1001), &"é".repeat(80));
        assert_eq!(out.len(), 2 + 2 + 122);
        assert_eq!(out[..4], [0x88, 124, 0x03, 0xe9]);
    }
}
