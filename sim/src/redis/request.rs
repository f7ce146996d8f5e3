//! Calls of scripts, read back as the operations that they were written from: the inverse of
//! `steadfast_shell::codec::redis::encode`.

#![expect(clippy::wildcard_enum_match_arm, reason = "each match is about some scripts")]

use bytes::Bytes;
use bytestring::ByteString;
use std::vec::IntoIter;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    Append, ClaimOp, DeadCursor, DeadFilter, DeadOp, ExpiryCursor, Idempotency, Manner, Node, Op,
    Promise, QueueOp, Retry, Session, SessionOp, Target,
};
use steadfast_core::time::{Span, Time};
use steadfast_shell::codec::redis::encode::Together;
use steadfast_shell::codec::redis::scripts::Script;

/// The operations that a script was called for, with these arguments; `None` when they make no sense,
/// or the script carries out none. Most carry out one.
pub(super) fn operations(script: Script, args: Vec<Vec<u8>>) -> Option<Vec<Op>> {
    let mut args = Args(args.into_iter());
    let mut operations = vec![operation(script, &mut args)?];
    while !args.0.as_slice().is_empty() {
        Together::of(&operations[0])?;
        operations.push(operation(script, &mut args)?);
    }
    Some(operations)
}

fn operation(script: Script, args: &mut Args) -> Option<Op> {
    let op = match script {
        Script::Append => Op::Append(args.append()?),
        Script::Load => {
            let (key, max_messages, max_bytes) = (args.key()?, args.number()?, args.number()?);
            Op::Load { key, max_messages, max_bytes }
        }
        Script::Remove => {
            let (key, ids) = (args.key()?, args.next()?);
            Op::Remove { key, ids: ids.chunks(12).map(id).collect::<Option<_>>()? }
        }
        Script::Retry => {
            Op::Retry { key: args.key()?, epoch: args.eight()?, retries: args.retries()? }
        }
        Script::Bury => {
            let (key, _, at) = (args.key()?, args.next()?, args.kept()?);
            let (reason, epoch) = (args.reason()?, args.eight()?);
            Op::Bury { key, ids: args.ids()?, reason, at, epoch }
        }
        Script::Expire => {
            let (now, limit) = (args.score()?, args.number()?);
            let after = args.place()?.map(|(expires_at, id)| ExpiryCursor { expires_at, id });
            Op::Expire { now, after, limit }
        }
        Script::Renew => {
            let (node, now) = (args.node()?, args.time()?);
            let until = now + Span::from_micros(args.number()?);
            Op::Claim(ClaimOp::Renew { node, now, until })
        }
        Script::Claim => {
            let (key, node, now) = (args.key()?, args.node()?, args.time()?);
            let manner = if args.next()? == b"take" { Manner::Take } else { Manner::Keep };
            Op::Claim(ClaimOp::Claim { key, node, manner, now })
        }
        Script::Release => Op::Claim(ClaimOp::Release { key: args.key()?, epoch: args.eight()? }),
        Script::DeadList | Script::DeadRequeue | Script::DeadPurge => Op::Dead(args.dead(script)?),
        Script::QueueKeys | Script::QueueMessages | Script::QueuePurge | Script::Totals => {
            Op::Queue(args.queue(script)?)
        }
        Script::Find => args.find()?,
        Script::SessionPut => {
            let (id, expires_at) = (args.text()?, args.score()?);
            let session = session(id, expires_at, &args.next()?)?;
            Op::Session(SessionOp::Put { session, now: args.time()? })
        }
        // The asker judges itself whether the session is over.
        Script::SessionGet => Op::Session(SessionOp::Get { id: args.text()?, now: Time::EPOCH }),
        Script::Inspect => return None,
    };
    Some(op)
}

/// The arguments that are left.
struct Args(IntoIter<Vec<u8>>);

impl Args {
    fn next(&mut self) -> Option<Vec<u8>> {
        self.0.next()
    }

    fn text(&mut self) -> Option<ByteString> {
        ByteString::try_from(self.next()?).ok()
    }

    fn key(&mut self) -> Option<Key> {
        self.text().map(Key::new)
    }

