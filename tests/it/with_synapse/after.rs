//! What runs on a migrated database: a Conduit, stock or patched, its clients, and the Synapse that it replaced.

mod backfill;
mod clients;
mod conduit_import;
mod encryption;
mod patched_conduit;
mod races;
mod stock_conduit;
mod verify_after_backfill;
