//! Writing JSON: compact, order kept, duplicates merged, strings as short as they can be, numbers
//! exactly as they were spelled.

use super::cursor::{Cursor, Text, Value};
use std::collections::BTreeMap;
use std::ops::Range;

/// Appends the value: no whitespace, the last of duplicate members at the first one's place,
/// non-ASCII and slashes unescaped, numbers digit for digit, `{}` kept apart from `[]` (the
/// original loses all three; `vectors/workerman/push_encoding.json` says what is right).
pub(in crate::dialect) fn write(value: Value<'_>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(text) => out.push_str(text),
        Value::String(text) => write_text(text, out),
        Value::Array(text) | Value::Object(text) => write_nested(text, out),
    }
}

/// Appends `text` as a JSON string. Only quotes, backslashes and control characters are escaped.
pub(in crate::dialect) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    // What needs no escape is copied in runs: texts are long, and escapes few.
    let mut run = 0;
    for (at, byte) in text.bytes().enumerate() {
        if byte >= b' ' && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[run..at]);
        run = at + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            control => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.push_str("\\u00");
                out.push(HEX[usize::from(control >> 4)] as char);
                out.push(HEX[usize::from(control & 15)] as char);
            }
        }
    }
    out.push_str(&text[run..]);
    out.push('"');
}

/// Which members stay when the last of equal names wins at the first one's place: pairs of the place
/// whose name and the place whose value is kept. `None` when no name occurs twice.
pub(in crate::dialect) fn survivors<'n>(
    count: usize,
    name: impl Fn(usize) -> &'n str,
) -> Option<Vec<(usize, usize)>> {
    if count < 2 {
        return None;
    }
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|a, b| name(*a).cmp(name(*b)));
    let mut kept: Vec<(usize, usize)> = order
        .chunk_by(|a, b| name(*a) == name(*b))
        .map(|equal| (equal[0], equal[equal.len() - 1]))
        .collect();
    if kept.len() == count {
        return None;
    }
    kept.sort_unstable();
    Some(kept)
}

fn write_text(text: Text<'_>, out: &mut String) {
    write_string(&text.decode(), out);
}

fn write_nested(text: &str, out: &mut String) {
    let mut writer = Writer { out: String::with_capacity(text.len()), merges: BTreeMap::new() };
    writer.value(&mut Cursor::new(text)).expect("the value was checked when it was read");
    if writer.merges.is_empty() {
        out.push_str(&writer.out);
    } else {
        writer.emit(0..writer.out.len(), out);
    }
}

/// Writes everything in one pass, and notes the objects that have duplicate members. Merging them
/// on the spot would move what is in them once a level; this way nothing is moved twice.
struct Writer {
    out: String,
    /// By where the object starts in `out`.
    merges: BTreeMap<usize, Merge>,
}

/// An object with duplicate members.
struct Merge {
    /// Where it ends in `out`.
    end: usize,
    /// The members that stay: where their names and values stand in `out`.
    members: Vec<(Range<usize>, Range<usize>)>,
}

impl Writer {
    fn value(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        match cursor.peek()? {
            b'{' => self.object(cursor),
            b'[' => self.array(cursor),
            _ => {
                write(cursor.value()?, &mut self.out);
                Some(())
            }
        }
    }

    fn array(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let mut separator = '[';
        cursor.array(|cursor| {
            self.out.push(separator);
            separator = ',';
            self.value(cursor)
        })?;
        self.close("[", separator, ']');
        Some(())
    }

    fn object(&mut self, cursor: &mut Cursor<'_>) -> Option<()> {
        let start = self.out.len();
        let mut members = Vec::new();
        let mut separator = '{';
        cursor.object(|cursor, name| {
            self.out.push(separator);
            separator = ',';
            let name_start = self.out.len();
            write_text(name, &mut self.out);
            let name_end = self.out.len();
            self.out.push(':');
            self.value(cursor)?;
            members.push((name_start..name_end, name_end + 1..self.out.len()));
            Some(())
        })?;
        self.close("{", separator, '}');
        if let Some(kept) = survivors(members.len(), |at| &self.out[members[at].0.clone()]) {
            let members = kept
                .into_iter()
                .map(|(first, last)| (members[first].0.clone(), members[last].1.clone()))
                .collect();
            self.merges.insert(start, Merge { end: self.out.len(), members });
        }
        Some(())
    }

