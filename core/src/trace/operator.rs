//! What operators ask and are told, as lines for people.

use super::Trace;
use crate::operator::{Fate, OperatorAnswer, OperatorRequest, Stage};
use crate::store::{
    DeadAnswer, DeadFilter, DeadLetter, DeadOp, Found, QueueAnswer, QueueOp, Target,
};

impl Trace {
    pub(super) fn operator_request(&mut self, request: &OperatorRequest) -> String {
        match request {
            OperatorRequest::ListQueues { prefix, .. } => format!("list queues \"{prefix}\""),
            OperatorRequest::ShowQueue { key, .. } => format!("show queue {key}"),
            OperatorRequest::PurgeQueue { key, ids, .. } => {
                format!("purge queue {key}{}", self.some(ids))
            }
            OperatorRequest::ListDead { filter, .. } => format!("list dead{}", self.filter(filter)),
            OperatorRequest::RequeueDead { key, ids } => {
                format!("requeue dead of {key}{}", self.some(ids))
            }
            OperatorRequest::PurgeDead { filter, .. } => {
                format!("purge dead{}", self.filter(filter))
            }
            OperatorRequest::FindMessage { key, target } => {
                format!("find {} of {key}", self.target(target))
            }
            OperatorRequest::ListConnections { key: Some(key), .. } => {
                format!("list connections of {key}")
            }
            OperatorRequest::ListConnections { key: None, .. } => "list connections".to_owned(),
            OperatorRequest::Count => "count".to_owned(),
            OperatorRequest::CountStored => "count stored".to_owned(),
            OperatorRequest::ReadDeviceLog { .. } => "read the device log".to_owned(),
            OperatorRequest::DropDeviceLog { through, .. } => {
                format!("drop the device log through {through}")
            }
        }
    }

    pub(super) fn operator_answer(&mut self, answer: &OperatorAnswer) -> String {
        match answer {
            OperatorAnswer::Queues(queues) => {
                let shown = queues.iter().map(|it| format!(" {} ({})", it.key, it.messages));
                format!("queues{}", shown.collect::<String>())
            }
            OperatorAnswer::Queue(messages) => {
                let shown = messages.iter().map(|(message, stage)| {
                    format!(" {} {}", self.message(message.id), stage_name(*stage))
                });
                format!("queue{}", shown.collect::<String>())
            }
            OperatorAnswer::Dropped(count) => format!("dropped {count}"),
            OperatorAnswer::Dead(letters) => {
                let shown = letters.iter().map(|letter| self.letter(letter));
                format!("dead{}", shown.collect::<String>())
            }
            OperatorAnswer::Requeued(ids) => format!("requeued{}", self.some(ids)),
            OperatorAnswer::Found(fate) => self.fate(fate),
            OperatorAnswer::Connections(views) => {
                let shown = views.iter().map(|view| {
                    let key = view.key.as_ref().map_or("no key", |key| &**key);
                    format!(" {} ({key}, {} unconfirmed)", self.conn(view.id), view.unconfirmed)
                });
                format!("connections{}", shown.collect::<String>())
            }
            OperatorAnswer::Counts(counts) => format!(
                "{} connections, {} keys, {} operations, {} confirmed",
                counts.connections, counts.keys, counts.operations, counts.confirmed
            ),
            OperatorAnswer::Totals { waiting, dead } => format!("{waiting} waiting, {dead} dead"),
            OperatorAnswer::DeviceLog(entries) => {
                let shown = entries.iter().map(|it| format!(" {} {}", it.number, it.entry));
                format!("device log{}", shown.collect::<String>())
            }
            OperatorAnswer::Failed(error) => format!("failed: {error}"),
        }
    }

    pub(super) fn queue_op(&mut self, op: &QueueOp) -> String {
        match op {
            QueueOp::Keys { .. } => "list keys".to_owned(),
            QueueOp::Messages { key, .. } => format!("list messages of {key}"),
            QueueOp::Purge { key, ids, spare, .. } => {
                let spared = if spare.is_empty() {
                    String::new()
                } else {
                    format!(" but{}", self.some(spare))
                };
                format!("purge {key}{}{spared}", self.some(ids))
            }
            QueueOp::Totals => "count".to_owned(),
        }
    }

