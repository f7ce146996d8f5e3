//! Files and functions that have grown too long to be read at once.

use crate::code::{blank, is_name};

/// The longest file, without the tests in it.
const FILE_LINES: usize = 800;
/// The longest body of a function.
const FUNCTION_LINES: usize = 70;

/// What is wrong with the file's length, if anything.
pub(crate) fn long_file(path: &str, source: &str) -> Option<String> {
    let lines = lines_without_tests(&blank(source));
    (lines > FILE_LINES).then(|| {
        format!("{path}: {lines} lines without tests, more than {FILE_LINES}: divide the module")
    })
}

/// The functions that are too long.
pub(crate) fn long_functions(path: &str, source: &str) -> Vec<String> {
    let too_long = functions(&blank(source)).into_iter().filter(|f| f.lines > FUNCTION_LINES);
    too_long
        .map(|Function { name, line, lines }| {
            format!(
                "{path}:{line}: {name} has {lines} lines, more than {FUNCTION_LINES}: divide it"
            )
        })
        .collect()
}

#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Where it begins, counted from 1.
    line: usize,
    /// Lines between its braces.
    lines: usize,
}

/// Every function with a body.
fn functions(code: &str) -> Vec<Function> {
    code.match_indices("fn ").filter_map(|(at, _)| function(code, at)).collect()
}

fn function(code: &str, at: usize) -> Option<Function> {
    if code[..at].bytes().next_back().is_some_and(is_name) {
        return None;
    }
    let rest = &code[at + 3..];
    let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let open = body(rest).filter(|_| !name.is_empty())?;
    let inside = &rest[open..open + closing(&rest[open..])];
    let lines = inside.matches('\n').count().saturating_sub(1);
    Some(Function { name, line: code[..at].matches('\n').count() + 1, lines })
}

/// Where the body of a function begins, whose signature `code` begins with.
fn body(code: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Where the brace closes that `code` begins with.
fn closing(code: &str) -> usize {
    let mut depth = 0;
    for (at, byte) in code.bytes().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

fn lines_without_tests(code: &str) -> usize {
    let tests = code.match_indices("#[cfg(test)]").map(|(at, mark)| {
        let rest = code[at + mark.len()..].trim_start();
        match rest.find(['{', ';']) {
            Some(open) if rest.starts_with("mod ") && rest[open..].starts_with('{') => {
                rest[open..open + closing(&rest[open..])].matches('\n').count()
            }
            _ => 0,
        }
    });
    code.lines().count() - tests.sum::<usize>()
}

#[test]
fn functions_are_measured_between_their_braces() {
    let code = blank(
        "const fn one() { 1 }\n\
         pub(crate) fn two<T>(it: [u8; 2], f: fn(u8) -> T) -> T\nwhere\n    T: Copy,\n{\n\
         // }\n    \"}\";\n    { it }\n}\n\
         trait Three { fn none(&self); fn some(&self) {\n1\n} }\n\
         type Four = fn (u8);\n",
    );
    let found: Vec<_> = functions(&code).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
    let expect = [("one", 1, 0), ("two", 2, 3), ("some", 10, 1)];
    assert_eq!(found, expect.map(|(name, line, lines)| (name.to_owned(), line, lines)));
}

#[test]
fn a_long_function_is_found() {
    let of = |lines: usize| format!("fn long() {{\n{}}}\n", "1;\n".repeat(lines));
    assert!(long_functions("a.rs", &of(FUNCTION_LINES)).is_empty());
    let found = long_functions("a.rs", &of(FUNCTION_LINES + 1));
    assert_eq!(found, ["a.rs:1: long has 71 lines, more than 70: divide it"]);
}

#[test]
fn a_long_file_is_found_and_its_tests_are_not_counted() {
    let lines = "1;\n".repeat(FILE_LINES);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{lines}}}\n");
    assert_eq!(long_file("a.rs", &lines), None);
    assert!(long_file("a.rs", &format!("{lines}1;\n")).is_some());
    assert_eq!(long_file("a.rs", &tests), None);
    assert!(long_file("a.rs", &format!("{lines}{tests}")).is_some());
    assert!(long_file("a.rs", &format!("#[cfg(test)]\nmod tests;\n{lines}")).is_some());
    assert!(long_file("a.rs", &format!("#[cfg(test)]\nuse a;\n{lines}mod b {{\n}}\n")).is_some());
}
