//! What goes wrong with a Redis, and that everything resumes by itself.

use crate::server::{RedisServer, wait_for};
use crate::store::{Store, append, append_to, counters, id, is_stored, load, options, remove};
use bytes::Bytes;
use redis::Value;
use rustix::process::Signal;
use steadfast_core::id::{ConnId, Key};
use steadfast_core::record::DeathReason;
use steadfast_core::store::{Answer, DeviceAnswer, DeviceOp, Notice, Op};
use steadfast_core::time::Time;
use steadfast_shell::store::Backend as _;
use steadfast_shell::store::redis::Options;

const KEPT: Answer = Answer::Device(DeviceAnswer::Kept);

/// Waits until health shows no failure.
fn recovers(store: &Store) {
    wait_for("health to be well", || store.failing().is_none().then_some(()));
}

#[test]
fn a_redis_that_is_down_at_start_fails_operations_until_it_is_up() {
    let mut server = RedisServer::prepare(&["--appendonly", "yes"]);
    let mut store = Store::open(&options(&server));
    assert!(store.redis.incarnation() > i32::MAX as u32, "a number that no Redis gives");
    let expect = format!("Redis at {}/0 cannot be reached: ", server.name());
    let why = store.failure(append(1));
    assert!(why.starts_with(&expect), "{why}");
    assert!(store.failing().is_some_and(|why| why.starts_with(&expect)));
    server.run();
    assert!(is_stored(&store.insist(&append(1))));
    assert_eq!(counters(&store.ask(load("k"))), [1]);
    assert_eq!(store.failing(), None);
    let told = store.told.lines();
    assert!(told[0].starts_with(&format!("failing: {expect}")), "{told:?}");
    assert!(told.iter().any(|line| line.starts_with("works: Redis at ")), "{told:?}");
}

#[test]
fn a_drawn_number_that_another_run_has_stores_nothing() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    // What a test's store draws.
    let number = (7 | 1_u32 << 31).to_string();
    server.ask(&["HSET", "test:{0}:runs", &number, "another"]);
    server.kill();
    let mut store = Store::open(&options(&server));
    assert_eq!(store.redis.incarnation().to_string(), number);
    server.run();
    let why = wait_for("a refusal", || {
        Some(store.failure(append(1))).filter(|why| why.contains("restart this one"))
    });
    assert!(why.contains(&number), "{why}");
    server.ask(&["DEL", "test:{0}:runs"]);
    assert!(is_stored(&store.insist(&append(1))));
    assert_eq!(server.ask(&["HGET", "test:{0}:runs", &number]), Value::BulkString(b"7".to_vec()));
}

#[test]
fn every_run_has_a_number_of_its_own() {
    let server = RedisServer::start();
    let numbers: Vec<_> =
        (0..3).map(|_| Store::open(&options(&server)).redis.incarnation()).collect();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn what_was_answered_survives_a_crash_of_redis() {
    let mut server = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
    let mut store = Store::open(&options(&server));
    assert!(store.ask_all((1..=100).map(append)).iter().all(is_stored));
    server.kill();
    store.failure(append(101));
    assert!(store.failing().is_some());
    server.run();
    assert!(is_stored(&store.insist(&append(102))));
    let mut found = counters(&store.ask(load("k")));
    // The one that failed may or may not have been carried out.
    found.retain(|counter| *counter != 101);
    assert_eq!(found, (1..=100).chain([102]).collect::<Vec<_>>());
    recovers(&store);
}

#[test]
fn a_connection_that_is_cut_in_mid_pipeline_fails_only_what_was_unanswered() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    let payload = Bytes::from(vec![b'x'; 10_000]);
    let first = store.submit((1..=3_000).map(|n| append_to("k", n, payload.clone())));
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    let answers = store.answers(first);
    let stored = (1..).zip(&answers).filter(|(_, answer)| is_stored(answer)).map(|(n, _)| n);
    let stored: Vec<u64> = stored.collect();
    assert!(is_stored(&store.insist(&append(5_000))));
    let found = counters(&store.ask(load("k")));
    assert!(found.is_sorted(), "in order");
    let missing: Vec<_> = stored.iter().filter(|n| !found.contains(n)).collect();
    assert_eq!(missing, [&0_u64; 0], "what was answered is there");
    recovers(&store);
}

/// Another server may have taken the place of the first, and not know what that one had acknowledged.
#[test]
fn a_connection_that_is_made_again_has_all_claims_doubted() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    let mut missed = || {
        let mut notices = Vec::new();
        store.redis.notices(&mut notices);
        notices.contains(&Notice::Missed).then_some(())
    };
    wait_for("the subscription", &mut missed);
    assert_eq!(missed(), None, "told once");
    // Those who subscribe stay connected.
    server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    wait_for("the doubt", &mut missed);
}

