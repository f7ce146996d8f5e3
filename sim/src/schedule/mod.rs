//! Schedules: what happens in a world from outside, as data.
//!
//! A [`Schedule`] is drawn from a seed before the world runs: who there is ([`WorldSpec`]), which
//! families of faults exist in it ([`Family`]), and what every actor does when ([`Op`]). Each actor
//! has a random stream of its own, while the schedule is drawn and while the world runs, so that
//! removing an operation leaves all others as they were: that is what shrinking needs. A schedule is
//! readable JSON when it is kept as a regression.
//!
//! Not here: what an operation does. That is for the worlds.

mod devices;
mod draw;
mod faults;
mod spec;

pub use faults::{Delivered, Family};
pub(crate) use spec::session_link;
pub use spec::{Binding, ClientSpec, KeySpec, LinkSettings, Pongs, Settings, Speaks, WorldSpec};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write;
use steadfast_core::event::PushRequest;
use steadfast_core::id::Key;
use steadfast_core::operator::OperatorRequest;
use steadfast_core::store::DeadFilter;
use steadfast_core::time::Span;

/// Everything that makes one world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// What the schedule was drawn from; the actors' random streams are made from it too.
    pub seed: u64,
    /// Which kind of world it is for.
    pub tier: Tier,
    /// The families of faults that exist in this world. None: everything works.
    pub families: BTreeSet<Family>,
    /// Who and what there is.
    pub world: WorldSpec,
    /// What happens, in order of time.
    pub ops: Vec<Op>,
}

/// The kinds of worlds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Tier {
    /// The core and an event heap.
    Direct,
    /// Real bytes through the codecs, on simulated hosts.
    Turmoil,
}

/// One thing that one actor does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Op {
    /// When, in microseconds since the world began.
    pub at: u64,
    /// Who.
    pub actor: Actor,
    /// What.
    pub kind: OpKind,
}

/// Who does something. The numbers are places in the lists of [`WorldSpec`], or count from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Actor {
    /// A client, or its network.
    Client(u32),
    /// A back end.
    BackEnd(u32),
    /// A gateway's process, and its way to a Redis that gateways share.
    Gateway(u32),
    /// The storage, and the process and connections of one that gateways share.
    Store,
    /// The wall clock of all gateways.
    Clock,
    /// Sockets that are no client's: half-done upgrades, rubbish.
    Stranger,
    /// People who look after queues and dead letters.
    Operator,
}

/// What an actor does. Times are in milliseconds unless their name says otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum OpKind {
    /// The client's application wants to be connected: its link connects, and reconnects by itself.
    Start,
    /// The client closes its connection cleanly and starts again after this time.
    Leave(u64),
    /// The client loses power without a word, and starts again after this time: the gateway is
    /// left with a half-open socket.
    Vanish(u64),
    /// The client's connection is reset.
    Reset,
    /// The client's process stands still for this time: it reads, answers and sends nothing.
    Freeze(u64),
    /// The client answers no pings for this time.
    IgnorePings(u64),
    /// The client's socket takes nothing for this time.
    ReadSlowly(u64),
    /// The client's network loses everything for this time; later the connection is reset.
    Cut(Direction, u64),
    /// The client is cut off from its gateway alone, and goes to the next one.
    Move {
        /// For how long it is cut off.
        cut: u64,
        /// Whether it comes back after that.
        back: bool,
    },
    /// The client's network holds everything back for this time, and then delivers it.
    Hold(u64),
    /// The client sends a pong that answers no ping of ours, with this counter.
    StrayPong(u64),
    /// The client sends its first message once more, beside its heartbeats.
    Repeat,
    /// The client sends some other text.
    Chat,
    /// The client sends a binary message that is no text.
    Binary,
    /// The device uploads an entry of this number for the device log.
    Upload(u32),
    /// The device calls itself by the name of another until its next heartbeat: that of this key, by
    /// its place in [`WorldSpec::keys`].
    Pose(u32),
    /// The client changes the context of its session.
    Change,
    /// The back end pushes by a line.
    Push(Push),
    /// The back end pushes as HTTP does, under a name of its own if there is one.
    Request(Push, Option<u32>),
    /// The back end sends a line that is no push.
    BadLine(BadLine),
    /// The back end ends its connection, so many bytes of a last line unfinished, and opens another.
    Finish(u64),
    /// The back end's connection is reset, and it opens another.
    Drop,
    /// The store behaves like this for this time.
    Trouble(Trouble, u64),
    /// The gateway's process stands still for this time.
    Stall(u64),
    /// The gateway's process ends at once and starts again.
    Crash {
        /// How its peers learn of it.
        how: Crash,
        /// After how long it starts again.
        down: u64,
        /// How far the wall clock goes backward meanwhile.
        back: u64,
    },
    /// The gateway's process is asked to stop, and starts again after this time.
    Shutdown(u64),
    /// The wall clock leaps forward by this time.
    Leap(u64),
    /// A socket is opened, and this is all that comes.
    Intrude(Intrusion),
    /// An operator asks for this, about this key: its place in [`WorldSpec::keys`].
    Ask(Question, u32),
}

