//! Answers of the model as the scripts' replies: the inverse of
//! `steadfast_shell::codec::redis::decode`.

use steadfast_core::id::MessageId;
use steadfast_core::record::DeathReason;
use steadfast_core::store::{
    Answer, Appended, ClaimAnswer, DeadAnswer, DeadLetter, Found, Loaded, Notice, Promise,
    QueueAnswer, Session, StoredMessage,
};
use steadfast_core::time::Time;

/// Times of expiry are told exactly up to this one.
const LAST_SCORE: u64 = 1 << 53;

/// A reply being written.
#[derive(Debug, Default)]
pub(super) struct Reply(pub(super) Vec<u8>);

impl Reply {
    pub(super) fn simple(&mut self, text: &str) {
        self.0.extend_from_slice(format!("+{text}\r\n").as_bytes());
    }

    pub(super) fn error(&mut self, text: &str) {
        self.0.extend_from_slice(format!("-{text}\r\n").as_bytes());
    }

    pub(super) fn int(&mut self, number: u64) {
        self.0.extend_from_slice(format!(":{number}\r\n").as_bytes());
    }

    pub(super) fn bulk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
    }

    pub(super) fn maybe(&mut self, bytes: Option<impl AsRef<[u8]>>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.0.extend_from_slice(b"$-1\r\n"),
        }
    }

    pub(super) fn array(&mut self, length: usize) {
        self.0.extend_from_slice(format!("*{length}\r\n").as_bytes());
    }

    fn ids(&mut self, ids: &[MessageId]) {
        self.array(ids.len());
        for id in ids {
            self.bulk(id_bytes(*id));
        }
    }

    /// What the scripts reply when the model answers this.
    pub(super) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Appended(appended) => self.appended(appended),
            Answer::Loaded(loaded) => self.loaded(&loaded),
            Answer::Removed { withdrawn, .. } => self.int(u64::from(withdrawn)),
            Answer::Retried | Answer::SessionKept | Answer::Claim(ClaimAnswer::Renewed) => {
                self.simple("OK");
            }
            Answer::Buried(ids)
            | Answer::Dead(DeadAnswer::Requeued(ids))
            | Answer::Queue(QueueAnswer::Purged(ids)) => self.ids(&ids),
            Answer::Expired(expired) => {
                self.array(2 * expired.len());
                for expired in expired {
                    let id = id_bytes(expired.cursor.id);
                    self.bulk([&id[..], expired.key.as_bytes()].concat());
                    self.bulk(score(expired.cursor.expires_at));
                }
            }
            Answer::Claim(answer) => self.claim(&answer),
            Answer::Dead(DeadAnswer::Listed(letters)) => {
                self.array(4 * letters.len());
                for letter in letters {
                    self.bulk(letter.key.as_bytes());
                    self.message(&letter.message, &deaths(&letter));
                }
            }
            Answer::Dead(DeadAnswer::Purged(count)) => self.int(count),
            Answer::Queue(answer) => self.queue(answer),
            Answer::Found(found) => self.found(&found),
            Answer::SessionFound(session) => self.maybe(session.as_ref().map(session_bytes)),
            Answer::Device(_) | Answer::Failed(_) => {
                unreachable!("devices have no scripts, and the model fails nothing")
            }
        }
    }

    fn appended(&mut self, appended: Appended) {
        match appended {
            Appended::Stored { position, evicted } if evicted.is_empty() => self.int(position),
            Appended::Stored { position, evicted } => self.placed("stored", position, &evicted),
            Appended::Elsewhere { position, evicted } => {
                self.placed("elsewhere", position, &evicted);
            }
            Appended::Merged { into } => {
                self.array(2);
                self.bulk("merged");
                self.bulk(id_bytes(into));
            }
            Appended::Duplicate { first, promise } => {
                self.array(3);
                self.bulk("duplicate");
                self.bulk(id_bytes(first));
                self.bulk(match promise {
                    Promise::Ok => "o",
                    Promise::Queued => "q",
                });
            }
            Appended::Conflict => {
                self.array(1);
                self.bulk("conflict");
            }
        }
    }

    fn placed(&mut self, what: &str, position: u64, evicted: &[MessageId]) {
        self.array(3);
        self.bulk(what);
        self.int(position);
        self.ids(evicted);
    }

    fn loaded(&mut self, loaded: &Loaded) {
        self.array(2 + 3 * loaded.messages.len());
        self.maybe((loaded.deaths > 0).then(|| loaded.deaths.to_string()));
        self.maybe(loaded.tail.map(|tail| tail.to_string()));
        loaded.messages.iter().for_each(|message| self.message(message, &[]));
    }

    /// A message as its id, value and history.
    fn message(&mut self, message: &StoredMessage, deaths: &[u8]) {
        self.bulk(id_bytes(message.id));
        self.bulk([&header(message)[..], &message.payload].concat());
        let is_plain = message.tries == 0 && message.not_before == Time::EPOCH && deaths.is_empty();
        let mut history = message.tries.to_be_bytes().to_vec();
        history.extend_from_slice(&message.not_before.as_micros().to_be_bytes());
        history.extend_from_slice(deaths);
        self.maybe((!is_plain).then_some(history));
    }

    fn claim(&mut self, answer: &ClaimAnswer) {
        match answer {
            ClaimAnswer::Renewed => self.simple("OK"),
            ClaimAnswer::Taken => self.maybe(None::<&[u8]>),
            ClaimAnswer::Claimed { epoch, previous } => {
                self.array(2);
                self.bulk(epoch.to_be_bytes());
                self.bulk(previous.to_be_bytes());
            }
            ClaimAnswer::Released(current) => self.int(u64::from(*current)),
        }
    }

    fn queue(&mut self, answer: QueueAnswer) {
        match answer {
            QueueAnswer::Keys(queues) => {
                self.array(4 * queues.len());
                for queue in queues {
                    self.bulk(queue.key.as_bytes());
                    self.int(queue.messages);
                    self.int(queue.bytes);
                    let mut header = [0; 24];
                    header[8..16].copy_from_slice(&queue.oldest.as_micros().to_be_bytes());
                    self.bulk(header);
                }
            }
            QueueAnswer::Messages(messages) => {
                self.array(3 * messages.len());
                messages.iter().for_each(|message| self.message(message, &[]));
            }
            QueueAnswer::Purged(ids) => self.ids(&ids),
            QueueAnswer::Totals { waiting, dead } => {
                self.array(2);
                self.int(waiting);
                self.int(dead);
            }
        }
    }

    fn found(&mut self, found: &Found) {
        match found {
            Found::Unknown => self.array(0),
            Found::Gone(id) => {
                self.array(1);
                self.bulk(id_bytes(*id));
            }
            Found::Waiting(message) => {
                self.array(4);
                self.message(message, &[]);
                self.maybe(None::<&[u8]>);
            }
            Found::Dead(letter) => {
                self.array(4);
                self.message(&letter.message, &deaths(letter));
                self.bulk(letter.at.as_micros().to_string());
            }
        }
    }
}

