//! The server: its connections, its commands, and what survives it.

use super::frame::Frames;
use super::reply::{Reply, notice_bytes};
use super::request::operations;
use crate::disk::{Disk, Wreck};
use redis::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use steadfast_core::store::{Answer, Op};
use steadfast_core::time::Time;
use steadfast_shell::codec::redis::encode::{Together, UNLINK, channel};
use steadfast_shell::codec::redis::scripts::{Clock, Script, Scripts};

/// Why a server does not do what it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It reads its data after a start.
    Loading,
    /// It has become a replica.
    ReadOnly,
    /// Its memory is full.
    OutOfMemory,
}

/// A Redis server.
#[derive(Debug)]
pub struct Server {
    prefix: String,
    scripts: Scripts,
    clock: Clock,
    pub(super) kept: Kept,
    run: Run,
    /// The number of the last connection, over all runs.
    last_peer: u64,
    refusal: Option<Refusal>,
    /// What was carried out since somebody asked, if that is noted.
    done: Option<Vec<(Op, Answer)>>,
}

/// What survives a crash.
#[derive(Debug)]
pub(super) struct Kept {
    /// What the scripts work on.
    store: Disk,
    strings: BTreeMap<Vec<u8>, Vec<u8>>,
    /// By key and field. Sets are here as well, with their members as fields.
    pub(super) hashes: BTreeMap<(Vec<u8>, Vec<u8>), Vec<u8>>,
    /// Newest entry first.
    pub(super) lists: BTreeMap<Vec<u8>, VecDeque<Vec<u8>>>,
}

/// What a run of the server has besides.
#[derive(Debug, Default)]
struct Run {
    loaded: BTreeSet<String>,
    peers: BTreeMap<u64, Peer>,
    /// Commands that have come and are not carried out.
    queue: VecDeque<(u64, Vec<Vec<u8>>)>,
}

/// A connection.
#[derive(Debug, Default)]
struct Peer {
    frames: Frames,
    output: Vec<u8>,
    channel: Option<Vec<u8>>,
}

impl Server {
    /// An empty server, for gateways whose keys have this prefix. Leases are held against
    /// [`set_time`](Self::set_time) or against what the operations tell. The seed is for hashing.
    #[must_use]
    pub fn new(prefix: &str, clock: Clock, seed: u64) -> Self {
        let kept = Kept {
            store: Disk::new(seed),
            strings: BTreeMap::new(),
            hashes: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        Self {
            prefix: prefix.to_owned(),
            scripts: Scripts::new(clock),
            clock,
            kept,
            run: Run::default(),
            last_peer: 0,
            refusal: None,
            done: None,
        }
    }

    /// What it shows on its clock.
    pub fn set_time(&mut self, now: Time) {
        if self.clock == Clock::Server {
            self.kept.store.model_mut().set_clock(now);
        }
    }

    /// Whether it refuses what it is told from now on.
    pub fn refuse(&mut self, refusal: Option<Refusal>) {
        self.refusal = refusal;
    }

    /// Whether it notes what it carries out.
    pub fn note_done(&mut self, notes: bool) {
        self.done = notes.then(Vec::new);
    }

    /// What it has carried out since the last call.
    pub fn take_done(&mut self) -> Vec<(Op, Answer)> {
        self.done.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// What it keeps.
    #[must_use]
    pub fn store(&self) -> &Disk {
        &self.kept.store
    }

    /// The same, for who takes what a judge has to know.
    pub fn store_mut(&mut self) -> &mut Disk {
        &mut self.kept.store
    }

    /// The list of this name, the oldest entry first.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let list = self.kept.lists.get(name.as_bytes());
        list.into_iter().flatten().rev().map(Vec::as_slice)
    }

    /// Somebody connects: the connection's number.
    pub fn connect(&mut self) -> u64 {
        self.last_peer += 1;
        self.run.peers.insert(self.last_peer, Peer::default());
        self.last_peer
    }

    /// Bytes have come. Commands are carried out by [`execute`](Self::execute).
    pub fn receive(&mut self, peer: u64, bytes: &[u8]) {
        let Some(Peer { frames, .. }) = self.run.peers.get_mut(&peer) else { return };
        frames.put(bytes);
        while let Some(value) = frames.next() {
            self.run.queue.push_back((peer, words(value)));
        }
    }

    /// Carries out at once what comes by a connection, before what waits: the replies. `None` when there
    /// is no such connection.
    pub fn ask(&mut self, peer: u64, bytes: &[u8]) -> Option<Vec<u8>> {
        let Peer { frames, .. } = self.run.peers.get_mut(&peer)?;
        frames.put(bytes);
        let commands: Vec<_> = std::iter::from_fn(|| frames.next()).map(words).collect();
        let mut reply = Reply::default();
        for command in commands {
            self.command(peer, command, &mut reply);
        }
        Some(reply.0)
    }

    /// A connection has ended. What came by it is carried out all the same.
    pub fn disconnect(&mut self, peer: u64) {
        self.run.peers.remove(&peer);
    }

    /// How many commands wait to be carried out.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.run.queue.len()
    }

