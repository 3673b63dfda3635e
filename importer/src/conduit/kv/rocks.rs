use super::{Entry, KvError, KvStore, Mode, Row};
use crate::conduit::trees::Tree;

/// TODO
#[derive(Debug, Default)]
pub struct RocksStore {}

impl RocksStore {
    /// TODO
    pub fn open(_directory: &std::path::Path, _mode: Mode) -> Result<Self, KvError> {
        todo!()
    }
}

impl KvStore for RocksStore {
    fn write(&mut self, _rows: Vec<Row>) -> Result<(), KvError> {
        todo!()
    }
    fn get(&self, _tree: &'static Tree, _key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        todo!()
    }
    fn scan<'a>(
        &'a self,
        _tree: &'static Tree,
        _prefix: &[u8],
    ) -> Result<Box<dyn Iterator<Item = Result<Entry, KvError>> + 'a>, KvError> {
        todo!()
    }
    fn foreign_trees(&self) -> Result<Vec<String>, KvError> {
        todo!()
    }
    fn finish(&mut self) -> Result<(), KvError> {
        todo!()
    }
}
