//! Lists in Redis, as the gateway and other producers fill them: new entries at the head, the oldest
//! at the tail.
//!
//! An entry is moved to a list of this consumer's, and removed from there by its value once it is in a
//! file. What a run left in that list the next one takes up first. A Redis that is out of memory moves
//! nothing, so entries are then removed from the list they came to, as any other consumer does it.

use super::{PATIENCE, Source, Taken, Trouble};
use crate::codec::redis::encode::DEVICE_LOG;
use redis::{ConnectionLike, ErrorKind, RedisError, RedisResult};
use serde::de::IgnoredAny;
use std::time::Duration;

/// What is no JSON.
const REJECTED: &str = "device:log:rejected";
/// What each consumer has under way: with its name behind.
pub const PROCESSING: &str = "device:log:processing:";
/// The names of all consumers there ever were.
const CONSUMERS: &str = "device:log:consumers";

/// So many entries are asked for at once.
const STEP: usize = 32;
/// No more are taken at once when there are so many, or so many bytes of them.
const ENTRIES: usize = 1_000;
const BYTES: usize = 4 << 20;
/// So long is waited for a connection, and for a reply that is not itself waited for in Redis.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// So many bytes of an entry are shown when it is rejected.
const SHOWN: usize = 200;

/// How a server is reached.
pub trait Dial {
    /// A connection to it.
    type Connection: ConnectionLike;

    /// Its address and database, without the password.
    fn name(&self) -> &str;

    /// Connects to it, to its database.
    ///
    /// # Errors
    /// It cannot be reached, or refuses.
    fn dial(&self) -> RedisResult<Self::Connection>;
}

/// A consumer of the lists.
#[derive(Debug)]
pub struct Lists<D: Dial> {
    server: D,
    consumer: String,
    processing: String,
    connection: Option<D::Connection>,
    phase: Phase,
    has_met_others: bool,
    held: Held,
    /// How long to leave Redis alone when it had nothing.
    pause: Duration,
    /// What people should know and were not told.
    notes: Vec<String>,
}

/// What is taken next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// What is left in the list of entries under way.
    LeftOver,
    /// What comes.
    New,
}

/// What was taken and is not confirmed.
#[derive(Debug, Default)]
struct Held {
    /// Where it still is.
    list: String,
    valid: Vec<Vec<u8>>,
    invalid: Vec<Vec<u8>>,
}

/// Whether bytes are one JSON text.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

