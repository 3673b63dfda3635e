//! Tests on the laboratory: a real Synapse, filled by `scripts/lab`. They take turns.

mod after;
mod migration;
mod read;
