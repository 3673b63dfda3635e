//! Reading a Synapse: what it may hold, and in what state.

mod census;
mod configuration;
mod duplicate_rows;
mod earlier_dump;
mod generated_server;
mod malformed_rows;
mod mutation;
mod sources;
