//! One round trip: operations that are sent together, and what becomes of each.
//!
//! Replies come in the order of the operations. No I/O here: whoever moves the bytes says which reply
//! came, or that no more will.

use super::decode::decode;
use super::encode::Encoder;
use redis::{ServerError, Value};
use std::collections::VecDeque;
use steadfast_core::id::{Key, OpId};
use steadfast_core::store::{Answer, Op};

/// Operations under way.
#[derive(Debug, Default)]
pub struct Pipeline {
    sent: VecDeque<(OpId, Op)>,
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

impl Pipeline {
    /// Appends the operation's command to what is to be sent.
    pub fn push(&mut self, op: OpId, request: Op, encoder: &mut Encoder, out: &mut Vec<u8>) {
        encoder.encode(&request, out);
        self.sent.push_back((op, request));
    }

    /// Whether replies are missing.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Takes the next reply.
    pub fn reply(&mut self, reply: Value) {
        let Some((id, op)) = self.sent.pop_front() else { return };
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
        std::mem::take(&mut self.unknown)
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
pub(super) fn describe(error: &ServerError) -> String {
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
    use steadfast_core::store::{QueueAnswer, QueueOp};

    /// What becomes of so many questions when these are the replies.
    fn replies(count: u32, replies: &[&str]) -> Pipeline {
        let (mut pipeline, mut encoder, mut out) =
            (Pipeline::default(), Encoder::new("test", Clock::Server), Vec::new());
        for slot in 0..count {
            let id = OpId { slot, generation: 0 };
            pipeline.push(id, Op::Queue(QueueOp::Totals), &mut encoder, &mut out);
        }
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