/// Which way a network loses everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Direction {
    /// Both ways.
    Both,
    /// From the client to the gateway.
    ToGateway,
    /// From the gateway to the client.
    ToClient,
}

/// One push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// To which key: its place in [`WorldSpec::keys`].
    pub key: u32,
    /// What is pushed. Pushes of one number are the same to the byte.
    pub serial: u32,
    /// How many bytes of padding there are.
    pub padding: u32,
    /// Whether a client that reads it ends at once.
    pub poison: bool,
    /// How long it may wait, in milliseconds, when the back end says so. Lines cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
}

/// A line that is no push.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadLine {
    /// Not JSON.
    Rubbish,
    /// Without a key.
    NoKey,
    /// With an empty key.
    EmptyKey,
    /// With a key that is longer than allowed.
    LongKey,
    /// Longer than a line may be; ends the connection.
    TooLong,
}

/// How a store misbehaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Trouble {
    /// It takes long for everything, and sometimes longer than the gateway waits.
    Slow,
    /// It fails everything.
    Failing,
    /// It does everything, and answers that it failed.
    Unclear,
    /// It does nothing for a time, and then everything.
    Stalled,
    /// It reads, and fails what writes.
    ReadOnly,
}

/// How a process ends without warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Crash {
    /// The process: its sockets are closed by the system.
    Process,
    /// The machine: its peers hear nothing.
    Machine,
}

/// What a stranger's socket does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intrusion {
    /// Nothing.
    Silence,
    /// Half an upgrade, and the end.
    HalfUpgrade,
    /// A request that is no upgrade.
    BadUpgrade,
    /// An upgrade, and then a frame that breaks the protocol.
    BadFrame,
    /// An upgrade, and then nothing.
    NoKey,
    /// An upgrade, and a first message that is longer than a key may be.
    LongKey,
    /// An upgrade, and a first message that only a device may bind.
    ReservedKey,
    /// An upgrade, and heartbeats of a monitor for a while.
    Monitor,
}

/// What an operator asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// What waits.
    ShowQueue,
    /// That what waits and is not being delivered is dropped.
    PurgeQueue,
    /// Which dead letters there are.
    ListDead,
    /// That the dead letters wait again.
    RequeueDead,
    /// That the dead letters are dropped.
    PurgeDead,
    /// What is in the device log, which is dropped when it is taken: as `steadfast device-logs` does.
    TakeLog,
}

/// So many are listed or dropped at once, and so many entries taken from the device log.
const LISTED: u32 = 1_000;
const TAKEN: u32 = 5;

