//! What several tests use.

pub(crate) mod handmade_dump;
pub(crate) mod json_order;
pub(crate) mod room_contents;
