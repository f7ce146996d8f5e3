//! What a client sends.

use super::{Malformed, Members, Writer};
use crate::dialect::json::{self, Value};
use std::borrow::Cow;

/// One frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame<'a> {
    /// Says which key the connection is for. The first frame, and only that.
    Hello(Hello<'a>),
    /// The application has this message; the only thing that confirms one.
    Ack {
        /// The message's id, as it came.
        id: Cow<'a, str>,
    },
    /// A sign of life, answered `heartbeat_ack`.
    Heartbeat {
        /// The client's own time in milliseconds; comes back in the answer. One that is no integer from
        /// 0 to 2⁵³ − 1 counts as none.
        timestamp: Option<u64>,
    },
    /// A question whether the gateway is there, answered `pong`.
    Ping,
    /// A change of the session's context, answered `op_ack` once it is stored.
    Op {
        /// 1 for the session's first one, and one more for each further one.
        n: u64,
        /// A JSON Merge Patch (RFC 7396): a JSON text.
        patch: Cow<'a, str>,
    },
    /// The client ends the connection on purpose; answered with the close code 1000.
    Bye,
}

/// The first frame of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello<'a> {
    /// The key, trimmed by the gateway as the first message of other clients is.
    pub key: Cow<'a, str>,
    /// What proves that the client may have this key, where the gateway asks for proof.
    pub token: Option<Cow<'a, str>>,
    /// The session to go on with; a fresh one when absent, unknown or expired.
    pub session: Option<Cow<'a, str>>,
    /// The id of the last message that the application has had. It helps people who read logs and
    /// confirms nothing.
    pub last: Option<Cow<'a, str>>,
}

impl<'a> ClientFrame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    ///
    /// The text is no frame of a client.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        if let Some(id) = plain_ack(text) {
            return Ok(Self::Ack { id: Cow::Borrowed(id) });
        }
        let members = Members::read(text)?;
        let kind = members.expect_text("type", "`type` is missing or not a string")?;
        match &*kind {
            "hello" => Ok(Self::Hello(Hello {
                key: members.expect_text("key", "`key` is missing or not a string")?,
                token: members.text("token", "`token` is not a string")?,
                session: members.text("session", "`session` is not a string")?,
                last: members.text("last", "`last` is not a string")?,
            })),
            "ack" => {
                Ok(Self::Ack { id: members.expect_text("id", "`id` is missing or not a string")? })
            }
            // A sign of life counts, whatever clock the client has.
            "heartbeat" => Ok(Self::Heartbeat { timestamp: members.integer("timestamp") }),
            "ping" => Ok(Self::Ping),
            "op" => {
                let wrong = "`n` is missing or not an integer from 1 to 9007199254740991";
                let n = members.expect_number("n", wrong)?;
                if n == 0 {
                    return Err(Malformed(wrong));
                }
                Ok(Self::Op { n, patch: patch(&members)? })
            }
            "bye" => Ok(Self::Bye),
            _ => Err(Malformed("`type` is not a frame of a client")),
        }
    }

    /// Appends the frame's text.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Hello(hello) => Writer::begin(out, "hello")
                .text("key", &hello.key)
                .text_if("token", hello.token.as_deref())
                .text_if("session", hello.session.as_deref())
                .text_if("last", hello.last.as_deref())
                .end(),
            Self::Ack { id } => Writer::begin(out, "ack").text("id", id).end(),
            Self::Heartbeat { timestamp } => {
                Writer::begin(out, "heartbeat").number_if("timestamp", *timestamp).end();
            }
            Self::Ping => Writer::begin(out, "ping").end(),
            Self::Op { n, patch } => {
                Writer::begin(out, "op").number("n", *n).raw("patch", patch).end();
            }
            Self::Bye => Writer::begin(out, "bye").end(),
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

/// The id of an `ack` that is spelled as our clients spell it. There is one for each message,
/// so they are not taken apart member by member.
fn plain_ack(text: &str) -> Option<&str> {
    let id = text.strip_prefix(r#"{"type":"ack","id":""#)?.strip_suffix(r#""}"#)?;
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'-';
    id.bytes().all(is_plain).then_some(id)
}

/// The patch of an `op`. It may be `null`, which is a patch too.
fn patch<'a>(members: &Members<'a>) -> Result<Cow<'a, str>, Malformed> {
    let found = members.list.iter().rev().find(|(name, _)| name == "patch");
    let (_, value) = found.ok_or(Malformed("`patch` is missing"))?;
    Ok(match *value {
        Value::Array(text) | Value::Object(text) | Value::Number(text) => Cow::Borrowed(text),
        value @ (Value::Null | Value::Bool(_) | Value::String(_)) => {
            let mut out = String::new();
            json::write(value, &mut out);
            Cow::Owned(out)
        }
    })
}