impl Question {
    /// What a gateway is asked, about this key.
    #[must_use]
    pub fn asked(self, key: &str) -> OperatorRequest {
        let (key, limit, ids) = (Key::new(key), LISTED, Vec::new());
        let filter = DeadFilter { key: Some(key.clone()), ..DeadFilter::default() };
        match self {
            Self::ShowQueue => OperatorRequest::ShowQueue { key, after: None, limit },
            Self::PurgeQueue => OperatorRequest::PurgeQueue { key, ids, limit },
            Self::ListDead => OperatorRequest::ListDead { filter, after: None, limit },
            Self::RequeueDead => OperatorRequest::RequeueDead { key, ids },
            Self::PurgeDead => OperatorRequest::PurgeDead { filter, limit },
            Self::TakeLog => OperatorRequest::ReadDeviceLog { after: None, limit: TAKEN },
        }
    }
}

/// What an actor's random stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Drawing the schedule.
    Schedule,
    /// Running the world.
    World,
    /// What clients of the link protocol bring with them.
    Links,
    /// What devices and pushes by HTTP bring with them.
    Devices,
}

impl Actor {
    /// A number for each actor, for its random streams.
    fn number(self) -> u64 {
        match self {
            Self::Client(index) => 1_000 + u64::from(index),
            Self::BackEnd(index) => 2_000 + u64::from(index),
            Self::Gateway(index) => 3_000 + u64::from(index),
            Self::Store => 4_000,
            Self::Clock => 4_001,
            Self::Stranger => 4_002,
            Self::Operator => 4_003,
        }
    }

    /// The actor's own random stream in the world of this seed.
    #[must_use]
    pub fn stream(self, seed: u64, purpose: Stream) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let purpose = match purpose {
            Stream::Schedule => 1,
            Stream::World => 2,
            Stream::Links => 3,
            Stream::Devices => 0,
        };
        rng.set_stream(self.number() * 4 + purpose);
        rng
    }
}

impl Schedule {
    /// The schedule of a seed.
    #[must_use]
    pub fn draw(seed: u64, tier: Tier) -> Self {
        draw::schedule(seed, tier)
    }

    /// Whether everything works in this world, so that exactly what was pushed must arrive.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.families.is_empty()
    }

    /// Which clients are taken for other devices now and then, and for which ones: by their places.
    #[must_use]
    pub fn poses(&self) -> BTreeSet<(u32, u32)> {
        let poses = self.ops.iter().filter_map(|op| match (op.actor, &op.kind) {
            (Actor::Client(client), OpKind::Pose(key)) => Some((client, *key)),
            _ => None,
        });
        poses.collect()
    }

    /// The longest that any message may wait, in milliseconds.
    #[must_use]
    pub fn longest_ttl(&self) -> u64 {
        let pushes = self
            .ops
            .iter()
            .filter_map(|op| if let OpKind::Request(push, _) = &op.kind { push.ttl } else { None });
        pushes.max().unwrap_or(0).max(self.world.settings.ttl)
    }

    /// The schedule as readable JSON.
    ///
    /// # Panics
    /// Never: every schedule has a JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a schedule has a JSON form");
        text.push('\n');
        text
    }

    /// Reads a schedule from JSON.
    ///
    /// # Errors
    /// When the text is no schedule; the error names the place.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }
}

