//! What devices log, from the upload to the file: the daemon, Redis or its own store, and
//! `steadfast device-logs`.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests")]

#[path = "../shell/tests/redis_store/server.rs"]
mod server;
mod support;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use redis::{Connection, FromRedisValue};
use rustix::process::Signal;
use serde_json::{Value, json};
use server::{PATIENCE, RedisServer};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::daemon::{Daemon, Process, Source, exit_code};
use support::ws_client::{Open, WsClient};
use support::{pause, poll_until};
use tempfile::TempDir;

const LOG: &str = "device:log:list";
const PROCESSING: &str = "device:log:processing:main";
const REJECTED: &str = "device:log:rejected";

/// Redis as a consumer sees it, and a directory for the files.
struct World {
    redis: RedisServer,
    files: TempDir,
}

impl World {
    fn start() -> Self {
        let redis = RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"]);
        Self { redis, files: tempfile::tempdir().unwrap() }
    }

    fn connect(&self) -> Connection {
        let client = redis::Client::open(format!("{}/15", self.redis.url())).unwrap();
        client.get_connection_with_timeout(PATIENCE).unwrap()
    }

    fn ask<T: FromRedisValue>(&self, args: &[&str]) -> T {
        let mut command = redis::Cmd::new();
        command.arg(args).query(&mut self.connect()).unwrap()
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.ask(&["LRANGE", name, "0", "-1"])
    }

    fn is_drained(&self) -> bool {
        self.list(LOG).is_empty() && self.list(PROCESSING).is_empty()
    }

    fn consumer(&self, flags: &[&str]) -> Process {
        let (url, directory) = (self.redis.url(), self.files.path().to_str().unwrap());
        let always = ["device-logs", "--redis", &url, "--dir", directory];
        Process::spawn(&[&always, flags].concat())
    }

    fn lines(&self) -> Vec<String> {
        lines(self.files.path())
    }
}

/// All lines of all files in a directory.
fn lines(directory: &Path) -> Vec<String> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
    files.sort();
    let texts = files.iter().map(|path| {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("device-20") && name.ends_with(".log"), "{name}");
        std::fs::read_to_string(path).unwrap()
    });
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

/// How often each line is there.
fn counts(lines: Vec<String>) -> BTreeMap<String, usize> {
    lines.into_iter().fold(BTreeMap::new(), |mut counts, line| {
        *counts.entry(line).or_default() += 1;
        counts
    })
}

/// Ends a consumer as an operator does.
fn stop(mut consumer: Process) {
    consumer.signal(Signal::TERM);
    let status = consumer.wait(PATIENCE).expect("it ends");
    assert_eq!(exit_code(status), 0, "{}", consumer.output());
}

/// What a consumer says when it fails, which is one line behind what it logged.
fn failure(mut consumer: Process) -> String {
    let status = consumer.wait(PATIENCE).expect("it ends");
    assert_eq!(exit_code(status), 1, "{}", consumer.output());
    let last = consumer.lines(Source::Stderr).pop().expect("it says why");
    assert!(last.starts_with("error: "), "{}", consumer.output());
    last
}

fn says(process: &Process, words: &str) -> bool {
    let lines = || process.lines(Source::Stderr);
    poll_until(PATIENCE, || lines().iter().any(|line| line.contains(words)))
}

fn device(daemon: &Daemon, id: &str) -> WsClient {
    let client = WsClient::open(daemon.ws, &Open::default()).unwrap();
    client.send_text(json!({"deviceId": id, "type": 1}).to_string().as_bytes());
    assert!(client.wait_data(1, PATIENCE), "{}", daemon.output());
    client
}

fn upload(client: &WsClient, id: &str, data: &Value) {
    client.send_text(json!({"deviceId": id, "type": 4, "data": data}).to_string().as_bytes());
}

fn responses(client: &WsClient) -> usize {
    client.texts().iter().filter(|text| *text == "log_upload_response").count()
}

fn is_answered(client: &WsClient, count: usize) -> bool {
    poll_until(PATIENCE, || responses(client) >= count)
}

