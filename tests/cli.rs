//! The program as its users see it: output, errors and exit codes of every command, and the small
//! clients against sockets of this test.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::io::{BufRead as _, BufReader, ErrorKind, Lines, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};
use tungstenite::{Error, Message, WebSocket};

/// Longer than anything here takes, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program, in an environment without settings.
fn steadfast(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steadfast"));
    command.args(args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STEADFAST_") {
            command.env_remove(name);
        }
    }
    command
}

fn code(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_accepts_the_defaults() {
    let output = steadfast(&["check"]).output().unwrap();
    assert_eq!(code(&output), Some(0));
    assert_eq!(stdout(&output), "the configuration is valid\n");
    assert_eq!(stderr(&output), "");
}

#[test]
fn what_check_prints_can_be_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.toml");
    let first = steadfast(&["check", "--print", "--ttl", "90s", "--push-allow-remote"])
        .env("STEADFAST_BIND_RULES", "prefix:desk-=kick")
        .output()
        .unwrap();
    assert_eq!(code(&first), Some(0));
    let printed = stdout(&first);
    assert!(printed.contains("ttl = \"90s\"  # --ttl\n"), "{printed}");
    assert!(printed.contains("push_allow_remote = true  # --push-allow-remote\n"), "{printed}");
    let rules = "bind_rules = [\"prefix:desk-=kick\"]  # STEADFAST_BIND_RULES\n";
    assert!(printed.contains(rules), "{printed}");
    fs::write(&path, &printed).unwrap();
    let again =
        steadfast(&["check", "--print", "--config", path.to_str().unwrap()]).output().unwrap();
    let values = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines.map(|line| line.split("  #").next().unwrap().to_owned()).collect()
    };
    assert_eq!(values(&stdout(&again)), values(&printed));
    assert!(stdout(&again).contains("sf.toml:"), "each value names its line");
}

#[test]
fn check_says_everything_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sf.toml");
    fs::write(&path, "idel_timeout = '5s'\nretry_max = 0\n").unwrap();
    let output = steadfast(&["check", "--ws", "here"])
        .env("STEADFAST_CONFIG", &path)
        .env("STEADFAST_TLL", "1h")
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(1));
    let problems = stderr(&output);
    assert_eq!(problems.lines().count(), 4, "{problems}");
    assert!(problems.lines().all(|line| line.starts_with("error: ")), "{problems}");
    for part in ["sf.toml:1", "sf.toml:2", "did you mean STEADFAST_TTL?", "ws = \"here\" (--ws)"] {
        assert!(problems.contains(part), "{part} is not in {problems}");
    }
}

#[test]
fn errors_are_one_line_and_their_exit_code_is_not_0() {
    for (args, expected, part) in [
        (&["check", "--config", "/nonexistent.toml"][..], 1, "/nonexistent.toml (--config)"),
        (&["serve", "--config", "/nonexistent.toml"], 1, "/nonexistent.toml (--config)"),
        (&["--push", "0.0.0.0:0"], 1, "push_allow_remote"),
        (&["--log-level", "error", "--log-file", "/nonexistent/sf.log"], 1, "/nonexistent/sf.log"),
        (&["push", "5", "x", "--addr", "nowhere"], 1, "write host:port"),
        (&["listen", "5", "--url", "http://x/"], 1, "does not begin with ws://"),
        (&["listen", " "], 1, "empty after trimming"),
        (&["push", "", "x"], 2, "'[KEY]': it is empty"),
        (&["queue", "show", ""], 2, "'<KEY>': it is empty"),
        (&["dead", "list", "--key", ""], 2, "'--key <KEY>': it is empty"),
    ] {
        let output = steadfast(args).output().unwrap();
        assert_eq!(code(&output), Some(expected), "{args:?}");
        let errors = stderr(&output);
        let errors: Vec<_> = errors.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains(part), "{errors:?}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn too_few_file_descriptors_for_what_was_asked_are_an_error() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 400 && exec \"$0\" --max-connections 500"])
        .arg(env!("CARGO_BIN_EXE_steadfast"))
        .output()
        .unwrap();
    assert_eq!(code(&output), Some(1));
    assert_eq!(
        stderr(&output),
        "error: max_connections = 500 (--max-connections) needs 884 open files, but the limit is \
         400; raise it (ulimit -n 884 or LimitNOFILE=884) or lower max_connections\n"
    );
}