/// What is published for a node.
pub(super) fn notice_bytes(notice: &Notice) -> Vec<u8> {
    match notice {
        Notice::MessageStored(key) => [b"s", key.as_bytes()].concat(),
        Notice::KeyFreed(key) => [b"f", key.as_bytes()].concat(),
        Notice::KeyTaken { key, epoch } => {
            [&b"t"[..], &epoch.to_be_bytes(), key.as_bytes()].concat()
        }
        Notice::Missed => unreachable!("no store says what it does not know"),
    }
}

fn id_bytes(id: MessageId) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..4].copy_from_slice(&id.incarnation.to_be_bytes());
    bytes[4..].copy_from_slice(&id.counter.to_be_bytes());
    bytes
}

/// What a message's value begins with.
fn header(message: &StoredMessage) -> [u8; 24] {
    let mut bytes = [0; 24];
    bytes[..8].copy_from_slice(&message.position.to_be_bytes());
    bytes[8..16].copy_from_slice(&message.accepted_at.as_micros().to_be_bytes());
    bytes[16..].copy_from_slice(&message.expires_at.as_micros().to_be_bytes());
    bytes
}

fn score(time: Time) -> String {
    if time.as_micros() > LAST_SCORE { "inf".to_owned() } else { time.as_micros().to_string() }
}

/// All deaths of a dead letter, the last one included.
fn deaths(letter: &DeadLetter) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, reason) in letter.history.iter().chain([&(letter.at, letter.reason)]) {
        bytes.extend_from_slice(&at.as_micros().to_be_bytes());
        bytes.push(match reason {
            DeathReason::Tries => b'1',
            DeathReason::Ttl => b'2',
            DeathReason::Limit => b'3',
        });
    }
    bytes
}

fn session_bytes(session: &Session) -> Vec<u8> {
    let Session { id: _, key, context, applied, deaths_seen, expires_at } = session;
    let length = u32::try_from(key.len()).expect("keys are short");
    [
        &expires_at.as_micros().to_be_bytes()[..],
        &applied.to_be_bytes(),
        &deaths_seen.to_be_bytes(),
        &length.to_be_bytes(),
        key.as_bytes(),
        context.as_bytes(),
    ]
    .concat()
}
