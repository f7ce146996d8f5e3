//! One fault at a time, each while back ends push and clients listen.

use super::judge::{Order, Verdict, judge};
use super::ledger::{Facts, Ledger, Outcome, Visit};
use super::namespace;
use super::stall::Stalled;
use super::world::NO_DEATH;
use crate::support::daemon::{Daemon, Process, Source};
use crate::support::push_client::{PushClient, PushEvent};
use crate::support::ws_client::{Open, WsClient, WsEvent};
use crate::support::{poll_until, unique_key};
use rustix::process::Signal;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// How long anything may take.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// A gateway, one back end, and a ledger of some keys.
pub(crate) struct Scene {
    pub(crate) daemon: Daemon,
    pub(crate) ledger: Ledger,
    pusher: PushClient,
    /// How many of the pushes were made over an earlier connection.
    earlier: usize,
    flags: Vec<String>,
}

impl Scene {
    /// Starts a gateway that keeps its messages in this directory, for so many keys of digits.
    pub(crate) fn start(data: &Path, keys: usize, flags: &[&str]) -> Self {
        let data = format!("--data={}", data.to_str().expect("a path in UTF-8"));
        let mut all = vec![data, "--log-level=warn".to_owned(), "--idle-timeout=60s".to_owned()];
        all.extend(NO_DEATH.iter().chain(flags).map(|&flag| flag.to_owned()));
        let daemon = begin(&all);
        let ledger = Ledger::new((0..keys).map(|_| unique_key()).collect(), 1);
        let pusher = PushClient::open(daemon.push).expect("the push port accepts");
        Self { daemon, ledger, pusher, earlier: 0, flags: all }
    }

    /// Kills the gateway and starts another; how long that took to be ready.
    pub(crate) fn restart(&mut self) -> Duration {
        self.take_replies();
        self.daemon.kill();
        let begun = std::time::Instant::now();
        self.daemon = begin(&self.flags);
        let took = begun.elapsed();
        self.pusher = PushClient::open(self.daemon.push).expect("the push port accepts");
        self.earlier = self.ledger.pushes(0).len();
        took
    }

    /// Pushes `count` messages to a key, without waiting for the replies.
    pub(crate) fn push(&self, key: usize, count: usize) {
        let lines: String = (0..count).map(|_| self.ledger.push(0, key) + "\n").collect();
        assert!(self.pusher.send(lines.as_bytes()), "the push port takes nothing");
    }

    /// Pushes one message and waits for the reply.
    pub(crate) fn push_one(&self, key: usize) -> Outcome {
        self.push(key, 1);
        assert!(self.wait_replies(SOON), "no reply; output:\n{}", self.daemon.output());
        self.ledger.pushes(0).last().expect("it was pushed").outcome
    }

    /// Waits until every push is answered.
    pub(crate) fn wait_replies(&self, limit: Duration) -> bool {
        let count = self.ledger.pushes(0).len() - self.earlier;
        let all = self.pusher.wait_replies(count, limit);
        self.take_replies();
        all
    }

    /// Pushes `count` messages and waits for the replies.
    pub(crate) fn push_many(&self, key: usize, count: usize) -> Vec<Outcome> {
        self.push(key, count);
        assert!(self.wait_replies(SOON), "no reply; output:\n{}", self.daemon.output());
        self.last_outcomes(count)
    }

    /// The answers of the last `count` pushes.
    pub(crate) fn last_outcomes(&self, count: usize) -> Vec<Outcome> {
        let pushes = self.ledger.pushes(0);
        pushes[pushes.len() - count..].iter().map(|push| push.outcome).collect()
    }

    fn take_replies(&self) {
        let mut pushes = self.ledger.pushes(0);
        let open = pushes[self.earlier..].iter_mut();
        for (push, (_, event)) in open.zip(self.pusher.events()) {
            if let PushEvent::Reply(line) = event {
                push.outcome = Outcome::of_reply(&line).expect("a reply of the protocol");
            }
        }
    }

    /// Connects as the client of a key.
    pub(crate) fn connect(&self, key: usize, how: &Open) -> Listener<'_> {
        let client = WsClient::open(self.daemon.ws, how).expect("the WebSocket port accepts");
        self.ledger.visits(key).push(Visit::new());
        client.send_text(self.ledger.keys[key].as_bytes());
        Listener { ledger: &self.ledger, key, client, taken: 0 }
    }

    /// Judges all that happened; fails unless it is good.
    pub(crate) fn judge(self, most_repeated: usize) -> Verdict {
        let Self { daemon, ledger, .. } = self;
        let facts: Facts = ledger.into_facts();
        let verdict = judge(&facts, most_repeated, Order::Common);
        let Verdict { findings, totals } = &verdict;
        assert!(findings.is_empty(), "{findings:#?}\n{totals}\noutput:\n{}", daemon.output());
        verdict
    }
}

