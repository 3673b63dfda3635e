//! Walks through made rooms, from upstreams that are good and bad.

mod coalescing;
mod doubt;
mod full_history;
mod hostile_server;
mod mock_upstream;
mod race;
