//! What can be set about the rules. Names, defaults and meanings are those of `docs/operations.md`;
//! the shell reads them from file, environment and flags.

use crate::record::Dialect;
use crate::time::Span;
use bytestring::ByteString;

/// The settings of one gateway.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Config {
    /// A connection that is silent for this long is closed. Default 12 s, the original's.
    pub idle_timeout: Span,
    /// What counts as a sign of life on a connection whose key is all digits.
    pub web_activity: WebActivity,
    /// A ping unanswered for this long (and 1 s more for every 32 KiB that is unconfirmed) closes
    /// the connection. Default 10 s.
    pub pong_timeout: Span,
    /// An upgrade request has to be complete within this time. Default 10 s.
    pub handshake_timeout: Span,
    /// How many failed tries make a message a dead letter. Default 5.
    pub retry_max: u32,
    /// How much later each further redelivery is. Default 3 s.
    pub retry_interval: Span,
    /// How long a message may wait. Default 3600 s.
    pub ttl: Span,
    /// How many messages of one key may wait. Default 2000.
    pub mailbox_limit: u32,
    /// How long dead letters are kept. Default 7 days.
    pub dead_keep: Span,
    /// How many dead letters are kept. Default 1,000,000.
    pub dead_limit: u64,
    /// An unanswered storage operation counts as failed after this time. Default 5 s.
    pub store_timeout: Span,
    /// How many open connections there may be. Default 100,000.
    pub max_connections: u32,
    /// The longest message from a client in bytes. Default 10 MiB.
    pub max_message: u64,
    /// The longest key in bytes. Default 4 KiB.
    pub max_key: u32,
    /// The longest line from a back end in bytes. Default 10 MiB.
    pub max_push_line: u64,
    /// How many messages may be written to a connection and unconfirmed. Default 2000.
    pub window_messages: u32,
    /// How many bytes may be written to a connection and unconfirmed; one message always may be.
    /// Default 1 MiB.
    pub window_bytes: u64,
    /// Equal pushes to an offline key within this time are merged, and an idempotency id is known
    /// for as long. Default 600 s.
    pub dedup_window: Span,
    /// Whether equal pushes to an offline key are merged. Default on.
    pub dedup: Dedup,
    /// At least this long passes between two pings of a connection that confirm messages. Default
    /// 50 ms.
    pub confirm_delay: Span,
    /// How many pushes of one back end may be unanswered. Default 10,000.
    pub max_unanswered: u32,
    /// How many bytes of pushes of one back end may be unanswered. Default 4 MiB.
    pub max_unanswered_bytes: u64,
    /// How many confirmed messages of one key may await their removal from the store before the key
    /// is written to no further. Default 10,000.
    pub max_removing: u32,
    /// How often a link client has to send something; it is closed when it is silent for three times
    /// as long. Default 15 s.
    pub link_heartbeat: Span,
    /// A message that a link client does not acknowledge for this long (and 1 s more for every
    /// 32 KiB that is unconfirmed) closes the connection. Default 30 s.
    pub ack_timeout: Span,
    /// How long the session of a link client is kept that does not come back. Default 24 h.
    pub session_keep: Span,
    /// The longest context of a session in bytes. Default 64 KiB.
    pub max_context: u32,
    /// Where else link clients are told that they may connect. Default nowhere.
    pub endpoints: Vec<String>,
    /// How many link clients a second are asked to come back after the gateway stops. Default 5,000.
    pub reconnect_rate: u32,
    /// How many bytes the device log may hold, in a store that is drained through the gateway.
    /// Default 1 GiB.
    pub device_log_limit: u64,
    /// The dialects that are spoken.
    pub dialects: Dialects,
    /// Where a key may stand in the URL. Default off: the original ignores the URL.
    pub url_key: UrlKey,
    /// What several connections of one key mean. Default newest.
    pub bind: BindPolicy,
    /// Exceptions to `bind`; the first that matches holds.
    pub bind_rules: Vec<BindRule>,
    /// How much is recorded of what goes as it should. Default everything.
    pub detail: Detail,
    /// A key's connections are kicked at most this often; in between the policy is
    /// [`BindPolicy::Newest`]. Default 10 s.
    pub kick_interval: Span,
    /// How the store is shared with other nodes. Default not at all: then keys are not claimed.
    pub sharing: Option<Sharing>,
}

