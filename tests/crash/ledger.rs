//! What was pushed, what was answered, and what came of it: the facts that the judge is given.

use std::sync::{Mutex, MutexGuard};

/// Names a push: who pushed it, and which of its pushes it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PushId {
    pub(crate) publisher: usize,
    pub(crate) number: usize,
}

/// One push.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Push {
    /// The index of its key.
    pub(crate) key: usize,
    pub(crate) outcome: Outcome,
    /// Whether it has come to somebody; only to know when to stop waiting.
    pub(crate) has_arrived: bool,
}

/// What a push was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing (yet): it may arrive or not.
    Unanswered,
    Ok,
    Queued,
    /// Not promised; it may arrive all the same.
    Fail,
}

impl Outcome {
    pub(crate) fn is_promise(self) -> bool {
        matches!(self, Self::Ok | Self::Queued)
    }

    /// What a reply line says.
    pub(crate) fn of_reply(line: &[u8]) -> Option<Self> {
        match line {
            b"ok" => Some(Self::Ok),
            b"queued" => Some(Self::Queued),
            b"fail" => Some(Self::Fail),
            _ => None,
        }
    }
}

/// One message as a client got it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Byte for byte a push to the key of this client.
    Push(PushId),
    /// Anything else.
    Foreign(String),
}

/// What came over one connection of a client.
pub(crate) type Visit = Vec<Arrival>;

/// Everything that happened to a fixed set of keys and publishers.
pub(crate) struct Ledger {
    pub(crate) keys: Vec<String>,
    publishers: Vec<Mutex<Vec<Push>>>,
    visits: Vec<Mutex<Vec<Visit>>>,
}

impl Ledger {
    pub(crate) fn new(keys: Vec<String>, publishers: usize) -> Self {
        let visits = keys.iter().map(|_| Mutex::default()).collect();
        Self { keys, publishers: (0..publishers).map(|_| Mutex::default()).collect(), visits }
    }

    /// The pushes of one publisher.
    pub(crate) fn pushes(&self, publisher: usize) -> MutexGuard<'_, Vec<Push>> {
        self.publishers[publisher].lock().expect("no user of the ledger panicked")
    }

    /// The connections that the client of a key has had.
    pub(crate) fn visits(&self, key: usize) -> MutexGuard<'_, Vec<Visit>> {
        self.visits[key].lock().expect("no user of the ledger panicked")
    }

    /// Notes a push that is about to be written, and returns its line.
    pub(crate) fn push(&self, publisher: usize, key: usize) -> String {
        let mut pushes = self.pushes(publisher);
        let id = PushId { publisher, number: pushes.len() };
        pushes.push(Push { key, outcome: Outcome::Unanswered, has_arrived: false });
        line(id, &self.keys[key])
    }

    /// Notes a message that came to the client of `key` over its latest connection.
    pub(crate) fn arrive(&self, key: usize, text: &str) {
        let id = parse(text).filter(|&id| line(id, &self.keys[key]) == text);
        let arrival = match id {
            Some(id) => {
                let mut pushes = self
                    .publishers
                    .get(id.publisher)
                    .map(|pushes| pushes.lock().expect("no user of the ledger panicked"));
                if let Some(push) = pushes.as_mut().and_then(|pushes| pushes.get_mut(id.number)) {
                    push.has_arrived = true;
                }
                Arrival::Push(id)
            }
            None => Arrival::Foreign(text.to_owned()),
        };
        self.visits(key).last_mut().expect("a visit has begun").push(arrival);
    }

    /// How many promised pushes to these keys have not arrived.
    pub(crate) fn missing(&self, is_wanted: impl Fn(usize) -> bool) -> usize {
        let missing =
            |push: &&Push| push.outcome.is_promise() && !push.has_arrived && is_wanted(push.key);
        (0..self.publishers.len()).map(|it| self.pushes(it).iter().filter(missing).count()).sum()
    }

    /// How many pushes there were with such an outcome.
    pub(crate) fn count(&self, is_wanted: impl Fn(Outcome) -> bool) -> usize {
        let count = |it| self.pushes(it).iter().filter(|push| is_wanted(push.outcome)).count();
        (0..self.publishers.len()).map(count).sum()
    }

    /// What the judge judges.
    pub(crate) fn into_facts(self) -> Facts {
        let open = "no user of the ledger panicked";
        Facts {
            keys: self.keys,
            pushes: self.publishers.into_iter().map(|it| it.into_inner().expect(open)).collect(),
            visits: self.visits.into_iter().map(|it| it.into_inner().expect(open)).collect(),
        }
    }
}

/// A ledger when nothing more happens.
pub(crate) struct Facts {
    pub(crate) keys: Vec<String>,
    /// By publisher.
    pub(crate) pushes: Vec<Vec<Push>>,
    /// By key.
    pub(crate) visits: Vec<Vec<Visit>>,
}

/// The line of a push. Mostly short; its length depends on its number.
pub(crate) fn line(id: PushId, key: &str) -> String {
    let PushId { publisher, number } = id;
    let length = if number % 997 == 500 { 20_000 } else { number % 97 };
    let uid = serde_json::Value::from(key);
    format!(r#"{{"p":{publisher},"n":{number},"uid":{uid},"pad":"{:.>length$}"}}"#, "")
}

/// Which push a text claims to be.
fn parse(text: &str) -> Option<PushId> {
    let (publisher, rest) = text.strip_prefix(r#"{"p":"#)?.split_once(r#","n":"#)?;
    let (number, _) = rest.split_once(',')?;
    Some(PushId { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
}

#[test]
fn a_line_is_known_again_only_by_the_client_of_its_key() {
    let keys = vec!["5".to_owned(), r#"{"uid":"5"}"#.to_owned()];
    let ledger = Ledger::new(keys, 1);
    let line = ledger.push(0, 1);
    for key in [0, 1] {
        ledger.visits(key).push(Visit::new());
        ledger.arrive(key, &line);
    }
    assert_eq!(*ledger.visits(0), [[Arrival::Foreign(line)]]);
    assert_eq!(*ledger.visits(1), [[Arrival::Push(PushId { publisher: 0, number: 0 })]]);
}
