//! What tests of a [`Host`](crate::Host) are made of, behind the feature `testing`: rooms and single events with real hashes and signatures, the
//! checks that every host must pass, and the shortest host that does.

pub mod host_contract;
pub mod memory_host;
pub mod room_builder;
pub mod signed_event;
