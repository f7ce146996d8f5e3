//! Keeps the tree as its developers agreed to keep it.
//!
//! Each test reads the whole tree and names every place that breaks one rule. One module each:
//! [`tree`] finds the files, [`code`] tells code from comments and literals, [`lengths`],
//! [`words`], [`manifests`] and [`links`] judge. Every judge is itself tested with samples that it
//! has to refuse.

#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/lengths.rs"]
mod lengths;
#[path = "tidy/links.rs"]
mod links;
#[path = "tidy/manifests.rs"]
mod manifests;
#[path = "tidy/tree.rs"]
mod tree;
#[path = "tidy/words.rs"]
mod words;

use tree::File;

/// Fails with every finding on a line of its own.
fn assert_tidy(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

/// What `judge` finds in the files of the tree that have this extension.
fn judge_files(extension: &str, judge: impl Fn(&File) -> Vec<String>) {
    let files = tree::files();
    let mut chosen = files.iter().filter(|file| file.has_extension(extension)).peekable();
    assert!(chosen.peek().is_some(), "no .{extension} file was found");
    assert_tidy(&chosen.flat_map(judge).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long() {
    judge_files("rs", |file| lengths::long_file(&file.path, &file.text).into_iter().collect());
}

#[test]
fn no_function_is_too_long() {
    judge_files("rs", |file| lengths::long_functions(&file.path, &file.text));
}

#[test]
fn no_banned_word_is_used() {
    let files = tree::files();
    assert_tidy(&files.iter().flat_map(words::banned).collect::<Vec<_>>());
}

#[test]
fn no_line_ends_in_blanks_or_has_tabs() {
    let files = tree::files();
    assert_tidy(&files.iter().flat_map(words::untidy_lines).collect::<Vec<_>>());
}

#[test]
fn every_link_leads_somewhere() {
    let files = tree::files();
    judge_files("md", |file| links::broken(file, &files));
}

#[test]
fn every_snapshot_belongs_to_a_test() {
    let files = tree::files();
    let sources: Vec<_> = files.iter().filter(|file| file.has_extension("rs")).collect();
    judge_files("snap", |file| words::orphan(file, &sources).into_iter().collect());
}

#[test]
fn core_depends_on_nothing_that_does_io() {
    let core = tree::read("core/Cargo.toml");
    assert_tidy(&manifests::foreign_to_core(&core.text));
}

#[test]
fn every_dependency_has_its_reason() {
    let files = tree::files();
    let uses = manifests::uses(files.iter().filter(|file| file.path.ends_with("Cargo.toml")));
    let page = tree::read("docs/architecture.md");
    assert_tidy(&manifests::unexplained(&uses, &page.text));
}
