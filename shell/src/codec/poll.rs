//! A long-poll session's frames on their way to its client.
//!
//! To the gateway a poll session is a connection of the link protocol. What the gateway sends to it
//! waits here for the client's next request. An answer says its own name, `after`; the request that
//! repeats this name shows that the answer has arrived, and confirms its messages. Until then its
//! frames are kept, and a request that names another answer gets them again.

use bytes::Bytes;
use std::fmt::Write;
use steadfast_core::dialect::link::{ClientFrame, GatewayFrame};

/// So many frames that are no messages may wait for a client that does not fetch them.
pub const MAX_ANSWERS: usize = 1_000;

/// The frames of one session.
#[derive(Debug, Default)]
pub struct PollCodec {
    /// In no answer yet.
    waiting: Vec<Bytes>,
    /// In the last answer, which is not known to have arrived.
    sent: Vec<Bytes>,
    /// The last answer's number.
    number: u64,
}

impl PollCodec {
    /// Takes a frame of the gateway.
    pub fn push(&mut self, frame: Bytes) {
        self.waiting.push(frame);
    }

    /// A request names the answer that has arrived last. Returns what the client thereby
    /// acknowledges: frames for the gateway.
    pub fn arrived(&mut self, after: &str) -> Vec<String> {
        if after != self.number.to_string() {
            return Vec::new();
        }
        let sent = std::mem::take(&mut self.sent);
        let ids = sent.iter().filter_map(|frame| {
            let text = std::str::from_utf8(frame).ok()?;
            match GatewayFrame::parse(text) {
                Ok(GatewayFrame::Message { id, .. }) => Some(ClientFrame::Ack { id }.encode()),
                Ok(_) | Err(_) => None,
            }
        });
        ids.collect()
    }

    /// Whether an answer would bring something.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        !(self.waiting.is_empty() && self.sent.is_empty())
    }

    /// Whether the last frame says why the session has ended.
    #[must_use]
    pub fn ends_in_error(&self) -> bool {
        self.waiting.last().is_some_and(|last| last.starts_with(b"{\"type\":\"error\""))
    }

    /// Whether the client has so much to fetch that it may bring nothing more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.sent.len() > MAX_ANSWERS
            && self.waiting.iter().chain(&self.sent).filter(|frame| !is_message(frame)).count()
                > MAX_ANSWERS
    }

    /// The next answer: everything that is not known to have arrived.
    pub fn answer(&mut self) -> String {
        self.sent.append(&mut self.waiting);
        self.number += 1;
        let bytes: usize = self.sent.iter().map(|frame| frame.len() + 1).sum();
        let mut body = String::with_capacity(bytes + 48);
        body.push_str("{\"frames\":[");
        for (index, frame) in self.sent.iter().enumerate() {
            if index > 0 {
                body.push(',');
            }
            body.push_str(&String::from_utf8_lossy(frame));
        }
        // Writing to memory does not fail.
        let _ = write!(body, "],\"after\":\"{}\"}}", self.number);
        body
    }
}

fn is_message(frame: &[u8]) -> bool {
    frame.starts_with(b"{\"type\":\"message\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(codec: &mut PollCodec, id: &'static str) {
        let frame = GatewayFrame::Message { id: id.into(), data: "x".into(), tries: 0 };
        codec.push(frame.encode().into());
    }

    #[test]
    fn the_last_answer_is_confirmed_and_no_other() {
        let mut codec = PollCodec::default();
        message(&mut codec, "1-1");
        codec.push(Bytes::from_static(b"{\"type\":\"pong\"}"));
        let first = codec.answer();
        assert_eq!(
            first,
            r#"{"frames":[{"type":"message","id":"1-1","data":"x","tries":0},{"type":"pong"}],"after":"1"}"#
        );
        message(&mut codec, "1-2");
        for stale in ["0", "2", "", "01"] {
            assert_eq!(codec.arrived(stale), [""; 0], "{stale:?}");
        }
        assert!(codec.has_frames());
        assert_eq!(codec.arrived("1"), [r#"{"type":"ack","id":"1-1"}"#]);
        assert_eq!(codec.arrived("1"), [""; 0], "once");
        let second = codec.answer();
        assert_eq!(
            second,
            r#"{"frames":[{"type":"message","id":"1-2","data":"x","tries":0}],"after":"2"}"#
        );
        assert_eq!(codec.arrived("2"), [r#"{"type":"ack","id":"1-2"}"#]);
        assert!(!codec.has_frames());
        assert_eq!(codec.answer(), r#"{"frames":[],"after":"3"}"#);
    }

    #[test]
    fn an_answer_that_was_lost_comes_again_with_what_is_new() {
        let mut codec = PollCodec::default();
        message(&mut codec, "1-1");
        codec.answer();
        message(&mut codec, "1-2");
        assert_eq!(codec.arrived("0"), [""; 0]);
        let again = codec.answer();
        assert!(again.contains("\"1-1\"") && again.contains("\"1-2\""), "{again}");
        assert_eq!(codec.arrived("1"), [""; 0], "the first answer was another");
        assert_eq!(codec.arrived("2").len(), 2);
    }

    #[test]
    fn answers_are_limited_and_messages_are_the_gateways_business() {
        let mut codec = PollCodec::default();
        for _ in 0..=MAX_ANSWERS {
            message(&mut codec, "1-1");
        }
        assert!(!codec.is_full());
        for _ in 0..=MAX_ANSWERS {
            codec.push(Bytes::from_static(b"{\"type\":\"pong\"}"));
        }
        assert!(codec.is_full());
    }
}
