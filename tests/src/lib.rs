//! The harness of the end-to-end tests: a real Synapse, and a real Conduit if one is given.

pub mod command;
pub mod fixture;
pub mod lab;
pub mod past;
pub mod skip;
pub mod tree;
