//! What the event loop counts about itself and its gateway: plain integers, one thread, no locks.
//!
//! Records that exist at every level of detail are counted as they pass; replies, messages and
//! answers of the store where they are carried out. Of the store's operations the first of a turn
//! is timed, unless one is being timed: a sample that costs a comparison for each answer.

use std::time::{Duration, Instant};
use steadfast_core::command::Reply;
use steadfast_core::event::{CloseCause, ConnEvent, Event};
use steadfast_core::id::OpId;
use steadfast_core::record::{
    ConnRecord, DeathReason, DeliveryRecord, LinkRecord, PushRecord, Record, SessionOrigin,
    StoreRecord,
};
use steadfast_core::store::Answer;

/// The upper ends of the classes of durations, in microseconds; one more class takes the rest.
pub const BOUNDS: [u64; 9] = [50, 250, 1_000, 5_000, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];

/// Durations by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many there were of each class.
    pub classes: [u64; BOUNDS.len() + 1],
    /// Their sum in microseconds.
    pub sum_micros: u64,
}

/// What has happened since the reactor began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Pushes answered `ok`.
    pub pushes_ok: u64,
    /// Pushes answered `queued`.
    pub pushes_queued: u64,
    /// Pushes answered `fail`.
    pub pushes_failed: u64,
    /// Pushes merged with the last waiting message.
    pub pushes_merged: u64,
    /// Pushes that were duplicates.
    pub pushes_duplicate: u64,
    /// Lines and requests that were not understood or not accepted.
    pub pushes_refused: u64,
    /// How often a back end was read no further.
    pub pushers_paused: u64,
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections that ended, by who ended them.
    pub closed: Closed,
    /// Connections that came to a key.
    pub bound: u64,
    /// Keys taken over by a newer connection.
    pub taken_over: u64,
    /// Keys taken over by a connection on another node.
    pub taken_elsewhere: u64,
    /// What other nodes did with this node's keys, as the store told it.
    pub notices: u64,
    /// How often the lease was lost.
    pub leases_lost: u64,
    /// Whether the lease holds, where one is needed and was asked for.
    pub holds_lease: Option<bool>,
    /// Messages from clients.
    pub messages_in: u64,
    /// Messages to clients, answers and redeliveries included.
    pub messages_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// What the link protocol came to.
    pub links: Links,
    /// Messages that had waited and were written.
    pub delivered_later: u64,
    /// Tries that failed.
    pub tries_failed: u64,
    /// Messages that died, by reason: tries, ttl, limit.
    pub died: [u64; 3],
    /// Dead letters withdrawn by a late confirm.
    pub withdrawn: u64,
    /// Dead letters that wait again.
    pub requeued: u64,
    /// Waiting messages that operators dropped.
    pub queue_purged: u64,
    /// Dead letters that operators dropped.
    pub dead_purged: u64,
    /// Dead letters dropped for `dead_keep` or `dead_limit`.
    pub dead_dropped: u64,
    /// Device logs that are stored.
    pub device_logs_kept: u64,
    /// Device logs that are not known to be.
    pub device_logs_failed: u64,
    /// Device logs that were taken through the admin port.
    pub device_logs_taken: u64,
    /// Storage operations answered.
    pub store_answers: u64,
    /// Storage operations that failed.
    pub store_failures: u64,
    /// Storage operations that were not answered in time.
    pub store_timeouts: u64,
    /// Storage operations tried again.
    pub store_retries: u64,
    /// When the last storage operation failed or was late, and how.
    pub store_trouble: Option<(Instant, String)>,
    /// A sample of the times that storage operations take.
    pub store_times: Durations,
    /// What turns of the loop take, waiting for sockets not included.
    pub turn_times: Durations,
    /// Deadlines served over a second late.
    pub stalls: u64,
    /// The operation being timed.
    timed: Option<(OpId, Instant)>,
    /// Whether one was timed in this turn.
    sampled: bool,
}

/// What became of link clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Links {
    /// Clients welcomed with a session of their own: they had asked for none.
    pub fresh: u64,
    /// Clients welcomed with the session they had asked for.
    pub resumed: u64,
    /// Clients welcomed with a new session, because theirs had expired or was unknown.
    pub replaced: u64,
    /// Clients told that messages were lost while they were away.
    pub lost: u64,
    /// Connections closed because an acknowledgement did not come.
    pub ack_overdue: u64,
    /// Connections closed for a text that was no frame or not in its place.
    pub bad_frames: u64,
    /// Long-poll sessions that are open.
    pub polls_open: u64,
    /// Requests of long-polls.
    pub poll_requests: u64,
}

