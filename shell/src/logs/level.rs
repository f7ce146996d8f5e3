//! How important each record is. The same levels stand in `docs/operations.md` and, for `tracing`,
//! in [`events`](super::events); a test holds the three together.

use crate::config::LogLevel;
use crate::journal::Trouble;
use steadfast_core::config::Detail;
use steadfast_core::record::{
    ConnRecord, DeliveryRecord, LinkRecord, PushRecord, Record, StoreRecord,
};

/// The level that has to be configured for the record to be logged.
#[must_use]
pub fn of(record: &Record) -> LogLevel {
    match record {
        Record::Connection(_, record) => of_connection(record),
        Record::Push(_, record) => of_push(record),
        Record::Delivery(_, record) => of_delivery(record),
        Record::Store(_, record) => of_store(record),
        Record::StaleId => LogLevel::Debug,
        Record::Late(_) => LogLevel::Warn,
    }
}

/// The level that has to be configured for the trouble to be logged.
#[must_use]
pub fn of_trouble(trouble: &Trouble) -> LogLevel {
    match trouble {
        Trouble::AcceptFailed { .. }
        | Trouble::RecordingStopped { .. }
        | Trouble::StoreFailing { .. } => LogLevel::Error,
        Trouble::StoreWorks { .. } | Trouble::StoreDoubtful { .. } => LogLevel::Warn,
    }
}

fn of_connection(record: &ConnRecord) -> LogLevel {
    match record {
        ConnRecord::HeartbeatReceived { .. } | ConnRecord::HeartbeatAnswered { .. } => {
            LogLevel::Debug
        }
        ConnRecord::Received { .. }
        | ConnRecord::Bound { .. }
        | ConnRecord::TakenOver { .. }
        | ConnRecord::StandbyTookOver { .. }
        | ConnRecord::TakenElsewhere { .. }
        | ConnRecord::IdleTimedOut { .. }
        | ConnRecord::PongOverdue { .. }
        | ConnRecord::PongUnsupported { .. }
        | ConnRecord::LogKept { .. }
        | ConnRecord::Closed { .. } => LogLevel::Info,
        ConnRecord::BindRefused { .. } => LogLevel::Warn,
        ConnRecord::Link { record, .. } => match record {
            LinkRecord::OpsStored { .. } | LinkRecord::AckStray { .. } => LogLevel::Debug,
            LinkRecord::Welcomed { .. } | LinkRecord::AckOverdue { .. } => LogLevel::Info,
            LinkRecord::BadFrame { .. } => LogLevel::Warn,
        },
        ConnRecord::LogNotKept { .. } => LogLevel::Error,
    }
}

fn of_push(record: &PushRecord) -> LogLevel {
    match record {
        PushRecord::Prepared { .. }
        | PushRecord::Ok { .. }
        | PushRecord::Missed { .. }
        | PushRecord::Queued { .. }
        | PushRecord::Merged { .. }
        | PushRecord::Duplicate { .. }
        | PushRecord::Resumed => LogLevel::Info,
        PushRecord::Refused { .. } | PushRecord::Unfinished { .. } | PushRecord::Paused { .. } => {
            LogLevel::Warn
        }
        PushRecord::Failed { .. } => LogLevel::Error,
    }
}

fn of_delivery(record: &DeliveryRecord) -> LogLevel {
    match record {
        DeliveryRecord::Confirmed { .. } => LogLevel::Debug,
        DeliveryRecord::Written { .. }
        | DeliveryRecord::Withdrawn { .. }
        | DeliveryRecord::Requeued { .. } => LogLevel::Info,
        DeliveryRecord::TryFailed { .. }
        | DeliveryRecord::Died { .. }
        | DeliveryRecord::Forgotten { .. }
        | DeliveryRecord::Purged { .. }
        | DeliveryRecord::RemovalsBehind { .. } => LogLevel::Warn,
    }
}

fn of_store(record: &StoreRecord) -> LogLevel {
    match record {
        StoreRecord::Retried { .. }
        | StoreRecord::DeadDropped { .. }
        | StoreRecord::DeadPurged { .. } => LogLevel::Warn,
        StoreRecord::DeviceLogTaken { .. } | StoreRecord::LeaseHeld => LogLevel::Info,
        StoreRecord::Failed { .. } | StoreRecord::TimedOut { .. } | StoreRecord::LeaseLost => {
            LogLevel::Error
        }
    }
}

impl LogLevel {
    /// How much the core has to record for this level to find what it logs.
    #[must_use]
    pub fn detail(self) -> Detail {
        match self {
            Self::Off | Self::Error | Self::Warn => Detail::Exceptions,
            Self::Info => Detail::Outcomes,
            Self::Debug => Detail::Everything,
        }
    }
}
