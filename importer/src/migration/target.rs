//! The Conduit database that is written or read.

use std::path::PathBuf;

use crate::{
    conduit::{config::ConduitService, schema::dialect::Dialect, store::Backend},
    fs::ContentDirectory,
};

/// A Conduit database on disk.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its directory.
    pub directory: PathBuf,
    /// Its engine.
    pub backend: Backend,
    /// Whose it is.
    pub dialect: Dialect,
    /// The server's name, if a configuration says it.
    pub server_name: Option<String>,
    /// Its media directory.
    pub media: ContentDirectory,
    /// Whether Conduit reads media from a bucket, so that the directory is to be uploaded.
    pub uploads_media: bool,
    /// Whether the configuration makes Conduit delete its own users' uploads after a time.
    pub deletes_uploads: bool,
    /// How Conduit will be operated, if a configuration says it.
    pub service: Option<ConduitService>,
}

/// Why what was said of Conduit can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No database.
    #[error("`--database`, `--conduit-config` or `--conduit-env` is needed")]
    NotNamed,
    /// Media that are on no disk.
    #[error(
        "Conduit's configuration keeps media in an S3 bucket; name a new directory by `--media-directory`, and upload what \
         is written there before you start Conduit"
    )]
    Bucket,
    /// An engine that the server does not have.
    #[error("Continuwuity opens RocksDB only; leave out `--backend sqlite`")]
    Engine,
    /// Media where the server does not look.
    #[error(
        "Continuwuity reads media files in `{}` only; leave out `--media-directory`", path.display()
    )]
    Media {
        /// Where it looks.
        path: PathBuf,
    },
    /// Hard links to Synapse's files for a server that may overwrite them.
    #[error(
        "Continuwuity may write into a media file that it has, which would be Synapse's own; leave out `--link-media`"
    )]
    Linked,
    /// A database of another server.
    #[error(
        "the database is {found}'s, and `--target` says {said}; leave `--target` out, or name {said}'s database"
    )]
    OtherTarget {
        /// What `--target` says.
        said: Dialect,
        /// Whose it is.
        found: Dialect,
    },
    /// A database of another server than the configuration is read for.
    #[error(
        "the database is {found}'s, and the configuration was read as {said}'s; give `--target {}` and {found}'s configuration, or \
         name {said}'s database",
        found.to_string().to_lowercase()
    )]
    OtherConfig {
        /// Whose configuration is expected.
        said: Dialect,
        /// Whose the database is.
        found: Dialect,
    },
    /// A configuration for another server than the one that moves.
    #[error(
        "the new server's configuration is for `{configured}`, what moves there is of `{moved}`; set `server_name` to `{moved}`"
    )]
    OtherServer {
        /// Its `server_name`.
        configured: String,
        /// That of the dump or the Synapse.
        moved: String,
    },
}

impl Target {
    /// Refuses a configuration for another server than the one that moves.
    ///
    /// # Errors
    ///
    /// [`TargetError::OtherServer`].
    pub fn check_server_name(&self, moved: &str) -> Result<(), TargetError> {
        match &self.server_name {
            Some(name) if name != moved => {
                Err(TargetError::OtherServer { configured: name.clone(), moved: moved.to_owned() })
            }
            _ => Ok(()),
        }
    }
}
