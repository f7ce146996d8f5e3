//! A back end: lines out, reply lines in.

use super::log::{Log, Timed};
use super::pump::{self, Out, Pump, Sink};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something a back end saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PushEvent {
    /// A reply line without its `\n`.
    Reply(Vec<u8>),
    /// The server closed the connection; how many bytes of an unfinished line came before.
    Closed { unfinished: usize },
}

/// One push connection.
pub(crate) struct PushClient {
    pump: Option<Pump>,
    log: Arc<Log<PushEvent>>,
}

impl PushClient {
    pub(crate) fn open(addr: SocketAddr) -> io::Result<Self> {
        Self::open_with(addr, None)
    }

    pub(crate) fn open_with(addr: SocketAddr, rcvbuf: Option<usize>) -> io::Result<Self> {
        let socket = pump::connect(addr, rcvbuf)?;
        let log = Arc::new(Log::new());
        let reader = Reader { line: Vec::new(), log: Arc::clone(&log) };
        Ok(Self { pump: Some(Pump::start(socket, Vec::new(), reader)?), log })
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> bool {
        self.pump.as_ref().is_some_and(|pump| pump.write(bytes))
    }

    /// Sends a line and returns the reply to it, when the replies to all earlier lines are in.
    pub(crate) fn push(&self, line: &str) -> Option<String> {
        let before = self.reply_count();
        self.send(format!("{line}\n").as_bytes());
        self.wait_replies(before + 1, Duration::from_secs(5));
        match self.log.get(before) {
            Some(PushEvent::Reply(line)) => Some(String::from_utf8_lossy(&line).into_owned()),
            Some(PushEvent::Closed { .. }) | None => None,
        }
    }

    pub(crate) fn half_close(&self) {
        if let Some(pump) = &self.pump {
            pump.half_close();
        }
    }

    pub(crate) fn close(&mut self) {
        if let Some(pump) = self.pump.take() {
            pump.close();
        }
    }

    pub(crate) fn events(&self) -> Vec<Timed<PushEvent>> {
        self.log.entries()
    }

    pub(crate) fn replies(&self) -> Vec<String> {
        let reply = |(_, event)| match event {
            PushEvent::Reply(line) => Some(String::from_utf8_lossy(&line).into_owned()),
            PushEvent::Closed { .. } => None,
        };
        self.events().into_iter().filter_map(reply).collect()
    }

    pub(crate) fn reply_count(&self) -> usize {
        self.log.with(count_replies)
    }

    /// Waits until `count` replies have come in total, or the connection is closed.
    pub(crate) fn wait_replies(&self, count: usize, limit: Duration) -> bool {
        self.log.wait(limit, |entries| count_replies(entries) >= count)
    }

    /// Waits until the server has closed the connection.
    pub(crate) fn wait_closed(&self, limit: Duration) -> bool {
        self.log.wait_end(limit)
    }
}

/// All events are replies, but for the end.
fn count_replies(entries: &[Timed<PushEvent>]) -> usize {
    let is_over = matches!(entries.last(), Some((_, PushEvent::Closed { .. })));
    entries.len() - usize::from(is_over)
}

struct Reader {
    line: Vec<u8>,
    log: Arc<Log<PushEvent>>,
}

impl Sink for Reader {
    fn received(&mut self, bytes: &[u8], _out: &Out<'_>) {
        for &byte in bytes {
            if byte == b'\n' {
                self.log.push(PushEvent::Reply(std::mem::take(&mut self.line)));
            } else {
                self.line.push(byte);
            }
        }
    }

    fn ended(&mut self) {
        self.log.push_last(PushEvent::Closed { unfinished: self.line.len() });
    }
}
