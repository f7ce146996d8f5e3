//! When a silent connection is asked, and when it is closed.

use crate::{settled_client, story};
use steadfast_core::config::{Config, WebActivity};
use steadfast_sim::world::Pongs;

#[test]
fn digits_need_messages() {
    story("digits_need_messages", Config::default(), |world| {
        let a = world.client("5");
        world.wait_ms(10_000);
        world.note("The heartbeat of a page: 12 s from here.");
        world.text(a, "5");
        world.wait_ms(6_000);
        world.note("Frames of its browser say nothing of the page, and no ping asks.");
        world.ping(a);
        world.wait_ms(5_900);
        world.note("Nothing but frames for 12 s: its script has died.");
        world.wait_ms(100);
    });
}

#[test]
fn digits_with_frames() {
    let config = Config { web_activity: WebActivity::Frame, ..Config::default() };
    story("digits_with_frames", config, |world| {
        let a = world.client("5");
        world.wait_ms(11_000);
        world.note("Told to count frames, it does.");
        world.ping(a);
        world.wait_ms(5_000);
        world.pongs = Pongs::None;
        world.wait_ms(7_000);
    });
}

#[test]
fn others_are_asked() {
    story("others_are_asked", Config::default(), |world| {
        let a = world.client("text");
        let b = world.connect();
        world.note("Half of 12 s in silence: a ping, bound or not. Its pong is a sign of life.");
        world.wait_ms(6_000);
        world.pongs = Pongs::None;
        world.note("Now they do not answer. The first is heard once more.");
        world.wait_ms(6_000);
        world.ping(a);
        world.note("Nothing at all for 12 s.");
        world.wait_ms(6_000);
        assert!(world.gateway.open_connections() == 1, "{b} is closed");
    });
}

#[test]
fn a_confirming_ping_asks_too() {
    story("a_confirming_ping_asks_too", Config::default(), |world| {
        let a = settled_client(world, "text");
        let backend = world.pusher();
        world.push(backend, "text", "hello");
        world.wait_ms(5_900);
        world.note("Half of 12 s: a ping is outstanding already, so no other is sent.");
        world.wait_ms(3_000);
        world.pong(a);
    });
}

#[test]
fn handshake_overdue() {
    story("handshake_overdue", Config::default(), |world| {
        let _ = world.accept();
        world.wait_ms(10_000);
    });
}
