//! How records are written: the keys and values of every keyspace, and their reading.
//!
//! Numbers are big-endian, so that keys sort as their numbers do. The text of a gateway's key is
//! written with each zero byte as `00 01` and ends with `00 00`: texts sort as they are, none is the
//! beginning of another, and a text is found again in front of whatever follows it.

use bytes::Bytes;
use steadfast_core::id::{ConnId, Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    DeadCursor, DeadLetter, ExpiryCursor, Promise, Session, StoredMessage,
};
use steadfast_core::time::{Span, Time};

/// The version of this layout. A store of a later one is not touched.
pub(super) const VERSION: u32 = 1;

/// A record that cannot be read; says which kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupt(pub(super) &'static str);

/// Records of the keyspace `state`, each kind under its first byte.
pub(super) mod state {
    /// The layout's version: u32.
    pub(in super::super) const VERSION: &[u8] = b"v";
    /// The last incarnation handed out: u32.
    pub(in super::super) const INCARNATION: &[u8] = b"i";
    /// The store's own random bytes: u128.
    pub(in super::super) const SECRET: &[u8] = b"s";
    /// [`Counters`](super::Counters).
    pub(in super::super) const COUNTERS: &[u8] = b"n";
    /// The last generation of the write-ahead log that is in the database: u64.
    pub(in super::super) const GENERATION: &[u8] = b"g";
    /// The number of the device log's last entry: u64.
    pub(in super::super) const LOGGED: &[u8] = b"m";
    /// What the entries of the device log count for, in bytes: u64.
    pub(in super::super) const LOGGED_BYTES: &[u8] = b"b";
    /// A record that is written to see whether writing works again.
    pub(in super::super) const PROBE: &[u8] = b"p";
    /// By key text: how many of its messages ever died, u64.
    pub(in super::super) const DEATHS: u8 = b'd';
    /// By session id: a session.
    pub(in super::super) const SESSION: u8 = b'S';
    /// By expiry and session id: nothing.
    pub(in super::super) const SESSION_EXPIRY: u8 = b'X';
}

/// Records of the keyspace `devices`.
pub(super) mod devices {
    /// By device id: its connection.
    pub(in super::super) const LINK: u8 = b'D';
    /// By number: device id and entry.
    pub(in super::super) const ENTRY: u8 = b'L';
}

/// Records of the keyspace `letters`.
pub(super) mod letters {
    /// By key text and message id: a dead letter.
    pub(in super::super) const LETTER: u8 = b'l';
    /// By time of death and message id: the key's text.
    pub(in super::super) const BY_TIME: u8 = b't';
    /// By key text, time of death and message id: nothing.
    pub(in super::super) const BY_KEY: u8 = b'k';
}

/// Records of the keyspace `names`.
pub(super) mod names {
    /// By key text and name: the first push under it.
    pub(in super::super) const NAME: u8 = b'n';
    /// By the end of its window, key text and name: nothing.
    pub(in super::super) const BY_END: u8 = b'o';
}

