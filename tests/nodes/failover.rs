//! Another server takes over.

use super::server::{RedisServer, wait_for};
use super::storms::{Storm, durable, is_empty, storm};
use redis::Value;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

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
