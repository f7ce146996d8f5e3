//! Stories of two gateways that share a Redis.

use crate::story::Story;
use steadfast_core::time::Span;
use steadfast_sim::turmoil::{Host, OpKind, Whim};

const NODES: [Host; 2] = [Host::Gateway(0), Host::Gateway(1)];

/// The gateways have connected to Redis and listen.
const READY: u64 = 2_000;

#[test]
fn push_to_another_node() {
    let mut story = Story::shared("world_shared_push_to_another_node");
    let phone = story.client("phone", "alice");
    story.at(phone, 1);
    story.wait(READY).whim(phone, Whim::Start).wait(1_500);
    story.note(
        "The client is at gateway2. What is pushed to gateway1 is stored, and wakes gateway2.",
    );
    story.push_to(0, &["one", "two"]).wait(1_000);
    story.note("What is pushed to its own gateway is written at once.").push_to(1, &["three"]);
    story.tell(1_000);
}

#[test]
fn client_moves() {
    let mut story = Story::shared("world_shared_client_moves");
    story.config().pong_timeout = Span::from_secs(5);
    let phone = story.client("phone", "alice");
    story.wait(READY).whim(phone, Whim::Start).wait(1_500).push_to(0, &["one"]).wait(1_000);
    story.note("The phone's battery is empty. Gateway1 knows nothing of it.");
    story.whim(phone, Whim::Vanish).wait(500).push_to(0, &["two"]).wait(500);
    story.note("It comes back to gateway2, which takes the key: what gateway1 had written to the");
    story.note("dead socket is delivered here, and in order.");
    story.whim(phone, Whim::Roam(1)).whim(phone, Whim::Start).wait(1_500);
    story.push_to(0, &["three"]).wait(5_000);
    story.note("Gateway1 gives its connection up. The key stays where it is.");
    story.push_to(1, &["four"]);
    story.tell(1_000);
}

#[test]
fn two_tabs_on_two_nodes() {
    let mut story = Story::shared("world_shared_two_tabs");
    let (old, new) = (story.client("old tab", "alice"), story.client("new tab", "alice"));
    story.at(new, 1);
    story.wait(READY).whim(old, Whim::Start).wait(1_500).whim(new, Whim::Start).wait(1_500);
    story.note(
        "The newer tab, on gateway2, has the key. The older one stands by, and does not fight.",
    );
    story.push_to(0, &["one"]).wait(6_000);
    story.note("The newer one closes: gateway1 is told, and its tab serves again.");
    story.whim(new, Whim::Leave).wait(1_000).push_to(1, &["two"]);
    story.tell(1_000);
}

#[test]
fn node_dies() {
    let mut story = Story::shared("world_shared_node_dies");
    let phone = story.client("phone", "alice");
    story.wait(READY).whim(phone, Whim::Start).wait(1_500).push_to(0, &["one"]).wait(500);
    story.note("Gateway1 loses its power. Until its lease is over, it counts as the key's node.");
    story.op(OpKind::Vanish(NODES[0])).wait(500).push_to(1, &["two"]).wait(5_000);
    story.note("The lease is over. The phone comes to gateway2 and gets what waits.");
    story.whim(phone, Whim::Vanish).whim(phone, Whim::Roam(1)).whim(phone, Whim::Start);
    story.wait(1_500).push_to(1, &["three"]);
    story.tell(1_000);
}

#[test]
fn cut_off_from_redis() {
    let mut story = Story::shared("world_shared_cut_off_from_redis");
    story.config().store_timeout = Span::from_secs(1);
    let phone = story.client("phone", "alice");
    story.wait(READY).whim(phone, Whim::Start).wait(1_500);
    story.op(OpKind::Cut(NODES[0], Host::Redis)).wait(500);
    story.note("Gateway1's lease still holds: it writes, and the phone's pong makes it `ok`.");
    story.push_to(0, &["one"]).wait(3_500);
    story.note("Its lease is over: it writes nothing any more, and can promise nothing.");
    story.push_to(0, &["two"]).wait(500);
    story.note("Gateway2 can.").push_to(1, &["three"]).wait(500);
    story.note("Gateway1 reaches Redis again, claims its key again and delivers what waits.");
    story.op(OpKind::Mend(NODES[0], Host::Redis));
    story.tell(4_000);
}

#[test]
fn redis_restarts() {
    let mut story = Story::shared("world_shared_redis_restarts");
    let phone = story.client("phone", "alice");
    story.at(phone, 1);
    story.push_to(0, &["one"]).wait(READY).push_to(0, &["two"]).wait(1_000);
    story.note("Both were answered `queued`. Redis crashes; its append-only file has them.");
    story.op(OpKind::CrashRedis).wait(500).push_to(0, &["three"]).wait(1_000);
    story.op(OpKind::Restart { host: Host::Redis, set_back: Span::ZERO }).wait(4_000);
    story.note("The gateways have connected again by themselves and loaded their scripts.");
    story.push_to(0, &["four"]).wait(500).whim(phone, Whim::Start);
    story.tell(2_000);
}

#[test]
fn wake_is_lost() {
    let mut story = Story::shared("world_shared_wake_is_lost");
    let phone = story.client("phone", "alice");
    story.at(phone, 1);
    story.wait(READY).whim(phone, Whim::Start).wait(1_500);
    story.note("The connection breaks on which gateway2 is told what gateway1 stores for it.");
    story.op(OpKind::ResetNotices).wait(20).push_to(0, &["one"]).wait(2_000);
    story.note(
        "It has subscribed again, and looked after its keys: what it was not told it has found.",
    );
    story.push_to(0, &["two"]);
    story.tell(1_000);
}
