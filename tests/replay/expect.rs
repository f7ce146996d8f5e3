//! What a case expects to be seen, stream by stream.

use super::step::{field, object, only};
use super::text::{self, Names};
use super::{Stream, json};
use crate::support::push_client::PushEvent;
use crate::support::ws_client::{Side, WsEvent};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;

/// One list of events that a correct server may produce.
#[derive(Default)]
pub(crate) struct Expectation {
    pub(crate) streams: BTreeMap<Stream, Vec<Item>>,
}

/// What comes next on a stream.
pub(crate) enum Item {
    One(Want),
    Optional(Want),
    /// Each exactly once, in any order.
    Unordered(Vec<Want>),
    /// Deliveries that may be repeated.
    Repeating(Repeating),
}

pub(crate) struct Repeating {
    /// Each at least once; their first occurrences in this order.
    pub(crate) at_least_once: Vec<Want>,
    /// Each exactly once, anywhere.
    pub(crate) once: Vec<Want>,
    /// Any number of times, anywhere.
    pub(crate) maybe: Vec<Want>,
}

/// One event.
pub(crate) struct Want {
    pub(crate) pattern: Pattern,
    pub(crate) window: Option<Window>,
}

pub(crate) enum Pattern {
    Text(Vec<u8>),
    /// A text that is the same JSON value.
    Json(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Closed(Side),
    HandshakeFailed,
    /// A reply that is one of these.
    Reply(Vec<String>),
    PushClosed,
}

/// When an event has to come, counted from the completion of a step.
pub(crate) struct Window {
    pub(crate) after_step: usize,
    pub(crate) earliest: Duration,
    pub(crate) latest: Duration,
}

/// Something that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Ws(WsEvent),
    Push(PushEvent),
}

impl Pattern {
    pub(crate) fn matches(&self, seen: &Seen) -> bool {
        match (self, seen) {
            (Self::Text(want), Seen::Ws(WsEvent::Text(text))) => want == text,
            (Self::Json(want), Seen::Ws(WsEvent::Text(text))) => {
                want == text || json::is_same(want, text)
            }
            (Self::Binary(want), Seen::Ws(WsEvent::Binary(bytes))) => want == bytes,
            (Self::Pong(want), Seen::Ws(WsEvent::Pong(bytes))) => want == bytes,
            (Self::Closed(want), Seen::Ws(WsEvent::Closed { by, .. })) => want == by,
            (Self::Reply(wanted), Seen::Push(PushEvent::Reply(line))) => {
                wanted.iter().any(|want| want.as_bytes() == line)
            }
            (Self::HandshakeFailed, Seen::Ws(WsEvent::HandshakeFailed(_)))
            | (Self::PushClosed, Seen::Push(PushEvent::Closed { unfinished: 0 })) => true,
            _ => false,
        }
    }
}

impl Expectation {
    pub(crate) fn read(list: &[Value], names: &Names) -> Result<Self, String> {
        let mut all = Self::default();
        for text::Placed { value, .. } in text::expand(list, names)? {
            let (stream, item) =
                read_item(&value).map_err(|why| format!("event {value}: {why}"))?;
            all.streams.entry(stream).or_default().push(item);
        }
        Ok(all)
    }
}

fn read_item(value: &Value) -> Result<(Stream, Item), String> {
    let members = value.as_object().ok_or("not an object")?;
    if let Some(value) = members.get("optional") {
        only(members, &["optional"])?;
        let (stream, want) = read_want(value)?;
        return Ok((stream, Item::Optional(want)));
    }
    if let Some(list) = members.get("unordered") {
        only(members, &["unordered"])?;
        let mut stream = None;
        let wants = read_wants(Some(list), &mut stream)?;
        return Ok((stream.ok_or("an empty group")?, Item::Unordered(wants)));
    }
    if members.contains_key("at_least_once") {
        only(members, &["at_least_once", "once", "maybe"])?;
        let mut stream = None;
        let group = Repeating {
            at_least_once: read_wants(members.get("at_least_once"), &mut stream)?,
            once: read_wants(members.get("once"), &mut stream)?,
            maybe: read_wants(members.get("maybe"), &mut stream)?,
        };
        return Ok((stream.ok_or("an empty group")?, Item::Repeating(group)));
    }
    let (stream, want) = read_want(value)?;
    Ok((stream, Item::One(want)))
}