impl<D: Dial> Lists<D> {
    /// The lists of this server, for the consumer of this name. Connects when there is something to
    /// take.
    ///
    /// # Errors
    /// The name is none.
    pub fn new(server: D, consumer: &str) -> Result<Self, String> {
        if consumer.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(
                "the consumer's name (--name) has spaces; use a word, as in main".to_owned()
            );
        }
        Ok(Self {
            server,
            consumer: consumer.to_owned(),
            processing: format!("{PROCESSING}{consumer}"),
            connection: None,
            phase: Phase::LeftOver,
            has_met_others: false,
            held: Held::default(),
            pause: Duration::ZERO,
            notes: Vec::new(),
        })
    }

    /// Does something on the connection, which is made if there is none and dropped when it fails.
    fn with<T>(
        &mut self,
        work: impl FnOnce(&mut Self, &mut D::Connection) -> RedisResult<T>,
    ) -> Result<T, Trouble> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        match work(self, &mut connection) {
            Ok(done) => {
                self.connection = Some(connection);
                Ok(done)
            }
            Err(error) => Err(self.explain(&error)),
        }
    }

    fn connect(&mut self) -> Result<D::Connection, Trouble> {
        // What was under way may still be: it is in the list.
        self.phase = Phase::LeftOver;
        let mut connection = self.server.dial().map_err(|error| self.explain(&error))?;
        if !self.has_met_others {
            self.meet_others(&mut connection)?;
            self.has_met_others = true;
        }
        Ok(connection)
    }

    /// Refuses to run beside a consumer of the same name, whose entries it would take for left over, and
    /// tells of entries that other consumers have left behind.
    fn meet_others(&mut self, connection: &mut D::Connection) -> Result<(), Trouble> {
        let own = format!("steadfast-device-logs:{}", self.consumer);
        // Who may not ask has to see to it himself.
        let clients: RedisResult<String> = redis::cmd("CLIENT").arg("LIST").query(connection);
        let field = format!(" name={own} ");
        if let Some(other) = clients.unwrap_or_default().lines().find(|it| it.contains(&field)) {
            let place = other.split(' ').find_map(|it| it.strip_prefix("addr=")).unwrap_or("?");
            return Err(Trouble::Lasting(format!(
                "another consumer of the name {} (--name) is connected to Redis at {} from {place}; \
                 give each a name of its own",
                self.consumer,
                self.server.name()
            )));
        }
        let named: RedisResult<()> = redis::cmd("CLIENT").arg("SETNAME").arg(own).query(connection);
        drop(named);
        let left = self.left_behind(connection).map_err(|error| self.explain(&error))?;
        for (name, entries) in left {
            self.notes.push(format!(
                "[device logs left] name={name} entries={entries} hint=\"another consumer has taken \
                 them and not finished; if it will not come back, run this with --name {name}\""
            ));
        }
        Ok(())
    }

    /// Other consumers with entries under way.
    fn left_behind(&self, connection: &mut D::Connection) -> RedisResult<Vec<(String, u64)>> {
        let names: Vec<String> = redis::cmd("SMEMBERS").arg(CONSUMERS).query(connection)?;
        let mut left = Vec::new();
        for name in names.into_iter().filter(|name| *name != self.consumer) {
            let list = format!("{PROCESSING}{name}");
            let entries = redis::cmd("LLEN").arg(list).query(connection)?;
            if entries > 0 {
                left.push((name, entries));
            }
        }
        Ok(left)
    }

    /// The oldest entries of a list, oldest first; they stay there.
    fn look_at(&self, list: &str, connection: &mut D::Connection) -> RedisResult<Vec<Vec<u8>>> {
        let step = -(STEP as i64);
        let mut entries: Vec<Vec<u8>> =
            redis::cmd("LRANGE").arg(list).arg(step).arg(-1).query(connection)?;
        entries.reverse();
        Ok(entries)
    }

    /// Moves entries to the list of those under way, and gives them, oldest first.
    fn move_some(&self, connection: &mut D::Connection) -> RedisResult<Vec<Vec<u8>>> {
        let first: Option<Vec<u8>> = redis::cmd("BRPOPLPUSH")
            .arg(DEVICE_LOG)
            .arg(&self.processing)
            .arg(PATIENCE.as_secs())
            .query(connection)?;
        let Some(first) = first else { return Ok(Vec::new()) };
        let mut bytes = first.len();
        let mut entries = vec![first];
        while entries.len() < ENTRIES && bytes < BYTES {
            let mut pipe = redis::pipe();
            for _ in 0..STEP {
                pipe.cmd("RPOPLPUSH").arg(DEVICE_LOG).arg(&self.processing);
            }
            let moved: Vec<Option<Vec<u8>>> = pipe.query(connection)?;
            let before = entries.len();
            entries.extend(moved.into_iter().flatten());
            bytes += entries[before..].iter().map(Vec::len).sum::<usize>();
            if entries.len() < before + STEP {
                break;
            }
        }
        Ok(entries)
    }

    /// Takes what comes next: entries, and the list that has them until they are confirmed.
    fn next(&mut self, connection: &mut D::Connection) -> RedisResult<(String, Vec<Vec<u8>>)> {
        if self.phase == Phase::LeftOver {
            let entries = self.look_at(&self.processing, connection)?;
            if !entries.is_empty() {
                return Ok((self.processing.clone(), entries));
            }
            let known: RedisResult<()> =
                redis::cmd("SADD").arg(CONSUMERS).arg(&self.consumer).query(connection);
            if !known.as_ref().is_err_and(is_out_of_memory) {
                known?;
            }
            self.phase = Phase::New;
        }
        match self.move_some(connection) {
            Err(error) if is_out_of_memory(&error) => {
                // Of a pipeline some may have been moved.
                self.phase = Phase::LeftOver;
                self.pause = PATIENCE;
                let entries = self.look_at(DEVICE_LOG, connection)?;
                Ok((DEVICE_LOG.to_owned(), entries))
            }
            moved => {
                // Redis has waited.
                self.pause = Duration::ZERO;
                Ok((self.processing.clone(), moved?))
            }
        }
    }

    fn explain(&self, error: &RedisError) -> Trouble {
        let server = self.server.name();
        let text = error.to_string().replace(['\n', '\r'], " ");
        let denied = ["WRONGPASS", "NOAUTH", "NOPERM", "Authentication required"];
        if error.kind() == ErrorKind::AuthenticationFailed
            || denied.iter().any(|code| error.code() == Some(code) || text.contains(code))
        {
            return Trouble::Lasting(format!(
                "Redis at {server} refuses the user or password in the URL (--redis): {text}; \
                 correct them"
            ));
        }
        if text.contains("refused to switch database") {
            return Trouble::Lasting(format!(
                "Redis at {server} has no such database ({text}); name another at the end of the \
                 URL (--redis)"
            ));
        }
        if error.code() == Some("WRONGTYPE") || text.contains("WRONGTYPE") {
            return Trouble::Lasting(format!(
                "in Redis at {server} one of {DEVICE_LOG}, {REJECTED}, {CONSUMERS} and {} is not \
                 what it should be ({text}); rename it, or choose another --name or database",
                self.processing
            ));
        }
        Trouble::Passing(if error.is_timeout() {
            format!("Redis at {server} did not answer within {} s", TIMEOUT.as_secs())
        } else if error.is_connection_refusal() {
            format!("Redis at {server} cannot be reached: {text}; is it running?")
        } else {
            format!("Redis at {server}: {text}")
        })
    }
}

