//! Devices and their log.

use crate::id::ConnId;
use crate::store::{DeviceAnswer, DeviceEntry, DeviceOp};
use bytestring::ByteString;
use std::collections::{BTreeMap, VecDeque};

/// Where devices are connected, and what they logged.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    links: BTreeMap<ByteString, ConnId>,
    log: VecDeque<DeviceEntry>,
    /// The number of the last entry.
    last: u64,
    /// What the entries count for.
    bytes: u64,
}

impl Devices {
    /// Carries the operation out.
    pub(super) fn apply(&mut self, op: DeviceOp) -> DeviceAnswer {
        match op {
            DeviceOp::Link { device, conn } => {
                self.links.insert(device, conn);
                DeviceAnswer::Kept
            }
            DeviceOp::Unlink { device, conn } => {
                if self.links.get(&device) == Some(&conn) {
                    self.links.remove(&device);
                }
                DeviceAnswer::Kept
            }
            DeviceOp::Log { device, entry, limit } => self.append(device, entry, limit),
            DeviceOp::Read { after, max_entries, max_bytes } => {
                DeviceAnswer::Entries(self.read(after.unwrap_or(0), max_entries, max_bytes))
            }
            DeviceOp::Drop { through, limit } => DeviceAnswer::Dropped(self.drop(through, limit)),
        }
    }

    fn append(&mut self, device: ByteString, entry: ByteString, limit: u64) -> DeviceAnswer {
        let bytes = self.bytes + DeviceEntry::bytes(&device, &entry);
        if bytes > limit {
            return DeviceAnswer::Full;
        }
        self.bytes = bytes;
        self.last += 1;
        self.log.push_back(DeviceEntry { number: self.last, device, entry });
        DeviceAnswer::Kept
    }

    fn read(&self, after: u64, max_entries: u32, max_bytes: u64) -> Vec<DeviceEntry> {
        let behind = self.log.partition_point(|entry| entry.number <= after);
        let mut bytes = 0;
        let entries = self.log.range(behind..).take(max_entries as usize);
        let entries = entries.take_while(|entry| {
            let fits = bytes == 0 || bytes < max_bytes;
            bytes += DeviceEntry::bytes(&entry.device, &entry.entry);
            fits
        });
        entries.cloned().collect()
    }

    fn drop(&mut self, through: u64, limit: u32) -> u64 {
        let taken = self.log.partition_point(|entry| entry.number <= through).min(limit as usize);
        for entry in self.log.drain(..taken) {
            self.bytes -= DeviceEntry::bytes(&entry.device, &entry.entry);
        }
        taken as u64
    }

    /// The connection of a device.
    pub(super) fn link(&self, device: &str) -> Option<ConnId> {
        self.links.get(device).copied()
    }

    /// The log, oldest entry first.
    pub(super) fn log(&self) -> impl Iterator<Item = &DeviceEntry> {
        self.log.iter()
    }

    /// Panics when an invariant is broken.
    pub(super) fn check(&self) {
        let bytes: u64 = self.log.iter().map(|it| DeviceEntry::bytes(&it.device, &it.entry)).sum();
        assert_eq!(self.bytes, bytes, "bytes in the device log");
        let numbers = self.log.iter().map(|entry| entry.number);
        assert!(numbers.is_sorted_by(|a, b| a < b), "the device log is in order");
    }
}
