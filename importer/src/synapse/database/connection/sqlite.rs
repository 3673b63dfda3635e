//! Synapse's SQLite database.

use std::{ops::ControlFlow, path::Path};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Param, Row, STATEMENTS};
use crate::synapse::database::DatabaseError;

/// Opens a file and takes the snapshot. SQLite looks at a file only when it is first read.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::FileMissing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // 64 MiB: the rows of an event are found by its id, all over the file.
        connection.execute_batch(
            "PRAGMA cache_size = -65536; BEGIN; SELECT name FROM sqlite_master LIMIT 1",
        )?;
        Ok(connection)
    });
    opened.map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => DatabaseError::NotSynapse {
            place: format!("`{}`", path.display()),
            missing: "it is not even an SQLite database",
        },
        _ => DatabaseError::Open { path: path.to_owned(), source },
    })
}

/// Gives rows of a query to `each` until it has enough.
pub(super) fn each(
    connection: &Connection,
    sql: &str,
    params: &[Param<'_>],
    mut each: impl FnMut(Row<'_>) -> ControlFlow<()>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(sql)?;
    // SQLite numbers `$2` before `$1` if it comes first.
    for index in 1..=statement.parameter_count() {
        let number = statement.parameter_name(index).and_then(|name| name.get(1..)?.parse().ok());
        match number.and_then(|number: usize| params.get(number.checked_sub(1)?)) {
            Some(Param::Text(text)) => statement.raw_bind_parameter(index, text)?,
            Some(Param::Integer(value)) => statement.raw_bind_parameter(index, value)?,
            None => return Err(rusqlite::Error::InvalidParameterCount(params.len(), index)),
        }
    }
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if each(Row::Sqlite(row)).is_break() {
            break;
        }
    }
    Ok(())
}
