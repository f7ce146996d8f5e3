//! Replies of Redis as answers.

use bytes::Bytes;
use bytestring::ByteString;
use redis::Value;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    Answer, Appended, ClaimAnswer, ClaimOp, DeadAnswer, DeadLetter, DeadOp, DeviceAnswer, Expired,
    ExpiryCursor, Found, Loaded, Notice, Op, Promise, Queue, QueueAnswer, QueueOp, Session,
    SessionOp, StoredMessage,
};
use steadfast_core::time::Time;

/// A reply that is none to what was asked: something else writes to our keys, or it is no Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unexpected;

type Decoded<T> = Result<T, Unexpected>;

/// Position, accepted at, expires at: what a message's value begins with.
const HEADER: usize = 24;

/// The answer to an operation.
///
/// # Errors
/// The reply makes no sense.
pub fn decode(op: Op, reply: Value) -> Decoded<Answer> {
    match op {
        Op::Append(_) => appended(reply).map(Answer::Appended),
        Op::Load { .. } => loaded(reply).map(Answer::Loaded),
        Op::Remove { ids, .. } => {
            let withdrawn = u32::try_from(number(&reply)?).map_err(|_| Unexpected)?;
            Ok(Answer::Removed { ids, withdrawn })
        }
        Op::Retry { .. } => Ok(Answer::Retried),
        Op::Bury { .. } => ids(reply).map(Answer::Buried),
        Op::Expire { .. } => expired(reply).map(Answer::Expired),
        Op::Claim(op) => claim(&op, reply).map(Answer::Claim),
        Op::Dead(op) => dead(&op, reply).map(Answer::Dead),
        Op::Queue(op) => queue(&op, reply).map(Answer::Queue),
        Op::Find { key, .. } => found(key, reply).map(|found| Answer::Found(Box::new(found))),
        Op::Session(SessionOp::Put { .. }) => Ok(Answer::SessionKept),
        Op::Session(SessionOp::Get { id, now }) => {
            let session = session(id, &reply)?.filter(|session| session.expires_at > now);
            Ok(Answer::SessionFound(session))
        }
        Op::Device(_) => Ok(Answer::Device(DeviceAnswer::Kept)),
    }
}

fn appended(reply: Value) -> Decoded<Appended> {
    if let Value::Int(position) = reply {
        let position = u64::try_from(position).map_err(|_| Unexpected)?;
        return Ok(Appended::Stored { position, evicted: Vec::new() });
    }
    let parts = array(reply)?;
    let part = |index: usize| parts.get(index).ok_or(Unexpected);
    match text(part(0)?)? {
        "stored" => {
            let evicted = ids(part(2)?.clone())?;
            Ok(Appended::Stored { position: number(part(1)?)?, evicted })
        }
        "elsewhere" => {
            let evicted = ids(part(2)?.clone())?;
            Ok(Appended::Elsewhere { position: number(part(1)?)?, evicted })
        }
        "merged" => Ok(Appended::Merged { into: id(bytes(part(1)?)?)? }),
        "duplicate" => {
            let promise = match bytes(part(2)?)? {
                b"o" => Promise::Ok,
                b"q" => Promise::Queued,
                _ => return Err(Unexpected),
            };
            Ok(Appended::Duplicate { first: id(bytes(part(1)?)?)?, promise })
        }
        "conflict" => Ok(Appended::Conflict),
        _ => Err(Unexpected),
    }
}

fn loaded(reply: Value) -> Decoded<Loaded> {
    let mut parts = array(reply)?.into_iter();
    let deaths = parts.next().ok_or(Unexpected)?;
    let tail = parts.next().ok_or(Unexpected)?;
    Ok(Loaded {
        deaths: optional(&deaths, number)?.unwrap_or(0),
        tail: optional(&tail, number)?,
        messages: messages(parts)?,
    })
}

/// Messages as their ids, values and histories.
fn messages(mut parts: impl Iterator<Item = Value>) -> Decoded<Vec<StoredMessage>> {
    let mut messages = Vec::new();
    while let Some(id) = parts.next() {
        let (value, history) = (parts.next(), parts.next());
        messages.push(message(&id, value, history.as_ref())?.0);
    }
    Ok(messages)
}

/// Deaths, oldest first.
type History = Vec<(Time, DeathReason)>;

