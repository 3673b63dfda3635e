//! Queries of a survey.

use crate::synapse::database::{
    DatabaseError,
    connection::{Connection, Param},
    row::KeptRow,
    schema::Schema,
};

/// The first column, sorted.
pub(super) async fn names(
    db: &mut Connection,
    table: &'static str,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<String>, DatabaseError> {
    let rows = db.rows(table, sql, params).await?;
    let mut names: Vec<_> = rows.iter().map(KeptRow::label).collect();
    names.sort();
    Ok(names)
}

/// A column of a table that younger Synapses have, sorted.
pub(super) async fn optional_names(
    db: &mut Connection,
    schema: &Schema,
    table: &'static str,
    column: &str,
) -> Result<Vec<String>, DatabaseError> {
    if !schema.has_table(table) {
        return Ok(Vec::new());
    }
    names(db, table, &format!("SELECT {column} FROM {table}"), &[]).await
}

/// Names with a number each, sorted. A row that can't be read counts as one.
pub(super) async fn numbers(
    db: &mut Connection,
    table: &'static str,
    sql: &str,
    params: &[Param<'_>],
) -> Result<Vec<(String, u64)>, DatabaseError> {
    let rows = db.rows(table, sql, params).await?;
    let mut numbers: Vec<(String, u64)> =
        rows.iter().map(|row| row.decode().unwrap_or((row.label(), 1))).collect();
    numbers.sort();
    Ok(numbers)
}

/// The one number of a query; 0 for NULL.
pub(super) async fn number(
    db: &mut Connection,
    table: &'static str,
    sql: &str,
) -> Result<u64, DatabaseError> {
    let rows = db.rows(table, sql, &[]).await?;
    let number = rows.first().and_then(|row| row.integer(0));
    Ok(number.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
}

/// How many rows of a table that younger Synapses have meet a condition.
pub(super) async fn rows(
    db: &mut Connection,
    schema: &Schema,
    table: &'static str,
    condition: &str,
) -> Result<u64, DatabaseError> {
    if !schema.has_table(table) {
        return Ok(0);
    }
    number(db, table, &format!("SELECT COUNT(*) FROM {table} WHERE {condition}")).await
}
