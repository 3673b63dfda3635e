//! End-to-end tests, one binary: it links once and shares the laboratory.
#![cfg(test)]

mod encryption;
mod family;
mod made;
mod migrate;
mod on_disk;
mod reading;
mod verify_dump;
mod verify_encryption;
mod verify_fixture;
