//! Every snapshot belongs to a test: one that no test names any more would never fail again.

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_snapshot_is_named_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace's folder");
    let mut sources = Vec::new();
    for folder in ["core/src", "shell/src", "shell/tests", "sim/src", "sim/tests", "tests"] {
        collect(&root.join(folder), &mut sources);
    }
    let mut unnamed = Vec::new();
    for entry in fs::read_dir(root.join("snapshots")).expect("the snapshots can be listed") {
        let path = entry.expect("the snapshots can be listed").path();
        let is_snapshot = path.extension().is_some_and(|extension| extension == "snap");
        let name = path.file_stem().and_then(|name| name.to_str()).expect("names are UTF-8");
        let named = format!("\"{name}\"");
        if !is_snapshot || !sources.iter().any(|source| source.contains(&named)) {
            unnamed.push(path);
        }
    }
    assert!(unnamed.is_empty(), "no test names these files, so delete them: {unnamed:#?}");
}

/// Reads the Rust files in a folder and its folders; a folder that is not there has none.
fn collect(folder: &Path, sources: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let paths = entries.map(|entry| entry.expect("a folder can be listed").path());
    for path in paths.collect::<Vec<PathBuf>>() {
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(fs::read_to_string(&path).expect("a source can be read"));
        }
    }
}
