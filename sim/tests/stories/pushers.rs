//! Back ends: replies in order, back-pressure, and leaving.

use crate::{settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::event::{Event, PusherEvent};
use steadfast_sim::world::{Pongs, Store};

#[test]
fn replies_in_order() {
    story("replies_in_order", Config::default(), |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        world.note("Refused at once, but answered in its turn.");
        world.line(backend, "no json");
        world.push(backend, "6", "two");
        world.answer();
        world.answer();
    });
}

#[test]
fn a_pusher_is_paused() {
    let config = Config { max_unanswered: 2, ..Config::default() };
    story("a_pusher_is_paused", config, |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("What had been read before the pause is carried through.");
        world.push(backend, "5", "three");
        world.note("Read again when half of the limit is free.");
        world.answer();
        world.answer();
        world.answer();
    });
}

#[test]
fn a_pusher_is_paused_by_bytes() {
    let config = Config { max_unanswered_bytes: 100, ..Config::default() };
    story("a_pusher_is_paused_by_bytes", config, |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", &"x".repeat(100));
        world.answer();
    });
}

#[test]
fn a_pusher_half_closes() {
    story("a_pusher_half_closes", Config::default(), |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        world.note("It sends no more, and forgot the newline of its last line.");
        world.finish(backend, 17);
        world.note("Its reply is still written before it is closed.");
        world.answer();
    });
}

#[test]
fn a_pusher_leaves() {
    story("a_pusher_leaves", Config::default(), |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        world.tell(Event::Pusher(backend, PusherEvent::Closed));
        world.note("What it pushed is carried through; its reply goes nowhere.");
        world.set_store(Store::Prompt);
        let _ = world.client("5");
    });
}

#[test]
fn shutdown() {
    story("shutdown", Config::default(), |world| {
        let a = settled_client(world, "5");
        let (one, two) = (world.pusher(), world.pusher());
        world.push(one, "5", "written");
        world.store = Store::Slow;
        world.push(two, "6", "waits for its answer");
        world.note("All are closed with 1001; unconfirmed messages wait without a try.");
        world.tell(Event::ShutdownRequested);
        world.note("A push that comes now is refused, a client too.");
        world.push(two, "5", "late");
        let _ = world.accept();
        world.note("What was read before is answered before its back end is closed.");
        world.pongs = Pongs::Prompt;
        world.set_store(Store::Prompt);
        assert_eq!(world.model.counts().waiting, 2, "{a} confirmed nothing");
    });
}
