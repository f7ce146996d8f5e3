//! What is judged of devices: where each of them is noted to be, and what the device log holds.

use super::{Asked, Inventory, Judge, Oracle};
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::dialect;
use steadfast_core::id::{ConnId, OpId};
use steadfast_core::operator::OperatorAnswer;
use steadfast_core::record::LogFailure;
use steadfast_core::store::{Answer, DeviceAnswer, DeviceEntry, DeviceOp};

/// So many uploads of one connection may be unanswered, and are not refused.
const UNANSWERED: usize = 64;

/// What is remembered of devices.
#[derive(Debug, Default)]
pub(super) struct Devices {
    /// By gateway and key: the connections of a device, the newest last.
    bound: BTreeMap<(u32, u32), Vec<ConnId>>,
    /// By key: what a store was last told of where a device is.
    noted: BTreeMap<u32, Noted>,
    /// What this connection uploads in the current batch: the device's key, and the entry.
    uploading: Option<(ConnId, u32, ByteString)>,
    /// By entry: what was to be stored.
    uploads: BTreeMap<ByteString, Upload>,
    /// By number: the entries of the log that an operator was told.
    taken: BTreeMap<u64, DeviceEntry>,
    /// The keys of other devices that a client is taken for now and then.
    poses: BTreeSet<(u32, u32)>,
}

/// What a store was told of where a device is.
#[derive(Debug)]
struct Noted {
    /// That it is here, or is here no more.
    place: Result<ConnId, ConnId>,
    /// By which operation, as long as it is under way.
    op: Option<(u32, OpId)>,
    settled: bool,
}

/// An entry for the device log.
#[derive(Debug)]
struct Upload {
    /// The device's.
    key: u32,
    node: u32,
    /// The how-manieth it is.
    order: u64,
    /// Whether the store has said that it is in the log.
    kept: bool,
}

impl Devices {
    pub(super) fn new(poses: BTreeSet<(u32, u32)>) -> Self {
        Self { poses, ..Self::default() }
    }

    /// Whether this client is taken for the device of this key now and then.
    pub(super) fn may_pose(&self, client: u32, key: u32) -> bool {
        self.poses.contains(&(client, key))
    }

    /// A gateway's process has ended.
    pub(super) fn crash(&mut self, node: u32) {
        self.bound.retain(|(of, _), _| *of != node);
        for noted in self.noted.values_mut() {
            noted.op = noted.op.filter(|(of, _)| *of != node);
        }
    }
}

impl Judge {
    /// A device's connection says what it uploads.
    pub(super) fn on_upload(&mut self, node: u32, id: ConnId, key: u32, entry: &str) {
        self.devices.uploading = Some((id, key, entry.into()));
        self.node(node).ledger.owe("uploads", 1);
    }

    /// A connection has a key from now on.
    pub(super) fn device_bound(&mut self, node: u32, id: ConnId, key: u32) {
        if self.world.is_device(key) {
            self.devices.bound.entry((node, key)).or_default().push(id);
            self.node(node).ledger.owe("notes of devices", 1);
        }
    }

    /// A connection has no key any more: a device is where its newest connection is.
    pub(super) fn device_unbound(&mut self, node: u32, id: ConnId, key: u32) {
        let Some(bound) = self.devices.bound.get_mut(&(node, key)) else { return };
        let was_newest = bound.last() == Some(&id);
        bound.retain(|other| *other != id);
        self.node(node).ledger.owe("notes of devices", u64::from(was_newest));
    }

    /// A device calls itself by another name, and its connection has another key: what it did not
    /// confirm is left to others.
    pub(super) fn on_renamed(&mut self, node: u32, id: ConnId, key: u32) {
        let conn = self.node(node).conns.get_mut(&id).expect("checked by the caller");
        let old = conn.key.replace(key).expect("it had a name");
        (conn.bound, conn.proven) = (false, 0);
        conn.sent.clear();
        conn.pings.clear();
        conn.newest.clear();
        conn.drains.iter_mut().for_each(|mark| *mark = 0);
        self.device_unbound(node, id, old);
        if self.live(node, old).next().is_none() {
            self.node(node).abandoned.push(old);
        }
    }

