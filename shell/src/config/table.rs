//! Every setting, declared once.

use super::Settings;
use super::field::{Field, Words};
use super::value::{DIALECTS, Kind, Value};
use super::{Demo, LogFormat, LogLevel, StoreKind};
use steadfast_core::config::{BindPolicy, Dedup, UrlKey, WebActivity};
use steadfast_core::time::Span;

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Its name in the file; variable and flag are derived from it.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Under which heading it is shown.
    pub section: Section,
    /// Its meaning in one line.
    pub meaning: &'static str,
    /// Reads its field.
    pub get: fn(&Settings) -> Value,
    /// Writes its field with a value of its kind.
    pub set: fn(&mut Settings, &Value),
}

/// The headings under which settings are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// Ports and the process.
    Process,
    /// Client connections and their heartbeat.
    Connections,
    /// Keys and what binds them.
    Keys,
    /// Back ends.
    Pushes,
    /// Clients of the link protocol.
    Links,
    /// Messages on their way.
    Delivery,
    /// The log.
    Logs,
    /// The recording.
    Recording,
}

impl Section {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 8] = [
        Self::Process,
        Self::Connections,
        Self::Keys,
        Self::Pushes,
        Self::Links,
        Self::Delivery,
        Self::Logs,
        Self::Recording,
    ];

    /// The heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Process => "Process",
            Self::Connections => "Connections",
            Self::Keys => "Keys",
            Self::Pushes => "Pushes",
            Self::Links => "Link protocol",
            Self::Delivery => "Delivery",
            Self::Logs => "Logs",
            Self::Recording => "Recording",
        }
    }
}

impl Setting {
    /// The environment variable: `STEADFAST_IDLE_TIMEOUT`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The flag without its dashes: `idle-timeout`.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// The default as text; empty when there is none.
    #[must_use]
    pub fn default_text(&self) -> String {
        self.kind.show(&(self.get)(&Settings::default())).to_string()
    }
}

/// What the names of all environment variables begin with.
pub const VARIABLE_PREFIX: &str = "STEADFAST_";

/// The place of the setting of this name in [`SETTINGS`].
#[must_use]
pub fn index_of(name: &str) -> Option<usize> {
    SETTINGS.iter().position(|setting| setting.name == name)
}

/// A row for a field of the settings (`ws`) or of the core's among them (`core.ttl`).
macro_rules! row {
    ($section:ident, core.$name:ident, $kind:expr, $meaning:literal) => {
        row!(@ $section, $name, (core.$name), $kind, $meaning)
    };
    ($section:ident, $name:ident, $kind:expr, $meaning:literal) => {
        row!(@ $section, $name, ($name), $kind, $meaning)
    };
    (@ $section:ident, $name:ident, ($($field:tt)+), $kind:expr, $meaning:literal) => {
        Setting {
            name: stringify!($name),
            kind: $kind,
            section: Section::$section,
            meaning: $meaning,
            get: |settings| settings.$($field)+.to_value(),
            set: |settings, value| settings.$($field)+ = Field::from_value(value),
        }
    };
}

const SECOND: Span = Span::from_secs(1);
const HOUR: Span = Span::from_secs(3_600);
const YEAR: Span = Span::from_secs(365 * 86_400);
const MANY: u64 = u32::MAX as u64;

