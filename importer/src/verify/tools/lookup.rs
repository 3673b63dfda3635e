//! Rows looked up by what their keys consist of.

use crate::{
    conduit::{
        schema::{
            shapes::AccountDataType,
            table::{Shape, Table},
            trees,
        },
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

/// An account data event.
pub(in crate::verify) fn account_data(
    store: &dyn KvRead,
    room: &str,
    user: &str,
    kind: &str,
) -> Result<Option<Vec<u8>>, VerifyError> {
    let key = AccountDataType { room, user, r#type: kind };
    match get(store, &trees::ROOMUSERTYPE_ROOMUSERDATAID, &key)? {
        Some(id) => Ok(store.get(&trees::ROOMUSERDATAID_ACCOUNTDATA, &id)?),
        None => Ok(None),
    }
}
