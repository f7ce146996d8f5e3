//! Placeholders, loops and TEXT values.

use crate::support::unique_key;
use serde_json::{Map, Value};

/// What the placeholders of one case stand for.
#[derive(Clone)]
pub(crate) struct Names {
    pairs: Vec<(String, String)>,
}

/// A value of a list, with the place of the entry it came from.
pub(crate) struct Placed {
    pub(crate) index: usize,
    pub(crate) value: Value,
}

impl Names {
    /// Fresh numbers for `{{u1}}` to `{{u9}}`.
    pub(crate) fn fresh() -> Self {
        let name = |n: u32| (format!("{{{{u{n}}}}}"), unique_key());
        Self { pairs: (1..=9).map(name).collect() }
    }

    fn with_index(&self, i: i64) -> Self {
        let mut pairs = self.pairs.clone();
        pairs.push(("{{i}}".to_owned(), i.to_string()));
        Self { pairs }
    }

    fn fill_in(&self, text: &str) -> String {
        if !text.contains("{{") {
            return text.to_owned();
        }
        let fill = |text: String, pair: &(String, String)| text.replace(&pair.0, &pair.1);
        self.pairs.iter().fold(text.to_owned(), fill)
    }

    fn substitute(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill_in(text)),
            Value::Array(items) => items.iter().map(|item| self.substitute(item)).collect(),
            Value::Object(members) => {
                let member =
                    |(name, value): (&String, &Value)| (name.clone(), self.substitute(value));
                Value::Object(members.iter().map(member).collect())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// The list without loops and placeholders.
pub(crate) fn expand(list: &[Value], names: &Names) -> Result<Vec<Placed>, String> {
    let mut all = Vec::new();
    for (index, value) in list.iter().enumerate() {
        expand_one(index, value, names, &mut all)?;
    }
    Ok(all)
}

fn expand_one(
    index: usize,
    value: &Value,
    names: &Names,
    all: &mut Vec<Placed>,
) -> Result<(), String> {
    let Some(range) = value.get("for") else {
        all.push(Placed { index, value: names.substitute(value) });
        return Ok(());
    };
    let bound = |at: usize| range.get("i").and_then(|ends| ends.get(at)).and_then(Value::as_i64);
    let body = value.get("do").and_then(Value::as_array);
    let (Some(first), Some(last), Some(body)) = (bound(0), bound(1), body) else {
        return Err(format!("not a loop: {value}"));
    };
    for i in first..=last {
        let names = names.with_index(i);
        for value in body {
            expand_one(index, value, &names, all)?;
        }
    }
    Ok(())
}

/// The bytes that a TEXT stands for.
pub(crate) fn bytes(text: &Value) -> Result<Vec<u8>, String> {
    if let Some(text) = text.as_str() {
        return Ok(text.as_bytes().to_vec());
    }
    let members = text.as_object().ok_or_else(|| format!("not a TEXT: {text}"))?;
    if let Some(parts) = members.get("concat").and_then(Value::as_array) {
        let parts: Result<Vec<_>, _> = parts.iter().map(bytes).collect();
        return Ok(parts?.concat());
    }
    if let Some(digits) = members.get("hex").and_then(Value::as_str) {
        return unhex(digits).ok_or_else(|| format!("not hexadecimal: {digits}"));
    }
    repeated(members).unwrap_or_else(|| Err(format!("not a TEXT: {text}")))
}

fn repeated(members: &Map<String, Value>) -> Option<Result<Vec<u8>, String>> {
    let part = members.get("repeat")?;
    let times = usize::try_from(members.get("times")?.as_u64()?).ok()?;
    Some(bytes(part).map(|part| part.repeat(times)))
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_loop_stands_for_its_body_at_the_place_of_the_loop() {
        let list = [json!({"x": "a"}), json!({"for": {"i": [2, 4]}, "do": [{"x": "n{{i}}"}]})];
        let all = expand(&list, &Names::fresh()).unwrap();
        let seen: Vec<_> =
            all.iter().map(|placed| (placed.index, placed.value["x"].clone())).collect();
        assert_eq!(seen, [(0, json!("a")), (1, json!("n2")), (1, json!("n3")), (1, json!("n4"))]);
    }

    #[test]
    fn a_placeholder_is_the_same_number_everywhere_in_a_case_and_new_in_the_next() {
        let list = [json!({"x": "{{u1}}"}), json!({"x": ["-{{u1}}{{u2}}"]})];
        let names = Names::fresh();
        let all = expand(&list, &names).unwrap();
        let first = all[0].value["x"].as_str().unwrap();
        let second = all[1].value["x"][0].as_str().unwrap();
        assert_eq!(first.len(), 9);
        assert_eq!(&second[..10], format!("-{first}"));
        assert_ne!(&second[10..], first);
        let other = expand(&list, &Names::fresh()).unwrap();
        assert_ne!(other[0].value["x"], all[0].value["x"]);
    }

    #[test]
    fn every_form_of_text() {
        let text = json!({"concat": ["é", {"repeat": {"hex": "00ff"}, "times": 2}, ""]});
        assert_eq!(bytes(&text).unwrap(), [0xc3, 0xa9, 0, 0xff, 0, 0xff]);
        assert!(bytes(&json!(5)).is_err());
        assert!(bytes(&json!({"hex": "0g"})).is_err());
        assert!(bytes(&json!({"repeat": "a"})).is_err());
    }
}
