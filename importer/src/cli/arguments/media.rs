//! How media files move.

use std::path::PathBuf;

use clap::Args;

use crate::migration::MediaOrigin;

/// Arguments about media files.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct MediaArguments {
    /// Synapse's media store, if it is not where the dump says
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) media_store: Option<PathBuf>,
    /// Make hard links to Synapse's media files where possible, instead of copies: saves space, but Conduit and
    /// Synapse then share the files and their owner
    #[arg(long)]
    link_media: bool,
}

impl MediaArguments {
    /// Where the files come from, and how.
    pub(in crate::cli) fn origin(&self) -> MediaOrigin {
        MediaOrigin { store: self.media_store.clone(), link: self.link_media }
    }
}
