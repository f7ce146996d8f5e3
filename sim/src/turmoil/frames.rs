//! The client's half of the WebSocket protocol, as far as simulated clients speak it: a request,
//! masked frames out, whole frames in. Masks come from the client's own generator.

/// The request of every client, and the field that proves its answer: the sample of RFC 6455.
pub(super) const REQUEST: &str = "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";
/// The same for a client of the link protocol.
pub(super) const LINK_REQUEST: &str = "GET / HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: steadfast.v1\r\n\r\n";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The kinds of frames that clients send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Text = 1,
    Binary = 2,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

/// Appends one frame.
pub(super) fn put(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    out.push(0x80 | opcode as u8);
    let size = payload.len();
    if size < 126 {
        out.push(0x80 | size as u8);
    } else if let Ok(size) = u16::try_from(size) {
        out.push(0x80 | 126);
        out.extend_from_slice(&size.to_be_bytes());
    } else {
        out.push(0x80 | 127);
        out.extend_from_slice(&(size as u64).to_be_bytes());
    }
    out.extend_from_slice(&mask);
    let masked = payload.iter().zip(mask.into_iter().cycle());
    out.extend(masked.map(|(byte, mask)| byte ^ mask));
}

/// What a client got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Upgraded,
    /// The request was not upgraded; the status line.
    Refused(String),
    Text(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>, String),
    /// The gateway broke the protocol.
    Broken(&'static str),
}

/// Collects bytes until they are something whole.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    upgraded: bool,
}

impl Reader {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole thing.
    pub(super) fn next(&mut self) -> Option<Got> {
        if self.upgraded { self.frame() } else { self.response() }
    }

    fn response(&mut self) -> Option<Got> {
        let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.bytes[..end]).into_owned();
        self.bytes.drain(..end);
        let status = head.lines().next().unwrap_or_default().to_owned();
        if !status.starts_with("HTTP/1.1 101 ") {
            return Some(Got::Refused(status));
        }
        self.upgraded = true;
        Some(if head.contains(ACCEPT) { Got::Upgraded } else { Got::Broken("wrong accept key") })
    }

    fn frame(&mut self) -> Option<Got> {
        let [first, second, ..] = self.bytes[..] else { return None };
        if second & 0x80 != 0 {
            return Some(Got::Broken("a frame from the gateway is masked"));
        }
        let (size, header) = match second {
            126 => (usize::from(u16::from_be_bytes(self.bytes.get(2..4)?.try_into().ok()?)), 4),
            127 => (u64::from_be_bytes(self.bytes.get(2..10)?.try_into().ok()?) as usize, 10),
            size => (usize::from(size), 2),
        };
        let payload = self.bytes.get(header..header + size)?.to_vec();
        self.bytes.drain(..header + size);
        Some(match first {
            0x81 => Got::Text(payload),
            0x89 => Got::Ping(payload),
            0x8a => Got::Pong,
            0x88 => match payload[..] {
                [] => Got::Close(None, String::new()),
                [high, low, ref reason @ ..] => {
                    let reason = String::from_utf8_lossy(reason).into_owned();
                    Got::Close(Some(u16::from_be_bytes([high, low])), reason)
                }
                [_] => Got::Broken("a close frame with half a code"),
            },
            _ => Got::Broken("a frame that the gateway never sends"),
        })
    }
}

/// Bytes that break the protocol, each in its own way.
#[must_use]
pub fn malformed(which: u8) -> &'static [u8] {
    const BREACHES: [&[u8]; 8] = [
        // Not masked.
        b"\x81\x02hi",
        // A reserved bit.
        b"\xc1\x82\x00\x00\x00\x00hi",
        // A reserved opcode.
        b"\x83\x80\x00\x00\x00\x00",
        // A ping longer than control frames may be.
        b"\x89\xfe\x00\x7e\x00\x00\x00\x00",
        // A ping in two parts.
        b"\x09\x80\x00\x00\x00\x00",
        // A continuation of nothing.
        b"\x80\x80\x00\x00\x00\x00",
        // Text that is not UTF-8.
        b"\x81\x82\x00\x00\x00\x00\xff\xfe",
        // A close frame with half a code.
        b"\x88\x81\x00\x00\x00\x00\x03",
    ];
    BREACHES[usize::from(which) % BREACHES.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::command::FrameKind;
    use steadfast_shell::codec::client::ClientCodec;
    use steadfast_shell::codec::frame;
    use steadfast_shell::codec::websocket::Workspace;

    #[test]
    fn what_the_codec_writes_is_read_byte_by_byte() {
        let mut written = Vec::new();
        let mut codec = ClientCodec::default();
        let mut request = REQUEST.as_bytes();
        let upgraded = codec.next(&mut Workspace::new(1 << 20), &mut request, &mut written);
        assert!(upgraded.is_some());
        for size in [0, 125, 126, 70_000] {
            frame::put_message(&mut written, FrameKind::Text, &vec![b'x'; size]);
        }
        frame::put_ping(&mut written, 7);
        frame::put_close(&mut written, Some(1001), "idle");
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for byte in written {
            reader.push(&[byte]);
            got.extend(reader.next());
        }
        let text = |size| Got::Text(vec![b'x'; size]);
        let close = Got::Close(Some(1001), "idle".to_owned());
        let ping = Got::Ping(7_u64.to_be_bytes().to_vec());
        assert_eq!(got, [Got::Upgraded, text(0), text(125), text(126), text(70_000), ping, close]);
    }
}
