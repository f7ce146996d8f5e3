//! What holds for any line; `serde_json` is the oracle.

use super::tests::push;
use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

const MAX_KEY: usize = 4 << 10;

/// A JSON value, as `serde_json` writes it.
fn json_value() -> BoxedStrategy<Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(|value| json!(value)),
        "\\PC{0,8}[\0-\x7f]{0,4}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec(("[a-c\"é\0]{0,3}", inner), 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
    .boxed()
}

/// What stands between a string's quotes: whole and broken escapes, pairs and lone surrogates.
fn string_body() -> impl Strategy<Value = String> {
    let pieces = [
        "\\ud83d", "\\uDE42", "\\ud800", "\\udc00", "\\u0041", "\\u00e9", "\\u12", "\\n", "\\/",
        "\\", "\"", "d800", "é", "a", " ", "\t",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..6)
        .prop_map(|pieces| pieces.concat())
}

/// Texts that are JSON, nearly JSON, or made of JSON's characters.
fn jsonlike() -> impl Strategy<Value = String> {
    let text = json_value().prop_map(|value| json!({"uid": "5", "v": value}).to_string()).boxed();
    let edit = r#"[{}\[\]":,\\ \t0-9aentrul.E+-]{0,2}"#;
    prop_oneof![
        text.clone(),
        (text, any::<prop::sample::Index>(), edit).prop_map(|(mut text, index, edit)| {
            let at = index.index(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(at + 1) {
                text.replace_range(at..at + 1, &edit);
            }
            text
        }),
        string_body().prop_map(|body| format!(r#"{{"uid":"5","v":["{body}"]}}"#)),
        r#"[{}\[\]":,\\ \t0-9aentrul.E+-]{0,30}"#,
    ]
}

proptest! {
    #[test]
    fn bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = read(&bytes, MAX_KEY);
    }

    #[test]
    fn escapes_in_the_uid_are_decoded_or_refused(body in string_body()) {
        let line = format!(r#"{{"uid":"{body}"}}"#);
        let uid = serde_json::from_str::<Json>(&line).ok().map(|line| line["uid"].clone());
        let key = uid.as_ref().and_then(Json::as_str).map(trim).filter(|key| !key.is_empty());
        let read = push(&line).ok();
        prop_assert_eq!(read.as_ref().map(|push| &*push.key), key, "{}", line);
    }

    #[test]
    fn acceptance_agrees_with_an_independent_reader(text in jsonlike()) {
        let object = serde_json::from_str::<Json>(&text).is_ok_and(|v| v.is_object());
        prop_assert_eq!(push(&text) != Err(FailReason::NotAnObject), object, "{}", text);
    }

    #[test]
    fn a_relayed_line_is_its_payload(value in json_value(), uid in "[a-z0-9]{1,9}") {
        let line = json!({"uid": &uid, "v": value}).to_string();
        let push = push(&line).unwrap();
        prop_assert_eq!(&*push.key, uid);
        prop_assert_eq!(push.payload, line);
    }

    #[test]
    fn rebuilding_keeps_other_members(
        members in prop::collection::vec(("[a-c\"é\0]{0,3}", json_value()), 0..6),
        pretty in any::<bool>(),
    ) {
        let mut expect: Map<_, _> = members.into_iter().collect();
        expect.insert("uid".into(), "5".into());
        expect.insert("FunctionType".into(), 1.into());
        let line = Json::Object(expect.clone());
        let line = if pretty { format!("{line:#}") } else { line.to_string() };
        let push = push(&line).unwrap();
        expect.insert("ErrMsg".into(), "获取变量成功".into());
        expect.insert("IsSuccess".into(), 1.into());
        expect.insert("Data".into(), "".into());
        let payload = &*push.payload;
        prop_assert_eq!(payload.contains('\n'), false);
        let rebuilt: Json = serde_json::from_str(payload).unwrap();
        prop_assert_eq!(rebuilt, Json::Object(expect));
    }
}
