//! What must hold in the end: conservation, and the core at rest.

use super::{Conn, Fate, Inventory, Judge, Oracle};
use steadfast_core::id::MessageId;
use steadfast_core::time::Span;

/// Where gateways share a store, two clients of a key may take it from each other for ever: one may have
/// come just now, and its answer waits for a claim and a load.
const CAME_JUST_NOW: Span = Span::from_secs(2);

impl Judge {
    /// The world is over: it was healed, everything had time to be decided, and this is what the
    /// stores hold.
    pub fn end(&mut self, inventory: &Inventory) {
        self.judge_replies();
        self.judge_inventory(inventory);
        self.judge_heartbeats();
        self.judge_devices(inventory);
        self.judge_clean(inventory);
    }

    /// Every push was answered whose gateway has not crashed.
    fn judge_replies(&mut self) {
        let pushers = self.nodes.iter().flat_map(|node| &node.pushers);
        let waiting = pushers.filter(|(_, pusher)| !pusher.unanswered.is_empty());
        let first = waiting.map(|(id, pusher)| (*id, pusher.unanswered.len())).next();
        if let Some((id, count)) = first {
            self.blame(Oracle::Reply, format!("{id} has {count} pushes that were never answered"));
        }
        let request = self.nodes.iter().flat_map(|node| &node.requests).next().copied();
        if let Some(request) = request {
            self.blame(Oracle::Reply, format!("the operator's {request} was never answered"));
        }
    }

    /// What was promised is confirmed, or dead, or was dropped for good; and the numbers are equal.
    fn judge_inventory(&mut self, inventory: &Inventory) {
        let waiting = inventory.waiting.iter().next().copied();
        if let Some(id) = waiting {
            self.blame(Oracle::Conservation, format!("{id} still waits"));
        }
        let wrong = self.messages.keys().find_map(|id| self.wrong_end(*id, inventory));
        if let Some(text) = wrong {
            self.blame(Oracle::Conservation, text);
        }
        let Inventory { appended, removed, purged, .. } = *inventory;
        let kept = inventory.waiting.len() as u64 + inventory.dead.len() as u64;
        self.demand(Oracle::Conservation, appended == kept + removed + purged, || {
            format!("of {appended} stored, {kept} are kept, {removed} removed, {purged} purged")
        });
    }

    fn wrong_end(&self, id: MessageId, inventory: &Inventory) -> Option<String> {
        let message = &self.messages[&id];
        // One that is confirmed is a dead letter for a while, if its removal takes so long that it
        // is evicted; it may be dropped then.
        let is_letter = inventory.dead.contains_key(&id);
        let dead = is_letter || self.purged.contains(&id);
        let wrong = match message.fate {
            _ if is_letter && message.removed && !message.reopened => "is confirmed and dead",
            Fate::Itself if message.promised && !dead && !message.removed => {
                "was promised, and is neither confirmed nor dead"
            }
            Fate::Another(_) if dead || message.removed => "stands for itself too",
            Fate::Itself | Fate::Another(_) | Fate::Conflict => return None,
        };
        Some(format!("{id} (#{}) {wrong}", message.content))
    }

    /// What open connections were owed they have got.
    fn judge_heartbeats(&mut self) {
        let conns = self.nodes.iter().flat_map(|node| &node.conns);
        let since = self.now.elapsed;
        let due = |heard_at| !self.shared || since >= heard_at + CAME_JUST_NOW;
        let judged = |(_, conn): &(_, &Conn)| !conn.closing && due(conn.heard_at);
        let short = conns.filter(judged).find_map(|(id, conn)| {
            let short = conn.owed != conn.answers || conn.pings_owed != conn.pongs;
            short.then(|| {
                format!(
                    "{id} has {} of {} answers, and {} of {} pongs",
                    conn.answers, conn.owed, conn.pongs, conn.pings_owed
                )
            })
        });
        if let Some(text) = short {
            self.blame(Oracle::Heartbeat, text);
        }
    }
}
