//! Devices: which one a connection is, where each is connected, and what they log.
//!
//! A log entry that a device uploads is answered once it is stored, and only then. An entry that is
//! not, for whatever reason, is recorded and not answered: the device has to upload it again.

use super::Gateway;
use crate::command::Close;
use crate::connection::{Answer, Phase};
use crate::dialect::inbound::DeviceMessage;
use crate::dialect::{self, answer};
use crate::id::{ConnId, Key};
use crate::operations::Pending;
use crate::record::{ConnRecord, Dialect, LogFailure};
use crate::sabotage::Sabotage;
use crate::store::{DeviceAnswer, DeviceOp, Op};
use crate::uploads::Upload;
use bytestring::ByteString;

impl Gateway {
    pub(super) fn on_device(&mut self, id: ConnId, bound: Option<&Key>, device: DeviceMessage<'_>) {
        let key = dialect::device_key(&device.id);
        if key.len() > self.config.max_key as usize {
            let bytes = key.len() as u64;
            self.record_conn(id, ConnRecord::BindRefused { close: Close::KeyTooLong, bytes });
            return self.close(id, Close::KeyTooLong);
        }
        let answer = answer::device();
        if bound == Some(&key) {
            self.answer(id, Answer::Text(Dialect::Device, answer));
        } else {
            if bound.is_some() {
                // The answers held back for what waits under the old id are owed all the same.
                self.release_answers(id);
                self.unbind(id);
            }
            self.bind(id, key.clone(), Dialect::Device, Some(answer));
            self.link_device(&key, id);
        }
        if let Some(entry) = device.log {
            self.keep_log(id, key, entry);
        }
    }

    /// Notes where a device is connected.
    fn link_device(&mut self, key: &Key, conn: ConnId) {
        let device = dialect::device_of(key).expect("a device's key");
        self.issue(Pending::DeviceLink, Op::Device(DeviceOp::Link { device, conn }));
    }

    /// A device's connection has left its key: the device is where its newest connection is.
    pub(super) fn device_left(&mut self, slot: u32, conn: ConnId) {
        let mailbox = self.registry.get(slot);
        let (key, newest) = (mailbox.key.clone(), mailbox.newest());
        if let Some(newest) = newest {
            if self.sabotaged(Sabotage::StandbyUnnoted) {
                return;
            }
            return self.link_device(&key, newest);
        }
        let device = dialect::device_of(&key).expect("a device's key");
        self.issue(Pending::DeviceLink, Op::Device(DeviceOp::Unlink { device, conn }));
    }

    fn keep_log(&mut self, conn: ConnId, key: Key, entry: ByteString) {
        if !self.uploads.admit(conn, entry.len() as u64) {
            return self.record_unkept(conn, key, entry, LogFailure::TooMany);
        }
        if self.sabotaged(Sabotage::UploadUnstored) {
            let upload = Upload { conn, key, entry };
            return self.on_log_answer(upload, &DeviceAnswer::Kept);
        }
        let device = dialect::device_of(&key).expect("a device's key");
        let limit = self.config.device_log_limit;
        let op = DeviceOp::Log { device, entry: entry.clone(), limit };
        let upload = Box::new(Upload { conn, key, entry });
        self.issue(Pending::DeviceLog(upload), Op::Device(op));
    }

    /// The store has answered an upload.
    pub(super) fn on_log_answer(&mut self, upload: Upload, answer: &DeviceAnswer) {
        self.uploads.answered(&upload);
        let Upload { conn, key, entry } = upload;
        match answer {
            DeviceAnswer::Kept => {}
            DeviceAnswer::Full => return self.record_unkept(conn, key, entry, LogFailure::Full),
            DeviceAnswer::Entries(_) | DeviceAnswer::Dropped(_) => {
                panic!("the store answered an upload with {answer:?}")
            }
        }
        let bytes = entry.len() as u64;
        self.record_conn(conn, ConnRecord::LogKept { key, bytes });
        let is_open = |phase: &Phase| matches!(phase, Phase::Bound(_));
        if self.conn(conn).is_some_and(|conn| is_open(&conn.phase)) {
            self.answer(conn, Answer::Text(Dialect::Device, answer::log_upload_response()));
        }
    }

    /// An upload may not be safe.
    pub(super) fn on_log_failed(&mut self, upload: Upload) {
        self.uploads.answered(&upload);
        let Upload { conn, key, entry } = upload;
        self.record_unkept(conn, key, entry, LogFailure::NotStored);
    }

    fn record_unkept(&mut self, conn: ConnId, key: Key, entry: ByteString, reason: LogFailure) {
        let content = entry.into_bytes();
        self.record_conn(conn, ConnRecord::LogNotKept { key, content, reason });
    }
}
