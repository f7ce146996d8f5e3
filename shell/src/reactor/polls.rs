//! Long-poll sessions: connections of the link protocol that have no socket of their own.
//!
//! A `POST /poll` with a `hello` opens one; to the machine it is a connection like any other, in a
//! place of the clients' table that is kept for it. Its frames wait in a
//! [`PollCodec`](crate::codec::poll::PollCodec) and leave with the answer to the next request, of
//! which at most one waits. A session that is not asked for twice as long as a request may wait
//! is over.
//!
//! Invariants: a session has one deadline in `dues`; the machine is told `Closed` once for each; what
//! an answer brought is kept until a request says that it has arrived.

use super::clients::Phase;
use super::figures::Links;
use super::slots::Place;
use super::sockets::{Side, Sockets};
use crate::codec::http::{self, Head, Method, Request};
use crate::codec::poll::PollCodec;
use bytes::Bytes;
use bytestring::ByteString;
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::command::Close;
use steadfast_core::dialect::link::{self, GatewayFrame};
use steadfast_core::event::{CloseCause, ConnEvent, Event, Protocol};
use steadfast_core::id::ConnId;
use steadfast_core::time::{Span, Time};

/// How long the answer to a `hello` may take.
const GREETING: Span = Span::from_secs(20);

/// All long-poll sessions.
#[derive(Debug)]
pub(super) struct Polls {
    /// How long a request waits at most.
    wait: Span,
    /// The origins whose pages may ask; `*` is any.
    origins: Vec<String>,
    /// By place.
    sessions: BTreeMap<Place, Poll>,
    /// By the session's id, which clients name.
    by_name: BTreeMap<ByteString, Place>,
    dues: BTreeSet<(Time, Place)>,
    /// Sessions that have something for the request that waits.
    ready: Vec<Place>,
    /// How many requests there were.
    requests: u64,
}

/// One session.
#[derive(Debug)]
struct Poll {
    codec: PollCodec,
    /// Its id, once the gateway has said it.
    name: Option<ByteString>,
    /// The request that waits.
    asks: Option<Asks>,
    /// Its deadline in `dues`.
    due: Time,
    /// Whether the machine still knows it.
    is_open: bool,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asks {
    /// The socket it came on.
    socket: Place,
    /// The origin that may read the answer, if it is another.
    allow: Option<String>,
}

fn conn((slot, generation): Place) -> ConnId {
    ConnId { slot, generation }
}

impl Polls {
    pub(super) fn new(wait: Span, origins: Vec<String>) -> Self {
        Self {
            wait,
            origins,
            sessions: BTreeMap::new(),
            by_name: BTreeMap::new(),
            dues: BTreeSet::new(),
            ready: Vec::new(),
            requests: 0,
        }
    }

    /// Says how many there are.
    pub(super) fn count(&self, links: &mut Links) {
        links.polls_open = self.sessions.len() as u64;
        links.poll_requests = self.requests;
    }

    /// When the first request has waited long enough, or the first session is over.
    pub(super) fn next_deadline(&self) -> Option<Time> {
        self.dues.first().map(|(at, _)| *at)
    }

    /// Whether an answer can be given.
    pub(super) fn is_busy(&self) -> bool {
        !self.ready.is_empty()
    }

    fn set_due(&mut self, place: Place, at: Time) {
        let Some(poll) = self.sessions.get_mut(&place) else { return };
        self.dues.remove(&(poll.due, place));
        poll.due = at;
        self.dues.insert((at, place));
    }

    /// Notes that a session may have something for the request that waits.
    fn note_ready(&mut self, place: Place) {
        if self.sessions.get(&place).is_some_and(|poll| poll.asks.is_some()) {
            self.ready.push(place);
        }
    }
}

impl Sockets {
    /// Takes a plain request.
    pub(super) fn on_request(&mut self, socket: Place, request: &Request) {
        self.polls.requests += 1;
        let origin = request.origin.as_deref();
        let listed = |origin: &str| self.polls.origins.iter().any(|it| it == "*" || it == origin);
        let allow = match origin {
            Some(origin) if listed(origin) => Some(origin.to_owned()),
            Some(_) if !request.is_same_origin() => {
                let body = r#"{"error":"origin","reason":"add the page's origin to poll_origins"}"#;
                return self.respond(socket, 403, None, body);
            }
            Some(_) | None => None,
        };
        let asks = Asks { socket, allow };
        let session = request.parameter("session");
        match (request.method, session) {
            (Method::Options, _) => self.respond(socket, 204, asks.allow.as_deref(), ""),
            (Method::Post, None) => self.open_poll(asks, &request.body),
            (Method::Post, Some(session)) => self.take_frames(asks, &session, &request.body),
            (Method::Get, Some(session)) => self.take_poll(asks, &session, request),
            (Method::Get, None) => {
                let body =
                    r#"{"error":"bad_request","reason":"say which session: GET /poll?session=ID"}"#;
                self.respond(socket, 400, asks.allow.as_deref(), body);
            }
        }
    }

