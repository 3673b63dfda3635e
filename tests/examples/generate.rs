//! Fills an empty laboratory with a server of any size; see [`migration_tests::generate`].
//!
//! ```console
//! $ python scripts/lab empty --dir LAB
//! $ cargo run --release -p migration-tests --example generate -- LAB --events 100000
//! ```

use std::path::PathBuf;

use clap::Parser;
use migration_tests::generate::{Shape, generate};

/// Fills an empty, stopped laboratory (`scripts/lab empty`). One with PostgreSQL is left empty with its database running.
#[derive(Parser)]
struct Arguments {
    /// The laboratory's directory.
    lab: PathBuf,
    /// Chance begins here: the same numbers give the same server.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Local accounts.
    #[arg(long, default_value_t = 1200)]
    users: usize,
    /// Rooms.
    #[arg(long, default_value_t = 500)]
    rooms: usize,
    /// Events.
    #[arg(long, default_value_t = 51_000)]
    events: usize,
    /// Share of the events after a room's first ones that change its state.
    #[arg(long, default_value_t = 0.05)]
    state: f64,
    /// Share of events that are sent beside another one instead of after it.
    #[arg(long, default_value_t = 0.01)]
    forks: f64,
    /// Share of events that take back another one.
    #[arg(long, default_value_t = 0.01)]
    redactions: f64,
    /// Share of messages that relate to another one.
    #[arg(long, default_value_t = 0.25)]
    relations: f64,
    /// Uploaded files.
    #[arg(long, default_value_t = 2700)]
    media: usize,
    /// Mean size of a file, in bytes.
    #[arg(long, default_value_t = 100_000)]
    media_bytes: usize,
}

fn main() -> anyhow::Result<()> {
    let Arguments {
        lab,
        seed,
        users,
        rooms,
        events,
        state,
        forks,
        redactions,
        relations,
        media,
        media_bytes,
    } = Arguments::parse();
    let shape = Shape {
        seed,
        users,
        rooms,
        events,
        state,
        forks,
        redactions,
        relations,
        media,
        media_bytes,
    };
    generate(&lab, &shape)
}
