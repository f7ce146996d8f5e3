//! Plain HTTP on the clients' port: requests that are no WebSockets, and the answers to them.
//!
//! Only the path of the [long-poll](super::poll) is known. Each answer ends its connection, so that
//! nothing has to be told apart on one.

use super::upgrade::Refusal;
use bytestring::ByteString;
use std::io::Write;
use tungstenite::http::StatusCode;

/// The path of the long-poll.
pub const POLL: &str = "/poll";

/// The longest body of a request in bytes.
pub const MAX_BODY: usize = 1 << 20;

/// A whole request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// What stands behind the question mark.
    pub query: String,
    /// The page that asks, where the browser says so.
    pub origin: Option<String>,
    /// The host that was asked.
    pub host: String,
    /// The body.
    pub body: ByteString,
}

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Frames of the gateway.
    Get,
    /// Frames of the client are brought.
    Post,
    /// A browser asks whether a page may ask.
    Options,
}

/// An answer without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head<'a> {
    /// The status.
    pub status: u16,
    /// The page of another origin that may read the answer.
    pub allow: Option<&'a str>,
}

/// A request whose body has not come yet.
#[derive(Debug)]
pub(super) struct Unfinished {
    request: Request,
    body: Vec<u8>,
    missing: usize,
}

impl Unfinished {
    pub(super) fn new(request: Request, length: usize) -> Self {
        // Memory is taken for what has come only.
        Self { request, body: Vec::new(), missing: length }
    }

    /// Takes bytes of the body; the request once it is whole.
    pub(super) fn take(&mut self, input: &mut &[u8]) -> Option<Result<Request, Refusal>> {
        let (body, rest) = input.split_at(self.missing.min(input.len()));
        self.body.extend_from_slice(body);
        self.missing -= body.len();
        *input = rest;
        if self.missing > 0 {
            return None;
        }
        let body = std::mem::take(&mut self.body);
        Some(match ByteString::try_from(body) {
            Ok(body) => Ok(Request { body, ..self.request.clone() }),
            Err(_) => Err(Refusal { status: 400, reason: "the body is not UTF-8".into() }),
        })
    }
}

impl Request {
    /// The value of a name in the query, percent-decoded; `None` when it is not there or no text.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let (_, value) = pairs.find(|(of, _)| *of == name)?;
        decode(value)
    }

    /// Whether the page that asks came from the host that was asked, or no browser says which page
    /// asks.
    #[must_use]
    pub fn is_same_origin(&self) -> bool {
        let Some(origin) = &self.origin else { return true };
        let host = origin.split_once("://").map_or("", |(_, host)| host);
        host.eq_ignore_ascii_case(&self.host)
    }
}

fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || Some((rest.next()? as char).to_digit(16)? as u8);
        bytes.push(digit()? << 4 | digit()?);
    }
    String::from_utf8(bytes).ok()
}

/// Appends an answer.
pub fn put_answer(out: &mut Vec<u8>, head: &Head<'_>, body: &str) {
    let status = StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut allow = String::new();
    if let Some(origin) = head.allow {
        allow = format!(
            "Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Allow-Methods: GET, POST\r\n\
             Access-Control-Allow-Headers: Content-Type\r\nAccess-Control-Max-Age: 600\r\n\
             Vary: Origin\r\n"
        );
    }
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\n{allow}Cache-Control: no-store\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str, origin: Option<&str>) -> Request {
        Request {
            method: Method::Get,
            query: query.to_owned(),
            origin: origin.map(str::to_owned),
            host: "a:5001".to_owned(),
            body: ByteString::default(),
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let asked = request("session=5e&after=%31%2F&wait&x=%zz&y=%ff", None);
        let expect = [("session", Some("5e")), ("after", Some("1/")), ("wait", None), ("x", None)];
        for (name, value) in expect {
            assert_eq!(asked.parameter(name).as_deref(), value, "{name}");
        }
        assert_eq!(asked.parameter("y"), None);
    }

    #[test]
    fn a_page_of_the_same_host_is_known() {
        for (origin, same) in [
            (None, true),
            (Some("http://a:5001"), true),
            (Some("https://A:5001"), true),
            (Some("http://a"), false),
            (Some("null"), false),
        ] {
            assert_eq!(request("", origin).is_same_origin(), same, "{origin:?}");
        }
    }
}
