//! The end of a world: everything is mended, and every promise comes due.

use super::Run;
use crate::oracle::{Fact, Oracle};
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::gateway::{Gateway, Tables};
use steadfast_core::id::{Key, MessageId};

/// How often it is looked whether everything is decided.
const STEP: u64 = 2_000_000;

/// How long a world rests before its tables are judged.
const REST: u64 = 3_000_000;

/// How long it may take at most until an operation of the store that failed is given again.
const STORE_DELAY: u64 = 6_000_000;

impl Run<'_> {
    /// Everything works from now on. Within a time that follows from the settings nothing waits for
    /// a key that has clients; and when the time to live of the rest is over, nothing waits at all.
    pub(super) fn heal(&mut self) {
        self.mend();
        self.pass(self.patience(), |run| {
            run.is_settled() && run.has_confirmed_ops() && run.waiting_for_clients().is_empty()
        });
        if self.judge.violation().is_some() {
            return;
        }
        let waiting = self.waiting_for_clients();
        self.fact(Fact::Recovered(waiting));
        // What was accepted before the clock went back expires only when it has caught up.
        self.leap(self.schedule.longest_ttl() + 1_000 + self.turned_back);
        self.pass(14_000_000, |run| run.is_settled() && run.disk.model().counts().waiting == 0);
        self.advance(self.now + REST);
        self.rest();
        if self.judge.violation().is_none() && self.watch.judged {
            self.judge.at(self.moment());
            self.judge_tables();
            self.judge_links();
            self.judge.end(&self.disk.inventory(&self.keys()));
        }
    }

    /// Lets time pass until something holds, but no longer than this.
    fn pass(&mut self, most: u64, holds: impl Fn(&Self) -> bool) {
        let deadline = self.now + most;
        while self.now < deadline && !holds(self) {
            self.advance(self.now + STEP);
            self.reconnect();
        }
    }

    /// Every fault ends. Connections that lost bytes are reset, and so are those of clients that
    /// were taken for somebody else: they come back as who they are.
    fn mend(&mut self) {
        self.healed = true;
        self.remark("everything is mended");
        self.trouble = None;
        self.host.stalled_until = self.host.stalled_until.min(self.now);
        self.schedule_turn(self.now);
        self.restart();
        self.reconnect();
        for index in 0..self.clients.len() {
            let number = u32::try_from(index).expect("a world has few clients");
            self.clients[index].heal(self.now);
            self.thaw(number);
            self.start(number);
        }
        let astray: Vec<_> = self
            .sockets
            .open_ones()
            .filter_map(|socket| Some((socket.client?, socket)))
            .filter(|(client, socket)| {
                let key = self.schedule.world.clients[*client as usize].key;
                socket.is_severed() || socket.bound.is_some_and(|bound| bound != key)
            })
            .map(|(client, socket)| (client, socket.id))
            .collect();
        for (client, id) in astray {
            self.end_connection(client, id);
        }
    }

    /// A gateway that was told to stop comes back by itself; whoever waits for it is patient.
    fn reconnect(&mut self) {
        if self.host.gateway.is_none() && !self.host.stopping {
            self.restart();
        }
    }

    /// How long it may take until nothing waits for a key with clients: a client notices that its
    /// connection is dead and connects, the gateway notices and redelivers with all its delays, and
    /// an operation of the store is tried again.
    fn patience(&self) -> u64 {
        let settings = &self.schedule.world.settings;
        let client = 2 * settings.idle_timeout + 8_000;
        let gateway = 4 * settings.pong_timeout
            + settings.idle_timeout
            + u64::from(settings.retry_max) * settings.retry_interval
            + settings.kick_interval;
        let store = 2 * settings.store_timeout + 12_000;
        // A link notices, waits for its breaker and its delay, is refused a session that is being
        // kept, or was told not to come back.
        let link = settings.link.map_or(0, |link| {
            3 * link.heartbeat + 2 * link.ack_timeout + 20_000 + super::LINK_RESTART / 1_000
        });
        (client + gateway + store + link) * 1_000
    }

    fn keys(&self) -> Vec<Key> {
        self.schedule.world.keys.iter().map(|key| Key::new(key.text.as_str())).collect()
    }

    /// What waits for keys that have clients.
    fn waiting_for_clients(&self) -> BTreeMap<Key, Vec<MessageId>> {
        let world = &self.schedule.world;
        let served: BTreeSet<_> = world.clients.iter().map(|client| client.key as usize).collect();
        let keys = served.into_iter().map(|key| Key::new(world.keys[key].text.as_str()));
        let waiting = keys.map(|key| {
            let ids = self.disk.model().waiting(&key).map(|message| message.id).collect();
            (key, ids)
        });
        waiting.filter(|(_, ids): &(Key, Vec<_>)| !ids.is_empty()).collect()
    }

    /// Whether the gateway runs, was told everything, and has neither a message in a window nor an
    /// operation under way.
    fn is_settled(&self) -> bool {
        let tables = self.host.gateway.as_ref().map(Gateway::tables);
        let decided = tables.is_some_and(|tables| tables.window == 0 && tables.operations == 0);
        let told = self.wires.values().all(|wire| wire.backlog.is_empty())
            && self.back_ends.iter().all(|back_end| back_end.last <= self.now);
        decided && told && self.host.is_open() && self.host.is_quiet()
    }

    /// Goes on until nothing is under way: an operation that failed last is given again.
    fn rest(&mut self) {
        let deadline = self.now + STORE_DELAY;
        while self.now < deadline && !self.is_settled() {
            self.advance(self.now + 1_000);
        }
    }

    /// At rest the core's tables hold what the world has, and nothing else.
    fn judge_tables(&mut self) {
        let Some(gateway) = &self.host.gateway else {
            return self.judge.blame(Oracle::Tables, "the gateway is down");
        };
        let tables = gateway.tables();
        let connections = self.sockets.open_ones().count();
        let pushers = self.wires.len();
        let bound = self.sockets.open_ones().filter_map(|socket| socket.bound);
        let mailboxes = bound.collect::<BTreeSet<_>>().len();
        let world = Tables { connections, pushers, mailboxes, operations: 0, window: 0 };
        if tables != world {
            let text = format!("the core has {tables:?}, and the world {world:?}");
            self.judge.blame(Oracle::Tables, text);
        }
    }
}
