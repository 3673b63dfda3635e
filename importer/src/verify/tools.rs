//! What several verifications use: cursors, sets and sums over many rows.

pub(super) mod cursor;
pub(super) mod lookup;
pub(super) mod multiset_hash;
pub(super) mod number_set;
pub(super) mod parts;
pub(super) mod prepared;
pub(super) mod sequence_hash;
pub(super) mod since_import;
pub(super) mod state_layers;
