//! Gateways that are broken on purpose: each must be caught, by the right oracle and soon.
//!
//! Some are broken inside, where the core has a place for it ([`Broken`]); the others by what is done
//! to events on their way in and to commands on their way out. The judge sees the events as they were
//! and the commands as they came out, so that core and tampering together are one broken gateway.

#![allow(clippy::wildcard_enum_match_arm, reason = "each match picks out what it is about")]
#![allow(clippy::collapsible_match, reason = "a guard that counts hides that it does")]

use crate::oracle::Oracle;
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::BTreeMap;
use steadfast_core::command::{Command, FailReason, Reply};
use steadfast_core::config::Config;
use steadfast_core::event::{ConnEvent, Event, PushRequest, PusherEvent};
use steadfast_core::id::{ConnId, Key, MessageId};
use steadfast_core::link::LinkConfig;
use steadfast_core::record::{DeliveryRecord, PushRecord, Record};
use steadfast_core::sabotage::Sabotage as Broken;
use steadfast_core::store::{Answer, DeviceOp, Op, Session, SessionOp};
use steadfast_core::time::Span;

/// How an acknowledgement begins, and a message for a link.
const ACK: &str = r#"{"type":"ack","id":""#;
const MESSAGE: &[u8] = br#"{"type":"message","id":""#;

/// One way to be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Inside the core.
    Core(Broken),
    /// A message goes to another open connection now and then.
    Neighbour,
    /// A pong with any counter is taken for the one that is awaited.
    AnyPong,
    /// What was written counts as confirmed.
    ConfirmOnWrite,
    /// What a connection leaves unconfirmed is forgotten.
    ForgetOnClose,
    /// One message more may wait than is allowed.
    LimitOffByOne,
    /// A push is merged with one that is being delivered.
    MergeOnline,
    /// What is being delivered is evicted for its number.
    EvictWindow,
    /// Idle connections are closed twice as late.
    IdleTwiceLate,
    /// Idle connections are closed after half the time.
    IdleHalf,
    /// One message more is in flight than is allowed.
    WindowOffByOne,
    /// A message dies one try too early.
    OneTryLess,
    /// Messages die at half their time to live.
    TtlHalf,
    /// A push whose storage failed is promised.
    FailIsOk,
    /// One in many replies is not given.
    ReplyLost,
    /// What a load returns is written in reverse.
    LoadReversed,
    /// Deaths are not recorded.
    SilentDeath,
    /// Misses are not recorded.
    SilentMiss,
    /// What a load under way returns is evicted for its number.
    EvictLoaded,
    /// Heartbeats are answered twice now and then.
    AnswerTwice,
    /// Old dead letters are dropped, and more than there are to drop.
    PurgeAll,
    /// An acknowledgement confirms the newest message instead of its own.
    AckNewest,
    /// A session is kept without counting its last op, which is applied again when it is resumed.
    OpUncounted,
    /// A client is given the newest session of its key and not its own.
    OthersSession,
    /// Sessions are not found.
    SessionForgotten,
    /// Nobody is told of losses.
    LossUntold,
    /// Links do not know what their applications have had.
    SeenForgotten,
    /// Links come back too soon.
    LinkHasty,
    /// Links give up by themselves.
    LinkGivesUp,
    /// A gateway does not hear what others store for its keys, and does not look for it either.
    LostWake,
    /// What a device uploads is logged as another's.
    OthersLog,
    /// One entry more is dropped from the device log than was taken.
    LogOffByOne,
    /// What a back end says of how long its push may wait is not heard.
    TtlIgnored,
    /// The consumer of the device log removes entries before they are synced.
    RemovedBeforeSync,
}

