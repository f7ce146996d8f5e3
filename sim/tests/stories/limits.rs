//! What ends a message's waiting, and what is limited.

use crate::{settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Store};

#[test]
fn mailbox_limit() {
    let config = Config { mailbox_limit: 2, window_messages: 2, ..Config::default() };
    story("mailbox_limit", config, |world| {
        let backend = world.pusher();
        for data in ["one", "two", "three"] {
            world.push(backend, "5", data);
        }
        world.note("The oldest is a dead letter with its reason, not lost.");
        let _ = world.client("5");
    });
}

#[test]
fn eviction_behind_a_load() {
    let config = Config { mailbox_limit: 2, window_messages: 2, ..Config::default() };
    story("eviction_behind_a_load", config, |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("The store has read both for the client, and the core does not know them yet.");
        world.set_store(Store::Slow);
        let _ = world.client("5");
        world.push(backend, "5", "three");
        world.answer();
        world.note("Three messages wait where two may, but two of them are being delivered.");
        world.answer();
        world.set_store(Store::Prompt);
        world.wait_ms(100);
    });
}

#[test]
fn window_is_exempt_from_limits() {
    let config = Config {
        mailbox_limit: 2,
        window_messages: 2,
        ttl: Span::from_secs(4),
        ..Config::default()
    };
    story("window_is_exempt_from_limits", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        for data in ["one", "two", "three", "four", "five"] {
            world.push(backend, "5", data);
        }
        world.note("Five are stored, two may wait: `three` died, not what is being delivered.");
        world.wait_ms(5_000);
        world.note("What waited is too old now; what is being delivered does not age.");
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn ttl() {
    let config = Config { ttl: Span::from_secs(3), ..Config::default() };
    story("ttl", config, |world| {
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.wait_ms(2_000);
        world.note("A sweep every second here; it finds the message at its third.");
        world.wait_ms(1_000);
    });
}

#[test]
fn dead_letters_are_kept_so_long() {
    let config = Config {
        ttl: Span::from_secs(3),
        dead_keep: Span::from_secs(30),
        mailbox_limit: 1,
        window_messages: 1,
        ..Config::default()
    };
    story("dead_letters_are_kept_so_long", config, |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        let sweeps = world.trace.text().len();
        world.stall(Span::from_secs(59));
        world.wait_ms(2_000);
        assert!(world.trace.text().len() > sweeps, "the sweep ran");
        world.note("`one` died 60 s ago: dropped, and said so. `two` died a moment ago: kept.");
        assert_eq!(world.model.dead_letters().count(), 1);
    });
}

#[test]
fn so_many_dead_letters_are_kept() {
    let config =
        Config { dead_limit: 1, mailbox_limit: 1, window_messages: 1, ..Config::default() };
    story("so_many_dead_letters_are_kept", config, |world| {
        let backend = world.pusher();
        for data in ["one", "two", "three"] {
            world.push(backend, "5", data);
        }
        world.stall(Span::from_secs(60));
        world.wait_ms(1);
        world.note("One of two dead letters may stay: the oldest is dropped, and said so.");
    });
}

#[test]
fn confirm_wins_over_burial() {
    let config = Config { mailbox_limit: 1, window_messages: 1, ..Config::default() };
    story("confirm_wins_over_burial", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.note("Confirmed, but the store does not take the removal yet.");
        world.store = Store::Refusing("remove");
        world.pong(a);
        world.drop_conn(a);
        world.note("For the store `one` still waits, and so it makes room for `two`.");
        world.push(backend, "5", "two");
        world.store = Store::Prompt;
        world.note("The removal comes through and withdraws the dead letter.");
        world.wait_ms(200);
        assert_eq!(world.model.dead_letters().count(), 0);
    });
}

#[test]
fn too_many_connections() {
    let config = Config { max_connections: 1, ..Config::default() };
    story("too_many_connections", config, |world| {
        let a = world.client("5");
        let _ = world.accept();
        world.note("With room again, the next one is let in.");
        world.pongs = Pongs::Prompt;
        world.drop_conn(a);
        let _ = world.client("6");
    });
}
