//! From a handmade dump to rows.

mod contradictions;
mod history;
mod media;
mod read_markers;
mod receipts;
