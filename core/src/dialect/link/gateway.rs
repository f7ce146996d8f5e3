//! What the gateway sends.

use super::{Malformed, Members, Writer};
use crate::dialect::json::{self, Value};
use crate::id::MessageId;
use std::borrow::Cow;
use std::fmt::Write as _;

/// One frame of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GatewayFrame<'a> {
    /// To `hello`: the connection is bound to its key. The first frame.
    Welcome(Welcome<'a>),
    /// A message for the key, to be answered `ack` once the application has it.
    Message {
        /// Its name; opaque to clients. The same id is the same message.
        id: Cow<'a, str>,
        /// What was pushed, exactly.
        data: Cow<'a, str>,
        /// How many deliveries of it have failed before.
        tries: u32,
    },
    /// To `heartbeat`.
    HeartbeatAck {
        /// What the heartbeat had.
        timestamp: Option<u64>,
    },
    /// To `ping`.
    Pong,
    /// The ops up to this number are applied and stored.
    OpAck {
        /// The last one's number.
        n: u64,
    },
    /// The gateway is about to close the connection. The client is asked to come back after so many
    /// milliseconds, a slot that no other client is given.
    Retry {
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// The gateway closes the connection for this reason; nothing follows.
    Error {
        /// The close code that follows.
        code: u16,
        /// The close reason that follows.
        reason: Cow<'a, str>,
    },
}

/// What a client is told when its connection is bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The session's id, for the next `hello`.
    pub session: Cow<'a, str>,
    /// Whether it is the session that was asked for. If not, ops start again at 1.
    pub resumed: bool,
    /// Whether messages of the key were set aside (expired, dropped, given up) since the session
    /// last knew.
    pub lost: bool,
    /// The number of the last op applied to the context.
    pub applied: u64,
    /// The session's context: a JSON text.
    pub context: Cow<'a, str>,
    /// How often the client has to send something, in milliseconds: a connection that is silent for
    /// three times as long is closed.
    pub heartbeat_ms: u64,
    /// Where else the client may connect; may be empty.
    pub endpoints: Vec<Cow<'a, str>>,
}

impl<'a> GatewayFrame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// The text is no frame of the gateway.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        let members = Members::read(text)?;
        let kind = members.expect_text("type", "`type` is missing or not a string")?;
        match &*kind {
            "welcome" => welcome(&members).map(Self::Welcome),
            "message" => {
                let wrong = "`tries` is missing or not an integer";
                let tries = members.expect_number("tries", wrong)?;
                Ok(Self::Message {
                    id: members.expect_text("id", "`id` is missing or not a string")?,
                    data: members.expect_text("data", "`data` is missing or not a string")?,
                    tries: u32::try_from(tries).map_err(|_| Malformed(wrong))?,
                })
            }
            "heartbeat_ack" => {
                let timestamp = members.number("timestamp", "`timestamp` is not an integer")?;
                Ok(Self::HeartbeatAck { timestamp })
            }
            "pong" => Ok(Self::Pong),
            "op_ack" => {
                let n = members.expect_number("n", "`n` is missing or not an integer")?;
                Ok(Self::OpAck { n })
            }
            "retry" => {
                let wrong = "`after_ms` is missing or not an integer";
                Ok(Self::Retry { after_ms: members.expect_number("after_ms", wrong)? })
            }
            "error" => {
                let wrong = "`code` is missing or not a close code";
                let code = members.expect_number("code", wrong)?;
                Ok(Self::Error {
                    code: u16::try_from(code).map_err(|_| Malformed(wrong))?,
                    reason: members.expect_text("reason", "`reason` is missing or not a string")?,
                })
            }
            _ => Err(Malformed("`type` is not a frame of the gateway")),
        }
    }

    /// Appends the frame's text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Welcome(welcome) => welcome.write(out),
            Self::Message { id, data, tries } => Writer::begin(out, "message")
                .text("id", id)
                .text("data", data)
                .number("tries", u64::from(*tries))
                .end(),
            Self::HeartbeatAck { timestamp } => {
                Writer::begin(out, "heartbeat_ack").number_if("timestamp", *timestamp).end();
            }
            Self::Pong => Writer::begin(out, "pong").end(),
            Self::OpAck { n } => Writer::begin(out, "op_ack").number("n", *n).end(),
            Self::Retry { after_ms } => {
                Writer::begin(out, "retry").number("after_ms", *after_ms).end();
            }
            Self::Error { code, reason } => {
                let error = Writer::begin(out, "error").number("code", u64::from(*code));
                error.text("reason", reason).end();
            }
        }
    }

    /// The frame's text.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }
}

/// Appends the text of a [`GatewayFrame::Message`].
pub fn write_message(id: MessageId, data: &str, tries: u32, out: &mut String) {
    out.reserve(data.len() + 64);
    write!(out, "{{\"type\":\"message\",\"id\":\"{id}\",\"data\":")
        .expect("a string takes everything");
    json::write_string(data, out);
    write!(out, ",\"tries\":{tries}}}").expect("a string takes everything");
}

impl Welcome<'_> {
    fn write(&self, out: &mut String) {
        let mut writer = Writer::begin(out, "welcome")
            .text("session", &self.session)
            .flag("resumed", self.resumed)
            .flag("lost", self.lost)
            .number("applied", self.applied)
            .raw("context", &self.context)
            .number("heartbeat_ms", self.heartbeat_ms);
        if !self.endpoints.is_empty() {
            let mut list = String::new();
            for endpoint in &self.endpoints {
                list.push(if list.is_empty() { '[' } else { ',' });
                json::write_string(endpoint, &mut list);
            }
            list.push(']');
            writer = writer.raw("endpoints", &list);
        }
        writer.end();
    }
}

fn welcome<'a>(members: &Members<'a>) -> Result<Welcome<'a>, Malformed> {
    let context = members.list.iter().rev().find(|(name, _)| name == "context");
    let (_, context) = context.ok_or(Malformed("`context` is missing"))?;
    let mut text = String::new();
    json::write(*context, &mut text);
    let mut endpoints = Vec::new();
    match members.get("endpoints") {
        None => {}
        Some(Value::Array(list)) => {
            let wrong = Malformed("`endpoints` is not an array of strings");
            json::strings(list, |endpoint| endpoints.push(endpoint.decode())).ok_or(wrong)?;
        }
        Some(_) => return Err(Malformed("`endpoints` is not an array of strings")),
    }
    Ok(Welcome {
        session: members.expect_text("session", "`session` is missing or not a string")?,
        resumed: members.flag("resumed", "`resumed` is missing or not true or false")?,
        lost: members.flag("lost", "`lost` is missing or not true or false")?,
        applied: members.expect_number("applied", "`applied` is missing or not an integer")?,
        context: Cow::Owned(text),
        heartbeat_ms: members
            .expect_number("heartbeat_ms", "`heartbeat_ms` is missing or not an integer")?,
        endpoints,
    })
}
