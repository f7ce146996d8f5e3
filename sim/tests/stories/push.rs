//! What becomes of a push, by the state of its key.

use crate::{settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::event::{Event, PusherEvent};
use steadfast_sim::world::{Pongs, Store};

#[test]
fn push_online() {
    story("push_online", Config::default(), |world| {
        world.pongs = Pongs::None;
        let a = world.client("5");
        world.pong(a);
        let backend = world.pusher();
        world.wait_ms(100);
        world.note("Written at once, with its ping, and stored at the same time.");
        world.push(backend, "5", "hello");
        world.note("The pong proves that the client has the message; the store may forget it.");
        world.pong(a);
    });
}

#[test]
fn push_confirmed_before_it_is_stored() {
    story("push_confirmed_before_it_is_stored", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "hello");
        world.note("The pong is faster than the disk: `ok`, once.");
        world.pong(a);
        world.note("The store does both in order; nothing is answered again.");
        world.set_store(Store::Prompt);
    });
}

#[test]
fn store_fails_then_pong() {
    story("store_fails_then_pong", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Failing;
        world.push(backend, "5", "hello");
        world.store = Store::Prompt;
        world.note("Not stored, but written: the answer waits for the pong, which makes it `ok`.");
        world.pong(a);
    });
}

#[test]
fn store_fails_then_close() {
    story("store_fails_then_close", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Failing;
        world.push(backend, "5", "hello");
        world.store = Store::Prompt;
        world.note("Neither stored nor confirmed: `fail`, and forgotten without a try.");
        world.drop_conn(a);
        let _ = world.client("5");
    });
}

#[test]
fn window_full() {
    let config = Config { window_messages: 2, ..Config::default() };
    story("window_full", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        for data in ["one", "two", "three", "four"] {
            world.push(backend, "5", data);
        }
        world.note("One place is free again: what waits is loaded, and only as much is written.");
        world.pong(a);
        world.note("While anything waits, a new push joins the end.");
        world.push(backend, "5", "five");
        world.wait_ms(50);
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn window_full_of_bytes() {
    let config = Config { window_bytes: 100, ..Config::default() };
    story("window_full_of_bytes", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("One message is always allowed, however long.");
        world.push(backend, "5", &"x".repeat(200));
        world.push(backend, "5", "short");
        world.pong(a);
    });
}

#[test]
fn push_while_behind() {
    story("push_while_behind", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.store = Store::Slow;
        let _ = world.client("5");
        world.note("A connection is live, but the load is not answered: `two` may not overtake.");
        world.push(backend, "5", "two");
        world.set_store(Store::Prompt);
        world.note("Caught up: `three` is written at once.");
        world.push(backend, "5", "three");
    });
}

#[test]
fn push_offline() {
    story("push_offline", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("The client comes: everything in order, and then the binding's answer.");
        let _ = world.client("5");
    });
}

#[test]
fn store_fails_offline() {
    story("store_fails_offline", Config::default(), |world| {
        let backend = world.pusher();
        world.store = Store::Failing;
        world.note("Nothing can make it safe: `fail`.");
        world.push(backend, "5", "one");
    });
}

#[test]
fn near_miss() {
    story("near_miss", Config::default(), |world| {
        let _ = world.client(r#"{"uid":"12","FunctionType":4}"#);
        let backend = world.pusher();
        world.note("The same object with its members in another order is another key.");
        world.line(backend, r#"{"uid":"{\"FunctionType\":4,\"uid\":\"12\"}","Data":1}"#);
        world.note("No live key is equal to this one as JSON.");
        world.line(backend, r#"{"uid":"{\"FunctionType\":4,\"uid\":\"13\"}","Data":1}"#);
    });
}

#[test]
fn refused_pushes() {
    let config = Config { max_key: 4, ..Config::default() };
    story("refused_pushes", config, |world| {
        let backend = world.pusher();
        world.note("Each gets its `fail`; the connection goes on.");
        for line in ["", "[]", r#"{"Data":1}"#, r#"{"uid":1.5}"#, r#"{"uid":" "}"#] {
            world.line(backend, line);
        }
        world.line(backend, r#"{"uid":"12345"}"#);
        world.note("An integer is a key: text without quotes.");
        world.line(backend, r#"{"uid":1234}"#);
        world.note("After a line without end nothing more can be read.");
        world.tell(Event::Pusher(backend, PusherEvent::LineTooLong { bytes: 11 << 20 }));
    });
}
