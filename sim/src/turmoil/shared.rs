//! The gateway's end of a Redis that several gateways share.
//!
//! What is sent and what replies mean is production's: the encoder, the pipeline, the decoder, the
//! scripts. When to connect, what is asked first and what is given up is written once more here, as
//! tasks with simulated sockets: in production threads with blocking sockets do it
//! (`steadfast_shell::store::redis`: `lane`, `connection`, `subscriber`), and each part below names its
//! original. Left out: logins, TLS, replicas to wait for, health, the lingering of what nobody waits
//! for, the limit on a round trip's bytes; and the scripts are loaded in one round trip.

use super::wire::{Chop, Meters, Wire};
use crate::redis::Frames;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use redis::Value;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Node, Notice, Op};
use steadfast_shell::codec::redis::decode;
use steadfast_shell::codec::redis::encode::{Encoder, channel};
use steadfast_shell::codec::redis::pipeline::{Pipeline, Trouble};
use steadfast_shell::codec::redis::scripts::Clock;
use tokio::time::{Instant, sleep, timeout};
use turmoil::net::TcpStream;

/// Where Redis listens.
pub(super) const PORT: u16 = 6379;
/// What the names of all keys begin with.
pub(super) const PREFIX: &str = "steadfast";

/// As in `lane`.
const OPERATIONS: usize = 1_000;
const PROBE: Duration = Duration::from_secs(1);
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));
/// As in `subscriber`.
const SILENCE: Duration = Duration::from_secs(1);
/// As in `connection`.
const VERSION: &[u8] = b"1";

/// Where Redis is, and how it is reached.
#[derive(Clone, Debug)]
pub(super) struct Server {
    /// The name of its host.
    pub(super) host: String,
    pub(super) meters: Meters,
    pub(super) chop: Chop,
    /// A reply that takes longer is not waited for.
    pub(super) patience: Duration,
    /// What others store for this gateway's keys it does not hear and does not look for: a gateway that
    /// is broken on purpose.
    pub(super) is_deaf: bool,
}

/// A store that several gateways share, as one of them sees it.
pub(super) struct Shared {
    messages: Rc<Desk>,
    devices: Rc<Desk>,
    notices: Rc<RefCell<Vec<Notice>>>,
    /// What threads do in production. None of them ends.
    tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>,
}

/// What passes between a gateway's process and a lane.
#[derive(Debug, Default)]
struct Desk {
    operations: RefCell<Vec<(OpId, Op)>>,
    answers: RefCell<VecDeque<(OpId, Answer)>>,
    waker: RefCell<Option<Waker>>,
}

impl Shared {
    /// Makes one attempt to connect, and starts. `name` is the gateway's.
    pub(super) async fn open(server: Server, name: &str, mut rng: ChaCha8Rng) -> (Self, u32) {
        let mut messages = Lane::new(server.clone(), Purpose::Messages);
        let notices: Rc<RefCell<Vec<Notice>>> = Rc::default();
        messages.notices = Some(Rc::clone(&notices));
        let run = messages.determine_run(&mut rng).await;
        let mut devices = Lane::new(server.clone(), Purpose::Devices);
        devices.encoder.set_incarnation(run);
        let node = Node { name: name.into(), incarnation: run };
        let (channel, heard) = (channel(PREFIX, &node), Rc::clone(&notices));
        let (a, b) = (Rc::clone(&messages.desk), Rc::clone(&devices.desk));
        let tasks: Vec<Pin<Box<dyn Future<Output = ()>>>> = vec![
            Box::pin(messages.serve()),
            Box::pin(devices.serve()),
            Box::pin(Subscriber { server, channel, notices: heard }.serve()),
        ];
        (Self { messages: a, devices: b, notices, tasks }, run)
    }

    /// Takes an operation.
    pub(super) fn submit(&self, op: OpId, request: Op) {
        let desk = if matches!(request, Op::Device(_)) { &self.devices } else { &self.messages };
        desk.operations.borrow_mut().push((op, request));
        if let Some(waker) = desk.waker.take() {
            waker.wake();
        }
    }

    /// Lets the tasks run.
    pub(super) fn turn(&mut self, cx: &mut Context<'_>) {
        for task in &mut self.tasks {
            assert!(task.as_mut().poll(cx).is_pending(), "they serve as long as the process lives");
        }
    }

    /// Whether there are answers or notices that nobody has taken.
    pub(super) fn has_news(&self) -> bool {
        let desks = [&self.messages, &self.devices];
        !self.notices.borrow().is_empty()
            || desks.iter().any(|desk| !desk.answers.borrow().is_empty())
    }

