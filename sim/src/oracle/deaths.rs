//! What is judged of failed tries and of deaths: each has its reason.

use super::{Content, Judge, Oracle};
use steadfast_core::config::BindPolicy;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::record::DeathReason;
use steadfast_core::store::DeadOp;
use steadfast_core::time::Time;

impl Judge {
    /// Nobody is left who could confirm it, and nobody has.
    pub(super) fn on_failed_try(&mut self, node: u32, id: MessageId, tries: u32) {
        let Some(message) = self.messages.get_mut(&id) else {
            return self.blame(Oracle::Death, format!("{id} has failed a try: no message"));
        };
        message.tries = tries;
        let (key, serial) = (message.key, message.content);
        let alone = self.config.bind != BindPolicy::All;
        let successor = self.live(node, key).next().map(|(id, _)| *id).filter(|_| alone);
        let pending = self.live(node, key).any(|(_, conn)| {
            let unproven = &conn.sent[conn.proven.min(conn.sent.len())..];
            unproven.iter().any(|(other, _)| *other == serial)
        });
        let retry_max = self.config.retry_max;
        let content = self.contents.get_mut(&serial).expect("it was pushed");
        content.in_window = None;
        let (sent, single) = (content.sent, content.ids.len() == 1);
        let removed = content.removed > 0;
        self.demand(Oracle::Death, sent > 0, || format!("{id} failed a try, and was not written"));
        self.demand(Oracle::Death, tries <= retry_max, || format!("{id} failed {tries} tries"));
        if let Some(successor) = successor {
            self.blame(Oracle::Death, format!("{id} failed a try, and {successor} is there"));
        }
        self.demand(Oracle::Death, self.shared || !(single && removed), || {
            format!("{id} failed a try, and was confirmed")
        });
        self.demand(Oracle::Death, !(single && pending), || {
            format!("{id} failed a try, and may still be confirmed")
        });
    }

    pub(super) fn on_forgotten(&mut self, id: MessageId) {
        let promised = self.messages.get(&id).is_some_and(|message| message.promised);
        self.demand(Oracle::Conservation, !promised, || {
            format!("{id} is forgotten, and was promised")
        });
        if let Some(content) = self.content_of(id) {
            content.in_window = None;
        }
    }

    pub(super) fn judge_retry(&mut self, id: MessageId, tries: u32) {
        let known = self.messages.get(&id).map(|message| message.tries);
        self.demand(Oracle::Death, known.is_some_and(|known| tries <= known), || {
            format!("{id} is charged {tries} tries, and {known:?} failed")
        });
    }

    pub(super) fn judge_burial(&mut self, id: MessageId, reason: DeathReason) {
        let Some(message) = self.messages.get(&id) else {
            return self.blame(Oracle::Death, format!("{id} is buried: no message"));
        };
        let (wall, retry_max) = (self.now.wall, self.config.retry_max);
        let holds = match reason {
            DeathReason::Tries => message.tries >= retry_max,
            DeathReason::Ttl => message.expires_at <= wall,
            DeathReason::Limit => false,
        };
        let (tries, expires_at) = (message.tries, message.expires_at);
        self.demand(Oracle::Death, holds, || {
            format!("{id} is buried ({}): {tries} tries, expires {expires_at}", reason.name())
        });
        let Some(content) = self.content_of(id) else { return };
        content.set_aside = true;
        let spared = content.delivered_since().is_none();
        self.demand(Oracle::Death, spared || self.shared, || {
            format!("{id} is buried ({}), and is being delivered", reason.name())
        });
    }

    /// Nothing that is being delivered is evicted.
    pub(super) fn judge_eviction(&mut self, id: MessageId) {
        let promised = self.messages.get(&id).is_some_and(|message| message.promised);
        let Some(content) = self.content_of(id) else { return };
        // What timed out and is stored all the same is not known to be.
        let spared = content.delivered_since().is_none() || !promised;
        self.demand(Oracle::Death, spared || self.shared, || {
            format!("{id} was evicted from a window")
        });
    }

    /// What may be dropped for good: dead letters that are too many or too old, and what an operator
    /// names.
    pub(super) fn judge_drop(&mut self, request: &DeadOp) {
        let (limit, kept) = (self.config.dead_limit, self.now.wall - self.config.dead_keep);
        let holds = match request {
            DeadOp::Trim { keep, .. } => *keep == limit,
            DeadOp::Purge { filter, .. } => self.operating || filter.until == Some(kept),
            DeadOp::List { .. } | DeadOp::Requeue { .. } => true,
        };
        self.demand(Oracle::Conservation, holds, || {
            format!("dead letters are dropped: {request:?}, and {limit} may be kept")
        });
    }

    /// An operator had waiting messages dropped. What is being delivered is spared.
    pub(super) fn on_cleared(&mut self, ids: &[MessageId]) {
        for id in ids {
            let promised = self.messages.get(id).is_some_and(|message| message.promised);
            let delivered = self.content_of(*id).is_some_and(|it| it.delivered_since().is_some());
            self.demand(Oracle::Conservation, !(promised && delivered), || {
                format!("{id} is purged, and is being delivered")
            });
        }
        self.purged.extend(ids);
    }

    /// An operator lets the dead letters of a key wait again, and with them what is to be one as soon
    /// as the store does it.
    pub(super) fn on_requeue_asked(&mut self, key: &Key) {
        let Some(key) = self.key_index(key) else { return };
        let dying = |content: &&mut Content| content.key == key && content.set_aside;
        for content in self.contents.values_mut().filter(dying) {
            content.requeued = true;
        }
    }

    /// Dead letters wait again, with all their tries.
    pub(super) fn on_requeued(&mut self, ids: &[MessageId], expires_at: Time) {
        for id in ids {
            if let Some(message) = self.messages.get_mut(id) {
                message.expires_at = expires_at;
                *self.requeued.entry(message.key).or_default() += 1;
            }
            if let Some(content) = self.content_of(*id) {
                content.requeued = true;
            }
        }
    }
}