/// A message and its deaths.
fn message(
    id: &Value,
    value: Option<Value>,
    history: Option<&Value>,
) -> Decoded<(StoredMessage, History)> {
    let id = self::id(bytes(id)?)?;
    let Some(Value::BulkString(value)) = value else { return Err(Unexpected) };
    let value = Bytes::from(value);
    let (position, accepted_at, expires_at) =
        (u64_at(&value, 0)?, time_at(&value, 8)?, time_at(&value, 16)?);
    let payload = value.slice(HEADER..);
    let history = optional(history.ok_or(Unexpected)?, bytes)?.unwrap_or(&[0; 12]);
    let tries = u32_at(history, 0)?;
    let not_before = time_at(history, 4)?;
    let deaths = history[12..].chunks(9).map(|death| {
        let reason = match death.get(8) {
            Some(b'1') => DeathReason::Tries,
            Some(b'2') => DeathReason::Ttl,
            Some(b'3') => DeathReason::Limit,
            Some(_) | None => return Err(Unexpected),
        };
        Ok((time_at(death, 0)?, reason))
    });
    let deaths = deaths.collect::<Decoded<_>>()?;
    let message =
        StoredMessage { id, position, payload, accepted_at, expires_at, tries, not_before };
    Ok((message, deaths))
}

/// A dead letter: its last death is the one that holds.
fn letter(key: Key, message: StoredMessage, mut history: History) -> Decoded<DeadLetter> {
    let (at, reason) = history.pop().ok_or(Unexpected)?;
    Ok(DeadLetter { key, message, at, reason, history })
}

fn expired(reply: Value) -> Decoded<Vec<Expired>> {
    let parts = array(reply)?;
    let pairs = parts.chunks(2).map(|pair| {
        let [member, score] = pair else { return Err(Unexpected) };
        let (id, key) = bytes(member)?.split_at_checked(12).ok_or(Unexpected)?;
        let expires_at = match text(score)? {
            "inf" => Time::NEVER,
            score => Time::from_micros(score.parse().map_err(|_| Unexpected)?),
        };
        Ok(Expired { key: key_of(key)?, cursor: ExpiryCursor { expires_at, id: self::id(id)? } })
    });
    pairs.collect()
}

fn claim(op: &ClaimOp, reply: Value) -> Decoded<ClaimAnswer> {
    match op {
        ClaimOp::Renew { .. } => Ok(ClaimAnswer::Renewed),
        ClaimOp::Claim { .. } => {
            if reply == Value::Nil {
                return Ok(ClaimAnswer::Taken);
            }
            let parts = array(reply)?;
            let [epoch, previous] = &parts[..] else { return Err(Unexpected) };
            let (epoch, previous) = (u64_at(bytes(epoch)?, 0)?, u64_at(bytes(previous)?, 0)?);
            Ok(ClaimAnswer::Claimed { epoch, previous })
        }
        ClaimOp::Release { .. } => Ok(ClaimAnswer::Released(number(&reply)? == 1)),
    }
}

/// What a node was told on its channel.
///
/// # Errors
/// It makes no sense.
pub fn notice(bytes: &[u8]) -> Decoded<Notice> {
    let (mark, rest) = bytes.split_first().ok_or(Unexpected)?;
    match mark {
        b's' => key_of(rest).map(Notice::MessageStored),
        b'f' => key_of(rest).map(Notice::KeyFreed),
        b't' => {
            let (epoch, key) = (u64_at(rest, 0)?, &rest[8..]);
            Ok(Notice::KeyTaken { key: key_of(key)?, epoch })
        }
        _ => Err(Unexpected),
    }
}

fn dead(op: &DeadOp, reply: Value) -> Decoded<DeadAnswer> {
    match op {
        DeadOp::List { .. } => {
            let mut parts = array(reply)?.into_iter();
            let mut letters = Vec::new();
            while let Some(key) = parts.next() {
                let id = parts.next().ok_or(Unexpected)?;
                let (value, history) = (parts.next(), parts.next());
                let (message, history) = message(&id, value, history.as_ref())?;
                letters.push(letter(key_of(bytes(&key)?)?, message, history)?);
            }
            Ok(DeadAnswer::Listed(letters))
        }
        DeadOp::Requeue { .. } => ids(reply).map(DeadAnswer::Requeued),
        DeadOp::Purge { .. } | DeadOp::Trim { .. } => number(&reply).map(DeadAnswer::Purged),
    }
}

