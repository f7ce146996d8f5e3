use super::*;
use crate::id::MessageId;
use proptest::prelude::*;

fn client(frame: &ClientFrame<'_>, text: &str) {
    assert_eq!(frame.encode(), text);
    assert_eq!(ClientFrame::parse(text).as_ref(), Ok(frame), "{text}");
}

fn gateway(frame: &GatewayFrame<'_>, text: &str) {
    assert_eq!(frame.encode(), text);
    assert_eq!(GatewayFrame::parse(text).as_ref(), Ok(frame), "{text}");
}

#[test]
fn frames_of_clients_are_written_as_they_are_read() {
    let hello = Hello { key: "7".into(), ..Hello::default() };
    client(&ClientFrame::Hello(hello.clone()), r#"{"type":"hello","key":"7"}"#);
    let (token, session, last) = (Some("t".into()), Some("s".into()), Some("1-9".into()));
    client(
        &ClientFrame::Hello(Hello { token, session, last, ..hello }),
        r#"{"type":"hello","key":"7","token":"t","session":"s","last":"1-9"}"#,
    );
    client(&ClientFrame::Ack { id: "1-9".into() }, r#"{"type":"ack","id":"1-9"}"#);
    client(&ClientFrame::Heartbeat { timestamp: None }, r#"{"type":"heartbeat"}"#);
    client(
        &ClientFrame::Heartbeat { timestamp: Some(MAX_NUMBER) },
        r#"{"type":"heartbeat","timestamp":9007199254740991}"#,
    );
    client(&ClientFrame::Ping, r#"{"type":"ping"}"#);
    for patch in [r#"{"a":[1.0,null]}"#, "[]", "null", "true", "\"x\"", "-1e5"] {
        client(
            &ClientFrame::Op { n: 3, patch: patch.into() },
            &format!(r#"{{"type":"op","n":3,"patch":{patch}}}"#),
        );
    }
    client(&ClientFrame::Bye, r#"{"type":"bye"}"#);
}

#[test]
fn frames_of_the_gateway_are_written_as_they_are_read() {
    let welcome = Welcome {
        session: "5e".into(),
        resumed: true,
        lost: false,
        applied: 2,
        context: r#"{"a":1}"#.into(),
        heartbeat_ms: 15_000,
        endpoints: Vec::new(),
    };
    gateway(
        &GatewayFrame::Welcome(welcome.clone()),
        r#"{"type":"welcome","session":"5e","resumed":true,"lost":false,"applied":2,"context":{"a":1},"heartbeat_ms":15000}"#,
    );
    gateway(
        &GatewayFrame::Welcome(Welcome {
            endpoints: vec!["wss://a/".into(), "wss://b/\"".into()],
            ..welcome
        }),
        r#"{"type":"welcome","session":"5e","resumed":true,"lost":false,"applied":2,"context":{"a":1},"heartbeat_ms":15000,"endpoints":["wss://a/","wss://b/\""]}"#,
    );
    let message = GatewayFrame::Message { id: "1-9".into(), data: "{\"a\": 1}".into(), tries: 2 };
    gateway(&message, r#"{"type":"message","id":"1-9","data":"{\"a\": 1}","tries":2}"#);
    let mut out = String::new();
    write_message(MessageId { incarnation: 1, counter: 9 }, "{\"a\": 1}", 2, &mut out);
    assert_eq!(out, message.encode());
    gateway(&GatewayFrame::HeartbeatAck { timestamp: None }, r#"{"type":"heartbeat_ack"}"#);
    gateway(
        &GatewayFrame::HeartbeatAck { timestamp: Some(0) },
        r#"{"type":"heartbeat_ack","timestamp":0}"#,
    );
    gateway(&GatewayFrame::Pong, r#"{"type":"pong"}"#);
    gateway(&GatewayFrame::OpAck { n: 7 }, r#"{"type":"op_ack","n":7}"#);
    gateway(&GatewayFrame::Retry { after_ms: 1_250 }, r#"{"type":"retry","after_ms":1250}"#);
    gateway(
        &GatewayFrame::Error { code: 4003, reason: "ack overdue".into() },
        r#"{"type":"error","code":4003,"reason":"ack overdue"}"#,
    );
}

#[test]
fn what_is_no_frame_is_named() {
    for (text, expect) in [
        ("", "not a JSON object"),
        ("5", "not a JSON object"),
        (r#"{"type":"ping"}{}"#, "not a JSON object"),
        ("{}", "`type` is missing or not a string"),
        (r#"{"type":1}"#, "`type` is missing or not a string"),
        (r#"{"type":"pong"}"#, "`type` is not a frame of a client"),
        (r#"{"type":"hello"}"#, "`key` is missing or not a string"),
        (r#"{"type":"hello","key":7}"#, "`key` is missing or not a string"),
        (r#"{"type":"hello","key":"7","session":1}"#, "`session` is not a string"),
        (r#"{"type":"ack","id":null}"#, "`id` is missing or not a string"),
        (
            r#"{"type":"op","n":0,"patch":1}"#,
            "`n` is missing or not an integer from 1 to 9007199254740991",
        ),
        (
            r#"{"type":"op","n":9007199254740992,"patch":1}"#,
            "`n` is missing or not an integer from 1 to 9007199254740991",
        ),
        (r#"{"type":"op","n":1}"#, "`patch` is missing"),
    ] {
        let error = ClientFrame::parse(text).expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    }
    for (text, expect) in [
        (r#"{"type":"ping"}"#, "`type` is not a frame of the gateway"),
        (r#"{"type":"message","id":"1","data":"x"}"#, "`tries` is missing or not an integer"),
        (r#"{"type":"error","code":70000,"reason":""}"#, "`code` is missing or not a close code"),
    ] {
        let error = GatewayFrame::parse(text).expect_err(text);
        assert_eq!(error.to_string(), expect, "{text}");
    }
}

#[test]
fn members_that_are_not_known_are_passed_over() {
    let text = r#" { "new" : [{}], "id" : "a", "\u0074ype" : "ack", "id" : "b" } "#;
    assert_eq!(ClientFrame::parse(text), Ok(ClientFrame::Ack { id: "b".into() }));
}

#[test]
fn frames_come_alone_or_in_arrays() {
    let ping = r#"{"type":"ping"}"#;
    for (text, expect) in [
        (ping.to_owned(), Some(vec![ping])),
        (format!(" [ {ping} ,{ping}]"), Some(vec![ping, ping])),
        ("[]".to_owned(), Some(vec![])),
        ("[5]".to_owned(), None),
        (format!("[{ping}"), None),
        ("anything".to_owned(), Some(vec!["anything"])),
    ] {
        let frames = split_frames(&text.as_str().into());
        let frames = frames.as_ref().map(|list| list.iter().map(|it| &**it).collect());
        assert_eq!(frames, expect, "{text}");
    }
}

#[test]
fn every_code_of_ours_has_its_advice() {
    let advice = |code| advice(Some(code));
    for code in [1000, 1002, 1003, 1007, 1008, 1009, BAD_FRAME, REPLACED, CONTEXT_TOO_LARGE] {
        assert_eq!(advice(code), Advice::Stop, "{code}");
    }
    for code in [
        1001,
        1006,
        1011,
        1012,
        1013,
        HELLO_OVERDUE,
        ACK_OVERDUE,
        OP_OUT_OF_ORDER,
        SESSION_UNAVAILABLE,
    ] {
        assert_eq!(advice(code), Advice::Reconnect, "{code}");
    }
    assert_eq!(advice(SESSION_MOVED), Advice::StartOver);
    assert_eq!(super::advice(None), Advice::Reconnect);
}

use code::{
    ACK_OVERDUE, BAD_FRAME, CONTEXT_TOO_LARGE, HELLO_OVERDUE, OP_OUT_OF_ORDER, REPLACED,
    SESSION_MOVED, SESSION_UNAVAILABLE,
};

proptest! {
    #[test]
    fn any_text_survives(key in "\\PC{0,20}[\0-\x7f]{0,20}", data in "\\PC{0,20}[\0-\x7f]{0,20}") {
        let hello = ClientFrame::Hello(Hello { key: key.into(), ..Hello::default() });
        let text = hello.encode();
        prop_assert_eq!(ClientFrame::parse(&text), Ok(hello));
        let message = GatewayFrame::Message { id: "1".into(), data: data.into(), tries: 0 };
        let text = message.encode();
        prop_assert_eq!(GatewayFrame::parse(&text), Ok(message));
    }

    #[test]
    fn no_text_breaks_the_readers(text in "\\PC{0,60}") {
        let _ = ClientFrame::parse(&text);
        let _ = GatewayFrame::parse(&text);
    }
}

#[test]
fn a_heartbeat_counts_whatever_its_timestamp_is() {
    for value in ["1.5", "-1", "1e3", "9007199254740992", "\"2026-01-01T00:00:00Z\"", "[]", "null"]
    {
        let text = format!(r#"{{"type":"heartbeat","timestamp":{value}}}"#);
        let expect = Ok(ClientFrame::Heartbeat { timestamp: None });
        assert_eq!(ClientFrame::parse(&text), expect, "{value}");
    }
}
