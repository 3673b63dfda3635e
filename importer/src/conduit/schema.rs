//! The trees, and how keys and values are laid out in bytes.

#![warn(clippy::arithmetic_side_effects, reason = "bytes of keys and values are made here")]

pub mod dialect;
pub mod keypair;
pub mod kind;
pub mod layout;
pub mod media_name;
pub mod pdu_id;
pub mod shapes;
pub mod state_diff;
pub mod table;
pub mod trees;