/// Appends the parts of a record.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    /// A writer with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// A writer behind what is written already.
    pub(super) fn onto(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A record that begins with this byte.
    pub(super) fn tagged(tag: u8) -> Self {
        let mut writer = Self::with_capacity(64);
        writer.0.push(tag);
        writer
    }

    pub(super) fn u8(mut self, number: u8) -> Self {
        self.0.push(number);
        self
    }

    pub(super) fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn u128(mut self, number: u128) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn time(self, time: Time) -> Self {
        self.u64(time.as_micros())
    }

    pub(super) fn id(self, id: MessageId) -> Self {
        self.u32(id.incarnation).u64(id.counter)
    }

    /// The rest of the record.
    pub(super) fn rest(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Bytes with their length in front.
    pub(super) fn bytes(self, bytes: &[u8]) -> Self {
        let len = u32::try_from(bytes.len()).expect("texts are shorter than 4 GiB");
        self.u32(len).rest(bytes)
    }

    /// A text that sorts as it is and ends where it ends.
    pub(super) fn text(mut self, text: &str) -> Self {
        self.escape(text);
        self.0.extend_from_slice(&[0, 0]);
        self
    }

    fn escape(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let Some(zero) = memchr::memchr(0, rest) {
            self.0.extend_from_slice(&rest[..=zero]);
            self.0.push(1);
            rest = &rest[zero + 1..];
        }
        self.0.extend_from_slice(rest);
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.0
    }
}

/// Takes a record apart again.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    /// Reads these bytes, which are a record of this kind.
    pub(super) fn new(bytes: &'a [u8], what: &'static str) -> Self {
        Self { bytes, what }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (head, rest) = self.bytes.split_first_chunk::<N>().ok_or(Corrupt(self.what))?;
        self.bytes = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Corrupt> {
        self.take::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Corrupt> {
        self.take().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Corrupt> {
        self.take().map(u64::from_be_bytes)
    }

    pub(super) fn u128(&mut self) -> Result<u128, Corrupt> {
        self.take().map(u128::from_be_bytes)
    }

    pub(super) fn time(&mut self) -> Result<Time, Corrupt> {
        self.u64().map(Time::from_micros)
    }

    pub(super) fn id(&mut self) -> Result<MessageId, Corrupt> {
        Ok(MessageId { incarnation: self.u32()?, counter: self.u64()? })
    }

    /// The rest of the record.
    pub(super) fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// The rest of the record as text.
    pub(super) fn rest_text(self) -> Result<&'a str, Corrupt> {
        str::from_utf8(self.bytes).map_err(|_| Corrupt(self.what))
    }

    /// Bytes with their length in front.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let len = self.u32()? as usize;
        let (head, rest) = self.bytes.split_at_checked(len).ok_or(Corrupt(self.what))?;
        self.bytes = rest;
        Ok(head)
    }

    /// The same as text.
    pub(super) fn string(&mut self) -> Result<&'a str, Corrupt> {
        let what = self.what;
        str::from_utf8(self.bytes()?).map_err(|_| Corrupt(what))
    }

    /// A text written by [`Writer::text`].
    pub(super) fn text(&mut self) -> Result<String, Corrupt> {
        let mut text = Vec::new();
        loop {
            let zero = memchr::memchr(0, self.bytes).ok_or(Corrupt(self.what))?;
            let after = *self.bytes.get(zero + 1).ok_or(Corrupt(self.what))?;
            text.extend_from_slice(&self.bytes[..zero]);
            self.bytes = &self.bytes[zero + 2..];
            match after {
                0 => return String::from_utf8(text).map_err(|_| Corrupt(self.what)),
                1 => text.push(0),
                _ => return Err(Corrupt(self.what)),
            }
        }
    }
}

/// What the store counts, as of the last batch of messages in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The last position that was given.
    pub(super) position: u64,
    /// The largest id ever kept.
    pub(super) newest: Option<MessageId>,
    /// How many messages wait.
    pub(super) waiting: u64,
    /// How many dead letters there are.
    pub(super) dead: u64,
}

impl Counters {
    pub(super) fn encode(&self) -> Vec<u8> {
        let id = self.newest.unwrap_or(MessageId { incarnation: 0, counter: 0 });
        Writer::with_capacity(64)
            .u64(self.position)
            .u8(u8::from(self.newest.is_some()))
            .id(id)
            .u64(self.waiting)
            .u64(self.dead)
            .end()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(bytes, "the counters");
        let position = reader.u64()?;
        let is_known = reader.u8()? == 1;
        let newest = Some(reader.id()?).filter(|_| is_known);
        let (waiting, dead) = (reader.u64()?, reader.u64()?);
        Ok(Self { position, newest, waiting, dead })
    }
}

/// A key's text in front of its records.
pub(super) fn prefix(key: &Key) -> Vec<u8> {
    Writer::with_capacity(key.len() + 2).text(key).end()
}

/// What the records of all keys begin with that begin with this text.
pub(super) fn escaped(text: &str) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.escape(text);
    writer.end()
}

/// A key's text behind a tag.
pub(super) fn tagged_prefix(tag: u8, key: &Key) -> Vec<u8> {
    Writer::tagged(tag).text(key).end()
}

/// The end of the range of all keys that begin with `prefix`, which does not end with `ff`.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    let last = end.last_mut().expect("a prefix is not empty");
    *last = last.checked_add(1).expect("a prefix ends with a tag or a zero");
    end
}

/// What a message's record is found by: key text, position, id, expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) position: u64,
    pub(super) id: MessageId,
    pub(super) expires_at: Time,
}

/// How long [`Place`] is behind the key's text.
const PLACE: usize = 28;

impl Place {
    /// The record's key.
    pub(super) fn record(&self, key: &Key) -> Vec<u8> {
        Writer::with_capacity(key.len() + 2 + PLACE)
            .text(key)
            .u64(self.position)
            .id(self.id)
            .time(self.expires_at)
            .end()
    }

    /// The key of the record in the order of expiry.
    pub(super) fn expiry_record(&self) -> Vec<u8> {
        let cursor = ExpiryCursor { expires_at: self.expires_at, id: self.id };
        expiry_record(cursor, self.position)
    }

