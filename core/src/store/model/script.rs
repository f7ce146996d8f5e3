//! Scripts for the model's tests: one operation a line, its answer behind `=>`.
//!
//! `append 1 x at=5 limit=2 => at 1 evicted 3`. Messages are named by their counters; what is not
//! given has a default that changes nothing; the key is `k` unless `key=` names another. Everything
//! that an operation has to say is in its line, so a test is a story that can be read.

use super::Model;
use crate::id::{ConnId, Key, MessageId};
use crate::record::DeathReason;
use crate::store::{
    Answer, Append, Appended, ClaimAnswer, ClaimOp, DeadAnswer, DeadCursor, DeadFilter, DeadOp,
    DeviceAnswer, DeviceOp, ExpiryCursor, Found, Idempotency, Manner, Node, Op, Promise,
    QueueAnswer, QueueOp, Retry, Session, SessionOp, Target,
};
use crate::time::{Span, Time};
use bytes::Bytes;
use std::fmt::Write;

/// Runs a script on an empty model, which is checked after every operation.
pub(super) fn check(script: &str) -> Model {
    let mut model = Model::new(1);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (op, expect) = line.split_once("=>").expect("a line is an operation and its answer");
        let answer = show(model.apply(Line(op).op()));
        assert_eq!(answer, expect.trim(), "to {op}");
        model.check();
    }
    model
}

/// One operation's line.
struct Line<'a>(&'a str);