    /// A client begins a session.
    fn open_poll(&mut self, asks: Asks, hello: &ByteString) {
        let place = self.clients.reserve();
        let poll = Poll {
            codec: PollCodec::default(),
            name: None,
            asks: Some(asks),
            due: Time::NEVER,
            is_open: true,
        };
        self.polls.sessions.insert(place, poll);
        self.polls.set_due(place, self.now + GREETING);
        self.tell_poll(place, ConnEvent::Accepted);
        let target = ByteString::from_static(http::POLL);
        self.tell_poll(place, ConnEvent::Upgraded { target, protocol: Protocol::Link });
        self.tell_poll(place, ConnEvent::TextReceived(hello.clone()));
    }

    /// A client brings frames.
    fn take_frames(&mut self, asks: Asks, session: &str, body: &ByteString) {
        let found = self.poll_of(session).filter(|(_, poll)| poll.is_open);
        let Some((place, poll)) = found else { return self.respond_unknown(&asks) };
        let allow = asks.allow.as_deref();
        if poll.codec.is_full() {
            let body = r#"{"error":"too_many","reason":"fetch the answers that wait first"}"#;
            return self.respond(asks.socket, 429, allow, body);
        }
        let Some(frames) = link::split_frames(body) else {
            let body = r#"{"error":"bad_request","reason":"the body is neither a frame nor an array of frames"}"#;
            return self.respond(asks.socket, 400, allow, body);
        };
        for frame in frames {
            self.tell_poll(place, ConnEvent::TextReceived(frame));
        }
        self.respond(asks.socket, 200, allow, "{}");
    }

    /// A client asks for frames.
    fn take_poll(&mut self, asks: Asks, session: &str, request: &Request) {
        let (now, most) = (self.now, self.polls.wait);
        let wanted = request.parameter("wait").and_then(|wait| wait.parse().ok());
        let Some((place, poll)) = self.poll_of(session) else { return self.respond_unknown(&asks) };
        let acks = poll.codec.arrived(&request.parameter("after").unwrap_or_default());
        if !poll.is_open && !poll.codec.has_frames() {
            return self.respond_unknown(&asks);
        }
        let until = now + wanted.map_or(most, |wait| Span::from_millis(wait).min(most));
        if let Some(earlier) = poll.asks.replace(asks) {
            let body = r#"{"error":"superseded","reason":"a later request of the session waits"}"#;
            self.respond(earlier.socket, 409, earlier.allow.as_deref(), body);
        }
        self.polls.set_due(place, until);
        // A request is a sign of life.
        self.tell_poll(place, ConnEvent::PingReceived(Bytes::new()));
        for ack in acks {
            self.tell_poll(place, ConnEvent::TextReceived(ack.into()));
        }
        self.polls.note_ready(place);
    }

    fn poll_of(&mut self, session: &str) -> Option<(Place, &mut Poll)> {
        let place = *self.polls.by_name.get(session)?;
        self.polls.sessions.get_mut(&place).map(|poll| (place, poll))
    }

    fn respond_unknown(&mut self, asks: &Asks) {
        let body = r#"{"error":"unknown","reason":"there is no such session; say hello again"}"#;
        self.respond(asks.socket, 404, asks.allow.as_deref(), body);
    }

    /// Tells the machine about a session, unless it no longer knows it.
    fn tell_poll(&mut self, place: Place, event: ConnEvent) {
        if self.polls.sessions.get(&place).is_some_and(|poll| poll.is_open) {
            self.pending.push_back(Event::Connection(conn(place), event));
        }
    }