    /// The next answer.
    pub(super) fn next_answer(&self) -> Option<(OpId, Answer)> {
        let desks = [&self.messages, &self.devices];
        desks.iter().find_map(|desk| desk.answers.borrow_mut().pop_front())
    }

    /// What other gateways have done.
    pub(super) fn take_notices(&self) -> Vec<Notice> {
        mem::take(&mut *self.notices.borrow_mut())
    }
}

impl Desk {
    /// Waits for operations, and takes all there are.
    async fn take(&self) -> Vec<(OpId, Op)> {
        poll_fn(|cx| {
            let operations = mem::take(&mut *self.operations.borrow_mut());
            if operations.is_empty() {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(operations)
        })
        .await
    }
}

/// A connection that is open. The original is `connection`.
struct Line {
    wire: Wire,
    frames: Frames,
    /// The server's number for it.
    id: Option<i64>,
    patience: Duration,
}

impl Server {
    /// Connects. What an earlier connection of ours sent and the server has not carried out yet is not
    /// carried out any more.
    async fn connect(&self, predecessor: Option<i64>) -> Result<Line, String> {
        let connecting = TcpStream::connect((self.host.as_str(), PORT));
        let connected = timeout(self.patience, connecting).await.map_err(|_| silent())?;
        let wire = connected.and_then(|stream| Wire::new(stream, &self.meters, &self.chop));
        let wire = wire.map_err(|error| lost(&error))?;
        let mut line = Line { wire, frames: Frames::default(), id: None, patience: self.patience };
        if let Some(id) = predecessor {
            line.ask(&[b"CLIENT", b"KILL", b"ID", id.to_string().as_bytes()]).await.ok();
        }
        line.id = match line.ask(&[b"CLIENT", b"ID"]).await {
            Ok(Value::Int(id)) => Some(id),
            Ok(_) | Err(_) => None,
        };
        Ok(line)
    }
}

impl Line {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (wire, mut left) = (&mut self.wire, bytes);
        let sending = poll_fn(|cx| match wire.write(cx, left) {
            Ok(written) => {
                left = &left[written..];
                if left.is_empty() { Poll::Ready(Ok(())) } else { Poll::Pending }
            }
            Err(error) => Poll::Ready(Err(lost(&error))),
        });
        timeout(self.patience, sending).await.unwrap_or_else(|_| Err(silent()))
    }

    /// The next value, however long it takes.
    async fn hear(&mut self) -> Result<Value, String> {
        let Self { wire, frames, .. } = self;
        poll_fn(|cx| {
            let mut buffer = [0; 4 << 10];
            loop {
                if let Some(value) = frames.next() {
                    return Poll::Ready(Ok(value));
                }
                match wire.poll_read(cx, &mut buffer) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err("the connection ended".to_owned()));
                    }
                    Poll::Ready(Ok(size)) => frames.put(&buffer[..size]),
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(lost(&error))),
                }
            }
        })
        .await
    }

    async fn receive(&mut self) -> Result<Value, String> {
        timeout(self.patience, self.hear()).await.unwrap_or_else(|_| Err(silent()))
    }

    /// One command and its reply.
    async fn ask(&mut self, words: &[&[u8]]) -> Result<Value, String> {
        self.send(&command(words)).await?;
        judged(self.receive().await?)
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut command = redis::Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command.get_packed_command()
}

/// The reply, unless it is an error.
fn judged(reply: Value) -> Result<Value, String> {
    if let Value::ServerError(error) = &reply {
        return Err(format!("Redis says {}", error.code()));
    }
    Ok(reply)
}

fn lost(error: &io::Error) -> String {
    format!("the connection to Redis failed: {}", error.kind())
}

fn silent() -> String {
    "Redis did not answer in time".to_owned()
}

/// As in `lane`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Messages,
    Devices,
}

/// The original is `lane`.
struct Lane {
    server: Server,
    encoder: Encoder,
    purpose: Purpose,
    drawn: Option<Drawn>,
    line: Option<Line>,
    predecessor: Option<i64>,
    retry_at: Instant,
    pause: Duration,
    why: String,
    is_failing: bool,
    desk: Rc<Desk>,
    /// Where it is told that what others did may have been missed.
    notices: Option<Rc<RefCell<Vec<Notice>>>>,
}

/// A run's number that was drawn, for Redis could not be asked.
struct Drawn {
    number: u32,
    token: u64,
    is_registered: bool,
}

impl Lane {
    fn new(server: Server, purpose: Purpose) -> Self {
        Self {
            server,
            encoder: Encoder::new(PREFIX, Clock::Server),
            purpose,
            drawn: None,
            line: None,
            predecessor: None,
            retry_at: Instant::now(),
            pause: PAUSE.0,
            why: String::new(),
            is_failing: false,
            desk: Rc::default(),
            notices: None,
        }
    }

