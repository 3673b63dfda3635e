//! End-to-end tests, one binary: it links once and shares the laboratory.
#![cfg(test)]

mod backfill;
mod census;
mod columns;
mod conduit;
mod configuration;
mod contract;
mod contradictions;
mod disk;
mod encryption;
mod errors;
mod fetched;
mod fork;
mod generated;
mod import;
mod made;
mod media;
mod migrate;
mod mutation;
mod named;
mod on_disk;
mod outbox;
mod past;
mod predecessor;
mod proxy;
mod races;
mod reading;
mod receipts;
mod sources;
mod twice;
mod unexpected;
mod vendoring;
mod verify_dump;
mod verify_encryption;
mod verify_fixture;
mod walls;