fn begin(flags: &[String]) -> Daemon {
    Daemon::start(&flags.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A client that writes what it gets into the ledger.
pub(crate) struct Listener<'a> {
    ledger: &'a Ledger,
    key: usize,
    pub(crate) client: WsClient,
    taken: usize,
}

impl Listener<'_> {
    /// Notes what has come.
    pub(crate) fn take(&mut self) {
        let events = self.client.events_after(self.taken, Duration::ZERO);
        self.taken += events.len();
        for event in events {
            if let WsEvent::Text(text) = event {
                let text = String::from_utf8(text).expect("the reader has checked");
                if text != "biubiubiu" {
                    self.ledger.arrive(self.key, &text);
                }
            }
        }
    }

    /// Waits until all that was promised to the key has come.
    pub(crate) fn wait_all(&mut self) -> bool {
        let (key, ledger) = (self.key, self.ledger);
        poll_until(SOON, || {
            self.take();
            ledger.missing(|of| of == key) == 0
        })
    }
}

/// More than any test repeats on one connection.
const ANY: usize = usize::MAX;

#[test]
fn a_hundred_thousand_waiting_messages_survive_a_kill() {
    const KEYS: usize = 100;
    const EACH: usize = 1_000;
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut scene = Scene::start(data.path(), KEYS, &["--max-unanswered=1000000"]);
    for _ in 0..EACH / 100 {
        for key in 0..KEYS {
            scene.push(key, 100);
        }
        assert!(scene.wait_replies(SOON), "no replies; output:\n{}", scene.daemon.output());
    }
    assert!(scene.last_outcomes(KEYS * EACH).iter().all(|it| *it == Outcome::Queued));
    let took = scene.restart();
    println!("ready after {took:?} with {} waiting messages", KEYS * EACH);
    assert!(took < Duration::from_secs(10), "ready after {took:?} only");
    for key in 0..KEYS {
        let mut client = scene.connect(key, &Open::default());
        assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    }
    assert_eq!(scene.judge(0).totals.arrived, KEYS * EACH);
}

/// The first connection of the key stops reading for good, as if its line were cut: its socket
/// stays open, and nothing comes from it any more.
#[test]
fn what_a_vanished_client_did_not_confirm_goes_to_the_next() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let scene = Scene::start(data.path(), 1, &["--pong-timeout=1s"]);
    let how = Open { rcvbuf: Some(4096), ..Open::default() };
    let mut vanished = scene.connect(0, &how);
    assert!(vanished.client.wait_data(1, SOON), "no answer to the key");
    assert_eq!(scene.push_one(0), Outcome::Ok);
    assert!(vanished.wait_all());
    vanished.client.mute();
    // Less than a window, so that they are answered `ok` as long as the connection counts as live.
    scene.push(0, 500);
    assert!(scene.wait_replies(SOON), "no replies; output:\n{}", scene.daemon.output());
    assert!(scene.last_outcomes(500).iter().all(|it| *it == Outcome::Ok));
    let is_given_up = || scene.push_one(0) == Outcome::Queued;
    assert!(poll_until(SOON, is_given_up), "never given up: {}", scene.daemon.output());
    let mut next = scene.connect(0, &Open::default());
    assert!(next.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    drop((vanished, next));
    scene.judge(ANY);
}

/// A client in a process of its own, which is stopped with SIGSTOP: its kernel goes on taking bytes,
/// and nobody reads them.
#[test]
fn a_frozen_client_gets_its_messages_or_its_successor_does() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let scene = Scene::start(data.path(), 1, &["--pong-timeout=2s"]);
    let url = format!("ws://{}/", scene.daemon.ws);
    let frozen = Process::spawn(&["listen", &scene.ledger.keys[0], "--url", &url]);
    let is_bound = || scene.push_one(0) == Outcome::Ok;
    assert!(poll_until(SOON, is_bound), "it does not connect: {}", frozen.output());
    let printed = |count: usize| frozen.lines(Source::Stdout).len() >= count;
    let pushed = |scene: &Scene| scene.ledger.pushes(0).len();
    assert!(poll_until(SOON, || printed(pushed(&scene))), "{}", frozen.output());

    // Frozen for less than `pong_timeout`: it gets them itself.
    frozen.signal(Signal::STOP);
    scene.push(0, 20);
    assert!(scene.wait_replies(SOON));
    assert!(scene.last_outcomes(20).iter().all(|it| *it == Outcome::Ok));
    let before = frozen.lines(Source::Stdout).len();
    frozen.signal(Signal::CONT);
    assert!(poll_until(SOON, || printed(pushed(&scene))), "{}", frozen.output());
    assert!(before < pushed(&scene), "it was not frozen");

    // Frozen for good: the next one does.
    frozen.signal(Signal::STOP);
    scene.push(0, 20);
    assert!(scene.wait_replies(SOON));
    let is_given_up = || scene.push_one(0) == Outcome::Queued;
    assert!(poll_until(SOON, is_given_up), "never given up: {}", scene.daemon.output());
    scene.ledger.visits(0).push(Visit::new());
    for text in frozen.lines(Source::Stdout) {
        scene.ledger.arrive(0, &text);
    }
    let mut next = scene.connect(0, &Open::default());
    assert!(next.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    drop((next, frozen));
    scene.judge(ANY);
}

