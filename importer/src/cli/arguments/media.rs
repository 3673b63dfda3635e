//! How media files move.

use std::path::PathBuf;

use clap::Args;

use crate::{migration::MediaOrigin, verify::MediaComparison};

/// The argument that names the media store.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct StoreArgument {
    /// Synapse's media store, if it is not where the dump says
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) media_store: Option<PathBuf>,
}

/// Arguments about media files.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct MediaArguments {
    #[command(flatten)]
    pub(in crate::cli) store: StoreArgument,
    /// Make hard links to Synapse's media files where possible, instead of copies: saves space, but Conduit and
    /// Synapse then share the files and their owner
    #[arg(long)]
    link_media: bool,
    /// Read all media files that `importer media` copied again at the end, not one in fifty
    #[arg(long)]
    verify_all_media: bool,
}

impl MediaArguments {
    /// Where the files come from, and how.
    pub(in crate::cli) fn origin(&self) -> MediaOrigin {
        MediaOrigin {
            store: self.store.media_store.clone(),
            link: self.link_media,
            comparison: if self.verify_all_media {
                MediaComparison::All
            } else {
                MediaComparison::Sample
            },
        }
    }
}
