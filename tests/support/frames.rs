//! WebSocket frames (RFC 6455, section 5): built exactly as a test wants them, and read back.

/// Opcodes.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// How to build a frame. The default is a whole, masked text frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    pub(crate) rsv: u8,
    pub(crate) is_masked: bool,
}

impl Default for Shape {
    fn default() -> Self {
        Self { opcode: TEXT, is_final: true, rsv: 0, is_masked: true }
    }
}

impl Shape {
    pub(crate) fn of(opcode: u8) -> Self {
        Self { opcode, ..Self::default() }
    }
}

/// A frame as it came from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) is_final: bool,
    pub(crate) payload: Vec<u8>,
}

/// The bytes of one frame.
pub(crate) fn encode(shape: Shape, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(shape, payload.len() as u64);
    if shape.is_masked {
        let mask = [0x5a, 0x0f, 0xc3, 0x96];
        bytes.extend_from_slice(&mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    } else {
        bytes.extend_from_slice(payload);
    }
    bytes
}

/// The bytes before mask and payload; `length` need not be true.
pub(crate) fn header(shape: Shape, length: u64) -> Vec<u8> {
    let mask_bit = if shape.is_masked { 0x80 } else { 0 };
    let final_bit = if shape.is_final { 0x80 } else { 0 };
    let mut bytes = vec![final_bit | (shape.rsv << 4) | shape.opcode];
    if let Ok(short @ 0..=125) = u8::try_from(length) {
        bytes.push(mask_bit | short);
    } else if let Ok(middle) = u16::try_from(length) {
        bytes.push(mask_bit | 126);
        bytes.extend_from_slice(&middle.to_be_bytes());
    } else {
        bytes.push(mask_bit | 127);
        bytes.extend_from_slice(&length.to_be_bytes());
    }
    bytes
}

/// Cuts the server's byte stream into frames.
#[derive(Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame; an error when a server must never send this.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame>, String> {
        let [first, second, ..] = *self.buffer else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(format!("reserved bits in a frame of the server: {first:#04x}"));
        }
        if second & 0x80 != 0 {
            return Err("a masked frame of the server".to_owned());
        }
        let (at, length) = match second {
            126 => {
                let Some(bytes) = self.buffer.get(2..4) else { return Ok(None) };
                (4, u64::from(u16::from_be_bytes([bytes[0], bytes[1]])))
            }
            127 => {
                let Some(bytes) = self.buffer.get(2..10) else { return Ok(None) };
                (10, u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
            }
            short => (2, u64::from(short)),
        };
        let is_shortest = length > 125 || at == 2;
        if !is_shortest || (at == 10 && length <= 0xffff) {
            return Err(format!(
                "a frame of {length} bytes with a longer length field than needed"
            ));
        }
        let end = at + usize::try_from(length).map_err(|_| "a frame beyond memory".to_owned())?;
        if self.buffer.len() < end {
            return Ok(None);
        }
        let payload = self.buffer[at..end].to_vec();
        self.buffer.drain(..end);
        Ok(Some(Frame { opcode: first & 0x0f, is_final: first & 0x80 != 0, payload }))
    }
}