/// The members of a group, all of which have to be on one stream.
fn read_wants(list: Option<&Value>, stream: &mut Option<Stream>) -> Result<Vec<Want>, String> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let mut wants = Vec::new();
    for value in list.as_array().ok_or("not a list")? {
        let (place, want) = read_want(value)?;
        if *stream.get_or_insert_with(|| place.clone()) != place {
            return Err("a group over several streams".to_owned());
        }
        wants.push(want);
    }
    Ok(wants)
}

fn read_want(value: &Value) -> Result<(Stream, Want), String> {
    let members = value.as_object().ok_or("not an object")?;
    let (stream, pattern) = if members.contains_key("conn") {
        let name = field(members, "conn")?.as_str().ok_or("conn is not a name")?;
        (Stream::Client(name.to_owned()), read_client_pattern(members)?)
    } else {
        let via = members.get("via").map_or(Ok("p"), |via| via.as_str().ok_or("via"))?;
        (Stream::Pusher(via.to_owned()), read_pusher_pattern(members)?)
    };
    let window = members.get("window").map(read_window).transpose()?;
    Ok((stream, Want { pattern, window }))
}

/// `at_step` and `t_ms` are information for the reader of the file.
fn read_client_pattern(members: &Map<String, Value>) -> Result<Pattern, String> {
    let known = |name| only(members, &["conn", name, "match", "window", "at_step", "t_ms"]);
    if let Some(text) = members.get("recv") {
        known("recv")?;
        let bytes = text::bytes(text)?;
        return match members.get("match").map(Value::as_str) {
            None => Ok(Pattern::Text(bytes)),
            Some(Some("json")) => Ok(Pattern::Json(bytes)),
            Some(other) => Err(format!("unknown match {other:?}")),
        };
    }
    if let Some(text) = members.get("recv_binary") {
        known("recv_binary")?;
        return Ok(Pattern::Binary(text::bytes(text)?));
    }
    if let Some(text) = members.get("pong") {
        known("pong")?;
        return Ok(Pattern::Pong(text::bytes(text)?));
    }
    if members.contains_key("handshake_failed") {
        known("handshake_failed")?;
        return Ok(Pattern::HandshakeFailed);
    }
    known("closed")?;
    let closed = object(field(members, "closed")?, &["by", "code"])?;
    match closed.get("by").and_then(Value::as_str) {
        Some("server") => Ok(Pattern::Closed(Side::Server)),
        Some("client") => Ok(Pattern::Closed(Side::Client)),
        other => Err(format!("closed by {other:?}")),
    }
}

fn read_pusher_pattern(members: &Map<String, Value>) -> Result<Pattern, String> {
    if members.contains_key("push_closed") {
        only(members, &["push_closed", "via", "window", "at_step", "t_ms"])?;
        return Ok(Pattern::PushClosed);
    }
    only(members, &["push_reply", "via", "window", "at_step", "t_ms"])?;
    let reply = field(members, "push_reply")?;
    let choices = match reply.get("any_of") {
        Some(list) => list.as_array().ok_or("any_of is not a list")?.as_slice(),
        None => std::slice::from_ref(reply),
    };
    let choices = choices.iter().map(|choice| choice.as_str().map(str::to_owned));
    Ok(Pattern::Reply(choices.collect::<Option<_>>().ok_or("a reply is a string")?))
}

fn read_window(value: &Value) -> Result<Window, String> {
    let members = object(value, &["after_step", "min_ms", "max_ms"])?;
    let number =
        |name| field(members, name)?.as_u64().ok_or_else(|| format!("{name} is no number"));
    Ok(Window {
        after_step: usize::try_from(number("after_step")?).map_err(|_| "after_step")?,
        earliest: Duration::from_millis(number("min_ms")?),
        latest: Duration::from_millis(number("max_ms")?),
    })
}
