//! Links between pages.

use crate::tree::File;
use std::path::Path;

/// Every link of the page to a file or heading that is not there.
pub(crate) fn broken(page: &File, files: &[File]) -> Vec<String> {
    let mut findings = Vec::new();
    for (line, target) in targets(&page.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        if let Some(why) = problem(page, &target, files) {
            findings.push(format!("{}:{line}: {target}: {why}", page.path));
        }
    }
    findings
}

fn problem(page: &File, target: &str, files: &[File]) -> Option<&'static str> {
    let (path, heading) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { page.path.clone() } else { resolve(&page.path, path)? };
    let linked = files.iter().find(|file| file.path == path);
    let exists = linked.is_some() || Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists();
    if !exists {
        return Some("no such file");
    }
    let has_heading = |file: &File| headings(&file.text).any(|found| found == heading);
    (!heading.is_empty() && !linked.is_some_and(has_heading)).then_some("no such heading")
}

/// The path that `link` means on the page at `from`.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                // A link out of the tree leads nowhere, which no file of that name says.
                if parts.pop().is_none() {
                    return Some("..".to_owned() + link);
                }
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The lines of a page that are no code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut is_code = false;
    (1..).zip(text.lines()).filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The targets of `[text](target)`, with their lines.
fn targets(text: &str) -> Vec<(usize, String)> {
    let mut targets = Vec::new();
    for (number, line) in prose(text) {
        // Every second part stands between backticks.
        for part in line.split('`').step_by(2) {
            targets.extend(part.split("](").skip(1).filter_map(|rest| {
                let (target, _) = rest.split_once(')')?;
                Some((number, target.to_owned()))
            }));
        }
        // A text in backticks is cut in two: `](` begins the next part.
    }
    targets
}

/// The names under which the headings of a page can be linked to.
fn headings(text: &str) -> impl Iterator<Item = String> {
    prose(text).filter(|(_, line)| line.starts_with('#')).map(|(_, line)| {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    })
}

#[test]
fn broken_links_are_found() {
    let file = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let other = file("docs/other.md", "# Other\n\n## 2.1 It's `here`\n");
    for (text, count) in [
        ("[a](other.md) and [`b`](other.md#21-its-here)", 0),
        ("[a](gone.md) [b](other.md#gone)", 2),
        ("[`tests/gone/`](../tests/gone/README.md)", 1),
        ("[a](../Cargo.toml) [b](../gone.toml) [c](../../out.md)", 2),
        ("[a](https://example.com/gone) [b](mailto:a@example.com)", 0),
        ("[a](#top)\n# Top\n[b](#gone)", 1),
        ("`[a](gone.md)`\n```\n[a](gone.md)\n```", 0),
    ] {
        let page = file("docs/page.md", text);
        let found = broken(&page, &[page.clone(), other.clone()]);
        assert_eq!(found.len(), count, "{text}: {found:?}");
    }
}
