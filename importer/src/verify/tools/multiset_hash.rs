//! Compares two sets of rows without holding them: an order-independent sum of hashes for each. Damage that leaves both
//! sums equal has a probability of 2⁻⁶⁴.

/// The sum of a set of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::verify) struct Sum {
    hashes: u64,
    rows: u64,
}

impl Sum {
    /// Adds the rows of another set.
    pub(in crate::verify) fn merge(&mut self, other: Self) {
        self.hashes = self.hashes.wrapping_add(other.hashes);
        self.rows = self.rows.wrapping_add(other.rows);
    }

    /// Adds a row by its [`hash`].
    pub(in crate::verify) fn add(&mut self, row: u64) {
        self.hashes = self.hashes.wrapping_add(row);
        self.rows = self.rows.wrapping_add(1);
    }
}
