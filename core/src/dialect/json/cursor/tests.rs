use super::*;
use proptest::prelude::*;

fn valid(text: &str) -> bool {
    members(text, |_, _| {}).is_some()
}

#[test]
fn objects_by_rfc_8259_and_nothing_else_are_read() {
    for text in [
        "{}",
        " \t\r\n{ } \t\r\n",
        r#"{"a":1}"#,
        r#"{"a":[],"b":{},"c":[1,2,[3]],"":null}"#,
        r#"{"a":-0,"b":0.10,"c":1E5,"d":1e+5,"e":1.5e-300,"f":1e999,"g":12345678901234567890}"#,
        r#"{"a":true,"b":false,"c":null}"#,
        r#"{"a":"\"\\\/\b\f\n\r\t\u0000\uFfFf"}"#,
        r#"{"a":"\ud83d\ude42","b":"\uD800\uDC00"}"#,
        "{\"a\":\"\u{7f}\u{2028}\u{ffff}é汉🙂\"}",
        r#"{"a" : 1 , "a" : 2}"#,
        r#"{"$serde_json::private::Number":"x"}"#,
    ] {
        assert!(valid(text), "{text}");
    }
}

fn assert_refused(texts: &[&str]) {
    for text in texts {
        assert!(!valid(text), "{text}");
    }
}

#[test]
fn anything_else_is_not_an_object() {
    assert_refused(&[
        "",
        " ",
        "5",
        "true",
        "null",
        "\"a\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{{",
        "{}}",
        "{}{}",
        "{}x",
        "{}\0",
        "\0{}",
        "\u{feff}{}",
        "\u{a0}{}",
        "\x0b{}",
        "\x0c{}",
        "{a:1}",
        "{'a':1}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r#"{"a":1 "b":2}"#,
        r#"{"a":1,,"b":2}"#,
        r#"{"a":[1,]}"#,
        r#"{"a":[,1]}"#,
        r#"{"a":[1 2]}"#,
        r#"{"a":[}"#,
        r#"{"a":[1}]"#,
        r#"{"a":{]}"#,
        r#"{"a":1/*c*/}"#,
    ]);
}

#[test]
fn numbers_and_literals_have_one_spelling() {
    assert_refused(&[
        r#"{"a":01}"#,
        r#"{"a":-}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":1e}"#,
        r#"{"a":1e+}"#,
        r#"{"a":-01}"#,
        r#"{"a":0x1}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":TRUE}"#,
        r#"{"a":nul}"#,
        r#"{"a":truex}"#,
    ]);
}

#[test]
fn strings_are_whole_characters_and_nothing_raw() {
    assert_refused(&[
        r#"{"a":"}"#,
        r#"{"a":"\"}"#,
        r#"{"a":"\x41"}"#,
        r#"{"a":"\U0041"}"#,
        r#"{"a":"\'"}"#,
        r#"{"a":"\u004"}"#,
        r#"{"a":"\u00g0"}"#,
        r#"{"a":"\u+041"}"#,
        r#"{"a":"\u"#,
        r#"{"a":"\"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00"}"#,
        r#"{"a":"\udc00\ud800"}"#,
        r#"{"a":"\ud800\ud800"}"#,
        r#"{"a":"\ud800\n"}"#,
        r#"{"a":"\ud800x"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"\ud800":1}"#,
        r#"{"a":[{"b":"\udfff"}]}"#,
        "{\"a\":\"\t\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":\"12345678\x1f\"}",
        "{\"a\":\"\0\"}",
        "{\"a\n\":1}",
    ]);
}

#[test]
fn the_512th_level_is_too_deep() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = |levels: usize| {
            let inner = if open == "[" { "" } else { "1" };
            format!("{{\"n\":{}{inner}{}}}", open.repeat(levels), close.repeat(levels))
        };
        assert!(valid(&nested(510)), "{open}");
        assert!(!valid(&nested(511)), "{open}");
        assert!(!valid(&nested(1_000_000)), "{open}");
    }
    let wide = format!("{{\"n\":[{}[]]}}", "[[]],".repeat(2_000));
    assert!(valid(&wide), "levels that were closed do not count");
}

#[test]
fn strings_are_decoded() {
    for (text, value) in [
        (r#"{"":0}"#, ""),
        (r#"{"plain \\ text, long enough":0}"#, r"plain \ text, long enough"),
        (r#"{"\u0061\"\/\b\f\n\r\t\u0000":0}"#, "a\"/\x08\x0c\n\r\t\0"),
        (r#"{"\u4f60\ud83d\ude42\uFFFF":0}"#, "你🙂\u{ffff}"),
        ("{\"é汉🙂é汉🙂\\u00e9\":0}", "é汉🙂é汉🙂é"),
    ] {
        let mut seen = None;
        members(text, |name, _| seen = Some(name)).unwrap();
        let name = seen.unwrap();
        assert_eq!(name.decode(), value, "{text}");
        assert!(name.is(value), "{text}");
        assert!(!name.is("b"), "{text}");
    }
}

proptest! {
    #[test]
    fn special_bytes_are_found_wherever_they_stand(
        prefix in "[ !#-\\[\\]-~é汉\u{7f}\u{80}]{0,40}",
        special in prop::sample::select(vec!['"', '\\', '\0', '\x1f']),
        suffix in "\\PC{0,20}",
    ) {
        let text = format!("{prefix}{special}{suffix}");
        let mut cursor = Cursor::new(&text);
        cursor.skip_plain();
        prop_assert_eq!(cursor.at, prefix.len());
    }
}
