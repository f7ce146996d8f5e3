//! Who and what there is in a world.

use super::{Actor, Family, Stream, Tier};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use steadfast_core::config::{BindPolicy, Config, Dedup};
use steadfast_core::id::Key;
use steadfast_core::link;
use steadfast_core::link::legacy::LinkConfig;
use steadfast_core::time::Span;

/// How many keys every world has; those of clients of the link protocol follow.
pub(super) const TEXT_KEYS: u32 = 9;

/// The part of the worlds that clients of the link protocol come to.
const LINKED_SHARE: f64 = 0.4;

/// The part of the worlds whose devices upload what they log.
const DEVICE_SHARE: f64 = 0.25;

/// How the keys of devices begin, and what is behind the object that names one in an upload.
const DEVICE: &str = "device:";
const UPLOAD: &str = r#","type":4,"data":"#;

/// The keys that a client of the link protocol may share with others. That of a device is reserved.
const SHARED: [u32; 6] = [0, 1, 2, 3, 4, 6];

/// Who and what there is in a world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorldSpec {
    /// How many gateways there are.
    pub gateways: u32,
    /// How many back ends there are.
    pub back_ends: u32,
    /// The keys that are pushed to.
    pub keys: Vec<KeySpec>,
    /// The clients. Several may have one key, and a key may have none.
    pub clients: Vec<ClientSpec>,
    /// The gateways' settings that differ from the defaults.
    pub settings: Settings,
    /// The gateways share a Redis, and hold keys under leases of so many milliseconds. Otherwise each
    /// has a store of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<u64>,
    /// When the last operation may happen; the world heals after it. In microseconds.
    pub heal_at: u64,
}

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KeySpec {
    /// The key as a back end spells it.
    pub text: String,
    /// The first message of its clients.
    pub first: String,
    /// Whether its clients' heartbeats are answered in text.
    pub answered: bool,
}

impl KeySpec {
    /// The id of the device whose key it is, if it is one's.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.text.strip_prefix(DEVICE)
    }
}

/// One client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClientSpec {
    /// Which key: its place in [`WorldSpec::keys`].
    pub key: u32,
    /// What it does about pings.
    pub pongs: Pongs,
    /// How long bytes travel at least, one way, in microseconds; at most four times as long.
    pub latency: u64,
    /// Which protocol it speaks.
    #[serde(default, skip_serializing_if = "Speaks::is_text")]
    pub speaks: Speaks,
}

/// Which protocol a client speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Speaks {
    /// Its first message is its key, and pongs confirm.
    #[default]
    Text,
    /// The link protocol.
    Link,
}

impl Speaks {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_text(&self) -> bool {
        *self == Self::Text
    }
}

/// What a client does about pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pongs {
    /// It answers them, as WebSocket stacks do.
    Prompt,
    /// It never answers one.
    Never,
}

/// What several connections of one key mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Binding {
    /// Messages go to the newest.
    Newest,
    /// Messages go to all.
    All,
    /// Messages go to the newest, and older ones are closed.
    Kick,
}

/// The settings of all gateways of a world, scaled so that everything happens within a minute. Times
/// are in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// See [`Config::bind`].
    pub bind: Binding,
    /// See [`Config::dedup`].
    pub dedup: bool,
    /// See [`Config::idle_timeout`].
    pub idle_timeout: u64,
    /// See [`Config::pong_timeout`].
    pub pong_timeout: u64,
    /// See [`Config::window_messages`].
    pub window_messages: u32,
    /// See [`Config::window_bytes`].
    pub window_bytes: u64,
    /// See [`Config::mailbox_limit`].
    pub mailbox_limit: u32,
    /// See [`Config::ttl`].
    pub ttl: u64,
    /// See [`Config::retry_max`].
    pub retry_max: u32,
    /// See [`Config::retry_interval`].
    pub retry_interval: u64,
    /// See [`Config::store_timeout`].
    pub store_timeout: u64,
    /// See [`Config::max_unanswered`].
    pub max_unanswered: u32,
    /// See [`Config::max_removing`].
    pub max_removing: u32,
    /// See [`Config::max_connections`].
    pub max_connections: u32,
    /// See [`Config::dead_limit`].
    pub dead_limit: u64,
    /// See [`Config::kick_interval`].
    pub kick_interval: u64,
    /// What concerns clients of the link protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkSettings>,
    /// See [`Config::device_log_limit`]; when absent there is room for everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_log_limit: Option<u64>,
}

