//! From a handmade dump to rows.

mod continuwuity;
mod contradictions;
mod history;
mod media;
mod read_markers;
mod receipts;
