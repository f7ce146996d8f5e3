//! The link protocol, `steadfast.v1`: the frames of both sides as JSON texts, and what close codes
//! ask of a client.
//!
//! Both halves use it: the gateway reads [`ClientFrame`]s and writes [`GatewayFrame`]s, the client's
//! [`Link`](crate::link::Link) the other way round. Frames borrow what they are read from. Unknown
//! members are passed over, so that members can be added; an unknown `type` is an error, because
//! what it asks would not be done.
//!
//! Not here: what frames lead to, and how they travel (WebSocket messages or long-poll bodies).

mod client;
pub mod code;
mod gateway;

pub use client::{ClientFrame, Hello};
pub use code::{Advice, advice};
pub use gateway::{GatewayFrame, Welcome, write_message};

use super::json::{self, Value};
use bytestring::ByteString;
use std::borrow::Cow;
use std::fmt;

/// The name of the protocol in `Sec-WebSocket-Protocol`.
pub const SUBPROTOCOL: &str = "steadfast.v1";

/// How many message ids a client remembers, to drop and acknowledge again what comes twice.
pub const REMEMBERED_IDS: usize = 4_096;

/// The largest number in a frame: what JavaScript counts up to without rounding.
pub const MAX_NUMBER: u64 = (1 << 53) - 1;

/// The frames of a text that is either one frame or an array of them; `None` when it is neither.
/// Whether they are frames shows when they are read.
#[must_use]
pub fn split_frames(text: &ByteString) -> Option<Vec<ByteString>> {
    let mut frames = Vec::new();
    if text.trim_start().starts_with('[') {
        json::objects(text, |object| frames.push(text.slice_ref(object)))?;
    } else {
        frames.push(text.clone());
    }
    Some(frames)
}

/// Why a text is no frame. Its text names the member that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub(crate) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The members of a frame that is being read. Each reader names what must be there.
struct Members<'a> {
    list: Vec<(Cow<'a, str>, Value<'a>)>,
}

impl<'a> Members<'a> {
    fn read(text: &'a str) -> Result<Self, Malformed> {
        let mut list = Vec::with_capacity(8);
        json::members(text, |name, value| list.push((name.decode(), value)))
            .ok_or(Malformed("not a JSON object"))?;
        Ok(Self { list })
    }

    /// The last member of this name; `null` counts as absent.
    fn get(&self, name: &str) -> Option<Value<'a>> {
        let found = self.list.iter().rev().find(|(of, _)| of == name)?;
        Some(found.1).filter(|value| *value != Value::Null)
    }

    /// A string, or `None` when there is none.
    fn text(&self, name: &str, wrong: &'static str) -> Result<Option<Cow<'a, str>>, Malformed> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.decode())),
            Some(_) => Err(Malformed(wrong)),
        }
    }

    /// A string that must be there.
    fn expect_text(&self, name: &str, wrong: &'static str) -> Result<Cow<'a, str>, Malformed> {
        self.text(name, wrong)?.ok_or(Malformed(wrong))
    }

    /// An integer from 0 to [`MAX_NUMBER`], or `None` when there is none.
    fn number(&self, name: &str, wrong: &'static str) -> Result<Option<u64>, Malformed> {
        match (self.get(name), self.integer(name)) {
            (Some(_), None) => Err(Malformed(wrong)),
            (_, number) => Ok(number),
        }
    }

    /// An integer from 0 to [`MAX_NUMBER`], or `None` when there is anything else or nothing.
    fn integer(&self, name: &str) -> Option<u64> {
        let Some(Value::Number(digits)) = self.get(name) else { return None };
        digits.parse().ok().filter(|number| *number <= MAX_NUMBER)
    }

    /// An integer that must be there.
    fn expect_number(&self, name: &str, wrong: &'static str) -> Result<u64, Malformed> {
        self.number(name, wrong)?.ok_or(Malformed(wrong))
    }

    fn flag(&self, name: &str, wrong: &'static str) -> Result<bool, Malformed> {
        match self.get(name) {
            Some(Value::Bool(flag)) => Ok(flag),
            _ => Err(Malformed(wrong)),
        }
    }
}

/// Writes one object, member by member.
struct Writer<'o> {
    out: &'o mut String,
}

impl<'o> Writer<'o> {
    fn begin(out: &'o mut String, kind: &str) -> Self {
        out.push_str("{\"type\":\"");
        out.push_str(kind);
        out.push('"');
        Self { out }
    }

    fn name(&mut self, name: &str) {
        self.out.push_str(",\"");
        self.out.push_str(name);
        self.out.push_str("\":");
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        json::write_string(value, self.out);
        self
    }

    fn text_if(self, name: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    fn number(mut self, name: &str, value: u64) -> Self {
        use fmt::Write as _;
        self.name(name);
        write!(self.out, "{value}").expect("a string takes everything");
        self
    }

    fn number_if(self, name: &str, value: Option<u64>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    fn flag(self, name: &str, value: bool) -> Self {
        self.raw(name, if value { "true" } else { "false" })
    }

    /// A member whose value is JSON already.
    fn raw(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        self.out.push_str(value);
        self
    }

    fn end(self) {
        self.out.push('}');
    }
}

#[cfg(test)]
mod tests;
