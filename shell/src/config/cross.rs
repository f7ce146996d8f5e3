//! What is wrong between settings that are each right.

use super::problem::Problem;
use super::table::{SETTINGS, index_of};
use super::units::show_size;
use super::{Loaded, Settings, StoreKind};
use crate::store::{embedded, redis};

/// Adds a problem for each pair of settings that contradict each other.
pub(super) fn check(loaded: &Loaded, problems: &mut Vec<Problem>) {
    for rule in RULES {
        if let Some(what) = (rule.broken)(&loaded.settings) {
            let index = index_of(rule.setting).expect("rules name settings");
            let setting = &SETTINGS[index];
            let value = setting.kind.show(&(setting.get)(&loaded.settings)).to_string();
            problems.push(Problem {
                thing: setting.name.to_owned(),
                value: Some(value),
                source: loaded.source(rule.setting).clone(),
                what,
            });
        }
    }
}

/// A rule about several settings.
struct Rule {
    /// The setting that a problem is reported for.
    setting: &'static str,
    /// What is wrong and the remedy, if anything is.
    broken: fn(&Settings) -> Option<String>,
}

/// Whether messages are kept in the embedded store.
fn is_embedded(settings: &Settings) -> bool {
    settings.redis.is_none() && settings.store == StoreKind::Embedded
}

const RULES: &[Rule] = &[
    Rule {
        setting: "push",
        broken: |settings| {
            let open = !settings.push.ip().to_canonical().is_loopback();
            (open && !settings.push_allow_remote).then(|| {
                "other machines would reach the push port, and anyone there could push to any \
                 client; use 127.0.0.1, or set push_allow_remote = true if a firewall guards it"
                    .to_owned()
            })
        },
    },
    Rule {
        setting: "admin",
        broken: |settings| {
            let open = settings.admin.is_some_and(|it| !it.ip().to_canonical().is_loopback());
            let guarded = settings.admin_token_file.is_some() || settings.admin_allow_remote;
            (open && !guarded).then(|| {
                "other machines would reach the admin port, and anyone there could push to any \
                 client and purge what waits; use 127.0.0.1, set admin_token_file, or set \
                 admin_allow_remote = true if a firewall guards it"
                    .to_owned()
            })
        },
    },
    Rule {
        setting: "ws",
        broken: |settings| {
            let same = settings.ws.port() == settings.push.port() && settings.ws.port() != 0;
            let overlap = settings.ws.ip() == settings.push.ip()
                || settings.ws.ip().is_unspecified()
                || settings.push.ip().is_unspecified();
            (same && overlap).then(|| {
                format!("is the same port as push ({}); use different ports", settings.push)
            })
        },
    },
    Rule {
        setting: "window_messages",
        broken: |settings| {
            let (window, limit) = (settings.core.window_messages, settings.core.mailbox_limit);
            (window > limit).then(|| {
                format!(
                    "is above mailbox_limit = {limit}: a connection that closes would put back \
                     more than may wait; raise mailbox_limit or lower window_messages"
                )
            })
        },
    },
    Rule {
        setting: "max_key",
        broken: |settings| {
            let (key, message) = (u64::from(settings.core.max_key), settings.core.max_message);
            (key > message).then(|| {
                format!(
                    "is above max_message = {}, so such a key could never be sent; lower max_key \
                     or raise max_message",
                    show_size(message)
                )
            })
        },
    },
    Rule {
        setting: "max_key",
        broken: |settings| {
            (is_embedded(settings) && u64::from(settings.core.max_key) > embedded::MAX_KEY).then(
                || {
                    format!(
                        "is above {}, the longest key that store = embedded keeps; lower max_key",
                        show_size(embedded::MAX_KEY)
                    )
                },
            )
        },
    },
    Rule {
        setting: "data",
        broken: |settings| {
            (is_embedded(settings) && settings.data.as_os_str().is_empty()).then(|| {
                "is empty, but store = embedded needs a directory; name one, or set \
                 store = memory"
                    .to_owned()
            })
        },
    },
    Rule {
        setting: "redis",
        broken: |settings| redis::check_url(settings.redis.as_deref()?).err(),
    },
    Rule {
        setting: "store",
        // What check --print shows names the embedded store even where Redis is used instead.
        broken: |settings| {
            let both = settings.redis.is_some() && settings.store == StoreKind::Memory;
            both.then(|| {
                "contradicts redis, which keeps the messages there; leave out one of the two"
                    .to_owned()
            })
        },
    },
    Rule {
        setting: "redis_devices",
        broken: |settings| {
            let url = settings.redis_devices.as_deref()?;
            if redis::is_cluster(url) {
                let what =
                    "is a cluster, but the two keys of devices need a single server; name one";
                return Some(what.to_owned());
            }
            redis::check_url(url).err()
        },
    },
    Rule {
        setting: "redis_prefix",
        broken: |settings| {
            let prefix = &settings.redis_prefix;
            (prefix.is_empty() || prefix.contains(['{', '}'])).then(|| {
                "is empty or has braces, which mark what Redis Cluster keeps together; use a word, \
                 as in steadfast"
                    .to_owned()
            })
        },
    },
    Rule {
        setting: "max_unanswered_bytes",
        broken: |settings| {
            // A line that fits alone is always read, so a bound below one line says nothing.
            let (bytes, key) =
                (settings.core.max_unanswered_bytes, u64::from(settings.core.max_key));
            (bytes < key).then(|| {
                format!("is below max_key = {}; raise max_unanswered_bytes", show_size(key))
            })
        },
    },
    Rule {
        setting: "confirm_delay",
        broken: |settings| {
            let (delay, pong) = (settings.core.confirm_delay, settings.core.pong_timeout);
            (delay > pong).then(|| {
                format!(
                    "is above pong_timeout = {pong}: confirmations would take longer than the \
                     ping that brings them; lower confirm_delay"
                )
            })
        },
    },
    Rule {
        setting: "poll_wait",
        broken: |settings| {
            let (wait, heartbeat) = (settings.poll_wait, settings.core.link_heartbeat);
            (wait.times(2) > heartbeat.times(3)).then(|| {
                format!(
                    "is above 1.5 times link_heartbeat = {heartbeat}: sessions would be over while \
                     their requests wait; lower poll_wait"
                )
            })
        },
    },
];