/// The settings that concern clients of the link protocol, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkSettings {
    /// See [`Config::link_heartbeat`].
    pub heartbeat: u64,
    /// See [`Config::ack_timeout`].
    pub ack_timeout: u64,
    /// See [`Config::session_keep`].
    pub session_keep: u64,
}

impl Settings {
    /// The gateways' configuration.
    #[must_use]
    pub fn config(&self) -> Config {
        let mut config = self.config_for_text();
        if let Some(link) = self.link {
            config.link_heartbeat = Span::from_millis(link.heartbeat);
            config.ack_timeout = Span::from_millis(link.ack_timeout);
            config.session_keep = Span::from_millis(link.session_keep);
        }
        if let Some(limit) = self.device_log_limit {
            config.device_log_limit = limit;
        }
        config
    }

    fn config_for_text(&self) -> Config {
        Config {
            bind: match self.bind {
                Binding::Newest => BindPolicy::Newest,
                Binding::All => BindPolicy::All,
                Binding::Kick => BindPolicy::Kick,
            },
            dedup: if self.dedup { Dedup::On } else { Dedup::Off },
            idle_timeout: Span::from_millis(self.idle_timeout),
            pong_timeout: Span::from_millis(self.pong_timeout),
            window_messages: self.window_messages,
            window_bytes: self.window_bytes,
            mailbox_limit: self.mailbox_limit,
            ttl: Span::from_millis(self.ttl),
            dedup_window: Span::from_millis(self.ttl),
            retry_max: self.retry_max,
            retry_interval: Span::from_millis(self.retry_interval),
            store_timeout: Span::from_millis(self.store_timeout),
            max_unanswered: self.max_unanswered,
            max_removing: self.max_removing,
            max_connections: self.max_connections,
            dead_limit: self.dead_limit,
            kick_interval: Span::from_millis(self.kick_interval),
            max_key: 200,
            handshake_timeout: Span::from_secs(4),
            ..Config::default()
        }
    }

    /// In a world in which everything works nothing is to be at its limit.
    pub(super) fn draw_clean(rng: &mut ChaCha8Rng) -> Self {
        Self {
            bind: Binding::Newest,
            dedup: rng.random_bool(0.5),
            idle_timeout: 12_000,
            pong_timeout: 10_000,
            window_messages: rng.random_range(4..50),
            window_bytes: rng.random_range(1_000..20_000),
            mailbox_limit: 500,
            ttl: rng.random_range(20_000..50_000),
            retry_max: 5,
            retry_interval: 500,
            store_timeout: 2_000,
            max_unanswered: rng.random_range(4..50),
            max_removing: 500,
            max_connections: 100,
            dead_limit: 10_000,
            kick_interval: 5_000,
            link: None,
            device_log_limit: None,
        }
    }

    /// In other worlds everything may be small.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self {
            bind: match rng.random_range(0..4) {
                0 => Binding::All,
                1 => Binding::Kick,
                _ => Binding::Newest,
            },
            dedup: rng.random_bool(0.5),
            idle_timeout: rng.random_range(8_000..14_000),
            pong_timeout: rng.random_range(1_000..8_000),
            window_messages: rng.random_range(1..8),
            window_bytes: rng.random_range(60..600),
            mailbox_limit: rng.random_range(8..40),
            ttl: rng.random_range(15_000..60_000),
            retry_max: rng.random_range(1..5),
            retry_interval: rng.random_range(200..1_000),
            store_timeout: rng.random_range(1_000..3_000),
            max_unanswered: rng.random_range(3..12),
            max_removing: rng.random_range(8..20),
            max_connections: rng.random_range(9..40),
            dead_limit: if rng.random_bool(0.2) { rng.random_range(1..20) } else { 10_000 },
            kick_interval: 5_000,
            link: None,
            device_log_limit: None,
        }
    }
}

