//! The clients of a storm: links, and the heap of the attempts that are on their way.
//!
//! A link's next attempt follows from its last outcome alone, so only the arrivals at the server
//! have to be in order: the heap holds one per client that is away, and nothing else.

use super::server::{Outcome, Server};
use super::{Curve, Policy, Storm};
use bytestring::ByteString;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::RangeInclusive;
use steadfast_core::id::Key;
use steadfast_core::link::legacy::{Link, LinkCommand, LinkEvent, LinkState};
use steadfast_core::time::{Span, Time};

/// When the server is lost: late enough for everything before it.
const LOST_AT: Time = Time::from_micros(1_000_000_000);

/// How long a client's packets take to the server, and back.
const ONE_WAY_US: RangeInclusive<u64> = 5_000..=50_000;

/// Progress is told after this many attempts.
const PROGRESS_EVERY: u64 = 1 << 16;

/// How far a storm has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Simulated time since the server was lost.
    pub simulated: Span,
    /// Clients that are connected again.
    pub back: u32,
    /// Attempts so far.
    pub attempts: u64,
}

/// One client.
struct Client {
    link: Link,
    one_way: Span,
}

/// The clients, and those of their attempts that have not reached the server.
struct Crowd {
    clients: Vec<Client>,
    arrivals: BinaryHeap<Reverse<(Time, u32)>>,
    commands: Vec<LinkCommand>,
}

/// Runs a storm until every client is connected again.
pub fn run(storm: &Storm, mut progress: impl FnMut(Progress)) -> Curve {
    let mut crowd = Crowd::connected(storm);
    crowd.lose_server(storm);
    let mut server = Server::new(storm, LOST_AT);
    let mut curve = Curve::new(storm);
    while let Some(Reverse((now, index))) = crowd.arrivals.pop() {
        curve.attempt(now.since(LOST_AT));
        if let Some(back_at) = crowd.outcome(now, index, server.attempt(now)) {
            curve.back(back_at.since(LOST_AT));
        }
        if curve.attempts().is_multiple_of(PROGRESS_EVERY) {
            let (back, attempts) = (curve.clients_back(), curve.attempts());
            progress(Progress { simulated: now.since(LOST_AT), back, attempts });
        }
    }
    assert_eq!(curve.clients_back(), storm.clients, "every client comes back once");
    curve
}

impl Crowd {
    /// Every client connected, for long enough that its delays begin with the first.
    fn connected(storm: &Storm) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(storm.seed);
        let mut commands = Vec::new();
        // All keys are slices of one text: a million strings of their own would not be lean.
        let keys = ByteString::from("0123456789".repeat(2));
        let mut client = |index: u32| {
            let start = index as usize % 10;
            let key = Key::new(keys.slice_ref(&keys[start..start + 10]));
            let mut link = Link::new(storm.policy.config(key), rng.random());
            let one_way = Span::from_micros(rng.random_range(ONE_WAY_US));
            for (before_s, event) in
                [(8, LinkEvent::Started), (7, LinkEvent::Opened), (2, LinkEvent::DeadlineReached)]
            {
                link.handle(LOST_AT - Span::from_secs(before_s), event, &mut commands);
            }
            commands.clear();
            assert_eq!(link.state(), LinkState::Connected);
            Client { link, one_way }
        };
        let clients = (0..storm.clients).map(&mut client).collect();
        Self { clients, arrivals: BinaryHeap::new(), commands }
    }

    /// Every connection ends, after a goodbye where the policy has one.
    fn lose_server(&mut self, storm: &Storm) {
        for index in 0..storm.clients {
            let client = &mut self.clients[index as usize];
            let now = LOST_AT + client.one_way;
            if let Policy::Slots { per_second } = storm.policy {
                let millis = u64::from(index) * 1_000 / u64::from(per_second);
                let after = Span::from_secs(1) + Span::from_millis(millis);
                client.link.handle(now, LinkEvent::RetryAdvised(after), &mut self.commands);
            }
            self.next_attempt(now, index, LinkEvent::Closed);
        }
    }

    /// An attempt meets its outcome: says when its client has the connection, or sets the next
    /// attempt on its way.
    fn outcome(&mut self, now: Time, index: u32, outcome: Outcome) -> Option<Time> {
        let client = &mut self.clients[index as usize];
        let (answered_at, event) = match outcome {
            Outcome::Refused => (now, LinkEvent::Failed),
            Outcome::Accepted(at) => (at, LinkEvent::Opened),
        };
        let told_at = answered_at + client.one_way;
        let deadline = client.link.next_deadline().expect("an attempt has its timeout");
        if deadline <= told_at {
            self.next_attempt(deadline, index, LinkEvent::DeadlineReached);
            return None;
        }
        if event == LinkEvent::Failed {
            self.next_attempt(told_at, index, event);
            return None;
        }
        client.link.handle(told_at, event, &mut self.commands);
        self.commands.clear();
        assert_eq!(client.link.state(), LinkState::Connected);
        Some(told_at)
    }

    /// Tells a link what ended its connection or attempt, lets its deadlines come until it tries
    /// again, and puts that attempt on its way.
    fn next_attempt(&mut self, now: Time, index: u32, event: LinkEvent) {
        let client = &mut self.clients[index as usize];
        client.link.handle(now, event, &mut self.commands);
        let mut at = now;
        while !self.commands.contains(&LinkCommand::Connect) {
            at = client.link.next_deadline().expect("a link without a limit never gives up");
            client.link.handle(at, LinkEvent::DeadlineReached, &mut self.commands);
        }
        self.commands.clear();
        self.arrivals.push(Reverse((at + client.one_way, index)));
    }
}
