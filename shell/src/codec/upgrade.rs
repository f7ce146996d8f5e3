//! The HTTP request that becomes a WebSocket, and its answer.
//!
//! The request is read by httparse, once its end has come, and answered with tungstenite's
//! `create_response`. No extension is agreed to, and of subprotocols that of the link protocol. A
//! request that cannot be upgraded gets a status and one line of text saying what is wrong with it; one
//! that asks for a page, where pages are served, gets that.
//!
//! Invariants: at most [`MAX_HEAD`] bytes are kept; every byte is scanned once; a request is parsed
//! once, at the empty line that ends it.

use super::http::{self, Method, Request, Unfinished};
use crate::pages::Page;
use bytestring::ByteString;
use std::borrow::Cow;
use std::io::Write;
use steadfast_core::dialect::link::SUBPROTOCOL;
use steadfast_core::event::Protocol;
use tungstenite::handshake::server::{self, create_response, write_response};
use tungstenite::http::header::{
    CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use tungstenite::http::{HeaderMap, StatusCode};

/// The longest request in bytes.
pub const MAX_HEAD: usize = 16 << 10;
/// The most header fields in a request.
pub const MAX_HEADERS: usize = 64;

/// Why a request is not upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status of the answer.
    pub status: u16,
    /// What is wrong with the request; the body of the answer.
    pub reason: Cow<'static, str>,
}

/// What a request leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is upgraded: its target, and what is spoken from now on.
    Upgraded(ByteString, Protocol),
    /// It is plain HTTP.
    Requested(Box<Request>),
    /// It asked for a page, which was appended.
    Served,
}

/// Collects a request until it is complete, then answers it.
#[derive(Debug, Default)]
pub struct UpgradeCodec {
    /// The beginning of a request whose end has not come.
    begun: Vec<u8>,
    /// A plain request whose body is coming.
    unfinished: Option<Box<Unfinished>>,
    /// What is served to requests that ask for no upgrade.
    pages: &'static [Page],
}

impl UpgradeCodec {
    /// One that serves these pages, too.
    #[must_use]
    pub fn serving(pages: &'static [Page]) -> Self {
        Self { begun: Vec::new(), unfinished: None, pages }
    }

