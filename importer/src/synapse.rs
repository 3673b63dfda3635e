//! Reading a Synapse. Two sources behind one trait, [`crate::source::Source`], give the same dump: its [`database`], and its [`api`]s.
//!
//! Synapse's data is only ever read; the API source makes login tokens and gives them back.

#![warn(
    clippy::arithmetic_side_effects,
    reason = "a database and the answers of a server may hold any numbers"
)]

pub mod api;
pub mod config;
pub mod database;
mod erased;
mod media_paths;
pub mod push_ruleset;
pub mod quiet_config;
mod relations;

use crate::source::SourceError;

/// Why an event that failed softly is left out.
const SOFT_FAILED: &str = "Synapse refused the event on arrival and showed it to nobody; no event or state of the room refers to it";

impl From<database::DatabaseError> for SourceError {
    fn from(error: database::DatabaseError) -> Self {
        Self::Homeserver(Box::new(error))
    }
}

impl From<api::ApiError> for SourceError {
    fn from(error: api::ApiError) -> Self {
        Self::Homeserver(Box::new(error))
    }
}
