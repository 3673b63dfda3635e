//! `homeserver.yaml` and `conduit.toml`: only what a migration needs of them.

pub mod conduit;
pub mod synapse;
