//! The lines of back ends: one JSON object each, `uid` names the key, the rest is the message.
//!
//! `tests/vectors/README.md`, "push port" 1 to 4, is the source of the rules.

use super::json::{self, Value};
use super::{php, trim};
use crate::command::FailReason;
use std::borrow::Cow;
use std::str;

/// A push that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push<'a> {
    /// The key it is for. A part of the line where its spelling allows.
    pub key: Cow<'a, str>,
    /// What is written to the client instead of the line itself, for `FunctionType` 1 and 2.
    pub rebuilt: Option<String>,
}

/// Reads a line whose LF, and the CRs before it, are cut.
///
/// # Errors
///
/// - [`NotAnObject`](FailReason::NotAnObject): not UTF-8, or not one JSON object.
/// - [`NoKey`](FailReason::NoKey): `uid` is absent or neither a string nor an integer. Floats are
///   refused because the key they become is an accident of spelling.
/// - [`EmptyKey`](FailReason::EmptyKey): nothing is left of `uid` when it is trimmed.
/// - [`KeyTooLong`](FailReason::KeyTooLong): more than `max_key` bytes are.
pub fn read(line: &[u8], max_key: usize) -> Result<Push<'_>, FailReason> {
    let text = str::from_utf8(line).map_err(|_| FailReason::NotAnObject)?;
    let mut uid = None;
    let mut function_type = None;
    json::members(text, |name, value| {
        if name.is("uid") {
            uid = Some(value);
        } else if name.is("FunctionType") {
            function_type = Some(value);
        }
    })
    .ok_or(FailReason::NotAnObject)?;

    let uid = uid.and_then(php::key_text).ok_or(FailReason::NoKey)?;
    let length = trim(&uid).len();
    if length == 0 {
        return Err(FailReason::EmptyKey);
    }
    if length > max_key {
        return Err(FailReason::KeyTooLong);
    }
    let rebuilt = Kind::of(function_type, &uid).map(|kind| rebuild(text, kind));
    Ok(Push { key: trimmed(uid), rebuilt })
}

/// The text without what [`trim`] cuts.
fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(trim(text)),
        Cow::Owned(text) if trim(&text).len() == text.len() => Cow::Owned(text),
        Cow::Owned(text) => Cow::Owned(trim(&text).to_owned()),
    }
}

/// A push that is rebuilt, by its `FunctionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// 1: a variable was fetched.
    Fetch,
    /// 2: the variables of a working paper were synchronised.
    Sync,
}

impl Kind {
    /// What the push's own `FunctionType` says, or else the one inside a `uid` that is itself a JSON
    /// object (from its first byte on). `None` means: relayed as it is.
    fn of(own: Option<Value<'_>>, uid: &str) -> Option<Self> {
        let function_type = match own {
            None | Some(Value::Null) => inner_function_type(uid)?,
            Some(value) => php::int_cast(value),
        };
        match function_type {
            1 => Some(Self::Fetch),
            2 => Some(Self::Sync),
            _ => None,
        }
    }
}

fn inner_function_type(uid: &str) -> Option<i64> {
    if !uid.starts_with('{') {
        return None;
    }
    let mut function_type = None;
    json::members(uid, |name, value| {
        if name.is("FunctionType") {
            function_type = Some(php::int_cast(value));
        }
    })?;
    function_type
}

/// The members that rebuilding sets, in the order in which they are appended when absent.
const SET: [&str; 4] = ["ErrMsg", "IsSuccess", "FunctionType", "Data"];

/// The object without `msg`, `code` and `ratio` and with the members of [`SET`], as compact JSON in
/// the order of the line.
fn rebuild(text: &str, kind: Kind) -> String {
    let members = merged_members(text);
    let given = |wanted: &str| {
        members.iter().find(|(name, _)| name == wanted).map(|(_, value)| *value).filter(is_given)
    };
    let outcome = Outcome {
        kind,
        failed: given("ratio").is_some_and(|ratio| php::int_cast(ratio) != 100),
        reason: given("msg").map_or(Cow::Borrowed(""), php::string_cast),
    };
    let mut out = String::with_capacity(text.len() + 128);
    let mut separator = '{';
    let mut member = |name: &str, value: Option<Value<'_>>| {
        out.push(separator);
        separator = ',';
        json::write_string(name, &mut out);
        out.push(':');
        outcome.write(name, value, &mut out);
    };
    for (name, value) in &members {
        if !matches!(&**name, "msg" | "code" | "ratio") {
            member(name, Some(*value));
        }
    }
    for name in SET {
        if members.iter().all(|(present, _)| present != name) {
            member(name, None);
        }
    }
    out.push('}');
    out
}

/// The object's members, of duplicates the last value at the first place.
fn merged_members(text: &str) -> Vec<(Cow<'_, str>, Value<'_>)> {
    let mut members = Vec::new();
    json::members(text, |name, value| members.push((name.decode(), value)))
        .expect("the line was read before");
    match json::survivors(members.len(), |at| &members[at].0) {
        None => members,
        Some(kept) => kept
            .into_iter()
            .map(|(first, last)| (members[first].0.clone(), members[last].1))
            .collect(),
    }
}

fn is_given(value: &Value<'_>) -> bool {
    *value != Value::Null
}

/// What a rebuilt push reports.
struct Outcome<'a> {
    kind: Kind,
    /// Whether there is a `ratio` other than 100.
    failed: bool,
    /// `msg`, which follows the message of a failure.
    reason: Cow<'a, str>,
}

impl Outcome<'_> {
    /// Appends the value of the member `name`, which is `present` in the line or not.
    fn write(&self, name: &str, present: Option<Value<'_>>, out: &mut String) {
        match (name, present.filter(is_given), self.kind) {
            ("FunctionType", _, Kind::Fetch) => out.push('1'),
            ("FunctionType", _, Kind::Sync) => out.push('2'),
            ("Data", _, Kind::Sync) => out.push_str(if self.failed { "false" } else { "true" }),
            ("Data", None, Kind::Fetch) => out.push_str("\"\""),
            ("IsSuccess", None, _) => out.push(if self.failed { '0' } else { '1' }),
            ("ErrMsg", None, _) => json::write_string(&self.message(), out),
            (_, value, _) => json::write(value.unwrap_or(Value::Null), out),
        }
    }

    fn message(&self) -> String {
        let message = match (self.kind, self.failed) {
            (Kind::Fetch, false) => "获取变量成功",
            (Kind::Fetch, true) => "获取变量失败",
            (Kind::Sync, false) => "同步底稿变量成功",
            (Kind::Sync, true) => "同步底稿变量失败",
        };
        [message, if self.failed { &self.reason } else { "" }].concat()
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
