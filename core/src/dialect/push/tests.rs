use super::*;

const MAX_KEY: usize = 4 << 10;

/// Whom a push is for, and what is written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owned {
    pub(super) key: String,
    pub(super) payload: String,
}

pub(super) fn push(line: &str) -> Result<Owned, FailReason> {
    let Push { key, rebuilt } = read(line.as_bytes(), MAX_KEY)?;
    let payload = rebuilt.unwrap_or_else(|| line.to_owned());
    Ok(Owned { key: key.into_owned(), payload })
}

/// The line is relayed as it is, to this key.
fn check_relay(line: &str, key: &str) {
    let push = read(line.as_bytes(), MAX_KEY).unwrap_or_else(|reason| panic!("{line}: {reason:?}"));
    assert_eq!(&*push.key, key, "{line}");
    assert_eq!(push.rebuilt, None, "{line}");
}

/// The line with these members besides `"uid":"5"` is rebuilt to these members after it.
fn check_rebuilt(members: &str, expect: &str) {
    let push = push(&format!(r#"{{"uid":"5",{members}}}"#)).unwrap();
    assert_eq!(&*push.key, "5", "{members}");
    let payload = push.payload;
    assert_eq!(payload, format!(r#"{{"uid":"5",{expect}}}"#), "{members}");
}

fn check_fail(line: &str, reason: FailReason) {
    assert_eq!(push(line), Err(reason), "{line}");
}

/// A JSON text inside a JSON string.
fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

#[test]
fn the_uid_is_the_key() {
    for (uid, key) in [
        (r#""5""#, "5"),
        ("5", "5"),
        ("0", "0"),
        (r#""0""#, "0"),
        ("-0", "0"),
        ("-5", "-5"),
        ("9223372036854775807", "9223372036854775807"),
        ("12345678901234567890", "12345678901234567890"),
        (r#""007""#, "007"),
        (r#""+5""#, "+5"),
        (r#""８８""#, "８８"),
        (r#"" \t5\r\n\u0000""#, "5"),
        (r#"" 5 ""#, "5"),
        (r#""5\f""#, "5\x0c"),
        ("\"5\u{a0}\"", "5\u{a0}"),
        (r#""\u00015\u001f""#, "\x015\x1f"),
        (r#""\u0039\u0039""#, "99"),
        (r#""k\n5""#, "k\n5"),
        (r#""false""#, "false"),
        (r#""device:d1""#, "device:d1"),
        (r#""\ud83d\ude42""#, "🙂"),
        (r#""e\u0301""#, "e\u{301}"),
    ] {
        check_relay(&format!(r#"{{"uid":{uid},"Data":"m"}}"#), key);
    }
    check_relay(r#"{"uid":"1","Data":"m","uid":"2"}"#, "2");
    check_relay(r#"{"u\u0069d":"1"}"#, "1");
}

#[test]
fn a_push_without_a_usable_uid_fails() {
    use FailReason::{EmptyKey, NoKey};
    for (members, reason) in [
        (r#""Data":"m""#, NoKey),
        ("", NoKey),
        (r#""UID":"5""#, NoKey),
        (r#""o":{"uid":"5"}"#, NoKey),
        (r#""uid":null"#, NoKey),
        (r#""uid":"5","uid":null"#, NoKey),
        (r#""uid":false"#, NoKey),
        (r#""uid":true"#, NoKey),
        (r#""uid":[]"#, NoKey),
        (r#""uid":["5"]"#, NoKey),
        (r#""uid":{"a":1}"#, NoKey),
        (r#""uid":{"$serde_json::private::Number":"5"}"#, NoKey),
        (r#""uid":5.0"#, NoKey),
        (r#""uid":1.5e3"#, NoKey),
        (r#""uid":1E3"#, NoKey),
        (r#""uid":-0.0"#, NoKey),
        (r#""uid":"""#, EmptyKey),
        (r#""uid":" \t\n""#, EmptyKey),
        (r#""uid":"\u0000\u000b""#, EmptyKey),
    ] {
        check_fail(&format!("{{{members}}}"), reason);
    }
}

#[test]
fn keys_have_a_limit_after_trimming() {
    for (length, reason) in [(MAX_KEY, None), (MAX_KEY + 1, Some(FailReason::KeyTooLong))] {
        for key in ["a".repeat(length), "7".repeat(length)] {
            for uid in [format!("\"{key}\""), format!("\" {key}\\n\"")] {
                assert_eq!(push(&format!(r#"{{"uid":{uid}}}"#)).err(), reason, "{length}");
            }
        }
        let digits = "7".repeat(length);
        assert_eq!(push(&format!(r#"{{"uid":{digits}}}"#)).err(), reason, "{length}");
    }
}

#[test]
fn a_line_that_is_not_an_object_fails() {
    let deep = format!(r#"{{"uid":"5","n":{}{}}}"#, "[".repeat(511), "]".repeat(511));
    for line in [
        "",
        "5",
        "true",
        "null",
        "[]",
        r#""5""#,
        "not json",
        r#"[{"uid":"5"}]"#,
        "\u{feff}{\"uid\":\"5\"}",
        r#"{"uid":"5"}x"#,
        r#"{"uid":"5"}{"uid":"5"}"#,
        r#"{"uid":"5",}"#,
        r#"{"uid":"5","Data":"\ud800"}"#,
        "{\"uid\":\"5\"}\0",
        "{\"uid\":\"5\",\"Data\":\"a\tb\"}",
        r#"{"uid":"5","Data":NaN}"#,
        "{\"uid\":\"5\"\x0b}",
        &deep,
    ] {
        check_fail(line, FailReason::NotAnObject);
    }
    for bytes in
        [&b"{\"uid\":\"5\xff\"}"[..], b"{\"uid\":\"\xed\xa0\x80\"}", b"{\"uid\":\"\xc0\x80\"}"]
    {
        assert_eq!(read(bytes, MAX_KEY), Err(FailReason::NotAnObject), "{bytes:?}");
    }
}

#[test]
fn other_function_types_are_relayed_as_they_came() {
    for members in [
        r#""u":"\u4f60","s":"a\/b","t":"x/y","e":"\ud83d\ude42","c":"\u0001""#,
        r#""big":12345678901234567890,"f":1.0,"e":1E5,"z":-0,"p":0.10"#,
        r#""a":1,"a":2,"":{},"o":{}"#,
        r#" "a" : [ 1 , 2 ] "#,
        r#""$serde_json::private::Number":"not a number""#,
    ] {
        check_relay(&format!(r#"{{"uid":"5",{members}}}"#), "5");
    }
    for function_type in [
        "3",
        "5",
        "-1",
        "0",
        "10",
        "0.99",
        "4294967297",
        "1e40",
        "1e999",
        "null",
        "false",
        "[]",
        "{}",
        r#""4""#,
        r#""１""#,
        r#""0.99""#,
        r#""""#,
        r#""x1""#,
        r#""0x1""#,
        r#""1e1""#,
    ] {
        let rest = r#""code":0,"msg":"m","ratio":50"#;
        check_relay(&format!(r#"{{"uid":"5","FunctionType":{function_type},{rest}}}"#), "5");
    }
    check_relay(r#"{"uid":"5","FunctionType":1,"FunctionType":4}"#, "5");
    check_relay(r#"{"uid":"5","functiontype":1}"#, "5");
    check_relay(" \t{\"uid\":\"5\",\"Data\":\"m1\"} ", "5");
    let deep = format!(r#"{{"uid":"5","n":{}{}}}"#, "[".repeat(510), "]".repeat(510));
    check_relay(&deep, "5");
}

#[test]
fn function_types_1_and_2_are_told_by_their_integer_value() {
    for function_type in [
        "1",
        "1.9",
        "1e0",
        "true",
        "[5]",
        r#"{"a":1}"#,
        r#""1""#,
        r#""1abc""#,
        r#"" 1""#,
        r#""01""#,
        r#""1.9""#,
        r#""+1""#,
        r#""10e-1""#,
        r#""\u0031""#,
    ] {
        check_rebuilt(
            &format!(r#""FunctionType":{function_type},"ratio":50,"msg":"m""#),
            r#""FunctionType":1,"ErrMsg":"获取变量失败m","IsSuccess":0,"Data":"""#,
        );
    }
    for function_type in ["2", "2.9", "2e0", "20e-1", r#""2""#, r#""2x""#] {
        check_rebuilt(
            &format!(r#""FunctionType":{function_type},"Data":"x""#),
            r#""FunctionType":2,"Data":true,"ErrMsg":"同步底稿变量成功","IsSuccess":1"#,
        );
    }
}

#[test]
fn a_ratio_other_than_100_is_a_failure() {
    for ratio in [
        "100",
        "100.0",
        "100.99",
        "1e2",
        "null",
        r#""100""#,
        r#"" 100""#,
        r#""0100""#,
        r#""100%""#,
        r#""1e2""#,
    ] {
        check_rebuilt(
            &format!(r#""FunctionType":1,"ratio":{ratio},"msg":"m""#),
            r#""FunctionType":1,"ErrMsg":"获取变量成功","IsSuccess":1,"Data":"""#,
        );
    }
    for ratio in [
        "99",
        "99.99",
        "0",
        "101",
        "-100",
        "1e999",
        "true",
        "false",
        "[]",
        "[100]",
        r#"{"a":100}"#,
        r#""99""#,
        r#""""#,
        r#""abc""#,
    ] {
        check_rebuilt(
            &format!(r#""FunctionType":1,"ratio":{ratio}"#),
            r#""FunctionType":1,"ErrMsg":"获取变量失败","IsSuccess":0,"Data":"""#,
        );
    }
}

#[test]
fn msg_follows_the_message_of_a_failure() {
    for (msg, text) in [
        (r#""：超时""#, "：超时"),
        (r#""a\/b \"c\"""#, r#"a/b \"c\""#),
        (r#""\u6c49\n""#, r"汉\n"),
        (r#""""#, ""),
        ("null", ""),
        ("true", "1"),
        ("false", ""),
        ("7", "7"),
        ("2.0", "2"),
        ("1e25", "1.0E+25"),
        ("12345678901234567890", "12345678901234567890"),
        (r#"["a"]"#, ""),
        (r#"{"a":1}"#, ""),
    ] {
        check_rebuilt(
            &format!(r#""FunctionType":1,"ratio":50,"msg":{msg},"code":7"#),
            &format!(r#""FunctionType":1,"ErrMsg":"获取变量失败{text}","IsSuccess":0,"Data":"""#),
        );
        check_rebuilt(
            &format!(r#""FunctionType":2,"ratio":50,"msg":{msg}"#),
            &format!(
                r#""FunctionType":2,"ErrMsg":"同步底稿变量失败{text}","IsSuccess":0,"Data":false"#
            ),
        );
    }
}

#[test]
fn given_members_are_kept_and_null_ones_are_set() {
    for (members, expect) in [
        (
            r#""FunctionType":1"#,
            r#""FunctionType":1,"ErrMsg":"获取变量成功","IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":2"#,
            r#""FunctionType":2,"ErrMsg":"同步底稿变量成功","IsSuccess":1,"Data":true"#,
        ),
        (
            r#""FunctionType":1,"ratio":100,"msg":"done","code":0,"x":1"#,
            r#""FunctionType":1,"x":1,"ErrMsg":"获取变量成功","IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":1,"ErrMsg":"自定义","ratio":3,"msg":"lost""#,
            r#""FunctionType":1,"ErrMsg":"自定义","IsSuccess":0,"Data":"""#,
        ),
        (
            r#""ErrMsg":null,"FunctionType":1"#,
            r#""ErrMsg":"获取变量成功","FunctionType":1,"IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":1,"ErrMsg":"""#,
            r#""FunctionType":1,"ErrMsg":"","IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":1,"ErrMsg":false"#,
            r#""FunctionType":1,"ErrMsg":false,"IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":1,"IsSuccess":"1","ratio":0"#,
            r#""FunctionType":1,"IsSuccess":"1","ErrMsg":"获取变量失败","Data":"""#,
        ),
        (
            r#""FunctionType":1,"IsSuccess":null,"ratio":0"#,
            r#""FunctionType":1,"IsSuccess":0,"ErrMsg":"获取变量失败","Data":"""#,
        ),
        (
            r#""FunctionType":1,"IsSuccess":false"#,
            r#""FunctionType":1,"IsSuccess":false,"ErrMsg":"获取变量成功","Data":"""#,
        ),
        (
            r#""FunctionType":1,"Data":null"#,
            r#""FunctionType":1,"Data":"","ErrMsg":"获取变量成功","IsSuccess":1"#,
        ),
        (
            r#""FunctionType":1,"Data":"partial","ratio":10"#,
            r#""FunctionType":1,"Data":"partial","ErrMsg":"获取变量失败","IsSuccess":0"#,
        ),
        (
            r#""FunctionType":2,"Data":{"a":1},"ratio":10"#,
            r#""FunctionType":2,"Data":false,"ErrMsg":"同步底稿变量失败","IsSuccess":0"#,
        ),
        (
            r#""FunctionType":2,"ErrMsg":"e","IsSuccess":"0""#,
            r#""FunctionType":2,"ErrMsg":"e","IsSuccess":"0","Data":true"#,
        ),
    ] {
        check_rebuilt(members, expect);
    }
}

#[test]
fn of_duplicates_the_last_counts_and_no_name_is_magic() {
    for (members, expect) in [
        (
            r#""FunctionType":4,"Data":"x","FunctionType":1,"Data":"y""#,
            r#""FunctionType":1,"Data":"y","ErrMsg":"获取变量成功","IsSuccess":1"#,
        ),
        (
            r#""ratio":50,"FunctionType":1,"ratio":null,"x":null"#,
            r#""FunctionType":1,"x":null,"ErrMsg":"获取变量成功","IsSuccess":1,"Data":"""#,
        ),
        (
            r#""FunctionType":1,"$serde_json::private::Number":"1","\u0000\"":2"#,
            r#""FunctionType":1,"$serde_json::private::Number":"1","\u0000\"":2,"ErrMsg":"获取变量成功","IsSuccess":1,"Data":"""#,
        ),
    ] {
        check_rebuilt(members, expect);
    }
}

#[test]
fn data_is_written_compactly_and_exactly() {
    for (data, expect) in [
        ("{}", "{}"),
        (r#"{"a":{},"b":[{}],"c":[]}"#, r#"{"a":{},"b":[{}],"c":[]}"#),
        (r#"{"2":"a","1":"b","":3}"#, r#"{"2":"a","1":"b","":3}"#),
        ("[1.0,0.30000000000000004,1e-7,1.5E300,-0]", "[1.0,0.30000000000000004,1e-7,1.5E300,-0]"),
        (
            "[18446744073709551615,123456789012345678901234567890]",
            "[18446744073709551615,123456789012345678901234567890]",
        ),
        (r#""\u4f60\u597d \ud83d\ude42 a/b\/c""#, "\"你好 🙂 a/b/c\""),
        (r#""\ufffe\uffff\ue000""#, "\"\u{fffe}\u{ffff}\u{e000}\""),
        ("[true,false,null]", "[true,false,null]"),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (" [ 1 ,\t2 ] ", "[1,2]"),
    ] {
        check_rebuilt(
            &format!(r#""FunctionType":1,"Data":{data}"#),
            &format!(r#""FunctionType":1,"Data":{expect},"ErrMsg":"获取变量成功","IsSuccess":1"#),
        );
    }
}

#[test]
fn the_function_type_inside_the_uid_counts_when_the_push_has_none() {
    let word = r#"{"uid":"5","FunctionType":1,"Data":"","ErrMsg":null,"IsSuccess":"1"}"#;
    for (uid, rest, expect) in [
        (
            word,
            r#""ratio":20,"msg":"m","code":1"#,
            Some(r#""ErrMsg":"获取变量失败m","IsSuccess":0,"FunctionType":1,"Data":"""#),
        ),
        (
            word,
            r#""FunctionType":null,"Data":"h""#,
            Some(r#""FunctionType":1,"Data":"h","ErrMsg":"获取变量成功","IsSuccess":1"#),
        ),
        (word, r#""FunctionType":4,"Data":"h""#, None),
        (word, r#""FunctionType":0,"ratio":1"#, None),
        (word, r#""FunctionType":"x","ratio":1"#, None),
        (
            r#"{"uid":"5","FunctionType":"2"}"#,
            r#""Data":"h","ratio":0"#,
            Some(r#""Data":false,"ErrMsg":"同步底稿变量失败","IsSuccess":0,"FunctionType":2"#),
        ),
        (
            r#"{"FunctionType":4,"FunctionType":1}"#,
            r#""x":1"#,
            Some(r#""x":1,"ErrMsg":"获取变量成功","IsSuccess":1,"FunctionType":1,"Data":"""#),
        ),
        (
            "{\"FunctionType\":1}\n",
            r#""x":1"#,
            Some(r#""x":1,"ErrMsg":"获取变量成功","IsSuccess":1,"FunctionType":1,"Data":"""#),
        ),
        (r#"{"FunctionType":4}"#, r#""ratio":1"#, None),
        (r#"{"FunctionType":null}"#, r#""ratio":1"#, None),
        (r#"{"uid":"5"}"#, r#""ratio":1"#, None),
        (r#" {"FunctionType":1}"#, r#""ratio":1"#, None),
        ("{\"FunctionType\":1}\0", r#""ratio":1"#, None),
        (r#"{"FunctionType":1,}"#, r#""ratio":1"#, None),
        (r#"{"FunctionType":1"#, r#""ratio":1"#, None),
        (r#"{"FunctionType":1,"x":"\ud800"}"#, r#""ratio":1"#, None),
        (r#"[{"FunctionType":1}]"#, r#""ratio":1"#, None),
    ] {
        let line = format!(r#"{{"uid":{},{rest}}}"#, quoted(uid));
        match expect {
            None => check_relay(&line, trim(uid)),
            Some(expect) => {
                let push = push(&line).unwrap();
                assert_eq!(&*push.key, trim(uid), "{line}");
                let expect = format!(r#"{{"uid":{},{expect}}}"#, quoted(uid));
                assert_eq!(push.payload, expect, "{line}");
            }
        }
    }
}

#[test]
fn a_rebuilt_uid_keeps_its_whitespace() {
    let push = push(r#"{"uid":" 5 ","FunctionType":1}"#).unwrap();
    assert_eq!(&*push.key, "5");
    assert!(push.payload.starts_with(r#"{"uid":" 5 ","FunctionType":1,"#));
}

#[test]
fn a_plain_key_shares_the_lines_memory() {
    let line = br#"{"uid":" 12345 ","Data":"m"}"#;
    let push = read(line, MAX_KEY).unwrap();
    assert_eq!(push.key.as_ptr(), line[9..].as_ptr());
}
