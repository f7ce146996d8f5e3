//! One round trip: operations that are sent together, and what becomes of each.
//!
//! Appends and removals of different keys are carried out by one call: a command and its reply cost the
//! server as much as a message does. Replies come in the order of the calls. No I/O here: whoever moves
//! the bytes says which reply came, or that no more will.

use super::decode::decode;
use super::encode::{Encoder, Together};
use redis::{ServerError, Value};
use std::collections::{HashMap, VecDeque};
use std::mem;
use steadfast_core::id::{Key, OpId};
use steadfast_core::store::{Answer, Op};

/// So many operations share a call, and so many ids to remove: it holds up all others of the server.
const TOGETHER: usize = 128;
const IDS: usize = 1_000;

/// Operations under way.
#[derive(Debug, Default)]
pub struct Pipeline {
    /// Those that were sent, call by call.
    sent: VecDeque<(OpId, Op)>,
    /// How many of those each call carries out.
    calls: VecDeque<usize>,
    /// Those whose script the server has lost.
    unknown: Vec<(OpId, Op)>,
    /// Whether something behind one of those was carried out.
    overtaken: bool,
    /// Those that met a key of a wrong type, with what the server said.
    mistyped: Vec<(OpId, Option<Key>, String)>,
    answers: Vec<(OpId, Answer)>,
    trouble: Option<Trouble>,
}

/// What the replies say about the server rather than about their operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It takes no writes for now: its memory is full, its disk fails.
    Refuses(String),
    /// Another server, or a new connection, may do: it is a replica, or is still loading.
    Useless(String),
}

/// Appends and removals that are not sent yet, stage after stage, and in each the removals first. What is
/// about one key stays in order; appends do in any case, for their positions tell.
#[derive(Debug, Default)]
struct Stages {
    stages: Vec<Stage>,
    /// The stage of the last append.
    append: usize,
    places: HashMap<Key, Place>,
}

#[derive(Debug, Default)]
struct Stage {
    removals: Vec<(OpId, Op)>,
    appends: Vec<(OpId, Op)>,
}

/// The first stages in which a key's next operations may be.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    removal: usize,
    append: usize,
}

impl Stages {
    fn push(&mut self, kind: Together, op: OpId, request: Op) {
        let Some(key) = request.key() else { unreachable!("{} names its key", request.kind()) };
        let place = self.places.entry(key.clone()).or_default();
        let stage = match kind {
            Together::Removals => {
                place.append = place.removal;
                place.removal
            }
            Together::Appends => {
                self.append = self.append.max(place.append);
                place.removal = self.append + 1;
                self.append
            }
        };
        if self.stages.len() <= stage {
            self.stages.resize_with(stage + 1, Stage::default);
        }
        match kind {
            Together::Removals => self.stages[stage].removals.push((op, request)),
            Together::Appends => self.stages[stage].appends.push((op, request)),
        }
    }
}

impl Pipeline {
    /// Appends the commands for some operations.
    pub fn send(
        &mut self,
        operations: impl IntoIterator<Item = (OpId, Op)>,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) {
        let mut stages = Stages::default();
        for (id, op) in operations {
            if let Some(kind) = Together::of(&op) {
                stages.push(kind, id, op);
            } else {
                self.send_stages(mem::take(&mut stages), encoder, out);
                encoder.encode(&op, out);
                self.sent.push_back((id, op));
                self.calls.push_back(1);
            }
        }
        self.send_stages(stages, encoder, out);
    }

    fn send_stages(&mut self, stages: Stages, encoder: &mut Encoder, out: &mut Vec<u8>) {
        for Stage { removals, appends } in stages.stages {
            self.send_together(removals, encoder, out);
            self.send_together(appends, encoder, out);
        }
    }