    /// Finds out which run of which node this is, with one attempt to connect.
    async fn determine_run(&mut self, rng: &mut ChaCha8Rng) -> u32 {
        self.connect().await;
        let name = format!("{}incarnation", self.encoder.base());
        let counted = match &mut self.line {
            Some(line) => line.ask(&[b"INCR", name.as_bytes()]).await.ok(),
            None => None,
        };
        let number = match counted {
            Some(Value::Int(number)) => u32::try_from(number).expect("few runs"),
            Some(_) | None => {
                let (number, token) = (rng.random::<u32>() | 1 << 31, rng.random());
                self.drawn = Some(Drawn { number, token, is_registered: false });
                self.drop_line();
                number
            }
        };
        self.encoder.set_incarnation(number);
        number
    }

    async fn serve(mut self) {
        loop {
            let patience = match &self.line {
                Some(_) => PROBE,
                None => self.retry_at.saturating_duration_since(Instant::now()),
            };
            let desk = Rc::clone(&self.desk);
            let operations = timeout(patience, desk.take()).await.unwrap_or_default();
            if self.line.is_none() && self.retry_at <= Instant::now() {
                self.connect().await;
            }
            if operations.is_empty() {
                self.probe().await;
            }
            let mut left = operations.into_iter().peekable();
            while left.peek().is_some() {
                self.round_trip(&mut left).await;
            }
        }
    }

    /// Sends some operations and waits for the replies; leaves an answer to each.
    async fn round_trip(&mut self, operations: &mut impl Iterator<Item = (OpId, Op)>) {
        let Some(mut line) = self.line.take() else {
            let failed = operations.map(|(id, _)| (id, Answer::Failed(self.why.clone())));
            return self.desk.answers.borrow_mut().extend(failed);
        };
        let (mut pipeline, mut out) = (Pipeline::default(), Vec::new());
        pipeline.send(operations.take(OPERATIONS), &mut self.encoder, &mut out);
        let outcome = self.exchange(&mut line, &mut pipeline, &out).await;
        if let Err(why) = &outcome {
            pipeline.lost(why);
        }
        let trouble = pipeline.take_trouble();
        let mut answers = Vec::new();
        pipeline.collect(&mut answers);
        self.desk.answers.borrow_mut().extend(answers);
        match (outcome, trouble) {
            (Err(why), _) | (Ok(()), Some(Trouble::Useless(why))) => {
                self.predecessor = line.id;
                self.fails(why);
            }
            (Ok(()), Some(Trouble::Refuses(_))) => {
                self.line = Some(line);
                self.is_failing = true;
            }
            (Ok(()), None) => self.line = Some(line),
        }
    }

    async fn exchange(
        &mut self,
        line: &mut Line,
        pipeline: &mut Pipeline,
        out: &[u8],
    ) -> Result<(), String> {
        transfer(line, pipeline, out).await?;
        let unknown = pipeline.take_unknown();
        if !unknown.is_empty() {
            self.load_scripts(line).await?;
            let mut out = Vec::new();
            pipeline.send(unknown, &mut self.encoder, &mut out);
            transfer(line, pipeline, &out).await?;
            for (id, op) in pipeline.take_unknown() {
                pipeline.fail(id, format!("Redis lost the script for {} twice", op.kind()));
            }
        }
        Ok(())
    }

    async fn load_scripts(&self, line: &mut Line) -> Result<(), String> {
        let texts: Vec<_> = self.encoder.scripts().texts().collect();
        let commands = texts.iter().map(|text| command(&[b"SCRIPT", b"LOAD", text.as_bytes()]));
        line.send(&commands.collect::<Vec<_>>().concat()).await?;
        for _ in texts {
            judged(line.receive().await?)?;
        }
        Ok(())
    }

    /// Sees whether an idle connection still works. One that refused writes has to take one.
    async fn probe(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        let name = format!("{}probe", self.encoder.base());
        let outcome = match self.is_failing && self.purpose == Purpose::Messages {
            true => line.ask(&[b"SET", name.as_bytes(), b"1"]).await,
            false => line.ask(&[b"PING"]).await,
        };
        match outcome {
            Ok(_) => {
                self.line = Some(line);
                self.is_failing = false;
            }
            Err(why) if why.starts_with("Redis says OOM") => self.line = Some(line),
            Err(why) => {
                self.predecessor = line.id;
                self.fails(why);
            }
        }
    }

