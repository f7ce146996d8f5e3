//! Where the next attempt goes: which endpoint, and by which transport.
//!
//! An endpoint is tried by WebSocket so often, then the next one's turn has come. When all of them
//! are used up, long-polls and WebSockets take turns until a connection stands: one of them finds
//! out whether WebSockets are blocked, the other whether the gateway is back.

use super::breaker::Breaker;
use super::{Fallback, LinkConfig, Transport};
use crate::time::{Span, Time};
use bytestring::ByteString;

#[derive(Clone, Debug)]
struct Endpoint {
    url: ByteString,
    breaker: Breaker,
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    endpoints: Vec<Endpoint>,
    /// The endpoint of the next attempt.
    at: usize,
    /// WebSockets that failed there in a row.
    failures: u32,
    /// Endpoints used up since a WebSocket stood.
    used_up: usize,
    next_by: Transport,
    fallback: Fallback,
    breaker_failures: u32,
    breaker_pause: Span,
}

impl Route {
    pub(super) fn new(config: &LinkConfig) -> Self {
        assert!(!config.endpoints.is_empty(), "a link needs an endpoint");
        Self {
            endpoints: config.endpoints.iter().map(Endpoint::new).collect(),
            at: 0,
            failures: 0,
            used_up: 0,
            next_by: Transport::WebSocket,
            fallback: config.fallback,
            breaker_failures: config.breaker_failures,
            breaker_pause: config.breaker_pause,
        }
    }

    /// The endpoint and transport of an attempt now; nothing when every breaker is open.
    pub(super) fn next(&mut self, now: Time) -> Option<(ByteString, Transport)> {
        let count = self.endpoints.len();
        let at = (0..count)
            .map(|step| (self.at + step) % count)
            .find(|at| self.endpoints[*at].breaker.admits(now))?;
        if at != self.at {
            self.at = at;
            self.failures = 0;
        }
        Some((self.endpoints[at].url.clone(), self.next_by))
    }

    /// When some endpoint's breaker admits an attempt, unless one does at any time.
    pub(super) fn opens_at(&self) -> Option<Time> {
        let times = self.endpoints.iter().map(|endpoint| endpoint.breaker.opens_at());
        times.min().flatten()
    }

    /// An endpoint beside the one in use, for a second connection.
    pub(super) fn other(&self, now: Time, used: &ByteString) -> Option<ByteString> {
        let others = self.endpoints.iter().filter(|endpoint| endpoint.url != *used);
        others
            .map(|other| (other.breaker.admits(now), &other.url))
            .find_map(|(admits, url)| admits.then(|| url.clone()))
    }

    /// An attempt there failed, or its connection did not stand for long.
    pub(super) fn failed(&mut self, now: Time, url: &ByteString, by: Transport, attempts: u32) {
        let (limit, pause) = (self.breaker_failures, self.breaker_pause);
        if let Some(endpoint) = self.find(url) {
            endpoint.breaker.failed(now, limit, pause);
        }
        match by {
            // The WebSocket's turn has come, at the same endpoint.
            Transport::LongPoll => self.next_by = Transport::WebSocket,
            Transport::WebSocket if self.is_used_up() => {
                self.rotate();
                self.next_by = Transport::LongPoll;
            }
            Transport::WebSocket => {
                self.failures += 1;
                if self.failures >= attempts {
                    self.used_up += 1;
                    self.rotate();
                }
                if self.is_used_up() {
                    self.next_by = Transport::LongPoll;
                }
            }
        }
    }

    /// A connection there has stood for long enough.
    pub(super) fn stood(&mut self, url: &ByteString, by: Transport) {
        if let Some(endpoint) = self.find(url) {
            endpoint.breaker.reset();
        }
        self.failures = 0;
        self.next_by = by;
        if by == Transport::WebSocket {
            self.used_up = 0;
        }
    }

    /// The network is another one now: what the breakers know is outdated.
    pub(super) fn network_changed(&mut self) {
        self.endpoints.iter_mut().for_each(|endpoint| endpoint.breaker.reset());
    }

