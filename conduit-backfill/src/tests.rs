//! Walks through made rooms, from upstreams that are good and bad.

mod doubt;
mod facade;
mod liar;
mod race;
mod scripted;
mod whole;
