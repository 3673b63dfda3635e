//! End-to-end tests, one binary: it links once and shares the laboratory.
#![cfg(test)]

mod family;
mod media;
mod on_disk;
mod verify_dump;
mod verify_fixture;
