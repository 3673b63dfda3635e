//! Conduit's database on disk: version 18, as commit `d058dab7` of Conduit (0.11.0-alpha) writes it.
//!
//! [`schema::trees`] is the one table of all trees with the layout of their keys and values; `docs/on-disk-format.md` explains
//! them. Its keys and values have types ([`schema::shapes`]), so that a field which a tree does not have does not compile;
//! [`schema::layout`] is the same as data, by which [`inspect`] shows rows and [`compare`] those that differ.
//! [`store`] is where rows go, with three engines; [`mod@config`] is Conduit's own configuration.

pub(crate) mod account_data;
pub(crate) mod appservice;
pub mod canonical_json;
pub(crate) mod canonical_text;
pub mod compare;
pub mod config;
pub(crate) mod event_hashes;
pub mod inspect;
pub(crate) mod members;
pub(crate) mod room_versions;
pub mod schema;
pub mod store;
mod words;
