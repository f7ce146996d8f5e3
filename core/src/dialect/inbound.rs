//! What a client's message is: one dialect after the other is asked, the first that knows it wins.
//!
//! The message is judged by its text and by what its connection is bound to, nothing else. What it
//! leads to (binding, answers, closing) is for the gateway.

use super::json::{self, Value};
use super::{php, trim};
use crate::config::Dialects;
use crate::id::Key;
use crate::record::Dialect;
use bytestring::ByteString;
use std::borrow::Cow;

/// What the connection a message came from is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// Nothing yet.
    Unbound,
    /// A key, by a dialect other than that of devices.
    Bound(&'a Key),
    /// The key of a device.
    Device(&'a Key),
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A web page's heartbeat: all ASCII digits, and the connection's own key if it has one.
    Web,
    /// An Office add-in's heartbeat: a JSON object with `uid`.
    Office(Echo),
    /// A device's message: a JSON object with `deviceId`.
    Device(DeviceMessage<'a>),
    /// A monitor's message: a JSON object with a `type` of its own.
    Monitor(MonitorMessage),
    /// Any other text.
    Other,
}

/// How an Office heartbeat is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Echo {
    /// With the very same text.
    Verbatim,
    /// Not at all: its `FunctionType` is 0 or absent.
    None,
}

/// What a device says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceMessage<'a> {
    /// The device's id, trimmed, not empty; [`device_key`](super::device_key) makes a key of it.
    pub id: Cow<'a, str>,
    /// What is to be appended to the device log: compact JSON with non-ASCII unescaped.
    pub log: Option<ByteString>,
}

/// What a monitor says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonitorMessage {
    /// `{"type":"heartbeat",…}`, answered `heartbeat_ack`.
    Heartbeat,
    /// `{"type":"ping",…}`, answered `pong`.
    Ping,
}

/// Tells what a message is. `text` is trimmed and not empty. The dialects in `dialects` are asked in
/// the order web, office, device, monitor, so that an object with both `uid` and `deviceId` is an
/// Office heartbeat.
#[must_use]
pub fn read<'a>(text: &'a str, standing: Standing<'_>, dialects: Dialects) -> Message<'a> {
    if !text.starts_with('{') {
        let web = dialects.speaks(Dialect::Web) && is_heartbeat(text, standing);
        return if web { Message::Web } else { Message::Other };
    }
    let Some(object) = Object::read(text) else {
        return Message::Other;
    };
    let office = || object.office().filter(|_| dialects.speaks(Dialect::Office));
    let device = || object.device(standing).filter(|_| dialects.speaks(Dialect::Device));
    let monitor = || object.monitor().filter(|_| dialects.speaks(Dialect::Monitor));
    office()
        .map(Message::Office)
        .or_else(|| device().map(Message::Device))
        .or_else(|| monitor().map(Message::Monitor))
        .unwrap_or(Message::Other)
}

fn is_heartbeat(text: &str, standing: Standing<'_>) -> bool {
    let own = match standing {
        Standing::Unbound => true,
        Standing::Bound(key) => **key == *text,
        Standing::Device(_) => false,
    };
    own && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The members that dialects ask for; of duplicates the last.
#[derive(Default)]
struct Object<'a> {
    uid: Option<Value<'a>>,
    function_type: Option<Value<'a>>,
    device_id: Option<Value<'a>>,
    kind: Option<Value<'a>>,
    data: Option<Value<'a>>,
}

impl<'a> Object<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut object = Self::default();
        json::members(text, |name, value| {
            let member = match &*name.decode() {
                "uid" => &mut object.uid,
                "FunctionType" => &mut object.function_type,
                "deviceId" => &mut object.device_id,
                "type" => &mut object.kind,
                "data" => &mut object.data,
                _ => return,
            };
            *member = Some(value);
        })?;
        Some(object)
    }

    fn office(&self) -> Option<Echo> {
        self.uid.filter(|uid| *uid != Value::Null)?;
        let echo = self.function_type.is_some_and(|value| php::int_cast(value) != 0);
        Some(if echo { Echo::Verbatim } else { Echo::None })
    }

    fn device(&self, standing: Standing<'_>) -> Option<DeviceMessage<'a>> {
        match standing {
            Standing::Unbound | Standing::Device(_) => {}
            Standing::Bound(_) => return None,
        }
        let id = match php::key_text(self.device_id?)? {
            Cow::Borrowed(id) => Cow::Borrowed(trim(id)),
            Cow::Owned(id) => Cow::Owned(trim(&id).to_owned()),
        };
        (!id.is_empty()).then(|| DeviceMessage { id, log: self.log() })
    }

    /// The log entry in the object: `data`, when `type` is 4 or `"4"` and `data` is true to PHP.
    fn log(&self) -> Option<ByteString> {
        let uploads = match self.kind? {
            Value::Number(text) => text.parse() == Ok(4.0),
            Value::String(text) => text.is("4"),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        let data = self.data.filter(|data| uploads && php::is_truthy(*data))?;
        let mut entry = String::new();
        json::write(data, &mut entry);
        Some(entry.into())
    }

    fn monitor(&self) -> Option<MonitorMessage> {
        let Value::String(kind) = self.kind? else {
            return None;
        };
        if kind.is("heartbeat") {
            return Some(MonitorMessage::Heartbeat);
        }
        kind.is("ping").then_some(MonitorMessage::Ping)
    }
}

#[cfg(test)]
mod tests;
