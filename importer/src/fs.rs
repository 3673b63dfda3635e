//! Files and directories, whatever is in them: a directory that has its name only when it is complete ([`atomic_dir`]), one that
//! names files by their content ([`ContentDirectory`]), rows that are too many for memory and are wanted in order (`sorted_rows`), a
//! spool of items too many for memory (`spool`), files that the system should read soon (`read_ahead`), who has a file open
//! (`open_by`), and what to do about an error of the operating system (`hints`).

pub mod atomic_dir;
mod content_dir;
pub(crate) mod hints;
pub(crate) mod open_by;
mod read_ahead;
mod small;
pub(crate) mod sorted_rows;
pub(crate) mod spool;
mod walk;

pub use self::{
    content_dir::{ContentDirectory, ContentHash, Layout, LayoutError, NewFile, PutError, hash},
    walk::files_below,
};
pub(crate) use self::{
    read_ahead::read_ahead,
    small::{read_small, read_small_text},
};
