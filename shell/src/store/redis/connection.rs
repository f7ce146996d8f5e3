//! A connection to Redis, and what is asked before it is used.

use super::place::{Place, name_of};
use super::subscriber::SILENCE;
use crate::codec::redis::encode::Encoder;
use crate::codec::redis::pipeline::describe;
use redis::{RedisError, Value};
use std::cell::RefCell;
use std::time::Duration;

/// The version of the layout of our keys. Data of another one are not touched.
const VERSION: &str = "1";
/// The oldest Redis that says what is wrong when a script meets it: before 7.0 `READONLY`, `OOM` and the
/// like are wrapped in an error of the script's.
const OLDEST: (u32, u32) = (7, 0);

/// A server and how to reach it.
#[derive(Debug)]
pub(super) struct Server {
    place: Place,
    /// Address and database of the one last connected to, without the password.
    name: RefCell<String>,
    /// A reply that takes longer is not waited for.
    timeout: Duration,
}

/// A connection that is ready.
pub(super) struct Connection {
    inner: redis::Connection,
    mark: Option<Mark>,
}

/// Names a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The server's name for its run: another server counts anew.
    run: String,
    /// The server's number for the connection.
    id: i64,
}

/// What the server says of itself.
#[derive(Debug, Default)]
pub(super) struct Info {
    /// Why answered pushes may be lost, if so.
    pub(super) doubts: Vec<String>,
    /// Its name for this run of it, if that is known.
    run: String,
}

/// A command as it is sent.
pub(super) fn command(args: &[&[u8]]) -> Vec<u8> {
    let mut command = redis::Cmd::new();
    for arg in args {
        command.arg(*arg);
    }
    command.get_packed_command()
}

impl Server {
    /// The server of this URL; of a cluster, the master that has this slot.
    ///
    /// # Errors
    /// The text says what is wrong with the URL.
    pub(super) fn new(
        url: &str,
        slot: u16,
        database: Option<i64>,
        timeout: Duration,
    ) -> Result<Self, String> {
        let place = Place::new(url, slot, database)?;
        let name = RefCell::new(place.name());
        Ok(Self { place, name, timeout })
    }

    /// Its address and database.
    pub(super) fn name(&self) -> String {
        self.name.borrow().clone()
    }

    /// What works or does not, for people.
    pub(super) fn title(&self) -> String {
        format!("Redis at {}", self.name())
    }

    /// The same for a connection that is subscribed.
    pub(super) fn subscription(&self) -> String {
        format!("the subscription to Redis at {}", self.name())
    }

    /// How long a reply is waited for, in milliseconds; a little less for what the server waits for.
    pub(super) fn patience_ms(&self) -> u128 {
        self.timeout.as_millis() * 3 / 4
    }

    /// Connects.
    pub(super) fn connect(&self) -> Result<Connection, String> {
        let client = self.place.find(self.timeout)?;
        *self.name.borrow_mut() = name_of(&client);
        let fail = |error: RedisError| self.explain(&error);
        let inner = client.get_connection_with_timeout(self.timeout).map_err(fail)?;
        inner.set_read_timeout(Some(self.timeout)).map_err(fail)?;
        inner.set_write_timeout(Some(self.timeout)).map_err(fail)?;
        Ok(Connection { inner, mark: None })
    }

    /// Replaces an earlier connection of ours to the same server: what that one sent and the server has
    /// not carried out yet is not carried out any more, so that nothing old comes after something new.
    pub(super) fn replace(&self, connection: &mut Connection, info: &Info, earlier: Option<&Mark>) {
        if let Some(Mark { run, id }) = earlier
            && *run == info.run
        {
            // It is an error if it is gone already, as a rule it is.
            self.ask(connection, &[b"CLIENT", b"KILL", b"ID", id.to_string().as_bytes()]).ok();
        }
        if let Ok(Value::Int(id)) = self.ask(connection, &[b"CLIENT", b"ID"]) {
            connection.mark = Some(Mark { run: info.run.clone(), id });
        }
    }

