//! The value of `shortstatehash_statediff`: a room state as a difference to another one.

use super::{shapes, trees::SHORTSTATEHASH_STATEDIFF};

/// A state event in compressed form: short state key, short event id. Both are 1 or more.
pub type CompressedEvent = (u64, u64);

/// *state = (state of `parent` ∪ `added`) ∖ `removed`*; a replaced entry is in both lists, with its new and its old
/// event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateDiff {
    /// The short state hash that this one builds on; 0 for none.
    pub parent: u64,
    /// Entries that are new.
    pub added: Vec<CompressedEvent>,
    /// Entries that are gone.
    pub removed: Vec<CompressedEvent>,
}

impl StateDiff {
    /// Parent, added entries of two numbers each; then, if there are removed ones, a zero and these
    /// (src/database/key_value/rooms/state_compressor.rs:10-60).
    pub fn encode(&self) -> Vec<u8> {
        let mut numbers = Vec::with_capacity(
            self.added.len().saturating_add(self.removed.len()).saturating_mul(2).saturating_add(1),
        );
        numbers.extend(self.added.iter().flat_map(|(key, event)| [*key, *event]));
        if !self.removed.is_empty() {
            numbers.push(0);
            numbers.extend(self.removed.iter().flat_map(|(key, event)| [*key, *event]));
        }
        let row = shapes::StateDiff { parent: self.parent, diff: numbers };
        SHORTSTATEHASH_STATEDIFF.value_of(&row)
    }

    /// The difference that these numbers, the ones after the parent, say; `None` if they are no pairs.
    pub fn decode(parent: u64, numbers: &[u64]) -> Option<Self> {
        let mut diff = Self { parent, ..Self::default() };
        let mut rest = numbers;
        let mut adding = true;
        loop {
            match rest {
                [] => return Some(diff),
                [0, tail @ ..] if adding => {
                    adding = false;
                    rest = tail;
                }
                [key, event, tail @ ..] => {
                    let list = if adding { &mut diff.added } else { &mut diff.removed };
                    list.push((*key, *event));
                    rest = tail;
                }
                [_] => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_is_parent_added_zero_removed() {
        let diff = StateDiff { parent: 5, added: vec![(1, 2)], removed: vec![(1, 9)] };
        assert_eq!(
            hex::encode(diff.encode()),
            ["05", "01", "02", "00", "01", "09"].map(|n| format!("00000000000000{n}")).concat()
        );
        let without = StateDiff { parent: 0, added: vec![(1, 2)], removed: vec![] };
        assert_eq!(without.encode().len(), 24);
        for diff in [diff, without] {
            let bytes = diff.encode();
            let row = SHORTSTATEHASH_STATEDIFF.read_value(&[], &bytes).unwrap();
            assert_eq!(StateDiff::decode(row.parent, &row.diff), Some(diff));
        }
    }

    #[test]
    fn half_a_pair_is_no_diff() {
        assert_eq!(StateDiff::decode(0, &[1, 2, 3]), None);
        assert_eq!(StateDiff::decode(0, &[1, 2, 0, 3]), None);
    }
}
