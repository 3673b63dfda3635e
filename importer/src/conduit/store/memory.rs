//! A store in memory: the reference for the others, and what tests use.

use std::collections::BTreeMap;

use super::{Changes, Entries, KvCommit, KvError, KvLoad, KvRead, Row};
use crate::conduit::schema::trees::Tree;

/// Trees in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryStore {
    trees: BTreeMap<&'static Tree, BTreeMap<Vec<u8>, Vec<u8>>>,
}

impl MemoryStore {
    /// Removes a row; whether it was there.
    pub fn remove(&mut self, tree: &'static Tree, key: &[u8]) -> bool {
        self.trees.get_mut(tree).is_some_and(|rows| rows.remove(key).is_some())
    }
}

impl KvRead for MemoryStore {
    fn get(&self, tree: &'static Tree, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.trees.get(tree).and_then(|rows| rows.get(key)).cloned())
    }

    fn scan<'a>(&'a self, tree: &'static Tree, prefix: &[u8]) -> Result<Entries<'a>, KvError> {
        let prefix = prefix.to_vec();
        let Some(rows) = self.trees.get(tree) else { return Ok(Box::new(std::iter::empty())) };
        Ok(Box::new(
            rows.range(prefix.clone()..)
                .take_while(move |(key, _)| key.starts_with(&prefix))
                .map(|(key, value)| Ok((key.as_slice().into(), value.as_slice().into()))),
        ))
    }

    fn scan_from<'a>(&'a self, tree: &'static Tree, from: &[u8]) -> Result<Entries<'a>, KvError> {
        let rows = self.trees.get(tree).map(|rows| rows.range(from.to_vec()..));
        let rows = rows.into_iter().flatten();
        Ok(Box::new(rows.map(|(key, value)| Ok((key.as_slice().into(), value.as_slice().into())))))
    }

    /// After every third row: what is put together from parts is tested at their borders.
    fn divide(&self, tree: &'static Tree, _bytes: u64) -> Result<Vec<Vec<u8>>, KvError> {
        let rows = self.trees.get(tree);
        Ok(rows.into_iter().flat_map(BTreeMap::keys).skip(3).step_by(3).cloned().collect())
    }

    fn shared(&self) -> Option<&(dyn KvRead + Sync)> {
        Some(self)
    }

    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        Ok(Vec::new())
    }
}

impl KvLoad for MemoryStore {
    fn write(&mut self, rows: Vec<Row>) -> Result<(), KvError> {
        for Row { tree, key, value } in rows {
            self.trees.entry(tree).or_default().insert(key, value);
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), KvError> {
        Ok(())
    }
}

impl KvCommit for MemoryStore {
    fn commit(&mut self, changes: Changes) -> Result<(), KvError> {
        for ((tree, key), value) in changes {
            let rows = self.trees.entry(tree).or_default();
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}
