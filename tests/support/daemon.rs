//! The real daemon as a child process.
//!
//! It runs in an empty directory of its own, listens on free ports, and is killed and reaped when
//! the test is over, however the test ends. `STEADFAST_BIN` names another binary to test.

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the daemon may take until it says that it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many lines of its output are kept for failure messages.
const KEPT_LINES: usize = 400;

/// A running daemon.
pub(crate) struct Daemon {
    process: Process,
    pub(crate) ws: SocketAddr,
    pub(crate) push: SocketAddr,
    /// The admin port, when the flags ask for one.
    pub(crate) admin: Option<SocketAddr>,
}

/// A child process whose output is being read.
pub(crate) struct Process {
    child: Child,
    output: Output,
    drains: Vec<JoinHandle<()>>,
    ready: mpsc::Receiver<String>,
    directory: tempfile::TempDir,
}

/// The last lines that a process wrote.
#[derive(Clone, Default)]
struct Output {
    lines: Arc<Mutex<VecDeque<(Source, String)>>>,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Daemon {
    /// Starts `steadfast serve` on free ports with these further flags.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::start_at(any, any, flags)
    }

    /// The same with client port and push port at these addresses.
    pub(crate) fn start_at(ws: SocketAddr, push: SocketAddr, flags: &[&str]) -> Self {
        let (ws, push) = (ws.to_string(), push.to_string());
        let mut arguments = vec!["serve", "--ws", &ws, "--push", &push];
        arguments.extend_from_slice(flags);
        Self::of(Process::spawn(&arguments))
    }

    /// The daemon that this process becomes, once it is ready.
    pub(crate) fn of(process: Process) -> Self {
        let Ok(line) = process.ready.recv_timeout(READY_TIMEOUT) else {
            panic!("no ready line within {READY_TIMEOUT:?}; output:\n{}", process.output());
        };
        let ws = address(&line, "ws=");
        let push = address(&line, "push=");
        let admin = line.contains("admin=").then(|| address(&line, "admin="));
        Self { process, ws, push, admin }
    }

    /// Its resident memory in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most memory it ever held, in KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    /// Ends it as a crash does, and waits for its end.
    pub(crate) fn kill(&mut self) {
        self.process.signal(Signal::KILL);
        assert!(self.process.wait(READY_TIMEOUT).is_some(), "a killed process ends");
    }

    /// The last lines that came from one of the two.
    pub(crate) fn lines(&self, wanted: Source) -> Vec<String> {
        self.process.lines(wanted)
    }

    pub(crate) fn sigterm(&self) {
        self.process.signal(Signal::TERM);
    }

    pub(crate) fn pid(&self) -> Pid {
        self.process.pid()
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        self.process.wait(limit)
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(mut self) {
        self.process.signal(Signal::KILL);
        assert!(self.process.wait(READY_TIMEOUT).is_some(), "nothing survives this signal");
    }

    /// Lets writes beyond this place of a file fail.
    pub(crate) fn limit_files(&self, bytes: Option<u64>) {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(self.process.pid()), Resource::Fsize, limit).expect("it is our own child");
    }

    /// What it wrote last.
    pub(crate) fn output(&self) -> String {
        self.process.output()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.wait(Duration::ZERO).is_none()
    }

    fn status_kib(&self, field: &str) -> u64 {
        let path = format!("/proc/{}/status", self.pid());
        let status = std::fs::read_to_string(&path).expect("the daemon is running");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|number| number.parse().ok()).expect("the kernel tells the daemon's memory")
    }
}

/// The socket address after `name` in the ready line.
fn address(line: &str, name: &str) -> SocketAddr {
    let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
    let address = value.and_then(|value| value.parse().ok());
    address.unwrap_or_else(|| panic!("no address after {name} in {line:?}"))
}

impl Process {
    /// Starts the binary under test with exactly these arguments.
    pub(crate) fn spawn(arguments: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.args(arguments);
        Self::spawn_command(command)
    }

    /// Starts a command that leads to the binary under test.
    pub(crate) fn spawn_command(mut command: Command) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STEADFAST_") {
                command.env_remove(name);
            }
        }
        // Tests that need the admin port say so with a flag.
        command.env("STEADFAST_ADMIN", "off");
        command.current_dir(directory.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary under test starts");
        let output = Output::default();
        let (ready_in, ready) = mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let drains = vec![
            output.drain(Source::Stdout, stdout, Some(ready_in)),
            output.drain(Source::Stderr, stderr, None),
        ];
        Self { child, output, drains, ready, directory }
    }

    /// Waits for its end and for the rest of its output.
    pub(crate) fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let mut status = None;
        super::poll_until(limit, || {
            status = self.child.try_wait().expect("the child can be waited for");
            status.is_some()
        });
        if status.is_some() {
            for drain in self.drains.drain(..) {
                drain.join().expect("the drain did not panic");
            }
        }
        status
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the child has not been reaped");
    }

    pub(crate) fn pid(&self) -> Pid {
        let pid = i32::try_from(self.child.id()).expect("process ids are small");
        Pid::from_raw(pid).expect("process ids are not 0")
    }

    pub(crate) fn output(&self) -> String {
        let lines = self.output.lines.lock().expect("the drain did not panic");
        lines.iter().map(|(source, line)| format!("  {source:?} {line}\n")).collect()
    }

    /// The lines that came from one of the two.
    pub(crate) fn lines(&self, wanted: Source) -> Vec<String> {
        let lines = self.output.lines.lock().expect("the drain did not panic");
        let lines = lines.iter().filter(|(source, _)| *source == wanted);
        lines.map(|(_, line)| line.clone()).collect()
    }

    /// The directory it runs in.
    pub(crate) fn directory(&self) -> PathBuf {
        self.directory.path().to_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.child.kill().ok();
            self.child.wait().ok();
        }
        for drain in self.drains.drain(..) {
            drain.join().ok();
        }
    }
}

impl Output {
    /// Reads lines until the end, so that the process never blocks on a full pipe.
    fn drain(
        &self,
        source: Source,
        stream: impl Read + Send + 'static,
        ready: Option<mpsc::Sender<String>>,
    ) -> JoinHandle<()> {
        let lines = Arc::clone(&self.lines);
        std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n') {
                let Ok(mut line) = line else { return };
                line.truncate(500);
                let line = String::from_utf8_lossy(&line).into_owned();
                if let Some(ready) = &ready
                    && line.starts_with("steadfast ready ")
                {
                    ready.send(line.clone()).ok();
                }
                let mut lines = lines.lock().expect("no reader panicked");
                if lines.len() == KEPT_LINES {
                    lines.pop_front();
                }
                lines.push_back((source, line));
            }
        })
    }
}

/// The exit code, or the signal as a shell would tell it.
pub(crate) fn exit_code(status: ExitStatus) -> i32 {
    status.code().or(status.signal().map(|signal| 128 + signal)).expect("it has ended")
}

/// Two addresses that stay free while the daemon is down: no other test listens on this one of the
/// loopback addresses, and no connection starts from it.
pub(crate) fn own_addresses() -> (SocketAddr, SocketAddr) {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, 100 + NEXT.fetch_add(1, Ordering::Relaxed), high, low);
    let sockets =
        [(); 2].map(|()| TcpListener::bind((ip, 0)).expect("loopback addresses are free"));
    let [ws, push] = sockets.map(|socket| socket.local_addr().expect("it is bound"));
    (ws, push)
}

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    match std::env::var_os("STEADFAST_BIN") {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env!("CARGO_BIN_EXE_steadfast")),
    }
}