    /// Ends an array or object; when nothing was in it, its bracket is not written yet.
    fn close(&mut self, open: &str, separator: char, close: char) {
        if separator != ',' {
            self.out.push_str(open);
        }
        self.out.push(close);
    }

    /// Copies a part of what was written, merging duplicates on the way.
    fn emit(&self, part: Range<usize>, out: &mut String) {
        let mut at = part.start;
        while let Some((&start, merge)) = self.merges.range(at..part.end).next() {
            out.push_str(&self.out[at..start]);
            let mut separator = '{';
            for (name, value) in &merge.members {
                out.push(separator);
                separator = ',';
                out.push_str(&self.out[name.clone()]);
                out.push(':');
                self.emit(value.clone(), out);
            }
            out.push('}');
            at = merge.end;
        }
        out.push_str(&self.out[at..part.end]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json::members;
    use proptest::prelude::*;

    fn check(value: &str, expect: &str) {
        let text = format!("{{\"v\":{value}}}");
        let mut out = String::new();
        members(&text, |_, value| write(value, &mut out)).unwrap();
        assert_eq!(out, expect, "{value}");
    }

    #[test]
    fn values_are_written_compactly() {
        for (value, expect) in [
            ("null", "null"),
            ("true", "true"),
            ("false", "false"),
            ("[ 1 ,\t2 ]", "[1,2]"),
            ("{ }", "{}"),
            ("[ ]", "[]"),
            (r#"{"a": { }, "b" : [ {} ] , "c":[[]]}"#, r#"{"a":{},"b":[{}],"c":[[]]}"#),
            ("[1.0,-0,1E5,0.10,12345678901234567890]", "[1.0,-0,1E5,0.10,12345678901234567890]"),
            (r#"{"2":"a","1":"b"}"#, r#"{"2":"a","1":"b"}"#),
            (r#""a\/b""#, r#""a/b""#),
            (r#""\u4f60\u597d \ud83d\ude42""#, "\"你好 🙂\""),
            (r#""\u0000\u001F\b\f\n\r\t\"\\""#, r#""\u0000\u001f\u0008\u000c\n\r\t\"\\""#),
            (r#"{"\u0000a":1}"#, r#"{"\u0000a":1}"#),
            (
                r#"{"$serde_json::private::Number":"1","a":{"$serde_json::private::RawValue":"x"}}"#,
                r#"{"$serde_json::private::Number":"1","a":{"$serde_json::private::RawValue":"x"}}"#,
            ),
        ] {
            check(value, expect);
        }
    }

    #[test]
    fn the_last_of_duplicates_wins_at_the_first_place() {
        for (value, expect) in [
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
            (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
            (r#"[{"a":1,"a":2},{"b":1,"b":2}]"#, r#"[{"a":2},{"b":2}]"#),
            (
                r#"{"a":{"b":1,"b":2},"c":0,"a":{"d":3,"d":4},"e":{"f":5,"f":6}}"#,
                r#"{"a":{"d":4},"c":0,"e":{"f":6}}"#,
            ),
            (r#"{"a":{"b":1,"b":2},"a":0}"#, r#"{"a":0}"#),
        ] {
            check(value, expect);
        }
    }

    #[test]
    fn nested_duplicates_cost_no_more_than_their_length() {
        let deep = format!(
            "{}[{}0]{}",
            "{\"a\":0,\"a\":".repeat(508),
            "0,".repeat(200_000),
            "}".repeat(508)
        );
        let expect =
            format!("{}[{}0]{}", "{\"a\":".repeat(508), "0,".repeat(200_000), "}".repeat(508));
        check(&deep, &expect);
    }

    proptest! {
        #[test]
        fn strings_survive_writing(text in "\\PC{0,20}[\0-\x7f]{0,20}") {
            let mut out = String::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }
}
