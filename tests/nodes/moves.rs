//! Clients that change their gateway, or have connections to two.

use super::fleet::{Fleet, SOON, push_of, under_load};
use super::server::RedisServer;
use crate::support::push_client::PushClient;
use crate::support::ws_client::{WsClient, WsEvent};
use crate::support::{poll_until, unique_key};
use redis::Value;

fn start() -> (RedisServer, Fleet) {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let fleet = Fleet::start(&redis.url(), 2, &[]);
    (redis, fleet)
}

fn pushes(key: &str, name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| push_of(key, &format!("{name}{n}"))).collect()
}

/// The pushes that have come, in the order in which they did.
fn got(client: &WsClient) -> Vec<String> {
    client.texts().into_iter().filter(|text| text.contains("\"msg\"")).collect()
}

fn gets(client: &WsClient, lines: &[String]) -> bool {
    poll_until(SOON, || got(client).len() >= lines.len()) && got(client) == lines
}

/// Waits until everything stored is confirmed.
fn is_settled(redis: &RedisServer) -> bool {
    poll_until(SOON, || redis.ask(&["ZCARD", "steadfast:{0}:expiry"]) == Value::Int(0))
}

fn answers(pusher: &PushClient, lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| pusher.push(line).expect("an answer")).collect()
}

#[test]
fn a_push_to_any_gateway_reaches_the_client_on_another() {
    let (redis, fleet) = start();
    let key = unique_key();
    let client = fleet.client(1, &key);
    let (here, there) = (fleet.back_end(1), fleet.back_end(0));
    let lines = pushes(&key, "there", 50);
    assert!(answers(&there, &lines).iter().all(|it| it == "queued"), "{}", fleet.output());
    assert!(gets(&client, &lines), "{:?}\n{}", got(&client), fleet.output());
    let more = pushes(&key, "here", 50);
    // The first may be behind what is still being loaded.
    let is_promised = |it: &String| ["ok", "queued"].contains(&it.as_str());
    assert!(answers(&here, &more).iter().all(is_promised), "{}", fleet.output());
    let mut sent = [lines, more].concat();
    assert!(gets(&client, &sent), "{:?}\n{}", got(&client), fleet.output());
    assert!(is_settled(&redis));
    // A subscription on which nothing was said for a while is as good as before.
    for n in 0..3 {
        under_load(1_200);
        sent.push(push_of(&key, &format!("later{n}")));
        assert_eq!(there.push(&sent[sent.len() - 1]).as_deref(), Some("queued"));
        assert!(gets(&client, &sent), "{:?}\n{}", got(&client), fleet.output());
    }
    assert_eq!(fleet.count_logged(1, "[store failing]"), 0, "{}", fleet.output());
}

#[test]
fn a_client_moves_while_its_old_connection_is_half_open() {
    let (redis, fleet) = start();
    let key = unique_key();
    let old = fleet.client(0, &key);
    let pusher = fleet.back_end(0);
    let confirmed = pushes(&key, "confirmed", 5);
    assert_eq!(answers(&pusher, &confirmed), ["ok"; 5]);
    assert!(gets(&old, &confirmed) && is_settled(&redis), "{}", fleet.output());

    // It vanishes: nothing is read from its socket any more, which stays open.
    old.mute();
    let unread = pushes(&key, "unread", 20);
    assert!(answers(&pusher, &unread).iter().all(|it| it == "ok"), "{}", fleet.output());
    let new = fleet.comer(1, &key);
    assert!(gets(&new, &unread), "{:?}\n{}", got(&new), fleet.output());
    assert!(fleet.logs(0, "[takeover elsewhere]"), "{}", fleet.output());
    let moved = pushes(&key, "moved", 5);
    assert_eq!(answers(&pusher, &moved), ["queued"; 5]);
    assert!(gets(&new, &[unread.clone(), moved].concat()), "{}", fleet.output());
    assert!(is_settled(&redis), "{}", fleet.output());

    // It was not gone after all: it stands by, and what it confirms late does no harm.
    old.unmute();
    assert!(gets(&old, &[confirmed, unread].concat()), "{}", fleet.output());
    assert!(old.fence(SOON), "the old connection is still there: {old:?}");
    drop(new);
    assert!(poll_until(SOON, || pusher.push(&push_of(&key, "back")).as_deref() == Some("ok")));
    assert!(old.wait_text(SOON, |text| text == push_of(&key, "back").as_bytes()));
    assert!(is_settled(&redis), "{}", fleet.output());
}

