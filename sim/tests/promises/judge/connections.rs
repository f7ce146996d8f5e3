//! What is judged of connections: what they are written, what they prove, how they end.

use super::{Conn, Judge};
use crate::play::KEYS;
use bytes::Bytes;
use steadfast_core::command::Close;
use steadfast_core::config::BindPolicy;
use steadfast_core::event::ConnEvent;
use steadfast_core::id::{ConnId, Key};
use steadfast_core::time::Time;

impl Judge {
    pub(super) fn on_conn_event(&mut self, at: Time, id: ConnId, event: &ConnEvent) {
        if let ConnEvent::Accepted = event {
            self.conns.insert(id, Conn::new(at));
        }
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let digits = conn.key.as_ref().is_some_and(Key::is_digits);
        match event {
            ConnEvent::TextReceived(_) => {
                conn.texts += 1;
                conn.heard_at = at;
            }
            ConnEvent::PongReceived(Some(counter)) => {
                if !digits {
                    conn.heard_at = at;
                }
                let mark = conn.pings[counter];
                self.prove(id, mark);
            }
            ConnEvent::Drained if conn.mute => {
                let mark = conn.drain;
                self.prove(id, mark);
            }
            ConnEvent::Closed(_) => self.gone(id),
            ConnEvent::Upgraded { .. } => conn.heard_at = at,
            ConnEvent::Accepted
            | ConnEvent::BinaryReceived(_)
            | ConnEvent::PingReceived(_)
            | ConnEvent::PongReceived(None)
            | ConnEvent::Drained => {}
        }
    }

    /// A client has all that was written to it before `mark`.
    pub(super) fn prove(&mut self, id: ConnId, mark: usize) {
        let conn = self.conns.get_mut(&id).expect("it is open");
        for index in conn.proven..mark {
            self.payloads.get_mut(&conn.sent[index]).expect("it was pushed").proven += 1;
        }
        conn.proven = conn.proven.max(mark);
    }

    pub(super) fn gone(&mut self, id: ConnId) {
        let key = self.conns.remove(&id).and_then(|conn| conn.key);
        if let Some(key) = key
            && self.live(&key).is_empty()
        {
            self.abandoned.push(key);
        }
    }

    pub(super) fn on_close(&self, at: Time, id: ConnId, close: Close) {
        let silent = at.since(self.conns[&id].heard_at);
        if close == Close::Idle {
            assert!(silent >= self.config.idle_timeout, "{id} was silent for {silent} only");
        }
    }

    /// Where no stall extends patience, every silent connection is closed in time.
    pub(super) fn overlooks_nobody(&self, now: Time) {
        for (id, conn) in self.conns.iter().filter(|_| !self.stalled) {
            let silent = now.since(conn.heard_at);
            assert!(silent <= self.config.idle_timeout, "{id} is silent for {silent}");
        }
    }

    /// No cross-talk, the order of acceptance, and no more than a window.
    pub(super) fn on_send(&mut self, id: ConnId, payload: &Bytes) {
        let conn = self.conns.get_mut(&id).expect("an open connection is written to");
        let text = std::str::from_utf8(payload).expect("text is UTF-8");
        let Some(hash) = text.find('#') else {
            conn.answers += 1;
            return;
        };
        let tag = text[..hash].chars().last().and_then(|digit| digit.to_digit(10));
        let meant = KEYS[tag.expect("a payload names its key") as usize];
        let key = conn.key.as_deref().expect("a bound connection is written to");
        assert_eq!(key, meant, "{id} of {key} was written a message of {meant}");
        let number = number(text);
        // With several receivers, what one left unconfirmed comes to the others late.
        if self.config.bind != BindPolicy::All && number.is_some() && !conn.sent.contains(payload) {
            let last = conn.sent.iter().filter_map(number_of).max();
            assert!(number >= last, "{id} was written {number:?} after {last:?}");
        }
        conn.sent.push(payload.clone());
        let in_flight = &conn.sent[conn.proven..];
        let bytes: usize = in_flight.iter().map(Bytes::len).sum();
        if conn.alone {
            let (messages, max_bytes) = (self.config.window_messages, self.config.window_bytes);
            assert!(in_flight.len() <= messages as usize, "{id} has {} in flight", in_flight.len());
            let fits = bytes as u64 <= max_bytes || in_flight.len() == 1;
            assert!(fits, "{id} has {bytes} bytes in flight");
        }
        let payload = self.payloads.get_mut(payload).expect("it was pushed");
        let done = payload.ids.len() == 1 && payload.removed > 0;
        assert!(!done, "{:?} was written to {id} after it was confirmed", payload.ids);
        payload.sent += 1;
        payload.in_window.get_or_insert(self.seen);
    }

    pub(super) fn on_bound(&mut self, id: ConnId, key: &Key) {
        let others = self.live(key);
        for other in &others {
            self.conns.get_mut(other).expect("it is open").alone = false;
        }
        let conn = self.conns.get_mut(&id).expect("an open connection binds");
        conn.key = Some(key.clone());
        conn.alone = others.is_empty();
    }
}

/// The number in a payload, by which pushes are in order.
fn number(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once('#')?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn number_of(payload: &Bytes) -> Option<u64> {
    number(std::str::from_utf8(payload).ok()?)
}