/// A real file system with little room, in a mount namespace that ends with the test.
#[test]
fn a_full_disk_fails_pushes_and_loses_nothing() {
    if !namespace::enter("faults::a_full_disk_fails_pushes_and_loses_nothing", &["--mount"]) {
        return;
    }
    let data = tempfile::tempdir().expect("a temporary directory");
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=160m", "tmpfs"])
        .arg(data.path())
        .status();
    assert!(mounted.expect("mount is installed").success());
    let mut scene = Scene::start(data.path(), 2, &["--window-messages=100"]);
    let (online, offline) = (0, 1);
    let mut client = scene.connect(online, &Open::default());
    assert!(client.client.wait_data(1, SOON), "no answer to the key");
    assert_eq!(scene.push_one(offline), Outcome::Queued);
    assert_eq!(scene.push_one(online), Outcome::Ok);

    let filler = data.path().join("filler");
    let fill = || {
        let mut file = File::create(&filler).expect("the file system is there");
        while file.write_all(&[1; 1 << 16]).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    };
    fill();
    // What was given to the log beforehand can still be written to.
    let is_full = || scene.push_many(offline, 500).contains(&Outcome::Fail);
    assert!(poll_until(SOON, is_full), "nothing fails; output:\n{}", scene.daemon.output());
    let all_fail = || scene.push_many(offline, 10).iter().all(|it| *it == Outcome::Fail);
    assert!(poll_until(SOON, all_fail), "some are kept; output:\n{}", scene.daemon.output());
    // What the client confirms needs no disk.
    assert_eq!(scene.push_one(online), Outcome::Ok);
    client.take();
    assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());

    std::fs::remove_file(&filler).expect("it is there");
    let is_well = || scene.push_one(offline) == Outcome::Queued;
    assert!(poll_until(SOON, is_well), "no recovery; output:\n{}", scene.daemon.output());
    assert!(scene.push_many(offline, 100).iter().all(|it| *it == Outcome::Queued));
    assert_eq!(scene.push_one(online), Outcome::Ok);
    assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    drop(client);
    scene.restart();
    for key in [online, offline] {
        let mut client = scene.connect(key, &Open::default());
        assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    }
    scene.judge(ANY);
}

/// For less than `store_timeout`, and for longer.
#[test]
fn a_stalled_store_delays_what_is_queued_and_nothing_else() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut scene = Scene::start(data.path(), 2, &["--store-timeout=4s"]);
    let (online, offline) = (0, 1);
    let mut client = scene.connect(online, &Open::default());
    assert!(client.client.wait_data(1, SOON), "no answer to the key");
    assert_eq!(scene.push_one(offline), Outcome::Queued);

    let stalled = Stalled::new(scene.daemon.pid(), "store");
    // Confirmed by the client, so the disk is not waited for.
    assert!(scene.push_many(online, 20).iter().all(|it| *it == Outcome::Ok));
    assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    assert!(client.client.fence(SOON), "the event loop stands still");
    scene.push(offline, 20);
    assert!(!scene.wait_replies(Duration::from_secs(2)), "answered before it was safe");
    assert_eq!(scene.last_outcomes(20), [Outcome::Unanswered; 20]);
    drop(stalled);
    assert!(scene.wait_replies(SOON), "no replies; output:\n{}", scene.daemon.output());
    assert_eq!(scene.last_outcomes(20), [Outcome::Queued; 20]);

    let stalled = Stalled::new(scene.daemon.pid(), "store");
    assert_eq!(scene.push_many(offline, 20), [Outcome::Fail; 20]);
    assert!(scene.push_many(online, 20).iter().all(|it| *it == Outcome::Ok));
    drop(stalled);
    let is_well = || scene.push_one(offline) == Outcome::Queued;
    assert!(poll_until(SOON, is_well), "no recovery; output:\n{}", scene.daemon.output());
    assert_eq!(scene.push_one(online), Outcome::Ok);
    assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    drop(client);
    scene.restart();
    for key in [online, offline] {
        let mut client = scene.connect(key, &Open::default());
        assert!(client.wait_all(), "not all came; output:\n{}", scene.daemon.output());
    }
    scene.judge(ANY);
}
