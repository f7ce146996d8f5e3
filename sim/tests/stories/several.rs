//! `bind = all`: a message goes to every connection that was there.

use crate::story;
use steadfast_core::config::{BindPolicy, Config};
use steadfast_sim::world::Pongs;

fn all() -> Config {
    Config { bind: BindPolicy::All, ..Config::default() }
}

#[test]
fn all_targets() {
    story("all_targets", all(), |world| {
        let a = world.client("5");
        let b = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "one");
        let c = world.client("5");
        world.note("`c` came later: the message is not for it. One confirm of two is not enough.");
        world.pong(a);
        world.note("Both have it: confirmed.");
        world.pong(b);
        world.push(backend, "5", "two");
        world.note("A target that closes leaves the set.");
        world.drop_conn(a);
        world.pong(c);
        world.wait_ms(50);
        world.pong(c);
        world.pong(b);
    });
}

#[test]
fn all_with_one_lagging() {
    let config = Config { window_messages: 1, ..all() };
    story("all_with_one_lagging", config, |world| {
        let a = world.client("5");
        let b = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.pong(b);
        world.note("`a` has a full window and is passed over; `b` is not delayed by it.");
        world.push(backend, "5", "two");
        world.pong(b);
        world.note("`a` gets what it missed, in order, as it confirms.");
        world.pong(a);
        world.pong(a);
    });
}

#[test]
fn all_lag_is_limited() {
    let config = Config { window_messages: 1, ..all() };
    story("all_lag_is_limited", config, |world| {
        let a = world.client("5");
        let b = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.note("The slowest may be four windows behind; memory is bounded.");
        for data in ["one", "two", "three", "four", "five"] {
            world.push(backend, "5", data);
            if data != "five" {
                world.pong(b);
            }
        }
        world.note("It has gone: nobody lags, and `five` is delivered.");
        world.drop_conn(a);
    });
}

#[test]
fn all_gone_unconfirmed() {
    story("all_gone_unconfirmed", all(), |world| {
        let a = world.client("5");
        let b = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "one");
        let _ = world.client("5");
        world.note("One target is left: no try is charged.");
        world.drop_conn(a);
        world.note("None is left, and none has confirmed: a try, and the next redelivery.");
        world.drop_conn(b);
    });
}

#[test]
fn all_gone_with_one_confirm() {
    story("all_gone_with_one_confirm", all(), |world| {
        let a = world.client("5");
        let b = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.note("One of two targets has confirmed and leaves; the other is still awaited.");
        world.pong(a);
        world.drop_conn(a);
        world.note("It leaves without a word: none is pending, one has confirmed. No try.");
        world.drop_conn(b);
    });
}

#[test]
fn all_settles_each_for_itself() {
    story("all_settles_each_for_itself", all(), |world| {
        let a = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "for a");
        let b = world.client("5");
        world.push(backend, "5", "for both");
        world.pong(b);
        world.wait_ms(50);
        world.pong(b);
        world.note("`a` leaves without a pong. `b` was no target of the first message, which has");
        world.note("failed; the second is confirmed, although the first came before it.");
        world.drop_conn(a);
    });
}

#[test]
fn all_skips_a_duplicate() {
    story("all_skips_a_duplicate", all(), |world| {
        let a = world.client("5");
        let backend = world.pusher();
        world.request(backend, "5", "one", "x");
        world.wait_ms(50);
        world.pongs = Pongs::None;
        world.note("A duplicate takes a place in the window and gives it up.");
        world.request(backend, "5", "one", "x");
        world.wait_ms(50);
        world.note("What comes after it is confirmed as ever.");
        world.push(backend, "5", "two");
        world.pong(a);
    });
}

#[test]
fn all_redeliver_within_the_limit() {
    let config = Config { mailbox_limit: 2, window_messages: 2, ..all() };
    story("all_redeliver_within_the_limit", config, |world| {
        let a = world.client("5");
        world.wait_ms(100);
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.push(backend, "5", "old");
        let _ = world.client("5");
        world.push(backend, "5", "new");
        world.note("The old message has failed and is written behind the newer one.");
        world.drop_conn(a);
        world.note("Two may wait besides those two: neither is evicted, though `old` is older.");
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        assert_eq!(world.model.counts().dead, 0, "nothing died");
    });
}