impl Line<'_> {
    fn op(&self) -> Op {
        let key = Key::new(self.value("key").unwrap_or("k").to_owned());
        let limit = self.number("limit").map_or(u32::MAX, small);
        match self.word(0).unwrap() {
            "append" => Op::Append(self.append(key)),
            "load" => {
                let max_bytes = self.number("bytes").unwrap_or(u64::MAX);
                Op::Load { key, max_messages: limit, max_bytes }
            }
            "remove" => Op::Remove { key, ids: self.ids() },
            "retry" => self.retry(key),
            "bury" => {
                let reason = self.reason().unwrap_or(DeathReason::Tries);
                let epoch = self.number("epoch").unwrap_or(0);
                Op::Bury { key, ids: self.ids(), reason, at: self.time("at"), epoch }
            }
            "expire" => {
                let after = self.place().map(|(expires_at, id)| ExpiryCursor { expires_at, id });
                Op::Expire { now: self.time("at"), after, limit }
            }
            "renew" => {
                let (node, until) = (self.node(), self.time("until"));
                Op::Claim(ClaimOp::Renew { node, now: self.time("at"), until })
            }
            "claim" => self.claim(key, Manner::Take),
            "keep" => self.claim(key, Manner::Keep),
            "release" => Op::Claim(ClaimOp::Release { key, epoch: self.number("epoch").unwrap() }),
            "list" => {
                let after = self.place().map(|(at, id)| DeadCursor { at, id });
                Op::Dead(DeadOp::List { filter: self.filter(), after, limit })
            }
            "requeue" => {
                let expires_at = self.time("expires");
                Op::Dead(DeadOp::Requeue { key, ids: self.ids(), expires_at })
            }
            "purge" => Op::Dead(DeadOp::Purge { filter: self.filter(), limit }),
            "trim" => Op::Dead(DeadOp::Trim { keep: self.number("keep").unwrap(), limit }),
            "keys" | "messages" | "clear" | "totals" => Op::Queue(self.queue(key, limit)),
            "find" => {
                let name = self.value("name").map(|name| Target::Name(name.into()));
                let target = name.unwrap_or_else(|| Target::Id(self.ids()[0]));
                Op::Find { key, target, now: self.time("at") }
            }
            "put" => {
                let session = Session {
                    id: self.word(1).unwrap().into(),
                    key,
                    context: self.word(2).unwrap().into(),
                    applied: self.number("applied").unwrap_or(0),
                    deaths_seen: self.number("deaths").unwrap_or(0),
                    expires_at: self.time("expires"),
                };
                Op::Session(SessionOp::Put { session, now: self.time("at") })
            }
            "get" => {
                let id = self.word(1).unwrap().into();
                Op::Session(SessionOp::Get { id, now: self.time("at") })
            }
            "link" | "unlink" | "log" | "read" | "take" => Op::Device(self.device(limit)),
            other => panic!("no such operation: {other}"),
        }
    }

    fn device(&self, max: u32) -> DeviceOp {
        let device = || self.word(1).unwrap().into();
        let conn = || ConnId { slot: small(self.number("slot").unwrap()), generation: 0 };
        match self.word(0).unwrap() {
            "link" => DeviceOp::Link { device: device(), conn: conn() },
            "unlink" => DeviceOp::Unlink { device: device(), conn: conn() },
            "log" => DeviceOp::Log {
                device: device(),
                entry: self.word(2).unwrap().into(),
                limit: self.number("limit").unwrap_or(u64::MAX),
            },
            "read" => DeviceOp::Read {
                after: self.number("after"),
                max_entries: max,
                max_bytes: self.number("bytes").unwrap_or(u64::MAX),
            },
            _ => DeviceOp::Drop { through: self.number("through").unwrap(), limit: max },
        }
    }

    fn queue(&self, key: Key, limit: u32) -> QueueOp {
        match self.word(0).unwrap() {
            "keys" => {
                let prefix = self.value("prefix").unwrap_or_default().into();
                let after = self.value("after").map(|key| Key::new(key.to_owned()));
                QueueOp::Keys { prefix, after, limit }
            }
            "messages" => {
                let (after, max_bytes) = (self.number("after"), self.number("bytes"));
                let max_bytes = max_bytes.unwrap_or(u64::MAX);
                QueueOp::Messages { key, after, max_messages: limit, max_bytes }
            }
            "clear" => {
                let spare = self.value("spare").unwrap_or_default().split(',');
                let spare = spare.filter_map(|word| word.parse().ok()).map(id).collect();
                QueueOp::Purge { key, ids: self.ids(), spare, limit }
            }
            _ => QueueOp::Totals,
        }
    }

    fn retry(&self, key: Key) -> Op {
        let tries = small(self.number("tries").unwrap());
        let retry = |id| Retry { id, tries, not_before: self.time("not_before") };
        let retries = self.ids().into_iter().map(retry).collect();
        Op::Retry { key, retries, epoch: self.number("epoch").unwrap_or(0) }
    }

    fn claim(&self, key: Key, manner: Manner) -> Op {
        Op::Claim(ClaimOp::Claim { key, node: self.node(), manner, now: self.time("at") })
    }

    fn append(&self, key: Key) -> Append {
        let idempotency = self.value("name").map(|name| Idempotency {
            name: name.into(),
            window: Span::from_micros(self.number("window").unwrap()),
        });
        Append {
            key,
            id: self.ids()[0],
            payload: Bytes::from(self.word(2).unwrap().to_owned()),
            accepted_at: self.time("at"),
            expires_at: self.number("expires").map_or(Time::NEVER, Time::from_micros),
            promise: if self.value("promise") == Some("ok") {
                Promise::Ok
            } else {
                Promise::Queued
            },
            idempotency,
            merge_within: self.number("merge").map(Span::from_micros),
            limit: self.number("limit").map_or(u32::MAX, small),
            window_end: self.number("window_end").map(id),
            spare: self.number("spare").map_or(0, small),
            epoch: self.number("epoch").unwrap_or(0),
        }
    }

    fn filter(&self) -> DeadFilter {
        let key = self.value("key").map(|key| Key::new(key.to_owned()));
        let until = self.number("until").map(Time::from_micros);
        let id = self.number("id").map(id);
        DeadFilter { key, reason: self.reason(), until, id }
    }

    fn reason(&self) -> Option<DeathReason> {
        let name = self.value("reason")?;
        [DeathReason::Tries, DeathReason::Ttl, DeathReason::Limit]
            .into_iter()
            .find(|reason| reason.name() == name)
    }

    /// `a1` is the first run of the node `a`.
    fn node(&self) -> Node {
        let (name, incarnation) = self.word(1).unwrap().split_at(1);
        Node { name: name.into(), incarnation: incarnation.parse().unwrap() }
    }

    /// `after=5/1` is the place of message 1 at time 5.
    fn place(&self) -> Option<(Time, MessageId)> {
        let (time, counter) = self.value("after")?.split_once('/').unwrap();
        Some((Time::from_micros(time.parse().unwrap()), id(counter.parse().unwrap())))
    }

    fn ids(&self) -> Vec<MessageId> {
        self.0.split_whitespace().filter_map(|word| word.parse().ok()).map(id).collect()
    }

    fn word(&self, index: usize) -> Option<&str> {
        self.0.split_whitespace().filter(|word| !word.contains('=')).nth(index)
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.0.split_whitespace().filter_map(|word| word.split_once('='));
        pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name).map(|value| value.parse().unwrap())
    }

    fn time(&self, name: &str) -> Time {
        Time::from_micros(self.number(name).unwrap_or(0))
    }
}

/// The id with this counter.
pub(super) fn id(counter: u64) -> MessageId {
    MessageId { incarnation: 1, counter }
}

fn small(number: u64) -> u32 {
    u32::try_from(number).unwrap()
}

