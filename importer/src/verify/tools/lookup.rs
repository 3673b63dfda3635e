//! Rows looked up by what their keys consist of.

use crate::{
    conduit::{
        schema::table::{Shape, Table},
        store::{Entries, KvError, KvRead},
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

/// The rows whose keys begin as this one does, whose last text is empty or a beginning.
pub(in crate::verify) fn beginning<'a, K: Shape, V: Shape>(
    store: &'a dyn KvRead,
    table: &'static Table<K, V>,
    key: &K::Row<'_>,
) -> Result<Entries<'a>, VerifyError> {
    Ok(store.scan(table.tree(), &table.key_of(key))?)
}
