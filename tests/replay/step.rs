//! What a case does to the server.

use super::text::{self, Names};
use crate::support::frames::{self, Shape};
use crate::support::ws_client::Open;
use serde_json::{Map, Value};
use std::time::Duration;

/// A step, and its place in the case's own list (a loop is one place).
pub(crate) struct Placed {
    pub(crate) index: usize,
    pub(crate) step: Step,
}

/// One thing to do.
pub(crate) enum Step {
    /// Something with a WebSocket connection.
    Client { conn: String, act: ClientStep },
    /// Something with a push connection.
    Pusher { via: String, act: PusherStep },
    /// Sleep.
    Wait(Duration),
    /// Sleep until the wall clock is so far into a second.
    AlignSecond(Duration),
}

pub(crate) enum ClientStep {
    Open(Open),
    Frame { shape: Shape, payload: Vec<u8>, split: Option<Duration> },
    Raw(Vec<u8>),
    Fence,
    Close { code: u16, report: Report },
    Drop,
    Abort,
    Mute,
    Unmute,
    AwaitData { count: usize, limit: Duration },
    AwaitPongs { count: usize, limit: Duration },
    AwaitClosed { limit: Duration },
}

pub(crate) enum PusherStep {
    /// Send these bytes and wait for so many more replies.
    Send {
        bytes: Vec<u8>,
        replies: usize,
    },
    Close,
    HalfClose,
    AwaitReplies {
        count: usize,
        limit: Duration,
    },
}

/// Whether a close by the client is an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    Yes,
    No,
}

/// All steps of a case, loops unrolled.
pub(crate) fn read_all(list: &[Value], names: &Names) -> Result<Vec<Placed>, String> {
    let mut steps = Vec::new();
    for text::Placed { index, value } in text::expand(list, names)? {
        let step = read(&value).map_err(|why| format!("step {value}: {why}"))?;
        steps.push(Placed { index, step });
    }
    Ok(steps)
}

fn read(value: &Value) -> Result<Step, String> {
    let step = value.as_object().ok_or("not an object")?;
    let (verb, argument) = step.iter().next().ok_or("empty")?;
    match verb.as_str() {
        "wait_ms" => Ok(Step::Wait(millis(argument)?)),
        "align_second_ms" => Ok(Step::AlignSecond(millis(argument)?)),
        "push" | "push_bytes" | "push_close" | "push_half_close" | "await_replies" => {
            read_pusher(verb, argument, step)
        }
        _ => read_client(verb, argument, step),
    }
}

fn read_pusher(verb: &str, argument: &Value, step: &Map<String, Value>) -> Result<Step, String> {
    let mut via = step.get("via").map_or(Ok("p"), |via| via.as_str().ok_or("via"))?;
    let act = match verb {
        "push" => {
            only(step, &["push", "via", "no_wait"])?;
            let replies = usize::from(step.get("no_wait").is_none_or(|no_wait| no_wait != true));
            let mut bytes = text::bytes(argument)?;
            bytes.push(b'\n');
            PusherStep::Send { bytes, replies }
        }
        "push_bytes" => {
            only(step, &["push_bytes", "via", "replies"])?;
            let replies = step.get("replies").map_or(Ok(0), count)?;
            PusherStep::Send { bytes: text::bytes(argument)?, replies }
        }
        "await_replies" => {
            let fields = object(argument, &["via", "count", "timeout_ms"])?;
            via = fields.get("via").map_or(Ok("p"), |via| via.as_str().ok_or("via"))?;
            let count = count(field(fields, "count")?)?;
            PusherStep::AwaitReplies { count, limit: millis(field(fields, "timeout_ms")?)? }
        }
        "push_close" | "push_half_close" => {
            only(step, &[verb])?;
            via = argument.as_str().ok_or("not a name")?;
            if verb == "push_close" { PusherStep::Close } else { PusherStep::HalfClose }
        }
        other => return Err(format!("unknown step {other}")),
    };
    Ok(Step::Pusher { via: via.to_owned(), act })
}

fn read_client(verb: &str, argument: &Value, step: &Map<String, Value>) -> Result<Step, String> {
    let (conn, act) = if let Some(conn) = argument.as_str() {
        (conn, read_plain(verb, step)?)
    } else {
        only(step, &[verb])?;
        let fields = argument.as_object().ok_or("not an object")?;
        let conn = field(fields, "conn")?.as_str().ok_or("conn is not a name")?;
        (conn, read_client_fields(verb, argument)?)
    };
    Ok(Step::Client { conn: conn.to_owned(), act })
}