    /// Takes bytes of the request from `input` and leaves what follows the request. Once it is
    /// complete, it is returned; the answer to one that is upgraded or served is appended to `out`.
    ///
    /// # Errors
    /// Why the request cannot be upgraded; the answer that says so is in `out`.
    pub fn next(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Outcome>, Refusal> {
        let outcome = self.take(input, out);
        if let Err(refusal) = &outcome {
            *input = &[];
            self.begun = Vec::new();
            put_refusal(out, refusal);
        }
        outcome
    }

    fn take(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Outcome>, Refusal> {
        if self.unfinished.is_none() {
            match self.take_head(input, out)? {
                Some(Answer::Upgraded(target, protocol)) => {
                    return Ok(Some(Outcome::Upgraded(target, protocol)));
                }
                Some(Answer::Served(page)) => {
                    page.put(out);
                    return Ok(Some(Outcome::Served));
                }
                Some(Answer::Unfinished(plain)) => self.unfinished = Some(plain),
                None => return Ok(None),
            }
        }
        let Some(unfinished) = &mut self.unfinished else { return Ok(None) };
        let whole = unfinished.take(input).transpose()?;
        Ok(whole.map(|request| Outcome::Requested(Box::new(request))))
    }

    fn take_head(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Answer>, Refusal> {
        if let Some(&first) = self.begun.first().or(input.first())
            && !(first.is_ascii_alphabetic() || first == b'\r' || first == b'\n')
        {
            return Err(refusal(StatusCode::BAD_REQUEST, "this is not HTTP"));
        }
        let old = self.begun.len();
        let room = input.len().min(MAX_HEAD - old);
        if old == 0 {
            // The whole request in one piece needs no memory of its own.
            let mut from = 0;
            while let Some(end) = end_of_head(&input[..room], from) {
                if let Some(agreed) = answer(&input[..end], self.pages, out)? {
                    *input = &input[end..];
                    return Ok(Some(agreed));
                }
                from = end;
            }
        }
        self.begun.extend_from_slice(&input[..room]);
        let mut from = if old == 0 { room } else { old };
        while let Some(end) = end_of_head(&self.begun, from) {
            if let Some(agreed) = answer(&self.begun[..end], self.pages, out)? {
                *input = &input[end - old..];
                self.begun = Vec::new();
                return Ok(Some(agreed));
            }
            from = end;
        }
        if self.begun.len() == MAX_HEAD {
            let reason = "the request is longer than 16384 bytes";
            return Err(refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason));
        }
        *input = &[];
        Ok(None)
    }
}

/// The end of the first empty line that ends at or after `from`.
fn end_of_head(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr_iter(b'\n', &bytes[from..]).map(|at| from + at).find_map(|at| {
        let line = bytes[..at].strip_suffix(b"\r").unwrap_or(&bytes[..at]);
        (line.is_empty() || line.ends_with(b"\n")).then_some(at + 1)
    })
}

fn refusal(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal { status: status.as_u16(), reason: reason.into() }
}

/// What a head leads to.
enum Answer {
    Upgraded(ByteString, Protocol),
    Unfinished(Box<Unfinished>),
    Served(&'static Page),
}

/// Reads a request that ends with an empty line; `None` when that line only stands before it.
fn answer(
    head: &[u8],
    pages: &'static [Page],
    out: &mut Vec<u8>,
) -> Result<Option<Answer>, Refusal> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            let reason = "the request has more than 64 header fields";
            return Err(refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, reason));
        }
        Err(error) => {
            let reason = format!("the request is not HTTP: {error}");
            return Err(refusal(StatusCode::BAD_REQUEST, reason));
        }
    }
    if let Some(plain) = plain(&parsed)? {
        return Ok(Some(Answer::Unfinished(Box::new(plain))));
    }
    if parsed.method != Some("GET") {
        return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "the method must be GET"));
    }
    if parsed.version != Some(1) {
        return Err(refusal(StatusCode::BAD_REQUEST, "the version must be HTTP/1.1"));
    }
    let mut request = server::Request::new(());
    *request.headers_mut() = relevant_headers(parsed.headers)?;
    if !request.headers().contains_key(UPGRADE)
        && let Some(page) = Page::find(pages, parsed.path.unwrap_or_default())
    {
        return Ok(Some(Answer::Served(page)));
    }
    check(request.headers())?;
    let mut response = create_response(&request)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
    let mut protocol = Protocol::Legacy;
    if lists(request.headers(), &SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        protocol = Protocol::Link;
        let name = HeaderValue::from_static(SUBPROTOCOL);
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, name);
    }
    write_response(out, &response)
        .map_err(|error| refusal(StatusCode::BAD_REQUEST, error.to_string()))?;
    Ok(Some(Answer::Upgraded(ByteString::from(parsed.path.unwrap_or_default()), protocol)))
}

/// The beginning of a plain request, if it is one that is answered.
fn plain(parsed: &httparse::Request<'_, '_>) -> Result<Option<Unfinished>, Refusal> {
    let (path, query) = parsed.path.unwrap_or_default().split_once('?').unwrap_or_else(|| {
        let path = parsed.path.unwrap_or_default();
        (path, "")
    });
    let field = |name: &str| {
        let found = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        found.and_then(|field| std::str::from_utf8(field.value).ok())
    };
    if path != http::POLL || field("upgrade").is_some() {
        return Ok(None);
    }
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        Some("OPTIONS") => Method::Options,
        Some(_) | None => return Ok(None),
    };
    let length = match (field("content-length"), field("transfer-encoding")) {
        (Some(length), None) => length.trim().parse().ok(),
        (None, None) if method != Method::Post => Some(0),
        _ => None,
    };
    let Some(length) = length else {
        return Err(refusal(StatusCode::LENGTH_REQUIRED, "the body must have a Content-Length"));
    };
    if length > http::MAX_BODY {
        let reason = "the body is longer than 1048576 bytes";
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, reason));
    }
    let request = Request {
        method,
        query: query.to_owned(),
        origin: field("origin").map(str::to_owned),
        host: field("host").unwrap_or_default().to_owned(),
        body: ByteString::default(),
    };
    Ok(Some(Unfinished::new(request, length)))
}

