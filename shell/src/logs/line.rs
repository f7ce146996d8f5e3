//! The pieces of a log line: times, short names, and text made safe for one line.

use std::io::Write as _;
use std::str;
use steadfast_core::id::{ConnId, MessageId, PusherId};
use steadfast_core::time::Time;

/// Writes times; the part down to the second is made once a second.
#[derive(Debug)]
pub(super) struct Clock {
    second: u64,
    /// `2026-11-21T01:20:00.`
    prefix: Vec<u8>,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { second: u64::MAX, prefix: Vec::new() }
    }

    /// Appends `2026-11-21T01:20:00.123Z`.
    pub(super) fn write(&mut self, micros: u64, out: &mut Vec<u8>) {
        let (second, millis) = (micros / 1_000_000, micros / 1_000 % 1_000);
        if second != self.second {
            let shown = Time::from_micros(second * 1_000_000).to_string();
            self.prefix = shown.into_bytes();
            self.prefix.truncate(self.prefix.len() - "000Z".len());
            self.second = second;
        }
        out.extend_from_slice(&self.prefix);
        let digit = |value: u64| b'0' + u8::try_from(value % 10).expect("a digit fits");
        out.extend_from_slice(&[digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
    }
}

/// A short ASCII name built without allocation: an id as its `Display` shows it.
#[derive(Clone, Copy)]
pub(super) struct Short {
    /// Filled from the end, as digits are made.
    bytes: [u8; 32],
    start: usize,
}

impl Short {
    pub(super) fn conn(id: ConnId) -> Self {
        Self::empty().digits(id.generation.into()).byte(b'.').digits(id.slot.into()).byte(b'c')
    }

    pub(super) fn pusher(id: PusherId) -> Self {
        Self::empty().digits(id.generation.into()).byte(b'.').digits(id.slot.into()).byte(b'p')
    }

    pub(super) fn message(id: MessageId) -> Self {
        Self::empty().digits(id.counter).byte(b'-').digits(id.incarnation.into())
    }

    pub(super) fn number(number: u64) -> Self {
        Self::empty().digits(number)
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[self.start..]).expect("short names are ASCII")
    }

    fn empty() -> Self {
        Self { bytes: [0; 32], start: 32 }
    }

    /// Puts a byte in front.
    fn byte(mut self, byte: u8) -> Self {
        self.start -= 1;
        self.bytes[self.start] = byte;
        self
    }

    /// Puts a number in front.
    fn digits(mut self, mut number: u64) -> Self {
        loop {
            self = self.byte(b'0' + u8::try_from(number % 10).expect("a digit fits"));
            number /= 10;
            if number == 0 {
                return self;
            }
        }
    }
}

/// How text is made safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// For a line of text: control characters and line separators become `\n`, `\t`, `\u{…}`;
    /// invalid UTF-8 becomes `\x…`. All else stays as it is, so that people find what they know.
    Text,
    /// The same within quotation marks, which are escaped too, and backslashes.
    Quoted,
    /// The inside of a JSON string; invalid UTF-8 becomes U+FFFD.
    Json,
}

/// Bytes that never stand as they are, or begin something that may not.
const SUSPECT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        // 0xC2 begins U+0080..=U+00BF and 0xE2 begins U+2028 and U+2029.
        table[byte] = byte < 0x20 || byte == 0x7F || byte == 0xC2 || byte == 0xE2;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

/// Appends `text`, made safe.
pub(super) fn write_escaped(text: &[u8], escape: Escape, out: &mut Vec<u8>) {
    if is_plain(text, escape) {
        out.extend_from_slice(text);
        return;
    }
    for chunk in text.utf8_chunks() {
        write_valid(chunk.valid(), escape, out);
        for byte in chunk.invalid() {
            match escape {
                Escape::Text | Escape::Quoted => write!(out, "\\x{byte:02X}"),
                Escape::Json => out.write_all("\u{FFFD}".as_bytes()),
            }
            .expect("a vector takes everything");
        }
    }
}

/// Whether the text is ASCII of which nothing is escaped. Looks at all bytes without a branch, so
/// that the compiler compares many at once.
fn is_plain(text: &[u8], escape: Escape) -> bool {
    let plain = |byte: &u8| (b' '..0x7F).contains(byte);
    match escape {
        Escape::Text => text.iter().fold(true, |all, byte| all & plain(byte)),
        Escape::Quoted | Escape::Json => text
            .iter()
            .fold(true, |all, byte| all & plain(byte) & (*byte != b'"') & (*byte != b'\\')),
    }
}