    pub(super) fn on_device_op(&mut self, node: u32, op: OpId, request: &DeviceOp) -> Asked {
        match request {
            DeviceOp::Link { device, conn } => self.on_noted(node, op, device, Ok(*conn)),
            DeviceOp::Unlink { device, conn } => self.on_noted(node, op, device, Err(*conn)),
            DeviceOp::Log { device, entry, limit } => {
                let allowed = self.config.device_log_limit;
                self.demand(Oracle::Memory, *limit == allowed, || {
                    format!("the device log may hold {limit} bytes, and not {allowed}")
                });
                self.on_logged(node, device, entry)
            }
            DeviceOp::Read { .. } | DeviceOp::Drop { .. } => {
                let operating = self.operating;
                self.demand(Oracle::Devices, operating, || format!("nobody asks for {request:?}"));
                Asked::Other
            }
        }
    }

    /// It is to be noted where a device is, or no more is.
    fn on_noted(
        &mut self,
        node: u32,
        op: OpId,
        device: &str,
        place: Result<ConnId, ConnId>,
    ) -> Asked {
        self.node(node).ledger.pay("notes of devices", 1);
        let Some(key) = self.key_of_device(device) else {
            self.blame(Oracle::Devices, format!("{device} is noted to be somewhere: no device"));
            return Asked::Other;
        };
        let newest = self.devices.bound.get(&(node, key)).and_then(|bound| bound.last()).copied();
        self.demand(Oracle::Devices, newest == place.ok(), || {
            format!("{device} is noted as {place:?}, and its newest connection is {newest:?}")
        });
        let noted = Noted { place, op: Some((node, op)), settled: false };
        self.devices.noted.insert(key, noted);
        Asked::Note(key)
    }

    /// An entry is to be appended to the device log.
    fn on_logged(&mut self, node: u32, device: &str, entry: &ByteString) -> Asked {
        self.node(node).ledger.pay("uploads", 1);
        let (device_key, uploading) = (self.key_of_device(device), self.devices.uploading.take());
        let Some((conn, key, _)) =
            uploading.filter(|(_, key, said)| Some(*key) == device_key && said == entry)
        else {
            self.blame(Oracle::Devices, format!("{device} did not upload {entry} just now"));
            return Asked::Other;
        };
        let unanswered = self.unanswered_uploads(node, conn);
        self.demand(Oracle::Memory, unanswered < UNANSWERED, || {
            format!("{conn} has {unanswered} unanswered uploads, and {UNANSWERED} are allowed")
        });
        let order = self.batches;
        let upload = Upload { key, node, order, kept: false };
        let twice = self.devices.uploads.insert(entry.clone(), upload).is_some();
        self.demand(Oracle::Devices, !twice, || format!("{entry} is logged twice"));
        Asked::Upload(conn, entry.clone())
    }

    fn unanswered_uploads(&mut self, node: u32, conn: ConnId) -> usize {
        let ops = self.node(node).ops.values();
        ops.filter(|asked| matches!(asked, Asked::Upload(of, _) if *of == conn)).count()
    }

    /// The store has answered an operation on devices.
    pub(super) fn on_device_answer(&mut self, node: u32, op: OpId, asked: &Asked, answer: &Answer) {
        match (asked, answer) {
            (Asked::Note(key), Answer::Device(DeviceAnswer::Kept)) => {
                let noted = self.devices.noted.get_mut(key).expect("it was noted");
                noted.settled |= noted.op == Some((node, op));
            }
            (Asked::Upload(conn, entry), Answer::Device(DeviceAnswer::Kept)) => {
                self.devices.uploads.get_mut(entry).expect("it was uploaded").kept = true;
                let state = self.node(node);
                state.ledger.owe("kept uploads", 1);
                if let Some(conn) = state.conns.get_mut(conn).filter(|conn| !conn.closing) {
                    conn.owed += 1;
                }
            }
            (Asked::Upload(..), _) => self.node(node).ledger.owe("uploads that are not kept", 1),
            (_, Answer::Device(DeviceAnswer::Dropped(count))) => {
                self.node(node).ledger.owe("taken entries", *count);
            }
            _ => {}
        }
    }

