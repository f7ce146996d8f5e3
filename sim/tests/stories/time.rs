//! Stalls, leaps of the clock, and times left by another run.

use crate::{leave_from, settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::event::Event;
use steadfast_core::time::Span;

#[test]
fn stalls_kill_nobody() {
    story("stalls_kill_nobody", Config::default(), |world| {
        let a = world.client("5");
        let b = world.client("other");
        world.wait_ms(1_000);
        world.note("The process stands still for 20 s, then reads its sockets, then its timers.");
        world.stall(Span::from_secs(20));
        world.text(a, "5");
        world.tell(Event::DeadlineReached);
        world.note("`a` had spoken. `b` had no chance to: its patience begins anew.");
        world.wait_ms(6_000);
        world.note("It answers the ping and lives.");
        world.text(a, "5");
        assert!(world.gateway.open_connections() == 2, "{b} lives");
    });
}

#[test]
fn a_leap_of_the_clock_kills_nobody() {
    story("a_leap_of_the_clock_kills_nobody", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.note("The wall clock leaps an hour ahead: neither idle nor overdue.");
        world.stall(Span::from_secs(3_600));
        world.tell(Event::DeadlineReached);
        world.pong(a);
        world.text(a, "5");
        world.note("12 s later, without a message, it is closed all the same.");
        world.wait_ms(12_000);
    });
}

#[test]
fn expired_at_load() {
    story("expired_at_load", Config::default(), |world| {
        world.note("The last run left a message whose time is over; no sweep has seen it yet.");
        let accepted_at = world.now - Span::from_secs(60);
        leave_from(world, "old", accepted_at, Span::from_secs(60));
        world.note("The load finds it: buried, never written.");
        let _ = world.client("5");
    });
}

#[test]
fn accepted_in_the_future() {
    story("accepted_in_the_future", Config::default(), |world| {
        world.note("The last run's clock was a day ahead: accepted then, with a minute to live.");
        let accepted_at = world.now + Span::from_secs(86_400);
        leave_from(world, "old", accepted_at, Span::from_secs(60));
        world.note("It counts as accepted now, so it is delivered.");
        let _ = world.client("5");
        world.wait_ms(50);
    });
}

#[test]
fn small_delays_are_no_stall() {
    story("small_delays_are_no_stall", Config::default(), |world| {
        let a = world.client("5");
        world.wait_ms(9_000);
        world.note("A second of lateness is nothing: the client is closed as ever.");
        world.wait_ms(2_900);
        world.stall(Span::from_millis(1_000));
        world.tell(Event::DeadlineReached);
        assert!(world.gateway.open_connections() == 0, "{a} is closed");
    });
}