/// Connections that ended, by who ended them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Closed {
    /// The client, with or without a close frame.
    pub by_client: u64,
    /// The gateway, for silence or an overdue pong.
    pub overdue: u64,
    /// The gateway, for another reason.
    pub by_gateway: u64,
    /// Neither: the network, or a broken protocol.
    pub broken: u64,
}

impl Durations {
    /// Counts one.
    pub(super) fn count(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let class = BOUNDS.iter().position(|bound| micros <= *bound).unwrap_or(BOUNDS.len());
        self.classes[class] += 1;
        self.sum_micros = self.sum_micros.saturating_add(micros);
    }
}

impl Figures {
    /// Counts an event on its way to the machine.
    #[inline]
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Connection(_, ConnEvent::Accepted) => self.accepted += 1,
            Event::Connection(_, ConnEvent::TextReceived(_) | ConnEvent::BinaryReceived(_)) => {
                self.messages_in += 1;
            }
            Event::Answered(op, answer) => self.answered(*op, answer),
            Event::Noticed(_) => self.notices += 1,
            Event::Connection(..)
            | Event::Pusher(..)
            | Event::Operator(..)
            | Event::DeadlineReached
            | Event::ShutdownRequested => {}
        }
    }

    fn answered(&mut self, op: OpId, _answer: &Answer) {
        self.store_answers += 1;
        if let Some((timed, since)) = self.timed
            && timed == op
        {
            self.store_times.count(since.elapsed());
            self.timed = None;
        }
    }

    /// A turn of the loop is over, which took this long.
    pub(super) fn turn_ended(&mut self, took: Duration) {
        self.turn_times.count(took);
        self.sampled = false;
    }

    /// Times an operation, unless another is being timed or was in this turn.
    #[inline]
    pub(super) fn submitted(&mut self, op: OpId) {
        if self.timed.is_none() && !self.sampled {
            self.sampled = true;
            self.timed = Some((op, Instant::now()));
        }
    }

    /// Counts a reply to a push.
    #[inline]
    pub(super) fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Ok(_) => self.pushes_ok += 1,
            Reply::Queued(_) => self.pushes_queued += 1,
            Reply::Fail(_) => self.pushes_failed += 1,
        }
    }

    /// Counts what happened.
    #[inline]
    pub(super) fn record(&mut self, record: &Record) {
        match record {
            Record::Connection(_, record) => self.connection(record),
            Record::Push(_, record) => self.push(record),
            Record::Delivery(_, record) => self.delivery(record),
            Record::Store(op, record) => self.store(*op, record),
            Record::StaleId => {}
            Record::Late(_) => self.stalls += 1,
        }
    }

    fn connection(&mut self, record: &ConnRecord) {
        match record {
            ConnRecord::Bound { .. } => self.bound += 1,
            ConnRecord::TakenOver { .. } => self.taken_over += 1,
            ConnRecord::Link { record, .. } => self.link(record),
            ConnRecord::LogKept { .. } => self.device_logs_kept += 1,
            ConnRecord::LogNotKept { .. } => self.device_logs_failed += 1,
            ConnRecord::TakenElsewhere { .. } => self.taken_elsewhere += 1,
            ConnRecord::Closed { cause, close, .. } => {
                let count = match (close, cause) {
                    (Some(close), _) if close.is_forced() => &mut self.closed.overdue,
                    (Some(_), _) | (None, CloseCause::Commanded) => &mut self.closed.by_gateway,
                    (None, CloseCause::PeerClosed(_) | CloseCause::Eof | CloseCause::Http) => {
                        &mut self.closed.by_client
                    }
                    (
                        None,
                        CloseCause::Failed(_)
                        | CloseCause::ProtocolError { .. }
                        | CloseCause::BadUpgrade { .. },
                    ) => &mut self.closed.broken,
                };
                *count += 1;
            }
            ConnRecord::Received { .. }
            | ConnRecord::HeartbeatReceived { .. }
            | ConnRecord::HeartbeatAnswered { .. }
            | ConnRecord::BindRefused { .. }
            | ConnRecord::StandbyTookOver { .. }
            | ConnRecord::IdleTimedOut { .. }
            | ConnRecord::PongOverdue { .. }
            | ConnRecord::PongUnsupported { .. } => {}
        }
    }

    fn link(&mut self, record: &LinkRecord) {
        match record {
            LinkRecord::Welcomed { origin, missed, .. } => {
                let count = match origin {
                    SessionOrigin::Fresh => &mut self.links.fresh,
                    SessionOrigin::Resumed => &mut self.links.resumed,
                    SessionOrigin::Replaced => &mut self.links.replaced,
                };
                *count += 1;
                self.links.lost += u64::from(*missed > 0);
            }
            LinkRecord::AckOverdue { .. } => self.links.ack_overdue += 1,
            LinkRecord::BadFrame { .. } => self.links.bad_frames += 1,
            LinkRecord::OpsStored { .. } | LinkRecord::AckStray { .. } => {}
        }
    }

    fn push(&mut self, record: &PushRecord) {
        match record {
            PushRecord::Merged { .. } => self.pushes_merged += 1,
            PushRecord::Duplicate { .. } => self.pushes_duplicate += 1,
            PushRecord::Refused { .. } => self.pushes_refused += 1,
            PushRecord::Paused { .. } => self.pushers_paused += 1,
            PushRecord::Prepared { .. }
            | PushRecord::Ok { .. }
            | PushRecord::Missed { .. }
            | PushRecord::Queued { .. }
            | PushRecord::Failed { .. }
            | PushRecord::Unfinished { .. }
            | PushRecord::Resumed => {}
        }
    }

    fn delivery(&mut self, record: &DeliveryRecord) {
        match record {
            DeliveryRecord::Written { .. } => self.delivered_later += 1,
            DeliveryRecord::TryFailed { .. } => self.tries_failed += 1,
            DeliveryRecord::Died { reason, .. } => {
                let index = match reason {
                    DeathReason::Tries => 0,
                    DeathReason::Ttl => 1,
                    DeathReason::Limit => 2,
                };
                self.died[index] += 1;
            }
            DeliveryRecord::Withdrawn { count } => self.withdrawn += u64::from(*count),
            DeliveryRecord::Requeued { .. } => self.requeued += 1,
            DeliveryRecord::Purged { .. } => self.queue_purged += 1,
            DeliveryRecord::Confirmed { .. }
            | DeliveryRecord::Forgotten { .. }
            | DeliveryRecord::RemovalsBehind { .. } => {}
        }
    }

    fn store(&mut self, op: OpId, record: &StoreRecord) {
        match record {
            StoreRecord::Failed { error, .. } => {
                self.store_failures += 1;
                self.store_trouble = Some((Instant::now(), error.clone()));
            }
            StoreRecord::TimedOut { .. } => {
                self.store_timeouts += 1;
                let late = "an operation was not answered in time".to_owned();
                self.store_trouble = Some((Instant::now(), late));
                if self.timed.is_some_and(|(timed, _)| timed == op) {
                    self.timed = None;
                }
            }
            StoreRecord::Retried { .. } => self.store_retries += 1,
            StoreRecord::DeadDropped { count } => self.dead_dropped += count,
            StoreRecord::DeadPurged { count } => self.dead_purged += count,
            StoreRecord::DeviceLogTaken { count } => self.device_logs_taken += count,
            StoreRecord::LeaseLost => {
                self.leases_lost += 1;
                self.holds_lease = Some(false);
            }
            StoreRecord::LeaseHeld => self.holds_lease = Some(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_class() {
        let mut durations = Durations::default();
        for micros in [0, 50, 51, 250, 5_000_000, 5_000_001] {
            durations.count(Duration::from_micros(micros));
        }
        assert_eq!(durations.classes, [2, 2, 0, 0, 0, 0, 0, 0, 1, 1]);
        assert_eq!(durations.sum_micros, 10_000_352);
    }

    #[test]
    fn one_operation_at_a_time_is_timed() {
        let op = |slot| OpId { slot, generation: 0 };
        let mut figures = Figures::default();
        figures.submitted(op(1));
        figures.submitted(op(2));
        figures.event(&Event::Answered(op(2), Answer::Retried));
        assert_eq!(figures.store_times.classes.iter().sum::<u64>(), 0);
        figures.event(&Event::Answered(op(1), Answer::Retried));
        figures.submitted(op(3));
        assert!(figures.timed.is_none(), "one a turn");
        figures.turn_ended(Duration::ZERO);
        figures.submitted(op(3));
        figures.record(&Record::Store(op(3), StoreRecord::TimedOut { kind: "load", key: None }));
        assert_eq!(figures.store_times.classes.iter().sum::<u64>(), 1);
        assert_eq!((figures.store_answers, figures.store_timeouts), (2, 1));
        assert!(figures.timed.is_none());
    }
}
