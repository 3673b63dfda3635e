//! Conduit's database on disk: version 18, as commit `d058dab7` of Conduit (0.11.0-alpha) writes it.
//!
//! [`trees`] is the one table of all trees with the layout of their keys and values; `docs/on-disk-format.md` explains
//! them. [`layout`] encodes and decodes by that table, [`inspect`] shows rows, [`compare`] those that differ. [`kv`] is the store that rows go to, with
//! three engines.

pub(crate) mod account_data;
pub(crate) mod appservice;
pub mod canonical;
pub mod compare;
pub mod inspect;
pub mod json;
pub mod keypair;
pub mod kv;
pub mod layout;
pub(crate) mod members;
pub mod pdu_id;
pub(crate) mod room_versions;
pub mod state_diff;
pub mod trees;