/// The steps whose argument is just the connection's name.
fn read_plain(verb: &str, step: &Map<String, Value>) -> Result<ClientStep, String> {
    if verb == "ws_open" {
        return Ok(ClientStep::Open(read_open(step)?));
    }
    only(step, &[verb])?;
    match verb {
        "ws_fence" => Ok(ClientStep::Fence),
        "ws_drop" => Ok(ClientStep::Drop),
        "ws_abort" => Ok(ClientStep::Abort),
        "ws_mute" => Ok(ClientStep::Mute),
        "ws_unmute" => Ok(ClientStep::Unmute),
        other => Err(format!("unknown step {other}")),
    }
}

fn read_open(step: &Map<String, Value>) -> Result<Open, String> {
    only(step, &["ws_open", "path", "rcvbuf", "early_text"])?;
    let path = step.get("path").map_or(Ok("/"), |path| path.as_str().ok_or("path"))?.to_owned();
    let rcvbuf = step.get("rcvbuf").map(count).transpose()?;
    let early_text = step.get("early_text").map(text::bytes).transpose()?;
    Ok(Open { path, rcvbuf, early_text, ..Open::default() })
}

/// The steps whose argument is an object.
fn read_client_fields(verb: &str, argument: &Value) -> Result<ClientStep, String> {
    let whole =
        |opcode, payload| ClientStep::Frame { shape: Shape::of(opcode), payload, split: None };
    match verb {
        "ws_send" => {
            let fields = object(argument, &["conn", "text", "binary"])?;
            let (name, opcode) = match fields.contains_key("binary") {
                true => ("binary", frames::BINARY),
                false => ("text", frames::TEXT),
            };
            Ok(whole(opcode, text::bytes(field(fields, name)?)?))
        }
        "ws_ping" => {
            let fields = object(argument, &["conn", "payload"])?;
            Ok(whole(frames::PING, text::bytes(field(fields, "payload")?)?))
        }
        "ws_raw" => {
            let fields = object(argument, &["conn", "bytes"])?;
            Ok(ClientStep::Raw(text::bytes(field(fields, "bytes")?)?))
        }
        "ws_frame" => read_frame(argument),
        "ws_close" => {
            let fields = object(argument, &["conn", "code", "report"])?;
            let code = fields.get("code").map_or(Ok(1000), count)?;
            let is_reported = fields.get("report").is_some_and(|report| report == true);
            let report = if is_reported { Report::Yes } else { Report::No };
            Ok(ClientStep::Close { code: u16::try_from(code).map_err(|_| "code")?, report })
        }
        "await_recv" | "await_pong" | "await_closed" => read_await(verb, argument),
        other => Err(format!("unknown step {other}")),
    }
}

fn read_frame(argument: &Value) -> Result<ClientStep, String> {
    let fields =
        object(argument, &["conn", "opcode", "fin", "rsv", "payload", "masked", "split_ms"])?;
    let small = |name: &str, default: u8| {
        let number = fields.get(name).map_or(Some(u64::from(default)), Value::as_u64);
        number.and_then(|number| u8::try_from(number).ok()).ok_or_else(|| name.to_owned())
    };
    let shape = Shape {
        opcode: small("opcode", frames::TEXT)?,
        is_final: fields.get("fin").is_none_or(|is_final| is_final == true),
        rsv: small("rsv", 0)?,
        is_masked: fields.get("masked").is_none_or(|is_masked| is_masked == true),
    };
    let split = fields.get("split_ms").map(millis).transpose()?;
    Ok(ClientStep::Frame { shape, payload: text::bytes(field(fields, "payload")?)?, split })
}

fn read_await(verb: &str, argument: &Value) -> Result<ClientStep, String> {
    let fields = object(argument, &["conn", "count", "timeout_ms"])?;
    let limit = millis(field(fields, "timeout_ms")?)?;
    if verb == "await_closed" {
        return Ok(ClientStep::AwaitClosed { limit });
    }
    let count = count(field(fields, "count")?)?;
    if verb == "await_recv" {
        Ok(ClientStep::AwaitData { count, limit })
    } else {
        Ok(ClientStep::AwaitPongs { count, limit })
    }
}

/// The members of an object that has no others than these.
pub(crate) fn object<'a>(
    value: &'a Value,
    known: &[&str],
) -> Result<&'a Map<String, Value>, String> {
    let fields = value.as_object().ok_or_else(|| format!("not an object: {value}"))?;
    only(fields, known)?;
    Ok(fields)
}

/// Refuses what would be overlooked.
pub(crate) fn only(fields: &Map<String, Value>, known: &[&str]) -> Result<(), String> {
    match fields.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => Err(format!("unknown member {unknown}")),
        None => Ok(()),
    }
}

pub(crate) fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    fields.get(name).ok_or_else(|| format!("{name} is missing"))
}

fn count(value: &Value) -> Result<usize, String> {
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("not a count: {value}"))
}

pub(crate) fn millis(value: &Value) -> Result<Duration, String> {
    value.as_u64().map(Duration::from_millis).ok_or_else(|| format!("not milliseconds: {value}"))
}
