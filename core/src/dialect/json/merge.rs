//! JSON Merge Patch, RFC 7396.

use super::compact::{write, write_string};
use super::cursor::{Cursor, Value};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What `target` becomes by `patch`: compact, members that stay at their places, new ones behind them
/// in the order of the patch. `None` when one of the texts is not JSON. Takes time in proportion to
/// the texts' lengths, however deep they are.
#[must_use]
pub fn merge_patch(target: &str, patch: &str) -> Option<String> {
    let merged = merge(Some(read(target)?), read(patch)?);
    let mut out = String::with_capacity(target.len() + patch.len());
    put(&merged, &mut out);
    Some(out)
}

/// A value in which objects are taken apart.
enum Node<'a> {
    /// An object, each name once. `None` is a member that was removed.
    Object(Vec<(Cow<'a, str>, Option<Self>)>),
    /// Anything else, as it is spelled.
    Other(Value<'a>),
}

fn read(text: &str) -> Option<Node<'_>> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    let node = node(&mut cursor)?;
    cursor.end()?;
    Some(node)
}

fn node<'a>(cursor: &mut Cursor<'a>) -> Option<Node<'a>> {
    if cursor.peek()? != b'{' {
        return cursor.value().map(Node::Other);
    }
    let mut members = Vec::new();
    let mut places = BTreeMap::new();
    cursor.object(|cursor, name| {
        let (name, value) = (name.decode(), node(cursor)?);
        let place = *places.entry(name.clone()).or_insert(members.len());
        if place == members.len() {
            members.push((name, Some(value)));
        } else {
            members[place].1 = Some(value);
        }
        Some(())
    })?;
    Some(Node::Object(members))
}

fn merge<'a>(target: Option<Node<'a>>, patch: Node<'a>) -> Node<'a> {
    let Node::Object(changes) = patch else { return patch };
    let mut members = match target {
        Some(Node::Object(members)) => members,
        Some(Node::Other(_)) | None => Vec::new(),
    };
    let names = members.iter().enumerate();
    let places: BTreeMap<_, _> = names.map(|(at, (name, _))| (name.clone(), at)).collect();
    for (name, change) in changes {
        let change = change.filter(|change| !matches!(change, Node::Other(Value::Null)));
        match (places.get(&name), change) {
            (Some(&at), Some(change)) => {
                let old = members[at].1.take();
                members[at].1 = Some(merge(old, change));
            }
            (Some(&at), None) => members[at].1 = None,
            (None, Some(change)) => members.push((name, Some(merge(None, change)))),
            (None, None) => {}
        }
    }
    Node::Object(members)
}

fn put(node: &Node<'_>, out: &mut String) {
    let members = match node {
        Node::Other(value) => return write(*value, out),
        Node::Object(members) => members,
    };
    out.push('{');
    let mut separator = "";
    for (name, value) in members {
        let Some(value) = value else { continue };
        out.push_str(separator);
        separator = ",";
        write_string(name, out);
        out.push(':');
        put(value, out);
    }
    out.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value as Json};

    #[test]
    fn the_cases_of_rfc_7396_hold() {
        for (target, patch, expect) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            assert_eq!(merge_patch(target, patch).as_deref(), Some(expect), "{target} {patch}");
        }
    }

    #[test]
    fn the_last_of_duplicates_wins_and_spellings_stay() {
        for (target, patch, expect) in [
            (r#"{"a":1}"#, r#"{"a":2,"\u0061":null}"#, "{}"),
            (r#"{"a":1,"a":2}"#, r#"{ "b" : 1.50 }"#, r#"{"a":2,"b":1.50}"#),
            (" 1e5 ", "{}", "{}"),
        ] {
            assert_eq!(merge_patch(target, patch).as_deref(), Some(expect), "{target} {patch}");
        }
        assert_eq!(merge_patch("{}", "{"), None);
        assert_eq!(merge_patch("{} {}", "{}"), None);
    }

    /// The pseudocode of RFC 7396, section 2.
    fn reference(target: Json, patch: Json) -> Json {
        let Json::Object(changes) = patch else { return patch };
        let mut members = if let Json::Object(members) = target { members } else { Map::new() };
        for (name, change) in changes {
            if change.is_null() {
                members.remove(&name);
            } else {
                let old = members.remove(&name).unwrap_or(Json::Null);
                members.insert(name, reference(old, change));
            }
        }
        Json::Object(members)
    }

    fn value() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<u8>().prop_map(Json::from),
            "[ab]?".prop_map(Json::from)
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Json::from),
                prop::collection::btree_map("[abc]", inner, 0..4)
                    .prop_map(|members| Json::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merging_is_what_the_rfc_says(target in value(), patch in value()) {
            let merged = merge_patch(&target.to_string(), &patch.to_string()).unwrap();
            let merged: Json = serde_json::from_str(&merged).unwrap();
            prop_assert_eq!(merged, reference(target, patch));
        }
    }
}
