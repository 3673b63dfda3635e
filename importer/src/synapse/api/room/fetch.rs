//! Single events.
//!
//! From `fetch_event` of the admin API, which gives every event in its original form; from federation where that is
//! missing, which gives redacted events in their redacted form.

use conduit_backfill::Client;
use ruma::{EventId, RoomId};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::event::{BrokenEvent, Event, Version};
use crate::synapse::api::{ApiError, connection::Connection, error::optional};

/// Fetches events of a room.
pub(super) struct Fetcher<'a> {
    pub(super) api: &'a Connection,
    pub(super) federation: &'a Client,
    /// Synapse has `fetch_event`, as far as is known.
    pub(super) has_fetch_event: &'a mut bool,
    pub(super) room_id: &'a RoomId,
    pub(super) version: Version,
    /// A local user is joined: Synapse has the present state, and federates the room with itself.
    pub(super) joined: bool,
}

impl Fetcher<'_> {
    /// An event. `None`: Synapse does not give it.
    pub(super) async fn fetch(
        &mut self,
        id: &EventId,
    ) -> Result<Option<Result<Event, BrokenEvent>>, ApiError> {
        if let Some(json) = self.fetch_by_admin(id).await? {
            return Ok(Some(self.parse(&json, Some(id))));
        }
        if !self.joined {
            return Ok(None);
        }
        match self.federation.event(id).await {
            Ok(json) => Ok(Some(self.parse(&json, Some(id)))),
            Err(error) if error.ends_run() => Err(error.into()),
            Err(_) => Ok(None),
        }
    }

    /// Reads an event of the room. `id` is needed where the event does not hold it.
    pub(super) fn parse(
        &self,
        json: &RawValue,
        id: Option<&EventId>,
    ) -> Result<Event, BrokenEvent> {
        Event::parse(json, id, self.room_id, &self.version)
    }

    async fn fetch_by_admin(&mut self, id: &EventId) -> Result<Option<Box<RawValue>>, ApiError> {
        #[derive(Deserialize)]
        struct FetchedEvent {
            event: Box<RawValue>,
        }

        if !*self.has_fetch_event {
            return Ok(None);
        }
        let answer = self.api.admin(&["v1", "fetch_event", id.as_str()], &[]).await;
        if answer.as_ref().is_err_and(ApiError::is_unknown_endpoint) {
            *self.has_fetch_event = false;
        }
        let answer: Option<FetchedEvent> = optional(answer)?;
        Ok(answer.map(|answer| answer.event))
    }
}