#[test]
fn a_log_gets_from_the_device_over_redis_to_the_file() {
    let world = World::start();
    let daemon = Daemon::start(&["--redis", &world.redis.url()]);
    let client = device(&daemon, "A-1");
    // It is noted beside the answer to its first message, not before it.
    let linked = || world.ask::<BTreeMap<String, String>>(&["HGETALL", "device:links"]);
    assert!(poll_until(PATIENCE, || linked().keys().eq(["A-1"])), "{}", daemon.output());
    for n in 1..=20 {
        upload(&client, "A-1", &json!({"日志": n}));
        assert!(is_answered(&client, n), "{}", daemon.output());
        // What is answered is there.
        assert_eq!(world.list(LOG).len(), n);
    }
    assert_eq!(world.list(LOG)[19], r#"{"日志":1}"#, "the newest entry is the first");
    let consumer = world.consumer(&[]);
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    let expect: Vec<_> = (1..=20).map(|n| format!(r#"{{"日志":{n}}}"#)).collect();
    assert_eq!(world.lines(), expect);
    // And what comes while it runs.
    upload(&client, "A-1", &json!("later"));
    assert!(poll_until(PATIENCE, || world.lines().len() == 21), "{}", consumer.output());
    stop(consumer);
    assert_eq!(world.lines()[20], r#""later""#);
    drop(client);
    let is_unlinked = || linked().is_empty();
    assert!(poll_until(PATIENCE, is_unlinked), "a device that is gone is linked to nothing");
}

#[test]
fn what_is_not_in_redis_is_not_answered() {
    let mut world = World::start();
    let daemon = Daemon::start(&["--redis", &world.redis.url(), "--store-timeout", "1s"]);
    let client = device(&daemon, "A-1");
    upload(&client, "A-1", &json!(1));
    assert!(is_answered(&client, 1), "{}", daemon.output());
    world.redis.kill();
    upload(&client, "A-1", &json!(2));
    let told = || daemon.lines(Source::Stdout).iter().any(|it| it.contains("[device log fail]"));
    assert!(poll_until(PATIENCE, told), "{}", daemon.output());
    assert_eq!(responses(&client), 1);
    world.redis.run();
    // It uploads until it is told that it has succeeded.
    let again = || {
        upload(&client, "A-1", &json!(3));
        poll_until(Duration::from_millis(200), || responses(&client) > 1)
    };
    assert!(poll_until(PATIENCE, again), "{}", daemon.output());
    assert!(counts(world.list(LOG)).contains_key("3"));
}

#[test]
fn a_consumer_killed_at_any_moment_loses_nothing() {
    let world = World::start();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = std::env::var("DEVICES_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or(since_epoch.as_micros() as u64);
    println!("replay: DEVICES_SEED={seed} cargo test --test devices killed_at_any_moment");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut connection = world.connect();
    let (mut pushed, mut again) = (0, BTreeMap::<String, usize>::new());
    let (mut kills, mut caught) = (0, 0);
    while kills < 8 || (caught < 3 && kills < 60) {
        let mut pipe = redis::pipe();
        for _ in 0..300 {
            pushed += 1;
            pipe.cmd("LPUSH").arg(LOG).arg(format!("{{\"n\":{pushed}}}")).ignore();
        }
        pipe.query::<()>(&mut connection).unwrap();
        let mut consumer = world.consumer(&[]);
        assert!(says(&consumer, "[device logs ready]"), "{}", consumer.output());
        pause(Duration::from_micros(rng.random_range(0..40_000)));
        consumer.signal(Signal::KILL);
        consumer.wait(PATIENCE).expect("nothing survives this signal");
        kills += 1;
        // What is written and was not removed may be written again.
        let (under_way, written) = (world.list(PROCESSING), counts(world.lines()));
        caught += usize::from(!under_way.is_empty());
        for entry in under_way.iter().filter(|entry| written.contains_key(*entry)) {
            *again.entry(entry.clone()).or_default() += 1;
        }
        let waiting = counts([world.list(LOG), under_way].concat());
        for entry in (1..=pushed).map(|n| format!("{{\"n\":{n}}}")) {
            let is_somewhere = waiting.contains_key(&entry) || written.contains_key(&entry);
            assert!(is_somewhere, "{entry} is lost after kill {kills}");
        }
    }
    assert!(caught >= 3, "{kills} kills hit a consumer with entries under way {caught} times");
    let consumer = world.consumer(&[]);
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    stop(consumer);
    let written = counts(world.lines());
    assert_eq!(written.len(), pushed, "there is nothing but what was pushed");
    for (entry, count) in written {
        let allowed = 1 + again.get(&entry).copied().unwrap_or(0);
        assert!(count <= allowed, "{entry} is there {count} times and was under way {allowed} - 1");
    }
}

#[test]
fn other_consumers_keep_working_beside_it() {
    let world = World::start();
    let entries: Vec<_> = (0..2_000).map(|n| format!("[{n}]")).collect();
    let consumer = world.consumer(&[]);
    assert!(says(&consumer, "[device logs ready]"), "{}", consumer.output());
    let (mut producer, mut foreign) = (world.connect(), world.connect());
    let popped = std::thread::scope(|scope| {
        let pops = scope.spawn(|| {
            let mut popped = Vec::new();
            let mut pop = || -> Option<(String, String)> {
                redis::cmd("BRPOP").arg(LOG).arg(1).query(&mut foreign).unwrap()
            };
            while let Some((_, entry)) = pop() {
                popped.push(entry);
            }
            popped
        });
        for part in entries.chunks(50) {
            let mut pipe = redis::pipe();
            for entry in part {
                pipe.cmd("LPUSH").arg(LOG).arg(entry).ignore();
            }
            pipe.query::<()>(&mut producer).unwrap();
        }
        pops.join().unwrap()
    });
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    stop(consumer);
    assert_eq!(sorted([world.lines(), popped].concat()), sorted(entries), "each once");
}

#[test]
fn what_is_no_json_is_set_aside() {
    let world = World::start();
    for entry in ["{\"a\":\n [1]}", "plain", "{\"cut", "\"ok\""] {
        let _: i64 = world.ask(&["LPUSH", LOG, entry]);
    }
    let consumer = world.consumer(&[]);
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    assert!(says(&consumer, "[device logs reject] content=\"plain\" bytes=5"));
    stop(consumer);
    assert_eq!(world.lines(), ["{\"a\":  [1]}", "\"ok\""], "a line each");
    assert_eq!(world.list(REJECTED), ["{\"cut", "plain"]);
}

#[test]
fn a_redis_that_restarts_or_is_full_is_drained_all_the_same() {
    let mut world = World::start();
    let consumer = world.consumer(&[]);
    let push = |world: &World, entry: &str| {
        let _: i64 = world.ask(&["LPUSH", LOG, entry]);
    };
    push(&world, "1");
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    world.redis.kill();
    assert!(says(&consumer, "[device logs failing]"), "{}", consumer.output());
    world.redis.run();
    push(&world, "2");
    assert!(poll_until(PATIENCE, || world.lines().len() == 2), "{}", consumer.output());
    assert!(says(&consumer, "[device logs works]"), "{}", consumer.output());
    stop(consumer);
    // Out of memory it moves nothing any more.
    push(&world, "3");
    push(&world, "4");
    let _: String = world.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    let consumer = world.consumer(&[]);
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    stop(consumer);
    assert_eq!(world.lines(), ["1", "2", "3", "4"]);
}

#[test]
fn the_end_of_its_time_and_failures_have_codes_of_their_own() {
    let world = World::start();
    let mut timely = world.consumer(&["--max-runtime", "1s"]);
    let status = timely.wait(PATIENCE).expect("it ends by itself");
    assert_eq!(exit_code(status), 3, "{}", timely.output());
    assert!(says(&timely, "[device logs end] entries=0 rejected=0 reason=\"the time is up\""));

    let beside = world.consumer(&[]);
    assert!(says(&beside, "[device logs ready]"), "{}", beside.output());
    let told = failure(world.consumer(&[]));
    assert!(told.contains("another steadfast device-logs writes to the directory"), "{told}");
    // It has a name in Redis once it is connected.
    let named = || world.ask::<String>(&["CLIENT", "LIST"]).contains("device-logs:main");
    assert!(poll_until(PATIENCE, named), "{}", beside.output());
    let other = tempfile::tempdir().unwrap();
    let at = other.path().to_str().unwrap();
    let url = world.redis.url();
    let run = |flags: &[&str]| failure(Process::spawn(&[&["device-logs"], flags].concat()));
    let told = run(&["--redis", &url, "--dir", at]);
    assert!(told.contains("another consumer of the name main (--name)"), "{told}");
    stop(beside);

    let told = run(&["--redis", "localhost:6379", "--dir", at]);
    assert!(told.contains("the URL in --redis is not that of a Redis server"), "{told}");
    let told = run(&["--redis", &url, "--dir", "/dev/null/logs"]);
    assert!(told.contains("cannot write to the directory /dev/null/logs (--dir)"), "{told}");
    let nobody = RedisServer::prepare(&[]);
    let told = run(&["--redis", &nobody.url(), "--dir", at, "--max-runtime", "300ms"]);
    assert!(told.contains("cannot be reached: Connection refused"), "{told}");
    let admin = nobody.name();
    let told = run(&["--admin", &admin, "--dir", at, "--max-runtime", "300ms"]);
    assert!(told.contains("is it running, and is this its admin port"), "{told}");
    let mut asking = world.connect();
    let _: String = world.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let told = run(&["--redis", &url, "--dir", at]);
    assert!(told.contains("refuses the user or password in the URL (--redis)"), "{told}");
    let _: Result<String, _> = redis::cmd("AUTH").arg("secret").query(&mut asking);
    let _: String =
        redis::cmd("CONFIG").arg(&["SET", "requirepass", ""]).query(&mut asking).unwrap();
    let told = run(&["--redis", &format!("{url}/99"), "--dir", at]);
    assert!(told.contains("has no such database"), "{told}");
}

#[test]
fn a_full_disk_loses_nothing() {
    let world = World::start();
    let _: i64 = world.ask(&["LPUSH", LOG, "1"]);
    let today = today();
    let path = world.files.path().join(format!("device-{today}.log"));
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let told = failure(world.consumer(&[]));
    assert!(told.contains("No space left on device"), "{told}");
    assert_eq!((world.list(LOG), world.list(PROCESSING)), (Vec::new(), vec!["1".to_owned()]));
    std::fs::remove_file(&path).unwrap();
    let consumer = world.consumer(&[]);
    assert!(poll_until(PATIENCE, || world.is_drained()), "{}", consumer.output());
    stop(consumer);
    assert_eq!(world.lines(), ["1"]);
}

/// A day has its file's name from the time in UTC.
fn today() -> String {
    let date = std::process::Command::new("date").args(["-u", "+%Y-%m-%d"]).output().unwrap();
    String::from_utf8(date.stdout).unwrap().trim().to_owned()
}

#[test]
fn without_redis_the_daemon_keeps_the_log_until_it_is_drained() {
    let (data, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (data, at) = (data.path().to_str().unwrap(), files.path().to_str().unwrap());
    let flags =
        ["--data", data, "--admin", "127.0.0.1:0", "--canary=0s", "--device-log-limit=1MiB"];
    let mut daemon = Daemon::start(&flags);
    let client = device(&daemon, "A-1");
    for n in 1..=5 {
        upload(&client, "A-1", &json!({"日志": n}));
    }
    assert!(is_answered(&client, 5), "{}", daemon.output());
    // It did not even have the time to close its files.
    daemon.kill();
    let daemon = Daemon::start(&flags);
    let admin = daemon.admin.unwrap().to_string();
    let consumer = || Process::spawn(&["device-logs", "--admin", &admin, "--dir", at]);
    let running = consumer();
    assert!(poll_until(PATIENCE, || lines(files.path()).len() == 5), "{}", running.output());
    let line = |n| format!(r#"{{"deviceId":"A-1","data":{{"日志":{n}}}}}"#);
    assert_eq!(lines(files.path()), (1..=5).map(line).collect::<Vec<_>>());
    stop(running);
    // The log holds so much until it is drained.
    let client = device(&daemon, "A-1");
    let large = json!("x".repeat(400_000));
    for n in 1..=2 {
        upload(&client, "A-1", &large);
        assert!(is_answered(&client, n), "{}", daemon.output());
    }
    upload(&client, "A-1", &large);
    let told = || daemon.lines(Source::Stdout).iter().any(|it| it.contains("[device log fail]"));
    assert!(poll_until(PATIENCE, told), "{}", daemon.output());
    assert_eq!(responses(&client), 2);
    let running = consumer();
    assert!(poll_until(PATIENCE, || lines(files.path()).len() == 7), "{}", running.output());
    let again = || {
        upload(&client, "A-1", &json!("there is room"));
        poll_until(Duration::from_millis(200), || responses(&client) > 2)
    };
    assert!(poll_until(PATIENCE, again), "{}", daemon.output());
    let is_last = || lines(files.path()).last().is_some_and(|it| it.contains("there is room"));
    assert!(poll_until(PATIENCE, is_last), "{}", running.output());
    stop(running);
}

#[test]
fn a_daemon_with_redis_says_where_its_log_is() {
    let world = World::start();
    let daemon =
        Daemon::start(&["--redis", &world.redis.url(), "--admin", "127.0.0.1:0", "--canary=0s"]);
    let admin = daemon.admin.unwrap().to_string();
    let at = world.files.path().to_str().unwrap();
    let told = failure(Process::spawn(&["device-logs", "--admin", &admin, "--dir", at]));
    assert!(told.contains("the device log is in Redis"), "{told}");
}
