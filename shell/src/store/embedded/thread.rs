//! The store's thread: batch after batch, and what it does about faults.

use super::disk::Fault;
use super::engine::Engine;
use crate::store::handoff::{Handoff, Taken};
use crate::store::health::{Batch, Health};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::id::OpId;
use steadfast_core::store::{Answer, Op};

/// After a fault, the database is opened again no more often than this.
const RETRY: Duration = Duration::from_millis(500);
/// How often the space on disk is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What runs in the thread.
pub(super) struct Worker {
    directory: PathBuf,
    handoff: Arc<Handoff>,
    health: Health,
    /// `None` after a fault.
    engine: Option<Engine>,
    /// What the last fault was.
    why: String,
    /// When the last batch began.
    began: Instant,
    /// When opening was last tried.
    tried: Instant,
    /// When the space on disk was last looked at.
    looked: Option<Instant>,
    #[cfg(test)]
    pub(super) trouble: super::trouble::Trouble,
}

impl Worker {
    /// A worker that has the store open.
    pub(super) fn new(
        directory: PathBuf,
        engine: Engine,
        handoff: Arc<Handoff>,
        health: Health,
    ) -> Self {
        let now = Instant::now();
        Self {
            directory,
            handoff,
            health,
            #[cfg(test)]
            trouble: engine.disk.trouble.clone(),
            engine: Some(engine),
            why: String::new(),
            began: now,
            tried: now,
            looked: None,
        }
    }

    /// Starts the thread.
    pub(super) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("store".to_owned()).spawn(move || self.run())
    }

    /// Serves until it is told to stop.
    fn run(&mut self) {
        let (mut spare, mut answers) = (Vec::new(), Vec::new());
        loop {
            let patience = self.engine.is_none().then_some(RETRY);
            let taken = self.handoff.take(spare, patience);
            let Taken { mut operations, bytes, is_last } = taken;
            self.began = Instant::now();
            if self.engine.is_none() {
                self.reopen();
            }
            if !operations.is_empty() {
                self.serve(&mut operations, &mut answers);
                self.health.answers(answers.len(), bytes);
                self.handoff.answer(&mut answers);
            }
            if is_last {
                return;
            }
            spare = operations;
        }
    }

    /// Carries a batch out; leaves an answer to each operation and no operations.
    fn serve(&mut self, operations: &mut Vec<(OpId, Op)>, answers: &mut Vec<(OpId, Answer)>) {
        let Some(engine) = &mut self.engine else {
            let failed = |(id, _)| (id, Answer::Failed(self.why.clone()));
            answers.extend(operations.drain(..).map(failed));
            return;
        };
        self.health.update(|state| state.busy_since = Some(SystemTime::now()));
        match carry_out(engine, operations, answers) {
            Ok(()) => self.done(answers.len()),
            Err(fault) => {
                self.give_up(&fault);
                for (_, answer) in answers {
                    *answer = Answer::Failed(self.why.clone());
                }
            }
        }
    }

    /// Notes a batch that went well.
    fn done(&mut self, operations: usize) {
        let looks = self.looked.is_none_or(|looked| looked.elapsed() >= LOOK);
        let engine = self.engine.as_ref().filter(|_| looks);
        let disk_bytes = engine.map(|engine| engine.disk.bytes());
        if looks {
            self.looked = Some(Instant::now());
        }
        let took = self.began.elapsed();
        self.health.update(|state| {
            state.busy_since = None;
            state.last_batch = Batch { operations, took };
            state.batches += 1;
            state.operations += operations as u64;
            state.disk_bytes = disk_bytes.unwrap_or(state.disk_bytes);
        });
    }

    /// Closes the database, which takes no more writes.
    fn give_up(&mut self, fault: &Fault) {
        self.engine = None;
        self.why = format!("the store in {} fails: {fault}", self.directory.display());
        self.health.fails(&self.why);
        self.tried = Instant::now();
    }

    /// Opens the database again, if it is time and if it takes writes.
    fn reopen(&mut self) {
        if self.tried.elapsed() < RETRY {
            return;
        }
        let opened = Engine::open(&self.directory).and_then(|mut engine| {
            #[cfg(test)]
            engine.trouble(&self.trouble);
            engine.probe()?;
            Ok(engine)
        });
        match opened {
            Ok(engine) => {
                self.engine = Some(engine);
                self.health.update(|state| state.failing = None);
            }
            Err(fault) => self.give_up(&fault),
        }
    }
}

/// Carries operations out and makes them durable, and leaves an answer to each. After a fault, what
/// was left of the operations is not carried out, and no answer is to be believed.
fn carry_out(
    engine: &mut Engine,
    operations: &mut Vec<(OpId, Op)>,
    answers: &mut Vec<(OpId, Answer)>,
) -> Result<(), Fault> {
    let mut left = operations.drain(..);
    let mut outcome = Ok(());
    for (id, op) in left.by_ref() {
        match engine.apply(op) {
            Ok(answer) => answers.push((id, answer)),
            Err(fault) => {
                answers.push((id, Answer::Failed(String::new())));
                outcome = Err(fault);
                break;
            }
        }
    }
    answers.extend(left.map(|(id, _)| (id, Answer::Failed(String::new()))));
    outcome?;
    engine.sync()
}
