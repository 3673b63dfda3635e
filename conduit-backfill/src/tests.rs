//! Walks through made rooms, from upstreams that are good and bad.

mod facade;
mod liar;
mod scripted;
mod whole;
