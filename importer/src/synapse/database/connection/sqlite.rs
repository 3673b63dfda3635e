//! Synapse's SQLite database.

use std::{
    fs::File,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{Param, Row, STATEMENTS};
use crate::{fs::read_ahead, synapse::database::DatabaseError};

/// How often two connections try to see the same, while Synapse writes.
const ATTEMPTS: usize = 100;

/// Opens a file twice with one snapshot; if Synapse never ceases to write, once.
pub(super) fn open_two(path: &Path) -> Result<(Connection, Option<Connection>), DatabaseError> {
    let (first, second) = (connect(path)?, connect(path)?);
    // Tables and indexes lie all over the file.
    read_ahead(path);
    let both = first.and_then(|first| {
        let second = second?;
        let same = begin_two(&first, &second, begin)?;
        Ok((first, same.then_some(second)))
    });
    both.map_err(|source| match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => DatabaseError::NotSynapse {
            place: format!("`{}`", path.display()),
            missing: "it is not even an SQLite database",
        },
        Some(ErrorCode::DatabaseCorrupt) => DatabaseError::CutOff { path: path.to_owned(), source },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            DatabaseError::Locked { path: path.to_owned() }
        }
        // Whoever may not read the file learns nothing from what is beside it.
        _ if journal(path).exists() && File::open(path).is_ok() => {
            DatabaseError::Unfinished { path: path.to_owned() }
        }
        _ => DatabaseError::Open { path: path.to_owned(), source },
    })
}

/// The file in which SQLite keeps what it has to take back.
fn journal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-journal");
    name.into()
}

fn connect(path: &Path) -> Result<rusqlite::Result<Connection>, DatabaseError> {
    if !path.exists() {
        return Err(DatabaseError::FileMissing { path: path.to_owned() });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        // 32 MiB: state groups, and some rows of events, are found by their ids, all over the file.
        connection.execute_batch("PRAGMA cache_size = -32768")?;
        Ok(connection)
    }))
}

/// Takes a snapshot. SQLite looks at a file only when it is first read.
fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN; SELECT name FROM sqlite_master LIMIT 1")
}

/// Takes a snapshot with `first`, and tries to take the same with `second`. Returns whether `second` has it.
///
/// Two connections can't be asked whether they see the same. But `data_version` tells one whether it sees what it saw
/// before (<https://sqlite.org/pragma.html#pragma_data_version>): if nothing was written from before the first one looked
/// until after it did, they see the same.
fn begin_two(
    first: &Connection,
    second: &Connection,
    begin: impl Fn(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<bool> {
    let version = || second.query_row("PRAGMA data_version", (), |row| row.get::<_, i64>(0));
    let end = |connection: &Connection| connection.execute_batch("ROLLBACK");
    for _ in 0..ATTEMPTS {
        begin(second)?;
        let before = version()?;
        end(second)?;
        begin(first)?;
        begin(second)?;
        if version()? == before {
            return Ok(true);
        }
        end(first)?;
        end(second)?;
    }
    begin(first)?;
    Ok(false)
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

#[cfg(test)]
mod tests;
