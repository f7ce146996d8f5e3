//! What operators are told of a Redis in trouble: in the log, by `/healthz` and in `/metrics`.

use super::fleet::{Fleet, SOON, push_of};
use super::server::RedisServer;
use crate::support::daemon::binary;
use crate::support::{poll_until, unique_key};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

const ADMIN: [&str; 2] = ["--admin=127.0.0.1:0", "--canary=0s"];

/// What the admin port of a gateway answers.
pub(crate) fn get(fleet: &Fleet, node: usize, path: &str) -> String {
    let admin = fleet.nodes[node].admin.expect("the flags ask for one");
    let mut socket = TcpStream::connect(admin).expect("the admin port accepts");
    socket.set_read_timeout(Some(SOON * 2)).expect("a socket takes a timeout");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).expect("the request is taken");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("an answer comes");
    answer
}

fn answers(fleet: &Fleet, node: usize, path: &str, words: &[&str]) {
    let mut last = String::new();
    let came = poll_until(SOON, || {
        last = get(fleet, node, path);
        words.iter().all(|word| last.contains(word))
    });
    assert!(came, "not all of {words:?} are in {last}\n{}", fleet.output());
}

#[test]
fn a_redis_that_is_gone_shows_everywhere() {
    let mut redis = RedisServer::start();
    let fleet = Fleet::start(&redis.url(), 2, &ADMIN);
    answers(&fleet, 0, "/healthz", &["200 OK", "\"ok\""]);
    let key = unique_key();
    let (_first, _second) = (fleet.client(0, &key), fleet.client(1, &key));
    let up = |value| {
        let line = |which| format!("steadfast_redis_up{{use=\"{which}\"}} {value}\n");
        ["messages", "devices", "notices"].map(line)
    };
    let all = |more: &[&'static str], value| {
        more.iter().map(|it| (*it).to_owned()).chain(up(value)).collect::<Vec<_>>()
    };
    let shows = |lines: &[String]| {
        answers(&fleet, 0, "/metrics", &lines.iter().map(String::as_str).collect::<Vec<_>>());
    };
    shows(&all(
        &[
            "\nsteadfast_lease_held 1\n",
            "\nsteadfast_leases_lost_total 0\n",
            "\nsteadfast_takeovers_elsewhere_total 1\n",
            "\nsteadfast_healthy 1\n",
        ],
        1,
    ));
    redis.kill();
    let reasons =
        ["503", "redis (messages): ", "redis (devices): ", "redis (notices): ", "lease: "];
    answers(&fleet, 0, "/healthz", &reasons);
    let lost = ["\nsteadfast_lease_held 0\n", "\nsteadfast_leases_lost_total 1\n"];
    shows(&all(&[&lost[..], &["\nsteadfast_healthy 0\n"]].concat(), 0));
    for words in ["[store failing] error=\"Redis at ", "[lease lost]"] {
        assert!(fleet.logs(0, words), "no {words}: {}", fleet.output());
    }
    redis.run();
    shows(&all(&["\nsteadfast_lease_held 1\n"], 1));
    for words in
        ["[store works] what=\"Redis at ", "[store works] what=\"the subscription to Redis"]
    {
        assert!(fleet.logs(0, words), "no {words}: {}", fleet.output());
    }
    // What failed is remembered for 15 s; nothing else is wrong.
    let healthz = get(&fleet, 0, "/healthz");
    assert!(!healthz.contains("redis (") && !healthz.contains("lease: "), "{healthz}");
}

#[test]
fn what_is_wrong_with_redis_is_named_and_needs_no_restart() {
    let redis = RedisServer::start();
    redis.ask(&["SET", "steadfast:{0}:messages", "mine"]);
    let url = redis.url().replace("redis://", "redis://someone:secret@");
    let fleet = Fleet::start(&url, 1, &ADMIN);
    assert!(fleet.logs(0, "refuses the user or password in the URL"), "{}", fleet.output());
    assert!(!fleet.output().contains("secret"), "{}", fleet.output());
    let pusher = fleet.back_end(0);
    let push = push_of(&unique_key(), "m");
    assert_eq!(pusher.push(&push).as_deref(), Some("fail"));
    answers(&fleet, 0, "/healthz", &["503", "refuses the user or password"]);
    redis.ask(&["ACL", "SETUSER", "someone", "on", ">secret", "~*", "&*", "+@all"]);
    let wrong = "steadfast:{0}:messages is a string and not a hash";
    assert!(fleet.logs(0, wrong), "{}", fleet.output());
    assert_eq!(pusher.push(&push).as_deref(), Some("fail"));
    answers(&fleet, 0, "/healthz", &["503", wrong]);
    redis.ask(&["DEL", "steadfast:{0}:messages"]);
    let is_queued = || pusher.push(&push).as_deref() == Some("queued");
    assert!(poll_until(SOON, is_queued), "{}", fleet.output());
}

#[test]
fn two_stores_at_once_are_refused() {
    let check = |flags: &[&str]| {
        let output =
            Command::new(binary()).env_remove("STEADFAST_BIN").arg("check").args(flags).output();
        let output = output.expect("the binary under test starts");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let redis = "--redis=redis://127.0.0.1:6379";
    let (is_fine, text) = check(&[redis, "--store=memory"]);
    assert!(!is_fine && text.contains("contradicts redis"), "{text}");
    // What `check --print` shows can be used again.
    assert!(check(&[redis, "--store=embedded"]).0);
}
