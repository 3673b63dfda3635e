//! Events that wait until the room's head is known.

use crate::{dump::format::DumpEvent, fs::spool::Spool, synapse::api::ApiError};

/// A list of events, which may be too long for memory.
#[derive(Debug, Default)]
pub(super) struct EventSpool(Spool);

impl EventSpool {
    pub(super) fn push(&mut self, event: &DumpEvent) -> Result<(), ApiError> {
        let text = serde_json::to_string(event).map_err(|error| ApiError::Spool(error.into()))?;
        self.0.put(&text).map_err(ApiError::Spool)?;
        Ok(())
    }

    /// The events, in the order in which they were added.
    pub(super) fn read(
        self,
    ) -> Result<impl Iterator<Item = Result<DumpEvent, ApiError>>, ApiError> {
        let texts = self.0.texts().map_err(ApiError::Spool)?;
        Ok(texts.map(|text| {
            let text = text.map_err(ApiError::Spool)?;
            serde_json::from_str(&text).map_err(|error| ApiError::Spool(error.into()))
        }))
    }
}
