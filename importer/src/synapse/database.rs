//! Synapse's database as a source: SQLite and PostgreSQL.

/// Why the database can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatabaseError {}
