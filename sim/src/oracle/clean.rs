//! What is judged where everything works: exactly what was pushed arrives.

use super::{Inventory, Judge, Oracle};
use std::collections::{BTreeMap, BTreeSet};
use steadfast_core::record::DeathReason;

impl Judge {
    /// Every client received what was pushed to its key: each once, in order per back end. Nothing
    /// died but what nobody was there for.
    pub(super) fn judge_clean(&mut self, inventory: &Inventory) {
        if !self.clean {
            return;
        }
        let has_client: BTreeSet<_> = self.world.clients.iter().map(|client| client.key).collect();
        let mut pushed: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut contents: Vec<_> = self.contents.iter().collect();
        contents.sort_by_key(|(_, content)| content.order);
        for (serial, content) in contents {
            pushed.entry(content.key).or_default().push(*serial);
        }
        for (client, spec) in self.world.clients.clone().into_iter().enumerate() {
            let expect = self.ordered(pushed.remove(&spec.key).unwrap_or_default());
            let got = self.ordered(self.received[client].clone());
            let differs = (0..expect.len().max(got.len())).find(|n| expect.get(*n) != got.get(*n));
            if let Some(n) = differs {
                let (expect, got) = (expect.get(n).copied(), got.get(n).copied());
                let text = format!("client {client} received {got:?} and not {expect:?} as {n}th");
                self.blame(Oracle::Clean, text);
            }
        }
        let failed = self.messages.iter().find(|(_, message)| message.failed);
        if let Some(id) = failed.map(|(id, _)| *id) {
            self.blame(Oracle::Clean, format!("{id} was answered fail"));
        }
        for (id, reason) in &inventory.dead {
            let key = self.messages.get(id).map(|message| message.key);
            let lonely = key.is_some_and(|key| !has_client.contains(&key));
            let holds = lonely && matches!(reason, DeathReason::Ttl);
            self.demand(Oracle::Clean, holds, || format!("{id} died ({})", reason.name()));
        }
    }

    /// Pushes as they are to be compared. Two gateways' pushes are stored in either order, so those of
    /// each back end come together.
    fn ordered(&self, mut serials: Vec<u32>) -> Vec<u32> {
        if self.shared {
            serials.sort_by_key(|serial| self.contents.get(serial).and_then(|it| it.pusher));
        }
        serials
    }
}
