//! The adapter's encoding and decoding with this server between them, against the model alone.

use super::{Frames, Refusal, Server};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use redis::Value;
use steadfast_core::id::{Key, MessageId, OpId};
use steadfast_core::store::arbitrary::{inventory, ops, time_of};
use steadfast_core::store::model::Model;
use steadfast_core::store::{Answer, ClaimOp, DeviceOp, Manner, Node, Notice, Op};
use steadfast_core::time::{Span, Time};
use steadfast_shell::codec::redis::decode::notice;
use steadfast_shell::codec::redis::encode::{Encoder, channel};
use steadfast_shell::codec::redis::pipeline::{Pipeline, Trouble};
use steadfast_shell::codec::redis::scripts::Clock;

const PREFIX: &str = "test";

/// A server and somebody connected to it.
struct Talk {
    server: Server,
    encoder: Encoder,
    peer: u64,
    frames: Frames,
}

impl Talk {
    fn new(clock: Clock) -> Self {
        let mut server = Server::new(PREFIX, clock, 1);
        let peer = server.connect();
        Self { server, encoder: Encoder::new(PREFIX, clock), peer, frames: Frames::default() }
    }

    /// With all scripts loaded.
    fn ready(clock: Clock) -> Self {
        let mut talk = Self::new(clock);
        talk.load();
        talk
    }

    fn load(&mut self) {
        let texts: Vec<_> = self.encoder.scripts().texts().map(str::to_owned).collect();
        for text in texts {
            let Value::BulkString(_) = self.ask(&["SCRIPT", "LOAD", &text]) else {
                panic!("a script is not known")
            };
        }
    }

    fn ask(&mut self, words: &[&str]) -> Value {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        self.send(&command.get_packed_command());
        self.replies().pop().expect("a reply")
    }

    fn send(&mut self, bytes: &[u8]) {
        self.server.receive(self.peer, bytes);
        self.server.execute();
    }

    fn replies(&mut self) -> Vec<Value> {
        self.frames.put(&self.server.output(self.peer).expect("still connected"));
        std::iter::from_fn(|| self.frames.next()).collect()
    }

    /// The operation's answer, its bytes sent in pieces of this size.
    fn carry_out(&mut self, op: Op, piece: usize) -> Answer {
        let (mut pipeline, mut bytes) = (Pipeline::default(), Vec::new());
        pipeline.send([(OP, op)], &mut self.encoder, &mut bytes);
        bytes.chunks(piece).for_each(|piece| self.send(piece));
        self.replies().into_iter().for_each(|reply| pipeline.reply(reply));
        let mut answers = Vec::new();
        pipeline.collect(&mut answers);
        answers.pop().expect("an answer").1
    }

    /// Somebody who is subscribed to what this node is told.
    fn listener(&mut self, node: &Node) -> u64 {
        let peer = self.server.connect();
        let mut command = redis::Cmd::new();
        command.arg("SUBSCRIBE").arg(channel(PREFIX, node));
        self.server.receive(peer, &command.get_packed_command());
        self.server.execute();
        let reply = self.server.output(peer).expect("still connected");
        assert!(reply.starts_with(b"*3\r\n$9\r\nsubscribe\r\n"));
        peer
    }

    /// What one has heard since it was last asked.
    fn heard(&mut self, peer: u64) -> Vec<Notice> {
        let mut frames = Frames::default();
        frames.put(&self.server.output(peer).expect("still connected"));
        let messages = std::iter::from_fn(|| frames.next()).map(|message| {
            let Value::Array(mut parts) = message else { panic!("{message:?}") };
            let Some(Value::BulkString(text)) = parts.pop() else { panic!("{parts:?}") };
            notice(&text).expect("a notice")
        });
        messages.collect()
    }
}

/// What a gateway asks of Redis: the device log is drained beside it, and has no limit of its own.
fn in_redis(op: &Op) -> bool {
    let Op::Device(op) = op else { return true };
    match op {
        DeviceOp::Read { .. } | DeviceOp::Drop { .. } => false,
        DeviceOp::Log { limit, .. } => *limit == u64::MAX,
        DeviceOp::Link { .. } | DeviceOp::Unlink { .. } => true,
    }
}

