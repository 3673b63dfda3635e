//! A bit set of numbers that lie close together, like those of one counter.

use std::collections::{BTreeMap, btree_map::Entry};

/// The set: pages of 4096 numbers.
#[derive(Debug, Default)]
pub(in crate::verify) struct Numbers(BTreeMap<u64, Vec<u64>>);

impl Numbers {
    /// Adds a number; false if it is there already.
    pub(in crate::verify) fn insert(&mut self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        let words = self.0.entry(page).or_insert_with(|| vec![0; PAGE_WORDS]);
        let Some(bits) = words.get_mut(word) else { return false };
        let is_new = *bits & bit == 0;
        *bits |= bit;
        is_new
    }

    /// Adds those of another set; false if one of them is there already.
    pub(in crate::verify) fn merge(&mut self, other: Self) -> bool {
        let mut are_new = true;
        for (page, words) in other.0 {
            match self.0.entry(page) {
                Entry::Vacant(free) => drop(free.insert(words)),
                Entry::Occupied(own) => {
                    for (own, other) in own.into_mut().iter_mut().zip(words) {
                        are_new &= *own & other == 0;
                        *own |= other;
                    }
                }
            }
        }
        are_new
    }

    /// Whether a number is there.
    pub(in crate::verify) fn contains(&self, number: u64) -> bool {
        let (page, word, bit) = place(number);
        let bits = self.0.get(&page).and_then(|words| words.get(word));
        bits.is_some_and(|bits| bits & bit != 0)
    }
}

/// Words of 64 bits in a page.
const PAGE_WORDS: usize = 64;

/// The page, the word in it, and the bit of that.
fn place(number: u64) -> (u64, usize, u64) {
    let (page, in_page) = (number >> 12, number & 0xfff);
    (page, usize::try_from(in_page >> 6).unwrap_or(usize::MAX), 1 << (in_page & 0x3f))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_holds_what_a_set_holds(numbers in proptest::collection::vec(0..20_000_u64, 0..200)) {
            let mut set = std::collections::BTreeSet::new();
            let mut ours = Numbers::default();
            for number in &numbers {
                assert_eq!(ours.insert(*number), set.insert(*number));
            }
            for number in 0..20_000 {
                assert_eq!(ours.contains(number), set.contains(&number));
            }
            assert!(ours.insert(u64::MAX) && !ours.insert(u64::MAX));
        }

        #[test]
        fn a_merged_set_holds_both(
            some in proptest::collection::btree_set(0..20_000_u64, 0..50),
            others in proptest::collection::btree_set(0..20_000_u64, 0..50),
        ) {
            let set = |numbers: &std::collections::BTreeSet<u64>| {
                let mut set = Numbers::default();
                assert!(numbers.iter().all(|number| set.insert(*number)));
                set
            };
            let mut both = set(&some);
            assert_eq!(both.merge(set(&others)), some.is_disjoint(&others));
            for number in 0..20_000 {
                assert_eq!(both.contains(number), some.contains(&number) || others.contains(&number));
            }
        }
    }
}
