//! The first message, and what each dialect's messages mean.

use crate::story;
use steadfast_core::config::{Config, Dialects, UrlKey};
use steadfast_core::event::Event;
use steadfast_core::id::RequestId;
use steadfast_core::operator::OperatorRequest;
use steadfast_core::record::Dialect;
use steadfast_core::time::Span;
use steadfast_sim::world::{Pongs, Reads, Store};

#[test]
fn bind_answer_after_backlog() {
    let config = Config { window_messages: 2, ..Config::default() };
    story("bind_answer_after_backlog", config, |world| {
        let backend = world.pusher();
        for data in ["one", "two", "three"] {
            world.push(backend, "5", data);
        }
        world.pongs = Pongs::None;
        let a = world.client("5");
        world.note("`three` waits for room. `four` was not waiting at bind.");
        world.push(backend, "5", "four");
        world.pong(a);
        world.wait_ms(50);
        world.note("Its last waiting message is written: now the answer.");
        world.pong(a);
        world.wait_ms(50);
        world.pong(a);
    });
}

#[test]
fn bind_answer_without_progress() {
    story("bind_answer_without_progress", Config::default(), |world| {
        let backend = world.pusher();
        world.push(backend, "5", "one");
        world.store = Store::Slow;
        let a = world.client("5");
        world.wait_ms(999);
        world.note("Answers keep their order behind it, the answer to a ping too.");
        world.text(a, "5");
        world.ping(a);
        world.text(a, "5");
        world.note("The load makes no progress for 1 s: the client must not think us dead.");
        world.wait_ms(1);
        world.set_store(Store::Prompt);
    });
}

