//! The commands of a migration, on what a real Synapse made.

mod columns;
mod disk;
mod errors;
mod import;
mod json;
mod media_beforehand;
mod migrate;
mod outbox;
mod tokens;
