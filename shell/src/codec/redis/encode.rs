//! Operations as commands to Redis.
//!
//! All but those on devices are one call of a script; appends and removals share calls. Ids are 12
//! bytes, times that are kept are 8, both big-endian; times that a script compares are decimal.

use super::scripts::{Clock, Script, Scripts};
use redis::{Cmd, ToRedisArgs};
use steadfast_core::id::{Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    Append, ClaimOp, DeadCursor, DeadFilter, DeadOp, DeviceOp, Manner, Node, Op, Promise, QueueOp,
    Retry, Session, SessionOp, Target,
};
use steadfast_core::time::{Span, Time};

/// The hash that tells on which connection a device was last seen.
pub const DEVICE_LINKS: &str = "device:links";
/// The list of what devices logged, newest entry first.
pub const DEVICE_LOG: &str = "device:log:list";

/// The script that removes a device's connection, if it is still this one.
pub const UNLINK: &str = "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then \
                      redis.call('HDEL', KEYS[1], ARGV[1]) end return 0";

/// Sorted sets keep scores up to this exactly. As a time it is in the year 2255; what expires later
/// never does.
const LAST_SCORE: u64 = 1 << 53;

/// Writes commands.
#[derive(Debug)]
pub struct Encoder {
    base: String,
    scripts: Scripts,
    /// Which run of which node this is: for what others read of it.
    incarnation: u32,
    command: Cmd,
}

impl Encoder {
    /// Writes commands for keys that begin with this prefix, on a server of its own.
    #[must_use]
    pub fn new(prefix: &str, clock: Clock) -> Self {
        Self::of_shard(prefix, 0, clock)
    }

    /// Writes commands for the keys of one shard.
    #[must_use]
    pub fn of_shard(prefix: &str, tag: u32, clock: Clock) -> Self {
        let (base, scripts) = (base(prefix, tag), Scripts::new(clock));
        Self { base, scripts, incarnation: 0, command: Cmd::new() }
    }

    /// What the names of all keys begin with.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The scripts that are called.
    #[must_use]
    pub fn scripts(&self) -> &Scripts {
        &self.scripts
    }

    /// Tells which run of which node this is.
    pub fn set_incarnation(&mut self, incarnation: u32) {
        self.incarnation = incarnation;
    }

    /// Appends the command for an operation.
    pub fn encode(&mut self, op: &Op, out: &mut Vec<u8>) {
        self.encode_all([op], out);
    }

    /// Appends the one command for operations of a kind that [goes together](Together).
    pub fn encode_all<'a>(&mut self, ops: impl IntoIterator<Item = &'a Op>, out: &mut Vec<u8>) {
        let mut ops = ops.into_iter().peekable();
        let Some(first) = ops.peek() else { return };
        let mut call = Call(&mut self.command);
        call.0.clear();
        if let Op::Device(op) = first {
            call.device(op, self.incarnation);
        } else {
            let script = script_of(first);
            call.arg("EVALSHA").arg(self.scripts.hash(script)).arg(1).arg(&self.base);
            for op in ops {
                debug_assert_eq!(script_of(op), script, "one script carries all of them out");
                call.operation(op);
            }
        }
        self.command.write_packed_command(out);
    }

    /// Appends the command that looks for keys of a wrong type.
    pub fn inspect(&mut self, key: Option<&Key>, out: &mut Vec<u8>) {
        self.command.clear();
        let mut call = Call(&mut self.command);
        call.arg("EVALSHA").arg(self.scripts.hash(Script::Inspect)).arg(1).arg(&self.base);
        if let Some(key) = key {
            call.key(key);
        }
        self.command.write_packed_command(out);
    }
}

/// What the names of all keys begin with. The braces make Redis Cluster keep them together.
#[must_use]
pub fn base(prefix: &str, tag: u32) -> String {
    format!("{prefix}:{{{tag}}}:")
}

/// Kinds of operations of which one call of a script carries out many. Its reply has a part for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Together {
    /// [`Op::Append`].
    Appends,
    /// [`Op::Remove`].
    Removals,
}

