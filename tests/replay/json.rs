//! Equality of JSON texts as values.

use serde_json::{Number, Value};

/// Whether two texts are the same JSON value: member order does not matter, numbers count by
/// value (1 = 1.0 = 10e-1), with all their digits.
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    match (serde_json::from_slice(one), serde_json::from_slice(other)) {
        (Ok(one), Ok(other)) => is_equal(&one, &other),
        (Err(_), _) | (_, Err(_)) => false,
    }
}

fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => decimal(one) == decimal(other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has_same = |(name, value): (&String, &Value)| {
                other.get(name).is_some_and(|other| is_equal(value, other))
            };
            one.len() == other.len() && one.iter().all(has_same)
        }
        (one, other) => one == other,
    }
}

/// A number as sign, digits without zeros at either end, and the power of ten of the last digit.
fn decimal(number: &Number) -> (bool, String, i64) {
    let text = number.to_string();
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.as_str()),
    };
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let exponent: i64 = exponent.parse().expect("the parser has checked the exponent");
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let cut = i64::try_from(digits.len() - kept.len()).expect("short");
    let scale = i64::try_from(fraction.len()).expect("short");
    let digits = kept.trim_start_matches('0').to_owned();
    if digits.is_empty() {
        return (false, digits, 0);
    }
    (is_negative, digits, exponent - scale + cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_by_value() {
        for (one, other) in [
            ("1", "1.0"),
            ("1e2", "100"),
            ("-0", "0.0"),
            ("0.10", "1E-1"),
            ("1.0e+25", "10000000000000000000000000"),
        ] {
            assert!(is_same(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
        for (one, other) in [
            ("1", "-1"),
            ("1", "1.0000000000000000001"),
            ("12345678901234567890", "12345678901234567891"),
            ("1", "10"),
        ] {
            assert!(!is_same(one.as_bytes(), other.as_bytes()), "{one} {other}");
        }
    }

    #[test]
    fn member_order_does_not_matter_and_everything_else_does() {
        assert!(is_same(br#"{"a":1,"b":[{}]}"#, br#"{ "b":[{}],"a":1.0}"#));
        assert!(is_same(br#""a\/b""#, br#""a/b""#));
        for other in [r#"{"a":1,"b":[[]]}"#, r#"{"a":1}"#, r#"{"a":"1","b":[{}]}"#, "{"] {
            assert!(!is_same(br#"{"a":1,"b":[{}]}"#, other.as_bytes()), "{other}");
        }
    }
}