    /// Asks what kind of server it is; fails when it cannot be used.
    pub(super) fn examine(&self, connection: &mut Connection) -> Result<Info, String> {
        let Ok(Value::BulkString(info)) = self.ask(connection, &[b"INFO"]) else {
            let doubt = "whether it may evict keys and keeps an append-only file is not known: INFO \
                         is not allowed";
            return Ok(Info { doubts: vec![doubt.to_owned()], run: String::new() });
        };
        let info = String::from_utf8_lossy(&info);
        let field = |name: &str| {
            let lines = info.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim()).next()
        };
        if let Some(version) = field("redis_version")
            && !is_recent(version)
        {
            return Err(format!(
                "Redis at {} has version {version}; {}.{} or later is needed",
                self.name(),
                OLDEST.0,
                OLDEST.1
            ));
        }
        if field("loading") == Some("1") {
            return Err(format!("Redis at {} is still loading its data", self.name()));
        }
        if field("role") == Some("slave") {
            return Err(format!(
                "Redis at {} is a replica; pushes need the master at {}:{}",
                self.name(),
                field("master_host").unwrap_or("?"),
                field("master_port").unwrap_or("?")
            ));
        }
        Ok(Info { doubts: doubts(field), run: field("run_id").unwrap_or_default().to_owned() })
    }

    /// Loads the scripts, and looks whether our keys are what they should be.
    pub(super) fn prepare(
        &self,
        connection: &mut Connection,
        encoder: &mut Encoder,
    ) -> Result<(), String> {
        self.load_scripts(connection, encoder)?;
        let version = format!("{}version", encoder.base());
        let mut found = self.ask(connection, &[b"GET", version.as_bytes()])?;
        if found == Value::Nil {
            let set = [b"SET", version.as_bytes(), VERSION.as_bytes(), b"NX"];
            self.ask(connection, &set)?;
            found = self.ask(connection, &[b"GET", version.as_bytes()])?;
        }
        if found != Value::BulkString(VERSION.as_bytes().to_vec()) {
            let found = text(&found).unwrap_or_else(|| format!("{found:?}"));
            return Err(format!(
                "the keys {}* in Redis at {} have another layout ({version} is {found} and not \
                 {VERSION}); choose another redis_prefix, or the release that wrote them",
                encoder.base(),
                self.name()
            ));
        }
        let wrong = self.inspect(connection, encoder, None)?;
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!(
            "in Redis at {} {}: something else wrote there; rename or delete it, or choose another \
             redis_prefix",
            self.name(),
            wrong.join(", ")
        ))
    }

    /// Loads all scripts.
    pub(super) fn load_scripts(
        &self,
        connection: &mut Connection,
        encoder: &Encoder,
    ) -> Result<(), String> {
        for text in encoder.scripts().texts() {
            self.ask(connection, &[b"SCRIPT", b"LOAD", text.as_bytes()])?;
        }
        Ok(())
    }

    /// The names of keys that are of a wrong type.
    pub(super) fn inspect(
        &self,
        connection: &mut Connection,
        encoder: &mut Encoder,
        key: Option<&steadfast_core::id::Key>,
    ) -> Result<Vec<String>, String> {
        let mut out = Vec::new();
        encoder.inspect(key, &mut out);
        let Value::Array(names) = self.ask_packed(connection, &out)? else { return Ok(Vec::new()) };
        Ok(names.iter().filter_map(text).collect())
    }

    /// One command and its reply.
    pub(super) fn ask(&self, connection: &mut Connection, args: &[&[u8]]) -> Result<Value, String> {
        self.ask_packed(connection, &command(args))
    }

    fn ask_packed(&self, connection: &mut Connection, bytes: &[u8]) -> Result<Value, String> {
        self.send(connection, bytes)?;
        let reply = self.receive(connection)?;
        if let Value::ServerError(error) = &reply {
            return Err(format!("{} ({})", describe(error), self.name()));
        }
        Ok(reply)
    }

    /// Sends bytes.
    pub(super) fn send(&self, connection: &mut Connection, bytes: &[u8]) -> Result<(), String> {
        let sent = connection.inner.send_packed_command(bytes);
        sent.map_err(|error| self.explain(&error))
    }

    /// Subscribes to a channel on a connection of its own, says when that is done, and then what is
    /// published there, until `is_over` says so or the connection fails.
    pub(super) fn follow(
        &self,
        channel: &[u8],
        subscribed: impl FnOnce(),
        mut heard: impl FnMut(&[u8]),
        is_over: impl Fn() -> bool,
    ) -> Result<(), String> {
        let fail = |error: RedisError| match error.is_timeout() {
            true => self.silent(),
            false => self.explain(&error),
        };
        let mut connection = self.connect()?;
        let mut subscription = connection.inner.as_pubsub();
        subscription.subscribe(channel).map_err(fail)?;
        subscription.set_read_timeout(Some(SILENCE)).map_err(fail)?;
        subscribed();
        while !is_over() {
            match subscription.get_message() {
                Ok(message) => heard(message.get_payload_bytes()),
                // To subscribe once more changes nothing, and is answered by a server that is there.
                Err(error) if error.is_timeout() => {
                    subscription.subscribe(channel).map_err(fail)?
                }
                Err(error) => return Err(fail(error)),
            }
        }
        Ok(())
    }

    /// Why a server that says nothing is given up.
    fn silent(&self) -> String {
        format!("Redis at {} says nothing on the connection that is subscribed", self.name())
    }

    /// The next reply. After an error the connection is of no use.
    pub(super) fn receive(&self, connection: &mut Connection) -> Result<Value, String> {
        connection.inner.recv_response().map_err(|error| self.explain(&error))
    }

    /// What went wrong, in one line that names the server and the remedy.
    fn explain(&self, error: &RedisError) -> String {
        let name = self.name();
        let text = error.to_string().replace(['\n', '\r'], " ");
        if error.kind() == redis::ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("WRONGPASS" | "NOAUTH"))
            || text.contains("WRONGPASS")
        {
            return format!(
                "Redis at {name} refuses the user or password in the URL: {text}; correct them"
            );
        }
        if error.is_timeout() {
            let seconds = self.timeout.as_secs_f64();
            return format!("Redis at {name} did not answer within {seconds} s");
        }
        if error.is_connection_refusal() {
            return format!("Redis at {name} cannot be reached: {text}; is it running?");
        }
        format!("the connection to Redis at {name} failed: {text}")
    }
}

impl Connection {
    /// Names it, for the one that replaces it.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.mark.clone()
    }
}

fn text(value: &Value) -> Option<String> {
    let Value::BulkString(bytes) = value else { return None };
    Some(String::from_utf8_lossy(bytes).into_owned())
}

fn is_recent(version: &str) -> bool {
    let mut numbers = version.split('.').map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= OLDEST
}

/// Why what was answered may be lost.
fn doubts<'a>(field: impl Fn(&str) -> Option<&'a str>) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(policy) = field("maxmemory_policy")
        && policy.starts_with("allkeys")
    {
        doubts.push(format!(
            "maxmemory-policy is {policy}: when memory is full, messages are dropped silently; set it \
             to noeviction"
        ));
    }
    if field("aof_enabled") == Some("0") {
        doubts.push(
            "appendonly is no: what was answered since the last snapshot is lost when Redis ends \
             unexpectedly; set it to yes"
                .to_owned(),
        );
    }
    doubts
}