impl Together {
    /// The kind of an operation, if it goes together with others.
    #[must_use]
    pub fn of(op: &Op) -> Option<Self> {
        match script_of(op) {
            Script::Append => Some(Self::Appends),
            Script::Remove => Some(Self::Removals),
            Script::Load
            | Script::Retry
            | Script::Bury
            | Script::Expire
            | Script::Renew
            | Script::Claim
            | Script::Release
            | Script::DeadList
            | Script::DeadRequeue
            | Script::DeadPurge
            | Script::QueueKeys
            | Script::QueueMessages
            | Script::QueuePurge
            | Script::Totals
            | Script::Find
            | Script::SessionPut
            | Script::SessionGet
            | Script::Inspect => None,
        }
    }
}

/// The script that carries an operation out. Those on devices need none; what is called for them is
/// never sent.
fn script_of(op: &Op) -> Script {
    match op {
        Op::Append(_) => Script::Append,
        Op::Load { .. } => Script::Load,
        Op::Remove { .. } => Script::Remove,
        Op::Retry { .. } => Script::Retry,
        Op::Bury { .. } => Script::Bury,
        Op::Expire { .. } => Script::Expire,
        Op::Claim(ClaimOp::Renew { .. }) => Script::Renew,
        Op::Claim(ClaimOp::Claim { .. }) => Script::Claim,
        Op::Claim(ClaimOp::Release { .. }) => Script::Release,
        Op::Dead(DeadOp::List { .. }) => Script::DeadList,
        Op::Dead(DeadOp::Requeue { .. }) => Script::DeadRequeue,
        Op::Dead(DeadOp::Purge { .. } | DeadOp::Trim { .. }) => Script::DeadPurge,
        Op::Queue(QueueOp::Keys { .. }) => Script::QueueKeys,
        Op::Queue(QueueOp::Messages { .. }) => Script::QueueMessages,
        Op::Queue(QueueOp::Purge { .. }) => Script::QueuePurge,
        Op::Queue(QueueOp::Totals) | Op::Device(_) => Script::Totals,
        Op::Find { .. } => Script::Find,
        Op::Session(SessionOp::Put { .. }) => Script::SessionPut,
        Op::Session(SessionOp::Get { .. }) => Script::SessionGet,
    }
}

/// The arguments of a command.
struct Call<'a>(&'a mut Cmd);