    /// An operation was given up.
    pub(super) fn on_timed_out(&mut self, node: u32, op: OpId) {
        let state = self.node(node);
        if let Some(Asked::Upload(..)) = state.ops.remove(&op) {
            state.ledger.owe("uploads that are not kept", 1);
        }
    }

    pub(super) fn on_unkept(&mut self, node: u32, id: ConnId, reason: LogFailure) {
        match reason {
            LogFailure::TooMany => {
                self.devices.uploading = None;
                let unanswered = self.unanswered_uploads(node, id);
                self.demand(Oracle::Devices, unanswered >= UNANSWERED, || {
                    format!("an upload of {id} is refused behind {unanswered} unanswered ones")
                });
                self.node(node).ledger.pay("uploads", 1);
            }
            LogFailure::NotStored | LogFailure::Full => {
                self.node(node).ledger.pay("uploads that are not kept", 1);
            }
        }
    }

    /// An operator is told something: entries of the device log may be taken from it then.
    pub(super) fn on_told(&mut self, answer: &OperatorAnswer) {
        if let OperatorAnswer::DeviceLog(entries) = answer {
            entries.iter().for_each(|entry| self.on_entry(entry));
        }
    }

    fn on_entry(&mut self, entry: &DeviceEntry) {
        let other = self.devices.taken.insert(entry.number, entry.clone());
        let same = other.as_ref().is_none_or(|other| other == entry);
        self.demand(Oracle::Devices, same, || {
            format!("entry {} is {}, and was {other:?}", entry.number, entry.entry)
        });
    }

    /// What was taken from the log and what is still in it is what devices uploaded, each entry once,
    /// as its device's, in order; and all that was said to be kept. Devices are noted to be where they
    /// are.
    pub(super) fn judge_devices(&mut self, inventory: &Inventory) {
        inventory.device_log.iter().for_each(|entry| self.on_entry(entry));
        let mut wrong = self.wrong_log();
        if !self.shared {
            // Gateways that share a store note it without an order among them.
            wrong = wrong.or_else(|| self.wrong_note(&inventory.device_links));
        }
        if let Some(text) = wrong {
            self.blame(Oracle::Devices, text);
        }
    }

    fn wrong_log(&self) -> Option<String> {
        let Devices { uploads, taken, .. } = &self.devices;
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        let mut logged = BTreeSet::new();
        for DeviceEntry { number, device, entry } in taken.values() {
            let Some(upload) = uploads.get(entry) else {
                return Some(format!("{entry} is in the device log ({number}): no upload"));
            };
            let of = self.world.keys[upload.key as usize].device();
            // A list in Redis does not say whose an entry is.
            if of != Some(device) && !self.shared {
                return Some(format!("{entry} is logged as {device}'s, and is {of:?}'s"));
            }
            if last.insert(upload.node, upload.order).is_some_and(|last| last >= upload.order) {
                return Some(format!("{entry} is logged again, or behind what came later"));
            }
            logged.insert(entry);
        }
        let lost = uploads.iter().find(|(entry, upload)| upload.kept && !logged.contains(entry));
        lost.map(|(entry, _)| format!("{entry} was said to be in the device log, and is not"))
    }

    fn wrong_note(&self, links: &BTreeMap<ByteString, ConnId>) -> Option<String> {
        let settled = self.devices.noted.iter().filter(|(_, noted)| noted.settled);
        let wrong = settled.filter_map(|(key, noted)| {
            let device = self.world.keys[*key as usize].device()?;
            let found = links.get(device).copied();
            let holds = match noted.place {
                Ok(conn) => found == Some(conn),
                Err(conn) => found != Some(conn),
            };
            let place = noted.place;
            (!holds).then(|| format!("{device} is noted at {found:?}, and was last said {place:?}"))
        });
        wrong.into_iter().next()
    }

    fn key_of_device(&self, device: &str) -> Option<u32> {
        self.key_index(&dialect::device_key(device))
    }
}
