//! Conduit's rows as a real Conduit writes them.

mod host_contract;
mod on_disk;
