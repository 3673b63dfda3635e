//! Every table of Synapse's, up to schema version 94: where its rows go, or why they don't. `docs/census.md` is the same table for
//! readers; a test compares them.

mod moving;
mod staying;

use self::{moving::MOVING, staying::STAYING};
use super::table::Table;

/// All tables, not sorted.
pub(super) fn all() -> impl Iterator<Item = &'static Table> {
    MOVING.iter().chain(STAYING)
}

/// The table of this name; the tables that SQLite keeps behind a search index, and for itself, by rule.
pub(in crate::synapse::database) fn find(name: &str) -> Option<&'static Table> {
    all().find(|table| table.name == rule(name).unwrap_or(name))
}

/// The entry that stands for a table that has none of its own.
fn rule(name: &str) -> Option<&'static str> {
    if name.starts_with("sqlite_") {
        return Some("sqlite_*");
    }
    ["event_search", "user_directory_search"].into_iter().find_map(|index| {
        let part = name.strip_prefix(index)?.strip_prefix('_')?;
        matches!(part, "content" | "docsize" | "segdir" | "segments" | "stat").then_some(index)
    })
}
