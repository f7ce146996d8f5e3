//! What occurred in worlds, by name: for the census.

use crate::schedule::{Delivered, Tier};
use std::collections::BTreeMap;
use steadfast_core::command::{Close, Command, LinkClose, Reply};
use steadfast_core::event::{ConnEvent, Event, PushRequest, PusherEvent};
use steadfast_core::link::{LinkCommand, LinkEvent, Report};
use steadfast_core::record::{
    ConnRecord, DeathReason, DeliveryRecord, LinkRecord, LogFailure, PushRecord, Record,
    SessionOrigin, StoreRecord,
};
use steadfast_core::store::{Answer, Appended, DeviceOp, Op};

/// How often each thing occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<&'static str, u64>,
}

/// Declares a function that names what a value is, and the list of all names.
macro_rules! names {
    ($list:ident, $function:ident($value:ident: &$type:ty) {
        $($name:literal => $pattern:pat,)+
    }) => {
        const $list: &[&str] = &[$($name),+];

        fn $function($value: &$type) -> &'static str {
            match $value {
                $($pattern => $name,)+
            }
        }
    };
}

names!(COMMANDS, command(value: &Command) {
    "command send" => Command::Send { .. },
    "command ping" => Command::Ping { .. },
    "command pong" => Command::Pong { .. },
    "command report drained" => Command::ReportDrained { .. },
    "command close" => Command::Close { .. },
    "command reply" => Command::Reply { .. },
    "command pause" => Command::Pause { .. },
    "command resume" => Command::Resume { .. },
    "command finish" => Command::Finish { .. },
    "command store" => Command::Store { .. },
    "command answer" => Command::Answer { .. },
    "command record" => Command::Record(_),
});

names!(DEVICE_OPS, device_op(value: &DeviceOp) {
    "device linked" => DeviceOp::Link { .. },
    "device unlinked" => DeviceOp::Unlink { .. },
    "device log appended" => DeviceOp::Log { .. },
    "device log read" => DeviceOp::Read { .. },
    "device log dropped" => DeviceOp::Drop { .. },
});

names!(CLOSES, close(value: &Close) {
    "close idle" => Close::Idle,
    "close pong overdue" => Close::PongOverdue,
    "close handshake overdue" => Close::HandshakeOverdue,
    "close key too long" => Close::KeyTooLong,
    "close key reserved" => Close::KeyReserved,
    "close kicked" => Close::Kicked,
    "close too many connections" => Close::TooManyConnections,
    "close going away" => Close::GoingAway,
    "close bye" => Close::Link(LinkClose::Bye),
    "close bad frame" => Close::Link(LinkClose::BadFrame),
    "close hello overdue" => Close::Link(LinkClose::HelloOverdue),
    "close ack overdue" => Close::Link(LinkClose::AckOverdue),
    "close context too large" => Close::Link(LinkClose::ContextTooLarge),
    "close op out of order" => Close::Link(LinkClose::OpOutOfOrder),
    "close session unavailable" => Close::Link(LinkClose::SessionUnavailable),
    "close session moved" => Close::Link(LinkClose::SessionMoved),
});

names!(REPLIES, reply(value: &Reply) {
    "reply ok" => Reply::Ok(_),
    "reply queued" => Reply::Queued(_),
    "reply fail" => Reply::Fail(_),
});

