//! Several nodes share a store: who serves a key, and what becomes of the others' connections.

use crate::{settled_client, story};
use bytes::Bytes;
use bytestring::ByteString;
use steadfast_core::config::{Config, Sharing};
use steadfast_core::event::Event;
use steadfast_core::id::{Key, MessageId};
use steadfast_core::store::{
    Answer, Append, ClaimAnswer, ClaimOp, Manner, Node, Notice, Op, Promise,
};
use steadfast_core::time::Span;
use steadfast_sim::world::{Store, World};

fn shared() -> Config {
    let sharing = Sharing { node: "here".into(), lease: Span::from_secs(15) };
    Config { sharing: Some(sharing), ..Config::default() }
}

fn other_node() -> Node {
    Node { name: ByteString::from_static("there"), incarnation: 2 }
}

/// A client of another node binds the key.
fn claim_elsewhere(world: &mut World, key: &str) -> u64 {
    let (node, now) = (other_node(), world.now);
    let until = now + Span::from_secs(15);
    world.elsewhere(Op::Claim(ClaimOp::Renew { node: node.clone(), now, until }));
    let manner = Manner::Take;
    let claim = ClaimOp::Claim { key: Key::new(key.to_owned()), node, manner, now };
    let Answer::Claim(ClaimAnswer::Claimed { epoch, .. }) = world.elsewhere(Op::Claim(claim))
    else {
        panic!("a key is taken from whoever has it")
    };
    epoch
}

/// The other node's last connection of the key is gone.
fn release_elsewhere(world: &mut World, key: &str, epoch: u64) {
    let release = ClaimOp::Release { key: Key::new(key.to_owned()), epoch };
    world.elsewhere(Op::Claim(release));
}

/// A back end of the other node pushes to the key.
fn push_elsewhere(world: &mut World, key: &str, data: &'static str, epoch: u64) -> Answer {
    let counter = world.model.counts().appended;
    world.elsewhere(Op::Append(Append {
        key: Key::new(key.to_owned()),
        id: MessageId { incarnation: 2, counter },
        payload: Bytes::from_static(data.as_bytes()),
        accepted_at: world.now,
        expires_at: world.now + Span::from_secs(60),
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 100,
        window_end: None,
        spare: 0,
        epoch,
    }))
}

#[test]
fn a_key_is_claimed_and_given_up() {
    story("a_key_is_claimed_and_given_up", shared(), |world| {
        world.note("It is claimed at bind and loaded after that. No push costs more than without.");
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.note("A message that another node stores is fetched.");
        push_elsewhere(world, "5", "two", 0);
        world.note("The last connection closes: tries are charged, and then the key is free.");
        world.drop_conn(a);
        world.note("Whether a push misses is known when the store knows of no other node.");
        world.push(backend, "5", "three");
    });
}

#[test]
fn another_node_takes_the_key() {
    story("another_node_takes_the_key", shared(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world
            .note("The client has moved. What it left unconfirmed is the other node's to deliver.");
        let epoch = claim_elsewhere(world, "5");
        world.push(backend, "5", "three");
        world.note("A late confirm still counts.");
        world.pong(a);
        world.note("The other node has it no more: this one asks, and delivers what is left.");
        release_elsewhere(world, "5", epoch);
        world.wait_ms(50);
        world.pong(a);
        world.note("Taken again, and this time the older connection closes: no try is charged.");
        world.push(backend, "5", "four");
        claim_elsewhere(world, "5");
        world.drop_conn(a);
    });
}

#[test]
fn a_push_tells_that_the_key_is_lost() {
    story("a_push_tells_that_the_key_is_lost", shared(), |world| {
        settled_client(world, "5");
        let backend = world.pusher();
        world.note("The notice is lost.");
        claim_elsewhere_unnoticed(world, "5");
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("The other node dies: its lease ends, and the key is asked for after a while.");
        world.wait_ms(15_000);
    });
}

/// The same as [`claim_elsewhere`], and nobody is told.
fn claim_elsewhere_unnoticed(world: &mut World, key: &str) {
    let (node, now) = (other_node(), world.now);
    let until = now + Span::from_secs(10);
    world.model.apply(Op::Claim(ClaimOp::Renew { node: node.clone(), now, until }));
    let key = Key::new(key.to_owned());
    world.model.apply(Op::Claim(ClaimOp::Claim { key, node, manner: Manner::Take, now }));
    world.model.take_notices();
}

#[test]
fn missed_notices_are_made_up_for() {
    story("missed_notices_are_made_up_for", shared(), |world| {
        settled_client(world, "5");
        settled_client(world, "6");
        settled_client(world, "7");
        world.note("A message for 5 comes elsewhere, 6 moves there: nobody tells.");
        push_elsewhere_unnoticed(world, "5");
        claim_elsewhere_unnoticed(world, "6");
        world.note("But that something was missed is known, and every claim is looked after.");
        world.tell(Event::Noticed(Notice::Missed));
        world.wait_ms(20);
    });
}