    /// Carries out all commands that have come.
    pub fn execute(&mut self) {
        while let Some((peer, command)) = self.run.queue.pop_front() {
            let mut reply = Reply::default();
            self.command(peer, command, &mut reply);
            if let Some(peer) = self.run.peers.get_mut(&peer) {
                peer.output.append(&mut reply.0);
            }
            self.publish();
        }
    }

    /// What a connection is sent; `None` when it is no more.
    pub fn output(&mut self, peer: u64) -> Option<Vec<u8>> {
        self.run.peers.get_mut(&peer).map(|peer| std::mem::take(&mut peer.output))
    }

    /// The connections that are subscribed to something.
    pub fn subscribers(&self) -> Vec<u64> {
        let peers = self.run.peers.iter();
        peers.filter(|(_, peer)| peer.channel.is_some()).map(|(number, _)| *number).collect()
    }

    /// The process ends. Of the commands that wait at most so many were carried out and synced, and
    /// none was answered.
    pub fn crash(&mut self, survivors: usize) -> Wreck {
        let kept = survivors.min(self.run.queue.len());
        let lost = self.run.queue.len() - kept;
        self.run.queue.truncate(kept);
        self.execute();
        self.run = Run::default();
        Wreck { kept, lost }
    }

    /// Sends what nodes are to be told to whoever is subscribed, and forgets it otherwise.
    fn publish(&mut self) {
        for (node, notice) in self.kept.store.model_mut().take_notices() {
            let name = channel(&self.prefix, &node);
            let mut message = Reply::default();
            message.array(3);
            message.bulk("message");
            message.bulk(&name);
            message.bulk(notice_bytes(&notice));
            let listeners = self.run.peers.values_mut();
            for peer in listeners.filter(|peer| peer.channel.as_ref() == Some(&name)) {
                peer.output.extend_from_slice(&message.0);
            }
        }
    }

    fn command(&mut self, peer: u64, words: Vec<Vec<u8>>, reply: &mut Reply) {
        let name = String::from_utf8_lossy(&words[0]).to_uppercase();
        if self.refusal == Some(Refusal::Loading) && !matches!(&*name, "INFO" | "CLIENT" | "SELECT")
        {
            return reply.error("LOADING Redis is loading the dataset in memory");
        }
        let is_refused = is_write(&name, self.refusal) && self.refuses_write(reply);
        if is_refused || self.list_command(&words, reply) {
            return;
        }
        let word = |index: usize| words.get(index).cloned().unwrap_or_default();
        match &*name {
            "PING" if self.run.peers.get(&peer).is_some_and(|peer| peer.channel.is_some()) => {
                reply.array(2);
                reply.bulk("pong");
                reply.bulk("");
            }
            "PING" => reply.simple("PONG"),
            "SELECT" => reply.simple("OK"),
            "INFO" => reply.bulk(self.info()),
            "CLIENT" => self.client(peer, &words, reply),
            "SCRIPT" => self.load(&word(2), reply),
            "EVALSHA" => self.call(words, reply),
            "EVAL" => self.unlink(&words, reply),
            "GET" => reply.maybe(self.kept.strings.get(&word(1))),
            "SET" => {
                let is_new = word(3).eq_ignore_ascii_case(b"NX");
                if is_new && self.kept.strings.contains_key(&word(1)) {
                    return reply.maybe(None::<&[u8]>);
                }
                self.kept.strings.insert(word(1), word(2));
                reply.simple("OK");
            }
            "INCR" => {
                let value = self.kept.strings.entry(word(1)).or_default();
                let text = String::from_utf8_lossy(value);
                let number = text.parse::<u64>().unwrap_or(0) + 1;
                *value = number.to_string().into_bytes();
                reply.int(number);
            }
            "HGET" => reply.maybe(self.kept.hashes.get(&(word(1), word(2)))),
            "HSETNX" if self.kept.hashes.contains_key(&(word(1), word(2))) => reply.int(0),
            "HSETNX" | "HSET" => {
                let before = self.kept.hashes.insert((word(1), word(2)), word(3));
                reply.int(u64::from(before.is_none()));
            }
            "LPUSH" => {
                let list = self.kept.lists.entry(word(1)).or_default();
                list.push_front(word(2));
                reply.int(list.len() as u64);
            }
            "SUBSCRIBE" => {
                if let Some(peer) = self.run.peers.get_mut(&peer) {
                    peer.channel = Some(word(1));
                }
                reply.array(3);
                reply.bulk("subscribe");
                reply.bulk(word(1));
                reply.int(1);
            }
            other => reply.error(&format!("ERR unknown command '{other}'")),
        }
    }