names!(CONN_RECORDS, conn_record(value: &ConnRecord) {
    "record received" => ConnRecord::Received { .. },
    "record heartbeat received" => ConnRecord::HeartbeatReceived { .. },
    "record heartbeat answered" => ConnRecord::HeartbeatAnswered { .. },
    "record bound" => ConnRecord::Bound { .. },
    "record bind refused" => ConnRecord::BindRefused { .. },
    "record taken over" => ConnRecord::TakenOver { .. },
    "record standby took over" => ConnRecord::StandbyTookOver { .. },
    "record taken elsewhere" => ConnRecord::TakenElsewhere { .. },
    "record idle timed out" => ConnRecord::IdleTimedOut { .. },
    "record pong overdue" => ConnRecord::PongOverdue { .. },
    "record pong unsupported" => ConnRecord::PongUnsupported { .. },
    "record session fresh" =>
        ConnRecord::Link { record: LinkRecord::Welcomed { origin: SessionOrigin::Fresh, .. }, .. },
    "record session resumed" =>
        ConnRecord::Link { record: LinkRecord::Welcomed { origin: SessionOrigin::Resumed, .. }, .. },
    "record session replaced" =>
        ConnRecord::Link { record: LinkRecord::Welcomed { origin: SessionOrigin::Replaced, .. }, .. },
    "record ops stored" => ConnRecord::Link { record: LinkRecord::OpsStored { .. }, .. },
    "record ack overdue" => ConnRecord::Link { record: LinkRecord::AckOverdue { .. }, .. },
    "record ack stray" => ConnRecord::Link { record: LinkRecord::AckStray { .. }, .. },
    "record bad frame" => ConnRecord::Link { record: LinkRecord::BadFrame { .. }, .. },
    "record log kept" => ConnRecord::LogKept { .. },
    "record log not kept" => ConnRecord::LogNotKept { reason: LogFailure::NotStored, .. },
    "record log full" => ConnRecord::LogNotKept { reason: LogFailure::Full, .. },
    "record log crowded" => ConnRecord::LogNotKept { reason: LogFailure::TooMany, .. },
    "record closed" => ConnRecord::Closed { .. },
});

names!(PUSH_RECORDS, push_record(value: &PushRecord) {
    "record prepared" => PushRecord::Prepared { .. },
    "record ok" => PushRecord::Ok { .. },
    "record missed" => PushRecord::Missed { .. },
    "record queued" => PushRecord::Queued { .. },
    "record merged" => PushRecord::Merged { .. },
    "record duplicate" => PushRecord::Duplicate { .. },
    "record failed" => PushRecord::Failed { .. },
    "record refused" => PushRecord::Refused { .. },
    "record unfinished" => PushRecord::Unfinished { .. },
    "record paused" => PushRecord::Paused { .. },
    "record resumed" => PushRecord::Resumed,
});

names!(DELIVERY_RECORDS, delivery_record(value: &DeliveryRecord) {
    "record written" => DeliveryRecord::Written { .. },
    "record confirmed" => DeliveryRecord::Confirmed { .. },
    "record try failed" => DeliveryRecord::TryFailed { .. },
    "record died of tries" => DeliveryRecord::Died { reason: DeathReason::Tries, .. },
    "record died of age" => DeliveryRecord::Died { reason: DeathReason::Ttl, .. },
    "record died of the limit" => DeliveryRecord::Died { reason: DeathReason::Limit, .. },
    "record withdrawn" => DeliveryRecord::Withdrawn { .. },
    "record forgotten" => DeliveryRecord::Forgotten { .. },
    "record requeued" => DeliveryRecord::Requeued { .. },
    "record purged" => DeliveryRecord::Purged { .. },
    "record removals behind" => DeliveryRecord::RemovalsBehind { .. },
});

names!(STORE_RECORDS, store_record(value: &StoreRecord) {
    "record store failed" => StoreRecord::Failed { .. },
    "record store timed out" => StoreRecord::TimedOut { .. },
    "record store retried" => StoreRecord::Retried { .. },
    "record dead purged" => StoreRecord::DeadPurged { .. },
    "record lease lost" => StoreRecord::LeaseLost,
    "record lease held" => StoreRecord::LeaseHeld,
    "record dead dropped" => StoreRecord::DeadDropped { .. },
    "record device log taken" => StoreRecord::DeviceLogTaken { .. },
});

names!(OTHER_RECORDS, other_record(value: &Record) {
    "record of a connection" => Record::Connection(..),
    "record of a push" => Record::Push(..),
    "record of a delivery" => Record::Delivery(..),
    "record of the store" => Record::Store(..),
    "record stale id" => Record::StaleId,
    "record late" => Record::Late(_),
});

