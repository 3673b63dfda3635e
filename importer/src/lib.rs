//! Moves a Matrix homeserver from Synapse to Conduit under the same server name.
//!
//! Data flows one way: a [`synapse`] source is read into a [`dump`] (a directory of JSON), the [`import`] step plans the
//! rows of Conduit's database from the dump and writes them through a [`conduit::kv::KvStore`], [`verify`] compares the
//! result with the dump. A source never knows Conduit, [`conduit`] never knows Synapse; only [`import`] and [`verify`]
//! know both the dump and the database.

pub mod backfill;
pub mod census;
pub mod check;
pub mod cli;
pub mod conduit;
pub mod config;
mod counted;
pub mod drain;
pub mod dump;
pub mod findings;
pub mod import;
mod in_use;
pub mod media;
pub mod partial;
pub mod progress;
pub mod proxy;
mod remedy;
pub mod report;
pub mod secret;
mod size;
pub mod synapse;
pub mod tally;
pub mod verify;