fn queue(op: &QueueOp, reply: Value) -> Decoded<QueueAnswer> {
    match op {
        QueueOp::Keys { .. } => {
            let parts = array(reply)?;
            let queues = parts.chunks(4).map(|parts| {
                let [key, messages, bytes, header] = parts else { return Err(Unexpected) };
                Ok(Queue {
                    key: key_of(self::bytes(key)?)?,
                    messages: number(messages)?,
                    bytes: number(bytes)?,
                    oldest: time_at(self::bytes(header)?, 8)?,
                })
            });
            queues.collect::<Decoded<_>>().map(QueueAnswer::Keys)
        }
        QueueOp::Messages { .. } => messages(array(reply)?.into_iter()).map(QueueAnswer::Messages),
        QueueOp::Purge { .. } => ids(reply).map(QueueAnswer::Purged),
        QueueOp::Totals => {
            let parts = array(reply)?;
            let [waiting, dead] = &parts[..] else { return Err(Unexpected) };
            Ok(QueueAnswer::Totals { waiting: number(waiting)?, dead: number(dead)? })
        }
    }
}

fn found(key: Key, reply: Value) -> Decoded<Found> {
    let mut parts = array(reply)?.into_iter();
    let Some(id) = parts.next() else { return Ok(Found::Unknown) };
    let (value, history, died) = (parts.next(), parts.next(), parts.next());
    if value.is_none() {
        return Ok(Found::Gone(self::id(bytes(&id)?)?));
    }
    let (message, history) = message(&id, value, history.as_ref())?;
    match died {
        Some(Value::Nil) | None => Ok(Found::Waiting(message)),
        Some(_) => Ok(Found::Dead(letter(key, message, history)?)),
    }
}

fn session(id: ByteString, reply: &Value) -> Decoded<Option<Session>> {
    let Some(bytes) = optional(reply, bytes)? else { return Ok(None) };
    let length = usize::try_from(u32_at(bytes, 24)?).map_err(|_| Unexpected)?;
    let (key, context) = bytes[28..].split_at_checked(length).ok_or(Unexpected)?;
    Ok(Some(Session {
        id,
        key: key_of(key)?,
        context: owned_text(context)?,
        applied: u64_at(bytes, 8)?,
        deaths_seen: u64_at(bytes, 16)?,
        expires_at: time_at(bytes, 0)?,
    }))
}

fn array(value: Value) -> Decoded<Vec<Value>> {
    if let Value::Array(values) = value { Ok(values) } else { Err(Unexpected) }
}

fn ids(value: Value) -> Decoded<Vec<MessageId>> {
    array(value)?.iter().map(|value| id(bytes(value)?)).collect()
}

fn id(bytes: &[u8]) -> Decoded<MessageId> {
    Ok(MessageId { incarnation: u32_at(bytes, 0)?, counter: u64_at(bytes, 4)? })
}

fn bytes(value: &Value) -> Decoded<&[u8]> {
    if let Value::BulkString(bytes) = value { Ok(bytes) } else { Err(Unexpected) }
}

fn text(value: &Value) -> Decoded<&str> {
    std::str::from_utf8(bytes(value)?).map_err(|_| Unexpected)
}

fn owned_text(bytes: &[u8]) -> Decoded<ByteString> {
    ByteString::try_from(bytes).map_err(|_| Unexpected)
}

fn key_of(bytes: &[u8]) -> Decoded<Key> {
    owned_text(bytes).map(Key::new)
}

/// A number that is an integer or a text.
fn number(value: &Value) -> Decoded<u64> {
    if let Value::Int(number) = value {
        return u64::try_from(*number).map_err(|_| Unexpected);
    }
    text(value)?.parse().map_err(|_| Unexpected)
}

/// `None` for what is not there.
fn optional<'a, T>(
    value: &'a Value,
    read: impl FnOnce(&'a Value) -> Decoded<T>,
) -> Decoded<Option<T>> {
    if *value == Value::Nil { Ok(None) } else { read(value).map(Some) }
}

fn u32_at(bytes: &[u8], at: usize) -> Decoded<u32> {
    let part = bytes.get(at..at + 4).ok_or(Unexpected)?;
    Ok(u32::from_be_bytes(part.try_into().map_err(|_| Unexpected)?))
}

fn u64_at(bytes: &[u8], at: usize) -> Decoded<u64> {
    let part = bytes.get(at..at + 8).ok_or(Unexpected)?;
    Ok(u64::from_be_bytes(part.try_into().map_err(|_| Unexpected)?))
}

fn time_at(bytes: &[u8], at: usize) -> Decoded<Time> {
    u64_at(bytes, at).map(Time::from_micros)
}