fn push_elsewhere_unnoticed(world: &mut World, key: &str) {
    world.model.apply(Op::Append(Append {
        key: Key::new(key.to_owned()),
        id: MessageId { incarnation: 2, counter: 1 },
        payload: Bytes::from_static(b"one"),
        accepted_at: world.now,
        expires_at: world.now + Span::from_secs(60),
        promise: Promise::Queued,
        idempotency: None,
        merge_within: None,
        limit: 100,
        window_end: None,
        spare: 0,
        epoch: 0,
    }));
    world.model.take_notices();
}

#[test]
fn a_lost_lease_stops_all_writing() {
    story("a_lost_lease_stops_all_writing", shared(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("The store is gone. While the lease holds, what is written may be confirmed.");
        world.store = Store::Failing;
        world.push(backend, "5", "one");
        world.wait_ms(50);
        world.pong(a);
        world.wait_ms(9_000);
        world.text(a, "5");
        world.wait_ms(6_000);
        world.note("Now another node may serve the key: nothing is written any more.");
        world.text(a, "5");
        world.push(backend, "5", "two");
        world.note("The store is back: the lease first, then every claim, then what waits.");
        world.store = Store::Prompt;
        world.wait_ms(2_000);
        world.push(backend, "5", "three");
    });
}

#[test]
fn a_push_that_a_pong_was_to_decide_when_the_key_is_lost() {
    story("a_push_that_a_pong_was_to_decide_when_the_key_is_lost", shared(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.note("It is written, and not stored: if the pong comes, it is safe all the same.");
        world.set_store(Store::Refusing("append"));
        world.push(backend, "5", "one");
        world.note(
            "Another node has the key by then. What is left here may never be written again.",
        );
        claim_elsewhere(world, "5");
        world.note("The pong comes late: the push is not answered twice.");
        world.pong(a);
        world.note("One that fails after the key is lost is not decided by a pong either.");
        world.push(backend, "5", "two");
    });
}

#[test]
fn a_push_that_a_pong_was_to_decide_when_the_lease_is_lost() {
    let sharing = Sharing { node: "here".into(), lease: Span::from_secs(3) };
    let config = Config { sharing: Some(sharing), ..Config::default() };
    story("a_push_that_a_pong_was_to_decide_when_the_lease_is_lost", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.set_store(Store::Failing);
        world.push(backend, "5", "one");
        world.wait_ms(3_000);
        world.note("The client goes: there is nothing to say of the push any more.");
        world.drop_conn(a);
    });
}

#[test]
fn a_push_that_comes_while_its_key_is_being_claimed() {
    story("a_push_that_comes_while_its_key_is_being_claimed", shared(), |world| {
        let backend = world.pusher();
        world.note("The claim is carried out, and its answer is on its way.");
        world.set_store(Store::Slow);
        world.client("5");
        world.note(
            "The store takes the sender of this push for another: it says so, and tells itself.",
        );
        world.push(backend, "5", "one");
        world.note("That is no reason to stand by.");
        world.set_store(Store::Prompt);
        world.wait_ms(100);
    });
}

#[test]
fn a_client_that_moves_away_and_back_while_its_first_claim_is_unanswered() {
    let name = "a_client_that_moves_away_and_back_while_its_first_claim_is_unanswered";
    story(name, shared(), |world| {
        world.wait_ms(1);
        world.note("It binds here, goes to another node, and comes back.");
        world.set_store(Store::Slow);
        let a = world.client("5");
        world.drop_conn(a);
        claim_elsewhere(world, "5");
        world.client("5");
        world.note("The first claim is older than the other's: it is made once more, for the newer client.");
        world.set_store(Store::Prompt);
        world.note("The other node's connection stands by now.");
        push_elsewhere(world, "5", "one", 2);
    });
}

