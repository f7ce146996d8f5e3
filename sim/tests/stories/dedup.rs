//! Merging equal pushes, and idempotency.

use crate::{settled_client, story};
use steadfast_core::config::{Config, Dedup};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Store};

#[test]
fn equal_pushes_merge() {
    story("equal_pushes_merge", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "refresh");
        world.push(backend, "5", "refresh");
        world.note("Another key, another message, and then the first once more: no merge.");
        world.push(backend, "6", "refresh");
        world.push(backend, "5", "other");
        world.push(backend, "5", "refresh");
        world.note("Equal to the last one again.");
        world.push(backend, "5", "refresh");
        let _ = world.client("5");
    });
}

#[test]
fn delivered_is_never_merged_with() {
    story("delivered_is_never_merged_with", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("Live: the second is a message of its own, confirmed or not.");
        world.push(backend, "5", "refresh");
        world.push(backend, "5", "refresh");
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
        world.drop_conn(a);
        world.note("Offline, but the store holds nothing any more.");
        world.push(backend, "5", "refresh");
    });
}

#[test]
fn dedup_off() {
    let config = Config { dedup: Dedup::Off, ..Config::default() };
    story("dedup_off", config, |world| {
        let backend = world.pusher();
        world.push(backend, "5", "refresh");
        world.push(backend, "5", "refresh");
    });
}

#[test]
fn dedup_window_ends() {
    let config = Config { dedup_window: Span::from_secs(5), ..Config::default() };
    story("dedup_window_ends", config, |world| {
        let backend = world.pusher();
        world.push(backend, "5", "refresh");
        world.wait_ms(5_000);
        world.push(backend, "5", "refresh");
        world.note("The span is counted from the message that stands for both.");
        world.wait_ms(1);
        world.push(backend, "5", "refresh");
    });
}

#[test]
fn merged_shares_the_fate() {
    story("merged_shares_the_fate", Config::default(), |world| {
        let (one, two) = (world.pusher(), world.pusher());
        world.store = Store::Slow;
        world.push(one, "5", "refresh");
        world.push(two, "5", "refresh");
        world.note("Answered when the first is safe, not before.");
        world.answer();
        world.answer();
        world.note("When nothing can be made safe, both fail.");
        world.store = Store::Failing;
        world.push(one, "5", "again");
        world.push(two, "5", "again");
    });
}

#[test]
fn idempotency() {
    story("idempotency", Config::default(), |world| {
        let backend = world.pusher();
        world.request(backend, "5", "one", "x");
        world.note("The same name and data: the first one's answer, nothing stored.");
        world.request(backend, "5", "one", "x");
        world.note("Other data under the same name is refused.");
        world.request(backend, "5", "two", "x");
        world.note("Another name is another message, although the data are equal.");
        world.request(backend, "5", "one", "y");
        let _ = world.client("5");
        world.note("Delivered and forgotten, the name is still known.");
        world.request(backend, "5", "one", "x");
    });
}

#[test]
fn idempotency_online() {
    story("idempotency_online", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("Written only when the store has said that it is no duplicate.");
        world.request(backend, "5", "one", "x");
        world.pong(a);
        world.request(backend, "5", "one", "x");
        world.request(backend, "5", "two", "x");
    });
}

#[test]
fn idempotency_pending() {
    story("idempotency_pending", Config::default(), |world| {
        let a = settled_client(world, "5");
        let (one, two) = (world.pusher(), world.pusher());
        world.store = Store::Slow;
        world.request(one, "5", "one", "x");
        world.note("The second waits for the first.");
        world.request(two, "5", "one", "x");
        world.push(two, "5", "plain");
        world.note("The first is stored, written and answered; then the second hears the same.");
        world.answer();
        world.set_store(Store::Prompt);
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn confirmed_is_never_merged_with() {
    story("confirmed_is_never_merged_with", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "refresh");
        world.note("Confirmed, but the store does not take the removal yet.");
        world.store = Store::Refusing("remove");
        world.pong(a);
        world.drop_conn(a);
        world.note("The store still holds it. A merge would be removed with it, and lost.");
        world.push(backend, "5", "refresh");
        world.store = Store::Prompt;
        world.wait_ms(200);
        assert_eq!(world.model.counts().waiting, 1, "the second push waits");
    });
}

#[test]
fn idempotency_after_a_timeout() {
    story("idempotency_after_a_timeout", Config::default(), |world| {
        let a = settled_client(world, "key");
        world.pongs = Pongs::Prompt;
        let backend = world.pusher();
        world.store = Store::Slow;
        world.note("Stored, but the store says so too late: `fail`.");
        world.request(backend, "key", "one", "x");
        world.wait_ms(5_000);
        world.set_store(Store::Prompt);
        world.note("The back end tries again. It is told that all is well, so it has to be.");
        world.request(backend, "key", "one", "x");
        world.wait_ms(50);
        assert_eq!(world.model.counts().waiting, 0, "{a} has it");
    });
}

#[test]
fn held_pushes_fill_the_window() {
    let config = Config { window_messages: 1, ..Config::default() };
    story("held_pushes_fill_the_window", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Slow;
        world.request(backend, "5", "one", "x");
        world.note("The one place is taken by a message that waits for the store.");
        world.push(backend, "5", "two");
        world.note("Written first, and only then `ok`.");
        world.set_store(Store::Prompt);
        world.pong(a);
    });
}

#[test]
fn held_pushes_lose_their_reader() {
    story("held_pushes_lose_their_reader", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.store = Store::Slow;
        world.request(backend, "5", "one", "x");
        world.note("It may not overtake, so it is not written either.");
        world.push(backend, "5", "two");
        world.note("Neither was written: no try is charged, and both are `queued`.");
        world.drop_conn(a);
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_duplicate_leaves_no_gap() {
    let config = Config { window_messages: 3, ..Config::default() };
    story("a_duplicate_leaves_no_gap", config, |world| {
        world.pongs = Pongs::Prompt;
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "plain");
        world.store = Store::Slow;
        world.request(backend, "5", "one", "x");
        world.request(backend, "5", "one", "x");
        world.push(backend, "5", "waits");
        world.set_store(Store::Prompt);
        world.note("The duplicate's place is free again, and what waits comes.");
        for _ in 0..3 {
            world.pong(a);
            world.wait_ms(50);
        }
    });
}
