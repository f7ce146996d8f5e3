//! One client: its link, its network, and what is wrong with them.

use super::peers::ClientEvent;
use crate::linked::{Linked, Peer, Storage};
use crate::sabotage::Sabotage;
use crate::schedule::{Actor, ClientSpec, Pongs, Speaks, Stream, WorldSpec};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;
use steadfast_core::id::ConnId;
use steadfast_core::link::legacy::Link;

/// A client and its network.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) peer: Peer,
    pub(super) pongs: Pongs,
    /// The socket of the connection, or of the attempt at one.
    pub(super) socket: Option<ConnId>,
    /// Which of its attempts this is: what belongs to an earlier one is not told.
    pub(super) attempt: u32,
    /// Whether its application wants to be connected.
    pub(super) started: bool,
    /// Until when its process stands still.
    pub(super) frozen_until: u64,
    /// Until when it answers no pings.
    pub(super) ignores_until: u64,
    /// Until when its socket takes nothing.
    pub(super) slow_until: u64,
    /// Until when its network loses everything, each way.
    pub(super) cut_up_until: u64,
    pub(super) cut_down_until: u64,
    /// Until when its network holds everything back.
    pub(super) held_until: u64,
    /// The last ping it answered on its connection; zero before.
    pub(super) answered: u64,
    /// When its link's deadline was last noted in the agenda.
    pub(super) wakes_at: Option<u64>,
    /// What reached it while it stood still.
    pub(super) unread: VecDeque<(u32, ClientEvent)>,
    latency: u64,
    rng: ChaCha8Rng,
}

impl Client {
    pub(super) fn new(seed: u64, index: u32, world: &WorldSpec, broken: Option<Sabotage>) -> Self {
        let ClientSpec { pongs, latency, .. } = world.clients[index as usize];
        Self {
            peer: peer(seed, index, world, broken),
            pongs,
            socket: None,
            attempt: 0,
            started: false,
            frozen_until: 0,
            ignores_until: 0,
            slow_until: 0,
            cut_up_until: 0,
            cut_down_until: 0,
            held_until: 0,
            answered: 0,
            wakes_at: None,
            unread: VecDeque::new(),
            latency,
            rng: Actor::Client(index).stream(seed, Stream::World),
        }
    }

    /// How long the next bytes travel.
    pub(super) fn travel(&mut self) -> u64 {
        self.rng.random_range(self.latency..self.latency * 4)
    }

    /// Whether nothing is wrong with it or its network now.
    pub(super) fn is_well(&self, now: u64) -> bool {
        let trouble = [
            self.frozen_until,
            self.ignores_until,
            self.slow_until,
            self.cut_up_until,
            self.cut_down_until,
            self.held_until,
        ];
        self.pongs == Pongs::Prompt && trouble.iter().all(|until| *until <= now)
    }

    /// Everything is mended; what it does by nature it goes on doing.
    pub(super) fn heal(&mut self, now: u64) {
        for until in [
            &mut self.frozen_until,
            &mut self.ignores_until,
            &mut self.slow_until,
            &mut self.cut_up_until,
            &mut self.cut_down_until,
            &mut self.held_until,
        ] {
            *until = now.min(*until);
        }
    }
}

/// The machine that a client runs on.
fn peer(seed: u64, index: u32, world: &WorldSpec, broken: Option<Sabotage>) -> Peer {
    let seed = seed ^ (u64::from(index) << 32);
    if world.clients[index as usize].speaks == Speaks::Text {
        return Peer::Text(Box::new(Link::new(world.link(index), seed)));
    }
    let mut config = world.session_link(index);
    if let Some(sabotage) = broken {
        sabotage.link_settings(&mut config);
    }
    Peer::Link(Box::new(Linked::new(config, seed, Storage::default())))
}
