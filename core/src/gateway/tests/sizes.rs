//! The sizes of what there may be a hundred thousand of.

use super::check;
use crate::command::Command;
use crate::connection::{Backlog, Binding, Connection};
use crate::event::Event;
use crate::id::Key;
use crate::mailbox::{Entry, Mailbox};
use crate::operations::{Pending, PendingAppend};
use crate::pushers::Pusher;
use crate::record::Record;
use crate::store::{Answer, Append, Op, StoredMessage};
use std::mem::size_of;

#[test]
#[cfg(target_pointer_width = "64")]
fn sizes() {
    let sizes = [
        ("Connection", size_of::<Option<Connection>>()),
        ("Binding", size_of::<Binding>()),
        ("Backlog", size_of::<Backlog>()),
        ("Mailbox", size_of::<Option<Mailbox>>()),
        ("Key", size_of::<Key>()),
        ("Entry", size_of::<Entry>()),
        ("Pending", size_of::<Pending>()),
        ("PendingAppend", size_of::<PendingAppend>()),
        ("Pusher", size_of::<Pusher>()),
        ("Event", size_of::<Event>()),
        ("Command", size_of::<Command>()),
        ("Record", size_of::<Record>()),
        ("Op", size_of::<Op>()),
        ("Append", size_of::<Append>()),
        ("Answer", size_of::<Answer>()),
        ("StoredMessage", size_of::<StoredMessage>()),
    ];
    let lines: Vec<_> = sizes.iter().map(|(name, bytes)| format!("{name}: {bytes}")).collect();
    check("sizes", &lines.join("\n"));
}