/// Up to an hour, and not less than this many milliseconds.
const fn up_to_an_hour(min_ms: u64) -> Kind {
    Kind::Duration(Span::from_millis(min_ms), HOUR)
}

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    row!(Process, ws, Kind::Address, "Where clients connect"),
    row!(Process, push, Kind::Address, "Where back ends connect; this machine only"),
    row!(
        Process,
        push_allow_remote,
        Kind::Switch,
        "Let `push` be an address that other machines reach; anyone there can push"
    ),
    row!(
        Process,
        admin,
        Kind::MaybeAddress,
        "Where operators, HTTP pushes and monitoring connect; this machine only"
    ),
    row!(
        Process,
        admin_token_file,
        Kind::Path,
        "A file with the token that requests to `admin` must show; unset: none"
    ),
    row!(
        Process,
        admin_allow_remote,
        Kind::Switch,
        "Let `admin` be an address that other machines reach, without a token"
    ),
    row!(
        Process,
        canary,
        up_to_an_hour(0),
        "How often a client of the gateway's own is pushed to, for /healthz; 0s: never"
    ),
    row!(
        Process,
        demo,
        Kind::Choice(Demo::WORDS),
        "Serve a page to try the client at `/` of `ws`; auto: when only this machine reaches it"
    ),
    row!(
        Process,
        shutdown_timeout,
        Kind::Duration(Span::ZERO, HOUR),
        "How long connections may take to end at a stop"
    ),
    row!(Process, seed, Kind::Seed, "Where random choices begin; unset: drawn at start"),
    row!(
        Process,
        store,
        Kind::Choice(StoreKind::WORDS),
        "Where messages are kept: in `data`, or in memory and lost with the process"
    ),
    row!(Process, data, Kind::Path, "The directory of the embedded store; made if it is missing"),
    row!(
        Process,
        redis,
        Kind::Text("URL"),
        "A Redis server that keeps the messages instead: redis://USER:PASSWORD@HOST:PORT/DATABASE"
    ),
    row!(
        Process,
        redis_prefix,
        Kind::Text("TEXT"),
        "What the names of all keys in Redis but the devices' begin with"
    ),
    row!(
        Process,
        redis_devices,
        Kind::Text("URL"),
        "The Redis server of devices and their log, database 15 unless it names one; unset: `redis`'s"
    ),
    row!(
        Process,
        core.device_log_limit,
        Kind::Size(1 << 20, 1 << 50),
        "How much of devices' logs the embedded store holds until it is drained"
    ),
    row!(
        Process,
        redis_wait_replicas,
        Kind::Count(0, 100),
        "A message in Redis is safe once so many replicas have it too"
    ),
    row!(
        Process,
        redis_lease,
        Kind::Duration(SECOND, HOUR),
        "A gateway that cannot reach Redis for so long leaves its keys to others"
    ),
    row!(
        Connections,
        core.max_connections,
        Kind::Count(1, 10_000_000),
        "How many clients may be connected"
    ),
    row!(
        Connections,
        core.idle_timeout,
        Kind::Duration(SECOND, HOUR),
        "A client that is silent for this long is disconnected"
    ),
    row!(
        Connections,
        core.web_activity,
        Kind::Choice(WebActivity::WORDS),
        "What keeps a connection with an all-digit key alive"
    ),
    row!(
        Connections,
        core.pong_timeout,
        Kind::Duration(SECOND, HOUR),
        "A ping unanswered for this long ends the connection"
    ),
    row!(
        Connections,
        core.handshake_timeout,
        up_to_an_hour(100),
        "The upgrade request has to be complete by then"
    ),
    row!(
        Connections,
        core.max_message,
        Kind::Size(1, 1 << 30),
        "The longest message from a client"
    ),
    row!(
        Connections,
        core.dialects,
        Kind::Words(DIALECTS),
        "The dialects that are spoken; what only another would understand is plain text"
    ),
    row!(Keys, core.max_key, Kind::Size(1, 1 << 20), "The longest key"),
    row!(
        Keys,
        core.url_key,
        Kind::Choice(UrlKey::WORDS),
        "Where a key may stand in the URL: /ws/KEY (path) or ?key=KEY (query)"
    ),
    row!(
        Keys,
        core.bind,
        Kind::Choice(BindPolicy::WORDS),
        "Which connections of a key get its messages: newest, all, or newest closing others (kick)"
    ),
    row!(
        Keys,
        core.bind_rules,
        Kind::Rules,
        "Exceptions to `bind`, first match holds: prefix:TEXT=POLICY, dialect:NAME=POLICY"
    ),
    row!(
        Keys,
        core.kick_interval,
        up_to_an_hour(0),
        "With kick, connections of one key are closed at most this often"
    ),
    row!(
        Pushes,
        max_backends,
        Kind::Count(1, 10_000),
        "How many back ends may be connected; further ones wait to be accepted"
    ),
    row!(Pushes, core.max_push_line, Kind::Size(2, 1 << 30), "The longest line from a back end"),
    row!(
        Pushes,
        core.max_unanswered,
        Kind::Count(1, MANY),
        "Pushes of one back end that may be unanswered before it is read no further"
    ),
    row!(Pushes, core.max_unanswered_bytes, Kind::Size(1, 1 << 40), "The same in bytes"),
    row!(
        Pushes,
        core.dedup,
        Kind::Choice(Dedup::WORDS),
        "Merge a push with an equal one that waits last for an offline key"
    ),
    row!(
        Pushes,
        core.dedup_window,
        Kind::Duration(Span::ZERO, YEAR),
        "For how long equal pushes are merged and idempotency ids known"
    ),
    row!(
        Links,
        core.link_heartbeat,
        Kind::Duration(SECOND, HOUR),
        "How often a link client sends something; it is disconnected after three times as long"
    ),
    row!(
        Links,
        core.ack_timeout,
        Kind::Duration(SECOND, HOUR),
        "A message unacknowledged for this long ends the connection"
    ),
    row!(
        Links,
        core.session_keep,
        Kind::Duration(SECOND, YEAR),
        "How long the session of a client that is away is kept"
    ),
    row!(Links, core.max_context, Kind::Size(2, 16 << 20), "The longest context of a session"),
    row!(
        Links,
        core.endpoints,
        Kind::Text("URLS"),
        "Where else clients are told to connect, separated by commas; unset: nowhere"
    ),
    row!(
        Links,
        poll_wait,
        Kind::Duration(SECOND, HOUR),
        "How long a long-poll waits at most; a session is over after twice as long without one"
    ),
    row!(
        Links,
        poll_origins,
        Kind::Text("ORIGINS"),
        "Other web origins whose pages may long-poll, separated by commas; *: any"
    ),
    row!(
        Links,
        core.reconnect_rate,
        Kind::Count(1, 1_000_000),
        "How many clients a second are asked to come back after a stop"
    ),
    row!(
        Delivery,
        core.window_messages,
        Kind::Count(1, MANY),
        "Messages that may be written to a connection and unconfirmed"
    ),
    row!(
        Delivery,
        core.window_bytes,
        Kind::Size(1, 1 << 40),
        "The same in bytes; one message always may be"
    ),
    row!(
        Delivery,
        core.confirm_delay,
        up_to_an_hour(0),
        "The least time between two pings that confirm messages"
    ),
    row!(
        Delivery,
        core.retry_max,
        Kind::Count(1, MANY),
        "After this many failed tries a message is a dead letter"
    ),
    row!(
        Delivery,
        core.retry_interval,
        up_to_an_hour(0),
        "Each further redelivery is this much later"
    ),
    row!(
        Delivery,
        core.ttl,
        Kind::Duration(SECOND, YEAR),
        "After this long a waiting message is a dead letter"
    ),
    row!(
        Delivery,
        core.mailbox_limit,
        Kind::Count(1, MANY),
        "Messages that may wait for one key; beyond it the oldest is a dead letter"
    ),
    row!(
        Delivery,
        core.dead_keep,
        Kind::Duration(Span::ZERO, YEAR),
        "How long dead letters are kept"
    ),
    row!(
        Delivery,
        core.dead_limit,
        Kind::Count(0, 1_000_000_000_000),
        "How many dead letters are kept"
    ),
    row!(
        Delivery,
        core.store_timeout,
        up_to_an_hour(100),
        "A storage operation unanswered for this long has failed"
    ),
    row!(
        Delivery,
        core.max_removing,
        Kind::Count(1, MANY),
        "Confirmed messages of one key that may await removal before it has to wait"
    ),
    row!(Logs, log_level, Kind::Choice(LogLevel::WORDS), "How much is logged"),
    row!(Logs, log_format, Kind::Choice(LogFormat::WORDS), "What a line looks like"),
    row!(Logs, log_file, Kind::Path, "The log file, renewed daily; unset: standard output"),
    row!(Logs, log_content_max, Kind::Size(0, 1 << 30), "How much of a message is logged"),
    row!(
        Logs,
        log_queue,
        Kind::Count(1, MANY),
        "Records that may wait to be logged; further ones are counted and dropped"
    ),
    row!(
        Recording,
        record,
        Kind::Path,
        "Record what the gateway is told in FILE.000001 and on, for `steadfast replay`; unset: nothing"
    ),
    row!(
        Recording,
        record_segment,
        Kind::Size(4 << 10, 1 << 40),
        "A further segment begins after so many bytes of events"
    ),
    row!(Recording, record_keep, Kind::Count(0, MANY), "How many segments are kept; 0: all"),
];
