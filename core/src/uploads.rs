//! What devices upload for their log and the store has not answered yet: how much of it a connection
//! may have.

use crate::id::{ConnId, Key};
use bytestring::ByteString;
use std::collections::BTreeMap;

/// So many uploads of one connection may be unanswered.
const MAX_UPLOADS: u32 = 64;
/// And so many bytes of them; one upload always may be.
const MAX_BYTES: u64 = 16 << 20;

/// An upload under way.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Upload {
    /// Where it came from.
    pub(crate) conn: ConnId,
    /// The device's key.
    pub(crate) key: Key,
    /// A JSON text.
    pub(crate) entry: ByteString,
}

/// The uploads under way, by connection. Those of a connection that is gone stay until they are
/// answered.
#[derive(Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Uploads {
    by_conn: BTreeMap<ConnId, Unanswered>,
}

/// How much is under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
struct Unanswered {
    count: u32,
    bytes: u64,
}

impl Uploads {
    /// Counts one more upload of this length, if the connection may have it; tells whether it may.
    pub(crate) fn admit(&mut self, conn: ConnId, bytes: u64) -> bool {
        let unanswered = self.by_conn.entry(conn).or_default();
        let fits = unanswered.count < MAX_UPLOADS
            && (unanswered.count == 0 || unanswered.bytes + bytes <= MAX_BYTES);
        if fits {
            unanswered.count += 1;
            unanswered.bytes += bytes;
        }
        fits
    }

    /// One of them is answered.
    pub(crate) fn answered(&mut self, upload: &Upload) {
        let unanswered = self.by_conn.get_mut(&upload.conn).expect("an upload was counted");
        unanswered.count -= 1;
        unanswered.bytes -= upload.entry.len() as u64;
        if unanswered.count == 0 {
            assert_eq!(unanswered.bytes, 0, "bytes of no upload of {}", upload.conn);
            self.by_conn.remove(&upload.conn);
        }
    }

    /// Panics unless exactly these are under way.
    pub(crate) fn check<'a>(&self, uploads: impl Iterator<Item = &'a Upload>) {
        let mut counted = BTreeMap::<ConnId, Unanswered>::new();
        for upload in uploads {
            let unanswered = counted.entry(upload.conn).or_default();
            unanswered.count += 1;
            unanswered.bytes += upload.entry.len() as u64;
        }
        assert_eq!(self.by_conn, counted, "uploads under way");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32) -> ConnId {
        ConnId { slot, generation: 0 }
    }

    fn upload(slot: u32, bytes: u64) -> Upload {
        let entry = "x".repeat(usize::try_from(bytes).expect("small")).into();
        Upload { conn: conn(slot), key: Key::new("device:d"), entry }
    }

    #[test]
    fn a_connection_may_have_so_many_under_way() {
        let mut uploads = Uploads::default();
        for _ in 0..MAX_UPLOADS {
            assert!(uploads.admit(conn(1), 1));
        }
        assert!(!uploads.admit(conn(1), 1));
        assert!(uploads.admit(conn(2), 1), "another connection is not concerned");
        uploads.answered(&upload(1, 1));
        assert!(uploads.admit(conn(1), 1));
    }

    #[test]
    fn a_connection_may_have_so_many_bytes_under_way() {
        let mut uploads = Uploads::default();
        assert!(uploads.admit(conn(1), MAX_BYTES + 1), "one always may be");
        assert!(!uploads.admit(conn(1), 1));
        uploads.answered(&upload(1, MAX_BYTES + 1));
        uploads.check([].iter());
        assert!(uploads.admit(conn(1), MAX_BYTES - 1));
        assert!(uploads.admit(conn(1), 1));
        assert!(!uploads.admit(conn(1), 1));
        uploads.check([upload(1, 1), upload(1, MAX_BYTES - 1)].iter());
    }
}
