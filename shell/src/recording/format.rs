//! What stands in the files of a recording. `docs/operations.md` describes it.
//!
//! A segment is [`MAGIC`], the [`VERSION`], and frames. A frame is the length of its body, the CRC-32
//! of the body, the CRC-32 of these eight bytes (all little-endian), and the body: a byte that says
//! what it is, and the content in postcard's form.

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use steadfast_core::command::Command;
use steadfast_core::config::Config;
use steadfast_core::event::Event;
use steadfast_core::gateway::Gateway;
use steadfast_core::time::{Span, Time};

/// What every segment begins with.
pub const MAGIC: [u8; 8] = *b"STEADREC";

/// The version of this program: recordings are replayed by the version that made them.
pub const PROGRAM: &str = env!("CARGO_PKG_VERSION");

/// The version of the format. Between two versions of the program it changes with the shape of
/// anything that is written, the state of the gateway included.
pub const VERSION: u16 = 1;

/// How long magic and version are.
pub(super) const PREAMBLE: usize = MAGIC.len() + 2;

/// How long a frame is before its body.
pub(super) const FRAME_HEAD: usize = 12;

/// What a body is: its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A [`Head`]: the first frame of every segment.
    Head,
    /// The state of the gateway, where the segment goes on a run.
    State,
    /// Events, one after the other.
    Events,
    /// An [`End`]: the last frame.
    End,
}

impl Kind {
    const ALL: [(Self, u8); 4] =
        [(Self::Head, b'H'), (Self::State, b'S'), (Self::Events, b'E'), (Self::End, b'Z')];

    fn byte(self) -> u8 {
        let found = Self::ALL.iter().find(|(kind, _)| *kind == self);
        found.expect("every kind is listed").1
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.iter().find(|(_, other)| *other == byte).map(|(kind, _)| *kind)
    }
}

/// What a gateway is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Its settings.
    pub config: Config,
    /// The store's number for the run.
    pub incarnation: u32,
    /// Its seed.
    pub seed: u64,
}

impl Origin {
    /// The gateway as it was when the run began.
    #[must_use]
    pub fn gateway(&self) -> Gateway {
        Gateway::new(self.config.clone(), self.incarnation, self.seed)
    }
}

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Head {
    /// Which run of which daemon.
    pub run: u64,
    /// The number in the file's name.
    pub number: u32,
    /// Where the segment begins.
    pub begins: Begins,
    /// The number of its first event, counted from 1 through the whole run.
    pub first_event: u64,
    /// When it was begun.
    pub at: Time,
    /// What the run's gateway was made from.
    pub origin: Origin,
    /// The version of the program.
    pub program: String,
}

/// Where a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Begins {
    /// With the run.
    AtStart,
    /// Where the one before it ends; the gateway's state follows.
    AtState,
}

/// How a segment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// The number that the next event has, or would have.
    pub next_event: u64,
    /// When.
    pub at: Time,
    /// Why.
    pub reason: EndReason,
}

/// Why a segment ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// Another one follows.
    Full,
    /// The gateway was stopped.
    Stopped,
    /// The recording could not be kept up; the gateway went on without.
    Failed(String),
}

/// An event with its time, as it stands in a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When the gateway was told.
    pub at: Time,
    /// What it was told.
    pub event: Event,
    /// What the event caused.
    pub digest: Digest,
}

/// Commands, as far as they are recorded: enough to tell whether others are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// How many.
    pub count: u32,
    /// The SipHash-1-3 of their postcard form.
    pub hash: u64,
}

impl Digest {
    /// The digest of these commands. `scratch` is overwritten.
    #[must_use]
    pub fn of(commands: &[Command], scratch: &mut Vec<u8>) -> Self {
        scratch.clear();
        for command in commands {
            write(command, scratch);
        }
        let mut hasher = SipHasher13::new_with_keys(0, 0);
        hasher.write(scratch);
        let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
        Self { count, hash: hasher.finish() }
    }
}

/// Appends the event and how long after the last one it came.
pub(super) fn write_event(after: Span, event: &Event, bytes: &mut Vec<u8>) {
    write(&(after, event), bytes);
}

/// Appends what the event caused.
pub(super) fn write_digest(digest: Digest, bytes: &mut Vec<u8>) {
    write(&digest.count, bytes);
    bytes.extend_from_slice(&digest.hash.to_le_bytes());
}

/// Takes the next entry off the front of `bytes`; `last` is the time of the one before it.
pub(super) fn read_entry(bytes: &mut &[u8], last: Time) -> Result<Entry, postcard::Error> {
    let ((after, event), rest) = postcard::take_from_bytes::<(Span, Event)>(bytes)?;
    let (count, rest) = postcard::take_from_bytes::<u32>(rest)?;
    let (hash, rest) = rest.split_first_chunk().ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
    *bytes = rest;
    let digest = Digest { count, hash: u64::from_le_bytes(*hash) };
    Ok(Entry { at: last + after, event, digest })
}

/// Appends the postcard form of `value`.
pub(super) fn write<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) {
    let written = postcard::serialize_with_flavor(value, Onto(bytes));
    written.expect("memory takes whatever our types become");
}

/// The end of a vector: whole slices are copied at once.
struct Onto<'a>(&'a mut Vec<u8>);

impl postcard::ser_flavors::Flavor for Onto<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// A whole frame.
pub(super) fn frame(kind: Kind, content: &[u8]) -> Result<Vec<u8>, String> {
    let length = u32::try_from(content.len() + 1)
        .map_err(|_| format!("{} bytes are more than a frame can hold", content.len()))?;
    let mut frame = Vec::with_capacity(FRAME_HEAD + 1 + content.len());
    frame.extend_from_slice(&length.to_le_bytes());
    let mut body = crc32fast::Hasher::new();
    body.update(&[kind.byte()]);
    body.update(content);
    frame.extend_from_slice(&body.finalize().to_le_bytes());
    frame.extend_from_slice(&crc32fast::hash(&frame).to_le_bytes());
    frame.push(kind.byte());
    frame.extend_from_slice(content);
    Ok(frame)
}
