//! Devices and their log.
//!
//! The log grows until it is taken; there is no operation that takes it, since those who drain it
//! do so beside the gateway.

use crate::id::ConnId;
use crate::store::DeviceOp;
use bytestring::ByteString;
use std::collections::BTreeMap;

/// Where devices are connected, and what they logged.
#[derive(Clone, Debug, Default)]
pub(super) struct Devices {
    links: BTreeMap<ByteString, ConnId>,
    log: Vec<DeviceEntry>,
}

/// One entry of the device log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceEntry {
    /// The device's id.
    pub device: ByteString,
    /// A JSON text.
    pub entry: ByteString,
}

impl Devices {
    /// Carries the operation out.
    pub(super) fn apply(&mut self, op: DeviceOp) {
        match op {
            DeviceOp::Link { device, conn } => {
                self.links.insert(device, conn);
            }
            DeviceOp::Log { device, entry } => self.log.push(DeviceEntry { device, entry }),
        }
    }

    /// The connection a device was last seen on.
    pub(super) fn link(&self, device: &str) -> Option<ConnId> {
        self.links.get(device).copied()
    }

    /// The log, oldest entry first.
    pub(super) fn log(&self) -> &[DeviceEntry] {
        &self.log
    }

    /// Takes the log, oldest entry first, and leaves an empty one.
    pub(super) fn take_log(&mut self) -> Vec<DeviceEntry> {
        std::mem::take(&mut self.log)
    }
}
