//! One connection and the thread that owns it: round trip after round trip, and what is done about
//! failures.
//!
//! Whatever has queued up becomes one pipeline. Its replies are read before the next is sent. While
//! there is no connection, operations fail at once, and connecting is tried with growing pauses.

use super::connection::{Connection, Mark, Server};
use super::report::Report;
use super::subscriber::Notices;
use crate::codec::redis::encode::Encoder;
use crate::codec::redis::pipeline::{Pipeline, Trouble};
use crate::journal::{Journal, Trouble as Told};
use crate::store::handoff::{Handoff, Taken, weight};
use crate::store::health::{Batch, Health};
use redis::Value;
use std::io;
use std::iter;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Notice, Op};

/// So many operations are sent at once, and so many bytes, more or less.
const OPERATIONS: usize = 1_000;
const BYTES: usize = 4 << 20;
/// How often an idle connection is tried.
const PROBE: Duration = Duration::from_secs(1);
/// The first pause before connecting again, and the longest.
pub(super) const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// What a lane is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Messages and what belongs to them.
    Messages,
    /// Devices and their log, under names of others.
    Devices,
}

/// What runs in the thread.
pub(super) struct Lane {
    server: Server,
    encoder: Encoder,
    purpose: Purpose,
    /// A number that was drawn, and its token, until it is registered.
    unregistered: Option<(u32, u64)>,
    /// A write counts once so many replicas have it.
    replicas: u32,
    connection: Option<Connection>,
    /// The last connection.
    predecessor: Option<Mark>,
    retry: Retry,
    handoff: Arc<Handoff>,
    /// Where it is told that what others did may have been missed.
    notices: Option<Arc<Notices>>,
    report: Report,
    /// Whether the operator has been told why what is answered may be lost.
    has_doubted: bool,
    out: Vec<u8>,
}

/// Which run of which node this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) number: u32,
    /// There if the number was drawn, for Redis could not be asked: under this token it is registered
    /// there before anything is stored.
    token: Option<u64>,
}

/// When to connect again.
#[derive(Debug)]
struct Retry {
    at: Instant,
    pause: Duration,
    why: String,
}

impl Lane {
    /// A lane without a connection.
    pub(super) fn new(
        server: Server,
        encoder: Encoder,
        purpose: Purpose,
        replicas: u32,
        journal: Box<dyn Journal>,
    ) -> Self {
        let retry = Retry { at: Instant::now(), pause: PAUSE.0, why: String::new() };
        Self {
            server,
            encoder,
            purpose,
            unregistered: None,
            replicas,
            connection: None,
            predecessor: None,
            retry,
            handoff: Arc::default(),
            notices: None,
            report: Report::new(journal),
            has_doubted: false,
            out: Vec::new(),
        }
    }

    /// What passes between it and the event loop.
    pub(super) fn handoff(&self) -> Arc<Handoff> {
        Arc::clone(&self.handoff)
    }

    /// Has it tell, whenever it connects again, that something may have been missed: a server that took
    /// the place of another may not know the claims that the other one had.
    pub(super) fn doubt_claims(&mut self, notices: Arc<Notices>) {
        self.notices = Some(notices);
    }

    /// How it is doing.
    pub(super) fn health(&self) -> Health {
        self.report.health().clone()
    }

    /// Finds out which run of which node this is, with one attempt to connect; without success it is
    /// the number that `draw` gives, which no run that Redis counted has.
    pub(super) fn determine_run(&mut self, draw: impl FnOnce() -> (u32, u64)) -> Run {
        self.connect();
        let name = format!("{}incarnation", self.encoder.base());
        let counted = self.connection.as_mut().and_then(|connection| {
            match self.server.ask(connection, &[b"INCR", name.as_bytes()]) {
                Ok(Value::Int(number)) => u32::try_from(number).ok(),
                Ok(_) | Err(_) => None,
            }
        });
        let run = if let Some(number) = counted.filter(|number| *number <= i32::MAX as u32) {
            Run { number, token: None }
        } else {
            let (drawn, token) = draw();
            // What is connected has not registered the number.
            self.drop_connection();
            Run { number: drawn | 1 << 31, token: Some(token) }
        };
        self.set_run(run);
        run
    }

