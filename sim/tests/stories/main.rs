//! Stories: short scripts whose whole trace is a reviewed snapshot. Each tells one rule of delivery,
//! and its notes say what the reader should see.

mod binding;
mod claims;
mod confirm;
mod dedup;
mod heartbeat;
mod limits;
mod link;
mod operators;
mod push;
mod pushers;
mod redelivery;
mod several;
mod store_trouble;
mod takeover;
mod time;

use bytes::Bytes;
use steadfast_core::config::Config;
use steadfast_core::id::{ConnId, Key, MessageId};
use steadfast_core::store::{Append, Op, Promise};
use steadfast_core::time::{Span, Time};
use steadfast_sim::world::{Pongs, World};

/// Runs a script and compares the trace with `snapshots/<name>.snap`.
fn story(name: &str, config: Config, script: impl FnOnce(&mut World)) {
    let mut world = World::new(config);
    script(&mut world);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, world.trace.text()));
}

/// A client that has bound and answered its first ping a while ago. From here on, pongs come when
/// the script says so.
fn settled_client(world: &mut World, key: &str) -> ConnId {
    let id = world.client(key);
    world.wait_ms(100);
    world.pongs = Pongs::None;
    id
}

/// Puts a message for key 5 into the store, as an earlier run of the gateway left it.
fn leave(world: &mut World, data: &'static str) -> MessageId {
    leave_from(world, data, world.now, Span::from_secs(60))
}

/// The same with its time of acceptance and what it had to live from then on.
fn leave_from(world: &mut World, data: &'static str, accepted_at: Time, ttl: Span) -> MessageId {
    let id = MessageId { incarnation: 0, counter: world.model.counts().appended };
    let append = Append {
        key: Key::new("5"),
        id,
        payload: Bytes::from_static(data.as_bytes()),
        accepted_at,
        expires_at: accepted_at + ttl,
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: u32::MAX,
        window_end: None,
        spare: 0,
        epoch: 0,
    };
    world.model.apply(Op::Append(append));
    id
}
