//! What the gateway knows, as JSON.

use serde_json::{Map, Value, json};
use steadfast_core::id::{Key, MessageId};
use steadfast_core::operator::{ConnectionView, Fate, Stage};
use steadfast_core::store::{DeadLetter, DeviceEntry, Queue, StoredMessage};
use steadfast_core::time::Time;

/// A time as RFC 3339 in UTC; `null` for never.
pub(super) fn time(time: Time) -> Value {
    let micros = i64::try_from(time.as_micros()).ok();
    let stamp = micros.and_then(|micros| jiff::Timestamp::from_microsecond(micros).ok());
    stamp.map_or(Value::Null, |stamp| Value::String(stamp.to_string()))
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Written => "written",
        Stage::Confirmed => "confirmed",
    }
}

pub(super) fn queue(queue: &Queue) -> Value {
    json!({
        "key": &*queue.key,
        "messages": queue.messages,
        "bytes": queue.bytes,
        "oldest": time(queue.oldest),
    })
}

pub(super) fn message(message: &StoredMessage, at: Stage) -> Value {
    let mut shown = fields(message);
    shown.insert("state".to_owned(), stage(at).into());
    Value::Object(shown)
}

fn fields(message: &StoredMessage) -> Map<String, Value> {
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| map.insert(name.to_owned(), value);
    put("id", message.id.to_string().into());
    put("data", String::from_utf8_lossy(&message.payload).into());
    put("tries", message.tries.into());
    put("accepted_at", time(message.accepted_at));
    put("expires_at", time(message.expires_at));
    map
}

pub(super) fn letter(letter: &DeadLetter) -> Value {
    let mut shown = Map::new();
    shown.insert("key".to_owned(), (&*letter.key).into());
    shown.append(&mut fields(&letter.message));
    shown.insert("reason".to_owned(), letter.reason.name().into());
    shown.insert("died_at".to_owned(), time(letter.at));
    let history = letter.history.iter();
    let history = history.map(|(at, why)| json!({"died_at": time(*at), "reason": why.name()}));
    shown.insert("history".to_owned(), history.collect());
    Value::Object(shown)
}

/// Where a message is; nothing when it is unknown.
pub(super) fn fate(key: &Key, fate: &Fate) -> Option<Value> {
    let told = |id: &MessageId, state: &str| {
        Some(json!({"key": &**key, "id": id.to_string(), "state": state}))
    };
    match fate {
        Fate::Stored(stored, at) => {
            let mut shown = message(stored, *at);
            shown["key"] = (&**key).into();
            Some(shown)
        }
        Fate::Written(id) => told(id, "written"),
        Fate::Confirmed(id) => told(id, "confirmed"),
        Fate::Purged(id) => told(id, "purged"),
        Fate::Gone(id) => told(id, "gone"),
        Fate::Dead(dead) => {
            let mut shown = letter(dead);
            let expired = dead.reason == steadfast_core::record::DeathReason::Ttl;
            shown["state"] = if expired { "expired" } else { "dead" }.into();
            Some(shown)
        }
        Fate::Unknown => None,
    }
}

pub(super) fn device_entry(entry: &DeviceEntry) -> Value {
    json!({"number": entry.number, "deviceId": &*entry.device, "data": &*entry.entry})
}

pub(super) fn connection(view: &ConnectionView) -> Value {
    json!({
        "id": view.id.to_string(),
        "key": view.key.as_deref(),
        "dialect": view.dialect.map(steadfast_core::record::Dialect::name),
        "opened_at": time(view.opened_at),
        "silent_ms": view.silent.as_millis(),
        "unconfirmed": view.unconfirmed,
        "messages_in": view.totals.messages_in,
        "bytes_in": view.totals.bytes_in,
        "messages_out": view.totals.messages_out,
        "bytes_out": view.totals.bytes_out,
    })
}