    fn refuses_write(&self, reply: &mut Reply) -> bool {
        match self.refusal {
            Some(Refusal::ReadOnly) => {
                reply.error("READONLY You can't write against a read only replica.");
            }
            Some(Refusal::OutOfMemory) => {
                reply.error("OOM command not allowed when used memory > 'maxmemory'.");
            }
            Some(Refusal::Loading) | None => return false,
        }
        true
    }

    fn info(&self) -> String {
        let is = |refusal| self.refusal == Some(refusal);
        let role = if is(Refusal::ReadOnly) { "slave" } else { "master" };
        let loading = u8::from(is(Refusal::Loading));
        format!(
            "# Server\r\nredis_version:7.0.15\r\nloading:{loading}\r\naof_enabled:1\r\n\
             maxmemory_policy:noeviction\r\nrole:{role}\r\n"
        )
    }

    fn client(&mut self, peer: u64, words: &[Vec<u8>], reply: &mut Reply) {
        match words {
            [_, what] if what == b"ID" => reply.int(peer),
            [_, what, by, number] if what == b"KILL" && by == b"ID" => {
                let number = String::from_utf8_lossy(number).parse().unwrap_or(0);
                let was = self.run.peers.remove(&number).is_some();
                // What it has sent is not read any more.
                self.run.queue.retain(|(other, _)| *other != number);
                reply.int(u64::from(was));
            }
            _ => reply.error("ERR unknown subcommand"),
        }
    }

    fn load(&mut self, text: &[u8], reply: &mut Reply) {
        let Some(script) = self.scripts.by_text(text) else {
            return reply.error("ERR no script that is known here");
        };
        let hash = self.scripts.hash(script).to_owned();
        reply.bulk(&hash);
        self.run.loaded.insert(hash);
    }

    /// Calls a script: its hash, the number of keys, which is one, the key, and its arguments.
    fn call(&mut self, mut words: Vec<Vec<u8>>, reply: &mut Reply) {
        let args = words.split_off(words.len().min(4));
        let hash = words.get(1).map(|hash| String::from_utf8_lossy(hash).into_owned());
        let hash = hash.filter(|hash| self.run.loaded.contains(hash));
        let Some(script) = hash.and_then(|hash| self.scripts.by_hash(&hash)) else {
            return reply.error("NOSCRIPT No matching script. Please use EVAL.");
        };
        if writes(script, self.refusal) && self.refuses_write(reply) {
            return;
        }
        if script == Script::Inspect {
            // Nothing else writes to these servers.
            return reply.array(0);
        }
        let Some(operations) = operations(script, args) else {
            return reply.error("ERR wrong arguments of a script");
        };
        if Together::of(&operations[0]).is_some() {
            reply.array(operations.len());
        }
        for op in operations {
            let noted = self.done.is_some().then(|| op.clone());
            let answer = self.kept.store.apply(op);
            if let (Some(done), Some(op)) = (&mut self.done, noted) {
                done.push((op, answer.clone()));
            }
            reply.answer(answer);
        }
    }

    /// The one script that is sent whole.
    fn unlink(&mut self, words: &[Vec<u8>], reply: &mut Reply) {
        let [_, text, _, key, field, value] = words else {
            return reply.error("ERR wrong number of arguments");
        };
        assert_eq!(text, UNLINK.as_bytes(), "no other script is sent whole");
        let place = (key.clone(), field.clone());
        if self.kept.hashes.get(&place) == Some(value) {
            self.kept.hashes.remove(&place);
        }
        reply.int(0);
    }
}

/// The words of a command.
fn words(value: Value) -> Vec<Vec<u8>> {
    let Value::Array(parts) = value else { panic!("a command is an array of words") };
    let word = |part| {
        let Value::BulkString(bytes) = part else { panic!("a word is a text, and not {part:?}") };
        bytes
    };
    parts.into_iter().map(word).collect()
}

/// Whether a server that refuses writes, or new data, refuses this command.
fn is_write(name: &str, refusal: Option<Refusal>) -> bool {
    match name {
        "SET" | "INCR" | "HSETNX" | "HSET" | "EVAL" | "SADD" => true,
        "LPUSH" | "RPOPLPUSH" | "BRPOPLPUSH" => true,
        "LREM" => refusal == Some(Refusal::ReadOnly),
        _ => false,
    }
}

/// Whether a server that refuses writes, or new data, refuses this script.
fn writes(script: Script, refusal: Option<Refusal>) -> bool {
    match script {
        Script::Load
        | Script::DeadList
        | Script::QueueKeys
        | Script::QueueMessages
        | Script::Totals
        | Script::Find
        | Script::SessionGet
        | Script::Expire
        | Script::Inspect => false,
        // What begins with a removal may go on when memory is full.
        Script::Remove
        | Script::Bury
        | Script::Release
        | Script::DeadRequeue
        | Script::DeadPurge
        | Script::QueuePurge => refusal == Some(Refusal::ReadOnly),
        Script::Append | Script::Retry | Script::Renew | Script::Claim | Script::SessionPut => true,
    }
}