    fn number<T: std::str::FromStr>(&mut self) -> Option<T> {
        self.text()?.parse().ok()
    }

    /// A time that is compared.
    fn time(&mut self) -> Option<Time> {
        self.number().map(Time::from_micros)
    }

    /// A time that orders.
    fn score(&mut self) -> Option<Time> {
        let text = self.text()?;
        if &*text == "inf" { Some(Time::NEVER) } else { text.parse().ok().map(Time::from_micros) }
    }

    fn eight(&mut self) -> Option<u64> {
        Some(u64::from_be_bytes(self.next()?.try_into().ok()?))
    }

    /// A time that is kept.
    fn kept(&mut self) -> Option<Time> {
        self.eight().map(Time::from_micros)
    }

    fn id(&mut self) -> Option<MessageId> {
        id(&self.next()?)
    }

    /// All that is left is ids.
    fn ids(&mut self) -> Option<Vec<MessageId>> {
        self.0.by_ref().map(|bytes| id(&bytes)).collect()
    }

    fn node(&mut self) -> Option<Node> {
        let bytes = self.next()?;
        let (incarnation, name) = bytes.split_first_chunk()?;
        let name = ByteString::try_from(name).ok()?;
        Some(Node { name, incarnation: u32::from_be_bytes(*incarnation) })
    }

    fn reason(&mut self) -> Option<DeathReason> {
        match &self.next()?[..] {
            b"1" => Some(DeathReason::Tries),
            b"2" => Some(DeathReason::Ttl),
            b"3" => Some(DeathReason::Limit),
            _ => None,
        }
    }

    /// A place in an order, if one is left.
    fn place(&mut self) -> Option<Option<(Time, MessageId)>> {
        if self.0.as_slice().is_empty() {
            return Some(None);
        }
        Some(Some((self.score()?, self.id()?)))
    }

    fn append(&mut self) -> Option<Append> {
        let (key, id, value) = (self.key()?, self.id()?, self.next()?);
        let (_, epoch, limit) = (self.score()?, self.eight()?, self.number()?);
        let time = |at: usize| {
            let bytes = value.get(at..at + 8)?;
            Some(Time::from_micros(u64::from_be_bytes(bytes.try_into().ok()?)))
        };
        let (accepted_at, expires_at) = (time(0)?, time(8)?);
        let payload = Bytes::copy_from_slice(value.get(16..)?);
        let details = self.next()?;
        let (marks, name) = details.split_at_checked(27)?;
        let promise = if marks[0] == b'o' { Promise::Ok } else { Promise::Queued };
        let span = Span::from_micros(u64::from_be_bytes(marks[2..10].try_into().ok()?));
        let merge_within = (marks[1] == b'm').then_some(span);
        let spare = u32::from_be_bytes(marks[10..14].try_into().ok()?);
        let window_end = if marks[14] == b'w' { Some(self::id(&marks[15..])?) } else { None };
        let idempotency = match name.split_first_chunk() {
            None => None,
            Some((over, field)) => {
                let over = Time::from_micros(u64::from_be_bytes(*over));
                let (_, name) = name_field(field)?;
                Some(Idempotency { name, window: over.since(accepted_at) })
            }
        };
        Some(Append {
            key,
            id,
            payload,
            accepted_at,
            expires_at,
            promise,
            idempotency,
            merge_within,
            limit,
            window_end,
            spare,
            epoch,
        })
    }

    /// All that is left is retries.
    fn retries(&mut self) -> Option<Vec<Retry>> {
        let mut retries = Vec::new();
        while !self.0.as_slice().is_empty() {
            let (id, history) = (self.id()?, self.next()?);
            let (tries, not_before) = history.split_first_chunk()?;
            let not_before = Time::from_micros(u64::from_be_bytes(not_before.try_into().ok()?));
            retries.push(Retry { id, tries: u32::from_be_bytes(*tries), not_before });
        }
        Some(retries)
    }

