//! Tells Rust code from comments and literals.

/// The same text, as many bytes and lines, with blanks where comments and the insides of literals
/// were.
pub(crate) fn blank(source: &str) -> String {
    let mut out = source.as_bytes().to_vec();
    let mut at = 0;
    while at < out.len() {
        let length = literal(&source.as_bytes()[at..]);
        for byte in &mut out[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    String::from_utf8(out).expect("whole comments and literals are replaced")
}

/// Whether a name can have this character.
pub(crate) fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The bytes of the comment or literal that `code` begins with; 0 if it begins with neither.
fn literal(code: &[u8]) -> usize {
    match code {
        [b'/', b'/', ..] => code.iter().position(|&byte| byte == b'\n').unwrap_or(code.len()),
        [b'/', b'*', ..] => block_comment(code),
        [b'"', ..] => string(code),
        [b'r', ..] => raw_string(code),
        [b'\'', ..] => character(code),
        _ => 0,
    }
}

fn block_comment(code: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at + 1 < code.len() {
        match &code[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" if depth == 1 => return at + 2,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
    }
    code.len()
}

fn string(code: &[u8]) -> usize {
    let mut at = 1;
    while at < code.len() {
        match code[at] {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    code.len()
}

/// `r"…"` with any number of `#` around; `r#name` is none.
fn raw_string(code: &[u8]) -> usize {
    let marks = code[1..].iter().take_while(|&&byte| byte == b'#').count();
    if code.get(1 + marks) != Some(&b'"') {
        return 0;
    }
    let end = [&b"\""[..], &code[1..=marks]].concat();
    let inside = &code[marks + 2..];
    let length = inside.windows(end.len()).position(|window| window == end);
    length.map_or(code.len(), |length| marks + 2 + length + end.len())
}

/// `'x'`, `'\x'`; a lifetime is none.
fn character(code: &[u8]) -> usize {
    if code.get(1) == Some(&b'\\') {
        let rest = code.get(3..).unwrap_or_default();
        return rest.iter().position(|&byte| byte == b'\'').map_or(code.len(), |end| end + 4);
    }
    // One character is one to four bytes, of which all but the first are above 127.
    let inside = code.iter().skip(2).take_while(|&&byte| byte & 0xC0 == 0x80).count();
    if code.get(2 + inside) == Some(&b'\'') { 3 + inside } else { 0 }
}

#[test]
fn comments_and_literals_are_blank() {
    for (source, expect) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        (r#"f("{", 1)"#, "f(   , 1)"),
        (r#"f("\"{", 1)"#, "f(     , 1)"),
        (r##"r#"{"{"# }"##, "         }"),
        ("r#type {", "r#type {"),
        (r"'{' '\'' '\u{7b}' b'}' {", "                  b    {"),
        ("'名' &'a T {", "      &'a T {"),
        ("\"two\nlines\" {", "    \n       {"),
    ] {
        assert_eq!(blank(source), expect, "{source}");
    }
}