/// The header fields that the upgrade looks at.
const RELEVANT: [HeaderName; 5] =
    [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_PROTOCOL];

/// Their values; lists spread over several fields are joined.
fn relevant_headers(fields: &[httparse::Header<'_>]) -> Result<HeaderMap, Refusal> {
    let mut headers = HeaderMap::with_capacity(RELEVANT.len());
    for field in fields {
        let find = |name: &HeaderName| field.name.eq_ignore_ascii_case(name.as_str());
        let Some(name) = RELEVANT.into_iter().find(find) else {
            continue;
        };
        let joined = match headers.get(&name) {
            Some(earlier) => [HeaderValue::as_bytes(earlier), field.value].join(&b", "[..]),
            None => field.value.to_vec(),
        };
        let value = HeaderValue::from_maybe_shared(joined).map_err(|_| {
            let reason = format!("the value of {name} has control characters");
            refusal(StatusCode::BAD_REQUEST, reason)
        })?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Says what is missing in terms of the status it deserves, and reduces the `Upgrade` list to its
/// one member that matters.
fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    if !lists(headers, &UPGRADE, "websocket") {
        let reason = "this port speaks WebSocket: the field Upgrade must be websocket";
        return Err(refusal(StatusCode::UPGRADE_REQUIRED, reason));
    }
    if !lists(headers, &CONNECTION, "upgrade") {
        return Err(refusal(StatusCode::BAD_REQUEST, "the field Connection must list Upgrade"));
    }
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let reason = "the field Sec-WebSocket-Version must be 13";
        return Err(refusal(StatusCode::UPGRADE_REQUIRED, reason));
    }
    Ok(())
}

fn lists(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    headers.get(name).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|member| member.trim().eq_ignore_ascii_case(wanted))
    })
}

