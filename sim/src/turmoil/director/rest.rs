//! How a world comes to rest: what is mended, who comes for what still waits, and what is judged in the
//! end.

use super::Director;
use crate::disk::Disk;
use crate::oracle::Oracle;
use crate::schedule::Push;
use crate::turmoil::client::Whim;
use std::collections::BTreeSet;
use steadfast_core::id::Key;
use steadfast_core::time::Span;

impl Director {
    pub(super) fn mend_everything(&mut self) {
        let troubles: Vec<_> = self.troubles.keys().copied().collect();
        for (a, b) in troubles {
            self.mend(a, b);
        }
        for host in self.down.clone() {
            self.restart(host, Span::ZERO);
        }
        for machine in &self.machines {
            machine.drive.borrow_mut().set_trouble(None);
            machine.chop.set(false);
            machine.unstall();
        }
        if let Some(redis) = &self.redis {
            redis.set_trouble(None);
            redis.chop.set(false);
        }
        for site in &self.sites {
            site.around.chop.set(false);
        }
        for backend in &self.backends {
            backend.around.chop.set(false);
        }
        for client in 0..self.setup.clients.len() {
            self.client(client, Whim::Read);
            self.client(client, Whim::Start);
        }
        self.world("world", "everything is mended");
    }

    /// What waits although everything works and a client is there for it.
    pub(super) fn overlooked(&self) -> Option<String> {
        let clients = self.setup.clients.iter().filter(|_| self.clean);
        let keys = clients.filter_map(|client| client.key);
        let mut keys = keys.map(|key| Key::new(self.setup.keys[key].as_str()));
        self.of_store(0, |disk| {
            keys.find_map(|key| {
                let id = disk.model().waiting(&key).next()?.id;
                Some(format!("{id} still waits for {key}, whose client is well"))
            })
        })
    }

    /// Sends a client for whatever still waits.
    pub(super) fn collect(&mut self) {
        let first = self.setup.clients.len();
        for (index, client) in self.clients.iter().enumerate().skip(first) {
            let Some(key) = client.key else { continue };
            // Where there is one store, one collector is enough.
            let one = self.redis.is_some() && client.gateway != key % self.setup.gateways;
            let key = Key::new(self.setup.keys[key].as_str());
            let waits = |disk: &Disk| disk.model().waiting(&key).next().is_some();
            if !one && self.of_store(client.gateway, waits) {
                self.client(index, Whim::Start);
            }
        }
    }

    /// Looks at the store of a gateway.
    fn of_store<T>(&self, gateway: usize, look: impl FnOnce(&Disk) -> T) -> T {
        match &self.redis {
            Some(redis) => look(redis.server.borrow().store()),
            None => look(&self.machines[gateway].drive.borrow().disk),
        }
    }

    /// How many stores there are; each is that of the gateway of its number.
    fn stores(&self) -> usize {
        if self.redis.is_some() { 1 } else { self.machines.len() }
    }

    fn waiting(&self) -> u64 {
        let waiting = |disk: &Disk| disk.model().counts().waiting;
        (0..self.stores()).map(|gateway| self.of_store(gateway, waiting)).sum()
    }

    /// How many pushes are unanswered: what back ends wait for, and what gateways owe those that have
    /// gone away.
    fn unanswered(&self) -> usize {
        let owed = self.machines.iter().map(|machine| machine.unanswered.get());
        self.ends.awaited() + owed.sum::<usize>()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.unanswered() == 0 && self.waiting() == 0
    }

    /// Whether all that waits is for keys that no client has.
    pub(super) fn waits_only_for_nobody(&self) -> bool {
        let keys = self.setup.keys.iter().enumerate();
        let nobodys = keys.filter(|(index, _)| {
            self.setup.clients.iter().all(|client| client.key != Some(*index))
        });
        let nobodys: Vec<_> = nobodys.map(|(_, key)| Key::new(key.as_str())).collect();
        let count = |disk: &Disk| {
            nobodys.iter().map(|key| disk.model().waiting(key).count()).sum::<usize>()
        };
        let theirs: usize = (0..self.stores()).map(|gateway| self.of_store(gateway, count)).sum();
        self.waiting() == theirs as u64
    }

    /// Nobody will come for what waits: lets its time to live end at once, by the clocks of the gateways.
    /// What was accepted before a clock went back lives longer than the time to live.
    pub(super) fn expire(&self) {
        for (gateway, machine) in self.machines.iter().enumerate() {
            let last = self.of_store(gateway, |disk| {
                let keys = self.setup.keys.iter().map(|key| Key::new(key.as_str()));
                let waiting =
                    |key| disk.model().waiting(&key).map(|message| message.expires_at).max();
                keys.filter_map(waiting).max()
            });
            if let Some(last) = last {
                machine.leap(self.now(), last.since(machine.time(self.now())));
            }
        }
    }

    pub(super) fn unrest(&self) -> String {
        let mut waiting = Vec::new();
        for gateway in 0..self.stores() {
            for key in &self.setup.keys {
                let name = Key::new(key.as_str());
                let until = self.of_store(gateway, |disk| {
                    let waits = disk.model().waiting(&name);
                    waits.map(|it| format!("{} until {}", it.id, it.expires_at)).collect::<Vec<_>>()
                });
                if !until.is_empty() {
                    let (until, store) = (until.join(", "), gateway + 1);
                    waiting.push(format!("for {key} in store {store}: {until}"));
                }
            }
        }
        let awaited = self.ends.awaited_text();
        let (unanswered, waiting) = (self.unanswered(), waiting.join(", "));
        format!("{unanswered} pushes are unanswered ({awaited}); wait: {waiting}")
    }

    pub(super) fn judge(&self) {
        let keys: Vec<_> = self.setup.keys.iter().map(|key| Key::new(key.as_str())).collect();
        let mut dead = BTreeSet::new();
        let mut purged = 0;
        for gateway in 0..self.stores() {
            self.of_store(gateway, |disk| {
                disk.model().check();
                let mut inventory = disk.inventory(&keys);
                if let Some(consumer) = &self.consumer {
                    inventory.device_log = consumer.device_log();
                }
                purged += inventory.purged;
                self.watch.end(gateway, &inventory);
                let letters = disk.model().dead_letters();
                dead.extend(letters.filter_map(|letter| Push::serial_of(&letter.message.payload)));
            });
        }
        if self.clean {
            self.judge_deaths();
        }
        // What was dropped for good is known to the judge alone.
        if purged == 0 {
            self.ends.judge(&dead);
        }
    }

    /// Where everything works, only what nobody came for dies.
    fn judge_deaths(&self) {
        let has_client = |text: &str| {
            let mut clients = self.setup.clients.iter().filter_map(|client| client.key);
            clients.any(|key| self.setup.keys[key] == text)
        };
        let died = self.of_store(0, |disk| {
            disk.model().dead_letters().find(|letter| has_client(&letter.key)).cloned()
        });
        if let Some(letter) = died {
            let (id, reason) = (letter.message.id, letter.reason.name());
            let what = format!("{id} of {} died ({reason}), and its client is well", letter.key);
            self.ends.fail(Oracle::Death, what);
        }
    }
}
