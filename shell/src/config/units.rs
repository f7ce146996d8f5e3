//! Durations and sizes as people write them: `12s`, `50ms`, `1h`; `10MiB`, `4KiB`.

use steadfast_core::time::Span;

/// Units of time, longest first, in microseconds.
const TIMES: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

/// Units of size that sizes are shown in, largest first, in bytes.
const SIZES: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Units of size that are understood besides.
const DECIMAL_SIZES: [(&str, u64); 4] =
    [("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000), ("", 1)];

/// Reads a duration: a number, which may have a fraction, and a unit.
///
/// # Errors
///
/// What is wrong and what to write instead.
pub fn parse_duration(text: &str) -> Result<Span, String> {
    let wanted = "write a number and a unit (d, h, m, s, ms, us), as in 12s, 50ms or 1h";
    let (number, unit) = split(text);
    if unit.is_empty() {
        return Err(match number.parse::<u64>() {
            Ok(number) => format!("has no unit; did you mean {number}s? {wanted}"),
            Err(_) => format!("is no duration; {wanted}"),
        });
    }
    let scale = scale(unit, &TIMES).ok_or_else(|| format!("is no duration; {wanted}"))?;
    exact(number, scale).map(Span::from_micros).ok_or_else(|| format!("is no duration; {wanted}"))
}

/// Reads a size in bytes: a number, which may have a fraction, and a unit or none for bytes.
///
/// # Errors
///
/// What is wrong and what to write instead.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wanted = "write a number and a unit (B, KiB, MiB, GiB), as in 10MiB, 4KiB or 512B";
    let (number, unit) = split(text);
    let scale = scale(unit, &SIZES)
        .or_else(|| scale(unit, &DECIMAL_SIZES))
        .ok_or_else(|| format!("is no size; {wanted}"))?;
    exact(number, scale).ok_or_else(|| format!("is no size; {wanted}"))
}

/// A duration in the largest unit that shows it as a whole number.
#[must_use]
pub fn show_duration(span: Span) -> String {
    match span.as_micros() {
        0 => "0s".to_owned(),
        micros => in_largest_unit(micros, &TIMES),
    }
}

/// A size in the largest unit that shows it as a whole number.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    match bytes {
        0 => "0B".to_owned(),
        bytes => in_largest_unit(bytes, &SIZES),
    }
}

/// Splits the number from the unit after it.
fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_'));
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    (number, unit.trim_start())
}

fn scale(unit: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale)
}

/// `number` × `scale`, when that is a whole number and fits.
fn exact(number: &str, scale: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    if number.ends_with('.') {
        return None;
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let parts = 10_u128.checked_pow(digits)?;
    let whole: u128 = whole.parse().ok()?;
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scaled = whole.checked_mul(parts)?.checked_add(fraction)?.checked_mul(scale.into())?;
    if scaled % parts != 0 {
        return None;
    }
    u64::try_from(scaled / parts).ok()
}

fn in_largest_unit(amount: u64, units: &[(&str, u64)]) -> String {
    let (name, scale) = units
        .iter()
        .find(|(_, scale)| amount.is_multiple_of(*scale))
        .expect("the last unit divides everything");
    format!("{}{name}", amount / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, micros) in [
            ("12s", Some(12_000_000)),
            ("50ms", Some(50_000)),
            ("7us", Some(7)),
            ("1h", Some(3_600_000_000)),
            ("1.5s", Some(1_500_000)),
            ("7 d", Some(604_800_000_000)),
            ("1_000ms", Some(1_000_000)),
            ("0s", Some(0)),
            ("12", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.s", None),
            ("0.5us", None),
            ("12 parsecs", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(parse_duration(text).ok().map(Span::as_micros), micros, "{text}");
        }
    }

    #[test]
    fn a_duration_without_a_unit_is_told_the_likely_one() {
        assert!(parse_duration("12").unwrap_err().contains("did you mean 12s?"));
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("10MiB", Some(10 << 20)),
            ("4KiB", Some(4 << 10)),
            ("512B", Some(512)),
            ("512", Some(512)),
            ("1.5KiB", Some(1_536)),
            ("10MB", Some(10_000_000)),
            ("2GiB", Some(2 << 30)),
            ("10M", None),
            ("MiB", None),
            ("-1", None),
        ] {
            assert_eq!(parse_size(text).ok(), bytes, "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for micros in [0, 1, 999, 1_000, 1_500_000, 90_000_000, 3_600_000_000, u64::MAX] {
            let span = Span::from_micros(micros);
            assert_eq!(parse_duration(&show_duration(span)), Ok(span));
        }
        for bytes in [0, 1, 1_000, 1_024, 1_536, 10 << 20, u64::MAX] {
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }
        assert_eq!(show_duration(Span::from_secs(604_800)), "7d");
        assert_eq!(show_size(10 << 20), "10MiB");
    }
}