#[test]
fn a_redis_that_hangs_fails_what_waits_too_long() {
    let server = RedisServer::start();
    let mut store = Store::impatient(&server);
    assert!(is_stored(&store.ask(append(1))));
    server.signal(Signal::STOP);
    let why = store.failure(append(2));
    assert_eq!(why, format!("Redis at {}/0 did not answer within 0.3 s", server.name()));
    assert!(store.failing().is_some());
    server.signal(Signal::CONT);
    assert!(is_stored(&store.insist(&append(3))));
    recovers(&store);
    let found = counters(&store.ask(load("k")));
    assert!(found == [1, 2, 3] || found == [1, 3], "{found:?}");
}

#[test]
fn nothing_old_comes_after_something_new() {
    let server = RedisServer::start();
    let mut store = Store::impatient(&server);
    assert!(is_stored(&store.ask(append(1))));
    server.signal(Signal::STOP);
    store.failure(append(2));
    server.signal(Signal::CONT);
    // Once a new connection is made, the append on the old one is done or never will be.
    let Answer::Removed { .. } = store.insist(&remove([2])) else { panic!("removed") };
    server.ask(&["PING"]);
    assert_eq!(counters(&store.ask(load("k"))), [1]);
}

#[test]
fn a_sleeping_redis_delays_and_loses_nothing() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    std::thread::scope(|scope| {
        scope.spawn(|| server.ask(&["DEBUG", "SLEEP", "0.5"]));
        assert!(store.ask_all((1..=50).map(append)).iter().all(is_stored));
    });
    assert_eq!(counters(&store.ask(load("k"))).len(), 50);
    assert_eq!(store.failing(), None);
}

#[test]
fn what_waits_for_a_slow_redis_is_bounded() {
    let server = RedisServer::start_with(&["--appendonly", "no"]);
    let mut store = Store::open(&options(&server));
    assert!(is_stored(&store.ask(append(1))));
    server.signal(Signal::STOP);
    let payload = Bytes::from(vec![0; 1 << 20]);
    let first = store.submit((2..=300).map(|n| append_to("k", n, payload.clone())));
    server.signal(Signal::CONT);
    let answers = store.answers(first);
    let refused = Answer::Failed("too much waits for Redis already".to_owned());
    let count = answers.iter().filter(|answer| **answer == refused).count();
    assert!((43..60).contains(&count), "{count} were refused");
    assert_eq!(answers.iter().filter(|answer| is_stored(answer)).count(), 299 - count);
}

#[test]
fn a_full_memory_refuses_appends_and_lets_removals_pass() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    assert!(store.ask_all((1..=3).map(append)).iter().all(is_stored));
    server.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let why = store.failure(append(4));
    assert!(why.contains("OOM") && why.contains("maxmemory"), "{why}");
    assert!(store.failing().is_some_and(|why| why.contains("maxmemory")));
    let Answer::Removed { withdrawn: 0, .. } = store.ask(remove([1])) else { panic!("removed") };
    let bury = Op::Bury {
        key: Key::new("k"),
        ids: vec![id(2)],
        reason: DeathReason::Ttl,
        at: Time::from_micros(3_000),
        epoch: 0,
    };
    assert_eq!(store.ask(bury), Answer::Buried(vec![id(2)]));
    assert_eq!(counters(&store.ask(load("k"))), [3], "and what failed changed nothing");
    assert!(store.failing().is_some(), "until something can be written again");
    server.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    recovers(&store);
    assert!(is_stored(&store.ask(append(5))));
}

#[test]
fn a_wrong_password_is_named_and_tried_again() {
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis://:wrong@");
    server.ask(&["ACL", "SETUSER", "default", ">right"]);
    let mut store = Store::open(&Options { url, ..options(&server) });
    let why = store.failure(append(1));
    let expect = format!("Redis at {}/0 refuses the user or password", server.name());
    assert!(why.starts_with(&expect), "{why}");
    assert!(
        !why.contains("wrong@") && !store.told.lines().concat().contains(":wrong"),
        "no secrets"
    );
}

#[test]
fn a_password_that_becomes_right_is_enough() {
    let server = RedisServer::start();
    let url = server.url().replace("redis://", "redis://someone:secret@");
    let mut store = Store::open(&Options { url, ..options(&server) });
    let why = store.failure(append(1));
    assert!(why.contains("refuses the user or password in the URL"), "{why}");
    server.ask(&["ACL", "SETUSER", "someone", "on", ">secret", "~*", "&*", "+@all"]);
    assert!(is_stored(&store.insist(&append(1))));
    recovers(&store);
}

