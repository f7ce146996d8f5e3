use super::*;
use crate::dialect::device_key;
use proptest::prelude::*;

fn unbound(text: &str) -> Message<'_> {
    read(text, Standing::Unbound, Dialects::ALL)
}

fn bound<'a>(text: &'a str, key: &str) -> Message<'a> {
    read(text, Standing::Bound(&Key::new(key)), Dialects::ALL)
}

fn device<'a>(id: &'a str, log: Option<&str>) -> Message<'a> {
    Message::Device(DeviceMessage { id: id.into(), log: log.map(ByteString::from) })
}

#[test]
fn digits_are_a_web_heartbeat_when_they_are_the_own_key() {
    for (text, expect) in [
        ("5", Message::Web),
        ("007", Message::Web),
        ("99123456789123456789", Message::Web),
        ("-5", Message::Other),
        ("+5", Message::Other),
        ("5.0", Message::Other),
        ("0x5", Message::Other),
        ("5 6", Message::Other),
        ("9\x0c", Message::Other),
        ("９", Message::Other),
        ("٥٥", Message::Other),
        ("5\u{a0}", Message::Other),
    ] {
        assert_eq!(unbound(text), expect, "{text}");
        assert_eq!(bound(text, text), expect, "{text}");
    }
    for (text, key) in [("05", "5"), ("5", "05"), ("5", "t5"), ("5", r#"{"uid":"5"}"#)] {
        assert_eq!(bound(text, key), Message::Other, "{text} on {key}");
    }
    let key = device_key("5");
    assert_eq!(read("5", Standing::Device(&key), Dialects::ALL), Message::Other);
}

#[test]
fn office_heartbeats_are_echoed_unless_their_function_type_is_zero() {
    for function_type in [
        "4",
        "1",
        "-1",
        "1e2",
        "1.9",
        "4294967296",
        "true",
        "[0]",
        r#"{"a":0}"#,
        r#""4""#,
        r#"" 4""#,
        r#""4abc""#,
        r#""1e1""#,
        r#""-3""#,
        r#""+3""#,
        r#""1.9""#,
        r#""\u0034""#,
    ] {
        let text = format!(r#"{{"uid":"5","FunctionType":{function_type}}}"#);
        assert_eq!(unbound(&text), Message::Office(Echo::Verbatim), "{text}");
        assert_eq!(bound(&text, "9"), Message::Office(Echo::Verbatim), "{text}");
    }
    for function_type in [
        "0",
        "-0",
        "0.5",
        "-0.99",
        "1e999",
        "null",
        "false",
        "[]",
        "{}",
        r#""""#,
        r#""abc""#,
        r#""４""#,
        r#""0x1A""#,
        r#""0.99""#,
    ] {
        let text = format!(r#"{{"uid":"5","FunctionType":{function_type}}}"#);
        assert_eq!(unbound(&text), Message::Office(Echo::None), "{text}");
    }
}

#[test]
fn an_office_heartbeat_is_an_object_with_a_uid() {
    for text in [
        r#"{"uid":"","FunctionType":4}"#,
        r#"{"uid":false,"FunctionType":4}"#,
        r#"{"uid":0,"FunctionType":4}"#,
        r#"{"uid":[],"FunctionType":4}"#,
        r#"{"\u0075id":5,"FunctionType":4}"#,
        r#"{"uid":null,"FunctionType":0,"uid":5,"FunctionType":4}"#,
        r#"{"uid":5,"FunctionType":4,"deviceId":"d","type":"ping"}"#,
        "{\n  \"uid\" : \"5\",\r\n\t\"FunctionType\" : 4\n}",
    ] {
        assert_eq!(unbound(text), Message::Office(Echo::Verbatim), "{text}");
    }
    for text in [
        r#"{"uid":"5"}"#,
        r#"{"uid":"5","functiontype":4}"#,
        r#"{"uid":"5","FunctionType":4,"FunctionType":0}"#,
    ] {
        assert_eq!(unbound(text), Message::Office(Echo::None), "{text}");
    }
    let deep =
        format!(r#"{{"uid":"5","FunctionType":4,"n":{}{}}}"#, "[".repeat(600), "]".repeat(600));
    for text in [
        r#"{"id":"5","FunctionType":4}"#,
        r#"{"UID":"5","FunctionType":4}"#,
        r#"{"uid":null,"FunctionType":4}"#,
        r#"{"uid":"5","uid":null,"FunctionType":4}"#,
        r#"{"o":{"uid":"5","FunctionType":4}}"#,
        "{5",
        "{}",
        r#"{"uid":"5","FunctionType":4"#,
        r#"{"uid":"5","FunctionType":4,}"#,
        r#"{'uid':'5','FunctionType':4}"#,
        r#"{"uid":"5","FunctionType":4}x"#,
        r#"{"uid":"5",/*c*/"FunctionType":4}"#,
        r#"{uid:"5",FunctionType:4}"#,
        "{\"uid\":\"5\n\",\"FunctionType\":4}",
        r#"{"uid":"5","FunctionType":4,"n":"\ud800"}"#,
        r#"[{"uid":"5","FunctionType":4}]"#,
        r#""5""#,
        &deep,
    ] {
        assert_eq!(unbound(text), Message::Other, "{text}");
    }
}

#[test]
fn device_messages_have_a_device_id() {
    for (text, expect) in [
        (r#"{"deviceId":"d1"}"#, device("d1", None)),
        (r#"{"deviceId":" d1\n"}"#, device("d1", None)),
        (r#"{"deviceId":"d\u0031"}"#, device("d1", None)),
        (r#"{"deviceId":12}"#, device("12", None)),
        (r#"{"deviceId":-0}"#, device("0", None)),
        (r#"{"deviceId":"0"}"#, device("0", None)),
        (r#"{"deviceId":"a","deviceId":"b"}"#, device("b", None)),
        (r#"{"uid":null,"deviceId":"d"}"#, device("d", None)),
        (r#"{"deviceId":"d","type":"ping"}"#, device("d", None)),
        (r#"{"uid":"5","deviceId":"d"}"#, Message::Office(Echo::None)),
        (r#"{"deviceId":""}"#, Message::Other),
        (r#"{"deviceId":" \t"}"#, Message::Other),
        (r#"{"deviceId":null}"#, Message::Other),
        (r#"{"deviceId":false}"#, Message::Other),
        (r#"{"deviceId":1.5}"#, Message::Other),
        (r#"{"deviceId":["d"]}"#, Message::Other),
        (r#"{"deviceId":"","type":"ping"}"#, Message::Monitor(MonitorMessage::Ping)),
        (r#"{"deviceid":"d"}"#, Message::Other),
    ] {
        assert_eq!(unbound(text), expect, "{text}");
        let key = device_key("other");
        assert_eq!(read(text, Standing::Device(&key), Dialects::ALL), expect, "{text}");
    }
    assert_eq!(bound(r#"{"deviceId":"d1"}"#, "5"), Message::Other);
    assert_eq!(
        bound(r#"{"deviceId":"d","type":"ping"}"#, "5"),
        Message::Monitor(MonitorMessage::Ping)
    );
}

#[test]
fn device_logs_need_type_4_and_true_data() {
    for (members, expect) in [
        (r#""type":4,"data":"x""#, Some(r#""x""#)),
        (r#""type":"4","data":{ "a" : "\u6c49\/" , "n":1.0 }"#, Some(r#"{"a":"汉/","n":1.0}"#)),
        (r#""type":4.0,"data":[ 1 ]"#, Some("[1]")),
        (r#""data":true,"type":4"#, Some("true")),
        (r#""type":4,"data":1.50"#, Some("1.50")),
        (r#""type":4,"data":"00""#, Some(r#""00""#)),
        (
            r#""type":4,"data":{"$serde_json::private::Number":"x"}"#,
            Some(r#"{"$serde_json::private::Number":"x"}"#),
        ),
        (r#""type":4"#, None),
        (r#""type":4,"data":null"#, None),
        (r#""type":4,"data":false"#, None),
        (r#""type":4,"data":0"#, None),
        (r#""type":4,"data":-0.0"#, None),
        (r#""type":4,"data":"""#, None),
        (r#""type":4,"data":"0""#, None),
        (r#""type":4,"data":[]"#, None),
        (r#""type":4,"data":{}"#, None),
        (r#""type":5,"data":"x""#, None),
        (r#""type":" 4","data":"x""#, None),
        (r#""type":true,"data":"x""#, None),
        (r#""type":[4],"data":"x""#, None),
        (r#""data":"x""#, None),
    ] {
        let text = format!(r#"{{"deviceId":"d",{members}}}"#);
        assert_eq!(unbound(&text), device("d", expect), "{text}");
    }
}

#[test]
fn monitors_have_a_type() {
    use MonitorMessage::{Heartbeat, Ping};
    for (text, expect) in [
        (r#"{"type":"heartbeat"}"#, Message::Monitor(Heartbeat)),
        (r#"{"type":"heartbeat","timestamp":1,"x":[]}"#, Message::Monitor(Heartbeat)),
        (r#"{"type":"ping"}"#, Message::Monitor(Ping)),
        (r#"{"type":"pin\u0067"}"#, Message::Monitor(Ping)),
        (r#"{"type":"x","type":"ping"}"#, Message::Monitor(Ping)),
        (r#"{"type":"ping","uid":"5"}"#, Message::Office(Echo::None)),
        (r#"{"type":"PING"}"#, Message::Other),
        (r#"{"type":"pong"}"#, Message::Other),
        (r#"{"type":1}"#, Message::Other),
        (r#"{"type":["ping"]}"#, Message::Other),
        (r#"{"type":"ping","x":"\ud800"}"#, Message::Other),
        (r#"[{"type":"ping"}]"#, Message::Other),
        ("ping", Message::Other),
    ] {
        assert_eq!(unbound(text), expect, "{text}");
        assert_eq!(bound(text, "5"), expect, "{text}");
    }
}

#[test]
fn a_dialect_that_is_off_leaves_its_messages_to_the_next() {
    let both = r#"{"uid":"5","deviceId":"d","type":"ping"}"#;
    for (text, off, expect) in [
        ("5", &[Dialect::Web][..], Message::Other),
        (both, &[], Message::Office(Echo::None)),
        (both, &[Dialect::Office], device("d", None)),
        (both, &[Dialect::Office, Dialect::Device], Message::Monitor(MonitorMessage::Ping)),
        (both, &[Dialect::Office, Dialect::Device, Dialect::Monitor], Message::Other),
    ] {
        let dialects = off.iter().fold(Dialects::ALL, |all, dialect| all.without(*dialect));
        assert_eq!(read(text, Standing::Unbound, dialects), expect, "{text} without {off:?}");
    }
}

proptest! {
    #[test]
    fn any_text_is_some_message(
        text in prop_oneof!["\\PC{1,40}", r#"[{}\[\]":,\\ud0-9a-f.eE+-]{1,40}"#],
    ) {
        unbound(&text);
        bound(&text, &text);
    }

    #[test]
    fn text_that_is_no_json_object_is_never_a_json_dialect(text in r#"\{[{}\[\]":, 1a]{0,12}"#) {
        let object = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        prop_assert_eq!(Object::read(&text).is_some(), object);
    }
}
