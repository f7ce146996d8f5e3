//! A host with clients behind it: an office, a home, a mobile network.

use super::client::{Client, Surroundings, Whim};
use super::wire::Wire;
use super::{ClientSetup, WS_PORT, since_start};
use crate::linked::Storage;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use steadfast_core::time::{Span, Time};
use tokio::time::{Instant, Sleep, sleep_until};
use turmoil::net::TcpStream;

/// What a host's clients are told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SiteOp {
    /// This client does this.
    Client(usize, Whim),
    /// A stranger connects, sends these bytes and nothing more, and leaves after a while.
    Stranger { gateway: usize, bytes: Vec<u8>, stays: Span },
}

/// What is known of a host outside of it.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) name: String,
    /// The clients that live here, with their numbers in the world.
    clients: Vec<(usize, ClientSetup)>,
    pub(super) around: Surroundings,
    seed: u64,
    inbox: RefCell<VecDeque<SiteOp>>,
    /// The clients that want to be connected: those that start again with the machine.
    wanted: RefCell<BTreeSet<usize>>,
    /// What the applications of links keep, also when the machine is down.
    storage: BTreeMap<usize, Storage>,
    waker: RefCell<Option<Waker>>,
}

impl Site {
    pub(super) fn new(
        name: &str,
        clients: Vec<(usize, ClientSetup)>,
        around: Surroundings,
        seed: u64,
    ) -> Self {
        Self {
            name: name.to_owned(),
            storage: clients.iter().map(|(number, _)| (*number, Storage::default())).collect(),
            clients,
            around,
            seed,
            inbox: RefCell::default(),
            wanted: RefCell::default(),
            waker: RefCell::default(),
        }
    }

    /// Gives the host something to do. A machine that is down forgets all but who wants to be
    /// connected.
    pub(super) fn order(&self, op: SiteOp) {
        if let SiteOp::Client(number, whim) = &op {
            match whim {
                Whim::Start => {
                    self.wanted.borrow_mut().insert(*number);
                }
                Whim::Leave | Whim::Quit | Whim::Vanish => {
                    self.wanted.borrow_mut().remove(number);
                }
                Whim::Freeze(_)
                | Whim::IgnorePings(_)
                | Whim::StrayPong(_)
                | Whim::Binary
                | Whim::Change
                | Whim::Break
                | Whim::Reset
                | Whim::Say
                | Whim::Text(_)
                | Whim::Pose(..)
                | Whim::StopReading
                | Whim::Read
                | Whim::Malformed(_)
                | Whim::Roam(_) => {}
            }
        }
        self.inbox.borrow_mut().push_back(op);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Runs the host's clients.
pub(super) async fn live(site: Rc<Site>) -> turmoil::Result {
    let mut home = Home::start(site);
    poll_fn(|cx| home.turn(cx)).await
}

struct Home {
    site: Rc<Site>,
    clients: Vec<(usize, Client)>,
    strangers: Vec<Stranger>,
    alarm: Pin<Box<Sleep>>,
}

/// A connection that nobody stands behind.
struct Stranger {
    connecting: Option<Pin<Box<dyn Future<Output = io::Result<TcpStream>>>>>,
    wire: Option<Wire>,
    bytes: Vec<u8>,
    until: Time,
}

fn now() -> Time {
    Time::EPOCH + since_start()
}

impl Home {
    fn start(site: Rc<Site>) -> Self {
        site.inbox.borrow_mut().clear();
        let mut clients = Vec::new();
        for (number, setup) in &site.clients {
            let seed = site.seed ^ (*number as u64) << 8;
            let mut client =
                Client::new(setup.clone(), site.around.clone(), seed, &site.storage[number]);
            if site.wanted.borrow().contains(number) {
                client.take(now(), &Whim::Start);
            }
            clients.push((*number, client));
        }
        let alarm = Box::pin(sleep_until(Instant::now()));
        Self { site, clients, strangers: Vec::new(), alarm }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<turmoil::Result> {
        *self.site.waker.borrow_mut() = Some(cx.waker().clone());
        let now = now();
        let orders = std::mem::take(&mut *self.site.inbox.borrow_mut());
        for order in orders {
            self.obey(now, order);
        }
        for (_, client) in &mut self.clients {
            client.turn(cx, now);
        }
        let around = &self.site.around;
        self.strangers.retain_mut(|stranger| stranger.turn(cx, now, around));
        let clients = self.clients.iter().filter_map(|(_, client)| client.next_deadline());
        let due = clients.chain(self.strangers.iter().map(|stranger| stranger.until)).min();
        if let Some(due) = due {
            let wait = due.since(now).as_micros().max(1_000);
            self.alarm.as_mut().reset(Instant::now() + Duration::from_micros(wait));
            if self.alarm.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    fn obey(&mut self, now: Time, order: SiteOp) {
        match order {
            SiteOp::Client(number, whim) => {
                let client = self.clients.iter_mut().find(|(other, _)| *other == number);
                let (_, client) = client.expect("a client's orders go to the host it lives on");
                client.take(now, &whim);
            }
            SiteOp::Stranger { gateway, bytes, stays } => {
                let gateway = self.site.around.gateways[gateway].clone();
                let connecting = Box::pin(TcpStream::connect((gateway, WS_PORT)));
                let connecting = Some(connecting as _);
                let until = now + stays;
                self.strangers.push(Stranger { connecting, wire: None, bytes, until });
            }
        }
    }
}

impl Stranger {
    /// Whether it stays.
    fn turn(&mut self, cx: &mut Context<'_>, now: Time, around: &Surroundings) -> bool {
        if now >= self.until {
            return false;
        }
        if let Some(connecting) = &mut self.connecting {
            let Poll::Ready(connected) = connecting.as_mut().poll(cx) else { return true };
            self.connecting = None;
            let Ok(stream) = connected else { return false };
            self.wire = Wire::new(stream, &around.meters, &around.chop).ok();
        }
        let Some(wire) = &mut self.wire else { return false };
        let bytes = std::mem::take(&mut self.bytes);
        if wire.write(cx, &bytes).is_err() {
            return false;
        }
        let mut buffer = [0; 1 << 10];
        loop {
            match wire.poll_read(cx, &mut buffer) {
                Poll::Pending => return true,
                Poll::Ready(Ok(0) | Err(_)) => return false,
                Poll::Ready(Ok(_)) => {}
            }
        }
    }
}
