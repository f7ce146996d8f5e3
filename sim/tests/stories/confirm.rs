//! How a message is confirmed by a pong, or without one.

use crate::{settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::event::{ConnEvent, Event};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Reads, Store};

#[test]
fn one_ping_covers_several() {
    story("one_ping_covers_several", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("No ping went out lately: one rides in the first message's own write.");
        world.push(backend, "5", "one");
        world.note("It is outstanding, so the next two messages get none.");
        world.push(backend, "5", "two");
        world.push(backend, "5", "three");
        world.note("Its pong confirms what was written before it: the first message only.");
        world.pong(a);
        world.note("A timer sends one ping for both others, 50 ms after the last one.");
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn half_a_window_is_pinged() {
    let config = Config { window_messages: 4, ..Config::default() };
    story("half_a_window_is_pinged", config, |world| {
        let _ = world.client("5");
        world.pongs = Pongs::None;
        let backend = world.pusher();
        world.note("The ping of the binding is 0 ms old: this message waits for the timer.");
        world.push(backend, "5", "one");
        world.note("With two of four places taken the ping goes at once.");
        world.push(backend, "5", "two");
    });
}

#[test]
fn pong_deadline_grows_with_bytes() {
    story("pong_deadline_grows_with_bytes", Config::default(), |world| {
        let a = settled_client(world, "key");
        let backend = world.pusher();
        world.note("64 KiB at 32 KiB/s take 2 s, so the pong is due 12 s from now, at 12.1 s.");
        world.push(backend, "key", &"x".repeat(64 << 10));
        world.wait_ms(6_000);
        world.note("Messages keep the client from being idle; they do not replace the pong.");
        world.text(a, "still here");
        world.wait_ms(5_900);
        world.note("It is still open at 12.0 s. Soon after 12.1 s it is closed and a try charged.");
        world.wait_ms(110);
    });
}

#[test]
fn pong_overdue_closes() {
    story("pong_overdue_closes", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.wait_ms(5_000);
        world.text(a, "5");
        world.note("This client has answered a ping before, so 10 s without a pong are the end.");
        world.wait_ms(5_001);
    });
}

#[test]
fn only_the_last_pings_pong_counts() {
    story("only_the_last_pings_pong_counts", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.note("Pongs of the client's own making, of an older ping and of none yet sent.");
        for counter in [None, Some(1), Some(3)] {
            world.tell(Event::Connection(a, ConnEvent::PongReceived(counter)));
        }
        world.note("The right one; and again, which is one too many.");
        for counter in [Some(2), Some(2)] {
            world.tell(Event::Connection(a, ConnEvent::PongReceived(counter)));
        }
    });
}

#[test]
fn never_pongs() {
    story("never_pongs", Config::default(), |world| {
        world.pongs = Pongs::None;
        let a = world.client("5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        for ping in ["first", "second"] {
            world.wait_ms(5_000);
            world.text(a, "5");
            world.note(&format!("The {ping} ping is overdue, but the client reads and talks."));
            world.wait_ms(5_001);
        }
        world.text(a, "5");
        world.note("The third: it does not speak pong. What its socket took is confirmed.");
        world.wait_ms(10_001);
        world.note("From now on no ping is sent; the empty buffer confirms.");
        world.push(backend, "5", "again");
    });
}

#[test]
fn never_pongs_and_is_silent() {
    let config = Config { pong_timeout: Span::from_secs(4), ..Config::default() };
    story("never_pongs_and_is_silent", config, |world| {
        world.pongs = Pongs::None;
        let a = world.client("5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.wait_ms(1_000);
        world.text(a, "5");
        world.wait_ms(3_000);
        world.note("Nothing was heard since the second ping: a dead socket looks like this.");
        world.wait_ms(4_001);
    });
}

#[test]
fn never_pongs_nor_reads() {
    story("never_pongs_nor_reads", Config::default(), |world| {
        world.pongs = Pongs::None;
        world.set_reads(Reads::None);
        let a = world.client("5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.wait_ms(5_000);
        world.text(a, "5");
        world.note("It talks, but its socket has not taken the ping: no excuse for the pong.");
        world.wait_ms(5_000);
    });
}

#[test]
fn never_pongs_and_stops_reading() {
    let config = Config { pong_timeout: Span::from_secs(1), ..Config::default() };
    story("never_pongs_and_stops_reading", config, |world| {
        world.pongs = Pongs::None;
        let a = world.client("5");
        for _ in 0..3 {
            world.wait_ms(500);
            world.text(a, "5");
            world.wait_ms(501);
        }
        let backend = world.pusher();
        world.set_reads(Reads::None);
        world.push(backend, "5", "hello");
        world.wait_ms(500);
        world.text(a, "5");
        world.note(
            "It still talks, but its socket has taken nothing for as long as a pong may take.",
        );
        world.wait_ms(501);
    });
}

#[test]
fn a_pong_and_an_answer_due_at_once() {
    let config = Config { pong_timeout: Span::from_secs(1), ..Config::default() };
    story("a_pong_and_an_answer_due_at_once", config, |world| {
        world.pongs = Pongs::None;
        world.store = Store::Slow;
        let a = world.client("5");
        world.wait_ms(500);
        world.text(a, "5");
        world.note("The first ping is overdue and the answers have waited for a second: both are");
        world.note("served, the ping first, which the living client is forgiven.");
        world.wait_ms(500);
    });
}
