//! The operations on the messages of one key: append, load, remove, retry, bury, expire.

use super::disk::{Fault, records_from};
use super::engine::{Engine, FreshMessage, MANY_RECORDS};
use super::layout::{
    Body, Corrupt, First, Letter, Place, Writer, death_of_key_record, death_record, expiry_cursor,
    expiry_record, letter_record, name_end, name_end_record, name_record, names, prefix, state,
    tagged_prefix,
};
use super::mailboxes::{Entry, Last};
use bytes::Bytes;
use siphasher::sip128::{Hasher128, SipHasher13};
use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hasher};
use std::ops::Bound;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    Append, Appended, DeadCursor, Expired, ExpiryCursor, Loaded, Retry, StoredMessage,
};
use steadfast_core::time::Time;

/// What is known of a push's name.
enum Seen {
    /// Nothing: it is the first.
    Never,
    /// A push with the same payload came before.
    Same(First),
    /// A push with another payload came before.
    Other,
}

impl Engine {
    /// Keeps a message, merges it, or refuses it; the order of the questions is the model's.
    pub(super) fn append(&mut self, append: Append) -> Result<Appended, Fault> {
        if let Some(position) = self.position(&append)? {
            return Ok(Appended::Stored { position, evicted: Vec::new() });
        }
        match self.seen(&append)? {
            Seen::Never => {}
            Seen::Same(First { message: first, promise, .. }) => {
                return Ok(Appended::Duplicate { first, promise });
            }
            Seen::Other => return Ok(Appended::Conflict),
        }
        let hash = append.merge_within.map(|_| self.hasher.hash_one(&append.payload));
        if let Some(into) = self.merges_with(&append, hash)? {
            self.record_name(&append, into)?;
            return Ok(Appended::Merged { into });
        }
        self.store(append, hash)
    }

