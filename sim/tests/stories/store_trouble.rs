//! A store that fails, hangs or answers late.

use crate::{leave_from, settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Store};

#[test]
fn operations_time_out() {
    story("operations_time_out", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "6", "offline");
        world.push(backend, "5", "online");
        world.wait_ms(4_999);
        world.text(a, "5");
        world.note("5 s without an answer count as a failure.");
        world.wait_ms(1);
        world.note("Both turn out to be stored after all: too late, and counted.");
        world.set_store(Store::Prompt);
        world.note("The pong makes the written one `ok`; the other may still arrive.");
        world.pong(a);
        let _ = world.client("6");
    });
}

#[test]
fn a_failed_load_is_repeated() {
    story("a_failed_load_is_repeated", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.store = Store::Failing;
        let _ = world.client("5");
        world.note("After about 100, 200, 400 ms; the binding's answer does not wait so long.");
        world.wait_ms(1_000);
        world.store = Store::Prompt;
        world.wait_ms(1_000);
    });
}

#[test]
fn a_removal_is_repeated() {
    story("a_removal_is_repeated", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.store = Store::Refusing("remove");
        world.pong(a);
        world.note("It closes and comes back: the load brings a message that is confirmed.");
        world.drop_conn(a);
        let _ = world.client("5");
        world.note("It is not written again. The removal is repeated until it is answered.");
        world.store = Store::Prompt;
        world.wait_ms(200);
    });
}

#[test]
fn too_many_removals_stop_writing() {
    let config = Config { max_removing: 2, ..Config::default() };
    story("too_many_removals_stop_writing", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Refusing("remove");
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
        world.note("Two confirmed messages await their removal: the key is written no further.");
        world.push(backend, "5", "three");
        world.note("The removals come through: what waited is written.");
        world.store = Store::Prompt;
        world.wait_ms(150);
    });
}

#[test]
fn stored_after_the_load() {
    story("stored_after_the_load", Config::default(), |world| {
        let backend = world.pusher();
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        let _ = world.client("5");
        world.push(backend, "5", "two");
        world.note("`one` is answered after the load was given: perhaps it missed it, so the key");
        world.note("is behind, and another load follows. What the first one brings is written.");
        world.answer();
        world.answer();
        world.answer();
        world.note("The second load brings both; what is in the window is left out.");
        world.answer();
        world.set_store(Store::Prompt);
    });
}

#[test]
fn failed_tries_are_noted_in_the_end() {
    story("failed_tries_are_noted_in_the_end", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.store = Store::Refusing("retry");
        world.drop_conn(a);
        world.store = Store::Prompt;
        world.note("Nobody is there any more, but the try must be charged.");
        world.wait_ms(200);
    });
}

#[test]
fn failed_tries_are_gathered_while_the_store_fails() {
    let name = "failed_tries_are_gathered_while_the_store_fails";
    story(name, Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.store = Store::Refusing("retry");
        world.drop_conn(a);
        world.pongs = Pongs::None;
        world
            .note("The store still reads: the client gets the message again, and fails again. The");
        world.note("failed tries wait in one operation, not in one for each.");
        let b = world.client("5");
        world.push(backend, "5", "two");
        world.drop_conn(b);
        world.store = Store::Prompt;
        world.wait_ms(200);
    });
}

#[test]
fn a_burial_is_repeated() {
    let config = Config { window_messages: 1, ..Config::default() };
    story("a_burial_is_repeated", config, |world| {
        let minute = Span::from_secs(60);
        leave_from(world, "expired", world.now - minute, minute);
        leave_from(world, "expired too", world.now - minute, minute);
        leave_from(world, "fresh", world.now, minute);
        world.store = Store::Refusing("bury");
        world.note("Loads look past what is on its way out, and name it once.");
        let _ = world.client("5");
        world.store = Store::Prompt;
        world.wait_ms(150);
    });
}

#[test]
fn merging_waits_for_a_burial() {
    let config = Config { retry_max: 1, ..Config::default() };
    story("merging_waits_for_a_burial", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "refresh");
        world.store = Store::Refusing("bury");
        world.drop_conn(a);
        world.note("The message has had its last try: what merged with it would die with it.");
        world.push(backend, "5", "refresh");
        world.store = Store::Prompt;
        world.wait_ms(200);
    });
}
