//! The daemon under test: started, measured, killed and restarted on the same ports.

use super::Outcome;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start.
const START: Duration = Duration::from_secs(30);

/// `/proc/PID/stat` counts in these everywhere.
const TICKS_PER_SEC: f64 = 100.0;

/// What it may hold within the usual limit of 20,000 open files.
const MAX_CONNECTIONS: &str = "19000";

/// A running daemon, killed when dropped.
pub(crate) struct Daemon {
    command: Vec<String>,
    child: Child,
    pub(crate) ws: SocketAddr,
    pub(crate) push: SocketAddr,
    directory: TempDir,
}

impl Daemon {
    /// Starts it on free ports; it is ready when this returns.
    pub(crate) fn start(command: &[String]) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let (ws, push) = (free_port()?, free_port()?);
        let child = spawn(command, ws, push, &directory)?;
        let mut daemon = Self { command: command.to_vec(), child, ws, push, directory };
        daemon.await_ready()?;
        Ok(daemon)
    }

    /// Kills it, and starts it again after this time. Says for how long nothing listened.
    pub(crate) fn restart(&mut self, outage: Duration) -> Outcome<Duration> {
        self.child.kill()?;
        let began = Instant::now();
        self.child.wait()?;
        thread::sleep(outage);
        self.child = spawn(&self.command, self.ws, self.push, &self.directory)?;
        self.await_ready()?;
        Ok(began.elapsed())
    }

    fn await_ready(&mut self) -> Outcome {
        let until = Instant::now() + START;
        while TcpStream::connect(self.push).is_err() {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{:?} ended: {status}", self.command).into());
            }
            if Instant::now() > until {
                return Err(format!("{:?} does not listen on {}", self.command, self.push).into());
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// The CPU seconds that all its threads have used.
    pub(crate) fn cpu(&self) -> Outcome<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is a name in parentheses; user and system time are the 14th and 15th.
        let (_, fields) = stat.rsplit_once(')').ok_or("no name in stat")?;
        let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        Ok(ticks.sum::<Result<f64, _>>()? / TICKS_PER_SEC)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // What has ended already cannot be killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

fn spawn(
    command: &[String],
    ws: SocketAddr,
    push: SocketAddr,
    directory: &TempDir,
) -> Outcome<Child> {
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let mut child = Command::new(program);
    child.args(arguments).args(["--ws", &ws.to_string(), "--push", &push.to_string()]);
    child.args(["--admin", "off", "--log-level", "off", "--max-connections", MAX_CONNECTIONS]);
    child.arg("--data").arg(directory.path());
    let spawned = child.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    spawned.map_err(|error| format!("cannot start {program}: {error}").into())
}
