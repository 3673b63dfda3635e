//! Options that several commands share, and what they resolve to.

pub(super) mod conduit;
pub(super) mod media;
pub(super) mod report;
pub(super) mod source;
pub(super) mod target;
