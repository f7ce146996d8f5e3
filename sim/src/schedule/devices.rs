//! What devices do beside their heartbeats, who takes their log, and what is pushed by HTTP.
//!
//! All of it is drawn from streams of its own: everything else is as it would be without.

use super::draw::Draw;
use super::spec::TEXT_KEYS;
use super::{Actor, Family, OpKind, Push, Question, Trouble};
use rand::RngExt;

/// The part of the back ends that push by HTTP too.
const HTTP_SHARE: f64 = 0.5;

/// More uploads at once than may be unanswered.
const CROWD: u32 = 80;

impl Draw<'_> {
    pub(super) fn what_devices_bring(&mut self) {
        let devices = self.world.logging_devices();
        match self.actor {
            Actor::Client(client) => {
                let own = self.world.clients[client as usize].key;
                if devices.contains(&own) {
                    let others: Vec<_> = devices.into_iter().filter(|key| *key != own).collect();
                    self.device(client, &others);
                }
            }
            Actor::BackEnd(index) => {
                if self.rng.random_bool(HTTP_SHARE) {
                    self.push_by_http(index, &devices);
                }
            }
            Actor::Operator if !devices.is_empty() => {
                for _ in 0..self.rng.random_range(0..5) {
                    let at = self.some_time();
                    self.push_op(at, OpKind::Ask(Question::TakeLog, 0));
                }
            }
            Actor::Operator | Actor::Gateway(_) | Actor::Store | Actor::Clock | Actor::Stranger => {
            }
        }
    }

    /// A device uploads one entry or several at once. Where not everything works it is taken for
    /// another one now and then.
    fn device(&mut self, client: u32, others: &[u32]) {
        let mut number = client * 1_000;
        for _ in 0..self.rng.random_range(1..5) {
            let at = self.some_time();
            let count = if self.rng.random_bool(0.3) { 4 } else { 1 };
            self.upload(at, &mut number, count);
        }
        if self.families.is_empty() {
            return;
        }
        for _ in 0..self.rng.random_range(0..3) {
            let at = self.some_time();
            let other = others[self.rng.random_range(0..others.len())];
            self.push_op(at, OpKind::Pose(other));
        }
        if self.families.contains(&Family::Flood) && self.rng.random_bool(0.5) {
            let at = self.some_time();
            let full = OpKind::Trouble(Trouble::Stalled, 600);
            self.ops.push(super::Op { at, actor: Actor::Store, kind: full });
            self.upload(at + 1_000, &mut number, CROWD);
        }
    }

    fn upload(&mut self, at: u64, number: &mut u32, count: u32) {
        for _ in 0..count {
            *number += 1;
            self.push_op(at, OpKind::Upload(*number));
        }
    }

    /// Pushes as HTTP makes them: with a time to live of their own, or under a name, or both.
    fn push_by_http(&mut self, index: u32, devices: &[u32]) {
        let keys: Vec<_> = (0..TEXT_KEYS).chain(devices.iter().copied().skip(1)).collect();
        let mut serial = 60_000 + index * 10_000;
        let clean = self.families.is_empty();
        for _ in 0..self.rng.random_range(1..6) {
            serial += 1;
            let key = keys[self.rng.random_range(0..keys.len())];
            let configured = self.world.settings.ttl;
            // Where everything works nothing for a key with clients is to die.
            let ttl = if clean || self.rng.random_bool(0.3) {
                self.rng.random_range(15_000..configured + 30_000)
            } else {
                self.rng.random_range(200..configured / 2)
            };
            let ttl = Some(ttl).filter(|_| self.rng.random_bool(0.8));
            let push = Push { key, serial, padding: 0, poison: false, ttl };
            let name = Some(serial).filter(|_| self.rng.random_bool(0.3));
            let at = self.rng.random_range(500_000..self.world.heal_at);
            self.push_op(at, OpKind::Request(push, name));
        }
        for key in devices.iter().copied().skip(1) {
            for _ in 0..self.rng.random_range(2..8) {
                let at = self.rng.random_range(500_000..self.world.heal_at);
                self.push_one(at, &mut serial, key);
            }
        }
    }
}
