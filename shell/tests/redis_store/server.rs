//! A redis-server of Debian's, on a port and in a directory of its own; it ends with its value.

#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

use redis::Value;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No test waits longer than this for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server, running or not.
pub(crate) struct RedisServer {
    child: Option<Child>,
    port: u16,
    directory: TempDir,
    args: Vec<String>,
}

impl RedisServer {
    /// Starts a server that keeps an append-only file.
    pub(crate) fn start() -> Self {
        Self::start_with(&["--appendonly", "yes"])
    }

    /// Starts a server with these arguments.
    pub(crate) fn start_with(args: &[&str]) -> Self {
        let mut server = Self::prepare(args);
        server.run();
        server
    }

    /// A server that is not running yet.
    pub(crate) fn prepare(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { child: None, port: free_port(), directory, args }
    }

    /// A member of a cluster that is not running yet.
    pub(crate) fn prepare_member(args: &[&str]) -> Self {
        let mut member = Self::prepare(args);
        // What members tell each other is on a port of its own.
        let has_bus = |port: u16| {
            port.checked_add(10_000)
                .is_some_and(|bus| TcpListener::bind(("127.0.0.1", bus)).is_ok())
        };
        while !has_bus(member.port) {
            member.port = free_port();
        }
        member
    }

    /// Starts it, on the same port and with the same data as before.
    pub(crate) fn run(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = std::fs::File::create(self.directory.path().join("log")).unwrap();
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--enable-debug-command", "yes", "--dir"])
            .arg(self.directory.path())
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(log)
            .spawn();
        self.child = Some(child.unwrap_or_else(|error| {
            panic!("cannot start redis-server: {error}; install Debian's package redis-server")
        }));
        wait_for("redis-server to answer", || self.try_ask(&["PING"]).ok());
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops its process for a while, or lets it go on.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().expect("it runs");
        let id = i32::try_from(child.id()).unwrap();
        let process = rustix::process::Pid::from_raw(id).expect("processes have a number");
        rustix::process::kill_process(process, signal).unwrap();
    }

    /// The directory of its files.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its address as messages name it.
    pub(crate) fn name(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Asks it something on a connection of its own.
    pub(crate) fn ask(&self, args: &[&str]) -> Value {
        self.try_ask(args).unwrap_or_else(|error| panic!("{args:?}: {error}"))
    }

    fn try_ask(&self, args: &[&str]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        let mut command = redis::Cmd::new();
        command.arg(args);
        command.query(&mut connection)
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < until, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
