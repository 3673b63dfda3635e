//! What verification says of a sound database, and of each kind of damage.

mod against_dump;
mod encryption;
mod structure;