    fn send_together(
        &mut self,
        operations: Vec<(OpId, Op)>,
        encoder: &mut Encoder,
        out: &mut Vec<u8>,
    ) {
        let mut left = &operations[..];
        while !left.is_empty() {
            let mut ids = 0;
            let fits = left.iter().take(TOGETHER).take_while(|(_, op)| {
                let has_room = ids < IDS;
                ids += if let Op::Remove { ids, .. } = op { ids.len() } else { 0 };
                has_room
            });
            let (call, later) = left.split_at(fits.count());
            encoder.encode_all(call.iter().map(|(_, op)| op), out);
            self.calls.push_back(call.len());
            left = later;
        }
        self.sent.extend(operations);
    }

    /// Whether replies are missing.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Takes the next reply.
    pub fn reply(&mut self, mut reply: Value) {
        let Some(count) = self.calls.pop_front() else { return };
        let operations: Vec<_> = self.sent.drain(..count).collect();
        let parts = if let Value::Array(parts) = &mut reply
            && parts.len() == count
            && Together::of(&operations[0].1).is_some()
        {
            mem::take(parts)
        } else {
            vec![reply; count]
        };
        for ((id, op), part) in operations.into_iter().zip(parts) {
            self.answer(id, op, part);
        }
    }

    fn answer(&mut self, id: OpId, op: Op, reply: Value) {
        if let Value::ServerError(error) = &reply {
            self.refused(id, op, error);
            return;
        }
        self.overtaken |= !self.unknown.is_empty();
        let kind = op.kind();
        let answer = decode(op, reply).unwrap_or_else(|_| {
            Answer::Failed(format!("Redis answered the operation {kind} with nonsense"))
        });
        self.answers.push((id, answer));
    }

    /// No more replies will come: whether what is unanswered was carried out is not known.
    pub fn lost(&mut self, why: &str) {
        self.calls.clear();
        let sent = self.sent.drain(..).chain(self.unknown.drain(..)).map(|(id, _)| id);
        let mistyped = self.mistyped.drain(..).map(|(id, ..)| id);
        let failed = sent.chain(mistyped).map(|id| (id, Answer::Failed(why.to_owned())));
        self.answers.extend(failed);
    }

    /// An operation failed.
    pub fn fail(&mut self, op: OpId, why: String) {
        self.answers.push((op, Answer::Failed(why)));
    }

    /// The writes that were carried out are not safe after all.
    pub fn doubt(&mut self, why: &str) {
        for (_, answer) in &mut self.answers {
            if is_write(answer) {
                *answer = Answer::Failed(why.to_owned());
            }
        }
    }

    /// The operations to send again once the scripts are loaded. There are none when something behind
    /// them was carried out, for operations on a key keep their order: those have failed.
    pub fn take_unknown(&mut self) -> Vec<(OpId, Op)> {
        if self.overtaken {
            let why = "Redis had lost its scripts, and others were loaded meanwhile";
            let failed = self.unknown.drain(..).map(|(id, _)| (id, Answer::Failed(why.to_owned())));
            self.answers.extend(failed);
            self.overtaken = false;
        }
        mem::take(&mut self.unknown)
    }

    /// The key of an operation that met a key of a wrong type in Redis, if there is such an operation.
    #[must_use]
    pub fn mistyped(&self) -> Option<Option<&Key>> {
        self.mistyped.last().map(|(_, key, _)| key.as_ref())
    }

    /// Says what is wrong with the keys that [`mistyped`](Self::mistyped) met.
    pub fn explain(&mut self, wrong: &[String]) {
        let Some((id, _, mut text)) = self.mistyped.pop() else { return };
        if !wrong.is_empty() {
            text = format!(
                "in Redis {}: something else wrote there; rename or delete it, or choose another \
                 redis_prefix",
                wrong.join(", ")
            );
        }
        self.answers.push((id, Answer::Failed(text)));
    }

    /// What the replies said about the server.
    pub fn take_trouble(&mut self) -> Option<Trouble> {
        self.trouble.take()
    }

    /// Appends the answers there are.
    pub fn collect(&mut self, answers: &mut Vec<(OpId, Answer)>) {
        answers.append(&mut self.answers);
    }

    /// Whether an answer depends on something having been written.
    #[must_use]
    pub fn has_writes(&self) -> bool {
        self.answers.iter().any(|(_, answer)| is_write(answer))
    }