names!(EVENTS, event(value: &Event) {
    "event accepted" => Event::Connection(_, ConnEvent::Accepted),
    "event upgraded" => Event::Connection(_, ConnEvent::Upgraded { .. }),
    "event text received" => Event::Connection(_, ConnEvent::TextReceived(_)),
    "event binary received" => Event::Connection(_, ConnEvent::BinaryReceived(_)),
    "event ping received" => Event::Connection(_, ConnEvent::PingReceived(_)),
    "event pong received" => Event::Connection(_, ConnEvent::PongReceived(_)),
    "event drained" => Event::Connection(_, ConnEvent::Drained),
    "event closed" => Event::Connection(_, ConnEvent::Closed(_)),
    "event pusher opened" => Event::Pusher(_, PusherEvent::Opened),
    "event line received" => Event::Pusher(_, PusherEvent::LineReceived(_)),
    "event line too long" => Event::Pusher(_, PusherEvent::LineTooLong { .. }),
    "event requested with a time to live" =>
        Event::Pusher(_, PusherEvent::Requested(PushRequest { ttl: Some(_), .. })),
    "event requested" => Event::Pusher(_, PusherEvent::Requested(_)),
    "event finished" => Event::Pusher(_, PusherEvent::Finished { .. }),
    "event pusher closed" => Event::Pusher(_, PusherEvent::Closed),
    "event merged" => Event::Answered(_, Answer::Appended(Appended::Merged { .. })),
    "event duplicate" => Event::Answered(_, Answer::Appended(Appended::Duplicate { .. })),
    "event conflict" => Event::Answered(_, Answer::Appended(Appended::Conflict)),
    "event stored elsewhere" => Event::Answered(_, Answer::Appended(Appended::Elsewhere { .. })),
    "event stored" => Event::Answered(_, Answer::Appended(Appended::Stored { .. })),
    "event answered" => Event::Answered(..),
    "event noticed" => Event::Noticed(_),
    "event operator" => Event::Operator(..),
    "event deadline reached" => Event::DeadlineReached,
    "event shutdown requested" => Event::ShutdownRequested,
});

names!(FAULTS, fault(value: &Delivered) {
    "fault partitioned" => Delivered::Partitioned,
    "fault partitioned one way" => Delivered::PartitionedOneWay,
    "fault held" => Delivered::Held,
    "fault vanished" => Delivered::Vanished,
    "fault left" => Delivered::Left,
    "fault reset by peer" => Delivered::ResetByPeer,
    "fault froze" => Delivered::Froze,
    "fault ping ignored" => Delivered::PingIgnored,
    "fault stray pong" => Delivered::StrayPonged,
    "fault read slowly" => Delivered::ReadSlowly,
    "fault poisoned" => Delivered::Poisoned,
    "fault stormed" => Delivered::Stormed,
    "fault upgrade failed" => Delivered::UpgradeFailed,
    "fault frame malformed" => Delivered::FrameMalformed,
    "fault line malformed" => Delivered::LineMalformed,
    "fault line unfinished" => Delivered::LineUnfinished,
    "fault takeover of half-open" => Delivered::TakeoverOfHalfOpen,
    "fault stale close" => Delivered::StaleClose,
    "fault store was slow" => Delivered::StoreWasSlow,
    "fault store failed" => Delivered::StoreFailed,
    "fault store was unclear" => Delivered::StoreWasUnclear,
    "fault store timed out" => Delivered::StoreTimedOut,
    "fault store was read-only" => Delivered::StoreWasReadOnly,
    "fault process crashed" => Delivered::ProcessCrashed,
    "fault machine crashed" => Delivered::MachineCrashed,
    "fault unsynced lost" => Delivered::UnsyncedLost,
    "fault unanswered kept" => Delivered::UnansweredKept,
    "fault clock went back" => Delivered::ClockWentBack,
    "fault stopped" => Delivered::Stopped,
    "fault stalled" => Delivered::Stalled,
    "fault leapt" => Delivered::Leapt,
    "fault reordered" => Delivered::Reordered,
    "fault chopped" => Delivered::Chopped,
    "fault redis cut off" => Delivered::RedisCutOff,
    "fault redis cut off one way" => Delivered::RedisCutOffOneWay,
    "fault redis crashed" => Delivered::RedisCrashed,
    "fault redis was loading" => Delivered::RedisWasLoading,
    "fault notices reset" => Delivered::NoticesReset,
    "fault posed" => Delivered::Posed,
    "fault consumer failed" => Delivered::ConsumerFailed,
});

