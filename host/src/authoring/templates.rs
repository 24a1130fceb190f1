//! Files that new plugins begin with, carried by the binary.
//!
//! Place: `build.rs` makes the table of everything below `host/templates` and of the Rust SDK's sources. Paths are relative to those folders, the
//! SDK's begin with `sdk/`.

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// Those whose path begins so, without that beginning.
pub(super) fn under(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.iter().filter_map(move |(path, text)| path.strip_prefix(folder).map(|rest| (rest, *text)))
}