impl Sabotage {
    /// All of them, with the oracles any of which must catch it, and within how many seeds.
    pub const ALL: &[(Self, &[Oracle], u64)] = &[
        (Self::Core(Broken::AppendForgotten), &[Oracle::Delivery, Oracle::Order], 100),
        (
            Self::Core(Broken::MergeWhileRemoving),
            &[Oracle::Confirmation, Oracle::Conservation],
            300,
        ),
        (Self::Core(Broken::HeldNotCounted), &[Oracle::Memory], 300),
        (Self::Core(Broken::StaleCloseErases), &[Oracle::Delivery, Oracle::Records], 100),
        (Self::Core(Broken::TakeoverForgets), &[Oracle::Confirmation, Oracle::Conservation], 100),
        (Self::Neighbour, &[Oracle::CrossTalk], 10),
        (Self::AnyPong, &[Oracle::Confirmation], 200),
        (Self::ConfirmOnWrite, &[Oracle::Confirmation], 10),
        (Self::ForgetOnClose, &[Oracle::Confirmation, Oracle::Conservation], 50),
        (Self::LimitOffByOne, &[Oracle::Memory], 10),
        (Self::MergeOnline, &[Oracle::Conservation], 10),
        (Self::EvictWindow, &[Oracle::Death], 100),
        (Self::IdleTwiceLate, &[Oracle::Idleness], 20),
        (Self::IdleHalf, &[Oracle::Idleness], 20),
        (Self::WindowOffByOne, &[Oracle::Memory], 50),
        (Self::OneTryLess, &[Oracle::Death], 50),
        (Self::TtlHalf, &[Oracle::Death], 10),
        (Self::FailIsOk, &[Oracle::Reply], 100),
        (Self::ReplyLost, &[Oracle::Reply], 10),
        (Self::LoadReversed, &[Oracle::Order, Oracle::Clean], 20),
        (Self::SilentDeath, &[Oracle::Records], 10),
        (Self::SilentMiss, &[Oracle::Records], 10),
        (Self::Core(Broken::RemovalGivenUp), &[Oracle::Conservation, Oracle::Confirmation], 50),
        (Self::EvictLoaded, &[Oracle::Death], 100),
        (Self::AnswerTwice, &[Oracle::Heartbeat], 10),
        (Self::PurgeAll, &[Oracle::Conservation], 10),
        (Self::AckNewest, &[Oracle::Confirmation], 50),
        (Self::OpUncounted, &[Oracle::Session], 20),
        (Self::OthersSession, &[Oracle::Session], 100),
        (Self::SessionForgotten, &[Oracle::Session], 50),
        (Self::LossUntold, &[Oracle::Session], 100),
        (Self::SeenForgotten, &[Oracle::Once], 50),
        (Self::LinkHasty, &[Oracle::Link], 50),
        (Self::LinkGivesUp, &[Oracle::Link], 50),
        (Self::Core(Broken::UploadUnstored), &[Oracle::Records, Oracle::Devices], 50),
        (Self::Core(Broken::StandbyUnnoted), &[Oracle::Records, Oracle::Devices], 50),
        (Self::Core(Broken::PongsOutliveName), &[Oracle::Tables, Oracle::Confirmation], 500),
        (Self::OthersLog, &[Oracle::Devices], 50),
        (Self::LogOffByOne, &[Oracle::Devices], 100),
        (Self::TtlIgnored, &[Oracle::Death], 10),
    ];

    /// Those of gateways that share a store, with the same, for the worlds with real bytes.
    pub const SHARED: &[(Self, &[Oracle], u64)] = &[
        (Self::LostWake, &[Oracle::Delivery, Oracle::Death], 100),
        (Self::Core(Broken::ServesTaken), &[Oracle::Claims], 100),
        (Self::Core(Broken::WindowKept), &[Oracle::Confirmation], 100),
        (Self::RemovedBeforeSync, &[Oracle::Devices], 100),
    ];