/// A gateway on free ports.
struct Daemon {
    process: Child,
    /// The line that says it is ready.
    ready: String,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Daemon {
    /// Started through a shell that first runs `prelude`.
    fn start(prelude: &str, args: &[&str]) -> Self {
        let mut process = Command::new("sh")
            .args(["-c", &format!("{prelude} exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_steadfast"))
            .args(["--ws", "127.0.0.1:0", "--push", "127.0.0.1:0", "--store", "memory"])
            .env("STEADFAST_ADMIN", "off")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.next().unwrap().unwrap();
        Self { process, ready, lines }
    }

    /// The addresses of the ready line.
    fn addresses(&self) -> (String, String) {
        let rest = self.ready.strip_prefix("steadfast ready ws=").unwrap();
        let (ws, push) = rest.split_once(" push=").unwrap();
        (ws.to_owned(), push.to_owned())
    }

    fn signal(&self, signal: &str) {
        signal_process(&self.process, signal);
    }

    /// Its exit code, the rest of its log, and its warnings and errors.
    fn finish(self) -> (Option<i32>, String, String) {
        let log: Vec<_> = self.lines.map(Result::unwrap).collect();
        let output = self.process.wait_with_output().unwrap();
        (code(&output), log.join("\n"), stderr(&output))
    }
}

fn signal_process(process: &Child, signal: &str) {
    let id = process.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
}

#[test]
fn serve_is_ready_logs_and_stops_on_a_signal() {
    for signal in ["-TERM", "-INT"] {
        let daemon = Daemon::start("", &["--max-connections=100", "--log-level=debug"]);
        let (ws, push) = daemon.addresses();
        assert!(!ws.ends_with(":0") && !push.ends_with(":0"), "{}", daemon.ready);
        let listener = steadfast(&["listen", "5", "--count", "1", "--url", &format!("ws://{ws}/")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pushed = steadfast(&["push", "5", "hello", "--addr", &push]).output().unwrap();
        assert_eq!(code(&pushed), Some(0));
        let heard = listener.wait_with_output().unwrap();
        assert_eq!(stdout(&heard), "{\"uid\":\"5\",\"Data\":\"hello\"}\n");
        daemon.signal(signal);
        let (code, log, warnings) = daemon.finish();
        assert_eq!(code, Some(0), "{log}{warnings}");
        assert_eq!(warnings, "");
        let sent = "content={\"uid\":\"5\",\"Data\":\"hello\"}";
        assert!(log.contains("[push prepare] connId=p0.0 uid=5 ") && log.contains(sent), "{log}");
        assert!(log.contains("[close] connId=c0.0 uid=5 "), "{log}");
        assert!(log.contains("[confirm] connId=c0.0 uid=5 "), "{log}");
        assert!(!log.contains("[retry fail]"), "what was printed is confirmed: {log}");
    }
}

#[test]
fn a_listener_of_the_link_protocol_acknowledges_what_it_prints() {
    let daemon = Daemon::start("", &["--max-connections=100", "--log-level=debug"]);
    let (ws, push) = daemon.addresses();
    let url = format!("ws://{ws}/");
    for round in ["first", "second"] {
        for data in [round, "next"] {
            let pushed = steadfast(&["push", "seven", data, "--addr", &push]).output().unwrap();
            assert_eq!(code(&pushed), Some(0));
        }
        let arguments = ["listen", "seven", "--link", "--count", "2", "--url", &url];
        let heard = steadfast(&arguments).output().unwrap();
        assert_eq!(code(&heard), Some(0), "{}", stderr(&heard));
        let expect = format!(
            "{{\"uid\":\"seven\",\"Data\":\"{round}\"}}\n{{\"uid\":\"seven\",\"Data\":\"next\"}}\n"
        );
        assert_eq!(stdout(&heard), expect, "each once, and nothing of an earlier round");
    }
    let refused = steadfast(&["listen", "device:1", "--link", "--url", &url]).output().unwrap();
    assert_eq!(code(&refused), Some(1));
    assert!(stderr(&refused).contains("does not want this client"), "{}", stderr(&refused));
    daemon.signal("-TERM");
    assert_eq!(daemon.finish().0, Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let daemon = Daemon::start("", &["--log-level", "off", "--shutdown-timeout", "1h"]);
    let (ws, _) = daemon.addresses();
    // A client that does not answer the close frame keeps the stop from being over.
    let mut client = TcpStream::connect(&ws).unwrap();
    client
        .write_all(
            b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut client = BufReader::new(client);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert_ne!(client.read_line(&mut line).unwrap(), 0, "the upgrade is answered");
    }
    daemon.signal("-TERM");
    // Signals that come together are one: the second has to wait until the first was seen.
    client.read_exact(&mut [0; 2]).unwrap();
    daemon.signal("-TERM");
    let (code, ..) = daemon.finish();
    assert_eq!(code, Some(143));
}

#[test]
fn a_default_of_too_many_connections_is_lowered_with_a_warning() {
    let daemon = Daemon::start("ulimit -n 400 &&", &["--log-level", "off"]);
    daemon.signal("-TERM");
    let (code, _, warnings) = daemon.finish();
    assert_eq!(code, Some(0));
    assert_eq!(
        warnings,
        "warning: max_connections = 100000 (default) needs 100384 open files, but the limit is \
         400; going on with 16 (for more: ulimit -n or LimitNOFILE=)\n"
    );
}

#[test]
fn a_port_in_use_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    for args in [["--ws", &addr, "--push", "127.0.0.1:0"], ["--push", &addr, "--ws", "127.0.0.1:0"]]
    {
        let output = steadfast(&args).args(["--max-connections", "100"]).output().unwrap();
        assert_eq!(code(&output), Some(1));
        let errors = stderr(&output);
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.starts_with("error: ") && errors.contains(&addr), "{errors}");
        assert!(errors.contains(&args[0][2..]), "the setting is named: {errors}");
    }
}

#[test]
fn what_is_no_command_line_ends_with_2() {
    for args in [&["--idle-timout", "5s"][..], &["sevre"], &["push", "5"], &["listen"]] {
        let output = steadfast(args).output().unwrap();
        assert_eq!(code(&output), Some(2), "{args:?}");
        assert!(!stderr(&output).is_empty());
    }
    let output = steadfast(&["--idle-timout", "5s"]).output().unwrap();
    assert!(stderr(&output).contains("--idle-timeout"), "a suggestion is made");
}

#[test]
fn help_and_version_are_there() {
    for args in [&["-h"][..], &["--help"], &["serve", "--help"], &["push", "-h"], &["--version"]] {
        let output = steadfast(args).output().unwrap();
        assert_eq!(code(&output), Some(0), "{args:?}");
        assert!(stdout(&output).starts_with(|c: char| c.is_alphabetic()), "{args:?}");
    }
}

/// A push port that gives one answer; what `steadfast push` sent, printed and ended with.
fn push(args: &[&str], answer: &'static str) -> (String, String, Option<i32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (&stream).write_all(answer.as_bytes()).unwrap();
        line
    });
    let output = steadfast(&[&["push", "--addr", &addr], args].concat()).output().unwrap();
    (server.join().unwrap(), stdout(&output), code(&output))
}

#[test]
fn push_sends_a_line_and_tells_the_answer() {
    for (args, answer, line, exit) in [
        (&["5", "hello"][..], "ok\n", "{\"uid\":\"5\",\"Data\":\"hello\"}\n", 0),
        (&["5", "{\"a\":1}"], "queued\n", "{\"uid\":\"5\",\"a\":1}\n", 0),
        (&["--raw", "{\"uid\":5}"], "fail\n", "{\"uid\":5}\n", 1),
        (&["5", "--", "-x"], "ok\n", "{\"uid\":\"5\",\"Data\":\"-x\"}\n", 0),
    ] {
        let (sent, printed, code) = push(args, answer);
        assert_eq!((sent.as_str(), printed.as_str(), code), (line, answer, Some(exit)));
    }
}

/// A WebSocket port that a listener was pointed at.
struct Gateway {
    listener: TcpListener,
    client: Child,
}

impl Gateway {
    fn with_listener(args: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let client = steadfast(&[&["listen", "--url", &url], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { listener, client }
    }

    /// The listener's next connection, and the first message on it.
    fn accept(&self) -> (WebSocket<TcpStream>, String) {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let first = receive(&mut socket).into_text().unwrap().to_string();
        (socket, first)
    }

    fn signal(&self) {
        signal_process(&self.client, "-INT");
    }

    fn finish(self) -> Output {
        self.client.wait_with_output().unwrap()
    }
}

/// The next message. A read with a timeout also ends when a child process does.
fn receive(socket: &mut WebSocket<TcpStream>) -> Message {
    loop {
        match socket.read() {
            Err(Error::Io(error)) if error.kind() == ErrorKind::Interrupted => {}
            result => return result.unwrap(),
        }
    }
}

fn send(socket: &mut WebSocket<TcpStream>, text: &str) {
    socket.send(Message::text(text)).unwrap();
}

#[test]
fn listen_prints_messages_and_ends_after_as_many_as_asked_for() {
    let gateway = Gateway::with_listener(&["5", "--count", "2"]);
    let (mut socket, first) = gateway.accept();
    assert_eq!(first, "5");
    send(&mut socket, "{\"uid\":\"5\",\"Data\":\"one\"}");
    send(&mut socket, "biubiubiu");
    send(&mut socket, "two");
    send(&mut socket, "three");
    assert!(receive(&mut socket).is_close(), "it says goodbye");
    let output = gateway.finish();
    assert_eq!(code(&output), Some(0));
    assert_eq!(stdout(&output), "{\"uid\":\"5\",\"Data\":\"one\"}\ntwo\n");
    assert!(stderr(&output).contains("\nconnected\n"), "{}", stderr(&output));
}

#[test]
fn listen_speaks_json() {
    let gateway = Gateway::with_listener(&["5", "--count", "1", "--json"]);
    let (mut socket, _) = gateway.accept();
    send(&mut socket, "a \"b\"\n");
    let printed = stdout(&gateway.finish());
    assert!(printed.starts_with("{\"time\":\"2"), "{printed}");
    assert!(printed.ends_with("Z\",\"data\":\"a \\\"b\\\"\\n\"}\n"), "{printed}");
}

#[test]
fn listen_comes_back_after_at_least_a_second_and_ends_well_on_ctrl_c() {
    let gateway = Gateway::with_listener(&["{\"uid\":\"1\",\"FunctionType\":4}"]);
    let (socket, first) = gateway.accept();
    assert_eq!(first, "{\"uid\":\"1\",\"FunctionType\":4}");
    let lost = Instant::now();
    drop(socket);
    let (mut socket, again) = gateway.accept();
    assert!(lost.elapsed() >= Duration::from_secs(1), "{:?}", lost.elapsed());
    assert_eq!(again, first);
    gateway.signal();
    assert!(receive(&mut socket).is_close(), "it says goodbye");
    let output = gateway.finish();
    assert_eq!(code(&output), Some(0));
    assert!(stderr(&output).contains("\nreconnecting\n"), "{}", stderr(&output));
}

#[test]
fn listen_sends_its_heartbeat() {
    let gateway = Gateway::with_listener(&["77"]);
    let (mut socket, _) = gateway.accept();
    let begun = Instant::now();
    send(&mut socket, "biubiubiu");
    assert_eq!(receive(&mut socket), Message::text("77"));
    assert!(begun.elapsed() >= Duration::from_secs(4), "{:?}", begun.elapsed());
    gateway.signal();
    assert_eq!(code(&gateway.finish()), Some(0));
}
