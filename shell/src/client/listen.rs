//! `steadfast listen`: a client that prints what is pushed to its key.

use super::socket::{Arrival, Socket, Target};
use super::{link, say, tell};
use crate::cli::signals;
use bytestring::ByteString;
use std::net::{Shutdown, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::dialect;
use steadfast_core::event::Protocol;
use steadfast_core::id::Key;
use steadfast_core::link::legacy::{Link, LinkCommand, LinkConfig, LinkEvent, LinkState};
use steadfast_core::time::{Span, Time};

/// How long the ping behind the last message is waited for: more than the gateway's default
/// `confirm_delay`.
const LAST_PING: Duration = Duration::from_millis(200);

/// As whom to listen, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The key: the first message on every connection.
    pub key: String,
    /// Where the gateway is.
    pub url: String,
    /// How many messages to wait for; forever when absent.
    pub count: Option<u64>,
    /// How messages are printed.
    pub form: Form,
    /// How many retries in a row may fail.
    pub max_attempts: Option<u32>,
    /// What is spoken.
    pub protocol: Protocol,
}

/// How messages are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The message and a newline.
    Plain,
    /// A JSON object with `time` and `data` a line.
    Json,
}

impl Form {
    /// Prints a message; says whether somebody still reads.
    pub(super) fn print(self, text: &str, now: Time) -> bool {
        match self {
            Self::Plain => say(text),
            Self::Json => {
                let data = serde_json::Value::String(text.to_owned());
                say(&format!("{{\"time\":\"{now}\",\"data\":{data}}}"))
            }
        }
    }
}

/// How a run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As asked: enough messages, or a signal.
    Done,
    /// The gateway could not be reached often enough.
    GaveUp,
    /// The gateway does not want this client, for the reason that was printed.
    Refused,
}

/// Listens until there were enough messages or a signal comes (exit code 0), or every attempt
/// failed (1).
#[must_use]
pub fn run(options: &Options) -> ExitCode {
    match listen(options) {
        Ok(End::Done) => ExitCode::SUCCESS,
        Ok(End::GaveUp) => {
            let advice = "start the gateway with `steadfast`, or name it with --url";
            tell(&format!("error: gave up connecting to {}; {advice}", options.url));
            ExitCode::FAILURE
        }
        Ok(End::Refused) => ExitCode::FAILURE,
        Err(problem) => {
            tell(&format!("error: {problem}"));
            ExitCode::FAILURE
        }
    }
}

fn listen(options: &Options) -> Result<End, String> {
    let key = dialect::trim(&options.key);
    if key.is_empty() {
        return Err("the key is empty after trimming; name one".to_owned());
    }
    let target = Target::parse(&options.url)?;
    let stop = Arc::new(Stop::new());
    let told = Arc::clone(&stop);
    signals::on_first(move || told.tell())
        .map_err(|error| format!("cannot handle signals: {error}"))?;
    let clock = Clock::start();
    let seed = clock.now().as_micros() ^ u64::from(std::process::id());
    if options.protocol == Protocol::Link {
        return Ok(link::listen(options, Key::new(key), target, clock, stop, seed));
    }
    let mut config = LinkConfig::new(Key::new(key));
    config.max_attempts = options.max_attempts;
    let link = Link::new(config, seed);
    let mut listener = Listener {
        link,
        clock,
        target,
        socket: None,
        stop,
        left: options.count,
        form: options.form,
        end: None,
        is_more_there: false,
    };
    Ok(listener.run())
}

/// Asks the listener to stop, from another thread.
pub(super) struct Stop {
    asked: AtomicBool,
    listener: Thread,
    /// The stream that the listener may be blocked on.
    stream: Mutex<Option<TcpStream>>,
}

impl Stop {
    /// For the calling thread.
    fn new() -> Self {
        let listener = thread::current();
        Self { asked: AtomicBool::new(false), listener, stream: Mutex::new(None) }
    }

    fn tell(&self) {
        let stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        self.asked.store(true, Ordering::SeqCst);
        if let Some(stream) = &*stream {
            // The read returns; what is to be written still can be.
            let _ = stream.shutdown(Shutdown::Read);
        }
        self.listener.unpark();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn watch(&self, stream: Option<TcpStream>) {
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = stream;
    }
}

/// Wall-clock time that never goes backward.
pub(super) struct Clock {
    started: Instant,
    epoch: Time,
}

impl Clock {
    fn start() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { started: Instant::now(), epoch: Time::EPOCH + span(since) }
    }

    pub(super) fn now(&self) -> Time {
        self.epoch + span(self.started.elapsed())
    }
}

fn span(duration: Duration) -> Span {
    Span::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
}

