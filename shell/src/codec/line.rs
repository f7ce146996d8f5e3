//! The push port: lines in, one reply line each out.
//!
//! A line ends with `\n`; the `\r`s before it are cut. Every byte is looked at once, however the
//! lines are split, and a line is copied once, out of the read buffer. Lines that were read together
//! share a block of at most 32 KiB: an allocation for each costs more than reading it. So a
//! message that waits in memory may keep that much alive; a single line has just its own bytes.
//!
//! Not here: what a line says, and how many may be unanswered; the core decides both.

use bytes::{Bytes, BytesMut};
use std::mem;
use steadfast_core::command::Reply;
use steadfast_core::event::PusherEvent;

/// A split line beyond this size is handed on as it is rather than copied once more, and its
/// buffer is not kept for the next one.
const KEEP: usize = 4 << 10;

/// The most memory that lines which were read together share.
const BLOCK: usize = 32 << 10;

/// Cuts one back end's bytes into lines.
#[derive(Debug)]
pub struct LineCodec {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// What is left of the block for the lines of this read.
    block: BytesMut,
    /// The longest line in bytes, without its `\n`.
    max_line: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reading,
    /// A line was too long: whatever follows is part of no line.
    Refused,
}

impl LineCodec {
    /// A codec at the start of a connection.
    #[must_use]
    pub fn new(max_line: usize) -> Self {
        Self { begun: Vec::new(), block: BytesMut::new(), max_line, state: State::Reading }
    }

    /// The next event in `input`, which is advanced past it; `None` once all of it is taken.
    ///
    /// [`PusherEvent::LineTooLong`] comes once, names the first byte beyond the limit, and is the
    /// last event: what follows is swallowed.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<PusherEvent> {
        if self.state == State::Refused {
            *input = &[];
            return None;
        }
        let end = memchr::memchr(b'\n', input);
        let part = &input[..end.unwrap_or(input.len())];
        if part.len() > self.max_line - self.begun.len() {
            *input = &[];
            self.begun = Vec::new();
            self.state = State::Refused;
            return Some(PusherEvent::LineTooLong { bytes: self.max_line as u64 + 1 });
        }
        *input = match end {
            Some(end) => &input[end + 1..],
            None => &[],
        };
        if end.is_none() {
            self.begun.extend_from_slice(part);
            return None;
        }
        if self.begun.is_empty() {
            let line = self.copy(trim(part), input.len());
            return Some(PusherEvent::LineReceived(line));
        }
        self.begun.extend_from_slice(part);
        Some(PusherEvent::LineReceived(self.take_begun()))
    }

    /// A line in a block that it shares with the `rest` that was read with it.
    fn copy(&mut self, line: &[u8], rest: usize) -> Bytes {
        if self.block.capacity() < line.len() {
            self.block = BytesMut::with_capacity((line.len() + rest).min(BLOCK).max(line.len()));
        }
        self.block.extend_from_slice(line);
        let copied = self.block.split().freeze();
        if rest == 0 {
            self.block = BytesMut::new();
        }
        copied
    }

    /// How many bytes of a line without an end there are: what is discarded at the end of the
    /// stream.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.begun.len() as u64
    }

    /// The line that has just been completed.
    fn take_begun(&mut self) -> Bytes {
        let line = trim(&self.begun).len();
        if self.begun.capacity() <= KEEP {
            let bytes = Bytes::copy_from_slice(&self.begun[..line]);
            self.begun.clear();
            return bytes;
        }
        let mut own = mem::take(&mut self.begun);
        own.truncate(line);
        own.shrink_to_fit();
        Bytes::from(own)
    }
}

/// The line without the `\r`s at its end.
fn trim(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|&byte| byte != b'\r').map_or(0, |last| last + 1);
    &line[..end]
}

/// Appends the reply to one push.
pub fn put_reply(out: &mut Vec<u8>, reply: Reply) {
    out.extend_from_slice(match reply {
        Reply::Ok(_) => b"ok\n",
        Reply::Queued(_) => b"queued\n",
        Reply::Fail(_) => b"fail\n",
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All events of `bytes` handed over in the given parts, and what is left unfinished.
    fn events<'a>(parts: impl Iterator<Item = &'a [u8]>, max: usize) -> (Vec<PusherEvent>, u64) {
        let mut codec = LineCodec::new(max);
        let mut events = Vec::new();
        for mut part in parts {
            while let Some(event) = codec.next(&mut part) {
                events.push(event);
            }
            assert!(part.is_empty());
        }
        (events, codec.unfinished())
    }

    fn line(text: &str) -> PusherEvent {
        PusherEvent::LineReceived(Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn lines_are_cut_and_carriage_returns_trimmed() {
        let bytes = b"one\ntwo\r\n\n\r\r\na\rb \r\r\nrest";
        let expected = vec![line("one"), line("two"), line(""), line(""), line("a\rb ")];
        assert_eq!(events([&bytes[..]].into_iter(), 100), (expected.clone(), 4));
        assert_eq!(events(bytes.chunks(1), 100), (expected, 4));
    }

    #[test]
    fn a_line_may_be_as_long_as_the_limit_and_no_longer() {
        let too_long = PusherEvent::LineTooLong { bytes: 5 };
        for (bytes, expected) in [
            (&b"abcd\nabc\r\n"[..], vec![line("abcd"), line("abc")]),
            (b"ok\nabcd\r\nnever\n", vec![line("ok"), too_long.clone()]),
            (b"abcde", vec![too_long]),
        ] {
            assert_eq!(events([bytes].into_iter(), 4), (expected.clone(), 0));
            assert_eq!(events(bytes.chunks(1), 4), (expected, 0));
        }
    }

    #[test]
    fn a_long_line_in_pieces_keeps_no_buffer() {
        let mut bytes = vec![b'x'; 100_000];
        bytes.push(b'\n');
        let mut codec = LineCodec::new(1 << 20);
        let found: Vec<_> =
            bytes.chunks(999).filter_map(|mut part| codec.next(&mut part)).collect();
        assert_eq!(found, [line(&"x".repeat(100_000))]);
        assert_eq!(codec.begun.capacity(), 0);
    }

    proptest! {
        #[test]
        fn splitting_changes_nothing(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..200),
            sizes in proptest::collection::vec(1_usize..9, 1..200),
            max in 3_usize..60,
        ) {
            let whole = events([&bytes[..]].into_iter(), max);
            prop_assert_eq!(&events(bytes.chunks(1), max), &whole);
            let mut rest = &bytes[..];
            let mut parts = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (part, after) = rest.split_at((*size).min(rest.len()));
                parts.push(part);
                rest = after;
            }
            prop_assert_eq!(&events(parts.into_iter(), max), &whole);
        }
    }
}
