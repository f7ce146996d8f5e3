//! The canary: a client of the gateway's own, to which a message is pushed every few seconds. It
//! connects to the WebSocket port like any client and is pushed to like any client; when its message
//! does not come back in time, something on the way is broken, whatever it is.
//!
//! Its key is drawn at the start, so that nobody can guess and take it.

use super::health::Health;
use crate::client::socket::{Arrival, Socket, Target};
use crate::reactor::{Courier, Request};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use steadfast_core::command::Reply;
use steadfast_core::event::PushRequest;
use steadfast_core::id::Key;
use steadfast_core::operator::OperatorRequest;
use steadfast_core::time::Span;

/// A message has to come back within this.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Its messages do not outlive it for long.
const TTL: Span = Span::from_secs(60);

/// Sends the canary out on a thread of its own, until the process ends.
pub(super) fn start(
    ws: SocketAddr,
    courier: Courier,
    health: Arc<Health>,
    interval: Duration,
) -> io::Result<()> {
    let mut secret = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
    let key = format!("steadfast-canary:{:032x}", u128::from_ne_bytes(secret));
    let canary = Canary { url: format!("ws://{}/", reachable(ws)), key, courier, health, interval };
    thread::Builder::new().name("canary".to_owned()).spawn(move || canary.fly())?;
    Ok(())
}

/// The address at which this machine reaches a listener.
fn reachable(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    SocketAddr::new(ip, address.port())
}

struct Canary {
    url: String,
    key: String,
    courier: Courier,
    health: Arc<Health>,
    interval: Duration,
}

impl Canary {
    fn fly(&self) {
        loop {
            let why = match self.connect() {
                Ok(mut socket) => self.commute(&mut socket),
                Err(why) => why,
            };
            self.health.failed(&why);
            self.clean_up();
            thread::sleep(self.interval.min(Duration::from_secs(1)));
        }
    }

    fn connect(&self) -> Result<Socket, String> {
        let mut socket = Socket::open(&Target::parse(&self.url)?, None)?;
        socket.send(&self.key.as_str().into())?;
        Ok(socket)
    }

    /// Pushes and waits for the message, again and again; ends with what went wrong.
    fn commute(&self, socket: &mut Socket) -> String {
        for flight in 0_u64.. {
            let began = Instant::now();
            let data = format!("{{\"canary\":{flight}}}");
            if let Err(why) = self.push(&data).and_then(|()| await_text(socket, &data, began)) {
                return why;
            }
            self.health.came_back(began.elapsed());
            let next = began + self.interval;
            while let Some(left) = next.checked_duration_since(Instant::now()) {
                if let Arrival::End(why, _) = socket.receive(left) {
                    return format!("its connection ended: {why}");
                }
            }
        }
        unreachable!("no canary lives so long")
    }

    fn push(&self, data: &str) -> Result<(), String> {
        let request = PushRequest {
            key: self.key.as_str().into(),
            data: data.into(),
            idempotency: None,
            ttl: Some(TTL),
        };
        let (sender, receiver) = mpsc::channel();
        let take = Box::new(move |reply| {
            let _ = sender.send(reply);
        });
        let brought = self.courier.bring(Request::Push(request, take));
        brought.map_err(|_| "the event loop takes no requests".to_owned())?;
        match receiver.recv_timeout(TIMEOUT) {
            Ok(Reply::Ok(_) | Reply::Queued(_)) => Ok(()),
            Ok(Reply::Fail(reason)) => Err(format!("its push failed: {}", reason.text())),
            Err(_) => Err(format!("its push was not answered within {} s", TIMEOUT.as_secs())),
        }
    }

    /// Drops what waits for a canary that could not be reached.
    fn clean_up(&self) {
        let key = Key::new(self.key.as_str());
        let request = OperatorRequest::PurgeQueue { key, ids: Vec::new(), limit: 1_000 };
        // What is not dropped now is the next time, or dies of age.
        let _ = self.courier.bring(Request::Operator(request, Box::new(|_| {})));
    }
}

/// Waits for this text; other messages are answers to an earlier flight.
fn await_text(socket: &mut Socket, text: &str, began: Instant) -> Result<(), String> {
    let late = || format!("its message did not come back within {} s", TIMEOUT.as_secs());
    loop {
        let left = TIMEOUT.checked_sub(began.elapsed()).ok_or_else(late)?;
        match socket.receive(left) {
            Arrival::Text(arrived) if *arrived == *text => return Ok(()),
            Arrival::End(why, _) => return Err(format!("its connection ended: {why}")),
            Arrival::Text(_) | Arrival::Pong | Arrival::Ping | Arrival::Nothing => {}
        }
    }
}
