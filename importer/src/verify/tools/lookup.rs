//! Rows looked up by what their keys consist of.

use crate::{
    conduit::{
        schema::table::{Shape, Table},
        store::{KvError, KvRead},
    },
    verify::VerifyError,
};

/// The value of a row; `None` if there is none.
pub(in crate::verify) fn get<K: Shape, V: Shape>(
    store: &dyn KvRead,
    table: &'static Table<K, V>,
    key: &K::Row<'_>,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let value: Result<_, KvError> = store.get(table.tree(), &table.key_of(key));
    Ok(value?)
}
