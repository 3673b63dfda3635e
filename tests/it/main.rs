//! End-to-end tests, one binary: it links once and shares the laboratory.
#![cfg(test)]

mod encryption;
mod family;
mod migrate;
mod on_disk;
mod verify_dump;
mod verify_encryption;
mod verify_fixture;