#[test]
fn a_key_of_a_wrong_type_fails_only_who_needs_it() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    server.ask(&["SET", "test:{0}:waiting:k", "mine"]);
    let why = store.failure(append(1));
    assert_eq!(
        why,
        "in Redis test:{0}:waiting:k is a string and not a zset: something else wrote there; rename \
         or delete it, or choose another redis_prefix"
    );
    let answers = store.ask_all([
        append_to("other", 2, Bytes::new()),
        append(3),
        append_to("other", 4, Bytes::new()),
    ]);
    assert!(is_stored(&answers[0]) && is_stored(&answers[2]));
    assert!(matches!(&answers[1], Answer::Failed(why) if why.contains("waiting:k")));
    assert_eq!(store.failing(), None, "the others are served");
    server.ask(&["DEL", "test:{0}:waiting:k"]);
    assert!(is_stored(&store.ask(append(5))));
    assert_eq!(counters(&store.ask(load("k"))), [5], "what failed changed nothing");
}

#[test]
fn removals_that_share_a_call_fail_alone() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    let is_removed = |answer: &Answer| matches!(answer, Answer::Removed { withdrawn: 0, .. });
    let remove_other = |counter| Op::Remove { key: Key::new("other"), ids: vec![id(counter)] };
    store.ask_all([append_to("other", 1, Bytes::new()), append_to("other", 2, Bytes::new())]);
    server.ask(&["SET", "test:{0}:waiting:k", "mine"]);
    let answers = store.ask_all([remove_other(1), remove([3]), remove_other(2)]);
    assert!(is_removed(&answers[0]) && is_removed(&answers[2]), "{answers:?}");
    assert!(matches!(&answers[1], Answer::Failed(why) if why.contains("waiting:k")));
    server.ask(&["DEL", "test:{0}:waiting:k"]);
    server.ask(&["SET", "test:{0}:dead:k", "mine"]);
    store.ask_all([append_to("other", 4, Bytes::new()), append(5)]);
    // What does not wait may be dead: only who has to look there fails, and what waited is gone.
    let answers = store.ask_all([remove([5, 6]), remove_other(4)]);
    assert!(matches!(&answers[0], Answer::Failed(why) if why.contains("dead:k")), "{answers:?}");
    assert!(is_removed(&answers[1]));
    for set in ["expiry", "keys"] {
        assert_eq!(server.ask(&["ZCARD", &format!("test:{{0}}:{set}")]), Value::Int(0), "{set}");
    }
    assert_eq!(server.ask(&["HLEN", "test:{0}:messages"]), Value::Int(0));
}

#[test]
fn keys_of_a_wrong_type_at_start_are_named() {
    let server = RedisServer::start();
    server.ask(&["SET", "test:{0}:messages", "mine"]);
    let mut store = Store::open(&options(&server));
    let why = store.failure(append(1));
    assert!(why.contains("test:{0}:messages is a string and not a hash"), "{why}");
    server.ask(&["DEL", "test:{0}:messages"]);
    assert!(is_stored(&store.insist(&append(1))));
}

#[test]
fn a_layout_of_another_version_is_left_alone() {
    let server = RedisServer::start();
    server.ask(&["SET", "test:{0}:version", "2"]);
    let mut store = Store::open(&options(&server));
    let why = store.failure(append(1));
    assert!(why.contains("have another layout"), "{why}");
    assert_eq!(server.ask(&["DBSIZE"]), Value::Int(1), "nothing was written");
}

#[test]
fn lost_scripts_are_loaded_again() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    for round in 0..5 {
        server.ask(&["SCRIPT", "FLUSH"]);
        let appends = (1..=20).map(|n| append(round * 20 + n));
        assert!(store.ask_all(appends).iter().all(is_stored));
    }
    assert_eq!(counters(&store.ask(load("k"))), (1..=100).collect::<Vec<_>>(), "in order");
    assert_eq!(store.failing(), None);
}

#[test]
fn a_master_that_becomes_a_replica_is_not_written_to_until_it_is_master_again() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    assert!(is_stored(&store.ask(append(1))));
    // Nobody listens there.
    server.ask(&["REPLICAOF", "127.0.0.1", "1"]);
    let why = store.failure(append(2));
    assert!(why.contains("READONLY"), "{why}");
    let why = wait_for("a look at what it is now", || {
        Some(store.failure(append(3))).filter(|why| why.contains("is a replica"))
    });
    assert!(why.ends_with("pushes need the master at 127.0.0.1:1"), "{why}");
    server.ask(&["REPLICAOF", "NO", "ONE"]);
    assert!(is_stored(&store.insist(&append(4))));
    assert_eq!(counters(&store.ask(load("k"))), [1, 4]);
    recovers(&store);
}

