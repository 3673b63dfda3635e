//! Media.
use super::{ApiSource, SourceError};
use crate::{dump::DumpWriter, progress::Progress, tally::Tally};

impl ApiSource {
    pub(super) async fn read_media(
        &mut self,
        _writer: &mut DumpWriter,
        _tally: &mut Tally,
        _progress: &Progress,
    ) -> Result<(), SourceError> {
        Ok(())
    }
}