#[test]
fn two_pages_on_two_gateways_do_not_fight() {
    let (redis, fleet) = start();
    let key = unique_key();
    let first = fleet.client(0, &key);
    let second = fleet.client(1, &key);
    let epoch = || redis.ask(&["GET", "steadfast:{0}:epoch"]);
    assert!(fleet.logs(0, "[takeover elsewhere]"), "{}", fleet.output());
    let before = epoch();
    let pushers = [fleet.back_end(0), fleet.back_end(1)];
    let mut sent = Vec::new();
    // Longer than a lease, after which the first asks whether the key is free.
    for round in 0..30 {
        for (node, pusher) in pushers.iter().enumerate() {
            let line = push_of(&key, &format!("{round} by {node}"));
            let answer = pusher.push(&line);
            assert!(matches!(answer.as_deref(), Some("ok" | "queued")), "{answer:?}");
            sent.push(line);
        }
        for client in [&first, &second] {
            assert!(client.send_text(key.as_bytes()));
        }
        under_load(50);
    }
    assert!(poll_until(SOON, || got(&second).len() == sent.len()), "{}", fleet.output());
    assert_eq!(epoch(), before, "nobody took the key again");
    assert_eq!(fleet.count_logged(0, "[takeover elsewhere]"), 1, "{}", fleet.output());
    assert_eq!(fleet.count_logged(1, "[takeover elsewhere]"), 0, "{}", fleet.output());
    assert_eq!(got(&first), [""; 0]);
    assert!(second.wait_data(31, SOON) && first.wait_data(31, SOON), "heartbeats are answered");
    let is_open = |it: &WsClient| !it.events().iter().any(|(_, event)| closed(event));
    assert!(is_open(&first) && is_open(&second));

    // When the newer one goes, the older one is served again at once.
    assert!(is_settled(&redis), "{}", fleet.output());
    drop(second);
    assert!(fleet.logs(0, "[standby]"), "{}", fleet.output());
    assert!(pushers[0].push(&push_of(&key, "last")).is_some_and(|it| it != "fail"));
    assert!(gets(&first, &[push_of(&key, "last")]), "{}", fleet.output());
    assert!(is_settled(&redis));
}

fn closed(event: &WsEvent) -> bool {
    matches!(event, WsEvent::Closed { .. })
}

#[test]
fn a_dead_gateway_loses_its_keys_when_its_lease_ends() {
    let (redis, mut fleet) = start();
    let key = unique_key();
    let standby = fleet.client(0, &key);
    let served = fleet.client(1, &key);
    assert!(fleet.logs(0, "[takeover elsewhere]"), "{}", fleet.output());
    let pusher = fleet.back_end(0);
    let lines = pushes(&key, "m", 10);
    fleet.nodes[1].kill();
    assert_eq!(answers(&pusher, &lines[..5]), ["queued"; 5], "its lease still holds");
    assert!(gets(&standby, &lines[..5]), "{:?}\n{}", got(&standby), fleet.output());
    assert!(answers(&pusher, &lines[5..]).iter().all(|it| it != "fail"));
    assert!(gets(&standby, &lines) && is_settled(&redis), "{}", fleet.output());
    drop(served);
    // A gateway that is cut off for longer than its lease writes nothing more.
    fleet.restart(1);
    let elsewhere = fleet.client(1, &key);
    fleet.nodes[0].kill();
    let there = fleet.back_end(1);
    assert_eq!(answers(&there, &pushes(&key, "n", 3)), ["ok"; 3]);
    assert!(gets(&elsewhere, &pushes(&key, "n", 3)), "{}", fleet.output());
}

#[test]
fn what_was_not_told_is_made_up_for() {
    let (redis, fleet) = start();
    let key = unique_key();
    let client = fleet.client(1, &key);
    let pusher = fleet.back_end(0);
    let mut sent = Vec::new();
    for round in 0..30 {
        // Whoever subscribes is cut off while pushes come in.
        redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        let line = push_of(&key, &format!("m{round}"));
        assert_eq!(pusher.push(&line).as_deref(), Some("queued"), "{}", fleet.output());
        sent.push(line);
    }
    assert!(gets(&client, &sent), "{:?}\n{}", got(&client), fleet.output());
    assert!(is_settled(&redis), "{}", fleet.output());
}
