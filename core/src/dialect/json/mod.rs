//! JSON as the original read it: RFC 8259 in UTF-8, at most 511 levels deep, no lone surrogates,
//! the last of duplicate members wins. `tests/vectors/README.md` is the source of these rules.
//!
//! The reader is our own because every ready-made one differs where it matters here: `serde_json`
//! lets lone surrogates pass in the strings it skips, takes a member of a magic name for a number,
//! and copies what it reads. This one works on borrowed text, keeps numbers as they are spelled and
//! allocates nothing. `serde_json` is its oracle in the tests.
//!
//! Not here: what members mean, which is for the dialects, and PHP's casts, which are in `php`.

mod canonical;
mod compact;
mod cursor;
mod merge;

pub use canonical::canonical;
pub(super) use compact::{survivors, write, write_string};
pub(super) use cursor::{Value, members, objects, strings};
pub use merge::merge_patch;