    /// The place at the end of a record's key.
    pub(super) fn decode(record: &[u8]) -> Result<Self, Corrupt> {
        let start = record.len().checked_sub(PLACE).ok_or(Corrupt("a message"))?;
        let mut reader = Reader::new(&record[start..], "a message");
        Ok(Self { position: reader.u64()?, id: reader.id()?, expires_at: reader.time()? })
    }
}

/// The key of a record in the order of expiry. With the position, so that an id which is removed and
/// kept again has another record.
pub(super) fn expiry_record(cursor: ExpiryCursor, position: u64) -> Vec<u8> {
    Writer::with_capacity(28).time(cursor.expires_at).id(cursor.id).u64(position).end()
}

/// The place in the order of expiry that such a key names.
pub(super) fn expiry_cursor(record: &[u8]) -> Result<ExpiryCursor, Corrupt> {
    let mut reader = Reader::new(record, "an expiry");
    Ok(ExpiryCursor { expires_at: reader.time()?, id: reader.id()? })
}

/// A waiting message without its place.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Body {
    pub(super) accepted_at: Time,
    pub(super) tries: u32,
    pub(super) not_before: Time,
    /// Its earlier deaths, oldest first.
    pub(super) history: Vec<(Time, DeathReason)>,
    pub(super) payload: Bytes,
}

impl Body {
    /// The body of a message that was never tried.
    pub(super) fn new(accepted_at: Time, payload: Bytes) -> Self {
        Self { accepted_at, tries: 0, not_before: Time::EPOCH, history: Vec::new(), payload }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let size = 24 + 9 * self.history.len() + self.payload.len();
        self.append_to(Writer::with_capacity(size)).end()
    }

    fn append_to(&self, writer: Writer) -> Writer {
        let deaths = u32::try_from(self.history.len()).expect("fewer than 2^32 deaths");
        let writer = writer.time(self.accepted_at).u32(self.tries).time(self.not_before);
        let deaths_of = |writer: Writer, (at, reason): &(Time, DeathReason)| {
            writer.time(*at).u8(encode_reason(*reason))
        };
        self.history.iter().fold(writer.u32(deaths), deaths_of).rest(&self.payload)
    }

    /// Reads a body to the end of the record; the payload shares its memory.
    pub(super) fn decode(record: &Bytes) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(record, "a message");
        let (accepted_at, tries, not_before) = (reader.time()?, reader.u32()?, reader.time()?);
        let deaths = reader.u32()?;
        let mut history = Vec::new();
        for _ in 0..deaths {
            history.push((reader.time()?, decode_reason(reader.u8()?)?));
        }
        let payload = record.slice_ref(reader.rest());
        Ok(Self { accepted_at, tries, not_before, history, payload })
    }

    /// The message as the contract has it.
    pub(super) fn at(self, place: Place) -> StoredMessage {
        let Place { position, id, expires_at } = place;
        let Self { accepted_at, tries, not_before, history: _, payload } = self;
        StoredMessage { id, position, payload, accepted_at, expires_at, tries, not_before }
    }
}

/// A dead letter as it is kept under its key and id.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Letter {
    pub(super) at: Time,
    pub(super) reason: DeathReason,
    pub(super) place: Place,
    pub(super) body: Body,
}

impl Letter {
    pub(super) fn encode(&self) -> Vec<u8> {
        let size = 64 + 9 * self.body.history.len() + self.body.payload.len();
        let writer = Writer::with_capacity(size)
            .time(self.at)
            .u8(encode_reason(self.reason))
            .u64(self.place.position)
            .id(self.place.id)
            .time(self.place.expires_at);
        self.body.append_to(writer).end()
    }

    pub(super) fn decode(record: &Bytes) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(record, "a dead letter");
        let (at, reason) = (reader.time()?, decode_reason(reader.u8()?)?);
        let place = Place { position: reader.u64()?, id: reader.id()?, expires_at: reader.time()? };
        let body = Body::decode(&record.slice_ref(reader.rest()))?;
        Ok(Self { at, reason, place, body })
    }

    /// The dead letter as the contract has it.
    pub(super) fn of(self, key: Key) -> DeadLetter {
        let Self { at, reason, place, mut body } = self;
        let history = std::mem::take(&mut body.history);
        DeadLetter { key, message: body.at(place), at, reason, history }
    }
}

/// The key of a dead letter.
pub(super) fn letter_record(key: &Key, id: MessageId) -> Vec<u8> {
    Writer::tagged(letters::LETTER).text(key).id(id).end()
}

/// The key of its record in the order of death.
pub(super) fn death_record(cursor: DeadCursor) -> Vec<u8> {
    Writer::tagged(letters::BY_TIME).time(cursor.at).id(cursor.id).end()
}

