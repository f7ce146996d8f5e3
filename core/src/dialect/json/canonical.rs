//! One spelling for all JSON objects that mean the same.

use super::compact::write_string;
use super::cursor::{Cursor, Value};
use std::collections::BTreeMap;

/// A spelling that all texts of the same JSON object share: members sorted, duplicates merged (the
/// last wins), no whitespace, strings decoded, numbers by value (`1`, `1.0` and `10e-1` are one).
/// `None` when the text is not a JSON object. Meant for keys, which are short: the time grows with
/// length × depth.
#[must_use]
pub fn canonical(text: &str) -> Option<String> {
    let mut cursor = Cursor::new(text);
    cursor.skip_space();
    if cursor.peek()? != b'{' {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    value(&mut cursor, &mut out)?;
    cursor.end()?;
    Some(out)
}

fn value(cursor: &mut Cursor<'_>, out: &mut String) -> Option<()> {
    match cursor.peek()? {
        b'{' => {
            let mut members = BTreeMap::new();
            cursor.object(|cursor, name| {
                let mut text = String::new();
                value(cursor, &mut text)?;
                members.insert(name.decode(), text);
                Some(())
            })?;
            out.push('{');
            for (at, (name, text)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { "," });
                write_string(name, out);
                out.push(':');
                out.push_str(text);
            }
            out.push('}');
        }
        b'[' => {
            out.push('[');
            let mut separator = "";
            cursor.array(|cursor| {
                out.push_str(separator);
                separator = ",";
                value(cursor, out)
            })?;
            out.push(']');
        }
        _ => match cursor.value()? {
            Value::Number(text) => number(text, out),
            scalar @ (Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_)) => super::write(scalar, out),
        },
    }
    Some(())
}

/// Appends the number as its significant digits and a power of ten. An exponent beyond 64 bits is
/// left as it is spelled.
fn number(text: &str, out: &mut String) {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (sign, magnitude) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    if significant.is_empty() {
        out.push('0');
        return;
    }
    let shift = zeros as i64 - fraction.len() as i64;
    let Some(power) = exponent.parse::<i64>().ok().and_then(|power| power.checked_add(shift))
    else {
        out.push_str(text);
        return;
    };
    out.push_str(sign);
    out.push_str(significant);
    if power != 0 {
        out.push('e');
        out.push_str(&power.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_same_object_share_a_spelling() {
        for (text, expect) in [
            ("{}", "{}"),
            (" {\n} ", "{}"),
            (r#"{"uid":"12","FunctionType":4}"#, r#"{"FunctionType":4,"uid":"12"}"#),
            (
                r#"{ "FunctionType" : 4.0, "\u0075id":"\u0031\u0032" }"#,
                r#"{"FunctionType":4,"uid":"12"}"#,
            ),
            (r#"{"b":[{"d":1,"c":2}, 3],"a":null}"#, r#"{"a":null,"b":[{"c":2,"d":1},3]}"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":"a\/b汉"}"#, r#"{"a":"a/b汉"}"#),
            (r#"{"n":[1,1.0,10e-1,0.1E1,100e-2]}"#, r#"{"n":[1,1,1,1,1]}"#),
            (r#"{"n":[100,1e2,1.0E+2,-100,-0.5]}"#, r#"{"n":[1e2,1e2,1e2,-1e2,-5e-1]}"#),
            (r#"{"n":[0,-0,0.00,0e9]}"#, r#"{"n":[0,0,0,0]}"#),
            (
                r#"{"n":[12345678901234567891,1e99999999999999999999]}"#,
                r#"{"n":[12345678901234567891,1e99999999999999999999]}"#,
            ),
            (r#"{"$serde_json::private::Number":"1"}"#, r#"{"$serde_json::private::Number":"1"}"#),
        ] {
            assert_eq!(canonical(text).as_deref(), Some(expect), "{text}");
        }
    }

    #[test]
    fn other_texts_have_none() {
        for text in
            ["", "12", "\"a\"", "[]", "null", "{", "{}x", r#"{"a":1,}"#, r#"{"a":"\ud800"}"#]
        {
            assert_eq!(canonical(text), None, "{text}");
        }
        let deep = format!("{{\"n\":{}{}}}", "[".repeat(511), "]".repeat(511));
        assert_eq!(canonical(&deep), None);
    }

    #[test]
    fn different_objects_differ() {
        assert_ne!(canonical(r#"{"a":1}"#), canonical(r#"{"a":"1"}"#));
        assert_ne!(canonical(r#"{"a":[1,2]}"#), canonical(r#"{"a":[2,1]}"#));
        assert_ne!(canonical(r#"{"a":{}}"#), canonical(r#"{"a":[]}"#));
        assert_ne!(canonical(r#"{"a":10}"#), canonical(r#"{"a":1}"#));
    }
}
