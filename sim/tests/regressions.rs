//! What once went wrong, one short world each: it must not go wrong again.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]
#![expect(clippy::wildcard_enum_match_arm, reason = "each test picks out what it is about")]

use bytes::Bytes;
use steadfast_core::command::{Close, Command, Reply};
use steadfast_core::config::{BindPolicy, Config, UrlKey};
use steadfast_core::event::{ConnEvent, Event, Protocol, PusherEvent};
use steadfast_core::id::{ConnId, Key, MessageId, PusherId};
use steadfast_core::record::{ConnRecord, DeliveryRecord, Dialect, PushRecord, Record};
use steadfast_core::store::{Op, Retry};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Reads, Step, Store, World};

/// The orders that the gateway gave.
fn commands(world: &World) -> impl Iterator<Item = &Command> {
    world.history.iter().filter_map(|(_, step)| match step {
        Step::Gave(command) => Some(command),
        Step::Told(_) => None,
    })
}

/// What was written to a connection, as text, without the answers to a web page.
fn sent(world: &World, to: ConnId) -> Vec<String> {
    let sent = commands(world).filter_map(|command| match command {
        Command::Send { conn, payload, .. } if *conn == to => {
            Some(String::from_utf8(payload.to_vec()).unwrap())
        }
        _ => None,
    });
    sent.filter(|text| text != "biubiubiu").collect()
}

fn replies(world: &World) -> Vec<Reply> {
    let replies = commands(world).filter_map(|command| match command {
        Command::Reply { reply, .. } => Some(*reply),
        _ => None,
    });
    replies.collect()
}

fn records(world: &World) -> impl Iterator<Item = &Record> {
    commands(world).filter_map(|command| match command {
        Command::Record(record) => Some(record),
        _ => None,
    })
}

/// The messages whose tries failed.
fn failed_tries(world: &World) -> Vec<MessageId> {
    let failed = records(world).filter_map(|record| match record {
        Record::Delivery(_, DeliveryRecord::TryFailed { id, .. }) => Some(*id),
        _ => None,
    });
    failed.collect()
}

fn message(counter: u64) -> MessageId {
    MessageId { incarnation: 1, counter }
}

/// A connection whose URL names this key.
fn connect_to(world: &mut World, slot: u32, target: &str) -> ConnId {
    let id = ConnId { slot, generation: 0 };
    world.tell(Event::Connection(id, ConnEvent::Accepted));
    world.tell(Event::Connection(
        id,
        ConnEvent::Upgraded { target: target.into(), protocol: Protocol::Legacy },
    ));
    id
}

#[test]
fn a_key_in_the_url_is_judged_like_a_first_message() {
    let config = Config { url_key: UrlKey::Path, max_key: 10, ..Config::default() };
    let mut world = World::new(config);
    for (slot, (target, expect)) in (0..).zip([
        ("/ws/5", Ok(Dialect::Web)),
        ("/ws/desk", Ok(Dialect::Other)),
        ("/ws/%7B%22uid%22%3A1%7D", Ok(Dialect::Office)),
        ("/ws/12345678901", Err(Close::KeyTooLong)),
        ("/ws/device%3AA", Err(Close::KeyReserved)),
    ]) {
        let id = connect_to(&mut world, slot, target);
        let outcome = records(&world).find_map(|record| match record {
            Record::Connection(conn, ConnRecord::Bound { dialect, .. }) if *conn == id => {
                Some(Ok(*dialect))
            }
            Record::Connection(conn, ConnRecord::BindRefused { close, .. }) if *conn == id => {
                Some(Err(*close))
            }
            _ => None,
        });
        assert_eq!(outcome, Some(expect), "{target}");
    }
}

/// A device that does not speak pong.
fn mute_device(world: &mut World, first: &str) -> ConnId {
    world.pongs = Pongs::None;
    let device = world.client(first);
    for _ in 0..10 {
        world.wait_ms(5_000);
        world.text(device, first);
    }
    let mute = |record: &Record| {
        matches!(record, Record::Connection(_, ConnRecord::PongUnsupported { .. }))
    };
    assert!(records(world).any(mute), "the device is known not to speak pong");
    world.pongs = Pongs::Prompt;
    world.set_reads(Reads::None);
    device
}

