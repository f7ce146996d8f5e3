//! PHP's casts, as far as the original let them show on the wire.
//!
//! Measured on PHP 8.2 (`tests/vectors/README.md`, "int cast"); the corners follow `zend_operators.c`.

use super::json::Value;
use std::borrow::Cow;

/// PHP's `(int)`. Floats are cut toward zero, taken modulo 2⁶⁴ beyond 64 bits, infinite ones 0.
/// Strings count by the number they begin with and are capped instead. An array or object is 1, or
/// 0 when it is empty.
pub(super) fn int_cast(value: Value<'_>) -> i64 {
    match value {
        Value::Null => 0,
        Value::Bool(value) => i64::from(value),
        Value::Number(text) => {
            integer(text).unwrap_or_else(|| wrap(text.parse().unwrap_or_default()))
        }
        Value::String(text) => int_prefix(&text.decode()),
        Value::Array(text) | Value::Object(text) => i64::from(!is_empty(text)),
    }
}

/// PHP's `(string)`, except that integers beyond 64 bits keep their digits, and that an array or
/// object is the empty string instead of the word `Array` (`push_transform/ft1_fail_msg_array`).
pub(super) fn string_cast(value: Value<'_>) -> Cow<'_, str> {
    match value {
        Value::Null | Value::Bool(false) | Value::Array(_) | Value::Object(_) => "".into(),
        Value::Bool(true) => "1".into(),
        Value::Number(text) => match integer_text(text) {
            Some(digits) => digits.into(),
            None => float_text(text.parse().unwrap_or_default()).into(),
        },
        Value::String(text) => text.decode(),
    }
}

/// The text by which a value names a client: a string's own, or an integer's as PHP's `(string)`
/// makes it, of any size. `None` for all else: no key is made by an accident of conversion.
pub(super) fn key_text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.decode()),
        Value::Number(text) => integer_text(text).map(Cow::Borrowed),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// PHP's `(bool)`: false are `null`, `false`, `0`, `0.0`, `""`, `"0"`, `[]` and `{}`.
pub(super) fn is_truthy(value: Value<'_>) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => value,
        Value::Number(text) => text.parse::<f64>().unwrap_or_default() != 0.0,
        Value::String(text) => !text.is("") && !text.is("0"),
        Value::Array(text) | Value::Object(text) => !is_empty(text),
    }
}

