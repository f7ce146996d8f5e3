//! Running out of file descriptors: the gateway says so, rests, and goes on when it can. A test
//! binary of its own, since the limit is the whole process's.

mod support;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs::File;
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use steadfast_core::record::Record;
use steadfast_core::time::Time;
use steadfast_shell::journal::{Journal, Trouble};
use steadfast_shell::machine::Machine;
use steadfast_shell::reactor::Reactor;
use support::{NoStore, PATIENCE, config};

/// Sends what the loop complains of to the test.
struct Complaints(Sender<String>);

impl Journal for Complaints {
    fn record(&mut self, _now: Time, _record: Record) {}

    fn trouble(&mut self, _now: Time, trouble: Trouble) {
        let Trouble::AcceptFailed { listener, error } = trouble else {
            panic!("{trouble:?}");
        };
        // The test may have ended.
        let _ = self.0.send(format!("{listener}: {error}"));
    }
}

/// Tells the test of each event.
struct Count(Sender<()>);

impl Machine for Count {
    fn handle(
        &mut self,
        _now: Time,
        _event: steadfast_core::event::Event,
        _commands: &mut Vec<steadfast_core::command::Command>,
    ) {
        // The test may have ended.
        let _ = self.0.send(());
    }

    fn next_deadline(&self) -> Option<Time> {
        None
    }
}

#[test]
fn accepting_goes_on_once_there_are_descriptors_again() {
    let (complain, complaints) = channel();
    let (count, accepted) = channel();
    let journal = Complaints(complain);
    let mut reactor = Reactor::bind(&config(), Count(count), NoStore, journal).unwrap();
    let (address, handle) = (reactor.local_addrs().ws, reactor.handle());
    // All descriptors are taken but the one that the test's own end needs.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: limit.maximum }).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    let client = TcpStream::connect(address).unwrap();
    let thread = std::thread::spawn(move || reactor.run().unwrap());
    let complaint = complaints.recv_timeout(PATIENCE).unwrap();
    assert!(complaint.starts_with(&address.to_string()), "{complaint}");
    assert!(accepted.try_recv().is_err(), "nothing can be accepted yet");
    files.clear();
    accepted.recv_timeout(PATIENCE).unwrap();
    let again = complaints.try_iter().count();
    assert!(again < 100, "it rests between two tries, and does not spin: {again}");
    setrlimit(Resource::Nofile, limit).unwrap();
    drop(client);
    handle.shutdown();
    thread.join().unwrap();
}