/// The key of its record in its key's order of death.
pub(super) fn death_of_key_record(key: &Key, cursor: DeadCursor) -> Vec<u8> {
    Writer::tagged(letters::BY_KEY).text(key).time(cursor.at).id(cursor.id).end()
}

/// The place in the order of death that either of the two ends with.
pub(super) fn death_cursor(record: &[u8]) -> Result<DeadCursor, Corrupt> {
    let start = record.len().checked_sub(20).ok_or(Corrupt("a death"))?;
    let mut reader = Reader::new(&record[start..], "a death");
    Ok(DeadCursor { at: reader.time()?, id: reader.id()? })
}

/// The first push under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct First {
    /// Its message, or the one it was merged into.
    pub(super) message: MessageId,
    pub(super) promise: Promise,
    /// The payload's length and its hash under the store's secret.
    pub(super) fingerprint: (u64, u128),
    pub(super) accepted_at: Time,
    pub(super) window: Span,
}

impl First {
    pub(super) fn encode(&self) -> Vec<u8> {
        let promise = match self.promise {
            Promise::Ok => 0,
            Promise::Queued => 1,
        };
        Writer::with_capacity(64)
            .id(self.message)
            .u8(promise)
            .u64(self.fingerprint.0)
            .u128(self.fingerprint.1)
            .time(self.accepted_at)
            .u64(self.window.as_micros())
            .end()
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut reader = Reader::new(bytes, "an idempotency name");
        let message = reader.id()?;
        let promise = match reader.u8()? {
            0 => Promise::Ok,
            1 => Promise::Queued,
            _ => return Err(Corrupt("an idempotency name")),
        };
        let fingerprint = (reader.u64()?, reader.u128()?);
        let (accepted_at, window) = (reader.time()?, Span::from_micros(reader.u64()?));
        Ok(Self { message, promise, fingerprint, accepted_at, window })
    }

    /// Whether a push accepted at `now` is too late to be a duplicate.
    pub(super) fn is_over(&self, now: Time) -> bool {
        now.since(self.accepted_at) > self.window
    }

    /// The last moment at which a push is a duplicate.
    pub(super) fn end(&self) -> Time {
        self.accepted_at + self.window
    }
}

/// The key of a name's first push.
pub(super) fn name_record(key: &Key, name: &str) -> Vec<u8> {
    Writer::tagged(names::NAME).text(key).rest(name.as_bytes()).end()
}

/// The key of its record in the order of the windows' ends.
pub(super) fn name_end_record(end: Time, key: &Key, name: &str) -> Vec<u8> {
    Writer::tagged(names::BY_END).time(end).text(key).rest(name.as_bytes()).end()
}

/// The end that such a key names, and the key of the name's first push.
pub(super) fn name_end(record: &[u8]) -> Result<(Time, Vec<u8>), Corrupt> {
    let mut reader = Reader::new(record, "the end of a name");
    reader.u8()?;
    let end = reader.time()?;
    Ok((end, Writer::tagged(names::NAME).rest(reader.rest()).end()))
}

/// A session as it is kept under its id.
pub(super) fn encode_session(session: &Session) -> Vec<u8> {
    Writer::with_capacity(96 + session.context.len())
        .bytes(session.key.as_bytes())
        .bytes(session.context.as_bytes())
        .u64(session.applied)
        .u64(session.deaths_seen)
        .time(session.expires_at)
        .end()
}

/// The session of this id.
pub(super) fn decode_session(id: &str, bytes: &[u8]) -> Result<Session, Corrupt> {
    let mut reader = Reader::new(bytes, "a session");
    let (key, context) = (reader.string()?, reader.string()?);
    Ok(Session {
        id: id.into(),
        key: Key::new(key),
        context: context.into(),
        applied: reader.u64()?,
        deaths_seen: reader.u64()?,
        expires_at: reader.time()?,
    })
}

/// A device's connection.
pub(super) fn encode_conn(conn: ConnId) -> Vec<u8> {
    Writer::with_capacity(8).u32(conn.slot).u32(conn.generation).end()
}

fn encode_reason(reason: DeathReason) -> u8 {
    match reason {
        DeathReason::Tries => 0,
        DeathReason::Ttl => 1,
        DeathReason::Limit => 2,
    }
}

fn decode_reason(byte: u8) -> Result<DeathReason, Corrupt> {
    match byte {
        0 => Ok(DeathReason::Tries),
        1 => Ok(DeathReason::Ttl),
        2 => Ok(DeathReason::Limit),
        _ => Err(Corrupt("a reason of death")),
    }
}
