//! What several tests use.

pub(crate) mod handmade_dump;
pub(crate) mod room_contents;
