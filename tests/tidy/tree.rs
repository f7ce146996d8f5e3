//! The files of the tree: all text that people write.

use std::fs;
use std::path::Path;

/// Cargo marks the directories of its output with this file.
const OUTPUT_MARK: &str = "CACHEDIR.TAG";
/// Where the daemon keeps its data when it is started in the tree.
const DATA: &str = "steadfast-data";
/// Where npm puts what the tests of the JavaScript client need.
const PACKAGES: &str = "node_modules";

/// One file, its path relative to the root.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// Every text file of the tree but those that programs write or that are kept as recorded.
pub(crate) fn files() -> Vec<File> {
    let mut files = Vec::new();
    gather(root(), "", &mut files);
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// One file that has to exist.
pub(crate) fn read(path: &str) -> File {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"));
    File { path: path.to_owned(), text }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn gather(directory: &Path, prefix: &str, files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).expect("the tree can be read") {
        let entry = entry.expect("the tree can be read");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.file_type().expect("the tree can be read").is_dir() {
            if !is_left_out(&entry.path(), &name) {
                gather(&entry.path(), &format!("{path}/"), files);
            }
        } else if is_written(&name) {
            let text =
                fs::read_to_string(entry.path()).unwrap_or_else(|why| panic!("{path}: {why}"));
            files.push(File { path, text });
        }
    }
}

fn is_left_out(directory: &Path, name: &str) -> bool {
    let is_hidden = name.starts_with('.') && name != ".ci";
    is_hidden || name == DATA || name == PACKAGES || directory.join(OUTPUT_MARK).exists()
}

/// Whether people write files of this name: sources, pages, snapshots, scripts. The recorded cases
/// are JSON and no business of ours.
fn is_written(name: &str) -> bool {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some(extension) => ["rs", "md", "toml", "snap", "sh"].contains(&extension),
        None => name == "run",
    }
}