/// An answer in a few words.
fn show(answer: Answer) -> String {
    match answer {
        Answer::Appended(Appended::Stored { position, evicted }) if evicted.is_empty() => {
            format!("at {position}")
        }
        Answer::Appended(Appended::Stored { position, evicted }) => {
            format!("at {position} evicted{}", show_ids(&evicted))
        }
        Answer::Appended(Appended::Elsewhere { position, evicted }) => {
            format!("elsewhere at {position} evicted{}", show_ids(&evicted))
        }
        Answer::Appended(Appended::Merged { into }) => format!("merged into {}", into.counter),
        Answer::Appended(Appended::Duplicate { first, promise }) => {
            format!("duplicate of {} {promise:?}", first.counter)
        }
        Answer::Appended(Appended::Conflict) => "conflict".to_owned(),
        Answer::Loaded(loaded) => {
            let mut text = String::from("loaded");
            for it in loaded.messages {
                write!(text, " {}", it.id.counter).unwrap();
                if it.tries > 0 {
                    write!(text, "({} tries, {})", it.tries, it.not_before.as_micros()).unwrap();
                }
            }
            let tail = loaded.tail.map_or("none".to_owned(), |tail| tail.to_string());
            format!("{text}, tail {tail}, deaths {}", loaded.deaths)
        }
        Answer::Removed { ids, withdrawn } => {
            format!("removed{}, withdrawn {withdrawn}", show_ids(&ids))
        }
        Answer::Retried => "retried".to_owned(),
        Answer::Buried(ids) => format!("buried{}", show_ids(&ids)),
        Answer::Expired(expired) => expired.iter().fold("expired".to_owned(), |text, it| {
            format!("{text} {}/{}", it.cursor.expires_at.as_micros(), it.cursor.id.counter)
        }),
        Answer::Claim(ClaimAnswer::Renewed) => "renewed".to_owned(),
        Answer::Claim(ClaimAnswer::Claimed { epoch, previous }) => {
            format!("epoch {epoch} after {previous}")
        }
        Answer::Claim(ClaimAnswer::Taken) => "taken".to_owned(),
        Answer::Claim(ClaimAnswer::Released(current)) => format!("current: {current}"),
        Answer::Dead(DeadAnswer::Listed(letters)) => {
            letters.iter().fold("listed".to_owned(), |mut text, it| {
                let (at, id) = (it.at.as_micros(), it.message.id.counter);
                write!(text, " {at}/{id} {}", it.reason.name()).unwrap();
                for (at, reason) in &it.history {
                    write!(text, " (before: {} {})", at.as_micros(), reason.name()).unwrap();
                }
                text
            })
        }
        Answer::Dead(DeadAnswer::Requeued(ids)) => format!("requeued{}", show_ids(&ids)),
        Answer::Dead(DeadAnswer::Purged(count)) => format!("purged {count}"),
        Answer::Queue(answer) => show_queue(&answer),
        Answer::Found(found) => match *found {
            Found::Waiting(it) => format!("waiting {} ({} tries)", it.id.counter, it.tries),
            Found::Dead(it) => format!("dead {} {}", it.message.id.counter, it.reason.name()),
            Found::Gone(id) => format!("gone {}", id.counter),
            Found::Unknown => "unknown".to_owned(),
        },
        Answer::Device(answer) => show_device(&answer),
        Answer::SessionKept => "kept".to_owned(),
        Answer::SessionFound(session) => {
            session.map_or("none".to_owned(), |it| format!("found {}", it.context))
        }
        Answer::Failed(error) => format!("failed: {error}"),
    }
}

fn show_queue(answer: &QueueAnswer) -> String {
    match answer {
        QueueAnswer::Keys(queues) => queues.iter().fold("keys".to_owned(), |text, it| {
            let oldest = it.oldest.as_micros();
            format!("{text} {} ({}, {} bytes, {oldest})", it.key, it.messages, it.bytes)
        }),
        QueueAnswer::Messages(messages) => {
            let ids: Vec<_> = messages.iter().map(|it| it.id).collect();
            format!("messages{}", show_ids(&ids))
        }
        QueueAnswer::Purged(ids) => format!("cleared{}", show_ids(ids)),
        QueueAnswer::Totals { waiting, dead } => {
            format!("{waiting} waiting, {dead} dead")
        }
    }
}

fn show_device(answer: &DeviceAnswer) -> String {
    match answer {
        DeviceAnswer::Kept => "kept".to_owned(),
        DeviceAnswer::Full => "full".to_owned(),
        DeviceAnswer::Entries(entries) => {
            let shown =
                entries.iter().map(|it| format!("{} {} {}", it.number, it.device, it.entry));
            let shown: Vec<_> = shown.collect();
            if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
        }
        DeviceAnswer::Dropped(count) => count.to_string(),
    }
}

fn show_ids(ids: &[MessageId]) -> String {
    ids.iter().fold(String::new(), |text, id| format!("{text} {}", id.counter))
}