    /// The sabotage's name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Core(broken) => format!("{broken:?}"),
            other => format!("{other:?}"),
        }
    }

    /// What is broken inside the core.
    #[must_use]
    pub fn inside(self) -> Option<Broken> {
        match self {
            Self::Core(broken) => Some(broken),
            _ => None,
        }
    }

    /// Settings that the gateway gets wrong.
    pub(crate) fn settings(self, config: &mut Config) {
        match self {
            Self::IdleTwiceLate => config.idle_timeout = config.idle_timeout.times(2),
            Self::IdleHalf => config.idle_timeout = config.idle_timeout.divided_by(2),
            Self::WindowOffByOne => config.window_messages += 1,
            Self::OneTryLess => config.retry_max = config.retry_max.saturating_sub(1).max(1),
            Self::TtlHalf => config.ttl = config.ttl.divided_by(2),
            Self::LimitOffByOne => config.mailbox_limit += 1,
            Self::PurgeAll => config.dead_limit = 0,
            _ => {}
        }
    }

    /// Settings that links get wrong.
    pub(crate) fn link_settings(self, config: &mut LinkConfig) {
        match self {
            Self::SeenForgotten => config.seen_max = 0,
            Self::LinkHasty => config.delays.min = Span::from_millis(100),
            Self::LinkGivesUp => config.delays.max_attempts = Some(1),
            _ => {}
        }
    }
}

/// What tampers with events and commands.
#[derive(Debug, Default)]
pub(crate) struct Tamper {
    /// The last ping of each connection.
    pings: BTreeMap<ConnId, u64>,
    /// A connection that was written to.
    other: Option<ConnId>,
    /// The newest message of each connection of the link protocol.
    newest: BTreeMap<ConnId, ByteString>,
    /// The session of each key that was kept last.
    kept: BTreeMap<Key, Session>,
    /// The device that uploaded something last.
    device: Option<ByteString>,
    /// How many things were left alone.
    spared: u32,
}

impl Tamper {
    /// The event as the core is told it.
    pub(crate) fn event(&mut self, sabotage: Sabotage, event: &Event) -> Event {
        let mut event = event.clone();
        match (sabotage, &mut event) {
            (
                Sabotage::AnyPong,
                Event::Connection(id, ConnEvent::PongReceived(counter @ Some(_))),
            ) => *counter = self.pings.get(id).copied(),
            (
                Sabotage::TtlIgnored,
                Event::Pusher(_, PusherEvent::Requested(PushRequest { ttl, .. })),
            ) => *ttl = None,
            (Sabotage::LoadReversed, Event::Answered(_, Answer::Loaded(loaded))) => {
                loaded.messages.reverse();
            }
            (Sabotage::AckNewest, Event::Connection(id, ConnEvent::TextReceived(text))) => {
                if let Some(newest) = self.newest.get(id).filter(|_| text.starts_with(ACK)) {
                    *text = format!("{ACK}{newest}\"}}").into();
                }
            }
            (Sabotage::OthersSession, Event::Answered(_, Answer::SessionFound(Some(session)))) => {
                if let Some(other) = self.kept.get(&session.key) {
                    let expires_at = session.expires_at;
                    *session = Session { expires_at, ..other.clone() };
                }
            }
            (Sabotage::SessionForgotten, Event::Answered(_, Answer::SessionFound(found))) => {
                *found = None;
            }
            _ => {}
        }
        event
    }

    /// One in so many.
    fn now_and_then(&mut self, every: u32) -> bool {
        self.spared += 1;
        self.spared.is_multiple_of(every)
    }

    /// The commands as they come out, and what more the core is told.
    pub(crate) fn commands(
        &mut self,
        sabotage: Sabotage,
        commands: &mut Vec<Command>,
    ) -> Vec<Event> {
        let mut told = Vec::new();
        for command in commands.iter() {
            if let Command::Ping { conn, counter } = command {
                self.pings.insert(*conn, *counter);
                if sabotage == Sabotage::ConfirmOnWrite {
                    let pong = ConnEvent::PongReceived(Some(*counter));
                    told.push(Event::Connection(*conn, pong));
                }
            }
            self.note_link(command);
            if let Command::Close { conn, .. } = command
                && self.other == Some(*conn)
            {
                self.other = None;
            }
        }
        match sabotage {
            Sabotage::ReplyLost => commands.retain(|command| {
                !matches!(command, Command::Reply { .. }) || !self.now_and_then(20)
            }),
            Sabotage::SilentDeath => commands.retain(|command| {
                let Command::Record(Record::Delivery(_, record)) = command else { return true };
                !matches!(record, DeliveryRecord::Died { .. })
            }),
            Sabotage::SilentMiss => commands.retain(|command| {
                let Command::Record(Record::Push(_, record)) = command else { return true };
                !matches!(record, PushRecord::Missed { .. })
            }),
            Sabotage::AnswerTwice => {
                let answer = |command: &&Command| match command {
                    Command::Send { payload, .. } => payload.starts_with(b"biu"),
                    _ => false,
                };
                let answer = commands.iter().find(answer).cloned();
                if let Some(answer) = answer.filter(|_| self.now_and_then(9)) {
                    commands.push(answer);
                }
            }
            _ => commands.iter_mut().for_each(|command| self.command(sabotage, command)),
        }
        told
    }

