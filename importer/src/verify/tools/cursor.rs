//! Looking up rows whose keys are numbers, mostly in ascending order. Neighbours need no look-up.

use std::borrow::Cow;

use crate::{
    conduit::{
        schema::trees::Tree,
        store::{Entries, KvRead},
    },
    verify::VerifyError,
};

/// How far ahead, in numbers, rows are passed over one by one rather than by a look-up.
const NEAR: u64 = 1000;

/// A tree, and the place of the last look.
pub(in crate::verify) struct Cursor<'a> {
    store: &'a dyn KvRead,
    tree: &'static Tree,
    rows: Option<Entries<'a>>,
    /// The next row.
    next: Option<(u64, Box<[u8]>)>,
}

impl<'a> Cursor<'a> {
    /// A cursor that has not looked at anything.
    pub(in crate::verify) fn new(store: &'a dyn KvRead, tree: &'static Tree) -> Self {
        Self { store, tree, rows: None, next: None }
    }

    /// The value of a key.
    pub(in crate::verify) fn get(
        &mut self,
        key: u64,
    ) -> Result<Option<Cow<'_, [u8]>>, VerifyError> {
        self.go(key)?;
        match &self.next {
            Some((next, value)) if *next == key => Ok(Some(Cow::Borrowed(value))),
            // It is behind, or nowhere.
            _ => Ok(self.store.get(self.tree, &key.to_be_bytes())?.map(Cow::Owned)),
        }
    }

    /// The number at a key.
    pub(in crate::verify) fn number(&mut self, key: u64) -> Result<Option<u64>, VerifyError> {
        Ok(self.get(key)?.and_then(|value| (*value).try_into().ok()).map(u64::from_be_bytes))
    }

    /// Goes to the first row from that key on, if it is ahead.
    fn go(&mut self, key: u64) -> Result<(), VerifyError> {
        let is_far = match &self.next {
            Some((next, _)) => key.saturating_sub(*next) > NEAR,
            None => self.rows.is_none(),
        };
        if is_far {
            self.rows = Some(self.store.scan_from(self.tree, &key.to_be_bytes())?);
            self.advance()?;
        }
        while self.next.as_ref().is_some_and(|(next, _)| *next < key) {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), VerifyError> {
        self.next = None;
        for row in self.rows.iter_mut().flatten() {
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
        store::{KvLoad as _, Row, memory::MemoryStore},
    };

    #[test]
    fn rows_are_found_forwards_and_backwards() {
        let tree = &SHORTEVENTID_SHORTSTATEHASH;
        let row = |n: u64| Row { tree, key: n.to_be_bytes().into(), value: [7; 8].into() };
        let mut store = MemoryStore::default();
        store.write([2, 4, 6, 300, 5000].map(row).into()).unwrap();
        let mut cursor = Cursor::new(&store, tree);
        let looks = [1, 2, 2, 5, 6, 4, 300, 301, 3, 6, 5000, 5001, 9000, 5000, 4];
        let found = looks.map(|n| cursor.get(n).unwrap().is_some());
        let expected = looks.map(|n| [2, 4, 6, 300, 5000].contains(&n));
        assert_eq!(found, expected);
        assert_eq!(cursor.number(300).unwrap(), Some(0x0707_0707_0707_0707));
    }
}