    fn dead(&mut self, script: Script) -> Option<DeadOp> {
        if script == Script::DeadRequeue {
            let (key, expires_at, _) = (self.key()?, self.kept()?, self.score()?);
            return Some(DeadOp::Requeue { key, ids: self.ids()?, expires_at });
        }
        let limit = self.number()?;
        if script == Script::DeadList {
            let (filter, after) = self.filter()?;
            return Some(DeadOp::List { filter, after, limit });
        }
        let keep = self.text()?;
        let (filter, _) = self.filter()?;
        match &*keep {
            "" => Some(DeadOp::Purge { filter, limit }),
            keep => Some(DeadOp::Trim { keep: keep.parse().ok()?, limit }),
        }
    }

    /// Marks of what a filter has, and that.
    fn filter(&mut self) -> Option<(DeadFilter, Option<DeadCursor>)> {
        let (mut filter, mut after) = (DeadFilter::default(), None);
        for mark in self.next()? {
            match mark {
                b'k' => filter.key = Some(self.key()?),
                b'r' => filter.reason = Some(self.reason()?),
                b'u' => filter.until = Some(self.score()?),
                b'i' => filter.id = Some(self.id()?),
                b'a' => after = Some(DeadCursor { at: self.score()?, id: self.id()? }),
                _ => return None,
            }
        }
        Some((filter, after))
    }

    fn queue(&mut self, script: Script) -> Option<QueueOp> {
        match script {
            Script::QueueKeys => {
                let (first, end, limit) = (self.next()?, self.next()?, self.number()?);
                let prefix = end.strip_prefix(b"(")?.strip_suffix(b"\xff")?;
                let prefix = ByteString::try_from(prefix).ok()?;
                let after = match first.split_first()? {
                    (b'(', after) => Some(Key::new(ByteString::try_from(after).ok()?)),
                    _ => None,
                };
                Some(QueueOp::Keys { prefix, after, limit })
            }
            Script::QueueMessages => {
                let (key, after) = (self.key()?, self.text()?);
                let after = match after.strip_prefix('(') {
                    Some(after) => Some(after.parse().ok()?),
                    None => None,
                };
                let (max_messages, max_bytes) = (self.number()?, self.number()?);
                Some(QueueOp::Messages { key, after, max_messages, max_bytes })
            }
            Script::QueuePurge => {
                let (key, limit, spared) = (self.key()?, self.number()?, self.number()?);
                let spare =
                    self.0.by_ref().take(spared).map(|bytes| id(&bytes)).collect::<Option<_>>()?;
                Some(QueueOp::Purge { key, ids: self.ids()?, spare, limit })
            }
            Script::Totals => Some(QueueOp::Totals),
            other => unreachable!("{other:?} is no script about queues"),
        }
    }

    fn find(&mut self) -> Option<Op> {
        let (key, target) = (self.key()?, self.next()?);
        let (target, now) = match self.0.as_slice() {
            [] => (Target::Id(id(&target)?), Time::EPOCH),
            _ => (Target::Name(name_field(&target)?.1), self.time()?),
        };
        Some(Op::Find { key, target, now })
    }
}

fn id(bytes: &[u8]) -> Option<MessageId> {
    let (incarnation, counter) = bytes.split_first_chunk()?;
    let counter = u64::from_be_bytes(counter.try_into().ok()?);
    Some(MessageId { incarnation: u32::from_be_bytes(*incarnation), counter })
}

/// A text behind its length, and what follows it.
fn measured(bytes: &[u8]) -> Option<(ByteString, ByteString)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (one, other) = rest.split_at_checked(length)?;
    Some((ByteString::try_from(one).ok()?, ByteString::try_from(other).ok()?))
}

/// A key, and the back end's name for a push to it.
fn name_field(bytes: &[u8]) -> Option<(Key, ByteString)> {
    let (key, name) = measured(bytes)?;
    Some((Key::new(key), name))
}

fn session(id: ByteString, expires_at: Time, bytes: &[u8]) -> Option<Session> {
    let eight = |at: usize| {
        let bytes = bytes.get(at..at + 8)?;
        Some(u64::from_be_bytes(bytes.try_into().ok()?))
    };
    let (applied, deaths_seen) = (eight(8)?, eight(16)?);
    let (key, context) = measured(bytes.get(24..)?)?;
    Some(Session { id, key: Key::new(key), context, applied, deaths_seen, expires_at })
}
