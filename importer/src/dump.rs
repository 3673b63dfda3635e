//! The dump: a directory of JSON files that holds a Synapse's data, and nothing of Conduit.
//!
//! `docs/dump-format.md` describes it for readers; [`mod@format`] is the same in types. [`DumpWriter`] writes a dump (the
//! manifest last), [`DumpReader`] reads one (checksums first).

pub mod census;
mod earlier;
mod extent;
pub mod format;
pub(crate) mod media_store;
pub mod names;
mod prepared_media;
mod reader;
pub mod secret;
mod writer;

#[cfg(test)]
mod tests;

pub use earlier::{EarlierDump, EarlierHistory, OtherServer};
pub use extent::{Extent, History, MediaFiles, REACH_BACK};
pub use media_store::{MediaStore, NotUsable};
pub use prepared_media::{PreparedError, PreparedMedia, PreparedOrigin, Updated};
pub use reader::{DumpReader, MediaReader, MessageReader, OutboxReader, ReadError, RoomReader};
pub use writer::{DumpWriter, MediaWriter, MessageWriter, OutboxWriter, RoomWriter, WriteError};
