//! A world as data: who is in it, and what happens when.

use super::client::Whim;
pub use crate::schedule::Pongs;
pub use crate::schedule::Speaks;
use crate::schedule::Trouble;
use steadfast_core::config::Config;
use steadfast_core::event::PushRequest;
use steadfast_core::operator::OperatorRequest;
use steadfast_core::time::Span;

/// Who is in a world, and its settings.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many gateways there are.
    pub gateways: usize,
    /// They share a Redis, and hold keys under leases of this length. Otherwise each has a store of
    /// its own.
    pub lease: Option<Span>,
    /// The hosts that clients live on.
    pub sites: Vec<String>,
    /// The clients.
    pub clients: Vec<ClientSetup>,
    /// The keys, as the gateways see them; clients and pushes name them by their place.
    pub keys: Vec<String>,
    /// How many back ends there are.
    pub backends: usize,
    /// The settings of every gateway.
    pub config: Config,
    /// How many bytes one direction of a stream holds.
    pub buffer: usize,
    /// How long a segment is under way, at least and at most, in milliseconds.
    pub latency_ms: (u64, u64),
    /// One step of the network, in milliseconds: segments arrive at whole steps.
    pub step_ms: u64,
    /// Whether the power of the device log's consumer fails now and then.
    pub is_frail: bool,
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientSetup {
    /// Its place in the schedule's list; a collector has that of the client it stands in for.
    pub number: u32,
    /// What the timeline calls it.
    pub name: String,
    /// The host it lives on.
    pub site: usize,
    /// Its first message.
    pub first: String,
    /// The key that its first message binds, if it binds any.
    pub key: Option<usize>,
    /// The gateway it connects to.
    pub gateway: usize,
    /// What it does about pings.
    pub pongs: Pongs,
    /// Which protocol it speaks; a link's first message is its key.
    pub speaks: Speaks,
    /// How often it sends its heartbeat.
    pub heartbeat: Span,
}

/// A machine of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A gateway.
    Gateway(usize),
    /// A host of clients.
    Site(usize),
    /// A back end.
    Backend(usize),
    /// The Redis that the gateways share.
    Redis,
}

/// A push as a back end sends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushLine {
    /// To which key.
    pub key: usize,
    /// The push's number in the world; pushes of one number are the same to the byte.
    pub serial: u32,
    /// The line, which has the number in it as `#<number>`.
    pub text: String,
}

/// One thing that happens.
#[derive(Clone, Debug, PartialEq)]
pub struct Op {
    /// When, since the world began.
    pub at: Span,
    /// What.
    pub kind: OpKind,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
pub enum OpKind {
    /// A remark in the timeline.
    Note(String),
    /// A client does this.
    Client(usize, Whim),
    /// A stranger connects from this site, sends these bytes and leaves after a while.
    Stranger {
        /// From where.
        site: usize,
        /// To where.
        gateway: usize,
        /// What it sends.
        bytes: Vec<u8>,
        /// How long it stays.
        stays: Span,
    },
    /// A back end pushes, all in one write.
    Push {
        /// Which.
        backend: usize,
        /// To which gateway.
        gateway: usize,
        /// What.
        lines: Vec<PushLine>,
    },
    /// A back end sends bytes that are no push.
    Raw {
        /// Which.
        backend: usize,
        /// To which gateway.
        gateway: usize,
        /// What it sends.
        bytes: Vec<u8>,
        /// How many `fail` replies it has to get.
        replies: usize,
    },
    /// A back end ends its connection.
    HangUp {
        /// Which.
        backend: usize,
        /// To which gateway.
        gateway: usize,
    },
    /// A back end pushes to this gateway by HTTP.
    Request {
        /// To which gateway.
        gateway: usize,
        /// What, as a line would say it.
        line: PushLine,
        /// What, as the gateway is told it.
        request: PushRequest,
    },
    /// An operator asks this of a gateway.
    Ask(usize, OperatorRequest),
    /// Nothing gets through between the two.
    Cut(Host, Host),
    /// Nothing gets from the first to the second.
    CutOneWay(Host, Host),
    /// What is between the two stays under way.
    Hold(Host, Host),
    /// Whatever was wrong between the two is so no more.
    Mend(Host, Host),
    /// The machine loses its power: nobody is told.
    Vanish(Host),
    /// The gateway's process dies; its kernel closes its sockets.
    Crash(usize),
    /// A machine that is down starts again, and is reachable again.
    Restart {
        /// Which.
        host: Host,
        /// Its clock is set back by this much.
        set_back: Span,
    },
    /// A gateway's process does not run for this long.
    Stall(usize, Span),
    /// A gateway's clock leaps forward.
    Leap(usize, Span),
    /// A gateway's disk has this trouble from now on.
    Disk(usize, Option<Trouble>),
    /// The gateways' Redis has this trouble from now on.
    Redis(Option<Trouble>),
    /// Redis' process dies.
    CrashRedis,
    /// The connections break on which Redis tells gateways what others did.
    ResetNotices,
    /// A gateway is asked to stop.
    Stop(usize),
    /// Whether a machine's writes leave it in pieces.
    Chop(Host, bool),
}

/// A world and its history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that the plan does not decide: delays, masks, jitter.
    pub seed: u64,
    /// Who is there.
    pub setup: Setup,
    /// What happens, in order of time.
    pub ops: Vec<Op>,
    /// Whether the world ends right after its last operation, unmended and unjudged: its reader is
    /// the judge.
    pub story: bool,
}