#[test]
fn what_a_device_took_under_its_old_id_confirms_nothing_under_its_new_one() {
    let mut world = World::new(Config::default());
    let device = mute_device(&mut world, r#"{"deviceId":"A"}"#);
    let backend = world.pusher();
    world.push(backend, "device:A", "old");
    world.push(backend, "device:A", "old too");
    world.text(device, r#"{"deviceId":"B"}"#);
    world.push(backend, "device:B", "new");
    let confirmed = |world: &World| {
        let is = |record: &Record| {
            matches!(record, Record::Delivery(key, DeliveryRecord::Confirmed { .. })
                if &**key == "device:B")
        };
        records(world).any(is)
    };
    world.tell(Event::Connection(device, ConnEvent::Drained));
    assert!(!confirmed(&world), "the socket has taken what was written before");
    world.tell(Event::Connection(device, ConnEvent::Drained));
    assert!(confirmed(&world), "the socket has taken the message");
}

#[test]
fn a_device_that_changes_its_id_gets_every_answer() {
    let mut world = World::new(Config::default());
    world.store = Store::Slow;
    let device = world.client(r#"{"deviceId":"A"}"#);
    world.text(device, r#"{"deviceId":"B"}"#);
    world.set_store(Store::Prompt);
    world.wait_ms(2_000);
    assert_eq!(sent(&world, device), ["server receive a message!"; 2]);
}

#[test]
fn a_message_that_was_never_written_is_charged_no_try_and_not_answered_ok() {
    let mut world = World::new(Config { retry_max: 1, ..Config::default() });
    let client = world.client("5");
    let backend = world.pusher();
    world.store = Store::Slow;
    world.request(backend, "5", "named", "name");
    world.push(backend, "5", "behind it");
    assert_eq!(sent(&world, client), Vec::<String>::new());
    world.drop_conn(client);
    world.set_store(Store::Prompt);
    assert_eq!(failed_tries(&world), []);
    assert_eq!(replies(&world), [Reply::Queued(message(1)), Reply::Queued(message(2))]);
    assert_eq!(world.model.waiting(&Key::new("5")).count(), 2);
}

#[test]
fn duplicates_do_not_fill_the_window() {
    let mut world = World::new(Config { window_messages: 2, ..Config::default() });
    let client = world.client("5");
    let backend = world.pusher();
    world.request(backend, "5", "named", "name");
    world.wait_ms(200);
    world.pongs = Pongs::None;
    world.push(backend, "5", "first");
    world.store = Store::Slow;
    world.request(backend, "5", "named", "name");
    world.request(backend, "5", "named", "name");
    world.set_store(Store::Prompt);
    world.pongs = Pongs::Prompt;
    world.pong(client);
    world.push(backend, "5", "second");
    world.wait_ms(1_000);
    let sent = sent(&world, client);
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent[2].contains("second"), "{sent:?}");
}

/// The first try of a name had an unclear end: the store has the message, its back end was told
/// `fail`. What makes the second try `ok` is that it is delivered.
#[test]
fn a_duplicate_of_a_message_that_nobody_knew_to_be_stored_has_it_delivered() {
    let mut world = World::new(Config::default());
    let client = world.client("5");
    let backend = world.pusher();
    world.store = Store::Slow;
    world.request(backend, "5", "named", "name");
    world.wait_ms(6_000);
    world.set_store(Store::Prompt);
    world.request(backend, "5", "named", "name");
    assert_eq!(sent(&world, client), ["named"]);
}

#[test]
fn with_several_receivers_a_confirmed_message_is_not_failed_by_an_older_one() {
    let mut world = World::new(Config { bind: BindPolicy::All, ..Config::default() });
    world.pongs = Pongs::None;
    let backend = world.pusher();
    let a = world.client("5");
    world.pong(a);
    world.wait_ms(100);
    world.push(backend, "5", "for a");
    let b = world.client("5");
    world.pong(b);
    world.wait_ms(100);
    world.push(backend, "5", "for both");
    world.pong(b);
    world.drop_conn(a);
    assert_eq!(failed_tries(&world), [message(1)]);
}

#[test]
fn a_load_under_way_does_not_forget_the_tries_that_failed_meanwhile() {
    let mut world = World::new(Config { window_messages: 6, ..Config::default() });
    world.pongs = Pongs::None;
    let backend = world.pusher();
    let first = world.client("5");
    world.pong(first);
    for number in 1..=7 {
        world.push(backend, "5", &format!("message {number}"));
    }
    world.store = Store::Slow;
    world.pong(first);
    world.drop_conn(first);
    let second = world.client("5");
    world.set_store(Store::Prompt);
    assert_eq!(sent(&world, second).len(), 1, "what failed before is written alone");
    world.drop_conn(second);
    let key = Key::new("5");
    let tries: Vec<_> = world.model.waiting(&key).map(|message| message.tries).collect();
    assert_eq!(tries, [2, 1, 1, 0]);
}

#[test]
fn a_store_that_cannot_write_is_not_flooded_with_burials() {
    let config = Config { window_messages: 1, ttl: Span::from_secs(20), ..Config::default() };
    let mut world = World::new(config);
    let backend = world.pusher();
    for number in 0..5 {
        world.push(backend, "5", &format!("message {number}"));
    }
    world.wait_ms(19_500);
    world.set_store(Store::ReadOnly);
    world.wait_ms(60_000);
    let client = world.client("5");
    for _ in 0..6 {
        world.wait_ms(10_000);
        world.text(client, "5");
    }
    let burials = commands(&world)
        .filter(|command| matches!(command, Command::Store { request: Op::Bury { .. }, .. }));
    assert!(burials.count() < 40);
    world.set_store(Store::Prompt);
    world.wait_ms(10_000);
    assert_eq!(world.model.counts().dead, 5);
}

#[test]
fn a_push_is_not_merged_with_a_message_that_is_being_removed() {
    let mut world = World::new(Config::default());
    world.pongs = Pongs::None;
    let backend = world.pusher();
    let first = world.client("5");
    world.pong(first);
    world.wait_ms(100);
    world.push(backend, "5", "hello");
    world.set_store(Store::ReadOnly);
    world.pong(first);
    world.drop_conn(first);
    world.set_store(Store::Prompt);
    world.push(backend, "5", "hello");
    world.wait_ms(10_000);
    let second = world.client("5");
    assert_eq!(sent(&world, second).len(), 1, "the second push was promised too");
}

#[test]
fn dead_letters_stay_near_their_limit() {
    let mut world = World::new(Config { dead_limit: 10, mailbox_limit: 5, ..Config::default() });
    let backend = world.pusher();
    let mut most = 0;
    for number in 0..4_000 {
        let line = Bytes::from(format!(r#"{{"uid":"5","n":{number}}}"#));
        let mut events = vec![Event::Pusher(backend, PusherEvent::LineReceived(line))];
        while let Some(event) = events.pop() {
            let mut commands = Vec::new();
            world.gateway.handle(world.now, event, &mut commands);
            for command in commands {
                if let Command::Store { op, request } = command {
                    events.push(Event::Answered(op, world.model.apply(request)));
                }
            }
        }
        most = most.max(world.model.counts().dead);
    }
    assert!(most <= 1_010, "{most}");
    world.wait_ms(61_000);
    assert_eq!(world.model.counts().dead, 10);
}

#[test]
fn a_long_purge_goes_on_until_it_is_done() {
    let config = Config { dead_keep: Span::from_secs(90), mailbox_limit: 5, ..Config::default() };
    let mut world = World::new(config);
    let backend = world.pusher();
    for number in 0..3_005 {
        let line = Bytes::from(format!(r#"{{"uid":"5","n":{number}}}"#));
        let mut commands = Vec::new();
        let event = Event::Pusher(backend, PusherEvent::LineReceived(line));
        world.gateway.handle(world.now, event, &mut commands);
        for command in commands {
            if let Command::Store { op, request } = command {
                let answer = Event::Answered(op, world.model.apply(request));
                world.gateway.handle(world.now, answer, &mut Vec::new());
            }
        }
    }
    assert_eq!(world.model.counts().dead, 3_000);
    world.wait_ms(121_000);
    assert_eq!(world.model.counts().dead, 0);
}

#[test]
fn a_back_end_is_finished_once() {
    let mut world = World::new(Config::default());
    let id = PusherId { slot: 7, generation: 0 };
    let mut commands = Vec::new();
    for event in [
        Event::Pusher(id, PusherEvent::Opened),
        Event::Pusher(id, PusherEvent::LineTooLong { bytes: 100 }),
        Event::Pusher(id, PusherEvent::Finished { unfinished: 0 }),
        Event::ShutdownRequested,
        Event::ShutdownRequested,
    ] {
        world.gateway.handle(world.now, event, &mut commands);
    }
    let finishes = commands.iter().filter(|command| matches!(command, Command::Finish { .. }));
    assert_eq!(finishes.count(), 1);
    let unfinished = commands.iter().any(|command| {
        matches!(command, Command::Record(Record::Push(_, PushRecord::Unfinished { .. })))
    });
    assert!(!unfinished, "a line that is too long is not one that forgot its end");
}

#[test]
fn a_clock_that_went_back_does_not_put_a_message_off_again_and_again() {
    let config = Config { retry_max: 2, retry_interval: Span::from_secs(1), ..Config::default() };
    let mut world = World::new(config);
    let pusher = world.pusher();
    world.push(pusher, "5", "x");
    // An earlier run, whose clock was an hour ahead, charged a try.
    let not_before = world.now + Span::from_secs(3_600);
    let retry = Retry { id: message(1), tries: 1, not_before };
    world.model.apply(Op::Retry { key: Key::new("5"), retries: vec![retry], epoch: 0 });
    let client = world.client("5");
    world.wait_ms(1_900);
    assert_eq!(sent(&world, client).len(), 0, "its next try is not due");
    world.wait_ms(200);
    assert_eq!(sent(&world, client).len(), 1, "all tries could be over");
}