names!(REPORTS, report(value: &Report) {
    "link told of losses" => Report::Welcomed { lost: true, .. },
    "link resumed" => Report::Welcomed { resumed: true, .. },
    "link begins anew" => Report::Welcomed { .. },
    "link ops confirmed" => Report::OpsConfirmed { .. },
    "link op refused" => Report::OpRefused,
    "link suspects" => Report::Suspect,
    "link told of an error" => Report::GatewayError { .. },
    "link refused" => Report::Refused { .. },
    "link gave up" => Report::GaveUp,
    "link waits" => Report::RetryIn(_),
});

/// What links do with messages.
const HANDED_OVER: &str = "link message handed over";
const SEEN_BEFORE: &str = "link message seen before";

/// What need not occur in any world, and why; what is named here and does occur is a mistake in this
/// table.
const EXEMPT: &[(&str, &str)] = &[
    ("close context too large", "the contexts of these worlds are small"),
    ("close op out of order", "links count their ops"),
    ("link op refused", "no link of these worlds has so many ops"),
    ("link gave up", "the links of these worlds go on for ever"),
];

/// The same for the worlds of the Direct tier.
const EXEMPT_DIRECT: &[(&str, &str)] = &[
    ("fault chopped", "the Direct tier has no bytes; the other tier chops them"),
    ("event stored elsewhere", "these worlds have one gateway"),
    ("event noticed", "these worlds have one gateway"),
    ("record taken elsewhere", "these worlds have one gateway"),
    ("record lease lost", "these worlds have one gateway"),
    ("record lease held", "these worlds have one gateway"),
    ("fault redis cut off", "no gateways share a store in this tier"),
    ("fault redis cut off one way", "no gateways share a store in this tier"),
    ("fault redis crashed", "no gateways share a store in this tier"),
    ("fault redis was loading", "no gateways share a store in this tier"),
    ("fault notices reset", "no gateways share a store in this tier"),
    ("fault consumer failed", "no gateways share a store in this tier"),
];

/// The same for the worlds of the Turmoil tier.
const EXEMPT_TURMOIL: &[(&str, &str)] = &[
    ("record requeued", "operators only take the device log in these worlds"),
    ("record purged", "operators only take the device log in these worlds"),
    ("record dead purged", "operators only take the device log in these worlds"),
];

/// What need not occur in the worlds of a tier, and why.
fn exempt(tier: Tier) -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    let own = match tier {
        Tier::Direct => EXEMPT_DIRECT,
        Tier::Turmoil => EXEMPT_TURMOIL,
    };
    EXEMPT.iter().chain(own)
}

impl Tally {
    /// Counts an event and what it led to.
    pub fn batch(&mut self, told: &Event, commands: &[Command]) {
        self.count(event(told));
        for given in commands {
            self.count(command(given));
            match given {
                Command::Close { close: why, .. } => self.count(close(why)),
                Command::Reply { reply: answer, .. } => self.count(reply(answer)),
                Command::Record(record) => self.record(record),
                Command::Store { request: Op::Device(op), .. } => self.count(device_op(op)),
                Command::Send { .. }
                | Command::Ping { .. }
                | Command::Pong { .. }
                | Command::ReportDrained { .. }
                | Command::Pause { .. }
                | Command::Resume { .. }
                | Command::Finish { .. }
                | Command::Store { .. }
                | Command::Answer { .. } => {}
            }
        }
    }