/// Appends the answer to a request that is not upgraded.
pub fn put_refusal(out: &mut Vec<u8>, refusal: &Refusal) {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let extra = match status {
        StatusCode::METHOD_NOT_ALLOWED => "Allow: GET\r\n",
        StatusCode::UPGRADE_REQUIRED => "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
        _ => "",
    };
    let body = refusal.reason.len() + 1;
    // Writing to memory does not fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\n{extra}Connection: close\r\nContent-Type: text/plain; \
         charset=utf-8\r\nContent-Length: {body}\r\n\r\n{}\n",
        refusal.reason
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "GET /ws/a?b=%20 HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\n\
                        Upgrade: WebSocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                        Sec-WebSocket-Version: 13\r\n\r\n";

    type Seen = (Result<Option<Outcome>, Refusal>, Vec<u8>, Vec<u8>);

    fn agreed(protocol: Protocol) -> Result<Option<Outcome>, Refusal> {
        Ok(Some(Outcome::Upgraded("/ws/a?b=%20".into(), protocol)))
    }

    /// The outcome, what was written, and what was left of the input.
    fn run<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Seen {
        let mut codec = UpgradeCodec::default();
        let (mut out, mut rest) = (Vec::new(), Vec::new());
        let mut outcome = Ok(None);
        for mut part in parts {
            if outcome == Ok(None) {
                outcome = codec.next(&mut part, &mut out);
            }
            if outcome.is_ok() {
                rest.extend_from_slice(part);
            }
        }
        (outcome, out, rest)
    }

    fn check_all_splits(bytes: &[u8]) -> Seen {
        let whole = run([bytes].into_iter());
        for step in [1, 2, 3, 7, 100] {
            assert_eq!(run(bytes.chunks(step)), whole, "in steps of {step}");
        }
        whole
    }

    #[test]
    fn the_sample_of_rfc_6455_is_answered() {
        for (before, after) in [("", ""), ("\r\n", "\x01\x02\r\n\r\n")] {
            let bytes = format!("{before}{GOOD}{after}");
            let (outcome, out, rest) = check_all_splits(bytes.as_bytes());
            assert_eq!(outcome, agreed(Protocol::Legacy));
            assert_eq!(rest, after.as_bytes());
            let out = String::from_utf8(out).unwrap();
            assert!(out.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{out}");
            assert!(
                out.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                "{out}"
            );
            assert!(out.ends_with("\r\n\r\n"), "{out}");
        }
    }

    #[test]
    fn other_spellings_are_accepted() {
        for (from, to) in [
            ("\r\n", "\n"),
            ("Host: x\r\n", ""),
            ("keep-alive, Upgrade", "keep-alive\r\nConnection: upgrade"),
            ("Host: x", "Host: x\r\nSec-WebSocket-Extensions: permessage-deflate\r\nOrigin: null"),
        ] {
            let (outcome, _, _) = check_all_splits(GOOD.replace(from, to).as_bytes());
            assert_eq!(outcome, agreed(Protocol::Legacy), "{from:?} → {to:?}");
        }
    }

    #[test]
    fn the_link_protocol_is_agreed_to_and_no_other() {
        let field = "Host: x\r\nSec-WebSocket-Protocol: ";
        for (protocols, protocol) in [
            ("steadfast.v1", Protocol::Link),
            ("chat, steadfast.v1", Protocol::Link),
            ("chat\r\nSec-WebSocket-Protocol: steadfast.v1", Protocol::Link),
            ("steadfast.v2", Protocol::Legacy),
            ("chat", Protocol::Legacy),
        ] {
            let request = GOOD.replace("Host: x", &format!("{field}{protocols}"));
            let (outcome, out, _) = check_all_splits(request.as_bytes());
            assert_eq!(outcome, agreed(protocol), "{protocols}");
            let out = String::from_utf8(out).unwrap();
            let agreed = out.contains("sec-websocket-protocol: steadfast.v1\r\n");
            assert_eq!(agreed, protocol == Protocol::Link, "{out}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let long = format!("Host: {}", "x".repeat(MAX_HEAD));
        let many = format!("Host: x{}", "\r\nA: b".repeat(MAX_HEADERS));
        for (from, to, status) in [
            ("GET", "POST", 405),
            ("GET", "\x16\x03\x01", 400),
            ("GET /ws/a?b=%20 ", "GET", 400),
            ("HTTP/1.1", "HTTP/1.0", 400),
            ("Upgrade: WebSocket\r\n", "", 426),
            ("Upgrade: WebSocket", "Upgrade: h2c", 426),
            ("keep-alive, Upgrade", "keep-alive", 400),
            ("Version: 13", "Version: 8", 426),
            ("Sec-WebSocket-Version: 13\r\n", "", 426),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short", 400),
            ("Sec-WebSocket-Key", "Sec-WebSocket-Keys", 400),
            ("Host: x", &long, 431),
            ("Host: x", &many, 431),
            ("Host", "Ho st", 400),
        ] {
            let (outcome, out, rest) = check_all_splits(GOOD.replace(from, to).as_bytes());
            let refusal = outcome.unwrap_err();
            assert_eq!(refusal.status, status, "{from:?} → {to:.20?}");
            assert_eq!(rest, b"");
            let out = String::from_utf8(out).unwrap();
            assert!(out.starts_with(&format!("HTTP/1.1 {status} ")), "{out}");
            assert!(out.ends_with(&format!("\r\n\r\n{}\n", refusal.reason)), "{out}");
            assert_eq!(out.contains("Sec-WebSocket-Version: 13\r\n"), status == 426, "{out}");
        }
    }

    const POLL: &str = "POST /poll?session=5e HTTP/1.1\r\nHost: a:5001\r\nOrigin: http://b\r\n\
                        Content-Length: 15\r\n\r\n{\"type\":\"ping\"}";

    #[test]
    fn plain_requests_come_whole() {
        let (outcome, out, rest) = check_all_splits(format!("{POLL}next").as_bytes());
        let request = Request {
            method: Method::Post,
            query: "session=5e".to_owned(),
            origin: Some("http://b".to_owned()),
            host: "a:5001".to_owned(),
            body: r#"{"type":"ping"}"#.into(),
        };
        assert_eq!(outcome, Ok(Some(Outcome::Requested(Box::new(request)))));
        assert_eq!((out.as_slice(), rest.as_slice()), (&b""[..], &b"next"[..]));
    }

    #[test]
    fn plain_requests_that_are_wrong_are_named() {
        for (from, to, status) in [
            ("Content-Length: 15", "Content-Length: 1048577", 413),
            ("Content-Length: 15", "Content-Length: many", 411),
            ("Content-Length: 15", "Transfer-Encoding: chunked", 411),
            ("Content-Length: 15\r\n", "", 411),
            ("POST /poll", "PUT /poll", 405),
            ("POST /poll", "POST /pol", 405),
            ("POST /poll?session=5e", "GET /", 426),
        ] {
            let (outcome, _, _) = check_all_splits(POLL.replace(from, to).as_bytes());
            assert_eq!(outcome.unwrap_err().status, status, "{from:?} → {to:?}");
        }
        let mut bytes = POLL.as_bytes().to_vec();
        *bytes.last_mut().unwrap() = 0xff;
        assert_eq!(check_all_splits(&bytes).0.unwrap_err().status, 400);
    }

    #[test]
    fn pages_are_served_to_those_who_do_not_upgrade() {
        static PAGES: [Page; 1] =
            [Page { path: "/a.js", kind: "text/javascript", body: "var ä;" }];
        let ask = |bytes: &str| {
            let (mut codec, mut out) = (UpgradeCodec::serving(&PAGES), Vec::new());
            let outcome = codec.next(&mut bytes.as_bytes(), &mut out);
            (outcome, String::from_utf8(out).unwrap())
        };
        for target in ["/a.js", "/a.js?v=1"] {
            let (outcome, out) = ask(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n"));
            assert_eq!(outcome, Ok(Some(Outcome::Served)));
            assert!(out.starts_with("HTTP/1.1 200 OK\r\n"), "{out}");
            assert!(
                out.contains("Content-Length: 7\r\n") && out.ends_with("\r\n\r\nvar ä;"),
                "{out}"
            );
        }
        assert!(ask("GET /b.js HTTP/1.1\r\n\r\n").1.starts_with("HTTP/1.1 426 "));
        assert!(ask("POST /a.js HTTP/1.1\r\n\r\n").1.starts_with("HTTP/1.1 405 "));
        let upgraded = ask(&GOOD.replace("/ws/a?b=%20", "/a.js"));
        let expect = Outcome::Upgraded("/a.js".into(), Protocol::Legacy);
        assert_eq!(upgraded.0, Ok(Some(expect)));
    }

    proptest! {
        #[test]
        fn splitting_a_plain_request_changes_nothing(
            at in 0..POLL.len(), byte in any::<u8>(), steps in 1_usize..60,
        ) {
            let mut bytes = POLL.as_bytes().to_vec();
            bytes[at] = byte;
            prop_assert_eq!(run(bytes.chunks(steps)), run([&bytes[..]].into_iter()));
        }

        #[test]
        fn splitting_changes_nothing(at in 0..GOOD.len(), byte in any::<u8>(), steps in 1_usize..60) {
            let mut bytes = GOOD.as_bytes().to_vec();
            bytes[at] = byte;
            prop_assert_eq!(run(bytes.chunks(steps)), run([&bytes[..]].into_iter()));
        }
    }
}
