//! Hashes for sets in memory, where the texts themselves would take too much of it.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// A hash that is the same throughout a run, and no longer: not to be stored.
pub(crate) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
