//! An event and its rows, whichever room or page it comes from.

pub(super) mod content;
pub(super) mod event;
pub(super) mod state_layers;
pub(super) mod timeline_rows;
