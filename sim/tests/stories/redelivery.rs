//! Failed tries: when they are charged, and when a message is written again.

use crate::{leave, settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::id::Key;
use steadfast_core::store::{Op, Retry};
use steadfast_core::time::Span;
use steadfast_sim::world::Pongs;

#[test]
fn close_charges_a_try() {
    story("close_charges_a_try", Config::default(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.drop_conn(a);
        world.note("The first redelivery is immediate.");
        let b = world.client("5");
        world.drop_conn(b);
        world.note("The next comes 3 s after the last write; the answer waits 1 s at most.");
        let c = world.client("5");
        world.wait_ms(3_000);
        world.note("The next one 6 s after that, and so on in steps of 3 s.");
        world.drop_conn(c);
    });
}

#[test]
fn tries_end_in_a_dead_letter() {
    let config = Config { retry_max: 2, ..Config::default() };
    story("tries_end_in_a_dead_letter", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "hello");
        world.drop_conn(a);
        let b = world.client("5");
        world.note("That was the last try: set aside with its reason, and not lost.");
        world.drop_conn(b);
        let dead: Vec<_> = world.model.dead_letters().map(|it| (it.reason, it.at)).collect();
        assert_eq!(dead.len(), 1, "{dead:?}");
        world.note("The next connection gets nothing.");
        let _ = world.client("5");
    });
}

#[test]
fn unwritten_is_not_charged() {
    let config = Config { window_messages: 1, ..Config::default() };
    story("unwritten_is_not_charged", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("Only the message that was written has failed a try.");
        world.drop_conn(a);
    });
}

#[test]
fn slow_start() {
    story("slow_start", Config::default(), |world| {
        world.note("Eight messages wait whose first try failed.");
        for data in ["1", "2", "3", "4", "5", "6", "7", "8"] {
            let id = leave(world, data);
            let (key, not_before) = (Key::new("5"), world.now);
            let retries = vec![Retry { id, tries: 1, not_before }];
            world.model.apply(Op::Retry { key, retries, epoch: 0 });
        }
        world.pongs = Pongs::None;
        let a = world.client("5");
        world.note("One comes alone. The ping of the binding says nothing of it, the next does.");
        world.pong(a);
        world.wait_ms(50);
        world.note("With its confirm come two; then four; then what is left, and the answer.");
        for _ in 0..3 {
            world.pong(a);
            world.wait_ms(50);
        }
    });
}

#[test]
fn poison_is_charged_alone() {
    let config = Config { retry_max: 2, ..Config::default() };
    story("poison_is_charged_alone", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "poison");
        world.push(backend, "5", "good");
        world.note("Its reader dies of the first message. Both were written, both are charged.");
        world.drop_conn(a);
        let b = world.client("5");
        world.note("From now on the poison is tried, and charged, alone. It dies of its tries.");
        world.drop_conn(b);
        world.note("The good message comes through, its tries not raised.");
        world.pongs = Pongs::Prompt;
        let _ = world.client("5");
    });
}

#[test]
fn not_before_is_clamped() {
    story("not_before_is_clamped", Config::default(), |world| {
        world.note("A run whose clock was an hour ahead left: not before an hour from now.");
        let id = leave(world, "hello");
        let (key, not_before) = (Key::new("5"), world.now + Span::from_secs(3_600));
        world.model.apply(Op::Retry {
            key,
            retries: vec![Retry { id, tries: 1, not_before }],
            epoch: 0,
        });
        let a = world.client("5");
        world.note("It comes after retry_max × retry_interval = 15 s at the latest.");
        world.wait_ms(8_000);
        world.text(a, "5");
        world.wait_ms(7_000);
    });
}