#[test]
fn gateways_are_answered_as_the_model_answers() {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand_seed);
    let rng_seed = RngSeed::Fixed(seed);
    let config = Config { cases: 100, failure_persistence: None, rng_seed, ..Config::default() };
    let strategy = (ops(1..160), vec(1..400_usize, 1..8));
    let result = TestRunner::new(config).run(&strategy, |(mut operations, pieces)| {
        let now = operations.iter().filter_map(time_of).max().unwrap_or(Time::EPOCH);
        operations.extend(inventory(now));
        compare(operations.into_iter().filter(in_redis), &pieces)
    });
    if let Err(failure) = result {
        panic!(
            "{failure}\nreplay: PROPTEST_RNG_SEED={seed} cargo test -p steadfast-sim --lib \
             gateways_are_answered_as_the_model_answers"
        );
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

fn compare(operations: impl Iterator<Item = Op>, pieces: &[usize]) -> Result<(), TestCaseError> {
    let (mut talk, mut model) = (Talk::ready(Clock::Operations), Model::new(1));
    let names = ["node-0", "node-1"].into_iter().flat_map(|name| [(name, 1), (name, 2)]);
    let nodes: Vec<_> = names
        .chain([("last", 9)])
        .map(|(name, incarnation)| Node { name: name.into(), incarnation })
        .collect();
    let listeners: Vec<_> = nodes.iter().map(|node| talk.listener(node)).collect();
    for (op, piece) in operations.zip(pieces.iter().cycle()) {
        let answer = talk.carry_out(op.clone(), *piece);
        prop_assert_eq!(answer, model.apply(op.clone()), "to {:?}", op);
        let told = model.take_notices();
        for (node, listener) in nodes.iter().zip(&listeners) {
            let expect: Vec<_> = told
                .iter()
                .filter(|(to, _)| to == node)
                .map(|(_, notice)| notice.clone())
                .collect();
            prop_assert_eq!(talk.heard(*listener), expect, "to {:?}", op);
        }
    }
    Ok(())
}

fn append(counter: u64) -> Op {
    Op::Append(steadfast_core::store::Append {
        key: Key::new("key"),
        id: MessageId { incarnation: 1, counter },
        payload: "text".into(),
        accepted_at: Time::from_micros(5),
        expires_at: Time::from_micros(50),
        promise: steadfast_core::store::Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 100,
        window_end: None,
        spare: 0,
        epoch: 0,
    })
}

const OP: OpId = OpId { slot: 0, generation: 0 };

/// One round trip of the production pipeline.
fn round_trip(talk: &mut Talk, op: Op) -> Pipeline {
    let (mut pipeline, mut out) = (Pipeline::default(), Vec::new());
    pipeline.send([(OP, op)], &mut talk.encoder, &mut out);
    talk.send(&out);
    talk.replies().into_iter().for_each(|reply| pipeline.reply(reply));
    assert!(!pipeline.is_waiting());
    pipeline
}

#[test]
fn scripts_are_known_only_once_they_are_loaded() {
    let mut talk = Talk::new(Clock::Server);
    assert_eq!(round_trip(&mut talk, append(1)).take_unknown().len(), 1);
    talk.load();
    assert_eq!(round_trip(&mut talk, append(1)).take_unknown().len(), 0);
    assert_eq!(talk.server.store().model().counts().waiting, 1);
    talk.server.crash(0);
    talk.peer = talk.server.connect();
    let again = round_trip(&mut talk, append(2)).take_unknown();
    assert_eq!(again.len(), 1, "a server that was started again has lost them");
    assert_eq!(talk.server.store().model().counts().waiting, 1, "and has kept its data");
}

#[test]
fn a_crash_keeps_a_beginning_of_what_was_not_answered() {
    for survivors in 0..5 {
        let mut talk = Talk::ready(Clock::Server);
        let mut out = Vec::new();
        (1..=3).for_each(|counter| talk.encoder.encode(&append(counter), &mut out));
        talk.server.receive(talk.peer, &out);
        let wreck = talk.server.crash(survivors);
        assert_eq!((wreck.kept, wreck.lost), (survivors.min(3), 3 - survivors.min(3)));
        assert_eq!(talk.server.store().model().counts().waiting, wreck.kept as u64);
        assert_eq!(talk.server.output(talk.peer), None, "the connection is gone");
    }
}

#[test]
fn what_a_killed_connection_sent_is_not_carried_out_any_more() {
    let mut talk = Talk::ready(Clock::Server);
    let Value::Int(old) = talk.ask(&["CLIENT", "ID"]) else { panic!("a number") };
    let mut out = Vec::new();
    talk.encoder.encode(&append(1), &mut out);
    let newer = talk.server.connect();
    let mut kill = redis::Cmd::new();
    kill.arg("CLIENT").arg("KILL").arg("ID").arg(old);
    talk.server.receive(newer, &kill.get_packed_command());
    talk.server.receive(talk.peer, &out);
    talk.server.execute();
    assert_eq!(talk.server.output(talk.peer), None);
    assert_eq!(talk.server.store().model().counts().appended, 0);
}

#[test]
fn refusals_are_what_the_adapter_takes_them_for() {
    let refuses = |refusal, op| {
        let mut talk = Talk::ready(Clock::Server);
        talk.server.refuse(Some(refusal));
        round_trip(&mut talk, op).take_trouble()
    };
    let load = || Op::Load { key: Key::new("key"), max_messages: 1, max_bytes: 1 };
    for refusal in [Refusal::Loading, Refusal::ReadOnly] {
        assert!(matches!(refuses(refusal, append(1)), Some(Trouble::Useless(_))), "{refusal:?}");
    }
    assert!(matches!(refuses(Refusal::OutOfMemory, append(1)), Some(Trouble::Refuses(_))));
    assert!(matches!(refuses(Refusal::Loading, load()), Some(Trouble::Useless(_))));
    assert_eq!(refuses(Refusal::ReadOnly, load()), None);
    assert_eq!(refuses(Refusal::OutOfMemory, load()), None);
}

#[test]
fn leases_are_held_against_the_servers_clock() {
    let mut talk = Talk::ready(Clock::Server);
    let node = |name: &'static str| Node { name: name.into(), incarnation: 1 };
    let (key, told) = (Key::new("key"), Time::from_micros(7));
    let claim = |name, manner| {
        Op::Claim(ClaimOp::Claim { key: key.clone(), node: node(name), manner, now: told })
    };
    let taken = Answer::Claim(steadfast_core::store::ClaimAnswer::Taken);
    talk.server.set_time(Time::EPOCH + Span::from_secs(1_000));
    let until = told + Span::from_secs(10);
    talk.carry_out(Op::Claim(ClaimOp::Renew { node: node("a"), now: told, until }), 1_000);
    talk.carry_out(claim("a", Manner::Take), 1_000);
    assert_eq!(talk.carry_out(claim("b", Manner::Keep), 1_000), taken);
    talk.server.set_time(Time::EPOCH + Span::from_secs(1_009));
    assert_eq!(talk.carry_out(claim("b", Manner::Keep), 1_000), taken);
    talk.server.set_time(Time::EPOCH + Span::from_secs(1_011));
    assert_ne!(talk.carry_out(claim("b", Manner::Keep), 1_000), taken);
}
