//! Words that have no place in the tree, or in a part of it.

use crate::code::{blank, is_name};
use crate::tree::File;

/// One word and where it is refused.
struct Ban {
    word: &'static str,
    part: Part,
    /// How the paths begin for which this holds.
    within: &'static str,
    /// The one file that may use it.
    except: &'static str,
    instead: &'static str,
}

/// What of a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Rust code without comments and literals.
    Code,
    /// Everything.
    Text,
}

const CLOCK: &str = "core is told the time";
const OUTSIDE: &str = "core knows nothing of the machine";
const UNORDERED: &str = "the order differs from run to run: use BTreeMap or lookup::Lookup";
const PATH: &str = "a path of one machine";
const UNFINISHED: &str = "finish it, or open an issue";
const WAIT: &str = "wait for what can be seen (support::poll_until)";

/// The words are put together of two, so that this list does not find itself.
const BANS: [Ban; 25] = [
    code("todo!", "", UNFINISHED),
    code("unimplemented!", "", UNFINISHED),
    code("dbg!", "", "assert on it or record it"),
    code("#[ignore", "", "a test runs or goes"),
    text(concat!("FIX", "ME"), "", UNFINISHED),
    text(concat!("TO", "DO"), "", UNFINISHED),
    text(concat!("X", "XX"), "", UNFINISHED),
    text(concat!("/tm", "p/"), "", PATH),
    text(concat!("/wor", "k/"), "", PATH),
    text(concat!("/roo", "t/"), "", PATH),
    text(concat!("/hom", "e/"), "", PATH),
    Ban { except: "tests/support/mod.rs", ..code("thread::sleep", "tests/", WAIT) },
    code("thread::sleep", "core/", WAIT),
    code("thread::sleep", "sim/", WAIT),
    code("Instant::now", "core/src/", CLOCK),
    code("SystemTime", "core/src/", CLOCK),
    code("std::net", "core/src/", OUTSIDE),
    code("std::thread", "core/src/", OUTSIDE),
    code("std::env", "core/src/", OUTSIDE),
    code("std::fs", "core/src/", OUTSIDE),
    code("std::process", "core/src/", OUTSIDE),
    code("HashMap", "core/src/", UNORDERED),
    code("HashSet", "core/src/", UNORDERED),
    code("tracing", "core/src/", "core gives records and never logs"),
    code("unsafe", "core/src/", "core has none"),
];

const fn code(word: &'static str, within: &'static str, instead: &'static str) -> Ban {
    Ban { word, part: Part::Code, within, except: "", instead }
}

const fn text(word: &'static str, within: &'static str, instead: &'static str) -> Ban {
    Ban { word, part: Part::Text, within, except: "", instead }
}

/// Every banned word of the file.
pub(crate) fn banned(file: &File) -> Vec<String> {
    let code = if file.has_extension("rs") { blank(&file.text) } else { String::new() };
    let holds = |ban: &&Ban| file.path.starts_with(ban.within) && file.path != ban.except;
    let mut findings = Vec::new();
    for ban in BANS.iter().filter(holds) {
        let text = if ban.part == Part::Code { &code } else { &file.text };
        for (line, text) in (1..).zip(text.lines()) {
            if has_word(text, ban.word) {
                findings.push(format!("{}:{line}: {}: {}", file.path, ban.word, ban.instead));
            }
        }
    }
    findings
}

/// Whether the text has the word and not only as a part of a longer one.
fn has_word(text: &str, word: &str) -> bool {
    let stands_alone = |inner: Option<u8>, outer: Option<u8>| {
        !(inner.is_some_and(is_name) && outer.is_some_and(is_name))
    };
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        stands_alone(word.bytes().next(), before.bytes().next_back())
            && stands_alone(word.bytes().next_back(), after.bytes().next())
    })
}

/// Lines with blanks at their end or tabs in them, and files that do not end with one line feed.
pub(crate) fn untidy_lines(file: &File) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, text) in (1..).zip(file.text.split('\n')) {
        if text.ends_with([' ', '\t', '\r']) {
            findings.push(format!("{}:{line}: blanks at the end", file.path));
        } else if text.contains('\t') {
            findings.push(format!("{}:{line}: a tab", file.path));
        }
    }
    if !file.text.ends_with('\n') || file.text.ends_with("\n\n") {
        findings.push(format!("{}: does not end with one line feed", file.path));
    }
    findings
}

/// A snapshot that no test can have written: nothing in the sources has its name.
pub(crate) fn orphan(snapshot: &File, sources: &[&File]) -> Option<String> {
    let file_name = snapshot.path.rsplit('/').next()?;
    let name = file_name.strip_suffix(".snap")?;
    // Further snapshots of a test have its name and a number.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('-');
    let is_named = sources.iter().any(|source| has_word(&source.text, name));
    (!is_named).then(|| format!("{}: no test has this name: remove it", snapshot.path))
}

#[cfg(test)]
fn file(path: &str, text: &str) -> File {
    File { path: path.to_owned(), text: text.to_owned() }
}

#[test]
fn banned_words_are_found_where_they_are_banned() {
    for (path, text, count) in [
        ("shell/src/a.rs", "fn a() { todo!() }", 1),
        ("shell/src/a.rs", "// todo!()\nlet a = \"todo!()\";", 0),
        ("shell/src/a.rs", concat!("// FIX", "ME later\n/* TO", "DO */"), 2),
        ("docs/a.md", concat!("see /tm", "p/a"), 1),
        ("core/src/a.rs", "use std::thread;\nlet a = SystemTime::now();", 2),
        ("shell/src/a.rs", "use std::thread;\nlet a = SystemTime::now();", 0),
        ("core/src/a.rs", "let a = MyHashMap::new(); tracing_on()", 0),
        ("core/src/a.rs", "HashMap::new()", 1),
        ("tests/a.rs", "std::thread::sleep(a);", 1),
        ("tests/support/mod.rs", "std::thread::sleep(a);", 0),
        ("tests/a.rs", "#[ignore = \"slow\"]\nfn a() {}", 1),
    ] {
        let found = banned(&file(path, text));
        assert_eq!(found.len(), count, "{path} {text}: {found:?}");
    }
}

#[test]
fn untidy_lines_are_found() {
    for (text, count) in
        [("a\nb\n", 0), ("a \n", 1), ("a\r\n", 1), ("\ta\n", 1), ("a", 1), ("a\n\n", 1)]
    {
        let found = untidy_lines(&file("a.rs", text));
        assert_eq!(found.len(), count, "{text:?}: {found:?}");
    }
}

#[test]
fn a_snapshot_without_a_test_is_found() {
    let source = file("a.rs", "fn takeover() {} story(\"push_online\")");
    for (name, is_orphan) in [
        ("takeover", false),
        ("takeover-2", false),
        ("push_online", false),
        ("push", true),
        ("gone", true),
    ] {
        let snapshot = file(&format!("snapshots/{name}.snap"), "");
        assert_eq!(orphan(&snapshot, &[&source]).is_some(), is_orphan, "{name}");
    }
}
