//! Moves a Matrix homeserver from Synapse to Conduit under the same server name.
//!
//! Data flows one way: a [`synapse`] source is read into a [`dump`] (a directory of JSON), the [`import`] step plans the
//! rows of Conduit's database from the dump and writes them through a [`conduit::store::KvLoad`], [`verify`] compares the
//! result with the dump. A source never knows Conduit, [`conduit`] never knows Synapse; only [`import`] and [`verify`]
//! know both the dump and the database.

pub mod backfill;
pub mod check;
pub mod cli;
pub mod conduit;
mod counted;
pub mod drain;
pub mod dump;
pub mod findings;
pub mod fs;
mod hash;
pub mod import;
pub mod migration;
pub mod progress;
pub mod proxy;
pub mod report;
mod runtime;
mod size;
pub mod source;
pub mod synapse;
pub mod tally;
pub mod verify;
mod version;