#[test]
fn a_claim_that_was_made_before_notices_were_missed() {
    story("a_claim_that_was_made_before_notices_were_missed", shared(), |world| {
        world.set_store(Store::Slow);
        world.client("5");
        world.note("Another node takes the key, and what is told of that is lost.");
        claim_elsewhere_unnoticed(world, "5");
        world.tell(Event::Noticed(Notice::Missed));
        world.wait_ms(20);
        world.note("The answer is not believed: it is asked once more, and the key is another's.");
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_claim_that_waits_when_its_last_connection_is_gone() {
    story("a_claim_that_waits_when_its_last_connection_is_gone", shared(), |world| {
        world.wait_ms(1);
        world.set_store(Store::Refusing("claim"));
        let a = world.client("5");
        world.note(
            "The client finds another node. The claim that still waits takes nothing from that.",
        );
        world.drop_conn(a);
        claim_elsewhere(world, "5");
        world.set_store(Store::Prompt);
        world.wait_ms(1_000);
    });
}

#[test]
fn a_burial_that_is_given_again_behind_a_new_claim() {
    let config = Config { retry_max: 1, ..shared() };
    story("a_burial_that_is_given_again_behind_a_new_claim", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.set_store(Store::Refusing("bury"));
        world.note("The only try fails, and the store does not set the message aside yet.");
        world.drop_conn(a);
        world.note("Its client is back. The claim is carried out, and its answer is on its way.");
        world.set_store(Store::Slow);
        world.client("5");
        world.wait_ms(150);
        world.note("The burial came under the claim before that: it is given once more.");
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_key_is_given_up_when_what_is_confirmed_is_removed() {
    story("a_key_is_given_up_when_what_is_confirmed_is_removed", shared(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.set_store(Store::Refusing("remove"));
        world.wait_ms(50);
        world.pong(a);
        world.note("The client goes. Others could merge an equal push with what is confirmed.");
        world.drop_conn(a);
        world.note("So the claim stands until the store has forgotten that.");
        world.set_store(Store::Prompt);
        world.wait_ms(1_000);
    });
}

#[test]
fn a_key_that_is_freed_behind_the_answer_that_it_is_taken() {
    story("a_key_that_is_freed_behind_the_answer_that_it_is_taken", shared(), |world| {
        let a = settled_client(world, "5");
        let epoch = claim_elsewhere(world, "5");
        world.wait_ms(9_000);
        world.text(a, "5");
        world.wait_ms(5_900);
        world.note("It is asked whether the key is free: not yet, but by the time of the answer.");
        world.set_store(Store::Slow);
        let node = other_node();
        let (now, until) = (world.now, world.now + Span::from_secs(15));
        world.elsewhere(Op::Claim(ClaimOp::Renew { node, now, until }));
        world.wait_ms(200);
        release_elsewhere(world, "5", epoch);
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_key_that_is_freed_while_it_is_asked_for() {
    story("a_key_that_is_freed_while_it_is_asked_for", shared(), |world| {
        let a = settled_client(world, "5");
        let epoch = claim_elsewhere(world, "5");
        world.wait_ms(10_000);
        world.text(a, "5");
        world.note("It is asked whether the key is free, and the store fails: it is asked again.");
        world.store = Store::Refusing("claim");
        world.wait_ms(5_000);
        world.note("Meanwhile the other node gives it up: that is no reason to ask twice at once.");
        release_elsewhere(world, "5", epoch);
        world.store = Store::Prompt;
        world.wait_ms(1_000);
    });
}

#[test]
fn a_key_that_is_lost_when_its_last_connection_is_gone() {
    story("a_key_that_is_lost_when_its_last_connection_is_gone", shared(), |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        claim_elsewhere_unnoticed(world, "5");
        world.note("The store answers late: neither the push nor the claim that is looked after.");
        world.store = Store::Slow;
        world.push(backend, "5", "one");
        world.tell(Event::Noticed(Notice::Missed));
        world.wait_ms(20);
        world.note("The client is gone by then. The push tells that the key is lost: to nobody.");
        world.drop_conn(a);
        world.answer();
        world.set_store(Store::Prompt);
        world.note("Another client comes, and takes the key.");
        settled_client(world, "5");
    });
}

#[test]
fn a_link_comes_back_to_a_node() {
    story("a_link_comes_back_to_a_node", shared(), |world| {
        let a = world.connect_link();
        world.text(a, r#"{"type":"hello","key":"5"}"#);
        world.wait_ms(100);
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("Another node has the key for a while, and delivers neither.");
        let epoch = claim_elsewhere(world, "5");
        release_elsewhere(world, "5", epoch);
        world.wait_ms(50);
        world.note("Both are written again: what was not acknowledged then is awaited now.");
        world.text(a, r#"{"type":"ack","id":"1-1"}"#);
        world.text(a, r#"{"type":"ack","id":"1-2"}"#);
        world.push(backend, "5", "three");
        world.text(a, r#"{"type":"ack","id":"1-3"}"#);
    });
}

#[test]
fn two_pages_on_two_nodes_do_not_fight() {
    story("two_pages_on_two_nodes_do_not_fight", shared(), |world| {
        let a = settled_client(world, "5");
        claim_elsewhere(world, "5");
        world.note("While the other page is there, this one only asks now and then.");
        world.text(a, "5");
        world.wait_ms(10_000);
        claim_elsewhere(world, "5");
        world.text(a, "5");
        world.wait_ms(5_000);
        world.note("A page that comes here takes the key, whoever has it.");
        world.client("5");
        world.note("An older notice about another claim changes nothing.");
        world.tell(Event::Noticed(Notice::KeyTaken { key: Key::new("5"), epoch: 1 }));
    });
}
