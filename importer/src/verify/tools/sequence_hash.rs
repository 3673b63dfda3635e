//! Compares two sequences of events without holding them: a hash of all of them in their order. Sequences that differ have the same
//! hash with a probability of at most 2⁻⁶⁴.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
};

use crate::conduit::canonical_text::Member;

/// The timelines of rooms, by short room id.
pub(in crate::verify) type Timelines = BTreeMap<u64, SequenceHash>;

/// An odd number whose powers spread the bits: the prime of the 128-bit FNV hash.
const PRIME: u128 = (1 << 88) + 0x13b;

/// The hash of a sequence: a polynomial of the hashes of its items, modulo 2¹²⁸.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::verify) struct SequenceHash {
    hash: u128,
    /// [`PRIME`] to the power of the length.
    factor: u128,
    length: u64,
}

impl Default for SequenceHash {
    fn default() -> Self {
        Self { hash: 0, factor: 1, length: 0 }
    }
}

impl SequenceHash {
    /// Adds an item by its hash.
    pub(in crate::verify) fn push(&mut self, item: u64) {
        self.append(Self { hash: item.into(), factor: PRIME, length: 1 });
    }

    /// Adds the items of a later sequence.
    pub(in crate::verify) fn append(&mut self, later: Self) {
        self.hash = self.hash.wrapping_mul(later.factor).wrapping_add(later.hash);
        self.factor = self.factor.wrapping_mul(later.factor);
        self.length = self.length.wrapping_add(later.length);
    }
}

/// The hash of an event of canonical JSON: of its id, of all its members but the id and `unsigned`, and of whether it is redacted.
pub(in crate::verify) fn event_hash(id: &str, event: &[Member<'_>], is_redacted: bool) -> u64 {
    let mut hasher = DefaultHasher::new();
    (id, is_redacted).hash(&mut hasher);
    for member in event.iter().filter(|(name, _)| !["event_id", "unsigned"].contains(name)) {
        member.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::conduit::canonical_text::members;

    fn of(items: &[u64]) -> SequenceHash {
        let mut hash = SequenceHash::default();
        for item in items {
            hash.push(*item);
        }
        hash
    }

    proptest! {
        #[test]
        fn parts_make_the_whole(items in proptest::collection::vec(any::<u64>(), 0..20), at in 0_usize..20) {
            let (first, second) = items.split_at(at.min(items.len()));
            let mut parts = of(first);
            parts.append(of(second));
            prop_assert_eq!(parts, of(&items));
        }
    }

    #[test]
    fn what_differs_has_another_hash() {
        let sequences: [&[u64]; 8] =
            [&[], &[0], &[0, 0], &[1], &[1, 2], &[2, 1], &[1, 2, 3], &[1, 3, 2]];
        let hashes = sequences.map(of);
        for (number, hash) in hashes.iter().enumerate() {
            assert_eq!(hashes.iter().position(|other| other == hash), Some(number));
        }
    }

    #[test]
    fn an_event_is_the_same_with_what_conduit_adds() {
        let event = |text| event_hash("$e", &members(text).unwrap(), false);
        let plain = event(r#"{"content":{"a":1},"type":"t"}"#);
        let row = r#"{"content":{"a":1},"event_id":"$e","type":"t","unsigned":{"age":1}}"#;
        assert_eq!(event(row), plain);
        for other in [
            r#"{"content":{"a":2},"type":"t"}"#,
            r#"{"content":{"a":1},"type":"u"}"#,
            r#"{"content":{"a":1},"depth":1,"type":"t"}"#,
            r#"{"content":{"a":1}}"#,
        ] {
            assert_ne!(event(other), plain, "{other}");
        }
        let members = members(row).unwrap();
        assert_ne!(event_hash("$e", &members, true), plain);
        assert_ne!(event_hash("$f", &members, false), plain);
    }
}