    /// Tells the run, which another lane has found out.
    pub(super) fn set_run(&mut self, run: Run) {
        self.encoder.set_incarnation(run.number);
        self.unregistered = run.token.map(|token| (run.number, token));
    }

    /// Starts the thread.
    pub(super) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        let name = match self.purpose {
            Purpose::Messages => "redis",
            Purpose::Devices => "redis devices",
        };
        thread::Builder::new().name(name.to_owned()).spawn(move || self.serve())
    }

    /// Serves until it is told to stop.
    fn serve(&mut self) {
        let (mut spare, mut answers) = (Vec::new(), Vec::new());
        loop {
            let patience = match &self.connection {
                Some(_) => PROBE,
                None => self.retry.at.saturating_duration_since(Instant::now()),
            };
            let taken = self.handoff.take(spare, Some(patience));
            let Taken { mut operations, bytes, is_last } = taken;
            let count = operations.len();
            if self.connection.is_none() && self.retry.at <= Instant::now() {
                self.connect();
            }
            if operations.is_empty() && !is_last {
                self.probe();
            }
            let mut left = operations.drain(..).peekable();
            while left.peek().is_some() {
                self.round_trip(&mut left, &mut answers);
                self.handoff.answer(&mut answers);
            }
            drop(left);
            self.report.health().answers(count, bytes);
            if is_last {
                return;
            }
            spare = operations;
        }
    }

    /// Sends some operations and waits for the replies; leaves an answer to each.
    fn round_trip(
        &mut self,
        operations: &mut impl Iterator<Item = (OpId, Op)>,
        answers: &mut Vec<(OpId, Answer)>,
    ) {
        let Some(mut connection) = self.connection.take() else {
            let failed = operations.map(|(id, _)| (id, Answer::Failed(self.retry.why.clone())));
            answers.extend(failed);
            return;
        };
        let began = Instant::now();
        self.report.health().update(|state| state.busy_since = Some(SystemTime::now()));
        let mut pipeline = Pipeline::default();
        self.out.clear();
        let mut bytes = 0;
        let next = || {
            let next = (bytes < BYTES).then(|| operations.next()).flatten()?;
            bytes += weight(&next.1);
            Some(next)
        };
        pipeline.send(iter::from_fn(next).take(OPERATIONS), &mut self.encoder, &mut self.out);
        let outcome = self.exchange(&mut connection, &mut pipeline);
        if let Err(why) = &outcome {
            pipeline.lost(why);
        }
        let trouble = pipeline.take_trouble();
        let before = answers.len();
        pipeline.collect(answers);
        let carried_out = answers.len() - before;
        self.report.health().update(|state| {
            state.busy_since = None;
            state.last_batch = Batch { operations: carried_out, took: began.elapsed() };
            state.batches += 1;
            state.operations += carried_out as u64;
        });
        match (outcome, trouble) {
            (Err(why), _) | (Ok(()), Some(Trouble::Useless(why))) => {
                self.predecessor = connection.mark();
                self.fails(why);
            }
            (Ok(()), Some(Trouble::Refuses(why))) => {
                self.connection = Some(connection);
                self.report.fails(&why);
            }
            (Ok(()), None) => self.connection = Some(connection),
        }
    }

    /// Moves the bytes of a round trip, and does what the replies call for.
    fn exchange(
        &mut self,
        connection: &mut Connection,
        pipeline: &mut Pipeline,
    ) -> Result<(), String> {
        self.transfer(connection, pipeline)?;
        let unknown = pipeline.take_unknown();
        if !unknown.is_empty() {
            self.server.load_scripts(connection, &self.encoder)?;
            self.out.clear();
            pipeline.send(unknown, &mut self.encoder, &mut self.out);
            self.transfer(connection, pipeline)?;
            for (id, op) in pipeline.take_unknown() {
                let why = format!("Redis lost the script for {} twice", op.kind());
                pipeline.fail(id, why);
            }
        }
        while let Some(key) = pipeline.mistyped() {
            let wrong = self.server.inspect(connection, &mut self.encoder, key)?;
            pipeline.explain(&wrong);
        }
        if self.replicas > 0 && pipeline.has_writes() {
            self.wait_for_replicas(connection, pipeline)?;
        }
        Ok(())
    }

    fn transfer(&self, connection: &mut Connection, pipeline: &mut Pipeline) -> Result<(), String> {
        self.server.send(connection, &self.out)?;
        while pipeline.is_waiting() {
            pipeline.reply(self.server.receive(connection)?);
        }
        Ok(())
    }

    /// Waits until enough replicas have what was written.
    fn wait_for_replicas(
        &self,
        connection: &mut Connection,
        pipeline: &mut Pipeline,
    ) -> Result<(), String> {
        let (wanted, patience) = (self.replicas.to_string(), self.server.patience_ms().to_string());
        let asked = self.server.ask(connection, &[b"WAIT", wanted.as_bytes(), patience.as_bytes()]);
        let reply = asked.inspect_err(|why| pipeline.doubt(why))?;
        if let Value::Int(have) = reply
            && have < i64::from(self.replicas)
        {
            pipeline.doubt(&format!(
                "only {have} replicas of Redis at {} have the write in time, and \
                 redis_wait_replicas = {}",
                self.server.name(),
                self.replicas
            ));
        }
        Ok(())
    }

    /// Sees whether an idle connection still works. One that refused writes has to take one.
    fn probe(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let is_failing = self.report.health().look().failing.is_some();
        let name = format!("{}probe", self.encoder.base());
        let outcome = match is_failing && self.purpose == Purpose::Messages {
            true => self.server.ask(&mut connection, &[b"SET", name.as_bytes(), b"1"]),
            false => self.server.ask(&mut connection, &[b"PING"]),
        };
        match outcome {
            Ok(_) => {
                self.connection = Some(connection);
                self.report.works(&self.server.title());
            }
            Err(why) if why.starts_with("Redis says OOM") => {
                self.connection = Some(connection);
            }
            Err(why) => {
                self.predecessor = connection.mark();
                self.fails(why);
            }
        }
    }

    /// Connects, or notes when to try again.
    pub(super) fn connect(&mut self) {
        let is_first = self.predecessor.is_none();
        match self.try_connect() {
            Ok(connection) => {
                self.connection = Some(connection);
                if let Some(notices) = self.notices.as_ref().filter(|_| !is_first) {
                    notices.put(Notice::Missed);
                }
                self.retry.pause = PAUSE.0;
                self.report.works(&self.server.title());
            }
            Err(why) => self.fails(why),
        }
    }

    fn try_connect(&mut self) -> Result<Connection, String> {
        let mut connection = self.server.connect()?;
        let info = self.server.examine(&mut connection)?;
        self.server.replace(&mut connection, &info, self.predecessor.as_ref());
        self.predecessor = connection.mark();
        if self.purpose == Purpose::Messages {
            self.server.prepare(&mut connection, &mut self.encoder)?;
            self.register(&mut connection)?;
        }
        if !self.has_doubted {
            self.has_doubted = true;
            for doubt in info.doubts {
                let why = format!("Redis at {}: {doubt}", self.server.name());
                self.report.tell(Told::StoreDoubtful { why });
            }
        }
        Ok(connection)
    }

    /// Registers a number that was drawn. Somebody else may have drawn the same: then nothing is stored,
    /// for ids that are not unique would be taken for known ones.
    fn register(&mut self, connection: &mut Connection) -> Result<(), String> {
        let Some((number, token)) = self.unregistered else { return Ok(()) };
        let runs = format!("{}runs", self.encoder.base());
        let (number, token) = (number.to_string(), token.to_string());
        let field = number.as_bytes();
        let set = [b"HSETNX", runs.as_bytes(), field, token.as_bytes()];
        self.server.ask(connection, &set)?;
        let known = self.server.ask(connection, &[b"HGET", runs.as_bytes(), field])?;
        if known != Value::BulkString(token.into_bytes()) {
            return Err(format!(
                "another gateway on Redis at {} has the run number {number} that was drawn while \
                 Redis could not be asked; restart this one",
                self.server.name()
            ));
        }
        self.unregistered = None;
        Ok(())
    }

    fn drop_connection(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.predecessor = connection.mark();
        }
    }

    /// Notes that there is no connection, and when to try again.
    fn fails(&mut self, why: String) {
        self.retry.at = Instant::now() + self.retry.pause;
        self.retry.pause = (self.retry.pause * 2).min(PAUSE.1);
        self.report.fails(&why);
        self.retry.why = why;
    }
}
