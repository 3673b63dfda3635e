//! What belongs to one user: the account with its devices, profile and account data, encryption, how far the user has read.

pub(super) mod account;
pub(super) mod account_data;
pub(super) mod clients;
pub(super) mod encryption;
pub(super) mod push_rules;
pub(super) mod read_markers;
pub(super) mod receipt;
