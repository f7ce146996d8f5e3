//! Devices: where they are connected, and the log of what they upload.
//!
//! The log is a range of numbered records. Entries are dropped from its beginning, so where it begins
//! is remembered: what was dropped is marked on disk for a while, and is not to be read over again.

use super::disk::{Disk, Fault, records, records_from};
use super::engine::Engine;
use super::layout::{Corrupt, Reader, Writer, devices, encode_conn, state};
use std::ops::Bound;
use steadfast_core::store::{DeviceAnswer, DeviceEntry, DeviceOp};

/// What is known of the device log beside its entries.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeviceLog {
    /// No entry has a smaller number.
    first: u64,
    /// The last number that was given.
    last: u64,
    /// What the entries count for.
    bytes: u64,
}

impl DeviceLog {
    /// Reads what is known from disk.
    pub(super) fn read(disk: &Disk) -> Result<Self, Fault> {
        let last = disk.number(state::LOGGED)?;
        let first = match records(&disk.devices, &[devices::ENTRY]).next() {
            Some(record) => number(&record.key()?)?,
            None => last + 1,
        };
        Ok(Self { first, last, bytes: disk.number(state::LOGGED_BYTES)? })
    }
}

impl Engine {
    /// Carries an operation on devices out.
    pub(super) fn device_op(&mut self, op: DeviceOp) -> Result<DeviceAnswer, Fault> {
        match op {
            DeviceOp::Link { device, conn } => {
                self.batch.insert(&self.disk.devices, link_record(&device), encode_conn(conn));
                self.commit()?;
                Ok(DeviceAnswer::Kept)
            }
            DeviceOp::Unlink { device, conn } => {
                let record = link_record(&device);
                let linked = self.disk.devices.get(&record)?;
                if linked.is_some_and(|linked| *linked == *encode_conn(conn)) {
                    self.batch.remove(&self.disk.devices, record);
                    self.commit()?;
                }
                Ok(DeviceAnswer::Kept)
            }
            DeviceOp::Log { device, entry, limit } => self.log(&device, &entry, limit),
            DeviceOp::Read { after, max_entries, max_bytes } => {
                let entries = self.read_log(after.unwrap_or(0), max_entries, max_bytes)?;
                Ok(DeviceAnswer::Entries(entries))
            }
            DeviceOp::Drop { through, limit } => {
                Ok(DeviceAnswer::Dropped(self.drop_logged(through, limit)?))
            }
        }
    }

    /// Appends to the device log.
    fn log(&mut self, device: &str, entry: &str, limit: u64) -> Result<DeviceAnswer, Fault> {
        let bytes = self.device_log.bytes + DeviceEntry::bytes(device, entry);
        if bytes > limit {
            return Ok(DeviceAnswer::Full);
        }
        let number = self.device_log.last + 1;
        let value = Writer::default().bytes(device.as_bytes()).bytes(entry.as_bytes()).end();
        self.batch.insert(&self.disk.devices, entry_record(number), value);
        self.batch.insert(&self.disk.state, state::LOGGED, number.to_be_bytes());
        self.batch.insert(&self.disk.state, state::LOGGED_BYTES, bytes.to_be_bytes());
        self.commit()?;
        self.device_log = DeviceLog { last: number, bytes, ..self.device_log };
        Ok(DeviceAnswer::Kept)
    }

    fn read_log(
        &self,
        after: u64,
        max_entries: u32,
        max_bytes: u64,
    ) -> Result<Vec<DeviceEntry>, Fault> {
        let from = self.device_log.first.max(after.saturating_add(1));
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let from = Bound::Included(entry_record(from));
        let all = records_from(&self.disk.devices, &[devices::ENTRY], from);
        for record in all.take(max_entries as usize) {
            if bytes > 0 && bytes >= max_bytes {
                break;
            }
            let (key, value) = record.into_inner()?;
            let (device, entry) = entry_of(&value)?;
            bytes += DeviceEntry::bytes(device, entry);
            let (device, entry) = (device.into(), entry.into());
            entries.push(DeviceEntry { number: number(&key)?, device, entry });
        }
        Ok(entries)
    }

    fn drop_logged(&mut self, through: u64, limit: u32) -> Result<u64, Fault> {
        let DeviceLog { mut first, last, mut bytes } = self.device_log;
        let from = Bound::Included(entry_record(first));
        let all = records_from(&self.disk.devices, &[devices::ENTRY], from);
        let mut dropped = 0;
        for record in all.take(limit as usize) {
            let (key, value) = record.into_inner()?;
            let number = number(&key)?;
            if number > through {
                break;
            }
            let (device, entry) = entry_of(&value)?;
            bytes = bytes.saturating_sub(DeviceEntry::bytes(device, entry));
            self.batch.remove(&self.disk.devices, key);
            first = number + 1;
            dropped += 1;
        }
        if dropped > 0 {
            self.batch.insert(&self.disk.state, state::LOGGED_BYTES, bytes.to_be_bytes());
            self.commit()?;
            self.device_log = DeviceLog { first, last, bytes };
        }
        Ok(dropped)
    }

    /// Forgets where devices were connected: nothing is when a run begins.
    pub(super) fn forget_links(&mut self) -> Result<(), Fault> {
        for record in records(&self.disk.devices, &[devices::LINK]) {
            self.batch.remove(&self.disk.devices, record.key()?);
        }
        Ok(())
    }
}

/// The key of a device's connection.
fn link_record(device: &str) -> Vec<u8> {
    Writer::tagged(devices::LINK).rest(device.as_bytes()).end()
}

/// The key of an entry.
fn entry_record(number: u64) -> Vec<u8> {
    Writer::tagged(devices::ENTRY).u64(number).end()
}

/// The number that such a key names.
fn number(record: &[u8]) -> Result<u64, Corrupt> {
    let mut reader = Reader::new(record, "an entry of the device log");
    reader.u8()?;
    reader.u64()
}

/// The device and the entry in a record.
fn entry_of(record: &[u8]) -> Result<(&str, &str), Corrupt> {
    let mut reader = Reader::new(record, "an entry of the device log");
    Ok((reader.string()?, reader.string()?))
}