#[test]
fn office_and_other_dialects() {
    story("office_and_other_dialects", Config::default(), |world| {
        let a = world.client(r#"  {"uid":"12","FunctionType":4}  "#);
        world.note("Echoed whatever the key; 0 or absent is not.");
        world.text(a, r#"{"uid":"13","FunctionType":"2"}"#);
        world.text(a, r#"{"uid":"12","FunctionType":0}"#);
        world.text(a, r#"{"uid":"12"}"#);
        world.note("Digits that are not the key are no heartbeat, and no second binding.");
        world.text(a, "12");
        world.note("Any text is a key; an empty message is none.");
        let b = world.connect();
        world.text(b, " \n");
        world.text(b, "汉字");
    });
}

#[test]
fn monitors_never_bind() {
    story("monitors_never_bind", Config::default(), |world| {
        let a = world.connect();
        world.text(a, r#"{"type":"heartbeat","timestamp":1}"#);
        world.text(a, r#"{"type":"ping"}"#);
        world.note("Still free to bind.");
        world.text(a, "5");
        world.text(a, r#"{"type":"ping"}"#);
    });
}

#[test]
fn devices_rebind() {
    story("devices_rebind", Config::default(), |world| {
        let a = world.client(r#"{"deviceId":"d1"}"#);
        let backend = world.pusher();
        world.push(backend, "device:d1", "hello");
        world.note("Another id on the same connection: another key.");
        world.text(a, r#"{"deviceId":"d2","type":1}"#);
        world.push(backend, "device:d2", "for the new");
        world.push(backend, "device:d1", "for the old");
        world.note("On a connection bound otherwise it is just text.");
        let b = world.client("5");
        world.text(b, r#"{"deviceId":"d1"}"#);
    });
}

#[test]
fn device_links_follow_the_newest_connection() {
    story("device_links", Config::default(), |world| {
        let a = world.client(r#"{"deviceId":"d1"}"#);
        let b = world.client(r#"{"deviceId":"d1"}"#);
        world.note("The newer one is gone: the device is where the older one is.");
        world.drop_conn(b);
        world.note("Another older one goes: nothing changes.");
        let _ = world.client(r#"{"deviceId":"d1"}"#);
        world.drop_conn(a);
    });
}

#[test]
fn device_logs_are_answered_once_stored() {
    story("device_logs", Config::default(), |world| {
        let a = world.client(r#"{"deviceId":"d1"}"#);
        world.set_store(Store::Slow);
        world.note("The upload is answered when the store has answered.");
        world.text(a, r#"{"deviceId":"d1","type":4,"data":{"汉字":[1, 2]}}"#);
        world.set_store(Store::Prompt);
        world.note("Type 4 as text counts too; data that is not true to PHP is no log.");
        world.text(a, r#"{"deviceId":"d1","type":"4","data":"x"}"#);
        world.text(a, r#"{"deviceId":"d1","type":4,"data":"0"}"#);
        world.note("A store that fails: not answered, and recorded.");
        world.set_store(Store::Failing);
        world.text(a, r#"{"deviceId":"d1","type":4,"data":[3]}"#);
        world.note("A device that has gone is not answered, but its log is kept.");
        world.set_store(Store::Slow);
        world.text(a, r#"{"deviceId":"d1","type":4,"data":[4]}"#);
        world.drop_conn(a);
        world.set_store(Store::Prompt);
    });
}

#[test]
fn device_logs_are_limited() {
    let config = Config { device_log_limit: 8, ..Config::default() };
    story("device_logs_are_limited", config, |world| {
        let a = world.client(r#"{"deviceId":"d1"}"#);
        world.text(a, r#"{"deviceId":"d1","type":4,"data":"abcd"}"#);
        world.note("The log is full.");
        world.text(a, r#"{"deviceId":"d1","type":4,"data":1}"#);
        world.note("What was taken makes room.");
        let take = OperatorRequest::DropDeviceLog { through: 1, limit: 10 };
        world.tell(Event::Operator(RequestId(1), take));
        world.text(a, r#"{"deviceId":"d1","type":4,"data":1}"#);
        let read = OperatorRequest::ReadDeviceLog { after: None, limit: 10 };
        world.tell(Event::Operator(RequestId(2), read));
    });
}

#[test]
fn reserved_keys() {
    story("reserved_keys", Config::default(), |world| {
        world.note("Only a device binds a device's key.");
        let _ = world.client("device:d1");
    });
}

#[test]
fn reserved_keys_without_devices() {
    let dialects = Dialects::ALL.without(Dialect::Device);
    story("reserved_keys_without_devices", Config { dialects, ..Config::default() }, |world| {
        world.note("Where devices are not spoken with, nothing is reserved.");
        let _ = world.client("device:d1");
        let _ = world.client(r#"{"deviceId":"d1"}"#);
    });
}

#[test]
fn key_too_long() {
    let config = Config { max_key: 8, ..Config::default() };
    story("key_too_long", config, |world| {
        let _ = world.client("123456789");
        world.note("A device's key counts with its prefix.");
        let _ = world.client(r#"{"deviceId":"d1"}"#);
        let backend = world.pusher();
        world.push(backend, "123456789", "hello");
        world.note("The longest that fits.");
        let _ = world.client("12345678");
    });
}

#[test]
fn keys_from_the_url() {
    let config = Config { url_key: UrlKey::Query, ..Config::default() };
    story("keys_from_the_url", config, |world| {
        let a = world.connect_to("/?key=5");
        world.note("Bound already: its key is a heartbeat, another text is no key.");
        world.text(a, "5");
        world.text(a, "6");
        world.note("No key in the URL: the first message decides.");
        let b = world.connect_to("/");
        world.text(b, "6");
    });
}

#[test]
fn urls_bind_no_more_than_messages() {
    let config = Config { url_key: UrlKey::Path, max_key: 12, ..Config::default() };
    story("urls_bind_no_more_than_messages", config, |world| {
        world.note("A device's key is reserved here too, and a long one too long.");
        let _ = world.connect_to("/ws/device:d1");
        let _ = world.connect_to("/ws/1234567890123");
        let _ = world.connect_to("/ws/123456789012");
    });
}

#[test]
fn devices_get_every_answer() {
    story("devices_get_every_answer", Config::default(), |world| {
        world.store = Store::Slow;
        let a = world.client(r#"{"deviceId":"d1"}"#);
        world.note("The first answer is held back for the load when the device changes its id.");
        world.text(a, r#"{"deviceId":"d2"}"#);
        world.set_store(Store::Prompt);
    });
}

#[test]
fn devices_that_never_pong_rebind() {
    let config = Config { pong_timeout: Span::from_secs(1), ..Config::default() };
    story("devices_that_never_pong_rebind", config, |world| {
        world.pongs = Pongs::None;
        let a = world.client(r#"{"deviceId":"d1"}"#);
        for _ in 0..3 {
            world.wait_ms(500);
            world.text(a, r#"{"deviceId":"d1"}"#);
            world.wait_ms(500);
        }
        let backend = world.pusher();
        world.set_reads(Reads::None);
        world.push(backend, "device:d1", "for the old, and longer");
        world.text(a, r#"{"deviceId":"d2"}"#);
        world.push(backend, "device:d2", "for the new");
        world.note("The socket has taken everything: what was written for the old key counts for");
        world.note("nothing any more, what was written for the new one is confirmed.");
        world.set_reads(Reads::Prompt);
    });
}
