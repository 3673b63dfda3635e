//! Trees with the types of their keys and values: a field that a tree does not have does not compile.
//!
//! `shapes!` makes a struct of a layout, `choices!` an enum of several. Each knows its bytes twice, from one text: as a
//! [`Layout`], which `inspect` and the documents go by, and as code that reads and writes them.

use std::{fmt, marker::PhantomData, ops::Deref};

use super::{
    layout::Layout,
    trees::{DecodeError, Rewrite, Tree, Written},
};

/// What a key or a value consists of.
pub trait Shape: 'static {
    /// Its fields, borrowed from bytes.
    type Row<'a>;
    /// The same as data.
    const LAYOUT: Layout;

    /// Appends the bytes of `row`.
    fn write(row: &Self::Row<'_>, bytes: &mut Vec<u8>);

    /// Reads all of `bytes`; `None` if they have another form.
    fn read(bytes: &[u8]) -> Option<Self::Row<'_>>;
}

/// Reads bytes and writes them again; `None` if they have another form.
fn rewrite<S: Shape>(bytes: &[u8]) -> Option<Vec<u8>> {
    let row = S::read(bytes)?;
    let mut again = Vec::with_capacity(bytes.len());
    S::write(&row, &mut again);
    Some(again)
}

/// A tree whose keys are `K` and whose values are `V`. It can be used wherever a [`Tree`] can.
#[derive(Debug)]
pub struct Table<K, V> {
    tree: Tree,
    shapes: PhantomData<fn() -> (K, V)>,
}

impl<K: Shape, V: Shape> Table<K, V> {
    /// The tree of that name. `secret` are names of fields.
    pub(super) const fn new(
        name: &'static str,
        written: Written,
        secret: &'static [&'static str],
    ) -> Self {
        let rewrite: (Rewrite, Rewrite) = (rewrite::<K>, rewrite::<V>);
        let tree = Tree { name, key: K::LAYOUT, value: V::LAYOUT, written, secret, rewrite };
        Self { tree, shapes: PhantomData }
    }

    /// The bytes of a key.
    pub fn key_of(&self, key: &K::Row<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        K::write(key, &mut bytes);
        bytes
    }

    /// The bytes of a value.
    pub fn value_of(&self, value: &V::Row<'_>) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        V::write(value, &mut bytes);
        bytes
    }

    /// Reads a key.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Any bytes are fine as input.
    pub fn read_key<'a>(&self, key: &'a [u8]) -> Result<K::Row<'a>, DecodeError> {
        K::read(key).ok_or_else(|| self.tree.misfit_of_key(key))
    }

    /// Reads a value; `key` is for the message only.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]. Any bytes are fine as input.
    pub fn read_value<'a>(&self, key: &[u8], value: &'a [u8]) -> Result<V::Row<'a>, DecodeError> {
        V::read(value).ok_or_else(|| self.tree.misfit_of_value(key))
    }

    /// The tree without its types.
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        &self.tree
    }
}

impl<K, V> PartialEq<Table<K, V>> for Tree {
    fn eq(&self, other: &Table<K, V>) -> bool {
        *self == other.tree
    }
}

impl<K, V> fmt::Display for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tree.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::conduit::schema::trees::{CONTINUWUITY, TREES};

    proptest! {
        /// Bytes that look like rows: ids, separators, numbers, JSON.
        #[test]
        fn types_and_layouts_of_a_tree_take_the_same_bytes(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    &b"@a:x"[..], b"!r:x", b"$e", b"+bridge", b"\xff", b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x07", b"{\"a\":1}", b"c",
                    b"version", b"keypair", b"\0\0\0\x01", b"abcdefghijklmnopqrstuvwxyz012345", b"\xc3",
                ]),
                0..6,
            )
        ) {
            let bytes = parts.concat();
            for tree in TREES.into_iter().chain(CONTINUWUITY) {
                let key = tree.key.decode(&bytes).ok().map(|_| bytes.clone());
                prop_assert_eq!(tree.rewrite_key(&bytes), key, "{}", tree);
                let value = tree.value.decode(&bytes).ok().map(|_| bytes.clone());
                prop_assert_eq!(tree.rewrite_value(&bytes), value, "{}", tree);
            }
        }
    }

    #[test]
    fn what_is_secret_is_a_field_of_its_tree() {
        for tree in TREES.into_iter().chain(CONTINUWUITY) {
            let names: Vec<_> = tree.key.names().chain(tree.value.names()).collect();
            assert!(tree.secret.iter().all(|secret| names.contains(secret)), "{tree}");
        }
    }
}
