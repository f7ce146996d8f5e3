//! Clients of the link protocol: sessions, acknowledgements, ops, and what is done about mistakes.

use crate::story;
use steadfast_core::config::{BindPolicy, Config};
use steadfast_core::dialect::link::GatewayFrame;
use steadfast_core::event::{ConnEvent, Event};
use steadfast_core::id::ConnId;
use steadfast_core::time::Span;
use steadfast_core::trace::Trace;
use steadfast_sim::world::{Step, Store, World};

/// A client connects and says which key it is for.
fn hello(world: &mut World, key: &str) -> ConnId {
    let id = world.connect_link();
    world.text(id, &format!(r#"{{"type":"hello","key":"{key}"}}"#));
    id
}

/// The same, to go on with a session.
fn resume(world: &mut World, key: &str, session: &str) -> ConnId {
    let id = world.connect_link();
    world.text(id, &format!(r#"{{"type":"hello","key":"{key}","session":"{session}"}}"#));
    id
}

fn ack(world: &mut World, id: ConnId, message: &str) {
    world.text(id, &format!(r#"{{"type":"ack","id":"{message}"}}"#));
}

fn op(world: &mut World, id: ConnId, n: u64, patch: &str) {
    world.text(id, &format!(r#"{{"type":"op","n":{n},"patch":{patch}}}"#));
}

/// The session of the last `welcome`.
fn session(world: &World) -> String {
    let texts = world.history.iter().rev().filter_map(|(_, step)| match step {
        Step::Gave(steadfast_core::command::Command::Send { payload, .. }) => {
            Some(String::from_utf8_lossy(payload).into_owned())
        }
        Step::Gave(_) | Step::Told(_) => None,
    });
    let mut welcomes = texts.filter_map(|text| match GatewayFrame::parse(&text) {
        Ok(GatewayFrame::Welcome(welcome)) => Some(welcome.session.into_owned()),
        Ok(_) | Err(_) => None,
    });
    welcomes.next().expect("a client was welcomed")
}

/// A story whose frames are shown whole.
fn tale(name: &str, config: Config, script: impl FnOnce(&mut World)) {
    story(name, config, |world| {
        world.trace = Trace::new().showing(300);
        script(world);
    });
}

#[test]
fn link_delivers_and_is_acknowledged() {
    tale("link_delivers_and_is_acknowledged", Config::default(), |world| {
        let a = hello(world, " 5 ");
        world.wait_ms(100);
        let backend = world.pusher();
        world.note("Written at once, without a ping: the application says what it has.");
        world.push(backend, "5", "hello");
        world.note("A pong confirms nothing.");
        world.tell(Event::Connection(a, ConnEvent::PongReceived(Some(1))));
        world.note("Nor does an ack of what was never written to this connection.");
        ack(world, a, "1-9");
        ack(world, a, "1-1");
        world.note("An ack of what is confirmed already is harmless.");
        ack(world, a, "1-1");
        world.text(a, r#"{"type":"heartbeat","timestamp":1795224000123}"#);
        world.text(a, r#"{"type":"ping"}"#);
        world.text(a, r#"{"type":"bye"}"#);
    });
}

#[test]
fn link_resumes() {
    tale("link_resumes", Config::default(), |world| {
        let a = hello(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        op(world, a, 1, r#"{"page":3}"#);
        let session = session(world);
        world.note("The connection breaks before the ack: a try is charged.");
        world.drop_conn(a);
        world.wait_ms(2_000);
        world.note("The session comes back with its context, and the message with its tries.");
        let b = resume(world, "5", &session);
        ack(world, b, "1-1");
    });
}

#[test]
fn link_takes_its_messages_along() {
    tale("link_takes_its_messages_along", Config::default(), |world| {
        let a = hello(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        let session = session(world);
        world.note("The client comes back before its old connection is known to be dead. What it");
        world.note("had not acknowledged moves without a failed try; then the old one is closed.");
        let b = resume(world, "5", &session);
        ack(world, b, "1-1");
        let _ = a;
    });
}

#[test]
fn link_hello_comes_too_late() {
    tale("link_hello_comes_too_late", Config::default(), |world| {
        let a = hello(world, "5");
        let session = session(world);
        world.drop_conn(a);
        world.note("The hello on the first connection is long under way; the client gives it up.");
        let late = world.connect_link();
        world.wait_ms(5_000);
        resume(world, "5", &session);
        world.note("It must not take the session away from the one that came after it.");
        world.text(late, &format!(r#"{{"type":"hello","key":"5","session":"{session}"}}"#));
    });
}

#[test]
fn link_hears_of_losses() {
    let config = Config { mailbox_limit: 1, ..Config::default() };
    tale("link_hears_of_losses", config, |world| {
        let a = hello(world, "5");
        let session = session(world);
        world.drop_conn(a);
        let backend = world.pusher();
        world.note("While the client is away, more comes than may wait for it.");
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("It is told so …");
        let b = resume(world, "5", &session);
        world.note("… and told again, since it may not have been there to hear it.");
        world.drop_conn(b);
        let c = resume(world, "5", &session);
        world.note("Its first frame shows that it was: the session remembers.");
        world.text(c, r#"{"type":"heartbeat"}"#);
        world.drop_conn(c);
        resume(world, "5", &session);
    });
}

#[test]
fn link_sessions_expire() {
    let config = Config { session_keep: Span::from_secs(60), ..Config::default() };
    tale("link_sessions_expire", config, |world| {
        let a = hello(world, "5");
        let session = session(world);
        world.note("A session in use is kept anew before it expires.");
        world.wait_ms(16_000);
        world.text(a, r#"{"type":"heartbeat"}"#);
        world.drop_conn(a);
        world.wait_ms(60_000);
        world.note("One that is not expires, and the client gets a fresh one.");
        let b = resume(world, "5", &session);
        world.note("Another key's session is nobody's.");
        let other = self::session(world);
        world.text(b, r#"{"type":"bye"}"#);
        resume(world, "6", &other);
    });
}

#[test]
fn link_ops_are_applied_once_and_in_order() {
    tale("link_ops_are_applied_once_and_in_order", Config::default(), |world| {
        let a = hello(world, "5");
        world.note("While the store is busy, ops are applied and stored together.");
        world.set_store(Store::Slow);
        op(world, a, 1, r#"{"page":3,"draft":{"a":1}}"#);
        op(world, a, 2, r#"{"draft":{"a":null,"b":2}}"#);
        op(world, a, 3, r#"{"page":4}"#);
        world.answer();
        world.set_store(Store::Prompt);
        world.note("One that comes again is acknowledged again, and not applied.");
        op(world, a, 2, r#"{"page":9}"#);
        world.note("One too many is a mistake that a new connection mends.");
        op(world, a, 5, r#"{"page":5}"#);
    });
}

#[test]
fn link_context_is_limited() {
    let config = Config { max_context: 20, ..Config::default() };
    tale("link_context_is_limited", config, |world| {
        let a = hello(world, "5");
        op(world, a, 1, r#"{"text":"0123456789"}"#);
        let b = hello(world, "5");
        op(world, b, 1, r#"{"text":"012345678"}"#);
    });
}

#[test]
fn link_acks_out_of_turn() {
    tale("link_acks_out_of_turn", Config::default(), |world| {
        let a = hello(world, "5");
        let backend = world.pusher();
        for data in ["one", "two", "three"] {
            world.push(backend, "5", data);
        }
        world.note("The second is confirmed, the first is not.");
        ack(world, a, "1-2");
        world.note("So that only the others are charged, and come again.");
        world.drop_conn(a);
        let b = hello(world, "5");
        ack(world, b, "1-1");
        ack(world, b, "1-3");
    });
}

#[test]
fn link_ack_is_overdue() {
    let config = Config { link_heartbeat: Span::from_secs(20), ..Config::default() };
    tale("link_ack_is_overdue", config, |world| {
        let a = hello(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.wait_ms(29_000);
        world.note("Each message in its turn has the whole time.");
        ack(world, a, "1-1");
        world.wait_ms(29_900);
        world.text(a, r#"{"type":"heartbeat"}"#);
        world.note("Heartbeats do not replace the ack.");
        world.wait_ms(200);
    });
}

#[test]
fn link_is_silent() {
    tale("link_is_silent", Config::default(), |world| {
        world.note("No hello within 10 s: pings do not help.");
        let a = world.connect_link();
        world.wait_ms(9_000);
        world.ping(a);
        world.wait_ms(1_100);
        world.note("Silent for three heartbeats.");
        let b = hello(world, "5");
        world.wait_ms(44_900);
        world.ping(b);
        world.wait_ms(45_100);
    });
}

#[test]
fn link_frames_that_are_wrong() {
    tale("link_frames_that_are_wrong", Config::default(), |world| {
        for first in ["5", r#"{"type":"ack","id":"1-1"}"#, r#"{"type":"hello","key":" "}"#] {
            let id = world.connect_link();
            world.text(id, first);
        }
        let id = world.connect_link();
        world.text(id, r#"{"type":"hello","key":"device:1"}"#);
        let id = hello(world, "5");
        world.text(id, r#"{"type":"hello","key":"5"}"#);
        world.set_store(Store::Slow);
        let id = hello(world, "5");
        world.note("A frame before the welcome.");
        op(world, id, 1, "{}");
        world.set_store(Store::Prompt);
    });
}

#[test]
fn link_without_a_store() {
    tale("link_without_a_store", Config::default(), |world| {
        let a = hello(world, "5");
        world.set_store(Store::Refusing("session"));
        world.note("The op cannot be stored: the client has to send it again.");
        op(world, a, 1, r#"{"page":3}"#);
        world.note("Nor can a client be welcomed.");
        hello(world, "5");
    });
}

#[test]
fn link_clients_get_slots_before_a_stop() {
    let config = Config { reconnect_rate: 10, ..Config::default() };
    tale("link_clients_get_slots_before_a_stop", config, |world| {
        hello(world, "5");
        world.client("5");
        hello(world, "6");
        hello(world, "7");
        world.tell(Event::ShutdownRequested);
    });
}

#[test]
fn link_and_legacy_share_a_key() {
    tale("link_and_legacy_share_a_key", Config::default(), |world| {
        let a = world.client("5");
        let b = hello(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "to the newer one");
        world.note("When it is gone, the legacy client gets what it had not acknowledged.");
        world.drop_conn(b);
        let _ = a;
    });
}

#[test]
fn link_and_legacy_both_get_it() {
    let config = Config { bind: BindPolicy::All, ..Config::default() };
    tale("link_and_legacy_both_get_it", config, |world| {
        world.client("5");
        let b = hello(world, "5");
        let c = hello(world, "5");
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.push(backend, "5", "two");
        world.note("Out of turn; each for itself.");
        ack(world, b, "1-2");
        ack(world, b, "1-1");
        ack(world, c, "1-1");
        world.note("It has not acknowledged the second; others have.");
        world.drop_conn(c);
        world.wait_ms(100);
    });
}