impl Call<'_> {
    fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.0.arg(arg);
        self
    }

    fn key(&mut self, key: &Key) -> &mut Self {
        self.arg(key.as_bytes())
    }

    fn id(&mut self, id: MessageId) -> &mut Self {
        self.arg(&id_bytes(id)[..])
    }

    fn ids(&mut self, ids: &[MessageId]) {
        for id in ids {
            self.id(*id);
        }
    }

    /// A time that is kept.
    fn kept(&mut self, time: Time) -> &mut Self {
        self.arg(&time.as_micros().to_be_bytes()[..])
    }

    /// A time that is compared.
    fn time(&mut self, time: Time) -> &mut Self {
        self.arg(time.as_micros())
    }

    /// A time that orders.
    fn score(&mut self, time: Time) -> &mut Self {
        if time.as_micros() > LAST_SCORE { self.arg("inf") } else { self.time(time) }
    }

    fn node(&mut self, node: &Node) -> &mut Self {
        self.arg(node_bytes(node))
    }

    fn epoch(&mut self, epoch: u64) -> &mut Self {
        self.arg(&epoch.to_be_bytes()[..])
    }

    fn operation(&mut self, op: &Op) {
        match op {
            Op::Append(append) => self.append(append),
            Op::Load { key, max_messages, max_bytes } => {
                self.key(key).arg(max_messages).arg(max_bytes);
            }
            Op::Remove { key, ids } => {
                let ids: Vec<u8> = ids.iter().flat_map(|id| id_bytes(*id)).collect();
                self.key(key).arg(ids);
            }
            Op::Retry { key, retries, epoch } => {
                self.key(key).epoch(*epoch);
                retries.iter().for_each(|retry| self.retry(retry));
            }
            Op::Bury { key, ids, reason, at, epoch } => {
                self.key(key).time(*at).kept(*at).arg(reason_mark(*reason));
                self.epoch(*epoch).ids(ids);
            }
            Op::Expire { now, after, limit } => {
                self.score(*now).arg(limit);
                if let Some(after) = after {
                    self.score(after.expires_at).id(after.id);
                }
            }
            Op::Claim(op) => self.claim(op),
            Op::Dead(op) => self.dead(op),
            Op::Queue(op) => self.queue(op),
            Op::Find { key, target, now } => match target {
                Target::Id(id) => {
                    self.key(key).id(*id);
                }
                Target::Name(name) => {
                    self.key(key).arg(name_field(key, name)).time(*now);
                }
            },
            Op::Session(SessionOp::Put { session, now }) => {
                let Session { id, expires_at, .. } = session;
                self.arg(&**id).score(*expires_at).arg(session_bytes(session)).time(*now);
            }
            Op::Session(SessionOp::Get { id, now: _ }) => {
                self.arg(&**id);
            }
            Op::Device(_) => {}
        }
    }

    fn append(&mut self, append: &Append) {
        let Append { key, id, payload, accepted_at, expires_at, .. } = append;
        let times = [accepted_at, expires_at].map(|time| time.as_micros().to_be_bytes());
        self.key(key).id(*id).arg([times.as_flattened(), payload].concat());
        self.score(*expires_at).epoch(append.epoch).arg(append.limit).arg(details(append));
    }

    fn retry(&mut self, retry: &Retry) {
        let mut history = [0; 12];
        history[..4].copy_from_slice(&retry.tries.to_be_bytes());
        history[4..].copy_from_slice(&retry.not_before.as_micros().to_be_bytes());
        self.id(retry.id).arg(&history[..]);
    }

    fn claim(&mut self, op: &ClaimOp) {
        match op {
            ClaimOp::Renew { node, now, until } => {
                self.node(node).time(*now).arg(until.since(*now).as_micros())
            }
            ClaimOp::Claim { key, node, manner, now } => {
                let manner = match manner {
                    Manner::Take => "take",
                    Manner::Keep => "keep",
                };
                self.key(key).node(node).time(*now).arg(manner)
            }
            ClaimOp::Release { key, epoch } => self.key(key).epoch(*epoch),
        };
    }

    fn dead(&mut self, op: &DeadOp) {
        match op {
            DeadOp::List { filter, after, limit } => self.arg(limit).filter(filter, *after),
            DeadOp::Requeue { key, ids, expires_at } => {
                self.key(key).kept(*expires_at).score(*expires_at).ids(ids);
            }
            DeadOp::Purge { filter, limit } => self.arg(limit).arg("").filter(filter, None),
            DeadOp::Trim { keep, limit } => {
                self.arg(limit).arg(keep).filter(&DeadFilter::default(), None);
            }
        }
    }

    /// Marks of what a filter has, and that.
    fn filter(&mut self, filter: &DeadFilter, after: Option<DeadCursor>) {
        let DeadFilter { key, reason, until, id } = filter;
        let marks = [
            key.is_some().then_some('k'),
            reason.is_some().then_some('r'),
            until.is_some().then_some('u'),
            id.is_some().then_some('i'),
            after.is_some().then_some('a'),
        ];
        self.arg(marks.into_iter().flatten().collect::<String>());
        key.iter().for_each(|key| {
            self.key(key);
        });
        reason.iter().for_each(|reason| {
            self.arg(reason_mark(*reason));
        });
        until.iter().for_each(|until| {
            self.score(*until);
        });
        id.iter().for_each(|id| {
            self.id(*id);
        });
        after.iter().for_each(|after| {
            self.score(after.at).id(after.id);
        });
    }

    fn queue(&mut self, op: &QueueOp) {
        match op {
            QueueOp::Keys { prefix, after, limit } => {
                let (prefix, after) = (prefix.as_bytes(), after.as_ref().map(|key| key.as_bytes()));
                match after {
                    Some(after) if after >= prefix => self.arg(bound(b'(', after, b"")),
                    Some(_) | None => self.arg(bound(b'[', prefix, b"")),
                };
                // No text has the byte that ends the range.
                self.arg(bound(b'(', prefix, b"\xff")).arg(limit);
            }
            QueueOp::Messages { key, after, max_messages, max_bytes } => {
                let after = after.map_or("-inf".to_owned(), |after| format!("({after}"));
                self.key(key).arg(after).arg(max_messages).arg(max_bytes);
            }
            QueueOp::Purge { key, ids, spare, limit } => {
                self.key(key).arg(limit).arg(spare.len()).ids(spare);
                self.ids(ids);
            }
            QueueOp::Totals => {}
        }
    }

    fn device(&mut self, op: &DeviceOp, incarnation: u32) {
        match op {
            DeviceOp::Link { device, conn } => {
                let place = format!("{incarnation}/{conn}");
                self.arg("HSET").arg(DEVICE_LINKS).arg(&**device).arg(place)
            }
            DeviceOp::Unlink { device, conn } => {
                let place = format!("{incarnation}/{conn}");
                self.arg("EVAL").arg(UNLINK).arg(1).arg(DEVICE_LINKS).arg(&**device).arg(place)
            }
            DeviceOp::Log { device: _, entry, limit: _ } => {
                self.arg("LPUSH").arg(DEVICE_LOG).arg(&**entry)
            }
            DeviceOp::Read { .. } | DeviceOp::Drop { .. } => {
                unreachable!("the device log in Redis is drained beside the gateway")
            }
        };
    }
}