fn write_valid(text: &str, escape: Escape, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        if !SUSPECT[usize::from(bytes[at])] {
            at += 1;
            continue;
        }
        let c = text[at..].chars().next().expect("there is a character at this boundary");
        let end = at + c.len_utf8();
        if must_escape(c, escape) {
            out.extend_from_slice(&bytes[start..at]);
            write_char(c, escape, out);
            start = end;
        }
        at = end;
    }
    out.extend_from_slice(&bytes[start..]);
}

fn must_escape(c: char, escape: Escape) -> bool {
    match c {
        '"' | '\\' => escape != Escape::Text,
        '\u{2028}' | '\u{2029}' => true,
        c => c.is_control(),
    }
}

fn write_char(c: char, escape: Escape, out: &mut Vec<u8>) {
    match (c, escape) {
        ('\n', _) => out.extend_from_slice(b"\\n"),
        ('\r', _) => out.extend_from_slice(b"\\r"),
        ('\t', _) => out.extend_from_slice(b"\\t"),
        ('"' | '\\', _) => out.extend_from_slice(&[b'\\', c as u8]),
        (c, Escape::Json) => {
            write!(out, "\\u{:04x}", u32::from(c)).expect("a vector takes everything");
        }
        (c, Escape::Text | Escape::Quoted) => {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("a vector takes everything");
        }
    }
}

/// Where to cut `text` so that at most `max` bytes are left and no character is cut in two.
pub(super) fn cut(text: &[u8], max: usize) -> usize {
    if text.len() <= max {
        return text.len();
    }
    // A character has at most three bytes after its first; bytes that are not UTF-8 are cut anywhere.
    let is_continuation = |at: usize| text[at] & 0xC0 == 0x80;
    (max.saturating_sub(3)..=max).rev().find(|at| !is_continuation(*at)).unwrap_or(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8], escape: Escape) -> String {
        let mut out = Vec::new();
        write_escaped(text, escape, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn one_record_stays_one_line() {
        for (text, plain, json) in [
            (&b"hello"[..], "hello", "hello"),
            (b"a\r\nb\tc\0", "a\\r\\nb\\tc\\u{0}", "a\\r\\nb\\tc\\u0000"),
            (b"{\"a\":\"\\n\"}", "{\"a\":\"\\n\"}", "{\\\"a\\\":\\\"\\\\n\\\"}"),
            ("获取".as_bytes(), "获取", "获取"),
            (
                "a\u{85}b\u{2028}\u{a0}\u{20ac}".as_bytes(),
                "a\\u{85}b\\u{2028}\u{a0}€",
                "a\\u0085b\\u2028\u{a0}€",
            ),
            (b"a\xFFb\xE8\x8E", "a\\xFFb\\xE8\\x8E", "a\u{FFFD}b\u{FFFD}\u{FFFD}"),
            (b"\x1b[2J\x7f", "\\u{1b}[2J\\u{7f}", "\\u001b[2J\\u007f"),
        ] {
            assert_eq!(escaped(text, Escape::Text), plain);
            assert_eq!(escaped(text, Escape::Json), json);
        }
        assert_eq!(escaped(b"say \"\\\"", Escape::Quoted), "say \\\"\\\\\\\"");
    }

    #[test]
    fn text_is_cut_between_characters() {
        for (text, max, expected) in [
            ("abc", 3, 3),
            ("abc", 2, 2),
            ("abc", 0, 0),
            ("a获b", 3, 1),
            ("a获b", 4, 4),
            ("😀", 3, 0),
        ] {
            assert_eq!(cut(text.as_bytes(), max), expected, "{text} {max}");
        }
        assert_eq!(cut(&[0x80; 10], 7), 7);
    }

    #[test]
    fn short_names_are_those_of_display() {
        for (slot, generation) in [(0, 0), (7, 12), (u32::MAX, u32::MAX)] {
            let (conn, pusher) = (ConnId { slot, generation }, PusherId { slot, generation });
            let message = MessageId { incarnation: slot, counter: u64::MAX };
            assert_eq!(Short::conn(conn).as_str(), conn.to_string());
            assert_eq!(Short::pusher(pusher).as_str(), pusher.to_string());
            assert_eq!(Short::message(message).as_str(), message.to_string());
        }
    }

    #[test]
    fn times_are_those_of_display() {
        let mut clock = Clock::new();
        for micros in [0, 999_999, 1_000_000, 1_795_224_000_123_456, 1_795_224_000_999_999, 5] {
            let mut out = Vec::new();
            clock.write(micros, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), Time::from_micros(micros).to_string());
        }
    }
}