    /// Connects, or notes when to try again.
    async fn connect(&mut self) {
        let is_first = self.predecessor.is_none();
        match self.try_connect().await {
            Ok(line) => {
                self.line = Some(line);
                if let Some(notices) = &self.notices
                    && !is_first
                    && !self.server.is_deaf
                {
                    *notices.borrow_mut() = vec![Notice::Missed];
                }
                self.pause = PAUSE.0;
                self.is_failing = false;
            }
            Err(why) => self.fails(why),
        }
    }

    async fn try_connect(&mut self) -> Result<Line, String> {
        let mut line = self.server.connect(self.predecessor).await?;
        self.predecessor = line.id;
        let Value::BulkString(info) = line.ask(&[b"INFO"]).await? else {
            return Err("INFO is no text".to_owned());
        };
        let info = String::from_utf8_lossy(&info);
        if info.contains("\r\nloading:1\r\n") || info.contains("\r\nrole:slave\r\n") {
            return Err("Redis cannot be used yet".to_owned());
        }
        match self.purpose {
            Purpose::Messages => self.prepare(&mut line).await?,
            Purpose::Devices => drop(line.ask(&[b"SELECT", b"15"]).await?),
        }
        Ok(line)
    }

    /// Loads the scripts, looks whether our keys are what they should be, and registers a drawn number.
    async fn prepare(&mut self, line: &mut Line) -> Result<(), String> {
        self.load_scripts(line).await?;
        let version = format!("{}version", self.encoder.base());
        let version = version.as_bytes();
        let mut found = line.ask(&[b"GET", version]).await?;
        if found == Value::Nil {
            line.ask(&[b"SET", version, VERSION, b"NX"]).await?;
            found = line.ask(&[b"GET", version]).await?;
        }
        if found != Value::BulkString(VERSION.to_vec()) {
            return Err("the keys have another layout".to_owned());
        }
        let mut out = Vec::new();
        self.encoder.inspect(None, &mut out);
        line.send(&out).await?;
        judged(line.receive().await?)?;
        let Some(Drawn { number, token, is_registered }) = &mut self.drawn else { return Ok(()) };
        if *is_registered {
            return Ok(());
        }
        let runs = format!("{}runs", self.encoder.base());
        let (number, token) = (number.to_string(), token.to_string());
        let place = [runs.as_bytes(), number.as_bytes()];
        line.ask(&[b"HSETNX", place[0], place[1], token.as_bytes()]).await?;
        if line.ask(&[b"HGET", place[0], place[1]]).await? != Value::BulkString(token.into_bytes())
        {
            return Err("another gateway has the run number that was drawn".to_owned());
        }
        *is_registered = true;
        Ok(())
    }

    fn drop_line(&mut self) {
        if let Some(line) = self.line.take() {
            self.predecessor = line.id;
        }
    }

    fn fails(&mut self, why: String) {
        self.retry_at = Instant::now() + self.pause;
        self.pause = (self.pause * 2).min(PAUSE.1);
        self.is_failing = true;
        self.why = why;
    }
}

async fn transfer(line: &mut Line, pipeline: &mut Pipeline, out: &[u8]) -> Result<(), String> {
    line.send(out).await?;
    while pipeline.is_waiting() {
        pipeline.reply(line.receive().await?);
    }
    Ok(())
}

/// The original is `subscriber`.
struct Subscriber {
    server: Server,
    channel: Vec<u8>,
    notices: Rc<RefCell<Vec<Notice>>>,
}

impl Subscriber {
    async fn serve(self) {
        let mut pause = PAUSE.0;
        loop {
            // Why it failed is for the operator.
            let _ = self.listen(&mut pause).await;
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Listens until the connection fails.
    async fn listen(&self, pause: &mut Duration) -> Result<(), String> {
        let mut line = self.server.connect(None).await?;
        line.ask(&[b"SUBSCRIBE", &self.channel]).await?;
        *pause = PAUSE.0;
        if !self.server.is_deaf {
            *self.notices.borrow_mut() = vec![Notice::Missed];
        }
        let mut is_asked = false;
        loop {
            match timeout(SILENCE, line.hear()).await {
                Ok(value) => {
                    is_asked = false;
                    self.heard(value?);
                }
                Err(_) if is_asked => return Err(silent()),
                Err(_) => {
                    is_asked = true;
                    line.send(&command(&[b"PING"])).await?;
                }
            }
        }
    }

    fn heard(&self, value: Value) {
        let Value::Array(mut parts) = value else { return };
        if parts.len() == 3
            && let Some(Value::BulkString(text)) = parts.pop()
            && parts[0] == Value::BulkString(b"message".to_vec())
        {
            let notice = decode::notice(&text).expect("nothing else is published");
            if !(self.server.is_deaf && matches!(notice, Notice::MessageStored(_))) {
                self.notices.borrow_mut().push(notice);
            }
        }
    }
}