    fn refused(&mut self, id: OpId, op: Op, error: &ServerError) {
        let text = describe(error);
        match error.code() {
            "NOSCRIPT" => {
                self.unknown.push((id, op));
                return;
            }
            "WRONGTYPE" => {
                self.overtaken |= !self.unknown.is_empty();
                self.mistyped.push((id, op.key().cloned(), text));
                return;
            }
            "OOM" => {
                let text = format!("Redis has reached its memory limit (maxmemory): {text}");
                self.trouble = Some(Trouble::Refuses(text));
            }
            "MISCONF" | "NOREPLICAS" => self.trouble = Some(Trouble::Refuses(text.clone())),
            // The slot is another master's now: the next connection asks whose.
            "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "NOAUTH" | "MOVED" => {
                self.trouble = Some(Trouble::Useless(text.clone()));
            }
            _ => {}
        }
        self.overtaken |= !self.unknown.is_empty();
        self.answers.push((id, Answer::Failed(text)));
    }
}

/// What the server said, in one line.
pub(crate) fn describe(error: &ServerError) -> String {
    let details = error.details().unwrap_or_default();
    format!("Redis says {} {details}", error.code()).trim_end().to_owned()
}

/// Whether what was answered is a change that has to be kept.
fn is_write(answer: &Answer) -> bool {
    match answer {
        Answer::Appended(_)
        | Answer::Removed { .. }
        | Answer::Retried
        | Answer::Buried(_)
        | Answer::Claim(_)
        | Answer::Dead(_)
        | Answer::Queue(_)
        | Answer::SessionKept
        | Answer::Device(_) => true,
        Answer::Loaded(_)
        | Answer::Expired(_)
        | Answer::Found(_)
        | Answer::SessionFound(_)
        | Answer::Failed(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scripts::Clock;
    use super::*;
    use steadfast_core::id::MessageId;
    use steadfast_core::store::{Append, Promise, QueueAnswer, QueueOp};
    use steadfast_core::time::Time;

    /// What becomes of so many questions when these are the replies.
    fn replies(count: u32, replies: &[&str]) -> Pipeline {
        let (mut pipeline, mut encoder, mut out) =
            (Pipeline::default(), Encoder::new("test", Clock::Server), Vec::new());
        let question = |slot| (OpId { slot, generation: 0 }, Op::Queue(QueueOp::Totals));
        pipeline.send((0..count).map(question), &mut encoder, &mut out);
        for reply in replies {
            pipeline.reply(redis::parse_redis_value(reply.as_bytes()).unwrap());
        }
        pipeline
    }

    /// The answers in a few words.
    fn shown(pipeline: &mut Pipeline) -> Vec<String> {
        let mut answers = Vec::new();
        pipeline.collect(&mut answers);
        let show = |(id, answer): (OpId, Answer)| {
            if let Answer::Queue(QueueAnswer::Totals { waiting, .. }) = answer {
                return format!("{}: {waiting}", id.slot);
            }
            let Answer::Failed(why) = answer else { panic!("{answer:?}") };
            format!("{}: {why}", id.slot)
        };
        answers.into_iter().map(show).collect()
    }

    /// What is sent for these operations, call by call: appends and removals of keys, in order.
    fn check_calls(operations: &str, expect: &str) {
        let parse = |(slot, word): (usize, &str)| {
            let id = OpId { slot: u32::try_from(slot).unwrap(), generation: 0 };
            let (kind, key) = word.split_at(1);
            let key = Key::new(key.to_owned());
            let op = match kind {
                "+" => Op::Append(append(key)),
                "-" => Op::Remove { key, ids: Vec::new() },
                _ => Op::Load { key, max_messages: 1, max_bytes: 1 },
            };
            (id, op)
        };
        let words: Vec<_> = operations.split(' ').collect();
        let (mut pipeline, mut out) = (Pipeline::default(), Vec::new());
        let mut encoder = Encoder::new("test", Clock::Server);
        pipeline.send(words.iter().copied().enumerate().map(parse), &mut encoder, &mut out);
        let mut sent = pipeline.sent.iter().map(|(id, _)| words[id.slot as usize]);
        let mut call = |count: &usize| sent.by_ref().take(*count).collect::<Vec<_>>().join(" ");
        let calls: Vec<_> = pipeline.calls.iter().map(&mut call).collect();
        assert_eq!(calls.join(" | "), expect);
        let commands = out.windows(9).filter(|bytes| bytes == b"\r\nEVALSHA").count();
        assert_eq!(commands, calls.len());
    }

    fn append(key: Key) -> Append {
        Append {
            key,
            id: MessageId { incarnation: 1, counter: 1 },
            payload: "text".into(),
            accepted_at: Time::EPOCH,
            expires_at: Time::NEVER,
            promise: Promise::Ok,
            idempotency: None,
            merge_within: None,
            limit: 1,
            window_end: None,
            spare: 0,
            epoch: 0,
        }
    }

    #[test]
    fn one_call_carries_out_what_may_go_together() {
        check_calls("+a +b -c -d +c", "-c -d | +a +b +c");
        check_calls("+a +a -a -a +b", "+a +a +b | -a -a");
        check_calls("-a +a -a +a -b +b", "-a -b | +a | -a | +a +b");
        check_calls("+a -a +b -b +a -c", "-c | +a +b | -a -b | +a");
        check_calls("+a ?b +a -a", "+a | ?b | +a | -a");
        let many = vec!["+a"; TOGETHER + 1].join(" ");
        check_calls(&many, &format!("{} | +a", vec!["+a"; TOGETHER].join(" ")));
    }

    const DONE: &str = "*2\r\n:5\r\n:0\r\n";
    const LOST: &str = "-NOSCRIPT No matching script.\r\n";

    #[test]
    fn what_is_unanswered_when_the_connection_ends_has_failed() {
        let mut pipeline = replies(3, &[DONE]);
        assert!(pipeline.is_waiting());
        pipeline.lost("gone");
        assert_eq!(shown(&mut pipeline), ["0: 5", "1: gone", "2: gone"]);
        assert!(!pipeline.is_waiting());
    }

    #[test]
    fn operations_are_sent_again_when_the_scripts_were_lost() {
        let mut pipeline = replies(3, &[DONE, LOST, LOST]);
        let again: Vec<_> = pipeline.take_unknown().iter().map(|(id, _)| id.slot).collect();
        assert_eq!(again, [1, 2]);
        assert_eq!(shown(&mut pipeline), ["0: 5"]);
    }

    #[test]
    fn nothing_is_sent_again_behind_what_came_after_it() {
        let mut pipeline = replies(3, &[LOST, LOST, DONE]);
        assert_eq!(pipeline.take_unknown(), []);
        let why = "Redis had lost its scripts, and others were loaded meanwhile";
        assert_eq!(
            shown(&mut pipeline),
            ["2: 5".to_owned(), format!("0: {why}"), format!("1: {why}")]
        );
    }

    #[test]
    fn what_the_replies_say_about_the_server_is_noticed() {
        let text = |it: Option<Trouble>| format!("{it:?}");
        let mut pipeline = replies(1, &["-READONLY You can't write.\r\n"]);
        assert!(text(pipeline.take_trouble()).starts_with("Some(Useless(\"Redis says READONLY"));
        let mut pipeline = replies(1, &["-OOM command not allowed.\r\n"]);
        assert!(text(pipeline.take_trouble()).starts_with("Some(Refuses("));
        let mut pipeline = replies(1, &["-ERR no\r\n"]);
        assert_eq!(pipeline.take_trouble(), None);
        assert_eq!(shown(&mut pipeline), ["0: Redis says ERR no"]);
    }

    #[test]
    fn a_reply_that_makes_no_sense_is_a_failure() {
        let mut pipeline = replies(1, &["+what\r\n"]);
        assert_eq!(shown(&mut pipeline), ["0: Redis answered the operation queue with nonsense"]);
    }
}
