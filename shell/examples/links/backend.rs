//! Back ends: one that keeps a window of pushes unanswered, and one that pushes at a steady rate and
//! notes how long answers take.

use super::Outcome;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long each message is in bytes.
const MESSAGE: usize = 128;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// The key of a client: digits, so that clients of the text protocol are answered.
pub(crate) fn key(client: u32) -> String {
    format!("{}", 7_000_000 + client)
}

/// The push of message `n` to a client, with its line end.
fn line(client: u32, n: u32, out: &mut String) {
    let start = out.len();
    // Writing to memory does not fail.
    let _ = write!(out, "{{\"uid\":\"{}\",\"n\":{n},\"pad\":\"", key(client));
    while out.len() < start + MESSAGE - 2 {
        out.push('x');
    }
    out.push_str("\"}\n");
}

/// The number of a message.
pub(crate) fn number(data: &str) -> Option<u32> {
    let (_, rest) = data.split_once("\"n\":")?;
    rest.split_once(',')?.0.parse().ok()
}

/// Pushes all, each to its client, with at most so many unanswered.
pub(crate) fn flood(to: SocketAddr, messages: &[(u32, u32)], window: u32) -> io::Result<()> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER))?;
    let (mut sent, mut answered) = (0, 0);
    let mut text = String::new();
    let mut buffer = vec![0; 64 << 10];
    while answered < messages.len() {
        let until = messages.len().min(answered + window.max(1) as usize);
        text.clear();
        messages[sent..until].iter().for_each(|&(client, n)| line(client, n, &mut text));
        sent = until;
        stream.write_all(text.as_bytes())?;
        let read = stream.read(&mut buffer)?;
        if read == 0 || buffer[..read].contains(&b'f') {
            return Err(io::Error::other("a push was not answered ok or queued"));
        }
        answered += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
    }
    Ok(())
}

/// A back end that pushes to all clients in turn, at a steady rate, until it is told to finish. It
/// connects again whenever the gateway is back.
pub(crate) struct Backend {
    stop: Arc<AtomicBool>,
    /// How long the slowest answer took since this was last asked, in microseconds.
    worst: Arc<AtomicU64>,
    thread: JoinHandle<Vec<(u32, u32)>>,
}

impl Backend {
    pub(crate) fn start(to: SocketAddr, clients: u32, rate: u32) -> Self {
        let (stop, worst) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let run = Steady {
            stop: Arc::clone(&stop),
            worst: Arc::clone(&worst),
            interval: Duration::from_secs(1) / rate.max(1),
            clients,
            next: 0,
            answered: Vec::new(),
        };
        Self { stop, worst, thread: thread::spawn(move || run.run(to)) }
    }

    pub(crate) fn take_worst(&self) -> Duration {
        Duration::from_micros(self.worst.swap(0, Ordering::Relaxed))
    }

    /// Which messages were answered `ok` or `queued`: client and number.
    pub(crate) fn finish(self) -> Outcome<Vec<(u32, u32)>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the back end panicked".into())
    }
}

struct Steady {
    stop: Arc<AtomicBool>,
    worst: Arc<AtomicU64>,
    interval: Duration,
    clients: u32,
    next: u32,
    answered: Vec<(u32, u32)>,
}

impl Steady {
    fn run(mut self, to: SocketAddr) -> Vec<(u32, u32)> {
        while !self.stop.load(Ordering::Relaxed) {
            // A gateway that is gone ends the connection: what was unanswered was not promised.
            if self.connection(to).is_err() {
                thread::sleep(Duration::from_millis(2));
            }
        }
        self.answered
    }

    /// Pushes over one connection until it ends, or as long as wanted and until all is answered.
    fn connection(&mut self, to: SocketAddr) -> io::Result<()> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_millis(1)))?;
        let mut replies = BufReader::new(stream.try_clone()?);
        let mut unanswered: VecDeque<(u32, u32, Instant)> = VecDeque::new();
        let (mut due, mut text, mut reply) = (Instant::now(), String::new(), String::new());
        loop {
            let is_over = self.stop.load(Ordering::Relaxed);
            if is_over && unanswered.is_empty() {
                return Ok(());
            }
            let now = Instant::now();
            if now >= due && !is_over {
                // An open loop: what was due is pushed, however long answers take.
                due += self.interval;
                let (client, n) = (self.next % self.clients, self.next);
                self.next += 1;
                text.clear();
                line(client, n, &mut text);
                unanswered.push_back((client, n, now));
                stream.write_all(text.as_bytes())?;
                continue;
            }
            match replies.read_line(&mut reply) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {
                    let Some((client, n, since)) = unanswered.pop_front() else {
                        return Err(io::Error::other("a reply to nothing"));
                    };
                    let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
                    self.worst.fetch_max(took, Ordering::Relaxed);
                    if reply != "fail\n" {
                        self.answered.push((client, n));
                    }
                    reply.clear();
                }
                // A part of a reply stays in `reply`.
                Err(_) if unanswered.front().is_some_and(|it| it.2.elapsed() > ANSWER) => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
