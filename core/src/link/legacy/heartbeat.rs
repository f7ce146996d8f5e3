//! The heartbeat: shows the gateway that the client lives, and the client that the gateway does.
//!
//! An all-digit key is its own heartbeat and is answered with `biubiubiu`. Other keys have no
//! heartbeat that every gateway answers, so they send a WebSocket ping, which every one does.

use super::LinkConfig;
use crate::id::Key;
use crate::time::{Span, Time};
use bytestring::ByteString;

/// What a gateway answers to an all-digit key.
const ANSWER: &str = "biubiubiu";

/// The heartbeat of one link.
#[derive(Clone, Debug)]
pub(super) struct Heartbeat {
    key: Key,
    interval: Span,
    missed_max: u32,
    /// When to send the next; `None` while there is no connection.
    due: Option<Time>,
    /// How many answers in the text protocol are still to come.
    unanswered: u32,
    /// Whether anything came since the last was sent.
    heard: bool,
    /// After how many in a row nothing came.
    missed: u32,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// Nothing yet.
    NotDue,
    /// Send the key as heartbeat.
    SendKey,
    /// Send a ping.
    Ping,
    /// The connection is dead.
    Dead,
}

impl Heartbeat {
    pub(super) fn new(config: &LinkConfig) -> Self {
        Self {
            key: config.key.clone(),
            interval: config.heartbeat_interval,
            missed_max: config.missed_max,
            due: None,
            unanswered: 0,
            heard: false,
            missed: 0,
        }
    }

    /// A connection is open and the key is about to be sent on it, the first heartbeat.
    pub(super) fn start(&mut self, now: Time) {
        self.due = Some(now + self.interval);
        self.unanswered = 1;
        self.missed = 0;
        // Only an all-digit key is sure to be answered; the first ping goes out with the first tick.
        self.heard = !self.key.is_digits();
    }

    /// There is no connection any more.
    pub(super) fn stop(&mut self) {
        self.due = None;
    }

    pub(super) fn due(&self) -> Option<Time> {
        self.due
    }

    /// Gives the text back when it is a message and no answer to a heartbeat.
    ///
    /// Whatever arrives shows that the connection lives: answers may be queued behind a long
    /// backlog of messages.
    pub(super) fn text_received(&mut self, text: ByteString) -> Option<ByteString> {
        self.heard = true;
        let answer: &str = if self.key.is_digits() { ANSWER } else { &self.key };
        if self.unanswered > 0 && text == answer {
            self.unanswered -= 1;
            return None;
        }
        Some(text)
    }

    pub(super) fn pong_received(&mut self) {
        self.heard = true;
    }

    pub(super) fn tick(&mut self, now: Time) -> Tick {
        if self.due.is_none_or(|due| due > now) {
            return Tick::NotDue;
        }
        self.missed = if self.heard { 0 } else { self.missed + 1 };
        if self.missed >= self.missed_max {
            return Tick::Dead;
        }
        self.heard = false;
        self.due = Some(now + self.interval);
        if self.key.is_digits() {
            self.unanswered = self.unanswered.saturating_add(1);
            Tick::SendKey
        } else {
            Tick::Ping
        }
    }
}