/// How a node shares its store with others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Sharing {
    /// The node's name, for people: what tells runs of nodes apart is the incarnation.
    pub node: ByteString,
    /// The keys of a node that is not heard of for this long are free for others, and it writes
    /// nothing to their connections. Default 15 s.
    pub lease: Span,
}

/// What counts as a sign of life on a connection whose key is all digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum WebActivity {
    /// Messages only: a page whose script has died is no receiver.
    Message,
    /// Pings and pongs too.
    Frame,
}

/// How much is recorded of what goes as it should. What goes wrong, and what becomes of connections
/// and waiting messages, is recorded in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Detail {
    /// Nothing of it.
    Exceptions,
    /// What became of each push, and messages that are no heartbeats.
    Outcomes,
    /// Heartbeats, their answers and confirms too.
    Everything,
}

/// Whether equal pushes to an offline key are merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Dedup {
    /// They are.
    On,
    /// They are not.
    Off,
}

/// Where a key may stand in the URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum UrlKey {
    /// Nowhere; the URL is ignored.
    Off,
    /// `/ws/<key>`, percent-encoded.
    Path,
    /// `?key=<key>`, percent-encoded.
    Query,
}

/// What several connections of one key mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BindPolicy {
    /// Messages go to the newest; older ones stand by.
    Newest,
    /// Messages go to all.
    All,
    /// Messages go to the newest; older ones are closed.
    Kick,
}

/// An exception to the general [`BindPolicy`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct BindRule {
    /// Which keys it is for.
    pub matches: BindMatch,
    /// Their policy.
    pub policy: BindPolicy,
}

/// Which keys a [`BindRule`] is for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum BindMatch {
    /// Keys bound by this dialect.
    Dialect(Dialect),
    /// Keys that begin with this text.
    Prefix(String),
}

/// Which dialects are spoken. What a dialect that is off would have understood is any other text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Dialects {
    /// The set, one bit a dialect.
    bits: u8,
}

impl Dialects {
    /// All of them.
    pub const ALL: Self = Self { bits: u8::MAX };

    /// Whether `dialect` is spoken. [`Dialect::Other`] always is.
    #[must_use]
    pub fn speaks(self, dialect: Dialect) -> bool {
        dialect == Dialect::Other || self.bits & Self::bit(dialect) != 0
    }

    /// The same set without `dialect`.
    #[must_use]
    pub fn without(self, dialect: Dialect) -> Self {
        Self { bits: self.bits & !Self::bit(dialect) }
    }

    fn bit(dialect: Dialect) -> u8 {
        match dialect {
            Dialect::Web => 1,
            Dialect::Office => 2,
            Dialect::Device => 4,
            Dialect::Monitor => 8,
            Dialect::Other => 16,
            Dialect::Link => 32,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            idle_timeout: Span::from_secs(12),
            web_activity: WebActivity::Message,
            pong_timeout: Span::from_secs(10),
            handshake_timeout: Span::from_secs(10),
            retry_max: 5,
            retry_interval: Span::from_secs(3),
            ttl: Span::from_secs(3_600),
            mailbox_limit: 2_000,
            dead_keep: Span::from_secs(7 * 86_400),
            dead_limit: 1_000_000,
            store_timeout: Span::from_secs(5),
            max_connections: 100_000,
            max_message: 10 << 20,
            max_key: 4 << 10,
            max_push_line: 10 << 20,
            window_messages: 2_000,
            window_bytes: 1 << 20,
            dedup_window: Span::from_secs(600),
            dedup: Dedup::On,
            confirm_delay: Span::from_millis(50),
            max_unanswered: 10_000,
            max_unanswered_bytes: 4 << 20,
            max_removing: 10_000,
            link_heartbeat: Span::from_secs(15),
            ack_timeout: Span::from_secs(30),
            session_keep: Span::from_secs(86_400),
            max_context: 64 << 10,
            endpoints: Vec::new(),
            reconnect_rate: 5_000,
            device_log_limit: 1 << 30,
            dialects: Dialects::ALL,
            url_key: UrlKey::Off,
            bind: BindPolicy::Newest,
            bind_rules: Vec::new(),
            detail: Detail::Everything,
            kick_interval: Span::from_secs(10),
            sharing: None,
        }
    }
}
