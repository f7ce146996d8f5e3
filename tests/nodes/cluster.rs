//! A Redis Cluster of three masters.

use super::fleet::{Fleet, SOON, push_of};
use super::server::{RedisServer, wait_for};
use super::storms::{Storm, storm};
use super::watch::get;
use crate::support::poll_until;
use redis::Value;
use serde_json::Value as Json;
use std::cell::RefCell;
use std::process::Command;

/// How many parts the keys of a cluster are kept in.
const SHARDS: usize = 32;

struct Cluster {
    members: Vec<RedisServer>,
}

impl Cluster {
    fn start() -> Self {
        let args = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "1000",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
        ];
        let mut members: Vec<_> = (0..3).map(|_| RedisServer::prepare_member(&args)).collect();
        members.iter_mut().for_each(RedisServer::run);
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(members.iter().map(RedisServer::name))
            .args(["--cluster-replicas", "0", "--cluster-yes"])
            .output()
            .expect("redis-cli starts");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Self { members };
        cluster.wait_whole();
        cluster
    }

    fn wait_whole(&self) {
        wait_for("the cluster to be whole", || {
            let knows = |member: &RedisServer| text(member.ask(&["CLUSTER", "INFO"]));
            self.members.iter().all(|it| knows(it).contains("cluster_state:ok")).then_some(())
        });
    }

    fn url(&self) -> String {
        let names: Vec<_> = self.members.iter().map(RedisServer::name).collect();
        format!("redis+cluster://{}", names.join(","))
    }

    /// How many keys with such names each member has.
    fn count(&self, pattern: &str) -> Vec<usize> {
        let names = |member: &RedisServer| {
            let Value::Array(names) = member.ask(&["KEYS", pattern]) else { panic!("no list") };
            names.len()
        };
        self.members.iter().map(names).collect()
    }
}

fn text(value: Value) -> String {
    let Value::BulkString(bytes) = value else { panic!("no text: {value:?}") };
    String::from_utf8_lossy(&bytes).into_owned()
}

#[test]
fn members_that_are_killed_lose_nothing_they_have_synced() {
    let cluster = RefCell::new(Cluster::start());
    let url = cluster.borrow().url();
    let kills = |storm: &mut Storm<'_>| {
        for member in 0..3 {
            cluster.borrow_mut().members[member].kill();
            storm.fails();
            cluster.borrow_mut().members[member].run();
            cluster.borrow().wait_whole();
            storm.recovers();
        }
    };
    let is_empty = || cluster.borrow().count("steadfast:{*}:expiry") == [0; 3];
    let totals = storm("members_that_are_killed", &url, &[], kills, is_empty);
    assert!(totals.ok + totals.queued > 1_000 && totals.failed > 0, "{totals}");
    let shards = cluster.borrow().count("steadfast:{*}:version");
    assert_eq!(shards.iter().sum::<usize>(), SHARDS, "{shards:?}");
    assert!(shards.iter().all(|count| (10..=12).contains(count)), "{shards:?}");
}

fn json(fleet: &Fleet, path: &str) -> Json {
    let answer = get(fleet, 0, path);
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

fn fields(list: &Json, name: &str) -> Vec<String> {
    let items = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    items.iter().map(|it| it[name].as_str().expect("a text").to_owned()).collect()
}

#[test]
fn lists_and_counts_are_about_all_members() {
    let cluster = Cluster::start();
    let flags = ["--admin=127.0.0.1:0", "--canary=0s", "--mailbox-limit=1", "--window-messages=1"];
    let fleet = Fleet::start(&cluster.url(), 2, &flags);
    let pushers = [fleet.back_end(0), fleet.back_end(1)];
    let keys: Vec<_> = (100..200).map(|n| n.to_string()).collect();
    for round in 0..2 {
        for (n, key) in keys.iter().enumerate() {
            let answer = pushers[n % 2].push(&push_of(key, &round.to_string()));
            assert_eq!(answer.as_deref(), Some("queued"), "{}", fleet.output());
        }
    }
    assert_eq!(fields(&json(&fleet, "/queues?limit=1000")["queues"], "key"), keys);
    let page = json(&fleet, "/queues?limit=30&after=149");
    assert_eq!(fields(&page["queues"], "key"), keys[50..80]);
    // Of each key one died, in the order of the second round.
    assert_eq!(fields(&json(&fleet, "/dead?limit=1000")["dead"], "key"), keys);
    let counts = ["\nsteadfast_stored_messages 100\n", "\nsteadfast_dead_letters 100\n"];
    let shows = || counts.iter().all(|it| get(&fleet, 0, "/metrics").contains(it));
    assert!(poll_until(SOON, shows), "{}", get(&fleet, 0, "/metrics"));
    let admin = fleet.nodes[1].admin.expect("the flags ask for one").to_string();
    let purge = |flags: &[&str]| {
        let steadfast = Command::new(crate::support::daemon::binary())
            .args(["dead", "purge", "--yes", "--admin", &admin])
            .args(flags)
            .output()
            .expect("the binary under test starts");
        String::from_utf8_lossy(&steadfast.stdout).into_owned()
    };
    assert!(purge(&["--key", "150"]).contains("purged 1 "));
    assert!(purge(&["--all"]).contains("purged 99 "));
    let client = fleet.comer(1, "123");
    let push = push_of("123", "1");
    assert!(client.wait_text(SOON, |text| text == push.as_bytes()), "{client:?}");
}
