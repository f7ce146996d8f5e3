//! Everyone who looks on: the oracles, and the census.

use super::START;
use super::shares::Shares;
use super::tally::Tally;
use crate::oracle::{Fact, Inventory, Judge, Moment, Violation};
use crate::schedule::Schedule;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use steadfast_core::command::Command;
use steadfast_core::event::Event;
use steadfast_core::id::ConnId;
use steadfast_core::link::{LinkCommand, LinkEvent};
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::{Span, Time};

/// Who judges a world.
#[derive(Clone, Copy, Debug)]
pub(super) enum By<'a> {
    /// The oracles, by the schedule that is carried out.
    Oracles(&'a Schedule),
    /// Whoever reads its timeline.
    Reader,
    /// Nobody: only its hash is wanted.
    Nobody,
}

/// What all hosts of a world report to.
#[derive(Clone, Debug)]
pub(super) struct Watch(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    /// One judge for each store. Worlds of a script have no judge but their reader.
    judges: Vec<Judge>,
    /// What is judged of gateways that share a store.
    shares: Option<Shares>,
    /// Whether the core's tables are checked after every event.
    checked: bool,
    /// The clients' sockets, by the clients' addresses.
    sockets: BTreeMap<SocketAddr, Health>,
    /// How many connections were said to be sound.
    vouched: u64,
    /// How many troubles each host's network has.
    troubled: BTreeMap<IpAddr, u32>,
    tally: Tally,
    events: u64,
}

/// How the client of a socket is, and which connection of which gateway it is.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    well: bool,
    conn: Option<(usize, ConnId)>,
}

impl Inner {
    /// The judge of a gateway's store.
    fn judge(&mut self, gateway: usize) -> Option<&mut Judge> {
        let store = if self.shares.is_some() { 0 } else { gateway };
        self.judges.get_mut(store)
    }
}

impl Watch {
    pub(super) fn new(by: By, tally: Tally) -> Self {
        let (judges, checked) = match by {
            By::Oracles(schedule) => {
                let count =
                    if schedule.world.lease.is_some() { 1 } else { schedule.world.gateways };
                let judges = (0..count).map(|_| Judge::new(schedule));
                (judges.collect(), true)
            }
            By::Reader => (Vec::new(), true),
            By::Nobody => (Vec::new(), false),
        };
        Self(Rc::new(RefCell::new(Inner {
            judges,
            shares: None,
            checked,
            sockets: BTreeMap::new(),
            vouched: 0,
            troubled: BTreeMap::new(),
            tally,
            events: 0,
        })))
    }

    /// The gateways share a store, and are judged as such.
    pub(super) fn judge_shares(&self, shares: Shares) {
        self.0.borrow_mut().shares = Some(shares);
    }

    /// Whether somebody wants to know what a shared store does.
    pub(super) fn judges_shares(&self) -> bool {
        self.0.borrow().shares.is_some()
    }

    /// A shared store has carried this out.
    pub(super) fn carried_out(&self, at: Span, op: &Op, answer: &Answer) {
        if let Some(shares) = &mut self.0.borrow_mut().shares {
            shares.carried_out(at, op, answer);
        }
    }

    /// Whether the core's tables are to be checked after every event.
    pub(super) fn is_checked(&self) -> bool {
        self.0.borrow().checked
    }

    /// A gateway was told this and ordered that.
    pub(super) fn batch(
        &self,
        at: Span,
        wall: Time,
        gateway: usize,
        event: &Event,
        commands: &[Command],
    ) {
        let mut inner = self.0.borrow_mut();
        inner.events += 1;
        inner.tally.batch(event, commands);
        if let Some(shares) = &mut inner.shares {
            shares.batch(at, gateway, event, commands);
        }
        if let Some(judge) = inner.judge(gateway) {
            judge.batch(Moment { elapsed: at, wall }, gateway as u32, event, commands);
        }
    }

    /// The world tells a fact about a gateway. Only those of its own have its clock.
    pub(super) fn fact(&self, at: Span, wall: Option<Time>, gateway: usize, fact: Fact) {
        if let Some(judge) = self.0.borrow_mut().judge(gateway) {
            judge.fact(Moment { elapsed: at, wall: wall.unwrap_or(START + at) }, fact);
        }
    }

    /// A client's link was told this and ordered that; it is always this gateway's.
    pub(super) fn link(
        &self,
        at: Span,
        gateway: usize,
        client: u32,
        event: &LinkEvent,
        commands: &[LinkCommand],
    ) {
        let mut inner = self.0.borrow_mut();
        inner.tally.link(event, commands);
        if let Some(judge) = inner.judge(gateway) {
            judge.link(at, client, event, commands);
        }
    }

    /// A client has connected from this address, and nothing is wrong with it.
    pub(super) fn is_well(&self, at: Span, client: SocketAddr) {
        let mut inner = self.0.borrow_mut();
        if inner.troubled.contains_key(&client.ip()) {
            return;
        }
        let health = inner.sockets.entry(client).or_default();
        health.well = true;
        let conn = health.conn;
        drop(inner);
        if let Some((gateway, id)) = conn {
            self.vouch(at, gateway, id);
        }
    }

    /// Something goes wrong with a client, or it leaves.
    pub(super) fn ails(&self, at: Span, client: SocketAddr) {
        let health = self.0.borrow_mut().sockets.remove(&client);
        if let Some((gateway, id)) = health.and_then(|health| health.conn) {
            self.fact(at, None, gateway, Fact::Ailing(gateway as u32, id));
        }
    }

    /// A gateway was told of the connection from this address.
    pub(super) fn accepted(&self, at: Span, gateway: usize, id: ConnId, client: SocketAddr) {
        let mut inner = self.0.borrow_mut();
        let health = inner.sockets.entry(client).or_default();
        health.conn = Some((gateway, id));
        let well = health.well;
        drop(inner);
        if well {
            self.vouch(at, gateway, id);
        }
    }

    fn vouch(&self, at: Span, gateway: usize, id: ConnId) {
        self.0.borrow_mut().vouched += 1;
        self.fact(at, None, gateway, Fact::Sound(gateway as u32, id));
    }

    /// How many connections were said to be sound: those that may not be closed for their silence.
    pub(super) fn vouched(&self) -> u64 {
        self.0.borrow().vouched
    }

    /// Something is wrong with a host's network from now on.
    pub(super) fn network_ails(&self, at: Span, host: IpAddr) {
        let mut inner = self.0.borrow_mut();
        *inner.troubled.entry(host).or_default() += 1;
        let sockets = inner.sockets.keys().filter(|client| client.ip() == host);
        let sockets: Vec<_> = sockets.copied().collect();
        drop(inner);
        for client in sockets {
            self.ails(at, client);
        }
    }

    /// One trouble of a host's network is over.
    pub(super) fn network_recovers(&self, host: IpAddr) {
        let mut inner = self.0.borrow_mut();
        if let Some(troubles) = inner.troubled.get_mut(&host) {
            *troubles -= 1;
            if *troubles == 0 {
                inner.troubled.remove(&host);
            }
        }
    }

    /// What was found first.
    pub(super) fn violation(&self) -> Option<Violation> {
        self.0.borrow().judges.iter().find_map(|judge| judge.violation().cloned())
    }

    /// The world is over, and this is what a gateway's store holds.
    pub(super) fn end(&self, gateway: usize, inventory: &Inventory) {
        if let Some(judge) = self.0.borrow_mut().judge(gateway) {
            judge.end(inventory);
        }
    }

    /// How many events the gateways were told.
    pub(super) fn events(&self) -> u64 {
        self.0.borrow().events
    }
}
