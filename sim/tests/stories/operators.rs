//! What operators see and do while messages are under way.

use crate::{leave, leave_from, settled_client, story};
use steadfast_core::config::Config;
use steadfast_core::event::Event;
use steadfast_core::id::{Key, MessageId, RequestId};
use steadfast_core::operator::OperatorRequest;
use steadfast_core::record::DeathReason;
use steadfast_core::store::{DeadFilter, Op, Target};
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Store, World};

fn ask(world: &mut World, request: OperatorRequest) {
    world.tell(Event::Operator(RequestId(1), request));
}

fn show(world: &mut World) {
    ask(world, OperatorRequest::ShowQueue { key: Key::new("5"), after: None, limit: 100 });
}

fn find(world: &mut World, name: &'static str) {
    let target = Target::Name(name.into());
    ask(world, OperatorRequest::FindMessage { key: Key::new("5"), target });
}

fn requeue(world: &mut World) {
    ask(world, OperatorRequest::RequeueDead { key: Key::new("5"), ids: Vec::new() });
}

fn list_dead(world: &mut World) {
    let filter = DeadFilter::default();
    ask(world, OperatorRequest::ListDead { filter, after: None, limit: 100 });
}

fn purge(world: &mut World, ids: Vec<MessageId>) {
    ask(world, OperatorRequest::PurgeQueue { key: Key::new("5"), ids, limit: 100 });
}

/// Puts a dead letter of key 5 into the store.
fn leave_dead(world: &mut World, data: &'static str) -> MessageId {
    let id = leave(world, data);
    bury(world, id);
    id
}

fn bury(world: &mut World, id: MessageId) {
    let (key, reason, at) = (Key::new("5"), DeathReason::Tries, world.now);
    world.model.apply(Op::Bury { key, ids: vec![id], reason, at, epoch: 0 });
}

#[test]
fn dead_letters_are_requeued_to_a_live_client() {
    story("dead_letters_are_requeued_to_a_live_client", Config::default(), |world| {
        let one = leave_dead(world, "one");
        leave_dead(world, "two");
        let a = settled_client(world, "5");
        list_dead(world);
        world.note("Requeued, they are written at once, in their old order.");
        requeue(world);
        world.pong(a);
        world.note("A second time there is nothing.");
        requeue(world);
        world.drop_conn(a);
        world.note("One that dies again remembers its first death.");
        let three = leave_dead(world, "three");
        assert_ne!(one, three);
        requeue(world);
        bury(world, three);
        list_dead(world);
    });
}

#[test]
fn a_requeue_after_the_clock_went_back() {
    story("a_requeue_after_the_clock_went_back", Config::default(), |world| {
        world.note("The last run's clock was a day ahead: accepted then, and dead since.");
        let day = Span::from_secs(24 * 3_600);
        let id = leave_from(world, "tomorrow", world.now + day, Span::from_secs(60));
        bury(world, id);
        let a = settled_client(world, "5");
        world.note("It has its whole time to live once more, counted from now.");
        requeue(world);
        world.pong(a);
    });
}

#[test]
fn a_requeue_without_an_answer_is_looked_after() {
    story("a_requeue_without_an_answer_is_looked_after", Config::default(), |world| {
        leave_dead(world, "one");
        let a = settled_client(world, "5");
        world.pongs = Pongs::Prompt;
        world.text(a, "5");
        world.store = Store::Slow;
        requeue(world);
        world.wait_ms(4_999);
        world.text(a, "5");
        world.wait_ms(1);
        world.note("It counts as failed, and may have been carried out: the key is loaded again.");
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_purge_spares_what_is_being_delivered() {
    let config = Config { window_messages: 2, ..Config::default() };
    story("a_purge_spares_what_is_being_delivered", config, |world| {
        let a = settled_client(world, "5");
        let backend = world.pusher();
        for data in ["one", "two", "three", "four"] {
            world.push(backend, "5", data);
        }
        world.note("Two are in the window, two wait.");
        show(world);
        purge(world, Vec::new());
        world.note("What was written is confirmed as if nothing had happened.");
        world.pong(a);
        show(world);
    });
}

#[test]
fn a_purge_outdates_a_load() {
    story("a_purge_outdates_a_load", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.store = Store::Slow;
        let _ = world.client("5");
        world.note("The load has read the message when it is purged: it is not written.");
        purge(world, Vec::new());
        world.set_store(Store::Prompt);
    });
}

#[test]
fn a_message_is_found_all_its_life() {
    story("a_message_is_found_all_its_life", Config::default(), |world| {
        find(world, "one");
        world.note("Written, and confirmed: while the store has it yet, and afterwards.");
        let a = settled_client(world, "5");
        let backend = world.pusher();
        world.request(backend, "5", "hello", "one");
        find(world, "one");
        world.store = Store::Refusing("remove");
        world.pong(a);
        find(world, "one");
        world.set_store(Store::Prompt);
        world.wait_ms(500);
        find(world, "one");
        world.drop_conn(a);
    });
}

#[test]
fn a_message_is_found_until_it_is_purged() {
    let config = Config { ttl: Span::from_secs(1), ..Config::default() };
    story("a_message_is_found_until_it_is_purged", config, |world| {
        let backend = world.pusher();
        world.request(backend, "5", "hello", "one");
        find(world, "one");
        world.note("Expired, requeued, purged.");
        world.wait_ms(1_000);
        find(world, "one");
        requeue(world);
        find(world, "one");
        purge(world, Vec::new());
        find(world, "one");
    });
}

#[test]
fn operators_see_connections_and_counts() {
    story("operators_see_connections_and_counts", Config::default(), |world| {
        let a = settled_client(world, "5");
        let _ = world.connect();
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "6", "two");
        ask(world, OperatorRequest::ListConnections { key: None, after: None, limit: 10 });
        let after = Some(a.slot);
        ask(world, OperatorRequest::ListConnections { key: None, after, limit: 10 });
        let key = Some(Key::new("5"));
        ask(world, OperatorRequest::ListConnections { key, after: None, limit: 10 });
        world.pong(a);
        ask(world, OperatorRequest::Count);
        ask(world, OperatorRequest::CountStored);
        let (prefix, limit) = ("".into(), 10);
        ask(world, OperatorRequest::ListQueues { prefix, after: None, limit });
        world.note("A store that fails is told.");
        world.store = Store::Failing;
        ask(world, OperatorRequest::CountStored);
    });
}