impl<D: Dial> Source for Lists<D> {
    fn name(&self) -> String {
        format!("{} name={}", self.server.name(), self.consumer)
    }

    fn take(&mut self) -> Result<Taken, Trouble> {
        let (list, entries) = self.with(Self::next)?;
        let mut taken = Taken { notes: std::mem::take(&mut self.notes), ..Taken::default() };
        self.held = Held { list, ..Held::default() };
        for entry in entries {
            if is_json(&entry) {
                // Line ends in JSON are between its parts.
                let line = entry.iter().map(|byte| match byte {
                    b'\n' | b'\r' => b' ',
                    byte => *byte,
                });
                taken.lines.extend(line.chain(*b"\n"));
                taken.count += 1;
                self.held.valid.push(entry);
            } else {
                let shown = String::from_utf8_lossy(&entry[..entry.len().min(SHOWN)]);
                let bytes = entry.len();
                taken.notes.push(format!("[device logs reject] content={shown:?} bytes={bytes}"));
                taken.rejected += 1;
                self.held.invalid.push(entry);
            }
        }
        Ok(taken)
    }

    fn confirm(&mut self) -> Result<(), Trouble> {
        let Held { list, valid, invalid } = std::mem::take(&mut self.held);
        self.with(|_, connection| {
            if !valid.is_empty() {
                let mut pipe = redis::pipe();
                for entry in &valid {
                    pipe.cmd("LREM").arg(&list).arg(-1).arg(entry).ignore();
                }
                pipe.query::<()>(connection)?;
            }
            for entry in &invalid {
                let mut pipe = redis::pipe();
                pipe.atomic().cmd("LREM").arg(&list).arg(-1).arg(entry).ignore();
                pipe.cmd("LPUSH").arg(REJECTED).arg(entry).ignore();
                pipe.query::<()>(connection)?;
            }
            Ok(())
        })
    }

    fn pause(&self) -> Duration {
        self.pause
    }
}

fn is_out_of_memory(error: &RedisError) -> bool {
    error.code() == Some("OOM") || error.to_string().contains("OOM")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_what_is_none() {
        let deep = "[".repeat(511) + &"]".repeat(511);
        for text in ["{}", " {\"a\": [1e400, \"\\ud800\"]}\r\n", "1", "null", &deep] {
            assert!(is_json(text.as_bytes()), "{text}");
        }
        for bytes in [&b""[..], b"{", b"{} {}", b"\"\xff\"", b"plain", b"NaN", b"'a'"] {
            assert!(!is_json(bytes), "{bytes:?}");
        }
    }
}
