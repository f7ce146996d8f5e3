//! `steadfast dead` and `steadfast queue` against the real daemon.

mod support;

use serde_json::Value;
use std::process::{Command, Output};
use std::time::Duration;
use support::daemon::{Daemon, binary, exit_code};
use support::push_client::PushClient;
use support::ws_client::{Open, WsClient};
use support::{poll_until, unique_key};

const SOON: Duration = Duration::from_secs(10);

/// What a command came to.
#[derive(Debug)]
struct Done {
    code: i32,
    out: String,
    err: String,
}

/// Runs a command against this admin port.
fn run(admin: &str, arguments: &[&str]) -> Done {
    let mut command = Command::new(binary());
    command.env("STEADFAST_ADMIN", admin).env_remove("STEADFAST_ADMIN_TOKEN_FILE");
    let Output { status, stdout, stderr } =
        command.args(arguments).output().expect("the binary under test starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done { code: exit_code(status), out: text(stdout), err: text(stderr) }
}

/// A daemon and what is asked of it.
struct World {
    daemon: Daemon,
    pusher: PushClient,
    admin: String,
}

impl World {
    fn start(flags: &[&str]) -> Self {
        let always = ["--admin", "127.0.0.1:0", "--store", "memory", "--canary=0s"];
        let daemon = Daemon::start(&[&always, flags].concat());
        let pusher = PushClient::open(daemon.push).expect("the push port accepts");
        let admin = daemon.admin.expect("the ready line names the admin port").to_string();
        Self { daemon, pusher, admin }
    }

    /// A daemon where at most two messages wait for a key: the third sets the first aside.
    fn narrow() -> Self {
        Self::start(&["--mailbox-limit=2", "--window-messages=2"])
    }

    fn push(&self, key: &str, data: &str) {
        let line = serde_json::json!({"uid": key, "Data": data}).to_string();
        assert_eq!(self.pusher.push(&line).as_deref(), Some("queued"), "{line}");
    }

    /// What a command prints, which must go well.
    fn prints(&self, arguments: &[&str]) -> String {
        let done = run(&self.admin, arguments);
        assert_eq!(done.code, 0, "{arguments:?} {done:?}");
        done.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let out = self.prints(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }

    /// The one line that a command refuses with.
    fn refuses(&self, arguments: &[&str], code: i32) -> String {
        let done = run(&self.admin, arguments);
        assert_eq!((done.code, &*done.out), (code, ""), "{arguments:?} {done:?}");
        assert!(done.err.starts_with("error: "), "{arguments:?} {done:?}");
        assert!(code == 2 || done.err.lines().count() == 1, "{arguments:?} {done:?}");
        done.err
    }
}

/// The data of what is listed under a name, in order.
fn data(list: &Value) -> Vec<String> {
    let entries = list.as_array().expect("a list").iter();
    entries.map(|entry| text_of(entry["data"].as_str().expect("a text"))).collect()
}

/// What was pushed under `Data`.
fn text_of(line: &str) -> String {
    let line: Value = serde_json::from_str(line).expect("JSON");
    line["Data"].as_str().expect("a text").to_owned()
}

/// Puts signs for times and ages, which every run has its own of, as wide as they were.
fn timeless(table: &str) -> String {
    let mut shown = String::new();
    for line in table.lines() {
        for word in line.split_inclusive(' ') {
            let bare = word.trim_end_matches([' ', ')']).trim_start_matches('(');
            let is_time = bare.len() == 20 && bare.ends_with('Z') && bare.starts_with("20");
            let is_age = bare.ends_with('s') && bare[..bare.len() - 1].parse::<u32>().is_ok();
            // In a column, an age is filled up on the left.
            let wide = if word.starts_with('(') { 0 } else { bare.len() };
            let sign = if is_time { "TTTT-TT-TTTTT:TT:TTZ" } else { &format!("{:>wide$}", "0s") };
            shown.push_str(&if is_time || is_age {
                word.replace(bare, sign)
            } else {
                word.to_owned()
            });
        }
        shown.push('\n');
    }
    shown
}

/// Compares with `snapshots/<name>.snap`.
fn check(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn tables_are_for_people() {
    let world = World::narrow();
    let long = "很长的消息".repeat(20);
    for text in [&*long, "wild \u{1b}[2J", "三"] {
        world.push("办公室", text);
    }
    world.push("5", "hello");
    let mut shown = String::new();
    for command in [
        &["dead", "list"][..],
        &["dead", "show", "1-1"],
        &["queue", "list"],
        &["queue", "show", "办公室"],
    ] {
        shown += &format!("$ steadfast {}\n{}\n", command.join(" "), world.prints(command));
    }
    check("operator_tables", &timeless(&shown));
}

#[test]
fn help_has_examples() {
    let mut shown = String::new();
    for command in [["dead", "--help"], ["queue", "--help"]] {
        let done = run("off", &command);
        assert_eq!(done.code, 0, "{done:?}");
        shown += &format!("$ steadfast {}\n{}\n", command.join(" "), done.out);
    }
    check("operator_help", &shown);
}

/// The texts of pushes that a client got.
fn pushed(client: &WsClient) -> Vec<String> {
    let texts = client.texts().into_iter().filter(|text| text.starts_with('{'));
    texts.map(|text| text_of(&text)).collect()
}

#[test]
fn what_is_requeued_keeps_order_and_history_and_reaches_a_live_client() {
    let world = World::narrow();
    let key = unique_key();
    for text in ["one", "two", "three", "four"] {
        world.push(&key, text);
    }
    let dead = world.json(&["dead", "list", "--key", &key, "--reason", "limit"]);
    assert_eq!(data(&dead["dead"]), ["one", "two"]);
    assert_eq!(world.prints(&["dead", "requeue", "--id", "1-2"]), "requeued 1 dead letter(s)\n");
    let queue = world.json(&["queue", "show", &key]);
    assert_eq!(data(&queue["messages"]), ["two", "three", "four"], "at its old place");
    world.push(&key, "five");
    let again = world.json(&["dead", "list", "--id", "1-2"]);
    assert_eq!(again["dead"][0]["history"][0]["reason"], "limit", "{again}");
    let shown = world.prints(&["dead", "show", "1-2"]);
    assert!(shown.contains("\nbefore    died 20"), "{shown}");
    let client = WsClient::open(world.daemon.ws, &Open::default()).expect("it connects");
    assert!(client.send_text(key.as_bytes()));
    assert!(poll_until(SOON, || pushed(&client).len() >= 2), "{:?}", client.texts());
    let waiting = pushed(&client);
    assert_eq!(world.json(&["dead", "requeue", "--key", &key])["requeued"], dead_before(&waiting));
    assert!(poll_until(SOON, || pushed(&client).len() == 5), "{:?}", client.texts());
    let (first, later) = (&pushed(&client)[..waiting.len()], &pushed(&client)[waiting.len()..]);
    assert_eq!(first, waiting);
    assert!(later.starts_with(&["one".to_owned(), "two".to_owned()]), "in their order: {later:?}");
    assert_eq!(world.json(&["dead", "list"])["dead"], serde_json::json!([]));
}

/// Of five messages, all that are not among those a client got.
fn dead_before(got: &[String]) -> usize {
    5 - got.len()
}

#[test]
fn lists_are_walked_page_by_page() {
    let world = World::start(&[]);
    // Every character that means something in a query.
    let key = "a+b c&d=%e#'中";
    for text in ["one", "two", "three"] {
        world.push(key, text);
    }
    let queues = world.json(&["queue", "list", "--prefix", "a+b c&"]);
    assert_eq!(queues["queues"][0]["key"], key, "{queues}");
    let first = run(&world.admin, &["queue", "show", key, "--limit", "2"]);
    assert_eq!(first.out.lines().count(), 3, "{first:?}");
    let next = first.err.trim().strip_prefix("there may be more: --after ").expect("a place");
    let rest = world.prints(&["queue", "show", key, "--after", next]);
    assert!(rest.contains("three") && !rest.contains("two"), "{rest}");
    let list = run(&world.admin, &["queue", "list", "--limit", "1"]);
    assert_eq!(list.err, "there may be more: --after 'a+b c&d=%e#'\\''中'\n");
    assert_eq!(run(&world.admin, &["queue", "list", "--after", key]).err, "no messages wait\n");
}

#[test]
fn what_is_purged_is_gone() {
    let world = World::narrow();
    for text in ["one", "two", "three", "four"] {
        world.push("a key", text);
    }
    assert!(world.refuses(&["dead", "purge", "--id", "1-1"], 1).contains("--yes"));
    assert!(world.refuses(&["queue", "purge", "a key"], 1).contains("--yes"));
    for command in ["requeue", "purge"] {
        let refused = world.refuses(&["dead", command], 1);
        assert!(refused.contains("--key") && refused.contains("--all"), "{refused}");
    }
    assert_eq!(data(&world.json(&["dead", "list"])["dead"]), ["one", "two"], "nothing was done");
    let old = ["dead", "purge", "--older-than", "1h", "--yes"];
    assert_eq!(world.prints(&old), "purged 0 dead letter(s)\n");
    let one = ["dead", "purge", "--id", "1-1", "--yes"];
    assert_eq!(world.prints(&one), "purged 1 dead letter(s)\n");
    assert!(world.refuses(&["dead", "show", "1-1"], 1).contains("no dead letter 1-1"));
    assert_eq!(world.json(&["dead", "purge", "--all", "--yes"])["purged"], 1);
    assert_eq!(run(&world.admin, &["dead", "list"]).err, "no dead letters\n");
    let one = ["queue", "purge", "a key", "--id", "1-3", "--yes"];
    assert_eq!(world.prints(&one), "purged 1 message(s)\n");
    assert_eq!(data(&world.json(&["queue", "show", "a key"])["messages"]), ["four"]);
    assert_eq!(world.prints(&["queue", "purge", "a key", "--yes"]), "purged 1 message(s)\n");
    assert_eq!(
        run(&world.admin, &["queue", "show", "a key"]).err,
        "no messages wait for this key\n"
    );
}

#[test]
fn errors_say_what_to_do() {
    let world = World::start(&[]);
    let push_port = world.daemon.push.to_string();
    for (arguments, code, expected) in [
        (&["dead", "list", "--reason", "boredom"][..], 2, "tries, ttl, limit"),
        (&["dead", "list", "--older-than", "soon"], 2, "12s"),
        (&["dead", "list", "--limit", "0"], 2, "1..=1000"),
        (&["dead", "requeue", "--all", "--key", "5"], 2, "--key"),
        (&["queue", "purge"], 2, "<KEY>"),
        (&["dead", "show", "x"], 1, "1-42"),
        (&["dead", "show", "9-9"], 1, "no dead letter 9-9"),
        (&["queue", "list", "--admin", "off"], 1, "--admin 127.0.0.1:5003"),
        (&["queue", "list", "--admin", "127.0.0.1:1"], 1, "127.0.0.1:1: Connection refused"),
        (&["queue", "list", "--admin", "127.0.0.1:1"], 1, "is it running"),
        (&["queue", "list", "--admin", &push_port], 1, "--admin"),
        (&["queue", "list", "--token-file", "/nowhere"], 1, "--token-file"),
    ] {
        let error = world.refuses(arguments, code);
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
    let ws_port = world.daemon.ws.to_string();
    assert!(world.refuses(&["queue", "list", "--admin", &ws_port], 1).contains("--admin"));
}

#[test]
fn a_token_is_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let (right, wrong) = (file("right", "secret\n"), file("wrong", "other"));
    let world = World::start(&["--admin-token-file", &right]);
    assert!(world.refuses(&["dead", "list"], 1).contains("--token-file"));
    assert!(world.refuses(&["dead", "list", "--token-file", &wrong], 1).contains("wrong"));
    assert_eq!(world.json(&["dead", "list", "--token-file", &right])["next"], Value::Null);
    let requeue = ["dead", "requeue", "--all", "--token-file", &right];
    assert_eq!(world.prints(&requeue), "requeued 0 dead letter(s)\n");
}
