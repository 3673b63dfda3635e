//! Looking up rows whose keys are numbers, mostly in ascending order: next to each other they cost next to nothing.

use crate::{
    conduit::{
        schema::trees::Tree,
        store::{Entries, KvStore},
    },
    verify::VerifyError,
};

/// A tree, and the place of the last look.
pub(in crate::verify) struct Cursor<'a> {
    store: &'a dyn KvStore,
    tree: &'static Tree,
    rows: Entries<'a>,
    /// The next row.
    next: Option<(u64, Box<[u8]>)>,
}

impl<'a> Cursor<'a> {
    pub(in crate::verify) fn new(
        store: &'a dyn KvStore,
        tree: &'static Tree,
    ) -> Result<Self, VerifyError> {
        let rows = store.scan(tree, &[])?;
        let mut cursor = Self { store, tree, rows, next: None };
        cursor.advance()?;
        Ok(cursor)
    }

    /// The value of a key.
    pub(in crate::verify) fn get(&mut self, key: u64) -> Result<Option<Vec<u8>>, VerifyError> {
        while self.next.as_ref().is_some_and(|(next, _)| *next < key) {
            self.advance()?;
        }
        match &self.next {
            Some((next, value)) if *next == key => Ok(Some(value.to_vec())),
            // It is behind, or nowhere.
            _ => Ok(self.store.get(self.tree, &key.to_be_bytes())?),
        }
    }

    /// The number at a key.
    pub(in crate::verify) fn number(&mut self, key: u64) -> Result<Option<u64>, VerifyError> {
        Ok(self.get(key)?.and_then(|value| value.try_into().ok()).map(u64::from_be_bytes))
    }

    fn advance(&mut self) -> Result<(), VerifyError> {
        self.next = None;
        for row in self.rows.by_ref() {
            let (key, value) = row?;
            if let Ok(key) = <[u8; 8]>::try_from(&*key) {
                self.next = Some((u64::from_be_bytes(key), value));
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conduit::{
        schema::trees::SHORTEVENTID_SHORTSTATEHASH,
        store::{Row, memory::MemoryStore},
    };

    #[test]
    fn rows_are_found_forwards_and_backwards() {
        let tree = &SHORTEVENTID_SHORTSTATEHASH;
        let row = |n: u64| Row { tree, key: n.to_be_bytes().into(), value: [7; 8].into() };
        let mut store = MemoryStore::default();
        store.write([2, 4, 6, 300].map(row).into()).unwrap();
        let mut cursor = Cursor::new(&store, tree).unwrap();
        let found = [1, 2, 2, 5, 6, 4, 300, 301, 3, 6].map(|n| cursor.get(n).unwrap().is_some());
        let expected = [false, true, true, false, true, true, true, false, false, true];
        assert_eq!(found, expected);
        assert_eq!(cursor.number(300).unwrap(), Some(0x0707_0707_0707_0707));
    }
}
