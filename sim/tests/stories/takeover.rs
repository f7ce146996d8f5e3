//! A newer connection takes a key over, and an older one stands by.

use crate::{settled_client, story};
use steadfast_core::config::{BindMatch, BindPolicy, BindRule, Config};
use steadfast_core::event::{CloseCause, ConnEvent, Event, PusherEvent};
use steadfast_core::record::Dialect;
use steadfast_sim::world::Pongs;

#[test]
fn takeover_moves_everything() {
    let config = Config { window_messages: 2, ..Config::default() };
    story("takeover_moves_everything", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        for data in ["one", "two", "three"] {
            world.push(backend, "5", data);
        }
        world.note("At once, in order, before anything newer; no try is charged.");
        let b = world.client("5");
        world.note("A late pong of the older still counts: the first message is confirmed.");
        world.pong(a);
        world.note("The newer's first ping went before them. Its second confirms the rest.");
        world.pong(b);
        world.wait_ms(50);
        world.pong(b);
    });
}

#[test]
fn standby_takes_over() {
    story("standby_takes_over", Config::default(), |world| {
        let a = settled_client(world, "5");
        let b = world.client("5");
        let backend = world.pusher();
        world.note("Only the newest is written to.");
        world.push(backend, "5", "one");
        world.note("It closes: the older serves again, at once and without a try.");
        world.drop_conn(b);
        world.push(backend, "5", "two");
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn standby_that_had_it_already() {
    story("standby_that_had_it_already", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        let b = world.client("5");
        world.push(backend, "5", "two");
        world.note("The standby was written `one` before: only `two` is moved back.");
        world.drop_conn(b);
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn stale_close_leaves_the_newer_alone() {
    story("stale_close_leaves_the_newer_alone", Config::default(), |world| {
        let a = settled_client(world, "5");
        world.pongs = Pongs::Prompt;
        let _ = world.client("5");
        world.note("The old socket's end is noticed late; the newer binding stands.");
        world.drop_conn(a);
        let backend = world.pusher();
        world.wait_ms(100);
        world.push(backend, "5", "hello");
    });
}

#[test]
fn stale_ids_are_counted() {
    story("stale_ids_are_counted", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.drop_conn(a);
        world.tell(Event::Pusher(backend, PusherEvent::Closed));
        world.note("What the outside still says of them is counted, and nothing else.");
        world.text(a, "5");
        world.tell(Event::Connection(a, ConnEvent::PongReceived(Some(1))));
        world.tell(Event::Connection(a, ConnEvent::Closed(CloseCause::Eof)));
        world.push(backend, "5", "hello");
    });
}

#[test]
fn kick() {
    let config = Config { bind: BindPolicy::Kick, ..Config::default() };
    story("kick", config, |world| {
        let _ = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.note("The older is closed with a code of its own; its message moves first.");
        let b = world.client("5");
        world.note("It comes back within 10 s: two tabs must not fight, so `b` stays as standby.");
        world.wait_ms(1_000);
        let _ = world.client("5");
        world.note("After that, kicking is allowed again, and whoever is older goes.");
        world.pongs = Pongs::Prompt;
        world.wait_ms(5_000);
        world.text(b, "5");
        world.wait_ms(4_000);
        let _ = world.client("5");
    });
}

#[test]
fn policies_by_rule() {
    let rule = |matches, policy| BindRule { matches, policy };
    let config = Config {
        bind_rules: vec![
            rule(BindMatch::Prefix("room".to_owned()), BindPolicy::All),
            rule(BindMatch::Dialect(Dialect::Web), BindPolicy::Kick),
        ],
        ..Config::default()
    };
    story("policies_by_rule", config, |world| {
        let backend = world.pusher();
        for key in ["room-1", "1"] {
            world.note(&format!("Two connections of {key}."));
            let _ = world.client(key);
            let _ = world.client(key);
            world.push(backend, key, "hello");
        }
    });
}