    /// The position of a message that is already there.
    fn position(&mut self, append: &Append) -> Result<Option<u64>, Fault> {
        if self.counters.newest.is_none_or(|newest| newest < append.id) {
            self.counters.newest = Some(append.id);
            return Ok(None);
        }
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, &append.key)?;
        if let Some(index) = mailbox.index(append.id) {
            return Ok(Some(mailbox.entries[index].place.position));
        }
        let letter = self.letter(&append.key, append.id)?;
        Ok(letter.map(|letter| letter.place.position))
    }

    /// What is known of the name of a push.
    fn seen(&self, push: &Append) -> Result<Seen, Fault> {
        let Some(idempotency) = &push.idempotency else { return Ok(Seen::Never) };
        let record = self.disk.names.get(name_record(&push.key, &idempotency.name))?;
        let Some(record) = record else { return Ok(Seen::Never) };
        let first = First::decode(&record)?;
        Ok(if first.is_over(push.accepted_at) {
            Seen::Never
        } else if first.fingerprint == self.fingerprint(&push.payload) {
            Seen::Same(first)
        } else {
            Seen::Other
        })
    }

    /// Remembers the name of a push, which is the first under it, with what is not committed yet.
    fn record_name(&mut self, push: &Append, message: MessageId) -> Result<(), Fault> {
        let Some(idempotency) = &push.idempotency else { return Ok(()) };
        let first = First {
            message,
            promise: push.promise,
            fingerprint: self.fingerprint(&push.payload),
            accepted_at: push.accepted_at,
            window: idempotency.window,
        };
        let (key, name) = (&push.key, &idempotency.name);
        self.first_name_end = self.first_name_end.min(first.end());
        self.batch.insert(&self.disk.names, name_record(key, name), first.encode());
        self.batch.insert(&self.disk.names, name_end_record(first.end(), key, name), *b"");
        self.spill()
    }

    /// Drops the records of names whose windows are over, the oldest first.
    pub(super) fn forget_names(&mut self, now: Time, at_most: usize) -> Result<(), Fault> {
        if self.first_name_end >= now {
            return Ok(());
        }
        let from = Writer::tagged(names::BY_END).time(self.first_name_end).end();
        self.first_name_end = now;
        let all = records_from(&self.disk.names, &[names::BY_END], Bound::Included(from));
        for (dropped, record) in all.enumerate() {
            let record = record.key()?;
            let (end, name) = name_end(&record)?;
            if end >= now || dropped == at_most {
                self.first_name_end = end.min(now);
                break;
            }
            // A name that was used again has a later end, and a record of that one too.
            if let Some(first) = self.disk.names.get(&name)?
                && First::decode(&first)?.end() == end
            {
                self.batch.remove(&self.disk.names, name);
            }
            self.batch.remove(&self.disk.names, record);
        }
        self.commit()
    }

    fn fingerprint(&self, payload: &[u8]) -> (u64, u128) {
        let mut hasher = SipHasher13::new_with_key(&self.secret.to_be_bytes());
        hasher.write(payload);
        (payload.len() as u64, hasher.finish128().as_u128())
    }

    /// The message that stands for the new one too.
    fn merges_with(
        &mut self,
        append: &Append,
        hash: Option<u64>,
    ) -> Result<Option<MessageId>, Fault> {
        let Some(span) = append.merge_within else { return Ok(None) };
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, &append.key)?;
        let Some(entry) = mailbox.entries.back().copied() else { return Ok(None) };
        if append.window_end == Some(entry.place.id) {
            return Ok(None);
        }
        if let Some(last) = mailbox.last.filter(|last| last.position == entry.place.position)
            && (hash != Some(last.hash) || append.accepted_at.since(last.accepted_at) > span)
        {
            return Ok(None);
        }
        let (accepted_at, payload) = self.content(&append.key, &entry)?;
        let is_same = append.accepted_at.since(accepted_at) <= span && append.payload == payload;
        Ok(is_same.then_some(entry.place.id))
    }

    /// When a waiting message was accepted, and its payload.
    fn content(&self, key: &Key, entry: &Entry) -> Result<(Time, Bytes), Fault> {
        if let Some(message) = self.fresh(entry) {
            return Ok((message.accepted_at, message.payload.clone()));
        }
        let body = self.body(key, &entry.place)?;
        Ok((body.accepted_at, body.payload))
    }

    /// Reads a waiting message that is on disk.
    pub(super) fn body(&self, key: &Key, place: &Place) -> Result<Body, Fault> {
        let record = self.disk.messages.get(place.record(key))?;
        let record = record.ok_or(Corrupt("a waiting message"))?;
        Ok(Body::decode(&record.into())?)
    }

    /// Stores a message at the end of its mailbox.
    fn store(&mut self, append: Append, hash: Option<u64>) -> Result<Appended, Fault> {
        self.counters.position += 1;
        self.counters.waiting += 1;
        let position = self.counters.position;
        let Append { ref key, id, ref payload, accepted_at, expires_at, .. } = append;
        let place = Place { position, id, expires_at };
        let (key, payload) = (key.clone(), payload.clone());
        let fresh = self.keep_fresh(FreshMessage { key, place, accepted_at, payload });
        self.expires_from(expires_at, id);
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, &append.key)?;
        mailbox.last = hash.map(|hash| Last { position, accepted_at, hash });
        mailbox.entries.push_back(Entry { place, fresh });
        let up_to = |id| mailbox.index(id).map_or(0, |index| index + 1);
        let mut excess = Vec::new();
        if mailbox.entries.len() > append.limit as usize {
            let window = append.window_end.map_or(0, up_to);
            let exempt = window.max(append.spare as usize).min(mailbox.entries.len());
            let count = (mailbox.entries.len() - exempt).saturating_sub(append.limit as usize);
            let entries = mailbox.entries.range(exempt..exempt + count);
            excess = entries.map(|entry| entry.place.id).collect();
        }
        self.mailboxes.grown();
        self.record_name(&append, id)?;
        let mut evicted = Vec::new();
        if !excess.is_empty() {
            evicted = self.bury(&append.key, excess, accepted_at, DeathReason::Limit)?;
        }
        Ok(Appended::Stored { position, evicted })
    }

    /// Reads the oldest messages: at most `max_messages`, and none behind the one that reaches
    /// `max_bytes`.
    pub(super) fn load(
        &mut self,
        key: &Key,
        max_messages: u32,
        max_bytes: u64,
    ) -> Result<Loaded, Fault> {
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
        let deaths = mailbox.deaths;
        let tail = mailbox.entries.back().map(|entry| entry.place.position);
        let messages = self.read(key, None, max_messages as usize, max_bytes)?;
        Ok(Loaded { messages, tail, deaths })
    }

    /// The first messages of a key behind a position: at most `count`, and none behind the one that
    /// reaches `max_bytes`.
    pub(super) fn read(
        &mut self,
        key: &Key,
        after: Option<u64>,
        count: usize,
        max_bytes: u64,
    ) -> Result<Vec<StoredMessage>, Fault> {
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
        let start = after.map_or(0, |after| {
            mailbox.entries.partition_point(|entry| entry.place.position <= after)
        });
        let entries: Vec<Entry> = mailbox.entries.range(start..).take(count).copied().collect();
        // What lies before the first in the database are marks of removed ones.
        let first = entries.iter().find(|entry| self.fresh(entry).is_none());
        let from = first.map_or(Bound::Unbounded, |it| Bound::Included(it.place.record(key)));
        let mut records = records_from(&self.disk.messages, &prefix(key), from);
        let mut messages = Vec::with_capacity(entries.len());
        let mut bytes = 0;
        for Entry { place, .. } in &entries {
            let fresh = self.fresh(&entries[messages.len()]);
            let body = match fresh {
                Some(fresh) => Body::new(fresh.accepted_at, fresh.payload.clone()),
                None => loop {
                    let record = records.next().ok_or(Corrupt("a waiting message"))?;
                    let (record, body) = record.into_inner()?;
                    // Others are removed, but not from the database yet.
                    if Place::decode(&record)? == *place {
                        break Body::decode(&body.into())?;
                    }
                },
            };
            bytes += body.payload.len() as u64;
            messages.push(body.at(*place));
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(messages)
    }

    /// Forgets messages of a key, waiting or dead; returns how many were dead.
    pub(super) fn remove(&mut self, key: &Key, ids: &[MessageId]) -> Result<u32, Fault> {
        let mut withdrawn = 0;
        for id in ids {
            if self.take(key, *id)? {
                continue;
            }
            if let Some(letter) = self.letter(key, *id)? {
                self.drop_letter(key, letter.at, *id);
                self.spill()?;
                withdrawn += 1;
            }
        }
        Ok(withdrawn)
    }

    /// Drops a message if it waits; says whether it did.
    pub(super) fn take(&mut self, key: &Key, id: MessageId) -> Result<bool, Fault> {
        let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
        let Some(index) = mailbox.index(id) else { return Ok(false) };
        let entry = mailbox.entries.remove(index).expect("its index was just found");
        self.counters.waiting -= 1;
        self.drop_message(key, &entry);
        Ok(true)
    }

    /// Notes failed tries of waiting messages. A number that is not larger than the known one is
    /// old news, and so is its `not_before`.
    pub(super) fn retry(&mut self, key: &Key, retries: &[Retry]) -> Result<(), Fault> {
        self.spill()?;
        let mut bodies: BTreeMap<u64, (Place, Body)> = BTreeMap::new();
        for Retry { id, tries, not_before } in retries {
            let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
            let Some(index) = mailbox.index(*id) else { continue };
            let place = mailbox.entries[index].place;
            let mut body = match bodies.remove(&place.position) {
                Some((_, body)) => body,
                None => self.body(key, &place)?,
            };
            if *tries > body.tries {
                body.tries = *tries;
                body.not_before = *not_before;
            }
            bodies.insert(place.position, (place, body));
        }
        for (place, body) in bodies.into_values() {
            self.batch.insert(&self.disk.messages, place.record(key), body.encode());
        }
        self.spill()
    }

    /// Turns those messages that wait for the key into dead letters; returns them in the order
    /// given.
    pub(super) fn bury(
        &mut self,
        key: &Key,
        ids: Vec<MessageId>,
        at: Time,
        reason: DeathReason,
    ) -> Result<Vec<MessageId>, Fault> {
        self.spill()?;
        let mut buried = Vec::new();
        for id in ids {
            let mailbox = Self::mailbox(&mut self.mailboxes, &self.disk, key)?;
            let Some(index) = mailbox.index(id) else { continue };
            if reason == DeathReason::Ttl && mailbox.entries[index].place.expires_at > at {
                continue;
            }
            let place = mailbox.entries.remove(index).expect("its index was just found").place;
            mailbox.deaths += 1;
            let deaths = mailbox.deaths;
            let body = self.body(key, &place)?;
            self.batch.remove(&self.disk.messages, place.record(key));
            self.batch.remove(&self.disk.expiry, place.expiry_record());
            let cursor = DeadCursor { at, id };
            let letter = Letter { at, reason, place, body }.encode();
            self.batch.insert(&self.disk.letters, letter_record(key, id), letter);
            let text = key.text().as_bytes().to_vec();
            self.batch.insert(&self.disk.letters, death_record(cursor), text);
            self.batch.insert(&self.disk.letters, death_of_key_record(key, cursor), *b"");
            let record = tagged_prefix(state::DEATHS, key);
            self.batch.insert(&self.disk.state, record, deaths.to_be_bytes());
            self.counters.waiting -= 1;
            self.counters.dead += 1;
            buried.push(id);
            if self.batch.len() > MANY_RECORDS {
                self.spill()?;
            }
        }
        self.spill()?;
        Ok(buried)
    }

    /// Notes when a message that waits from now on expires.
    pub(super) fn expires_from(&mut self, expires_at: Time, id: MessageId) {
        let cursor = ExpiryCursor { expires_at, id };
        self.first_expiry = self.first_expiry.map(|first| first.min(cursor));
    }

    /// The messages that expire at `now` or before and behind `after`, at most `limit`.
    ///
    /// The search begins where the last one from the beginning found its first message: what lies
    /// before are marks of removed ones, which the database would go through every time.
    pub(super) fn expired(
        &mut self,
        now: Time,
        after: Option<ExpiryCursor>,
        limit: u32,
    ) -> Result<Vec<Expired>, Fault> {
        if self.memory_expiry <= now {
            self.spill()?;
        }
        // Behind all records of the place, or at its first.
        let start = match (after, self.first_expiry) {
            (Some(after), _) => Bound::Excluded(expiry_record(after, u64::MAX)),
            (None, Some(first)) => Bound::Included(expiry_record(first, 0)),
            (None, None) => Bound::Unbounded,
        };
        let last = MessageId { incarnation: u32::MAX, counter: u64::MAX };
        let now = ExpiryCursor { expires_at: now, id: last };
        let end = expiry_record(now, u64::MAX);
        if let Bound::Included(first) | Bound::Excluded(first) = &start
            && *first >= end
        {
            return Ok(Vec::new());
        }
        let mut expired = Vec::new();
        let range = (start, Bound::Included(end));
        for record in self.disk.expiry.range::<Vec<u8>, _>(range).take(limit as usize) {
            let (record, text) = record.into_inner()?;
            let text = str::from_utf8(&text).map_err(|_| Corrupt("an expiry"))?;
            expired.push(Expired { key: Key::new(text), cursor: expiry_cursor(&record)? });
        }
        if after.is_none() && limit > 0 {
            self.first_expiry = Some(expired.first().map_or(now, |first| first.cursor));
        }
        Ok(expired)
    }

    /// A dead letter of a key.
    pub(super) fn letter(&self, key: &Key, id: MessageId) -> Result<Option<Letter>, Fault> {
        let record = self.disk.letters.get(letter_record(key, id))?;
        Ok(record.map(|record| Letter::decode(&record.into())).transpose()?)
    }

    /// Drops the records of a dead letter.
    pub(super) fn drop_letter(&mut self, key: &Key, at: Time, id: MessageId) {
        let cursor = DeadCursor { at, id };
        self.batch.remove(&self.disk.letters, letter_record(key, id));
        self.batch.remove(&self.disk.letters, death_record(cursor));
        self.batch.remove(&self.disk.letters, death_of_key_record(key, cursor));
        self.counters.dead -= 1;
    }
}