/// An id as it is kept: in this form ids sort as they should.
fn id_bytes(id: MessageId) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&id.incarnation.to_be_bytes());
    bytes[4..].copy_from_slice(&id.counter.to_be_bytes());
    bytes
}

/// A node as it is kept.
fn node_bytes(node: &Node) -> Vec<u8> {
    let mut bytes = node.incarnation.to_be_bytes().to_vec();
    bytes.extend_from_slice(node.name.as_bytes());
    bytes
}

/// The channel on which a node is told what others have done.
#[must_use]
pub fn channel(prefix: &str, node: &Node) -> Vec<u8> {
    [prefix.as_bytes(), b":node:", &node_bytes(node)].concat()
}

/// The field of a back end's name for a push: the key's length, the key, the name.
fn name_field(key: &Key, name: &str) -> Vec<u8> {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let mut field = length.to_be_bytes().to_vec();
    field.extend_from_slice(key.as_bytes());
    field.extend_from_slice(name.as_bytes());
    field
}

/// What is seldom looked at of a message to keep.
fn details(append: &Append) -> Vec<u8> {
    let mut bytes = promise_mark(append.promise).as_bytes().to_vec();
    bytes.push(if append.merge_within.is_some() { b'm' } else { b'-' });
    let span = append.merge_within.map_or(0, Span::as_micros);
    bytes.extend_from_slice(&span.to_be_bytes());
    bytes.extend_from_slice(&append.spare.to_be_bytes());
    bytes.push(if append.window_end.is_some() { b'w' } else { b'-' });
    bytes.extend_from_slice(&append.window_end.map_or([0; 12], id_bytes));
    if let Some(idempotency) = &append.idempotency {
        let over = append.accepted_at + idempotency.window;
        bytes.extend_from_slice(&over.as_micros().to_be_bytes());
        bytes.extend_from_slice(&name_field(&append.key, &idempotency.name));
    }
    bytes
}

/// A session as it is kept: end, applied operations, deaths seen, the key's length, key, context.
fn session_bytes(session: &Session) -> Vec<u8> {
    let Session { id: _, key, context, applied, deaths_seen, expires_at } = session;
    let mut bytes = expires_at.as_micros().to_be_bytes().to_vec();
    bytes.extend_from_slice(&applied.to_be_bytes());
    bytes.extend_from_slice(&deaths_seen.to_be_bytes());
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(key.as_bytes());
    bytes.extend_from_slice(context.as_bytes());
    bytes
}

/// A bound in the order of texts.
fn bound(kind: u8, text: &[u8], end: &[u8]) -> Vec<u8> {
    [&[kind], text, end].concat()
}

fn reason_mark(reason: DeathReason) -> &'static str {
    match reason {
        DeathReason::Tries => "1",
        DeathReason::Ttl => "2",
        DeathReason::Limit => "3",
    }
}

fn promise_mark(promise: Promise) -> &'static str {
    match promise {
        Promise::Ok => "o",
        Promise::Queued => "q",
    }
}
