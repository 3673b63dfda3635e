//! Rows of the dump and of the database by their names, as far as people may see them.

use std::collections::BTreeMap;

use super::{Findings, codes};

/// Rows by their names.
pub(super) type Named<T> = BTreeMap<String, T>;

/// Finds what is missing, differs or is too much.
pub(super) fn differences<T: PartialEq>(
    expected: &Named<T>,
    stored: &Named<T>,
    item: impl Fn(&str) -> String,
    found: &mut Findings,
) {
    for (name, value) in expected {
        match stored.get(name) {
            None => found.add(&codes::MISSING_IN_DATABASE, item(name), "is missing"),
            Some(stored) if stored != value => {
                found.add(&codes::DIFFERS_FROM_DUMP, item(name), "differs");
            }
            Some(_) => {}
        }
    }
    for name in stored.keys().filter(|name| !expected.contains_key(*name)) {
        found.add(&codes::NOT_IN_DUMP, item(name), "is not in the dump");
    }
}
