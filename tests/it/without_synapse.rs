//! Tests that need no Synapse: handmade dumps, databases that a real Conduit wrote, and the repository itself.

mod database;
mod import;
mod project;
mod verify;
