//! From a handmade dump to rows.

mod continuwuity;
mod contradictions;
mod history;
mod media;
mod receipts;
mod receipts_and_unread;
