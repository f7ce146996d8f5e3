//! What the packages depend on, and whether that is explained.

use crate::tree::File;
use std::collections::{BTreeMap, BTreeSet};

/// What core may be built with: none of these does I/O, reads a clock or starts a thread. (proptest
/// comes in only with the feature `testing`, serde with the feature of its name.)
const FOR_CORE: [&str; 10] = [
    "ahash",
    "bytes",
    "bytestring",
    "hashbrown",
    "memchr",
    "proptest",
    "rand",
    "rand_chacha",
    "serde",
    "siphasher",
];

/// The heading of the page's section that has a table of all dependencies.
const SECTION: &str = "## Dependencies";

/// The packages by dependency, as their folders are called; the root's is `tests`.
pub(crate) type Uses = BTreeMap<String, BTreeSet<String>>;

/// Whose dependencies a section of a manifest lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    /// The package itself and whoever uses it.
    Build,
    /// Its tests only.
    Tests,
}

/// What core depends on and should not.
pub(crate) fn foreign_to_core(manifest: &str) -> Vec<String> {
    let found = dependencies(manifest).into_iter().filter(|(of, _)| *of == For::Build);
    found
        .filter(|(_, name)| !FOR_CORE.contains(&name.as_str()))
        .map(|(_, name)| format!("core/Cargo.toml: {name}: not known to be free of I/O"))
        .collect()
}

/// Who uses what of others.
pub(crate) fn uses<'a>(manifests: impl Iterator<Item = &'a File>) -> Uses {
    let mut uses = Uses::new();
    for manifest in manifests {
        let package = manifest.path.split_once('/').map_or("tests", |(folder, _)| folder);
        for (_, name) in dependencies(&manifest.text) {
            if !name.starts_with("steadfast-") {
                uses.entry(name).or_default().insert(package.to_owned());
            }
        }
    }
    uses
}

/// Dependencies without a row in the page's table, or with a wrong one, and rows without a
/// dependency. A row has the name, the packages that use it, and the reason.
pub(crate) fn unexplained(uses: &Uses, page: &str) -> Vec<String> {
    let section = page.split_once(SECTION).map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut rows = BTreeMap::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        if let [name, packages, reason] = cells[..] {
            let packages: BTreeSet<_> = packages.split(", ").map(str::to_owned).collect();
            rows.insert(name.trim_matches('`').to_owned(), (packages, reason.len()));
        }
    }
    let mut findings = Vec::new();
    for (name, packages) in uses {
        let list = packages.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        match rows.remove(name) {
            Some((_, 0)) => findings.push(format!("`{name}` has no reason")),
            Some((found, _)) if found != *packages => {
                findings.push(format!("`{name}` is used by: {list}"));
            }
            Some(_) => {}
            None => findings.push(format!("`{name}`, used by {list}, has no row")),
        }
    }
    findings.extend(rows.into_keys().map(|name| format!("`{name}` is used by nobody")));
    findings.into_iter().map(|found| format!("docs/architecture.md, {SECTION}: {found}")).collect()
}

/// The names in a manifest's lists of dependencies. The workspace's own list is none: it gives
/// versions, and nobody is built with what only stands there.
fn dependencies(manifest: &str) -> Vec<(For, String)> {
    let mut section = None;
    let mut found = Vec::new();
    for line in manifest.lines() {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            let (list, name) = header
                .rsplit_once("dependencies.")
                .map_or((header, None), |(list, name)| (list, Some(name)));
            section = match list.rsplit('.').next().unwrap_or_default() {
                _ if list.starts_with("workspace.") => None,
                "dependencies" | "build-dependencies" | "" | "build-" => Some(For::Build),
                "dev-dependencies" | "dev-" => Some(For::Tests),
                _ => None,
            };
            if let (Some(of), Some(name)) = (section.take_if(|_| name.is_some()), name) {
                found.push((of, name.to_owned()));
            }
        } else if let Some(of) = section
            && line.starts_with(|c: char| c.is_ascii_alphanumeric())
        {
            let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
            found.push((of, line[..end].to_owned()));
        }
    }
    found
}

#[test]
fn dependencies_are_read_in_every_form() {
    let manifest = "[package]\nname = \"a\"\n[dependencies]\none.workspace = true\n# two = \"2\"\n\
                    three = { version = \"3\" }\n[dev-dependencies]\nfour = \"4\"\n\
                    [dependencies.five]\nversion = \"5\"\n[target.'cfg(unix)'.dependencies]\nsix = \"6\"\n\
                    [workspace.dependencies]\nseven = \"7\"\n[lints]\nworkspace = true\n";
    let expect = [
        (For::Build, "one"),
        (For::Build, "three"),
        (For::Tests, "four"),
        (For::Build, "five"),
        (For::Build, "six"),
    ];
    assert_eq!(dependencies(manifest), expect.map(|(of, name)| (of, name.to_owned())));
}

#[test]
fn io_in_core_is_found() {
    assert_eq!(
        foreign_to_core("[dependencies]\nbytes = \"1\"\n[dev-dependencies]\nmio = \"1\"").len(),
        0
    );
    assert_eq!(foreign_to_core("[dependencies]\nbytes = \"1\"\nmio = \"1\"").len(), 1);
}

#[test]
fn a_missing_reason_is_found() {
    let manifest = |path: &str, text: &str| File { path: path.to_owned(), text: text.to_owned() };
    let manifests = [
        manifest("core/Cargo.toml", "[dependencies]\nbytes = \"1\""),
        manifest("Cargo.toml", "[dev-dependencies]\nbytes = \"1\""),
    ];
    let uses = uses(manifests.iter());
    for (rows, count) in [
        ("| `bytes` | core, tests | shares |", 0),
        ("| `bytes` | tests, core | shares |", 0),
        ("| `bytes` | core | shares |", 1),
        ("| `bytes` | core, tests | |", 1),
        ("", 1),
        ("| `bytes` | core, tests | shares |\n| `mio` | shell | moves |", 1),
        ("## Other\n| `bytes` | core, tests | shares |", 1),
    ] {
        let page = format!("# Page\n\n{SECTION}\n\n{rows}\n");
        let found = unexplained(&uses, &page);
        assert_eq!(found.len(), count, "{rows}: {found:?}");
    }
}