impl WorldSpec {
    /// Draws a world.
    pub(super) fn draw(rng: &mut ChaCha8Rng, families: &BTreeSet<Family>, tier: Tier) -> Self {
        let clean = families.is_empty();
        let keys = draw_keys();
        // Each key but the last, which nobody has, has a client; some have two or three.
        let mut clients: Vec<_> = (0..7).map(|key| draw_client(rng, key, families)).collect();
        let more = if clean { 0 } else { rng.random_range(1..5) };
        for _ in 0..more {
            let key = rng.random_range(0..7);
            clients.push(draw_client(rng, key, families));
        }
        if clean {
            clients.push(draw_client(rng, 7, families));
        }
        let gateways = match tier {
            Tier::Direct => 1,
            Tier::Turmoil => rng.random_range(1..=3),
        };
        let mut settings = if clean { Settings::draw_clean(rng) } else { Settings::draw(rng) };
        // Every client can be connected.
        let crowd = u32::try_from(clients.len()).expect("a world has few clients");
        settings.max_connections = settings.max_connections.max(crowd);
        if families.contains(&Family::IgnorePings) {
            // A page's next message has to come before its pong is overdue.
            settings.pong_timeout = settings.pong_timeout.max(settings.idle_timeout / 3 + 1_000);
        }
        Self { gateways, back_ends: 2, keys, clients, settings, lease: None, heal_at: 62_000_000 }
    }

    /// Clients of the link protocol come to a part of the worlds: to keys of their own, and, where not
    /// everything works, to keys that others have too. They are drawn from a stream of their own, so
    /// that everything else is as it would be without them.
    pub(super) fn add_links(&mut self, seed: u64, families: &BTreeSet<Family>) {
        let mut rng = Actor::Stranger.stream(seed, Stream::Links);
        if !rng.random_bool(LINKED_SHARE) {
            return;
        }
        let clean = families.is_empty();
        for _ in 0..rng.random_range(1..=2) {
            let place = u32::try_from(self.keys.len()).expect("a world has few keys");
            let text = format!("link-{place}");
            self.keys.push(KeySpec { text: text.clone(), first: text, answered: false });
            self.clients.push(draw_link(&mut rng, place));
            if !clean && rng.random_bool(0.3) {
                self.clients.push(draw_link(&mut rng, place));
            }
        }
        for _ in 0..rng.random_range(0..3) {
            let shared = SHARED[rng.random_range(0..SHARED.len())];
            if !clean {
                self.clients.push(draw_link(&mut rng, shared));
            }
        }
        let settings = LinkSettings {
            heartbeat: rng.random_range(2_000..5_000),
            ack_timeout: rng.random_range(2_000..8_000),
            session_keep: rng.random_range(8_000..60_000),
        };
        self.settings.link = Some(if clean {
            LinkSettings { ack_timeout: 10_000, session_keep: 60_000, ..settings }
        } else {
            settings
        });
        self.let_everybody_in();
    }

    /// In a part of the worlds devices upload what they log, and there is one more of them. As the
    /// clients of the link protocol, they are drawn from a stream of their own.
    pub(super) fn add_devices(&mut self, seed: u64, families: &BTreeSet<Family>) {
        let mut rng = Actor::Stranger.stream(seed, Stream::Devices);
        if !rng.random_bool(DEVICE_SHARE) {
            return;
        }
        let place = u32::try_from(self.keys.len()).expect("a world has few keys");
        self.keys.push(device_key("d2"));
        self.clients.push(draw_client(&mut rng, place, families));
        if !families.is_empty() && rng.random_bool(0.4) {
            self.settings.device_log_limit = Some(rng.random_range(30..200));
        }
        self.let_everybody_in();
    }

    /// Every client can be connected.
    fn let_everybody_in(&mut self) {
        let crowd = u32::try_from(self.clients.len()).expect("a world has few clients");
        self.settings.max_connections = self.settings.max_connections.max(crowd);
    }

    /// How many clients there are in every world: they come before those of the link protocol and
    /// further devices.
    #[must_use]
    pub fn text_clients(&self) -> usize {
        let first = |client: &&ClientSpec| client.speaks == Speaks::Text && client.key < TEXT_KEYS;
        self.clients.iter().take_while(first).count()
    }

    /// The keys that only clients of the link protocol have: their places in [`WorldSpec::keys`].
    #[must_use]
    pub fn link_keys(&self) -> std::ops::Range<u32> {
        let keys = u32::try_from(self.keys.len()).expect("a world has few keys");
        TEXT_KEYS..(TEXT_KEYS..keys).find(|key| self.is_device(*key)).unwrap_or(keys)
    }