    /// Takes a frame for a session.
    pub(super) fn send_poll(&mut self, place: Place, frame: &[u8]) {
        let Some(poll) = self.polls.sessions.get_mut(&place) else { return };
        if !poll.is_open {
            return;
        }
        poll.codec.push(Bytes::copy_from_slice(frame));
        if poll.name.is_none()
            && let Ok(text) = std::str::from_utf8(frame)
            && let Ok(GatewayFrame::Welcome(welcome)) = GatewayFrame::parse(text)
        {
            let name = ByteString::from(&*welcome.session);
            poll.name = Some(name.clone());
            self.polls.by_name.insert(name, place);
        }
        self.polls.note_ready(place);
    }

    /// Ends a session at the machine's command. Its last frames can still be fetched.
    pub(super) fn close_poll(&mut self, place: Place, close: Close) {
        let Some(poll) = self.polls.sessions.get_mut(&place) else { return };
        if !poll.is_open {
            return;
        }
        if !poll.codec.ends_in_error() {
            // There is no close frame that could say it.
            let error = GatewayFrame::Error { code: close.code(), reason: close.reason().into() };
            poll.codec.push(error.encode().into());
        }
        self.tell_poll(place, ConnEvent::Closed(CloseCause::Commanded));
        self.polls.note_ready(place);
        let Some(poll) = self.polls.sessions.get_mut(&place) else { return };
        poll.is_open = false;
        if poll.asks.is_none() {
            self.polls.set_due(place, self.now + self.polls.wait.times(2));
        }
    }

    /// Answers the requests for which there is something, once a turn.
    pub(super) fn answer_polls(&mut self) {
        for place in std::mem::take(&mut self.polls.ready) {
            let poll = self.polls.sessions.get(&place);
            if poll.is_some_and(|poll| poll.asks.is_some() && poll.codec.has_frames()) {
                self.answer_poll(place);
            }
        }
    }

    fn answer_poll(&mut self, place: Place) {
        let now = self.now;
        let Some(poll) = self.polls.sessions.get_mut(&place) else { return };
        let Some(asks) = poll.asks.take() else { return };
        let (body, until) = (poll.codec.answer(), now + self.polls.wait.times(2));
        self.respond(asks.socket, 200, asks.allow.as_deref(), &body);
        self.polls.set_due(place, until);
    }

    /// Answers the requests that have waited long enough, and ends the sessions that are over.
    pub(super) fn serve_polls(&mut self) {
        while let Some((_, place)) =
            self.polls.dues.first().copied().filter(|due| due.0 <= self.now)
        {
            let poll = self.polls.sessions.get(&place);
            match poll.map(|poll| (poll.asks.is_some(), poll.name.is_some())) {
                Some((true, true)) => self.answer_poll(place),
                Some((waits, _)) => {
                    if waits {
                        self.refuse_greeting(place);
                    }
                    self.tell_poll(place, ConnEvent::Closed(CloseCause::Eof));
                    self.drop_poll(place);
                }
                None => {
                    self.polls.dues.pop_first();
                }
            }
        }
    }

    /// The machine has not answered a `hello`.
    fn refuse_greeting(&mut self, place: Place) {
        let Some(poll) = self.polls.sessions.get_mut(&place) else { return };
        let Some(asks) = poll.asks.take() else { return };
        let body = r#"{"error":"unavailable","reason":"the hello was not answered in time"}"#;
        self.respond(asks.socket, 503, asks.allow.as_deref(), body);
    }

    /// Ends all sessions: the process stops, and the machine has closed them.
    pub(super) fn end_polls(&mut self) {
        let places: Vec<_> = self.polls.sessions.keys().copied().collect();
        for place in places {
            self.answer_poll(place);
            self.tell_poll(place, ConnEvent::Closed(CloseCause::Eof));
            self.drop_poll(place);
        }
    }

    fn drop_poll(&mut self, place: Place) {
        let Some(poll) = self.polls.sessions.remove(&place) else { return };
        self.polls.dues.remove(&(poll.due, place));
        if let Some(name) = poll.name
            && self.polls.by_name.get(&name) == Some(&place)
        {
            self.polls.by_name.remove(&name);
        }
        self.clients.release(place);
    }

    /// Answers a plain request and ends its connection.
    fn respond(&mut self, socket: Place, status: u16, allow: Option<&str>, body: &str) {
        let Some(client) = self.clients.get_mut(socket) else { return };
        http::put_answer(client.outbox.buffer(&mut self.pool), &Head { status, allow }, body);
        client.phase = Phase::HalfClose;
        let taken = client.taken();
        self.linger(Side::Client, socket, taken);
        self.client_dirty(socket);
    }
}