    /// Counts what a link was told and ordered.
    pub fn link(&mut self, told: &LinkEvent, commands: &[LinkCommand]) {
        let mut handed_over = false;
        for command in commands {
            match command {
                LinkCommand::Report(what) => self.count(report(what)),
                LinkCommand::Deliver { .. } => handed_over = true,
                LinkCommand::Open { .. }
                | LinkCommand::Send(..)
                | LinkCommand::Close(_)
                | LinkCommand::Save(_)
                | LinkCommand::StateChanged { .. } => {}
            }
        }
        if handed_over {
            self.count(HANDED_OVER);
        } else if let LinkEvent::TextReceived(_, text) = told
            && text.starts_with(r#"{"type":"message""#)
            && !commands.is_empty()
        {
            self.count(SEEN_BEFORE);
        }
    }

    fn record(&mut self, record: &Record) {
        self.count(other_record(record));
        match record {
            Record::Connection(_, record) => self.count(conn_record(record)),
            Record::Push(_, record) => self.count(push_record(record)),
            Record::Delivery(_, record) => self.count(delivery_record(record)),
            Record::Store(_, record) => self.count(store_record(record)),
            Record::StaleId | Record::Late(_) => {}
        }
    }

    /// Counts a fault that took effect.
    pub fn delivered(&mut self, what: Delivered) {
        self.count(fault(&what));
    }

    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }

    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.counts {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// Everything that can occur, and how often it did.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let lists = [
            EVENTS,
            COMMANDS,
            DEVICE_OPS,
            CLOSES,
            REPLIES,
            OTHER_RECORDS,
            CONN_RECORDS,
            PUSH_RECORDS,
            DELIVERY_RECORDS,
            STORE_RECORDS,
            FAULTS,
            REPORTS,
            &[HANDED_OVER, SEEN_BEFORE],
        ];
        let names = lists.into_iter().flatten().copied();
        names.map(|name| (name, self.counts.get(name).copied().unwrap_or(0)))
    }

    /// What is wrong with the census of a tier: what never occurred, and what occurred although it is
    /// said not to.
    #[must_use]
    pub fn gaps(&self, tier: Tier) -> Vec<String> {
        let exempt = |name| exempt(tier).find(|(other, _)| *other == name);
        let gaps = self.all().filter_map(|(name, count)| match (count, exempt(name)) {
            (0, None) => Some(format!("{name}: never occurred")),
            (1.., Some((_, why))) => Some(format!("{name}: occurred {count} times, but: {why}")),
            _ => None,
        });
        gaps.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_exemptions_holds_both_ways() {
        let mut tally = Tally::default();
        let gaps = tally.gaps(Tier::Direct);
        assert!(gaps.contains(&"command send: never occurred".to_owned()));
        assert!(!gaps.iter().any(|gap| gap.starts_with("fault chopped")));
        tally.delivered(Delivered::Chopped);
        let gaps = tally.gaps(Tier::Direct);
        assert!(gaps.iter().any(|gap| gap.starts_with("fault chopped: occurred 1 times")));
        let gaps = tally.gaps(Tier::Turmoil);
        assert!(!gaps.iter().any(|gap| gap.starts_with("fault chopped")));
    }

    #[test]
    fn every_exemption_names_something() {
        let names: Vec<_> = Tally::default().all().map(|(name, _)| name).collect();
        for (name, _) in exempt(Tier::Direct).chain(exempt(Tier::Turmoil)) {
            assert!(names.contains(name), "{name}");
        }
    }

    #[test]
    fn every_fault_has_a_name() {
        let names: Vec<_> = Delivered::ALL.iter().map(fault).collect();
        assert_eq!(names, FAULTS);
    }
}
