//! Fetches a homeserver's past from the homeserver it replaced, over federation, under the same server name.

pub mod client;