impl Push {
    /// What reaches the client.
    #[must_use]
    pub fn payload(self, world: &WorldSpec) -> String {
        let key = &world.keys[self.key as usize].text;
        let mut text = String::with_capacity(key.len() + self.padding as usize + 64);
        text.push_str(r#"{"uid":""#);
        for part in key.split_inclusive('"') {
            match part.strip_suffix('"') {
                Some(plain) => text.extend([plain, "\\\""]),
                None => text.push_str(part),
            }
        }
        text.push_str(r##"","Data":"#"##);
        write!(text, "{}", self.serial).expect("a string takes everything");
        text.extend(std::iter::repeat_n('.', self.padding as usize));
        text.push_str(if self.poison { r#"","Poison":true}"# } else { r#""}"# });
        text
    }

    /// The push as HTTP makes it, under this name if it has one.
    #[must_use]
    pub fn request(self, name: Option<u32>, world: &WorldSpec) -> PushRequest {
        PushRequest {
            key: world.keys[self.key as usize].text.as_str().into(),
            data: self.payload(world).into(),
            idempotency: name.map(|name| format!("name{name}").into()),
            ttl: self.ttl.map(Span::from_millis),
        }
    }

    /// The number in a payload.
    #[must_use]
    pub fn serial_of(payload: &[u8]) -> Option<u32> {
        let hash = payload.iter().position(|byte| *byte == b'#')?;
        let digits = payload[hash + 1..].iter().take_while(|byte| byte.is_ascii_digit());
        let mut serial = None;
        for digit in digits {
            let value = u32::from(digit - b'0');
            serial = Some(serial.unwrap_or(0_u32).checked_mul(10)?.checked_add(value)?);
        }
        serial
    }

    /// Whether this payload ends a client that reads it.
    #[must_use]
    pub fn is_poison(payload: &[u8]) -> bool {
        payload.ends_with(b"\"Poison\":true}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_schedule_survives_its_json() {
        for seed in 0..50 {
            let schedule = Schedule::draw(seed, Tier::Direct);
            assert_eq!(Schedule::from_json(&schedule.to_json()).expect("JSON"), schedule);
        }
    }

    #[test]
    fn worlds_are_no_toys() {
        let schedules: Vec<_> = (0..400).map(|seed| Schedule::draw(seed, Tier::Direct)).collect();
        let median = |size: &dyn Fn(&Schedule) -> usize| {
            let mut sizes: Vec<_> = schedules.iter().map(size).collect();
            sizes.sort_unstable();
            sizes[sizes.len() / 2]
        };
        assert!(median(&|schedule| schedule.ops.len()) >= 300);
        assert!(median(&|schedule| schedule.world.clients.len()) >= 8);
        let last = |schedule: &Schedule| schedule.ops.last().map_or(0, |op| op.at / 1_000_000);
        assert!(median(&|schedule| usize::try_from(last(schedule)).expect("short")) >= 55);
        let clean = schedules.iter().filter(|schedule| schedule.is_clean()).count();
        assert!((70..130).contains(&clean), "{clean} of 400 are clean");
    }

    #[test]
    fn streams_are_the_actors_own() {
        use rand::Rng;
        let mut first = BTreeMap::new();
        for actor in [Actor::Client(0), Actor::Client(1), Actor::BackEnd(0), Actor::Store] {
            for purpose in [Stream::Schedule, Stream::World, Stream::Links, Stream::Devices] {
                first.insert(actor.stream(7, purpose).next_u64(), actor);
            }
        }
        assert_eq!(first.len(), 16);
    }

    #[test]
    fn an_upload_tells_whose_it_is() {
        let mut worlds = (0..).map(|seed| Schedule::draw(seed, Tier::Direct).world);
        let world = worlds.find(|world| !world.logging_devices().is_empty()).expect("some have");
        for key in world.logging_devices() {
            let client = world.clients.iter().position(|client| client.key == key);
            let client = u32::try_from(client.expect("each has a client")).expect("few");
            let text = world.upload(client, 17);
            assert_eq!(world.uploaded(&text), Some((key, r#"{"n":17}"#)));
        }
        assert_eq!(world.uploaded(r#"{"deviceId":"d1"}"#), None);
    }

    #[test]
    fn a_payload_tells_its_number() {
        for (payload, expect) in [
            (r##"{"uid":"5","Data":"#17..."}"##, Some(17)),
            (r#"{"uid":"5","Data":"none"}"#, None),
            (r##"{"Data":"#"}"##, None),
            (r##"{"Data":"#99999999999"}"##, None),
        ] {
            assert_eq!(Push::serial_of(payload.as_bytes()), expect, "{payload}");
        }
    }
}
