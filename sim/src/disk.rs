//! A simulated disk around the reference model: only what was synced survives a crash.
//!
//! Operations queue up ([`Disk::submit`]) and are carried out in one batch ([`Disk::sync`]), as a
//! store with group commit does; nothing is answered before. A crash loses what is queued, except for
//! a beginning of it, as long as the world says, that had reached the disk and was not answered.

use crate::oracle::{Fact, Inventory};
use crate::schedule::Trouble;
use bytestring::ByteString;
use std::collections::{BTreeSet, VecDeque};
use steadfast_core::dialect;
use steadfast_core::id::{MessageId, OpId};
use steadfast_core::store::model::Model;
use steadfast_core::store::{
    Answer, DeadAnswer, DeadOp, DeviceOp, Op, QueueAnswer, QueueOp, Session, SessionOp,
};
use steadfast_core::time::Time;

/// What a world's gateway keeps.
#[derive(Debug)]
pub struct Disk {
    model: Model,
    queue: VecDeque<(OpId, Op)>,
    incarnation: u32,
    /// None when nobody wants to know.
    facts: Option<Vec<Fact>>,
}

/// What a crash left of the operations that were queued.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wreck {
    /// Carried out and not answered.
    pub kept: usize,
    /// Never carried out.
    pub lost: usize,
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let (model, queue, facts) = (Model::new(seed), VecDeque::new(), Some(Vec::new()));
        Self { model, queue, incarnation: 0, facts }
    }

    /// Nobody wants to know what is told by [`take_facts`](Self::take_facts).
    pub fn keep_no_facts(&mut self) {
        self.facts = None;
    }

    /// A process starts: the number of this run, never given out before.
    pub fn start(&mut self) -> u32 {
        self.incarnation += 1;
        self.incarnation
    }

    /// Queues an operation.
    pub fn submit(&mut self, op: OpId, request: Op) {
        self.queue.push_back((op, request));
    }

    /// How many operations are queued.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Carries out what is queued, as far as the trouble lets it, and gives the answers in order.
    pub fn sync(&mut self, trouble: Option<Trouble>) -> Vec<(OpId, Answer)> {
        if trouble == Some(Trouble::Stalled) {
            return Vec::new();
        }
        let mut answers = Vec::with_capacity(self.queue.len());
        while let Some((op, request)) = self.queue.pop_front() {
            let failed = || Answer::Failed("disk trouble".to_owned());
            let answer = match trouble {
                Some(Trouble::Failing) => failed(),
                Some(Trouble::ReadOnly) if !reads(&request) => failed(),
                Some(Trouble::Unclear) => {
                    self.apply(request);
                    failed()
                }
                None | Some(Trouble::Slow | Trouble::Stalled | Trouble::ReadOnly) => {
                    self.apply(request)
                }
            };
            answers.push((op, answer));
        }
        answers
    }

    /// The process or machine ends. At most `survivors` of the queued operations reached the disk.
    pub fn crash(&mut self, survivors: usize) -> Wreck {
        let kept = survivors.min(self.queue.len());
        let lost = self.queue.len() - kept;
        let queue = std::mem::take(&mut self.queue);
        for (_, request) in queue.into_iter().take(kept) {
            self.apply(request);
        }
        Wreck { kept, lost }
    }

    /// Carries an operation out at once.
    pub(crate) fn apply(&mut self, request: Op) -> Answer {
        if self.facts.is_none() {
            return self.model.apply(request);
        }
        let appended = match &request {
            Op::Append(append) => {
                Some((append.key.clone(), append.window_end.is_some() || append.spare > 0))
            }
            Op::Dead(DeadOp::Purge { .. } | DeadOp::Trim { .. }) => return self.purge(request),
            Op::Dead(DeadOp::Requeue { expires_at, .. }) => {
                let expires_at = *expires_at;
                return self.requeue(request, expires_at);
            }
            Op::Queue(QueueOp::Purge { .. }) => return self.clear(request),
            Op::Load { .. }
            | Op::Remove { .. }
            | Op::Retry { .. }
            | Op::Bury { .. }
            | Op::Expire { .. }
            | Op::Claim(_)
            | Op::Dead(_)
            | Op::Session(_)
            | Op::Device(_)
            | Op::Queue(_)
            | Op::Find { .. } => None,
        };
        let before = self.model.counts().appended;
        let answer = self.model.apply(request);
        // One that was there already evicts nothing.
        let stored = self.model.counts().appended > before;
        if let Some((key, spared)) = appended.filter(|_| stored) {
            let waiting = self.model.waiting(&key).count();
            self.note(Fact::Kept { key, waiting, spared });
        }
        answer
    }

    /// Notes which dead letters go.
    fn purge(&mut self, request: Op) -> Answer {
        let before = self.dead_ids();
        let answer = self.model.apply(request);
        let purged: Vec<_> = before.difference(&self.dead_ids()).copied().collect();
        if !purged.is_empty() {
            self.note(Fact::Purged(purged));
        }
        answer
    }

    /// Notes which dead letters wait again.
    fn requeue(&mut self, request: Op, expires_at: Time) -> Answer {
        let answer = self.model.apply(request);
        if let Answer::Dead(DeadAnswer::Requeued(ids)) = &answer {
            self.note(Fact::Requeued { ids: ids.clone(), expires_at });
        }
        answer
    }

    /// Notes which waiting messages go.
    fn clear(&mut self, request: Op) -> Answer {
        let answer = self.model.apply(request);
        if let Answer::Queue(QueueAnswer::Purged(ids)) = &answer {
            self.note(Fact::Cleared(ids.clone()));
        }
        answer
    }

    fn note(&mut self, fact: Fact) {
        if let Some(facts) = &mut self.facts {
            facts.push(fact);
        }
    }

    fn dead_ids(&self) -> BTreeSet<MessageId> {
        self.model.dead_letters().map(|letter| letter.message.id).collect()
    }

    /// What the judge has to know of the operations since the last call.
    pub fn take_facts(&mut self) -> Vec<Fact> {
        self.facts.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The model, to set its clock and to take what nodes are to be told.
    pub(crate) fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    /// The meaning of all operations that were carried out.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// A session that has not expired.
    pub fn session(&mut self, id: ByteString, now: Time) -> Option<Session> {
        let answer = self.model.apply(Op::Session(SessionOp::Get { id, now }));
        let Answer::SessionFound(session) = answer else { unreachable!("{answer:?}") };
        session
    }

    /// What is there, for the end of a world.
    #[must_use]
    pub fn inventory(&self, keys: &[steadfast_core::id::Key]) -> Inventory {
        let counts = self.model.counts();
        let letters = self.model.dead_letters();
        let waiting = keys.iter().flat_map(|key| self.model.waiting(key));
        let devices = keys.iter().filter_map(dialect::device_of);
        Inventory {
            waiting: waiting.map(|message| message.id).collect(),
            dead: letters.map(|letter| (letter.message.id, letter.reason)).collect(),
            appended: counts.appended,
            removed: counts.removed,
            purged: counts.purged + counts.cleared,
            device_log: self.model.device_log().cloned().collect(),
            device_links: devices
                .filter_map(|device| Some((device.clone(), self.model.device_link(&device)?)))
                .collect(),
        }
    }
}

/// Whether an operation writes nothing.
fn reads(request: &Op) -> bool {
    match request {
        Op::Load { .. }
        | Op::Expire { .. }
        | Op::Session(SessionOp::Get { .. })
        | Op::Device(DeviceOp::Read { .. })
        | Op::Queue(QueueOp::Keys { .. } | QueueOp::Messages { .. } | QueueOp::Totals)
        | Op::Find { .. } => true,
        Op::Queue(QueueOp::Purge { .. })
        | Op::Append(_)
        | Op::Remove { .. }
        | Op::Retry { .. }
        | Op::Bury { .. }
        | Op::Claim(_)
        | Op::Dead(_)
        | Op::Session(SessionOp::Put { .. })
        | Op::Device(_) => false,
    }
}