    /// Remembers what goes to connections of the link protocol, and what is kept of sessions.
    fn note_link(&mut self, command: &Command) {
        match command {
            Command::Send { conn, payload, .. } => {
                let id = payload
                    .strip_prefix(MESSAGE)
                    .and_then(|rest| rest.split(|b| *b == b'"').next());
                if let Some(id) = id {
                    self.newest.insert(*conn, String::from_utf8_lossy(id).into_owned().into());
                }
            }
            Command::Store { request: Op::Session(SessionOp::Put { session, .. }), .. } => {
                self.kept.insert(session.key.clone(), session.clone());
            }
            _ => {}
        }
    }

    fn command(&mut self, sabotage: Sabotage, command: &mut Command) {
        match (sabotage, command) {
            (Sabotage::Neighbour, Command::Send { conn, payload, .. }) => {
                let own = *conn;
                if is_push(payload)
                    && self.now_and_then(30)
                    && let Some(other) = self.other
                {
                    *conn = other;
                }
                self.other = Some(own);
            }
            (Sabotage::ForgetOnClose, Command::Store { request, .. }) => {
                if let Op::Retry { key, retries, epoch: _ } = request {
                    let ids = retries.iter().map(|retry| retry.id).collect();
                    *request = Op::Remove { key: key.clone(), ids };
                }
            }
            (Sabotage::MergeOnline, Command::Store { request: Op::Append(append), .. }) => {
                append.merge_within = Some(Span::from_secs(60));
            }
            (Sabotage::EvictWindow, Command::Store { request: Op::Append(append), .. }) => {
                (append.window_end, append.spare) = (None, 0);
            }
            (Sabotage::FailIsOk, Command::Reply { reply, .. }) => {
                if *reply == Reply::Fail(FailReason::NotStored) {
                    *reply = Reply::Queued(MessageId { incarnation: 1, counter: 1 });
                }
            }
            (
                Sabotage::OpUncounted,
                Command::Store { request: Op::Session(SessionOp::Put { session, .. }), .. },
            ) => session.applied = session.applied.saturating_sub(1),
            (Sabotage::LossUntold, Command::Send { payload, .. }) => {
                if payload.starts_with(br#"{"type":"welcome""#) {
                    let text = String::from_utf8_lossy(payload);
                    *payload = text.replace(r#""lost":true"#, r#""lost":false"#).into();
                }
            }
            (
                Sabotage::OthersLog,
                Command::Store { request: Op::Device(DeviceOp::Log { device, .. }), .. },
            ) => {
                let own = device.clone();
                if let Some(other) = self.device.replace(own) {
                    *device = other;
                }
            }
            (
                Sabotage::LogOffByOne,
                Command::Store { request: Op::Device(DeviceOp::Drop { through, .. }), .. },
            ) => *through += 1,
            (Sabotage::EvictLoaded, Command::Store { request: Op::Append(append), .. }) => {
                append.spare = 0;
            }
            _ => {}
        }
    }
}

/// Whether a text is a push and no answer.
fn is_push(payload: &Bytes) -> bool {
    crate::schedule::Push::serial_of(payload).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_many_and_each_once() {
        let mut names: Vec<_> =
            Sabotage::ALL.iter().map(|(sabotage, ..)| sabotage.name()).collect();
        assert!(names.len() >= 15);
        names.sort();
        names.dedup();
        assert_eq!(names.len(), Sabotage::ALL.len());
    }
}
