//! Media files: where Synapse keeps them, and directories that name files by their content.
//!
//! A [`Store`] finds files by the paths that Synapse gives them. A [`ContentDirectory`] holds each content once, under its
//! SHA-256: Conduit's media directory is one, the dump's folder for media is another.

mod content;
mod store;
mod walk;

#[cfg(test)]
mod tests;

pub use content::{ContentDirectory, ContentHash, Layout, LayoutError, NewFile, PutError, hash};
pub use store::{NotUsable, Store, local_path, remote_path};
pub use walk::files_below;
