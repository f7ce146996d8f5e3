//! `--record` and `steadfast replay`, on the real daemon: what a recording tells of a message's life,
//! and what a replay refuses.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;
use support::daemon::{Daemon, Process, Source, binary, exit_code};
use support::push_client::PushClient;
use support::ws_client::{Open, WsClient};
use support::{poll_until, unique_key};

const SOON: Duration = Duration::from_secs(10);

/// What `steadfast replay` with these arguments came to.
struct Replay {
    code: i32,
    out: String,
    err: String,
}

fn replay(arguments: &[&str]) -> Replay {
    let mut command = Command::new(binary());
    let Output { status, stdout, stderr } =
        command.arg("replay").args(arguments).output().expect("the binary under test starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Replay { code: exit_code(status), out: text(stdout), err: text(stderr) }
}

/// A recording of a daemon that has ended.
struct Recording {
    _directory: tempfile::TempDir,
    file: PathBuf,
    /// The key of the message whose life it tells, and of other messages.
    key: String,
    other: String,
}

impl Recording {
    /// Lets a daemon live a little, and kills it once all of it can be replayed.
    fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("rec");
        let (key, other) = (unique_key(), unique_key());
        let flags = ["--record", file.to_str().expect("UTF-8"), "--record-segment", "4KiB"];
        let mut daemon = Daemon::start(&flags);
        let pusher = PushClient::open(daemon.push).expect("the push port accepts");
        let mut client = WsClient::bind_digits(daemon.ws, &other);
        let line = format!(r#"{{"uid":"{other}","Data":"{}"}}"#, "d".repeat(200));
        let fourth = segment(&file, 4);
        assert!(poll_until(SOON, || {
            assert_eq!(pusher.push(&line).as_deref(), Some("ok"));
            fourth.exists()
        }));
        let line = format!(r#"{{"uid":"{key}","Data":"needle"}}"#);
        assert_eq!(pusher.push(&line).as_deref(), Some("queued"));
        client.close(1000, SOON);
        let client = WsClient::open(daemon.ws, &Open::default()).expect("it accepts");
        assert!(client.send_text(key.as_bytes()));
        assert!(client.wait_text(SOON, |text| text.windows(6).any(|word| word == b"needle")));
        let recording = Self { _directory: directory, file, key, other };
        let confirmed = || recording.replay(&["--key", &recording.key]).out.contains("removed ");
        assert!(poll_until(SOON, confirmed), "the confirmation was not recorded");
        daemon.kill();
        recording
    }

    fn replay(&self, arguments: &[&str]) -> Replay {
        replay(&[&[self.file.to_str().expect("UTF-8")], arguments].concat())
    }

    fn segment(&self, number: u32) -> PathBuf {
        segment(&self.file, number)
    }
}

fn segment(file: &Path, number: u32) -> PathBuf {
    let mut name = file.to_owned().into_os_string();
    name.push(format!(".{number:06}"));
    name.into()
}

/// Asserts that these stand in the text, in this order.
fn assert_in_order(text: &str, parts: &[&str]) {
    let mut rest = text;
    for part in parts {
        let Some(place) = rest.find(part) else {
            panic!("{part} is not where it belongs:\n{text}")
        };
        rest = &rest[place + part.len()..];
    }
}

#[test]
fn a_killed_daemon_is_replayed() {
    let recording = Recording::make();
    let whole = recording.replay(&[]);
    assert_eq!(whole.code, 0, "{}", whole.err);
    assert!(whole.err.contains("all commands are as recorded"), "{}", whole.err);
    assert!(whole.err.contains("killed"), "{}", whole.err);
    let (key, other) = (&recording.key, &recording.other);
    assert!(whole.out.contains(&format!("[bind] c0.0 to {other}")), "{}", whole.out);

    let life = recording.replay(&["--key", key]);
    assert_eq!(life.code, 0, "{}", life.err);
    assert!(!life.out.contains(other), "{}", life.out);
    let (_, rest) = life.out.split_once(" append ").expect("it is stored");
    let id = rest.split(' ').next().expect("it has an id");
    let of = |text: &str| text.replace("ID", id);
    let steps = [
        " > p0.0 line \"{\"uid\":",
        "needle",
        " . [push miss] p0.0 ID",
        " < store ",
        " append ID to",
        " > store ",
        " stored",
        " < p0.0 reply queued ID",
        " . [bind] c",
        " < store ",
        " load ",
        " loaded ID",
        " text \"{\"uid\":",
        "needle",
        " pong ",
        " remove ID of",
        " removed ID",
    ];
    let steps = steps.map(of);
    assert_in_order(&life.out, &steps.each_ref().map(String::as_str));

    let segments: Vec<_> =
        (1..).map(|number| recording.segment(number)).take_while(|path| path.exists()).collect();
    assert!(segments.len() > 2, "{segments:?}");
    for path in &segments {
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        let part = replay(&[path.to_str().unwrap(), "--key", key]);
        assert_eq!(part.code, 0, "{}", part.err);
    }
    // The last segment that was whole before the message goes on with the same lines.
    let part = replay(&[segments[1].to_str().unwrap(), "--key", key]);
    let lines = |out: &str| -> Vec<String> {
        out.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    assert_eq!(lines(&part.out), lines(&life.out));
}

#[test]
fn times_narrow_a_replay() {
    let recording = Recording::make();
    let whole = recording.replay(&["--key", &recording.key]);
    let times: Vec<_> = whole.out.lines().filter_map(|line| line.split_once(" > ")).collect();
    let (first, last) = (times[0].0, times.last().unwrap().0);
    assert_ne!(first, last, "{}", whole.out);
    let events = |replay: &Replay| replay.out.lines().filter(|line| line.contains(" > ")).count();
    let late = recording.replay(&["--key", &recording.key, "--from", last]);
    assert_eq!(late.code, 0, "{}", late.err);
    assert!(events(&late) > 0, "{}", late.err);
    assert!(events(&late) < events(&whole), "{}", late.out);
    let early = recording.replay(&["--key", &recording.key, "--to", first]);
    assert_eq!(early.code, 0, "{}", early.err);
    assert!(events(&early) < events(&whole), "{}", early.out);
    // The same as a time of day.
    let clock = last.split_once('T').unwrap().1.trim_end_matches('Z');
    assert_eq!(recording.replay(&["--key", &recording.key, "--from", clock]).out, late.out);
    assert_eq!(recording.replay(&["--from", "yesterday"]).code, 2);
}

#[test]
fn a_gap_or_a_flipped_byte_is_refused() {
    let recording = Recording::make();
    let second = recording.segment(2);
    let bytes = fs::read(&second).unwrap();
    let name = second.display().to_string();
    let refused = |what: &str| {
        let replay = recording.replay(&[]);
        assert_eq!(replay.code, 1, "{}", replay.err);
        let lines: Vec<_> = replay.err.lines().collect();
        assert_eq!(lines.len(), 1, "{}", replay.err);
        assert!(lines[0].starts_with("error: "), "{}", replay.err);
        assert!(lines[0].contains(&name) && lines[0].contains(what), "{}", replay.err);
    };
    fs::remove_file(&second).unwrap();
    refused("is missing");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 4;
    fs::write(&second, flipped).unwrap();
    refused("is damaged");
    fs::write(&second, &bytes[..bytes.len() / 2]).unwrap();
    refused("");
    fs::write(&second, &bytes).unwrap();
    assert_eq!(recording.replay(&[]).code, 0);
}

#[test]
fn a_changed_hash_is_a_difference() {
    let recording = Recording::make();
    let second = recording.segment(2);
    let bytes = fs::read(&second).unwrap();
    fs::write(&second, with_changed_hash(&bytes)).unwrap();
    let replay = recording.replay(&[]);
    assert_eq!(replay.code, 1, "{}", replay.err);
    let name = second.display().to_string();
    let parts = ["THE REPLAY DIFFERS", &name, "event ", "recorded: ", "replayed: ", " > "];
    assert_in_order(&replay.err, &parts);
    fs::write(&second, &bytes).unwrap();
    assert_eq!(recording.replay(&[]).code, 0);
}

/// A segment whose first frame of events ends with another hash, its checksums made right.
fn with_changed_hash(segment: &[u8]) -> Vec<u8> {
    let mut changed = segment.to_vec();
    let mut at = 10;
    loop {
        let length =
            u32::from_le_bytes(changed[at..at + 4].try_into().expect("four bytes")) as usize;
        let body = at + 12..at + 12 + length;
        if changed[body.start] == b'E' {
            changed[body.end - 1] ^= 1;
            let sum = crc32fast::hash(&changed[body]).to_le_bytes();
            changed[at + 4..at + 8].copy_from_slice(&sum);
            let sum = crc32fast::hash(&changed[at..at + 8]).to_le_bytes();
            changed[at + 8..at + 12].copy_from_slice(&sum);
            return changed;
        }
        at = body.end;
    }
}

#[test]
fn a_stop_and_a_restart_are_two_runs_of_one_recording() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rec");
    let file = file.to_str().unwrap();
    for _ in 0..2 {
        let mut daemon = Daemon::start(&["--record", file]);
        let pusher = PushClient::open(daemon.push).unwrap();
        assert_eq!(pusher.push(r#"{"uid":"5"}"#).as_deref(), Some("queued"));
        daemon.sigterm();
        assert_eq!(exit_code(daemon.wait(SOON).expect("it ends")), 0);
    }
    let replay = replay(&[file]);
    assert_eq!(replay.code, 0, "{}", replay.err);
    assert_eq!(replay.out.matches("the gateway stopped at").count(), 2, "{}", replay.out);
    assert_eq!(replay.out.matches("reply queued").count(), 2, "{}", replay.out);
}

/// No file may grow beyond 8 blocks, as on a full disk.
#[test]
fn a_full_disk_ends_the_recording_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("rec");
    let script = r#"trap "" XFSZ; ulimit -f 8; exec "$0" "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(binary()).args(["serve", "--store", "memory"]);
    command
        .args(["--ws", "127.0.0.1:0", "--push", "127.0.0.1:0"])
        .args(["--log-level", "error", "--record"])
        .arg(&file);
    let mut daemon = Daemon::of(Process::spawn_command(command));
    let pusher = PushClient::open(daemon.push).unwrap();
    let line = format!(r#"{{"uid":"5","Data":"{}"}}"#, "d".repeat(300));
    let stops = || daemon.lines(Source::Stdout).join("\n").matches("[record stop]").count();
    let mut pushed = 0;
    assert!(poll_until(SOON, || {
        pushed += 1;
        assert!(pusher.push(&line).is_some());
        stops() > 0
    }));
    assert!(pusher.push(&line).is_some(), "the gateway goes on");
    daemon.sigterm();
    assert_eq!(exit_code(daemon.wait(SOON).expect("it ends")), 0);
    assert_eq!(daemon.lines(Source::Stdout).join("\n").matches("[record stop]").count(), 1);
    let replay = replay(&[file.to_str().unwrap()]);
    assert_eq!(replay.code, 0, "{}", replay.err);
    assert!(replay.err.contains("the recording stopped at"), "{}", replay.err);
    let told = replay.out.matches(" line ").count();
    assert!(0 < told && told < pushed, "{told} of {pushed}");
}

#[test]
fn a_recording_that_cannot_be_begun_is_refused() {
    let file = Path::new("/nonexistent/rec").to_str().unwrap();
    let arguments = ["serve", "--ws", "127.0.0.1:0", "--push", "127.0.0.1:0", "--record", file];
    let mut process = Process::spawn(&arguments);
    assert_eq!(process.wait(SOON).map(exit_code), Some(1));
    let lines = process.lines(Source::Stderr).join("\n");
    assert!(lines.contains("error: cannot record: /nonexistent/rec"), "{lines}");
}
