//! The trees, and how keys and values are laid out in bytes.

pub mod keypair;
pub mod layout;
pub mod pdu_id;
pub mod state_diff;
pub mod trees;