/// Drives the link with a real connection.
struct Listener {
    link: Link,
    clock: Clock,
    target: Target,
    socket: Option<Socket>,
    stop: Arc<Stop>,
    left: Option<u64>,
    form: Form,
    end: Option<End>,
    /// Whether a message came after the last that was asked for.
    is_more_there: bool,
}

impl Listener {
    fn run(&mut self) -> End {
        self.handle(LinkEvent::Started);
        loop {
            if self.stop.is_asked() || self.end == Some(End::Done) {
                self.confirm_last();
                self.handle(LinkEvent::Stopped);
                return End::Done;
            }
            if let Some(end) = self.end {
                return end;
            }
            self.wait();
        }
    }

    /// Waits for a message, a deadline or a stop.
    fn wait(&mut self) {
        let due = self.link.next_deadline().unwrap_or(Time::NEVER);
        let left = due.since(self.clock.now()).min(Span::from_secs(3_600));
        if left == Span::ZERO {
            return self.handle(LinkEvent::DeadlineReached);
        }
        let left = Duration::from_micros(left.as_micros());
        let Some(socket) = &mut self.socket else { return thread::park_timeout(left) };
        match socket.receive(left) {
            Arrival::Text(text) => self.handle(LinkEvent::TextReceived(text)),
            Arrival::Pong => self.handle(LinkEvent::PongReceived),
            Arrival::Ping | Arrival::Nothing => {}
            Arrival::End(why, _) => self.lost(&why),
        }
    }

    /// Answers the ping behind the last message, or the gateway would have to send it again. When
    /// another message comes first that ping is left alone: it would confirm that message too,
    /// which nobody was shown.
    fn confirm_last(&mut self) {
        if self.left != Some(0) {
            return;
        }
        let until = Instant::now() + LAST_PING;
        while let Some(socket) = &mut self.socket
            && !self.is_more_there
            && let left = until.saturating_duration_since(Instant::now())
            && !left.is_zero()
        {
            match socket.receive(left) {
                Arrival::Text(text) => self.handle(LinkEvent::TextReceived(text)),
                Arrival::Ping | Arrival::End(..) => return,
                Arrival::Pong | Arrival::Nothing => {}
            }
        }
    }

    fn handle(&mut self, event: LinkEvent) {
        let mut commands = Vec::new();
        self.link.handle(self.clock.now(), event, &mut commands);
        for command in commands {
            self.carry_out(command);
        }
    }

    fn carry_out(&mut self, command: LinkCommand) {
        match command {
            LinkCommand::Connect => self.connect(),
            LinkCommand::Send(text) => {
                let sent = self.socket.as_mut().map(|socket| socket.send(&text));
                self.after_write(sent);
            }
            LinkCommand::Ping => {
                let sent = self.socket.as_mut().map(Socket::ping);
                self.after_write(sent);
            }
            LinkCommand::Deliver(text) => self.deliver(&text),
            LinkCommand::Disconnect => {
                self.stop.watch(None);
                if let Some(socket) = self.socket.take() {
                    socket.close();
                }
            }
            LinkCommand::StateChanged { new, .. } => match new {
                LinkState::Connecting => tell(&format!("connecting to {}", self.target.address)),
                LinkState::Connected | LinkState::Reconnecting | LinkState::Disconnected => {
                    tell(new.name());
                }
            },
            LinkCommand::GaveUp => self.end = Some(End::GaveUp),
        }
    }

    fn connect(&mut self) {
        let opened = Socket::open(&self.target, None).and_then(|socket| {
            let handle = socket.handle().map_err(|error| error.to_string())?;
            Ok((socket, handle))
        });
        match opened {
            Ok((socket, handle)) => {
                self.socket = Some(socket);
                self.stop.watch(Some(handle));
                self.handle(LinkEvent::Opened);
            }
            Err(why) => {
                tell(&why);
                self.handle(LinkEvent::Failed);
            }
        }
    }

    fn after_write(&mut self, sent: Option<Result<(), String>>) {
        if let Some(Err(why)) = sent {
            self.lost(&why);
        }
    }

    fn lost(&mut self, why: &str) {
        if self.stop.is_asked() {
            // It is the stop itself that ended the reading; the goodbye is still to be said.
            return;
        }
        self.stop.watch(None);
        self.socket = None;
        tell(why);
        self.handle(LinkEvent::Closed);
    }

    fn deliver(&mut self, text: &ByteString) {
        if self.end.is_some() {
            self.is_more_there = true;
            return;
        }
        let is_read = self.form.print(text, self.clock.now());
        self.left = self.left.map(|left| left - 1);
        if !is_read || self.left == Some(0) {
            self.end = Some(End::Done);
        }
    }
}
