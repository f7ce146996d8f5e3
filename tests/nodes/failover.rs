//! Another server takes over.

use super::fleet::{SOON, push_of};
use super::server::{RedisServer, free_port, wait_for};
use super::storms::{Storm, durable, is_empty, storm};
use crate::support::daemon::{Daemon, Process, Source, binary};
use crate::support::push_client::PushClient;
use crate::support::{poll_until, unique_key};
use redis::Value;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

/// An address that leads to one server or another, as a virtual address or a proxy does. Connections
/// that exist stay where they are.
struct Switch {
    address: SocketAddr,
    target: Arc<Mutex<String>>,
}

impl Switch {
    fn to(server: &RedisServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let target = Arc::new(Mutex::new(server.name()));
        let targets = Arc::clone(&target);
        // It ends with the process: nothing connects to it after the test.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let target = targets.lock().expect("nobody panicked with it").clone();
                if let Ok(server) = TcpStream::connect(target) {
                    join(client, server).ok();
                }
            }
        });
        Self { address, target }
    }

    fn turn_to(&self, server: &RedisServer) {
        *self.target.lock().expect("nobody panicked with it") = server.name();
    }
}

/// Copies both ways until both have ended.
fn join(client: TcpStream, server: TcpStream) -> io::Result<()> {
    for (mut from, mut to) in
        [(client.try_clone()?, server.try_clone()?), (server.try_clone()?, client.try_clone()?)]
    {
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(bytes @ 1..) = from.read(&mut buffer) {
                if to.write_all(&buffer[..bytes]).is_err() {
                    break;
                }
            }
            let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
        });
    }
    Ok(())
}

fn follows(replica: &RedisServer, master: &RedisServer) {
    let port = master.name().replace("127.0.0.1:", "");
    replica.ask(&["REPLICAOF", "127.0.0.1", &port]);
    wait_for("the replica to be in step", || {
        let Value::BulkString(info) = replica.ask(&["INFO", "replication"]) else { return None };
        String::from_utf8_lossy(&info).contains("master_link_status:up").then_some(())
    });
}

#[test]
fn what_replicas_have_outlives_a_failover() {
    let (one, two) = (durable(), durable());
    follows(&two, &one);
    let switch = Switch::to(&one);
    let url = format!("redis://{}", switch.address);
    let failovers = |storm: &mut Storm<'_>| {
        for (master, replica) in [(&one, &two), (&two, &one), (&one, &two)] {
            replica.ask(&["REPLICAOF", "NO", "ONE"]);
            switch.turn_to(replica);
            // What the old master is told from now on is READONLY, and what it alone has is gone.
            follows(master, replica);
            storm.recovers();
        }
    };
    let flags = ["--redis-wait-replicas=1", "--store-timeout=2s"];
    let totals = storm("what_replicas_have", &url, &flags, failovers, || is_empty(&two));
    assert!(totals.ok + totals.queued > 1_000 && totals.failed > 0, "{totals}");
}

/// One that watches a master; it ends with its value.
struct Sentinel {
    child: Child,
    port: u16,
    _directory: TempDir,
}

/// A master is given up after this time. One that syncs each write on a busy disk is silent for long.
const DOWN_AFTER_MS: u64 = 3_000;

impl Sentinel {
    fn of(master: &RedisServer) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let master_port = master.name().replace("127.0.0.1:", "");
        let settings = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master_port} 1\n\
             sentinel down-after-milliseconds main {DOWN_AFTER_MS}\n\
             sentinel failover-timeout main 3000\n"
        );
        let file = directory.path().join("sentinel.conf");
        std::fs::write(&file, settings).expect("the directory is writable");
        // The same program as a server, under the name that makes it a sentinel.
        let child = Command::new("redis-server")
            .arg(file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        let sentinel = Self { child, port, _directory: directory };
        // It asks the master for its replicas.
        wait_for("the sentinel to know the replicas", || {
            let Ok(Value::Array(replicas)) = sentinel.ask(&["SENTINEL", "REPLICAS", "main"]) else {
                return None;
            };
            (replicas.len() == 2).then_some(())
        });
        sentinel
    }

    fn ask(&self, args: &[&str]) -> redis::RedisResult<Value> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        redis::Cmd::new().arg(args).query(&mut client.get_connection()?)
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn gateways_follow_what_sentinels_say() {
    let mut one = durable();
    let replicas = [durable(), durable()];
    replicas.iter().for_each(|it| follows(it, &one));
    let sentinel = Sentinel::of(&one);
    // The first one that is asked is not there.
    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/main", sentinel.port);
    let kill = |storm: &mut Storm<'_>| {
        one.kill();
        storm.fails();
        storm.recovers();
    };
    let flags = ["--redis-wait-replicas=1", "--store-timeout=2s"];
    let is_empty = || {
        let (master, _) = master_of(&replicas);
        is_empty(master)
    };
    let totals = storm("gateways_follow", &url, &flags, kill, is_empty);
    assert!(totals.ok + totals.queued > 1_000 && totals.failed > 0, "{totals}");
}

/// The one of the two that is the master, and the other.
fn master_of([one, two]: &[RedisServer; 2]) -> (&RedisServer, &RedisServer) {
    let Value::BulkString(info) = one.ask(&["INFO", "replication"]) else { panic!("no INFO") };
    if String::from_utf8_lossy(&info).contains("role:master") { (one, two) } else { (two, one) }
}

/// Makes an authority, and a certificate of its for the loopback address.
fn certify(directory: &Path) {
    let run = |args: &str| {
        let output = Command::new("openssl").args(args.split(' ')).current_dir(directory).output();
        let output = output.expect("openssl starts");
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    };
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1").expect("it is writable");
    let new = "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    run(&format!("{new} -x509 -days 1 -subj /CN=authority -keyout ca.key -out ca.crt"));
    run(&format!("{new} -subj /CN=redis -keyout redis.key -out redis.csr"));
    run("x509 -req -days 1 -in redis.csr -CA ca.crt -CAkey ca.key -extfile names -out redis.crt");
}

#[test]
fn tls_leads_to_those_that_can_prove_who_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    certify(directory.path());
    let file = |name: &str| directory.path().join(name).display().to_string();
    let port = free_port().to_string();
    let _redis = RedisServer::start_with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &file("redis.crt"),
        "--tls-key-file",
        &file("redis.key"),
        "--tls-auth-clients",
        "no",
    ]);
    let start = |authority: Option<String>| {
        let mut command = Command::new(binary());
        let url = format!("--redis=rediss://127.0.0.1:{port}");
        command.args(["serve", "--ws=127.0.0.1:0", "--push=127.0.0.1:0", &url]);
        command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
        command.envs(authority.map(|file| ("SSL_CERT_FILE", file)));
        Daemon::of(Process::spawn_command(command))
    };
    let answer = |daemon: &Daemon| {
        let pusher = PushClient::open(daemon.push).expect("the push port accepts");
        pusher.push(&push_of(&unique_key(), "m"))
    };
    let trusting = start(Some(file("ca.crt")));
    assert_eq!(answer(&trusting).as_deref(), Some("queued"), "{}", trusting.output());
    let doubting = start(None);
    assert_eq!(answer(&doubting).as_deref(), Some("fail"), "{}", doubting.output());
    let says_why = || {
        let lines = doubting.lines(Source::Stdout);
        lines.iter().any(|it| it.contains("[store failing]") && it.contains("certificate"))
    };
    assert!(poll_until(SOON, says_why), "{}", doubting.output());
}
