//! The settings of the daemon: one table of them, four places they can come from.
//!
//! [`table::SETTINGS`] declares every setting once; TOML keys, `STEADFAST_…` variables, flags,
//! `steadfast check --print`, the help text and the table in `docs/operations.md` are derived from
//! it. A flag wins over a variable, a variable over the file, the file over the default.
//!
//! Nothing here reads a file or the environment: [`Loaded::load`] is told what is in them.

pub mod cross;
mod field;
pub mod problem;
pub mod show;
pub mod sources;
pub mod suggest;
pub mod table;
pub mod units;
pub mod value;

pub use problem::{Problem, Source};
pub use sources::{Flag, Inputs};

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use steadfast_core::config::Config;
use steadfast_core::time::Span;
use table::SETTINGS;

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The rules of the gateway.
    pub core: Config,
    /// Where clients connect.
    pub ws: SocketAddr,
    /// Where back ends connect.
    pub push: SocketAddr,
    /// Whether the push port may listen beyond this machine, although nobody has to show who they
    /// are there.
    pub push_allow_remote: bool,
    /// Where operators and monitoring connect, if anywhere.
    pub admin: Option<SocketAddr>,
    /// Whether the admin port may listen beyond this machine without a token.
    pub admin_allow_remote: bool,
    /// The file with the token that requests to the admin port must show.
    pub admin_token_file: Option<PathBuf>,
    /// How often the canary is pushed to; never when zero.
    pub canary: Span,
    /// Whether the page to try the client is served.
    pub demo: Demo,
    /// How long connections may take to end at a stop.
    pub shutdown_timeout: Span,
    /// How long a long-poll waits at most.
    pub poll_wait: Span,
    /// The origins whose pages may long-poll besides the gateway's own.
    pub poll_origins: Vec<String>,
    /// How many back ends may be connected; further ones wait to be accepted.
    pub max_backends: u32,
    /// Where the gateway's random choices begin; from the operating system when absent.
    pub seed: Option<u64>,
    /// Where messages are kept.
    pub store: StoreKind,
    /// The directory of the embedded store.
    pub data: PathBuf,
    /// The URL of the Redis server that keeps messages in place of `store`.
    pub redis: Option<String>,
    /// What the names of all keys in Redis begin with.
    pub redis_prefix: String,
    /// The URL of the Redis server of devices and their log; another database of `redis` when absent.
    pub redis_devices: Option<String>,
    /// How many replicas must have a message before it counts as safe.
    pub redis_wait_replicas: u32,
    /// For how long a node that is not heard of keeps its keys.
    pub redis_lease: Span,
    /// What the segments' names of the recording begin with; nothing is recorded when absent.
    pub record: Option<PathBuf>,
    /// A further segment begins after so many bytes of events.
    pub record_segment: u64,
    /// How many segments are kept; all when 0.
    pub record_keep: u32,
    /// What a log line looks like.
    pub log_format: LogFormat,
    /// The file that gets the log; standard output when absent.
    pub log_file: Option<PathBuf>,
    /// Which records are logged.
    pub log_level: LogLevel,
    /// How many bytes of a content are logged.
    pub log_content_max: u32,
    /// How many records may wait for the log thread.
    pub log_queue: u32,
}

/// Where messages are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In a directory: they survive the process.
    Embedded,
    /// In memory: they end with the process.
    Memory,
}

/// Whether the page to try the client is served at `/` of the public port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demo {
    /// When only this machine reaches the port.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What a log line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Which records are logged: those of this level and above.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// None at all.
    Off,
    /// Only what an operator has to act on.
    Error,
    /// And what may lose or delay messages.
    Warn,
    /// And what happens to connections and pushes.
    Info,
    /// And heartbeats, confirmations and other steps in between.
    Debug,
}

impl Settings {
    /// Whether the page to try the client is served.
    #[must_use]
    pub fn serves_demo(&self) -> bool {
        match self.demo {
            Demo::Auto => self.ws.ip().is_loopback(),
            Demo::On => true,
            Demo::Off => false,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            core: Config::default(),
            ws: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 5001)),
            push: SocketAddr::from((Ipv4Addr::LOCALHOST, 5002)),
            push_allow_remote: false,
            admin: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 5003))),
            admin_allow_remote: false,
            admin_token_file: None,
            canary: Span::from_secs(5),
            poll_wait: Span::from_secs(20),
            poll_origins: Vec::new(),
            demo: Demo::Auto,
            max_backends: 128,
            shutdown_timeout: Span::from_secs(10),
            seed: None,
            store: StoreKind::Embedded,
            data: PathBuf::from("./steadfast-data"),
            redis: None,
            redis_prefix: "steadfast".to_owned(),
            redis_devices: None,
            redis_wait_replicas: 0,
            redis_lease: Span::from_secs(15),
            record: None,
            record_segment: 64 << 20,
            record_keep: 0,
            log_format: LogFormat::Text,
            log_file: None,
            log_level: LogLevel::Info,
            log_content_max: 1_024,
            log_queue: 100_000,
        }
    }
}

/// The settings in force, and where each of them came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The source of each, in the order of [`SETTINGS`].
    sources: Vec<Source>,
}

impl Loaded {
    /// Lays file, variables and flags over the defaults.
    ///
    /// # Errors
    ///
    /// Every problem there is, not only the first.
    pub fn load(inputs: &Inputs) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut loaded =
            Self { settings: Settings::default(), sources: vec![Source::Default; SETTINGS.len()] };
        for given in sources::collect(inputs, &mut problems) {
            let setting = &SETTINGS[given.setting];
            match setting.kind.parse(&given.raw) {
                Ok(value) => {
                    (setting.set)(&mut loaded.settings, &value);
                    loaded.sources[given.setting] = given.source;
                }
                Err(what) => problems.push(Problem {
                    thing: setting.name.to_owned(),
                    value: Some(given.raw.to_string()),
                    source: given.source,
                    what,
                }),
            }
        }
        cross::check(&loaded, &mut problems);
        if problems.is_empty() { Ok(loaded) } else { Err(problems) }
    }

    /// Where the setting of this name came from.
    ///
    /// # Panics
    ///
    /// When there is no setting of this name.
    #[must_use]
    pub fn source(&self, name: &str) -> &Source {
        let index = table::index_of(name).expect("settings are named by literals of the table");
        &self.sources[index]
    }
}

#[cfg(test)]
mod tests;
