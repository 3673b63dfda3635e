//! One event: the checks that it must pass, what it points to, whether it is redacted, and what is stored beside it.

pub(crate) mod event;
pub mod links;
pub mod redaction;
pub mod unsigned;
pub(crate) mod verify;