#[test]
fn without_the_replicas_that_are_asked_for_nothing_is_promised() {
    let server = RedisServer::start();
    let asked = Options {
        wait_replicas: 1,
        timeout: std::time::Duration::from_secs(1),
        ..options(&server)
    };
    let mut store = Store::open(&asked);
    let why = store.failure(append(1));
    assert!(why.starts_with("only 0 replicas of Redis at "), "{why}");
    assert_eq!(counters(&store.ask(load("k"))), [1], "it may have happened");
    let replica = RedisServer::start_with(&[]);
    let port = server.name().replace("127.0.0.1:", "");
    replica.ask(&["REPLICAOF", "127.0.0.1", &port]);
    assert!(is_stored(&store.insist(&append(2))));
    wait_for("the replica to have it", || {
        (replica.ask(&["ZCARD", "test:{0}:waiting:k"]) == Value::Int(2)).then_some(())
    });
}

#[test]
fn a_redis_that_may_lose_what_it_has_is_pointed_out() {
    let server = RedisServer::start_with(&["--maxmemory-policy", "allkeys-lru"]);
    let store = Store::open(&options(&server));
    let told = store.told.lines();
    let about = |text: &str| told.iter().any(|line| line.contains(text));
    assert!(about("doubtful: ") && about("maxmemory-policy is allkeys-lru"), "{told:?}");
    assert!(about("appendonly is no"), "{told:?}");
    let server = RedisServer::start();
    assert_eq!(Store::open(&options(&server)).told.lines(), [""; 0], "this one is fine");
}

#[test]
fn devices_are_kept_where_others_look_for_them() {
    let server = RedisServer::start();
    let mut store = Store::open(&options(&server));
    let conn = ConnId { slot: 3, generation: 4 };
    let link = DeviceOp::Link { device: "d-1".into(), conn };
    let log = |entry: &'static str| {
        let (device, entry) = ("d-1".into(), entry.into());
        DeviceOp::Log { device, entry, limit: 1 }
    };
    let elsewhere = ConnId { slot: 3, generation: 5 };
    let unlink = |conn| DeviceOp::Unlink { device: "d-1".into(), conn };
    let ops = [link, unlink(elsewhere), log("{\"a\":1}"), log("{\"b\":2}")].map(Op::Device);
    assert_eq!(store.ask_all(ops), [KEPT, KEPT, KEPT, KEPT]);
    let client = redis::Client::open(format!("{}/15", server.url())).unwrap();
    let mut connection = client.get_connection().unwrap();
    let mut ask = |args: &[&str]| -> Vec<String> {
        let mut command = redis::Cmd::new();
        command.arg(args).query(&mut connection).unwrap()
    };
    assert_eq!(ask(&["HGETALL", "device:links"]), ["d-1", "1/c3.4"]);
    assert_eq!(ask(&["LRANGE", "device:log:list", "0", "-1"]), ["{\"b\":2}", "{\"a\":1}"]);
    assert_eq!(store.ask(Op::Device(unlink(conn))), KEPT);
    assert_eq!(ask(&["HGETALL", "device:links"]), [""; 0]);
}

#[test]
fn devices_may_be_on_another_server_that_is_down() {
    let (server, mut devices) = (RedisServer::start(), RedisServer::prepare(&[]));
    let mut store = Store::open(&Options {
        device_url: Some(format!("{}/0", devices.url())),
        ..options(&server)
    });
    let log = DeviceOp::Log { device: "d".into(), entry: "1".into(), limit: u64::MAX };
    let log = Op::Device(log);
    let why = store.failure(log.clone());
    assert!(why.contains("cannot be reached"), "{why}");
    assert!(is_stored(&store.ask(append(1))), "messages do not depend on it");
    devices.run();
    assert_eq!(store.insist(&log), KEPT);
    assert_eq!(devices.ask(&["LLEN", "device:log:list"]), Value::Int(1));
}

#[test]
fn a_url_that_cannot_be_understood_is_an_error() {
    let server = RedisServer::prepare(&[]);
    let open = |url: &str| {
        let options = Options { url: url.to_owned(), ..options(&server) };
        let journal = || -> Box<dyn steadfast_shell::journal::Journal> {
            Box::new(steadfast_shell::journal::Discard)
        };
        let opened = steadfast_shell::store::redis::Redis::open(&options, journal, || (1, 1));
        opened.err().unwrap_or_default()
    };
    let problem = open("http://example.org");
    assert!(problem.starts_with("redis is no URL of a Redis server ("), "{problem}");
    let problem = open("redis+cluster://example.org/3");
    assert!(problem.starts_with("redis is no URL of a Redis server (a cluster"), "{problem}");
}
