//! Keys that divide a tree into parts of about the same size, found by asking for sizes alone.

/// How often a part is halved at most. Keys that share much with others need many steps until a key between them parts them.
const DEEPEST: u32 = 200;

/// Keys between the first and the last one, in order, so that parts take no more than `bytes`, as far as keys allow. `size`
/// tells how many bytes lie between two keys.
pub(super) fn divide(
    first: Vec<u8>,
    last: Vec<u8>,
    bytes: u64,
    size: &dyn Fn(&[u8], &[u8]) -> u64,
) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut parts = vec![(first, last, 0)];
    // The first of the open parts is the last of the list.
    while let Some((from, until, depth)) = parts.pop() {
        let middle = between(&from, &until);
        match middle.filter(|_| depth < DEEPEST && size(&from, &until) > bytes) {
            Some(middle) => {
                let depth = depth + 1;
                parts.push((middle.clone(), until, depth));
                parts.push((from, middle, depth));
            }
            None => keys.push(until),
        }
    }
    // What ends the last part is in it.
    keys.pop();
    keys
}

/// A key half-way between two, by the eight bytes after those that they share; `None` if these are next to each other.
fn between(from: &[u8], until: &[u8]) -> Option<Vec<u8>> {
    let shared = from.iter().zip(until).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        let mut bytes = [0; 8];
        for (byte, found) in bytes.iter_mut().zip(key.iter().skip(shared)) {
            *byte = *found;
        }
        u64::from_be_bytes(bytes)
    };
    let (low, high) = (number(from), number(until));
    let middle = low.midpoint(high);
    (low < middle && middle < high)
        .then(|| [from.get(..shared).unwrap_or_default(), &middle.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_are_small_and_in_order(
            keys in proptest::collection::btree_set(
                proptest::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 1..20),
                1..200,
            )
        ) {
            let keys: Vec<_> = keys.into_iter().collect();
            let size = |from: &[u8], until: &[u8]| {
                let inside = keys.iter().filter(|key| from <= key.as_slice() && key.as_slice() < until);
                u64::try_from(inside.count()).unwrap()
            };
            let (first, last) = (keys[0].clone(), keys.last().unwrap().clone());
            let division = divide(first.clone(), last.clone(), 10, &size);
            assert!(division.is_sorted_by(|a, b| a < b));
            assert!(division.iter().all(|key| first < *key && *key < last));
        }
    }

    #[test]
    fn numbers_are_divided_evenly() {
        let size = |from: &[u8], until: &[u8]| {
            let number = |key: &[u8]| {
                let mut bytes = [0; 8];
                bytes[..key.len().min(8)].copy_from_slice(&key[..key.len().min(8)]);
                u64::from_be_bytes(bytes)
            };
            number(until) - number(from)
        };
        let parts = divide(0_u64.to_be_bytes().into(), 1000_u64.to_be_bytes().into(), 300, &size);
        let ends: Vec<_> =
            parts.iter().map(|key| u64::from_be_bytes(key[..8].try_into().unwrap())).collect();
        assert_eq!(ends, [250, 500, 750]);
    }
}