    /// The keys of devices that upload what they log: their places in [`WorldSpec::keys`]. There are
    /// two of them or none.
    #[must_use]
    pub fn logging_devices(&self) -> Vec<u32> {
        let keys = u32::try_from(self.keys.len()).expect("a world has few keys");
        let devices: Vec<_> = (0..keys).filter(|key| self.is_device(*key)).collect();
        if devices.len() > 1 { devices } else { Vec::new() }
    }

    /// Whether a key is that of a device.
    #[must_use]
    pub fn is_device(&self, key: u32) -> bool {
        self.keys[key as usize].device().is_some()
    }

    /// What a device sends to upload an entry of this number.
    #[must_use]
    pub fn upload(&self, client: u32, number: u32) -> String {
        let key = &self.keys[self.clients[client as usize].key as usize];
        let named = key.first.strip_suffix('}').expect("a device's first message is an object");
        format!(r#"{named}{UPLOAD}{{"n":{number}}}}}"#)
    }

    /// What a device uploads by this text: whose key it names, by its place, and the entry.
    #[must_use]
    pub fn uploaded<'a>(&self, text: &'a str) -> Option<(u32, &'a str)> {
        let keys = (0..).zip(&self.keys).filter(|(_, key)| key.device().is_some());
        keys.filter_map(|(place, key)| {
            let data = text.strip_prefix(key.first.strip_suffix('}')?)?.strip_prefix(UPLOAD)?;
            Some((place, data.strip_suffix('}')?))
        })
        .next()
    }

    /// How the link of a client is set that speaks the link protocol.
    #[must_use]
    pub fn session_link(&self, client: u32) -> link::LinkConfig {
        session_link(&self.keys[self.clients[client as usize].key as usize].text)
    }

    /// How the link of a client is set: prompt enough for a world of a minute.
    #[must_use]
    pub fn link(&self, client: u32) -> LinkConfig {
        let key = &self.keys[self.clients[client as usize].key as usize];
        LinkConfig {
            heartbeat_interval: Span::from_millis(self.settings.idle_timeout / 3),
            open_timeout: Span::from_secs(3),
            delay_max: Span::from_secs(4),
            ..LinkConfig::new(Key::new(key.first.as_str()))
        }
    }
}

/// How a link is set that speaks the link protocol, for a world of a minute.
pub(crate) fn session_link(key: &str) -> link::LinkConfig {
    let config = link::LinkConfig::new(Key::new(key), vec!["a".into()]);
    link::LinkConfig {
        fallback: link::Fallback::Never,
        delays: link::Delays { max: Span::from_secs(4), ..config.delays },
        open_timeout: Span::from_secs(3),
        heartbeat_timeout: Span::from_secs(2),
        breaker_pause: Span::from_secs(4),
        ..config
    }
}

fn draw_client(rng: &mut ChaCha8Rng, key: u32, families: &BTreeSet<Family>) -> ClientSpec {
    // Only pages send messages all the time, by which one that answers no ping is known to live.
    let page = key < 3;
    let never = page && families.contains(&Family::IgnorePings) && rng.random_bool(0.4);
    let pongs = if never { Pongs::Never } else { Pongs::Prompt };
    ClientSpec { key, pongs, latency: rng.random_range(200..15_000), speaks: Speaks::Text }
}

fn draw_link(rng: &mut ChaCha8Rng, key: u32) -> ClientSpec {
    let latency = rng.random_range(200..15_000);
    ClientSpec { key, pongs: Pongs::Prompt, latency, speaks: Speaks::Link }
}

/// The key of a device.
fn device_key(id: &str) -> KeySpec {
    let first = format!(r#"{{"deviceId":"{id}"}}"#);
    KeySpec { text: format!("{DEVICE}{id}"), first, answered: true }
}

/// The keys of every world: of web pages, of an add-in with two functions, of a device, of something
/// else, and one that no client ever has, unless the world is clean.
fn draw_keys() -> Vec<KeySpec> {
    let same = |text: &str, answered| KeySpec { text: text.into(), first: text.into(), answered };
    vec![
        same("1", true),
        same("22", true),
        same("333", true),
        same(r#"{"uid":"7","FunctionType":4}"#, true),
        same(r#"{"uid":"7","FunctionType":5}"#, true),
        device_key("d1"),
        same("text", false),
        same("4444", true),
        same("nobody", false),
    ]
}
