//! Changes that are collected in front of a store, to be made all at once or not at all.

use super::{Changes, Entries, Entry, KvCommit, KvError, KvLoad, KvRead, Row};
use crate::conduit::schema::{dialect::Dialect, trees::Tree};

/// A store with changes that only its readers see, until [`Self::finish`] makes them. Dropped before that, it leaves the
/// store as it was.
pub struct Pending<'a> {
    store: &'a mut dyn KvCommit,
    changes: Changes,
}

impl std::fmt::Debug for Pending<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pending").field("changes", &self.changes.len()).finish_non_exhaustive()
    }
}

impl<'a> Pending<'a> {
    /// No changes yet.
    pub fn new(store: &'a mut dyn KvCommit) -> Self {
        Self { store, changes: Changes::new() }
    }

    /// Removes a row.
    pub fn remove(&mut self, tree: &'static Tree, key: Vec<u8>) {
        self.changes.insert((tree, key), None);
    }

    fn changed<'b>(
        &'b self,
        tree: &'static Tree,
        prefix: &[u8],
    ) -> impl Iterator<Item = (&'b [u8], Option<&'b [u8]>)> + use<'b> {
        let prefix = prefix.to_vec();
        self.changes
            .range((tree, prefix.clone())..)
            .take_while(move |((of, key), _)| *of == tree && key.starts_with(&prefix))
            .map(|((_, key), value)| (key.as_slice(), value.as_deref()))
    }
}

impl KvRead for Pending<'_> {
    fn dialect(&self) -> Dialect {
        self.store.dialect()
    }

    fn is_ordered(&self, tree: &'static Tree) -> bool {
        self.store.is_ordered(tree)
    }

    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        match self.changes.get(&(tree, key.to_vec())) {
            Some(value) => Ok(value.clone()),
            None => self.store.get(tree, key),
        }
    }

    fn scan<'b>(&'b self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'b>, KvError> {
        let mut changed = self.changed(tree, prefix).peekable();
        let mut stored = self.store.scan(tree, prefix)?.peekable();
        Ok(Box::new(std::iter::from_fn(move || {
            loop {
                // The change comes first if there is no row before it; it replaces a row of the same key.
                let next = match (changed.peek(), stored.peek()) {
                    (None, _) | (_, Some(Err(_))) => return stored.next(),
                    (Some((key, _)), Some(Ok((other, _)))) => (**key).cmp(&**other),
                    (Some(_), None) => std::cmp::Ordering::Less,
                };
                if next.is_gt() {
                    return stored.next();
                }
                if next.is_eq() {
                    stored.next();
                }
                if let Some((key, Some(value))) = changed.next() {
                    let entry: Entry = (key.into(), value.into());
                    return Some(Ok(entry));
                }
            }
        })))
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        self.store.foreign_trees()
    }
}

impl KvLoad for Pending<'_> {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        let changes = rows.into_iter().map(|row| ((row.tree, row.key), Some(row.value)));
        self.changes.extend(changes);
        Ok(())
    }

    /// Makes the changes.
    fn finish(&mut self) -> Result<(), KvError> {
        self.store.commit(std::mem::take(&mut self.changes))
    }
}
