//! Gateways that share a Redis.

use crate::support::daemon::{Daemon, Source, own_addresses};
use crate::support::push_client::PushClient;
use crate::support::ws_client::{Open, WsClient};
use crate::support::{pause, poll_until};
use std::net::SocketAddr;
use std::time::Duration;

/// No test waits longer than this for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// The shortest lease there is, so that tests need not wait for long.
const LEASE: &str = "--redis-lease=1s";

/// Gateways with addresses that stay theirs.
pub(crate) struct Fleet {
    flags: Vec<String>,
    pub(crate) addresses: Vec<(SocketAddr, SocketAddr)>,
    pub(crate) nodes: Vec<Daemon>,
}

impl Fleet {
    /// Starts so many gateways with these further flags.
    pub(crate) fn start(url: &str, count: usize, flags: &[&str]) -> Self {
        let always = [&format!("--redis={url}"), LEASE, "--idle-timeout=60s"];
        let flags: Vec<_> = always.iter().chain(flags).map(|&flag| flag.to_owned()).collect();
        let addresses: Vec<_> = (0..count).map(|_| own_addresses()).collect();
        let mut fleet = Self { flags, addresses, nodes: Vec::new() };
        fleet.nodes = (0..count).map(|node| fleet.run(node)).collect();
        fleet
    }

    /// Starts a gateway in the place of one that has ended.
    pub(crate) fn restart(&mut self, node: usize) {
        self.nodes[node] = self.run(node);
    }

    /// The client of a key on a gateway, once it is bound. Its key is a number.
    pub(crate) fn client(&self, node: usize, key: &str) -> WsClient {
        WsClient::bind_digits(self.nodes[node].ws, key)
    }

    /// The client of a key on a gateway; what waits for it comes before the answer.
    pub(crate) fn comer(&self, node: usize, key: &str) -> WsClient {
        let client = WsClient::open(self.nodes[node].ws, &Open::default());
        let client = client.expect("the WebSocket port accepts");
        client.send_text(key.as_bytes());
        client
    }

    pub(crate) fn back_end(&self, node: usize) -> PushClient {
        PushClient::open(self.nodes[node].push).expect("the push port accepts")
    }

    /// Whether a gateway has written a line with these words, or soon does.
    pub(crate) fn logs(&self, node: usize, words: &str) -> bool {
        poll_until(SOON, || self.count_logged(node, words) > 0)
    }

    /// How many of a gateway's last lines have these words.
    pub(crate) fn count_logged(&self, node: usize, words: &str) -> usize {
        let lines = self.nodes[node].lines(Source::Stdout);
        lines.iter().filter(|line| line.contains(words)).count()
    }

    pub(crate) fn output(&self) -> String {
        let shown = self.nodes.iter().enumerate();
        shown.map(|(node, daemon)| format!("node {node}:\n{}", daemon.output())).collect()
    }

    fn run(&self, node: usize) -> Daemon {
        let (ws, push) = self.addresses[node];
        Daemon::start_at(ws, push, &self.flags.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// Lets a test's load go on for a while: the only thing that is itself about time.
pub(crate) fn under_load(millis: u64) {
    pause(Duration::from_millis(millis));
}

/// A push of this text.
pub(crate) fn push_of(key: &str, text: &str) -> String {
    format!("{{\"uid\":\"{key}\",\"msg\":\"{text}\"}}")
}
