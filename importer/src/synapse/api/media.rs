//! Media.
use super::{ApiSource, MediaFiles, SourceError};
use crate::{dump::DumpWriter, progress::Progress, tally::Tally};

impl ApiSource {
    /// Copies media files into the dump, or leaves them out, rather than to copy.
    #[must_use]
    pub fn with_media(mut self, media: MediaFiles) -> Self {
        self.media = media;
        self
    }

    pub(super) async fn read_media(
        &mut self,
        _writer: &mut DumpWriter,
        _tally: &mut Tally,
        _progress: &Progress,
    ) -> Result<(), SourceError> {
        Ok(())
    }
}
