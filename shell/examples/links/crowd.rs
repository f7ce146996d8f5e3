//! All clients of a run, in one event loop.

use super::Outcome;
use super::client::{Client, Kind};
use mio::{Events, Interest, Poll, Token};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};
use steadfast_core::time::{Span, Time};

/// So many clients may be connecting for the first time at once.
const STARTING_MAX: usize = 500;

/// All clients.
pub(crate) struct Crowd {
    clients: Vec<Client>,
    poll: Poll,
    events: Events,
    /// When each has a deadline, and the same by client.
    deadlines: BTreeSet<(Time, usize)>,
    dues: Vec<Time>,
    /// How many have been started.
    started: usize,
    live: usize,
    epoch: (Instant, Time),
    buffer: Vec<u8>,
    /// How many messages have arrived.
    pub(crate) received: u64,
    pub(crate) resumed: u32,
    pub(crate) fresh: u32,
    pub(crate) lost: u32,
}

impl Crowd {
    /// Clients that connect when the crowd runs.
    pub(crate) fn new(to: SocketAddr, kind: Kind, count: u32) -> Outcome<Self> {
        let clients: Vec<_> = (0..count).map(|client| Client::new(kind, client, to)).collect();
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let epoch = Time::from_micros(u64::try_from(wall.as_micros())?);
        Ok(Self {
            dues: vec![Time::NEVER; clients.len()],
            clients,
            poll: Poll::new()?,
            events: Events::with_capacity(1_024),
            deadlines: BTreeSet::new(),
            started: 0,
            live: 0,
            epoch: (Instant::now(), epoch),
            buffer: vec![0; 64 << 10],
            received: 0,
            resumed: 0,
            fresh: 0,
            lost: 0,
        })
    }

    fn time(&self, at: Instant) -> Time {
        let since = at.saturating_duration_since(self.epoch.0).as_micros();
        self.epoch.1 + Span::from_micros(u64::try_from(since).unwrap_or(u64::MAX))
    }

    /// Runs until something holds.
    pub(crate) fn until(
        &mut self,
        within: Duration,
        what: &str,
        holds: impl Fn(&Self) -> bool,
    ) -> Outcome {
        let until = Instant::now() + within;
        while !holds(self) {
            if Instant::now() > until {
                let (live, received) = (self.live, self.received);
                let facts = format!("{live} connected, {received} messages arrived");
                return Err(format!("not {what} within {within:?}: {facts}").into());
            }
            self.turn()?;
        }
        Ok(())
    }

    pub(crate) fn run_for(&mut self, time: Duration) -> Outcome {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Outcome {
        self.start_some()?;
        let now = self.time(Instant::now());
        let due = self.deadlines.first().map_or(Time::NEVER, |(at, _)| *at);
        let wait = Duration::from_micros(due.since(now).as_micros()).min(Duration::from_millis(5));
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        if let Err(error) = self.poll.poll(&mut events, Some(wait))
            && error.kind() != std::io::ErrorKind::Interrupted
        {
            return Err(error.into());
        }
        let now = self.time(Instant::now());
        for event in &events {
            let mut buffer = std::mem::take(&mut self.buffer);
            let result = self.with(event.token().0, |client| client.ready(now, &mut buffer));
            self.buffer = buffer;
            result?;
        }
        self.events = events;
        while let Some((_, index)) = self.deadlines.first().copied().filter(|due| due.0 <= now) {
            self.with(index, |client| client.deadline(now))?;
        }
        Ok(())
    }

    fn start_some(&mut self) -> Outcome {
        while self.started < self.clients.len() && self.started < self.live + STARTING_MAX {
            let now = self.time(Instant::now());
            self.started += 1;
            self.with(self.started - 1, |client| client.start(now))?;
        }
        Ok(())
    }

    /// Has something done with a client, and notes what has changed.
    fn with(&mut self, index: usize, act: impl FnOnce(&mut Client) -> Outcome) -> Outcome {
        let client = &mut self.clients[index];
        let was_live = client.is_live;
        let received = client.received.len();
        let counts = (client.resumed, client.fresh, client.lost);
        act(client)?;
        if let Some(connection) = &mut client.connection
            && !connection.is_registered
        {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut connection.stream, Token(index), interest)?;
            connection.is_registered = true;
        }
        self.live = self.live + usize::from(client.is_live) - usize::from(was_live);
        self.received += (client.received.len() - received) as u64;
        self.resumed += client.resumed - counts.0;
        self.fresh += client.fresh - counts.1;
        self.lost += client.lost - counts.2;
        let due = client.next_deadline();
        if due != self.dues[index] {
            self.deadlines.remove(&(self.dues[index], index));
            self.deadlines.insert((due, index));
            self.dues[index] = due;
        }
        Ok(())
    }

    /// Whether every client is connected.
    pub(crate) fn is_complete(&self) -> bool {
        self.live == self.clients.len()
    }

    /// Whether every client was welcomed again since the storm began, and is still connected.
    pub(crate) fn is_back(&self) -> bool {
        self.is_complete() && (self.resumed + self.fresh) as usize >= self.clients.len()
    }

    /// From now on it is counted how sessions go on.
    pub(crate) fn begin_storm(&mut self) {
        (self.resumed, self.fresh, self.lost) = (0, 0, 0);
    }

    /// Every client's connection ends, as when the network between is gone.
    pub(crate) fn drop_all(&mut self) -> Outcome {
        let now = self.time(Instant::now());
        (0..self.clients.len())
            .try_for_each(|index| self.with(index, |client| client.drop_connection(now)))
    }

    /// Whether these messages, each of a client, have arrived.
    pub(crate) fn has_all(&self, messages: &[(u32, u32)]) -> bool {
        messages.iter().all(|(client, number)| {
            self.clients[*client as usize].received.binary_search(number).is_ok()
        })
    }

    /// Whether every client has this message.
    pub(crate) fn all_have(&self, number: u32) -> bool {
        self.clients.iter().all(|client| client.received.last() == Some(&number))
    }

    /// How many seconds after this moment each client's last message came.
    pub(crate) fn waits_since(&self, since: Instant) -> Vec<f64> {
        let since = self.time(since);
        let wait = |client: &Client| client.received_at.since(since).as_micros() as f64 / 1e6;
        self.clients.iter().map(wait).collect()
    }

    /// The delay before each client's last attempt, in seconds.
    pub(crate) fn last_delays(&self) -> Vec<f64> {
        self.clients.iter().map(|client| client.delay).collect()
    }
}
