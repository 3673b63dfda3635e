//! Events that Synapse has in a room's timeline and shows to nobody, administrators included: redactions that were not
//! allowed.
//!
//! They are found where another event, or an end of the room, refers to them. Such an event changes no state, and all
//! that it refers to has been read; other events that can be fetched but are not shown are outliers.

use ruma::{EventId, OwnedEventId};

use super::{Room, event::Event};
use crate::synapse::api::ApiError;

impl Room<'_> {
    /// Reads those of some events that are hidden, and what is hidden behind them.
    pub(super) async fn read_hidden(&mut self, ids: &[OwnedEventId]) -> Result<(), ApiError> {
        let mut waiting: Vec<OwnedEventId> = ids.to_vec();
        let mut found: Vec<Event> = Vec::new();
        while let Some(id) = waiting.pop() {
            if self.after.contains_key(&id) || !self.sought.insert(id.clone()) {
                continue;
            }
            if let Some(Ok(event)) = self.fetch(&id).await?
                && event.state_key.is_none()
                && event.depth >= self.begin
            {
                waiting.extend(event.prev_events.iter().cloned());
                found.push(event);
            }
        }
        found.sort_by_key(|event| event.depth);
        for event in found {
            if event.prev_events.iter().all(|prev: &OwnedEventId| self.is_read(prev)) {
                // All that it refers to is read, so this ends here.
                Box::pin(self.timeline_event(event)).await?;
            }
        }
        Ok(())
    }

    fn is_read(&self, id: &EventId) -> bool {
        self.after.contains_key(id)
    }
}