/// What a number is as a string when it is an integer, of any size: the text itself, except that
/// `-0` is `0`. `None` for floats.
fn integer_text(text: &str) -> Option<&str> {
    match text {
        "-0" => Some(&text[1..]),
        _ => (!text.contains(['.', 'e', 'E'])).then_some(text),
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

fn is_empty(brackets: &str) -> bool {
    brackets[1..brackets.len() - 1].bytes().all(|byte| byte.is_ascii_whitespace())
}

/// `zend_dval_to_lval`: out of range, modulo 2⁶⁴.
fn wrap(value: f64) -> i64 {
    const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
    if !value.is_finite() {
        return 0;
    }
    // Both casts cut the fraction; the remainder is below 2⁶⁴, so that neither caps.
    let magnitude = (value.abs() % TWO_POW_64) as u64;
    if value < 0.0 { magnitude.wrapping_neg() as i64 } else { magnitude as i64 }
}

/// The integer value of the longest number a text begins with, after whitespace; 0 without one.
fn int_prefix(text: &str) -> i64 {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let number = number_prefix(text);
    // Both parsers take the sign, and the cast caps as PHP does for strings.
    integer(number).unwrap_or_else(|| number.parse::<f64>().unwrap_or_default() as i64)
}

/// The longest prefix that is a decimal number: sign, digits, fraction, exponent.
fn number_prefix(text: &str) -> &str {
    let bytes = text.as_bytes();
    let digits_from = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let sign_at = |at: usize| usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
    let whole = sign_at(0);
    let mut end = whole + digits_from(whole);
    let mut digits = end - whole;
    if bytes.get(end) == Some(&b'.') {
        let fraction = digits_from(end + 1);
        if digits + fraction > 0 {
            end += 1 + fraction;
        }
        digits += fraction;
    }
    if digits == 0 {
        return "";
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let exponent = end + 1 + sign_at(end + 1);
        let length = digits_from(exponent);
        if length > 0 {
            end = exponent + length;
        }
    }
    &text[..end]
}

/// A float as PHP's `(string)` writes it: 14 significant digits (the setting `precision`, which
/// `push_uid_types/int_beyond_i64` shows), in exponent form below 10⁻⁴ and from 10¹⁴ on.
fn float_text(value: f64) -> String {
    const PRECISION: usize = 14;
    const PLAIN: std::ops::Range<i32> = -4..PRECISION as i32;
    if value.is_infinite() {
        return if value > 0.0 { "INF" } else { "-INF" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let scientific = format!("{:.*e}", PRECISION - 1, value.abs());
    let (mantissa, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("`{:e}` writes an integer after the e");
    let mantissa = mantissa.replace('.', "");
    let digits = mantissa.trim_end_matches('0');
    let digits = if digits.is_empty() { "0" } else { digits };
    if !PLAIN.contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let rest = if rest.is_empty() { "0" } else { rest };
        return format!("{sign}{first}.{rest}E{exponent:+}");
    }
    let Ok(point) = usize::try_from(exponent + 1) else {
        let zeros = "0".repeat((-exponent - 1) as usize);
        return format!("{sign}0.{zeros}{digits}");
    };
    if point == 0 {
        return format!("{sign}0.{digits}");
    }
    if digits.len() <= point {
        return format!("{sign}{digits:0<point$}");
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::json::members;

    /// Hands the value of a JSON text to `check`.
    fn with<T>(json: &str, check: impl Fn(Value<'_>) -> T) -> T {
        let text = format!("{{\"v\":{json}}}");
        let mut result = None;
        members(&text, |_, value| result = Some(check(value))).unwrap();
        result.unwrap()
    }

    #[test]
    fn values_are_cast_to_integers() {
        for (json, expect) in [
            ("null", 0),
            ("true", 1),
            ("false", 0),
            ("0", 0),
            ("-0", 0),
            ("4", 4),
            ("-1", -1),
            ("4294967296", 4_294_967_296),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775808", i64::MIN),
            ("12345678901234567890", -6_101_065_172_474_984_448),
            ("18446744073709551616", 0),
            ("1e40", 0),
            ("-1e19", 8_446_744_073_709_551_616),
            ("1e999", 0),
            ("-1e999", 0),
            ("1e2", 100),
            ("1E0", 1),
            ("0.99", 0),
            ("1.9", 1),
            ("-1.9", -1),
            ("100.99", 100),
            ("99.99", 99),
            ("-0.0", 0),
            ("1e-999", 0),
            ("[]", 0),
            ("{}", 0),
            ("[ \n]", 0),
            ("[0]", 1),
            ("[5]", 1),
            ("[[]]", 1),
            (r#"{"a":0}"#, 1),
        ] {
            assert_eq!(with(json, int_cast), expect, "{json}");
        }
    }

    #[test]
    fn strings_are_cast_to_integers() {
        for (text, expect) in [
            ("", 0),
            (" ", 0),
            ("1", 1),
            ("01", 1),
            ("0100", 100),
            (" 1", 1),
            (" \t\n\r\x0b\x0c1", 1),
            ("\x001", 0),
            ("\u{a0}1", 0),
            ("1 ", 1),
            ("1abc", 1),
            ("abc", 0),
            ("1.9", 1),
            ("0.99", 0),
            (".9e1", 9),
            ("1.", 1),
            ("1.e1", 10),
            (".", 0),
            ("-", 0),
            ("+", 0),
            ("+-1", 0),
            ("- 1", 0),
            ("-3", -3),
            ("+3", 3),
            ("-.5e1", -5),
            ("1e1", 10),
            ("1E+1", 10),
            ("10e-1", 1),
            ("1e", 1),
            ("1e+", 1),
            ("1e 1", 1),
            ("e1", 0),
            ("1e1.5", 10),
            ("1.5.5", 1),
            ("0x1A", 0),
            ("0b1", 0),
            ("1_000", 1),
            ("1,5", 1),
            ("１", 0),
            ("1１", 1),
            ("9223372036854775808", i64::MAX),
            ("-9223372036854775809", i64::MIN),
            ("1e999", i64::MAX),
            ("-1e999", i64::MIN),
            ("1e-999", 0),
            ("INF", 0),
            ("inf", 0),
            ("NaN", 0),
            ("true", 0),
        ] {
            assert_eq!(int_prefix(text), expect, "{text:?}");
        }
    }

    #[test]
    fn values_are_cast_to_strings() {
        for (json, expect) in [
            ("null", ""),
            ("true", "1"),
            ("false", ""),
            ("[]", ""),
            (r#"["a"]"#, ""),
            (r#"{"a":1}"#, ""),
            (r#""\u4f60""#, "你"),
            ("0", "0"),
            ("-0", "0"),
            ("-7", "-7"),
            ("12345678901234567890", "12345678901234567890"),
            ("2.0", "2"),
            ("-0.0", "-0"),
            ("0.5", "0.5"),
            ("1.50", "1.5"),
            ("-2.5e-3", "-0.0025"),
            ("0.0001", "0.0001"),
            ("0.00012345", "0.00012345"),
            ("0.00001", "1.0E-5"),
            ("1e-7", "1.0E-7"),
            ("1.5e-10", "1.5E-10"),
            ("0.1", "0.1"),
            ("0.30000000000000004", "0.3"),
            ("3.14159", "3.14159"),
            ("1e0", "1"),
            ("1e2", "100"),
            ("1e13", "10000000000000"),
            ("1e14", "1.0E+14"),
            ("99999999999999.0", "99999999999999"),
            ("123456789012345.0", "1.2345678901234E+14"),
            ("1e15", "1.0E+15"),
            ("1e25", "1.0E+25"),
            ("1.5E300", "1.5E+300"),
            ("-1e22", "-1.0E+22"),
            ("1.2345678901234567890e19", "1.2345678901235E+19"),
            ("1e999", "INF"),
            ("-1e999", "-INF"),
        ] {
            assert_eq!(with(json, |value| string_cast(value).into_owned()), expect, "{json}");
        }
    }

    #[test]
    fn truth_is_php_truth() {
        for json in
            ["null", "false", "0", "-0", "0.0", "0e5", r#""""#, r#""0""#, "[]", "{}", r#""\u0030""#]
        {
            assert!(!with(json, is_truthy), "{json}");
        }
        for json in
            ["true", "1", "-1", "0.1", r#""00""#, r#""0.0""#, r#"" ""#, "[0]", r#"{"a":null}"#]
        {
            assert!(with(json, is_truthy), "{json}");
        }
    }
}
