//! The write-ahead log: one file that takes messages and removals before the database does.
//!
//! Most messages are confirmed within milliseconds. They are written here, once, and never reach the
//! database, where a record costs some ten times as much. What is left when the log has grown is
//! written to the database in one batch, which also notes the log's generation; then the file is
//! written from its beginning again, under the next generation, without being shortened.
//!
//! Reading ends at the first that is not whole or of another generation: what an interrupted write left, or
//! what an earlier generation did.

use super::engine::FreshMessage;
use super::layout::{Corrupt, Place, Reader, Writer};
use bytes::Bytes;
use siphasher::sip::SipHasher13;
use std::fs::{File, OpenOptions};
use std::hash::Hasher;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use steadfast_core::id::Key;

/// The file's name.
const NAME: &str = "ahead.log";
/// Size of what is in front of a batch's payload.
const HEADER: usize = 20;
/// A message was appended: place, when it was accepted, key, payload.
const APPENDED: u8 = 1;
/// A message is gone: place, key.
const GONE: u8 = 2;

/// What a log says.
#[derive(Debug)]
pub(super) enum Entry {
    /// A message was appended.
    Appended(FreshMessage),
    /// A message that is here or in the database is gone.
    Gone(Key, Place),
}

/// An open log.
#[derive(Debug)]
pub(super) struct Wal {
    file: File,
    /// For checksums that nobody else can make.
    secret: u128,
    generation: u64,
    /// Where the next batch begins.
    end: u64,
    /// The batch being built, with room for its header.
    batch: Vec<u8>,
    #[cfg(test)]
    pub(super) trouble: super::trouble::Trouble,
}

impl Wal {
    /// Opens the log, or makes one, and reads what its generation says if it is behind `done`, the
    /// last generation that is in the database.
    pub(super) fn open(
        directory: &Path,
        done: u64,
        secret: u128,
    ) -> io::Result<(Self, Vec<Entry>)> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(directory.join(NAME))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            // The name of a new file has to be durable too.
            File::open(directory)?.sync_all()?;
        }
        let (entries, generation) = read(&Bytes::from(bytes), done, secret);
        // What was read goes to the database next, so the file can be written from its beginning.
        let wal = Self {
            file,
            secret,
            generation,
            end: 0,
            batch: vec![0; HEADER],
            #[cfg(test)]
            trouble: super::trouble::Trouble::default(),
        };
        Ok((wal, entries))
    }

    /// The generation being written, or just read.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// How much of the file is written.
    pub(super) fn len(&self) -> u64 {
        self.end
    }

    /// Begins the next generation: the database has everything, durably.
    pub(super) fn restart(&mut self) {
        self.generation += 1;
        self.end = 0;
    }

    /// Adds a message to the batch.
    pub(super) fn appended(&mut self, message: &FreshMessage) {
        let FreshMessage { key, place, accepted_at, payload } = message;
        self.write(|writer| {
            place_of(writer.u8(APPENDED), place)
                .time(*accepted_at)
                .bytes(key.as_bytes())
                .bytes(payload)
        });
    }

    /// Adds to the batch that a message is gone.
    pub(super) fn gone(&mut self, key: &Key, place: &Place) {
        self.write(|writer| place_of(writer.u8(GONE), place).bytes(key.as_bytes()));
    }

    fn write(&mut self, write: impl FnOnce(Writer) -> Writer) {
        let batch = std::mem::take(&mut self.batch);
        self.batch = write(Writer::onto(batch)).end();
    }

    /// Forgets the batch: the database has what it says.
    pub(super) fn forget(&mut self) {
        self.batch.truncate(HEADER);
    }

    /// Makes the batch durable, if there is one.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if self.batch.len() == HEADER {
            return Ok(());
        }
        #[cfg(test)]
        self.trouble.strike(super::trouble::Step::Commit)?;
        let header = header(self.generation, &self.batch[HEADER..], self.secret);
        self.batch[..HEADER].copy_from_slice(&header);
        self.file.write_all_at(&self.batch, self.end)?;
        #[cfg(test)]
        self.trouble.strike(super::trouble::Step::Sync)?;
        self.file.sync_data()?;
        self.end += self.batch.len() as u64;
        self.forget();
        // A rare large batch must not be kept for ever.
        self.batch.shrink_to(1 << 20);
        Ok(())
    }
}

fn place_of(writer: Writer, place: &Place) -> Writer {
    writer.u64(place.position).id(place.id).time(place.expires_at)
}

/// What stands in front of a batch's payload.
fn header(generation: u64, payload: &[u8], secret: u128) -> [u8; HEADER] {
    let len = u32::try_from(payload.len()).expect("a batch is smaller than 4 GiB");
    let mut hasher = SipHasher13::new_with_key(&secret.to_be_bytes());
    hasher.write_u64(generation.to_be());
    hasher.write(payload);
    let writer = Writer::with_capacity(HEADER).u64(generation).u32(len).u64(hasher.finish());
    writer.end().try_into().expect("it has this length")
}

/// Reads the batches of one generation behind `done`; says which one it is, or the next.
fn read(bytes: &Bytes, done: u64, secret: u128) -> (Vec<Entry>, u64) {
    let mut entries = Vec::new();
    let mut generation = None;
    let mut rest = bytes.clone();
    while let Some((found, payload)) = next_batch(&rest, secret) {
        if found <= done || generation.is_some_and(|known| known != found) {
            break;
        }
        generation = Some(found);
        rest = rest.slice(HEADER + payload.len()..);
        let Ok(batch) = read_entries(&payload) else { break };
        entries.extend(batch);
    }
    (entries, generation.unwrap_or(done + 1))
}

/// The generation and payload of the batch at the beginning, if there is a whole one.
fn next_batch(bytes: &Bytes, secret: u128) -> Option<(u64, Bytes)> {
    let mut reader = Reader::new(bytes, "a log's batch");
    let (generation, len) = (reader.u64().ok()?, reader.u32().ok()? as usize);
    let payload = bytes.get(HEADER..)?.get(..len)?;
    (bytes[..HEADER] == header(generation, payload, secret))
        .then(|| (generation, bytes.slice_ref(payload)))
}

fn read_entries(payload: &Bytes) -> Result<Vec<Entry>, Corrupt> {
    let mut entries = Vec::new();
    let mut reader = Reader::new(payload, "a log's entry");
    while !reader.is_at_end() {
        let kind = reader.u8()?;
        let place = Place { position: reader.u64()?, id: reader.id()?, expires_at: reader.time()? };
        entries.push(match kind {
            APPENDED => {
                let accepted_at = reader.time()?;
                let key = Key::new(reader.string()?);
                let payload = Bytes::copy_from_slice(reader.bytes()?);
                Entry::Appended(FreshMessage { key, place, accepted_at, payload })
            }
            GONE => Entry::Gone(Key::new(reader.string()?), place),
            _ => return Err(Corrupt("a log's entry")),
        });
    }
    Ok(entries)
}
