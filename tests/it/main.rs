//! End-to-end tests, one binary: it links once and shares the laboratory.
#![cfg(test)]

mod helpers;
mod with_synapse;
mod without_synapse;