    pub(super) fn queue_answer(&mut self, answer: &QueueAnswer) -> String {
        match answer {
            QueueAnswer::Keys(queues) => format!("{} keys", queues.len()),
            QueueAnswer::Messages(messages) => {
                let ids: Vec<_> = messages.iter().map(|message| message.id).collect();
                format!("messages{}", self.some(&ids))
            }
            QueueAnswer::Purged(ids) => format!("purged{}", self.some(ids)),
            QueueAnswer::Totals { waiting, dead } => format!("{waiting} waiting, {dead} dead"),
        }
    }

    pub(super) fn dead_op(&mut self, op: &DeadOp) -> String {
        match op {
            DeadOp::List { filter, .. } => format!("list dead letters{}", self.filter(filter)),
            DeadOp::Requeue { key, ids, .. } => format!("requeue{} of {key}", self.some(ids)),
            DeadOp::Purge { filter, .. } if filter.key.is_none() && filter.reason.is_none() => {
                "purge old dead letters".to_owned()
            }
            DeadOp::Purge { filter, .. } => format!("purge dead letters{}", self.filter(filter)),
            DeadOp::Trim { keep, .. } => format!("keep {keep} dead letters"),
        }
    }

    pub(super) fn dead_answer(&mut self, answer: &DeadAnswer) -> String {
        match answer {
            DeadAnswer::Listed(letters) => {
                letters.iter().fold("dead".to_owned(), |text, it| text + &self.letter(it))
            }
            DeadAnswer::Requeued(ids) => format!("requeued{}", self.some(ids)),
            DeadAnswer::Purged(count) => format!("dropped {count}"),
        }
    }

    pub(super) fn found(&mut self, found: &Found) -> String {
        match found {
            Found::Waiting(message) => format!("found {} waiting", self.message(message.id)),
            Found::Dead(letter) => format!("found dead{}", self.letter(letter)),
            Found::Gone(id) => format!("{} is gone", self.message(*id)),
            Found::Unknown => "found nothing".to_owned(),
        }
    }

    pub(super) fn target(&mut self, target: &Target) -> String {
        match target {
            Target::Id(id) => self.message(*id),
            Target::Name(name) => format!("id {name}"),
        }
    }

    fn fate(&mut self, fate: &Fate) -> String {
        match fate {
            Fate::Stored(message, stage) => {
                let id = self.message(message.id);
                format!("{id} is {}, tries {}", stage_name(*stage), message.tries)
            }
            Fate::Written(id) => format!("{} is written", self.message(*id)),
            Fate::Confirmed(id) => format!("{} is confirmed", self.message(*id)),
            Fate::Dead(letter) => format!("is dead:{}", self.letter(letter)),
            Fate::Purged(id) => format!("{} was purged", self.message(*id)),
            Fate::Gone(id) => format!("{} is gone", self.message(*id)),
            Fate::Unknown => "unknown".to_owned(),
        }
    }

    fn letter(&mut self, letter: &DeadLetter) -> String {
        let (id, reason) = (self.message(letter.message.id), letter.reason.name());
        let history = letter.history.iter().map(|(_, reason)| format!(" after {}", reason.name()));
        format!(" {id} of {} ({reason}{})", letter.key, history.collect::<String>())
    }

    fn filter(&mut self, filter: &DeadFilter) -> String {
        let key = filter.key.as_ref().map(|key| format!(" of {key}"));
        let reason = filter.reason.map(|reason| format!(" ({})", reason.name()));
        let until = filter.until.map(|until| format!(" until {until}"));
        let id = filter.id.map(|id| format!(" {}", self.message(id)));
        [id, key, reason, until].into_iter().flatten().collect()
    }

    fn some(&mut self, ids: &[crate::id::MessageId]) -> String {
        ids.iter().fold(String::new(), |text, id| text + " " + &self.message(*id))
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Waiting => "waiting",
        Stage::Written => "written",
        Stage::Confirmed => "confirmed",
    }
}
