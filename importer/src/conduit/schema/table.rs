//! Trees with the types of their keys and values: a field that a tree does not have does not compile.
//!
//! `shapes!` makes a struct of a layout, `choices!` an enum of several. Each knows its bytes twice, from one text: as a
//! [`Layout`], which `inspect` and the documents go by, and as code that reads and writes them.

use std::{fmt, marker::PhantomData, ops::Deref};

use super::{
    layout::Layout,
    trees::{DecodeError, Tree, Written},
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
        let tree = Tree { name, key: K::LAYOUT, value: V::LAYOUT, written, secret };
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

    use super::Shape;
    use crate::conduit::schema::{shapes, trees::TREES};

    /// Whether a shape's code reads what its layout reads, and writes it back.
    fn agrees<S: Shape>(bytes: &[u8]) -> Result<(), TestCaseError> {
        let typed = S::read(bytes);
        prop_assert_eq!(typed.is_some(), S::LAYOUT.decode(bytes).is_ok());
        if let Some(row) = typed {
            let mut again = Vec::new();
            S::write(&row, &mut again);
            prop_assert_eq!(again, bytes);
        }
        Ok(())
    }

    macro_rules! all_agree {
        ($bytes:expr, $($shape:ident)*) => { $(agrees::<shapes::$shape<'static>>($bytes)?;)* };
    }

    proptest! {
        /// Bytes that look like rows: ids, separators, numbers, JSON.
        #[test]
        fn code_and_data_of_a_shape_read_and_write_the_same(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    &b"@a:x"[..], b"!r:x", b"$e", b"+bridge", b"\xff", b"\0\0\0\0\0\0\0\0", b"\0\0\0\0\0\0\0\x07", b"{\"a\":1}", b"c",
                    b"version", b"keypair", b"\0\0\0\x01", b"abcdefghijklmnopqrstuvwxyz012345", b"\xc3",
                ]),
                0..6,
            )
        ) {
            let bytes = parts.concat();
            let bytes = &bytes[..];
            all_agree!(bytes, AccountData AliasLocalpart Backup BackupSession Blocked ContentHash ContentMedia ContentThumbnail
                Count Event File FileTimes Global GlobalKey Joined Media Nothing PduId Queue Queued Relation RoomReferenced RoomUser
                ShortEvents Sorted StateDiff StateKey Thumbnail ToDevice TokenId Unread UserKey UserTexts);
        }
    }

    #[test]
    fn what_is_secret_is_a_field_of_its_tree() {
        for tree in TREES {
            let names: Vec<_> = tree.key.names().chain(tree.value.names()).collect();
            assert!(tree.secret.iter().all(|secret| names.contains(secret)), "{tree}");
        }
    }
}