    /// The gateway names the endpoints. The one in use stays, in front if it was not named.
    pub(super) fn replace(&mut self, urls: &[ByteString], used: &ByteString) {
        let mut list = urls.to_vec();
        if !list.contains(used) {
            list.insert(0, used.clone());
        }
        let endpoints = list.iter().map(|url| match self.find(url) {
            Some(known) => known.clone(),
            None => Endpoint::new(url),
        });
        let endpoints = endpoints.collect();
        if self.endpoints[self.at].url != *used {
            self.failures = 0;
        }
        self.endpoints = endpoints;
        self.at = list.iter().position(|url| url == used).expect("it was put in");
    }

    fn is_used_up(&self) -> bool {
        self.fallback == Fallback::Allowed && self.used_up >= self.endpoints.len()
    }

    fn rotate(&mut self) {
        self.at = (self.at + 1) % self.endpoints.len();
        self.failures = 0;
    }

    fn find(&mut self, url: &ByteString) -> Option<&mut Endpoint> {
        self.endpoints.iter_mut().find(|endpoint| endpoint.url == *url)
    }
}

impl Endpoint {
    fn new(url: &ByteString) -> Self {
        Self { url: url.clone(), breaker: Breaker::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Key;

    const NOW: Time = Time::from_micros(1_000_000);

    fn route(urls: &[&'static str], fallback: Fallback) -> Route {
        let endpoints = urls.iter().map(|url| ByteString::from_static(url)).collect();
        Route::new(&LinkConfig { fallback, ..LinkConfig::new(Key::new("5"), endpoints) })
    }

    /// The attempts, as long as all fail.
    fn attempts(route: &mut Route, count: usize) -> Vec<String> {
        let mut made = Vec::new();
        for step in 0..count {
            // Later and later, so that no breaker is in the way.
            let now = NOW + Span::from_secs(60).times(step as u64);
            let (url, by) = route.next(now).expect("a breaker admits it");
            route.failed(now, &url, by, 2);
            made.push(format!("{url} {by}"));
        }
        made
    }

    #[test]
    fn endpoints_take_turns() {
        let mut route = route(&["a", "b"], Fallback::Never);
        assert_eq!(attempts(&mut route, 5), ["a ws", "a ws", "b ws", "b ws", "a ws"]);
    }

    #[test]
    fn when_all_are_used_up_polls_and_sockets_take_turns() {
        let mut two = route(&["a", "b"], Fallback::Allowed);
        let expect = ["a ws", "a ws", "b ws", "b ws", "a poll", "a ws", "b poll", "b ws", "a poll"];
        assert_eq!(attempts(&mut two, 9), expect);
        let mut one = route(&["a"], Fallback::Allowed);
        assert_eq!(attempts(&mut one, 5), ["a ws", "a ws", "a poll", "a ws", "a poll"]);
        one.stood(&"a".into(), Transport::LongPoll);
        assert_eq!(attempts(&mut one, 3), ["a poll", "a ws", "a poll"]);
        one.stood(&"a".into(), Transport::WebSocket);
        assert_eq!(attempts(&mut one, 3), ["a ws", "a ws", "a poll"]);
    }

    #[test]
    fn an_open_breaker_is_passed_over() {
        let mut route = route(&["a", "b"], Fallback::Never);
        for _ in 0..5 {
            route.failed(NOW, &"a".into(), Transport::WebSocket, 8);
        }
        assert_eq!(route.next(NOW), Some(("b".into(), Transport::WebSocket)));
        assert_eq!(route.opens_at(), None);
        for _ in 0..5 {
            route.failed(NOW + Span::from_secs(1), &"b".into(), Transport::WebSocket, 8);
        }
        assert_eq!(route.next(NOW + Span::from_secs(1)), None);
        assert_eq!(route.opens_at(), Some(NOW + Span::from_secs(30)));
        route.network_changed();
        assert_eq!(route.next(NOW), Some(("b".into(), Transport::WebSocket)));
    }

    #[test]
    fn the_gateways_list_replaces_the_configured_one() {
        let mut route = route(&["a", "b"], Fallback::Never);
        route.replace(&["c".into(), "b".into()], &"b".into());
        assert_eq!(attempts(&mut route, 5), ["b ws", "b ws", "c ws", "c ws", "b ws"]);
        route.replace(&["d".into()], &"c".into());
        assert_eq!(attempts(&mut route, 3), ["c ws", "c ws", "d ws"]);
        assert_eq!(route.other(NOW, &"d".into()), Some("c".into()));
    }
}
